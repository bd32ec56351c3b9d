"""What the reports read: calls and what became of them, and what a shift leaves to the next. Under the reader's policy."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from alerts.burden import Call
from alerts.concerns import Queue
from alerts.episode import State
from alerts.events import Move, Severity


async def calls(conn: AsyncConnection, *, since: datetime, until: datetime) -> list[Call]:
    """Every time an episode asked for somebody, with the first thing a person did about it.

    What belongs to a call lies between it and the next one of the same episode: an undo is no call.
    """
    rows = await conn.execute(
        """WITH asked AS MATERIALIZED (
               SELECT episode_id, number, at, since, due_at, severity, why, caused_by,
                      lead(number) OVER (PARTITION BY episode_id ORDER BY number) AS next
                 FROM alerts.transition
                WHERE at >= %(since)s AND by IS NULL
                  AND (move IN ('opened', 'reopened') OR move = 'worsened' AND before IN ('handled', 'snoozed'))
           ), done AS (
               SELECT a.episode_id, a.number, min(n.at) AS came_at,
                      (array_agg(n.at ORDER BY n.number DESC) FILTER (WHERE n.move = 'dispositioned'))[1] AS settled_at,
                      (array_agg(n.disposition ORDER BY n.number DESC)
                           FILTER (WHERE n.move = 'dispositioned'))[1] AS disposition
                 FROM asked a
                 JOIN alerts.transition n ON n.episode_id = a.episode_id AND n.by IS NOT NULL AND n.number > a.number
                      AND (a.next IS NULL OR n.number < a.next)
                GROUP BY 1, 2)
           SELECT e.queue, a.severity, coalesce(v.rule, e.rule), e.concern, coalesce(a.since, a.at), a.due_at,
                  a.why = 'again', d.came_at, d.settled_at, d.disposition
             FROM asked a
             JOIN alerts.episode e USING (episode_id)
             LEFT JOIN done d ON d.episode_id = a.episode_id AND d.number = a.number
             LEFT JOIN alerts.evidence v ON v.episode_id = a.episode_id AND v.score_id = a.caused_by
            WHERE a.at < %(until)s""",
        {"since": since, "until": until},
        binary=True,  # ten thousand instants need no text
    )
    return [
        Call(
            queue=Queue(queue),
            severity=Severity(severity),
            rule=rule,
            concern=concern,
            at=at,
            due_at=due_at,
            again=again,
            came_at=came_at,
            settled_at=settled_at,
            disposition=disposition,
        )
        for queue, severity, rule, concern, at, due_at, again, came_at, settled_at, disposition in await rows.fetchall()
    ]


async def watched(conn: AsyncConnection, *, since: datetime, until: datetime) -> tuple[int, int]:
    """(patients, readings) that were watched live in the period."""
    rows = await conn.execute(
        """SELECT count(*), coalesce(sum(readings), 0)::int
             FROM (SELECT count(*) AS readings FROM alerts.observation
                    WHERE received_at >= %s AND received_at < %s AND NOT history GROUP BY patient_id) AS each""",
        (since, until),
    )
    row = await rows.fetchone()
    return (row[0], row[1]) if row else (0, 0)


async def overdue(conn: AsyncConnection, *, now: datetime) -> int:
    """How many episodes wait although somebody should have come: one question to the index of due times."""
    row = await (
        await conn.execute(
            "SELECT count(*) FROM alerts.episode WHERE state IN ('waiting', 'escalated') AND due_at <= %s",
            (now,),
        )
    ).fetchone()
    return row[0] if row else 0


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """How many episodes of one kind are open now, and how many of them are later than promised."""

    queue: Queue
    severity: Severity
    state: State
    open: int
    overdue: int


async def stands(conn: AsyncConnection, *, now: datetime) -> list[Stand]:
    """The open episodes, counted."""
    rows = await conn.execute(
        """SELECT queue, severity, state, count(*),
                  count(*) FILTER (WHERE state IN ('waiting', 'escalated') AND due_at <= %s)
             FROM alerts.episode WHERE state <> 'closed' GROUP BY queue, severity, state""",
        (now,),
    )
    return [
        Stand(queue=Queue(q), severity=Severity(v), state=State(s), open=n, overdue=late)
        for q, v, s, n, late in await rows.fetchall()
    ]


async def holding(conn: AsyncConnection, queues: Collection[Queue]) -> dict[UUID, int]:
    """How many episodes of these queues everybody has in their hands."""
    rows = await conn.execute(
        """SELECT owner, count(*) FROM alerts.episode WHERE state = 'claimed' AND queue = ANY(%s) GROUP BY owner""",
        (list(queues),),
    )
    return dict(await rows.fetchall())


class Worked(msgspec.Struct, frozen=True, kw_only=True):
    """What one person did in a while; what they took back does not count."""

    by: UUID
    by_name: str
    claimed: int = 0
    settled: int = 0
    contacts: int = 0  # patients spoken with
    escalated: int = 0


async def worked(conn: AsyncConnection, *, since: datetime) -> list[Worked]:
    rows = await conn.execute(
        """SELECT json_build_object('by', t.by, 'by_name', max(t.by_name),
                  'claimed', count(*) FILTER (WHERE t.move = 'claimed'),
                  'settled', count(*) FILTER (WHERE t.move = 'dispositioned'),
                  'contacts', count(DISTINCT t.patient_id) FILTER (
                      WHERE t.disposition IN ('contacted', 'plan_changed', 'emergency', 'self_care')),
                  'escalated', count(*) FILTER (WHERE t.move = 'escalated'))::text
             FROM alerts.transition t
            WHERE t.at >= %s AND t.by IS NOT NULL AND t.why <> 'undo'
              AND NOT EXISTS (SELECT FROM alerts.transition u WHERE u.episode_id = t.episode_id
                                 AND u.number = t.number + 1 AND u.why = 'undo')
            GROUP BY t.by""",
        (since,),
    )
    return [msgspec.json.decode(text, type=Worked) for (text,) in await rows.fetchall()]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a person did, as the next shift reads it."""

    episode_id: UUID
    patient_id: UUID
    concern: str
    severity: str
    move: Move
    at: datetime
    by_name: str
    disposition: str | None
    note: str
    state: str  # of the episode now


async def done(conn: AsyncConnection, *, since: datetime, limit: int = 300) -> list[Done]:
    """What people settled, escalated, snoozed or gave back since then, newest first."""
    rows = await conn.execute(
        """SELECT json_build_object('episode_id', t.episode_id, 'patient_id', t.patient_id, 'concern', t.concern,
                  'severity', t.severity, 'move', t.move, 'at', t.at, 'by_name', t.by_name,
                  'disposition', t.disposition, 'note', t.note, 'state', e.state)::text
             FROM alerts.transition t JOIN alerts.episode e USING (episode_id)
            WHERE t.at >= %s AND t.by IS NOT NULL AND t.why <> 'undo'
              AND t.move IN ('dispositioned', 'escalated', 'snoozed', 'task_asked')
            ORDER BY t.seq DESC LIMIT %s""",
        (since, limit),
    )
    return [msgspec.json.decode(text, type=Done) for (text,) in await rows.fetchall()]
