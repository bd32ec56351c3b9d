"""The month in SQL: gather what is known about many patients in a handful of queries; keep reviews in their chain."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from ccm_bridge import chain, time_store
from ccm_bridge.careplan import Content, Plan
from ccm_bridge.enrolment import Condition, Consent, Enrolment, Method, Profile, Program, Told
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import Circumstance, Known, Minute
from ccm_bridge.store import By, Connection

# People -------------------------------------------------------------------------------------------------

_ENROLMENT: LiteralString = """
    SELECT DISTINCT ON (patient_id) patient_id, version, state, programs, since, conditions,
           significant_risk_documented, payer, payer_checked_on, initiating_visit, practitioner_name,
           care_manager_name, rpm_ordered, rpm_device_fda_defined, rpm_auto_upload, rpm_setup_on,
           profile
      FROM ccm.enrolment """


async def enrolments(conn: Connection, patients: Iterable[UUID] | None = None) -> dict[UUID, Enrolment]:
    """The latest version for each patient; of the whole practice if nobody is named."""
    some = list(patients) if patients is not None else None
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            _ENROLMENT
            + "WHERE %s::uuid[] IS NULL OR patient_id = ANY(%s::uuid[]) ORDER BY patient_id, version DESC",
            (some, some),
        )
        return {row["patient_id"]: _enrolment(row) for row in await cur.fetchall()}


def _enrolment(row: dict[str, Any]) -> Enrolment:
    return Enrolment(
        **row
        | {
            "programs": frozenset(Program(p) for p in row["programs"]),
            "conditions": tuple(
                Condition(icd10=c["icd10"], name=c["name"], chronic_months=c["chronic_months"])
                for c in row["conditions"]
            ),
            "profile": msgspec.convert(row["profile"], Profile),
        }
    )


async def consents(conn: Connection, patients: Sequence[UUID]) -> dict[UUID, tuple[Consent, ...]]:
    found: dict[UUID, list[Consent]] = defaultdict(list)
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT c.patient_id, c.consent_id, c.program, c.accepted, c.given_at, c.method, c.explained, c.language,
                      c.given_by, c.explained_by_name, r.revoked_at
                 FROM ccm.consent c LEFT JOIN ccm.consent_revocation r USING (consent_id)
                WHERE c.patient_id = ANY(%s) ORDER BY c.given_at""",
            (list(patients),),
        )
        for row in await cur.fetchall():
            found[row.pop("patient_id")].append(
                Consent(
                    **row
                    | {
                        "program": Program(row["program"]),
                        "method": Method(row["method"]),
                        "explained": frozenset(Told(t) for t in row["explained"]),
                    }
                )
            )
    return {patient: tuple(said) for patient, said in found.items()}


async def plans(conn: Connection, patients: Sequence[UUID], *, before: datetime) -> dict[UUID, Plan]:
    """The plan in force for each patient: the latest version signed before then, else the latest drafted."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            _PLAN
            + """WHERE p.patient_id = ANY(%(patients)s) AND p.drafted_at < %(before)s
                 ORDER BY p.patient_id, (s.signed_at < %(before)s) DESC NULLS LAST, p.version DESC""",
            {"patients": list(patients), "before": before},
        )
        return {row["patient_id"]: _plan(row) for row in await cur.fetchall()}


_PLAN: LiteralString = """
    SELECT DISTINCT ON (p.patient_id) p.plan_id, p.patient_id, p.version, p.content, p.review_on, p.drafted_by_name,
           p.drafted_at, s.signed_by_name, s.signed_at,
           (SELECT min(c.given_at) FROM ccm.care_plan_copy c WHERE c.plan_id = p.plan_id) AS copy_given_at
      FROM ccm.care_plan p LEFT JOIN ccm.care_plan_signature s USING (plan_id) """


def _plan(row: dict[str, Any]) -> Plan:
    return Plan(**row | {"content": msgspec.convert(row["content"], Content)})


async def versions(conn: Connection, patient_id: UUID) -> list[Plan]:
    """Every version of a patient's plan, the newest first."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            _PLAN.replace("DISTINCT ON (p.patient_id)", "")
            + "WHERE p.patient_id = %s ORDER BY p.version DESC",
            (patient_id,),
        )
        return [_plan(row) for row in await cur.fetchall()]


async def attested(conn: Connection, *, on: date) -> dict[str, bool]:
    """What the practice attests on that day."""
    cur = await conn.execute(
        """SELECT DISTINCT ON (kind) kind, holds FROM ccm.attestation WHERE from_day <= %s
            ORDER BY kind, from_day DESC, attested_at DESC""",
        (on,),
    )
    return dict(await cur.fetchall())


