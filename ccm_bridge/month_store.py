"""The month in SQL: what is known about many patients, in a handful of queries; circumstances; what a row shows beside."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from psycopg.rows import dict_row

from ccm_bridge import attestation_store, consent_store, enrolment_store, plan_store
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import Circumstance, Known, Minute
from ccm_bridge.store import By, Connection


async def circumstances(conn: Connection, patients: Sequence[UUID]) -> dict[UUID, tuple[Circumstance, ...]]:
    found: dict[UUID, list[Circumstance]] = defaultdict(list)
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT c.patient_id, c.circumstance_id, c.kind, c.month, c.from_at, c.until_at, c.code, c.by_whom,
                      c.note, c.recorded_by_name, c.recorded_at
                 FROM ccm.circumstance c
                WHERE c.patient_id = ANY(%s) AND c.withdraws IS NULL
                  AND NOT EXISTS (SELECT FROM ccm.circumstance w WHERE w.withdraws = c.circumstance_id)
                ORDER BY c.recorded_at""",
            (list(patients),),
        )
        for row in await cur.fetchall():
            found[row.pop("patient_id")].append(Circumstance(**row))
    return {patient: tuple(said) for patient, said in found.items()}


async def minutes(conn: Connection, month: date, patients: Sequence[UUID]) -> dict[UUID, tuple[Minute, ...]]:
    found: dict[UUID, list[Minute]] = defaultdict(list)
    async with conn.cursor() as cur:
        await cur.execute(
            """SELECT e.patient_id, e.entry_id, e.staff_id, e.credential, e.country, e.program, lower(e.span),
                      extract(epoch FROM upper(e.span) - lower(e.span))::int, e.activity, e.contact, e.interactive,
                      e.as_clinical_staff, e.source, e.corrects, e.entered_at, v.void_id IS NOT NULL, e.hash
                 FROM ccm.time_entry e LEFT JOIN ccm.time_void v USING (entry_id)
                WHERE e.month = %s AND e.patient_id = ANY(%s) ORDER BY lower(e.span), e.seq""",
            (month, list(patients)),
        )
        names = Minute.__slots__
        for patient, *values in await cur.fetchall():
            found[patient].append(Minute(**dict(zip(names, values, strict=True))))
    return {patient: tuple(entries) for patient, entries in found.items()}


async def zones(conn: Connection, patients: Sequence[UUID]) -> dict[UUID, str]:
    """Each patient's own civil time."""
    cur = await conn.execute(
        "SELECT patient_id, zone FROM who.patient WHERE patient_id = ANY(%s)", (list(patients),)
    )
    return dict(await cur.fetchall())


async def served(conn: Connection, month: date) -> list[UUID]:
    """Whose month there is, by name: everybody enrolled, and everybody for whom minutes were logged."""
    cur = await conn.execute(
        """SELECT patient_id FROM (
               SELECT patient_id FROM (SELECT DISTINCT ON (patient_id) patient_id, state FROM ccm.enrolment
                                        ORDER BY patient_id, version DESC) latest WHERE state = 'enrolled'
                UNION SELECT patient_id FROM ccm.time_entry WHERE month = %s) s
             JOIN who.patient p USING (patient_id) ORDER BY lower(p.name), patient_id""",
        (month,),
    )
    return [row[0] for row in await cur.fetchall()]


async def stamps(conn: Connection, month: date, patients: Sequence[UUID]) -> dict[UUID, str]:
    """One short text per patient that changes whenever anything their month rests on is written.

    Everything is append-only, so counting the rows is enough.
    """
    cur = await conn.execute(
        """SELECT p.patient_id, concat_ws(' ', w.zone, e.n, c.n, r.n, pl.n, s.n, cp.n, ci.n, t.n, v.n, mr.n)
             FROM unnest(%(patients)s::uuid[]) AS p (patient_id)
             LEFT JOIN who.patient w USING (patient_id)
             LEFT JOIN (SELECT patient_id, max(version) n FROM ccm.enrolment GROUP BY 1) e USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.consent GROUP BY 1) c USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.consent_revocation JOIN ccm.consent USING (consent_id)
                         GROUP BY 1) r USING (patient_id)
             LEFT JOIN (SELECT patient_id, max(version) n FROM ccm.care_plan GROUP BY 1) pl USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.care_plan_signature JOIN ccm.care_plan USING (plan_id)
                         GROUP BY 1) s USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.care_plan_copy JOIN ccm.care_plan USING (plan_id)
                         GROUP BY 1) cp USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.circumstance GROUP BY 1) ci USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.time_entry WHERE month = %(month)s
                         GROUP BY 1) t USING (patient_id)
             LEFT JOIN (SELECT patient_id, count(*) n FROM ccm.time_void JOIN ccm.time_entry USING (entry_id)
                         WHERE month = %(month)s GROUP BY 1) v USING (patient_id)
             LEFT JOIN (SELECT patient_id, max(version) n FROM ccm.month_review WHERE month = %(month)s
                         GROUP BY 1) mr USING (patient_id)""",
        {"patients": list(patients), "month": month},
    )
    attested = await (await conn.execute("SELECT count(*) FROM ccm.attestation")).fetchone()
    return {patient: f"{stamp} {attested and attested[0]}" for patient, stamp in await cur.fetchall()}


