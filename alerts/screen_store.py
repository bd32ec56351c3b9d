"""What screens read, under the reader's row-level security. Nothing here locks or writes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row

from alerts.concerns import Queue
from alerts.episode import Episode, State
from alerts.events import Move, Severity
from alerts.row import Reading
from alerts.sketch import Point
from risk.events import Evidence, Tier

_episode: Final = msgspec.json.Decoder(Episode)
_reading: Final = msgspec.json.Decoder(Reading)


async def benign(conn: AsyncConnection, *, limit: int = 200) -> list[Episode]:
    """Watches that nobody has and that were never worse, of patients with nothing worse open; the oldest first."""
    rows = await conn.execute(
        """SELECT row_to_json(e)::text FROM alerts.episode e
            WHERE state = 'waiting' AND queue = 'clinical' AND severity = 'watch' AND peak = 'watch'
              AND NOT EXISTS (SELECT FROM alerts.episode o WHERE o.patient_id = e.patient_id AND o.queue = 'clinical'
                                 AND o.state IN ('waiting', 'claimed', 'escalated') AND o.severity <> 'watch')
            ORDER BY since, episode_id LIMIT %s""",
        (limit,),
    )
    return [_episode.decode(text) for (text,) in await rows.fetchall()]


async def open_episodes(conn: AsyncConnection, patients: Collection[UUID]) -> dict[UUID, list[Episode]]:
    """The open episodes of these patients."""
    rows = await conn.execute(
        "SELECT row_to_json(e)::text FROM alerts.episode e WHERE patient_id = ANY(%s) AND state <> 'closed'",
        (list(patients),),
    )
    found: dict[UUID, list[Episode]] = {}
    for (text,) in await rows.fetchall():
        episode = _episode.decode(text)
        found.setdefault(episode.patient_id, []).append(episode)
    return found


async def standing(
    conn: AsyncConnection, queues: Collection[Queue], state: State, *, limit: int
) -> list[Episode]:
    """The episodes of these queues that are in one state, the worst first."""
    rows = await conn.execute(
        """SELECT row_to_json(e)::text FROM alerts.episode e WHERE state <> 'closed' AND queue = ANY(%s) AND state = %s
            ORDER BY array_position(ARRAY['critical', 'high', 'watch'], severity), due_at, episode_id LIMIT %s""",
        (list(queues), state, limit),
    )
    return [_episode.decode(text) for (text,) in await rows.fetchall()]


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that asks nobody at the moment, with the move that made it quiet."""

    episode: Episode
    reason: str
    at: datetime
    by_name: str | None


async def quiet(conn: AsyncConnection, queues: Collection[Queue], *, limit: int = 500) -> list[Quiet]:
    """Everything of these queues that is snoozed or rests, what ends first on top."""
    rows = await conn.execute(
        """SELECT json_build_object('episode', row_to_json(e), 'reason', t.reason, 'at', t.at, 'by_name', t.by_name)::text
             FROM alerts.episode e
            CROSS JOIN LATERAL (SELECT reason, at, by_name FROM alerts.transition t
                                 WHERE t.episode_id = e.episode_id AND t.move IN ('snoozed', 'dispositioned')
                                 ORDER BY number DESC LIMIT 1) t
            WHERE e.state IN ('snoozed', 'handled') AND e.queue = ANY(%s) ORDER BY e.until LIMIT %s""",
        (list(queues), limit),
    )
    return [msgspec.json.decode(text, type=Quiet) for (text,) in await rows.fetchall()]


async def episode(conn: AsyncConnection, episode_id: UUID) -> Episode | None:
    row = await (
        await conn.execute(
            "SELECT row_to_json(e)::text FROM alerts.episode e WHERE episode_id = %s", (episode_id,)
        )
    ).fetchone()
    return _episode.decode(row[0]) if row else None


async def history(conn: AsyncConnection, patient_id: UUID, *, limit: int = 10) -> list[Episode]:
    """What this patient had before, newest first."""
    rows = await conn.execute(
        """SELECT row_to_json(e)::text FROM alerts.episode e WHERE patient_id = %s AND state = 'closed'
            ORDER BY closed_at DESC LIMIT %s""",
        (patient_id, limit),
    )
    return [_episode.decode(text) for (text,) in await rows.fetchall()]


async def readings(conn: AsyncConnection, ids: Collection[UUID]) -> dict[UUID, Reading]:
    rows = await conn.execute(
        "SELECT row_to_json(o)::text FROM alerts.observation o WHERE reading_id = ANY(%s)", (list(ids),)
    )
    found = [_reading.decode(text) for (text,) in await rows.fetchall()]
    return {reading.reading_id: reading for reading in found}