async def attestations(conn: Connection) -> list[dict[str, Any]]:
    """Everything the practice ever attested, the newest first."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT kind, holds, from_day, statement, attested_by, attested_at FROM ccm.attestation
                ORDER BY attested_at DESC"""
        )
        return await cur.fetchall()


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
    """Whose month there is: everybody enrolled, and everybody for whom minutes were logged."""
    cur = await conn.execute(
        """SELECT patient_id FROM (SELECT DISTINCT ON (patient_id) patient_id, state FROM ccm.enrolment
                                    ORDER BY patient_id, version DESC) latest WHERE state = 'enrolled'
            UNION SELECT patient_id FROM ccm.time_entry WHERE month = %s""",
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
    enrolled, said = await enrolments(conn, patients), await consents(conn, patients)
    planned, around = await plans(conn, patients, before=ends), await circumstances(conn, patients)
    worked, civil = await minutes(conn, month, patients), await zones(conn, patients)
    practice = await attested(conn, on=next_month(month))
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


# Writing what people say about a patient ----------------------------------------------------------------


async def add_enrolment(conn: Connection, enrolment_id: UUID, said: Enrolment, *, why: str, by: By) -> bool:
    """A new version; False if that version exists: somebody else wrote it first."""
    done = await conn.execute(
        """INSERT INTO ccm.enrolment (enrolment_id, practice_id, patient_id, version, state, programs, since, conditions,
               significant_risk_documented, payer, payer_checked_on, initiating_visit, practitioner_name,
               care_manager_name, rpm_ordered, rpm_device_fda_defined, rpm_auto_upload, rpm_setup_on, profile, why,
               recorded_at, recorded_by)
           VALUES (%(id)s, %(practice)s, %(patient_id)s, %(version)s, %(state)s, %(programs)s, %(since)s, %(conditions)s,
               %(significant_risk_documented)s, %(payer)s, %(payer_checked_on)s, %(initiating_visit)s,
               %(practitioner_name)s, %(care_manager_name)s, %(rpm_ordered)s, %(rpm_device_fda_defined)s,
               %(rpm_auto_upload)s, %(rpm_setup_on)s, %(profile)s, %(why)s, %(at)s, %(by)s)
           ON CONFLICT DO NOTHING""",
        {name: getattr(said, name) for name in Enrolment.__slots__}
        | {
            "id": enrolment_id,
            "practice": by.practice_id,
            "programs": sorted(said.programs),
            "conditions": Jsonb(
                [
                    {"icd10": c.icd10, "name": c.name, "chronic_months": c.chronic_months}
                    for c in said.conditions
                ]
            ),
            "profile": Jsonb(msgspec.to_builtins(said.profile)),
            "why": why,
            "at": by.at,
            "by": by.staff_id,
        },
    )
    return done.rowcount == 1


async def enrolment_exists(conn: Connection, enrolment_id: UUID) -> bool:
    row = await (
        await conn.execute("SELECT 1 FROM ccm.enrolment WHERE enrolment_id = %s", (enrolment_id,))
    ).fetchone()
    return row is not None


async def everybody(conn: Connection) -> dict[str, UUID]:
    """Every patient of the practice by medical record number."""
    return dict(await (await conn.execute("SELECT mrn, patient_id FROM who.patient")).fetchall())


async def enrolment_versions(conn: Connection, patient_id: UUID) -> list[dict[str, Any]]:
    """How what is known came to be known: who wrote which version, when and why."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT version, state, why, recorded_at, recorded_by FROM ccm.enrolment
                WHERE patient_id = %s ORDER BY version DESC""",
            (patient_id,),
        )
        return await cur.fetchall()


async def copies(conn: Connection, patient_id: UUID) -> list[dict[str, Any]]:
    """Who got a copy of which version, and how."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT p.version, c.given_to, c.how, c.given_at FROM ccm.care_plan_copy c JOIN ccm.care_plan p USING (plan_id)
                WHERE p.patient_id = %s ORDER BY c.given_at""",
            (patient_id,),
        )
        return await cur.fetchall()