async def gather(conn: Connection, month: date, patients: Sequence[UUID], *, zone: str) -> dict[UUID, Known]:
    """What is known about these patients' month, device days left out (the devices' room is asked through a port)."""
    ends = first_instant(next_month(month), ZoneInfo(zone))
    enrolled, said = (
        await enrolment_store.enrolments(conn, patients),
        await consent_store.consents(conn, patients),
    )
    planned, around = await plan_store.plans(conn, patients, before=ends), await circumstances(conn, patients)
    worked, civil = await minutes(conn, month, patients), await zones(conn, patients)
    practice = await attestation_store.attested(conn, on=next_month(month))
    return {
        patient: Known(
            patient_id=patient,
            month=month,
            zone=zone,
            patient_zone=civil.get(patient, zone),
            enrolment=enrolled.get(patient),
            consents=said.get(patient, ()),
            plan=planned.get(patient),
            attested=practice,
            circumstances=around.get(patient, ()),
            entries=worked.get(patient, ()),
        )
        for patient in patients
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What else the month's row shows: work and episodes."""

    open_tasks: int = 0
    next_task: str = ""  # the open task that is due first
    next_due: datetime | None = None
    episodes: int = 0
    open_episodes: int = 0


async def around(
    conn: Connection, patients: Sequence[UUID], start: datetime, end: datetime
) -> dict[UUID, Around]:
    """Open tasks now, and the episodes that moved in the month: how many, and how many still stand open."""
    tasks = await conn.execute(
        """SELECT patient_id, count(*), (array_agg(title ORDER BY due_at))[1], min(due_at) FROM ccm.task
            WHERE patient_id = ANY(%s) AND state NOT IN ('done', 'cancelled') GROUP BY 1""",
        (list(patients),),
    )
    open_tasks = {row[0]: row[1:] for row in await tasks.fetchall()}
    moved = await conn.execute(
        """SELECT patient_id, count(*), count(*) FILTER (WHERE last <> 'closed') FROM (
               SELECT DISTINCT ON (episode_id) patient_id, move AS last FROM ccm.episode_move
                WHERE patient_id = ANY(%s) AND episode_id IN (
                      SELECT episode_id FROM ccm.episode_move WHERE at >= %s AND at < %s)
                ORDER BY episode_id, number DESC) e GROUP BY 1""",
        (list(patients), start, end),
    )
    episodes = {row[0]: (row[1], row[2]) for row in await moved.fetchall()}
    return {
        patient: Around(
            open_tasks=open_tasks.get(patient, (0, "", None))[0],
            next_task=open_tasks.get(patient, (0, "", None))[1],
            next_due=open_tasks.get(patient, (0, "", None))[2],
            episodes=episodes.get(patient, (0, 0))[0],
            open_episodes=episodes.get(patient, (0, 0))[1],
        )
        for patient in patients
    }


async def add_circumstance(
    conn: Connection, patient_id: UUID, said: Circumstance, *, by: By, withdraws: UUID | None = None
) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.circumstance (circumstance_id, practice_id, patient_id, kind, month, from_at, until_at, code,
                                         by_whom, note, withdraws, recorded_by, recorded_by_name, recorded_at)
           VALUES (%(circumstance_id)s, %(practice)s, %(patient)s, %(kind)s, %(month)s, %(from_at)s, %(until_at)s,
                   %(code)s, %(by_whom)s, %(note)s, %(withdraws)s, %(by)s, %(recorded_by_name)s, %(recorded_at)s)
           ON CONFLICT (circumstance_id) DO NOTHING""",
        {name: getattr(said, name) for name in Circumstance.__slots__}
        | {"practice": by.practice_id, "patient": patient_id, "by": by.staff_id, "withdraws": withdraws},
    )
    return done.rowcount == 1
