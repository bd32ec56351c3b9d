"""The minutes in SQL: running timers as rows, and the append-only ledger with its chain."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from ccm_bridge import chain
from ccm_bridge.ledger import Entry, Span
from ccm_bridge.store import By, Connection
from ccm_bridge.timer import Beat

LOCKS = {"time_entry": 40_001, "time_void": 40_002, "month_review": 40_003}
"""One writer at a time per practice and chain; without it most would meet the fork constraint and fail."""

# Timers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A timer's row with its last beat."""

    timer_id: UUID
    staff_id: UUID
    patient_id: UUID
    task_id: UUID | None
    program: str
    activity: str
    state: str
    started_at: datetime
    last_n: int
    last_stretch: int
    last_at: datetime


_TIMER: LiteralString = """
    SELECT t.timer_id, t.staff_id, t.patient_id, t.task_id, t.program, t.activity, t.state, t.started_at,
           b.n AS last_n, b.stretch AS last_stretch, b.at AS last_at
      FROM ccm.timer t
      JOIN LATERAL (SELECT n, stretch, at FROM ccm.timer_beat WHERE timer_id = t.timer_id
                     ORDER BY n DESC LIMIT 1) b ON true """


async def timer(conn: Connection, timer_id: UUID, *, staff_id: UUID, lock: bool = False) -> Timer | None:
    """A person's own timer; locked when the caller is about to move it."""
    if lock:
        await conn.execute("SELECT FROM ccm.timer WHERE timer_id = %s FOR UPDATE", (timer_id,))
    async with conn.cursor(row_factory=class_row(Timer)) as cur:
        await cur.execute(_TIMER + "WHERE t.timer_id = %s AND t.staff_id = %s", (timer_id, staff_id))
        return await cur.fetchone()


async def open_timer(conn: Connection, staff_id: UUID) -> Timer | None:
    """The one timer this person has not finished with: running, paused, or stopped and not yet logged."""
    async with conn.cursor(row_factory=class_row(Timer)) as cur:
        await cur.execute(
            _TIMER + "WHERE t.staff_id = %s AND t.state IN ('running', 'paused', 'stopped')", (staff_id,)
        )
        return await cur.fetchone()


async def start_timer(
    conn: Connection,
    timer_id: UUID,
    *,
    patient_id: UUID,
    task_id: UUID | None,
    program: str,
    activity: str,
    by: By,
) -> bool:
    """False if this person has another unfinished timer. Starting the same timer twice starts it once."""
    try:
        async with conn.transaction():
            made = await conn.execute(
                """INSERT INTO ccm.timer (timer_id, practice_id, staff_id, patient_id, task_id, program, activity, state,
                                          started_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, 'running', %s) ON CONFLICT (timer_id) DO NOTHING""",
                (timer_id, by.practice_id, by.staff_id, patient_id, task_id, program, activity, by.at),
            )
            if made.rowcount:
                await beat(conn, timer_id, Beat(n=0, stretch=0, at=by.at), practice_id=by.practice_id)
    except psycopg.errors.UniqueViolation:
        return False
    return True


async def beat(conn: Connection, timer_id: UUID, one: Beat, *, practice_id: int) -> None:
    """Beat n is one row, however often it is sent."""
    await conn.execute(
        """INSERT INTO ccm.timer_beat (timer_id, n, practice_id, stretch, at)
           VALUES (%s, %s, %s, %s, %s) ON CONFLICT (timer_id, n) DO NOTHING""",
        (timer_id, one.n, practice_id, one.stretch, one.at),
    )


async def move_timer(conn: Connection, timer_id: UUID, *, expected: Sequence[str], to: str) -> bool:
    done = await conn.execute(
        "UPDATE ccm.timer SET state = %s WHERE timer_id = %s AND state = ANY(%s)",
        (to, timer_id, list(expected)),
    )
    return done.rowcount == 1


async def note_stop(conn: Connection, timer_id: UUID, *, at: datetime, how: str, practice_id: int) -> None:
    await conn.execute(
        """INSERT INTO ccm.timer_stop (timer_id, practice_id, at, how) VALUES (%s, %s, %s, %s)
           ON CONFLICT (timer_id) DO NOTHING""",
        (timer_id, practice_id, at, how),
    )


async def beats(conn: Connection, timer_id: UUID) -> list[Beat]:
    async with conn.cursor(row_factory=class_row(Beat)) as cur:
        await cur.execute(
            "SELECT n, stretch, at FROM ccm.timer_beat WHERE timer_id = %s ORDER BY n", (timer_id,)
        )
        return await cur.fetchall()