async def series(
    conn: AsyncConnection, patient_id: UUID, kind: str, *, since: datetime, limit: int = 1000
) -> list[Reading]:
    """One patient's readings of one kind, oldest first; the newest `limit` of them."""
    rows = await conn.execute(
        """SELECT row_to_json(o)::text FROM alerts.observation o
            WHERE patient_id = %s AND kind = %s AND effective_at >= %s ORDER BY effective_at DESC LIMIT %s""",
        (patient_id, kind, since, limit),
    )
    return [_reading.decode(text) for (text,) in await rows.fetchall()][::-1]


class Want(msgspec.Struct, frozen=True):
    """Which line a row draws."""

    patient_id: UUID
    kind: str
    quantity: str


async def points(conn: AsyncConnection, wants: Sequence[Want], *, each: int = 24) -> dict[UUID, list[Point]]:
    """The last points of each wanted line, oldest first."""
    rows = await conn.execute(
        """SELECT w.patient_id, o.effective_at, o.value, o.low, o.high, o.tier, o.beyond
             FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS w (patient_id, kind, quantity)
            CROSS JOIN LATERAL (
                SELECT effective_at, tier, beyond, (bands -> w.quantity ->> 'low')::real AS low,
                       (bands -> w.quantity ->> 'high')::real AS high,
                       CASE w.quantity WHEN 'systolic' THEN systolic WHEN 'pulse' THEN pulse ELSE glucose END AS value
                  FROM alerts.observation
                 WHERE patient_id = w.patient_id AND kind = w.kind
                 ORDER BY effective_at DESC LIMIT %s) AS o
            WHERE o.value IS NOT NULL OR o.beyond IS NOT NULL ORDER BY o.effective_at""",
        ([w.patient_id for w in wants], [w.kind for w in wants], [w.quantity for w in wants], each),
    )
    found: dict[UUID, list[Point]] = {}
    for patient_id, at, value, low, high, tier, beyond in await rows.fetchall():
        found.setdefault(patient_id, []).append(Point(at, value, low, high, Tier(tier), beyond))
    return found


async def latest(conn: AsyncConnection, wants: Sequence[Want]) -> dict[UUID, Reading]:
    """The newest reading of each wanted kind."""
    rows = await conn.execute(
        """SELECT w.patient_id, row_to_json(o)::text
             FROM unnest(%s::uuid[], %s::text[]) AS w (patient_id, kind)
            CROSS JOIN LATERAL (SELECT * FROM alerts.observation WHERE patient_id = w.patient_id AND kind = w.kind
                                 ORDER BY effective_at DESC LIMIT 1) AS o""",
        ([w.patient_id for w in wants], [w.kind for w in wants]),
    )
    return {patient_id: _reading.decode(text) for patient_id, text in await rows.fetchall()}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an episode's story."""

    number: int
    move: Move
    severity: Severity
    why: str
    reason: str
    at: datetime
    by: UUID | None
    by_name: str | None
    caused_by: UUID
    disposition: str | None
    note: str


async def story(conn: AsyncConnection, episode_id: UUID) -> list[Told]:
    """Every transition, first to last."""
    async with conn.cursor(row_factory=class_row(dict)) as cursor:
        await cursor.execute(
            """SELECT number, move, severity, why, reason, at, by, by_name, caused_by, disposition, note
                 FROM alerts.transition WHERE episode_id = %s ORDER BY number""",
            (episode_id,),
        )
        return msgspec.convert(await cursor.fetchall(), list[Told])


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One reading that counted, and what it did."""

    reading_id: UUID
    score_id: UUID
    effective_at: datetime
    received_at: datetime
    tier: Tier
    why: str
    reason: str
    rule: str
    evidence: tuple[Evidence, ...]
    model_version: str
    rules_version: str
    taken_back: str | None = None  # by whom, if the reading was withdrawn or corrected since


async def evidence(conn: AsyncConnection, episode_id: UUID, *, limit: int = 50) -> list[Counted]:
    """The readings that counted, newest first."""
    rows = await conn.execute(
        """SELECT row_to_json(v)::text
             FROM (SELECT e.*, r.by_name AS taken_back
                     FROM alerts.evidence e LEFT JOIN alerts.retraction r USING (reading_id)
                    WHERE e.episode_id = %s ORDER BY e.effective_at DESC LIMIT %s) v""",
        (episode_id, limit),
    )
    return [msgspec.json.decode(text, type=Counted) for (text,) in await rows.fetchall()]


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    staff_name: str
    at: datetime
    said: str


async def comments(conn: AsyncConnection, episode_id: UUID) -> list[Comment]:
    rows = await conn.execute(
        "SELECT staff_name, at, said FROM alerts.comment WHERE episode_id = %s ORDER BY at", (episode_id,)
    )
    return [Comment(staff_name=name, at=at, said=said) for name, at, said in await rows.fetchall()]


class Undoable(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing a person did, if they may still take it back."""

    act_id: UUID
    move: Move
    disposition: str | None
    at: datetime
    patient_id: UUID
    concern: str
    concerns: int  # how many of this patient's the same act moved
    others: int  # further patients whom the same act settled