async def add_consent(conn: Connection, patient_id: UUID, said: Consent, *, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.consent (consent_id, practice_id, patient_id, program, accepted, given_at, method, explained,
                                    language, given_by, explained_by, explained_by_name, recorded_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (consent_id) DO NOTHING""",
        (
            said.consent_id,
            by.practice_id,
            patient_id,
            said.program,
            said.accepted,
            said.given_at,
            said.method,
            sorted(said.explained),
            said.language,
            said.given_by,
            by.staff_id,
            said.explained_by_name,
            by.at,
        ),
    )
    return done.rowcount == 1


async def revoke(conn: Connection, consent_id: UUID, *, revoked_at: datetime, reason: str, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.consent_revocation (consent_id, practice_id, revoked_at, reason, recorded_by, recorded_at)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (consent_id) DO NOTHING""",
        (consent_id, by.practice_id, revoked_at, reason, by.staff_id, by.at),
    )
    return done.rowcount == 1


async def add_plan(
    conn: Connection,
    plan_id: UUID,
    patient_id: UUID,
    *,
    version: int,
    content: Content,
    review_on: date,
    by: By,
) -> bool:
    """A new version; False if that version exists already."""
    done = await conn.execute(
        """INSERT INTO ccm.care_plan (plan_id, practice_id, patient_id, version, content, review_on, drafted_by,
                                      drafted_by_name, drafted_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        (
            plan_id,
            by.practice_id,
            patient_id,
            version,
            Jsonb(msgspec.to_builtins(content)),
            review_on,
            by.staff_id,
            by.name,
            by.at,
        ),
    )
    return done.rowcount == 1


async def sign_plan(conn: Connection, plan_id: UUID, *, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.care_plan_signature (plan_id, practice_id, signed_by, signed_by_name, signed_at)
           VALUES (%s, %s, %s, %s, %s) ON CONFLICT (plan_id) DO NOTHING""",
        (plan_id, by.practice_id, by.staff_id, by.name, by.at),
    )
    return done.rowcount == 1


async def give_copy(conn: Connection, copy_id: UUID, plan_id: UUID, *, to: str, how: str, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.care_plan_copy (copy_id, practice_id, plan_id, given_to, how, given_at, recorded_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (copy_id) DO NOTHING""",
        (copy_id, by.practice_id, plan_id, to, how, by.at, by.staff_id),
    )
    return done.rowcount == 1


async def attest(
    conn: Connection, attestation_id: UUID, *, kind: str, holds: bool, from_day: date, statement: str, by: By
) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.attestation (attestation_id, practice_id, kind, holds, from_day, statement, attested_by,
                                        attested_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (attestation_id) DO NOTHING""",
        (attestation_id, by.practice_id, kind, holds, from_day, statement, by.staff_id, by.at),
    )
    return done.rowcount == 1


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


# Reviews ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person's word on a patient's month, with exactly what they saw."""

    review_id: UUID
    patient_id: UUID
    month: date
    version: int
    step: str  # reviewed, signed, locked, amended
    facts: str
    decision: str
    entries: list[UUID]
    entries_hash: bytes
    rule_set: str
    price_set: str
    note: str
    by_staff: UUID
    by_name: str
    at: datetime


_REVIEW = ", ".join(Review.__slots__)


async def reviews(conn: Connection, month: date, patients: Sequence[UUID]) -> dict[UUID, list[Review]]:
    """Every review of these months, the newest first."""
    found: dict[UUID, list[Review]] = defaultdict(list)
    async with conn.cursor(row_factory=class_row(Review)) as cur:
        await cur.execute(
            f"""SELECT {_REVIEW} FROM ccm.month_review
                 WHERE month = %s AND patient_id = ANY(%s) ORDER BY version DESC""",  # noqa: S608
            (month, list(patients)),
        )
        for row in await cur.fetchall():
            found[row.patient_id].append(row)
    return dict(found)


async def add_review(conn: Connection, said: Review, *, practice_id: int) -> bool:
    """Append to the practice's chain of reviews; False if that version exists already."""
    seq, prev = await time_store.head(conn, "month_review", practice_id)
    row: dict[str, Any] = {name: getattr(said, name) for name in Review.__slots__} | {
        "practice_id": practice_id,
        "seq": seq + 1,
        "prev_hash": prev,
    }
    done = await conn.execute(
        """INSERT INTO ccm.month_review (review_id, practice_id, seq, patient_id, month, version, step, facts, decision,
               entries, entries_hash, rule_set, price_set, note, by_staff, by_name, at, prev_hash, hash)
           VALUES (%(review_id)s, %(practice_id)s, %(seq)s, %(patient_id)s, %(month)s, %(version)s, %(step)s, %(facts)s,
               %(decision)s, %(entries)s::uuid[], %(entries_hash)s, %(rule_set)s, %(price_set)s, %(note)s, %(by_staff)s,
               %(by_name)s, %(at)s, %(prev_hash)s, %(hash)s) ON CONFLICT DO NOTHING""",
        row | {"hash": chain.seal(row)},
    )
    return done.rowcount == 1


async def add_overpayment(
    conn: Connection,
    said: Review,
    *,
    before: dict[str, int],
    after: dict[str, int],
    report_by: date,
    practice_id: int,
) -> None:
    await conn.execute(
        """INSERT INTO ccm.overpayment (review_id, practice_id, patient_id, month, codes_before, codes_after,
                                        identified_at, report_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (review_id) DO NOTHING""",
        (
            said.review_id,
            practice_id,
            said.patient_id,
            said.month,
            Jsonb(before),
            Jsonb(after),
            said.at,
            report_by,
        ),
    )


async def overpayments(conn: Connection, patient_id: UUID | None = None) -> list[dict[str, Any]]:
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT review_id, patient_id, month, codes_before, codes_after, identified_at, report_by
                 FROM ccm.overpayment WHERE %s::uuid IS NULL OR patient_id = %s ORDER BY report_by""",
            (patient_id, patient_id),
        )
        return await cur.fetchall()