# The ledger ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An entry as it stands in the ledger, with its void if it has one."""

    entry_id: UUID
    seq: int
    staff_id: UUID
    staff_name: str
    credential: str
    country: str
    patient_id: UUID
    program: str
    start: datetime
    end: datetime
    month: Any
    task_id: UUID | None
    episode_id: UUID | None
    timer_id: UUID | None
    activity: str
    note: str
    problem: str
    outcome: str
    contact: str
    contact_with: str
    interactive: bool
    as_clinical_staff: bool
    readings: list[UUID]
    source: str
    attestation: str
    corrects: UUID | None
    entered_at: datetime
    hash: bytes
    voided_at: datetime | None
    void_reason: str | None
    void_by_name: str | None

    @property
    def seconds(self) -> int:
        return Span(start=self.start, end=self.end).seconds


_WRITTEN: LiteralString = """
    SELECT e.entry_id, e.seq, e.staff_id, e.staff_name, e.credential, e.country, e.patient_id, e.program,
           lower(e.span) AS start, upper(e.span) AS "end", e.month, e.task_id, e.episode_id, e.timer_id, e.activity, e.note,
           e.problem,
           e.outcome, e.contact, e.contact_with, e.interactive, e.as_clinical_staff, e.readings, e.source, e.attestation,
           e.corrects, e.entered_at, e.hash, v.at AS voided_at, v.reason AS void_reason, v.by_name AS void_by_name
      FROM ccm.time_entry e LEFT JOIN ccm.time_void v USING (entry_id) """

ENTRY_ROW: LiteralString = """
    SELECT entry_id, practice_id, seq, staff_id, staff_name, credential, country, patient_id, program,
           lower(span) AS start, upper(span) AS "end", zone, month, task_id, episode_id, timer_id, activity, note,
           problem, outcome, contact, contact_with, interactive, as_clinical_staff, readings, source, attestation,
           corrects, entered_at,
           entered_by, prev_hash, hash
      FROM ccm.time_entry """
VOID_ROW: LiteralString = """
    SELECT void_id, practice_id, seq, entry_id, reason, by_staff, by_name, at, prev_hash, hash FROM ccm.time_void """
REVIEW_ROW: LiteralString = """
    SELECT review_id, practice_id, seq, patient_id, month, version, step, facts, decision, entries, entries_hash, rule_set,
           price_set, note, by_staff, by_name, at, prev_hash, hash FROM ccm.month_review """
ROWS: dict[str, LiteralString] = {"time_entry": ENTRY_ROW, "time_void": VOID_ROW, "month_review": REVIEW_ROW}
"""Every column of each chained table: what a row's hash is made of."""


async def entries(conn: Connection, where: LiteralString, values: Sequence[object]) -> list[Written]:
    async with conn.cursor(row_factory=class_row(Written)) as cur:
        await cur.execute(_WRITTEN + where + " ORDER BY lower(e.span), e.seq", values)
        return await cur.fetchall()


async def entry(conn: Connection, entry_id: UUID) -> Written | None:
    found = await entries(conn, "WHERE e.entry_id = %s", (entry_id,))
    return found[0] if found else None


async def by_ids(conn: Connection, ids: Iterable[UUID]) -> dict[UUID, Written]:
    found = await entries(conn, "WHERE e.entry_id = ANY(%s)", (list(ids),))
    return {one.entry_id: one for one in found}


async def of_task(conn: Connection, task_id: UUID) -> list[Written]:
    """The entries of a task, and those of calls about its alert: such a call may be older than the task it asked for."""
    return await entries(
        conn,
        "WHERE e.task_id = %s OR e.episode_id = (SELECT episode_id FROM ccm.task WHERE task_id = %s)",
        (task_id, task_id),
    )


async def of_reading(conn: Connection, reading_id: UUID) -> list[Written]:
    """The entries that acted on a reading."""
    return await entries(conn, "WHERE e.readings @> ARRAY[%s]::uuid[]", (reading_id,))


async def of_month(conn: Connection, month: object, patient_id: UUID | None = None) -> list[Written]:
    if patient_id is None:
        return await entries(conn, "WHERE e.month = %s", (month,))
    return await entries(conn, "WHERE e.month = %s AND e.patient_id = %s", (month, patient_id))


async def overlapping(conn: Connection, staff_id: UUID, spans: Iterable[Span]) -> Written | None:
    """An entry of this person that holds some of this time already."""
    for span in spans:
        found = await entries(
            conn,
            """WHERE e.entry_id IN (SELECT entry_id FROM ccm.active_span
                                     WHERE staff_id = %s AND span && tstzrange(%s, %s))""",
            (staff_id, span.start, span.end),
        )
        if found:
            return found[0]
    return None


class Overlap(Exception):
    """The database refused a span: this person's time there is taken."""


async def append(conn: Connection, new: Sequence[Entry]) -> None:
    """Write entries at the end of the practice's chain, all or none.

    1. Lock the practice's chain until the transaction ends. 2. Read its head. 3. Seal and write each row. The unique
    keys stand behind the lock; the exclusion of overlapping spans stands behind every check made before.
    """
    seq, prev = await head(conn, "time_entry", new[0].practice_id)
    try:
        async with conn.transaction():
            for one in new:
                seq += 1
                row = _row(one, seq, prev)
                prev = chain.seal(row)
                await _insert_entry(conn, row | {"hash": prev})
    except psycopg.errors.ExclusionViolation as refused:
        raise Overlap(f"time of staff {new[0].staff_id} is taken") from refused