async def undoable(conn: AsyncConnection, staff_id: UUID, *, since: datetime) -> Undoable | None:
    """A person's newest act, unless it was an undo, a task, or something moved the episode since."""
    row = await (
        await conn.execute(
            """SELECT t.caused_by, t.move, t.disposition, t.at, t.patient_id, t.concern, t.why, t.number = e.number,
                      act.concerns, act.others
                 FROM alerts.transition t JOIN alerts.episode e USING (episode_id)
                CROSS JOIN LATERAL (
                      SELECT count(DISTINCT o.concern) FILTER (WHERE o.patient_id = t.patient_id) AS concerns,
                             count(DISTINCT o.patient_id) - 1 AS others
                        FROM alerts.transition o WHERE o.caused_by = t.caused_by AND o.by IS NOT NULL) act
                WHERE t.by = %s AND t.at >= %s ORDER BY t.at DESC, t.seq DESC LIMIT 1""",
            (staff_id, since),
        )
    ).fetchone()
    if row is None or row[6] in ("undo", "ask_task", "take_over") or not row[7]:
        return None
    return Undoable(
        act_id=row[0],
        move=Move(row[1]),
        disposition=row[2],
        at=row[3],
        patient_id=row[4],
        concern=row[5],
        concerns=row[8],
        others=row[9],
    )


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One transition as the live stream tells it."""

    seq: int
    patient_id: UUID
    concern: str
    move: Move
    severity: Severity


async def newest_seq(conn: AsyncConnection) -> int:
    """Where a page that is rendered now begins to listen."""
    row = await (await conn.execute("SELECT seq FROM alerts.transition ORDER BY seq DESC LIMIT 1")).fetchone()
    return row[0] if row else 0


async def moved_since(
    conn: AsyncConnection, seq: int, told: Collection[int], *, limit: int = 500
) -> list[Moved]:
    """Transitions after `seq`, and those of the last seconds before it that a slower transaction committed later.

    Numbers are drawn before commits, so a listener at 10 may see 9 appear afterwards: looking back ten seconds and
    remembering what was told closes that gap.
    """
    rows = await conn.execute(
        """SELECT seq, patient_id, concern, move, severity FROM alerts.transition
            WHERE seq > %(seq)s OR seq > %(seq)s - 1000 AND recorded_at > clock_timestamp() - interval '10 seconds'
                                   AND seq <> ALL(%(told)s)
            ORDER BY seq LIMIT %(limit)s""",
        {"seq": seq, "told": list(told), "limit": limit},
    )
    return [
        Moved(seq=s, patient_id=p, concern=c, move=Move(m), severity=Severity(v))
        for s, p, c, m, v in await rows.fetchall()
    ]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One patient's rhythm of one kind, and who agreed to it."""

    patient_id: UUID
    kind: str
    every_hours: int
    last_at: datetime
    due_at: datetime
    paused_until: datetime | None
    reason: str | None
    by_name: str | None
    at: datetime | None


async def measuring(conn: AsyncConnection, *, limit: int = 500) -> list[Measured]:
    """Everybody's rhythm, the most overdue first."""
    rows = await conn.execute(
        """SELECT json_build_object('patient_id', e.patient_id, 'kind', e.kind, 'every_hours', e.every_hours,
                  'last_at', e.last_at, 'due_at', e.due_at, 'paused_until', e.paused_until,
                  'reason', a.reason, 'by_name', a.by_name, 'at', a.at)::text
             FROM alerts.expectation e
             LEFT JOIN LATERAL (SELECT reason, by_name, at FROM alerts.arrangement
                                 WHERE patient_id = e.patient_id AND kind = e.kind ORDER BY at DESC LIMIT 1) a ON true
            ORDER BY e.due_at LIMIT %s""",
        (limit,),
    )
    return [msgspec.json.decode(text, type=Measured) for (text,) in await rows.fetchall()]