def _row(one: Entry, seq: int, prev: bytes) -> dict[str, Any]:
    doing = one.doing
    return {
        "entry_id": one.entry_id,
        "practice_id": one.practice_id,
        "seq": seq,
        "staff_id": one.staff_id,
        "staff_name": one.staff_name,
        "credential": one.credential,
        "country": one.country,
        "patient_id": doing.patient_id,
        "program": doing.program,
        "start": one.span.start,
        "end": one.span.end,
        "zone": one.zone,
        "month": one.month,
        "task_id": doing.task_id,
        "episode_id": doing.episode_id,
        "timer_id": one.timer_id,
        "activity": doing.activity,
        "note": doing.note,
        "problem": doing.problem,
        "outcome": doing.outcome,
        "contact": str(doing.contact),
        "contact_with": doing.contact_with,
        "interactive": doing.interactive,
        "as_clinical_staff": doing.as_clinical_staff,
        "readings": list(doing.readings),
        "source": str(one.source),
        "attestation": one.attestation,
        "corrects": one.corrects,
        "entered_at": one.entered_at,
        "entered_by": one.entered_by,
        "prev_hash": prev,
    }


async def _insert_entry(conn: Connection, row: dict[str, Any]) -> None:
    await conn.execute(
        """INSERT INTO ccm.time_entry (
               entry_id, practice_id, seq, staff_id, staff_name, credential, country, patient_id, program, span, zone,
               month, task_id, episode_id, timer_id, activity, note, problem, outcome, contact, contact_with, interactive,
               as_clinical_staff, readings, source, attestation, corrects, entered_at, entered_by, prev_hash, hash)
           VALUES (
               %(entry_id)s, %(practice_id)s, %(seq)s, %(staff_id)s, %(staff_name)s, %(credential)s, %(country)s,
               %(patient_id)s, %(program)s, tstzrange(%(start)s, %(end)s, '[)'), %(zone)s, %(month)s, %(task_id)s,
               %(episode_id)s, %(timer_id)s, %(activity)s, %(note)s, %(problem)s, %(outcome)s, %(contact)s, %(contact_with)s,
               %(interactive)s, %(as_clinical_staff)s, %(readings)s::uuid[], %(source)s, %(attestation)s, %(corrects)s,
               %(entered_at)s, %(entered_by)s, %(prev_hash)s, %(hash)s)""",
        row,
    )


async def void(conn: Connection, void_id: UUID, entry_id: UUID, reason: str, by: By) -> bool:
    """True if the entry is now void by this very act; False if it was void before."""
    seq, prev = await head(conn, "time_void", by.practice_id)
    row: dict[str, Any] = {
        "void_id": void_id,
        "practice_id": by.practice_id,
        "seq": seq + 1,
        "entry_id": entry_id,
        "reason": reason,
        "by_staff": by.staff_id,
        "by_name": by.name,
        "at": by.at,
        "prev_hash": prev,
    }
    done = await conn.execute(
        """INSERT INTO ccm.time_void (void_id, practice_id, seq, entry_id, reason, by_staff, by_name, at, prev_hash, hash)
           VALUES (%(void_id)s, %(practice_id)s, %(seq)s, %(entry_id)s, %(reason)s, %(by_staff)s, %(by_name)s, %(at)s,
                   %(prev_hash)s, %(hash)s) ON CONFLICT (entry_id) DO NOTHING""",
        row | {"hash": chain.seal(row)},
    )
    return done.rowcount == 1


async def lock(conn: Connection, table: str, practice_id: int) -> None:
    """Be the only writer of this practice's chain until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCKS[table], practice_id))


async def head(conn: Connection, table: LiteralString, practice_id: int) -> tuple[int, bytes]:
    """The end of a practice's chain, held until the transaction ends."""
    await lock(conn, table, practice_id)
    row = await (
        await conn.execute(
            f"SELECT seq, hash FROM ccm.{table} WHERE practice_id = %s ORDER BY seq DESC LIMIT 1",  # noqa: S608
            (practice_id,),
        )
    ).fetchone()
    return (row[0], row[1]) if row else (0, chain.genesis(table, practice_id))


async def links(conn: Connection, table: str, practice_id: int) -> AsyncIterator[chain.Row]:
    """Every row of a practice's chain in order, a few at a time."""
    async with conn.cursor(f"chain_{table}", row_factory=dict_row) as cur:
        await cur.execute(ROWS[table] + "WHERE practice_id = %s ORDER BY seq", (practice_id,))
        async for row in cur:
            yield row
