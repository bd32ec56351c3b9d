"""Rungs and pages: made by one statement, sent by whoever takes the lease, each under the key that makes it one."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from alerts.escalation import FAILING_AFTER, Page

MOST = 20
"""Calls sent at once."""
LEASE = timedelta(minutes=1)
"""Longer than any send may take: a process that died while sending is followed by another after this."""


async def make(conn: AsyncConnection, *, now: datetime) -> int:
    """Pages that became due: for each waiting episode and each rung, the newest repeat and no older ones.

    The primary key makes a second telling the same row, however often and by however many processes.
    """
    done = await conn.execute(
        """INSERT INTO alerts.page (episode_id, times, rung_id, nth, practice_id, made_at, next_try_at)
           SELECT e.episode_id, e.times, r.rung_id,
                  CASE WHEN r.repeat_minutes IS NULL THEN 0
                       ELSE floor(extract(epoch FROM %(now)s - e.since - r.wait_minutes * interval '1 minute')
                                  / (60 * r.repeat_minutes))::int END,
                  e.practice_id, %(now)s, %(now)s
             FROM alerts.episode e
             JOIN alerts.rung r ON r.practice_id = e.practice_id AND r.severity = e.severity AND r.ended_at IS NULL
            WHERE e.state IN ('waiting', 'escalated') AND e.queue = 'clinical'
              AND e.since + r.wait_minutes * interval '1 minute' <= %(now)s
           ON CONFLICT DO NOTHING""",
        {"now": now},
    )
    return done.rowcount


async def give_up(conn: AsyncConnection) -> None:
    """Somebody came: what was not sent yet is not sent any more."""
    await conn.execute(
        """UPDATE alerts.page p SET given_up = true FROM alerts.episode e
            WHERE p.episode_id = e.episode_id AND p.sent_at IS NULL AND NOT p.given_up
              AND (e.state NOT IN ('waiting', 'escalated') OR e.times <> p.times)"""
    )


async def take(conn: AsyncConnection, *, now: datetime, limit: int = MOST) -> list[Page]:
    """Pages to send now, leased: until the lease ends nobody else sends them."""
    rows = await conn.execute(
        """WITH due AS (SELECT episode_id, times, rung_id, nth FROM alerts.page
                         WHERE sent_at IS NULL AND NOT given_up AND next_try_at <= %(now)s
                         ORDER BY next_try_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
           UPDATE alerts.page p SET tries = tries + 1, next_try_at = %(until)s
             FROM due, alerts.rung r, alerts.episode e
            WHERE (p.episode_id, p.times, p.rung_id, p.nth) = (due.episode_id, due.times, due.rung_id, due.nth)
              AND r.rung_id = p.rung_id AND e.episode_id = p.episode_id
           RETURNING json_build_object('episode_id', p.episode_id, 'times', p.times, 'rung_id', p.rung_id, 'nth', p.nth,
                     'practice_id', p.practice_id, 'channel', r.channel, 'target', r.target, 'severity', e.severity,
                     'due_at', e.due_at, 'tries', p.tries)::text""",
        {"now": now, "until": now + LEASE, "limit": limit},
    )
    return [msgspec.json.decode(text, type=Page) for (text,) in await rows.fetchall()]


async def sent(conn: AsyncConnection, page: Page, *, at: datetime) -> None:
    await conn.execute(
        """UPDATE alerts.page SET sent_at = %s, failure = NULL
            WHERE (episode_id, times, rung_id, nth) = (%s, %s, %s, %s) AND sent_at IS NULL""",
        (at, page.episode_id, page.times, page.rung_id, page.nth),
    )


async def failed(conn: AsyncConnection, page: Page, *, failure: str, next_try_at: datetime) -> None:
    await conn.execute(
        """UPDATE alerts.page SET failure = %s, next_try_at = %s
            WHERE (episode_id, times, rung_id, nth) = (%s, %s, %s, %s) AND sent_at IS NULL""",
        (failure, next_try_at, page.episode_id, page.times, page.rung_id, page.nth),
    )


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a practice's chain, and how it has done lately."""

    rung_id: UUID
    severity: str
    wait_minutes: int
    repeat_minutes: int | None
    channel: str
    target: str
    sent: int = 0
    failing: int = 0


async def rungs(conn: AsyncConnection) -> list[Rung]:
    """The chain in the order it calls, each rung with what it sent and what it could not send."""
    rows = await conn.execute(
        """SELECT json_build_object('rung_id', r.rung_id, 'severity', r.severity, 'wait_minutes', r.wait_minutes,
                  'repeat_minutes', r.repeat_minutes, 'channel', r.channel, 'target', r.target,
                  'sent', count(p.sent_at),
                  'failing', count(*) FILTER (WHERE p.tries >= %s AND p.sent_at IS NULL AND NOT p.given_up))::text
             FROM alerts.rung r LEFT JOIN alerts.page p USING (rung_id)
            WHERE r.ended_at IS NULL GROUP BY r.rung_id
            ORDER BY array_position(ARRAY['critical', 'high', 'watch'], r.severity), r.wait_minutes, r.target""",
        (FAILING_AFTER,),
    )
    return [msgspec.json.decode(text, type=Rung) for (text,) in await rows.fetchall()]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call as people read it: about which episode, whom, and whether it got out."""

    episode_id: UUID
    patient_id: UUID
    concern: str
    severity: str
    target: str
    channel: str
    nth: int
    made_at: datetime
    sent_at: datetime | None
    given_up: bool
    failure: str | None
    tries: int


async def calls(conn: AsyncConnection, *, episode_id: UUID | None = None, limit: int = 20) -> list[Call]:
    """The newest calls, newest first; of one episode, if it is named."""
    rows = await conn.execute(
        """SELECT json_build_object('episode_id', p.episode_id, 'patient_id', e.patient_id, 'concern', e.concern,
                  'severity', r.severity, 'target', r.target, 'channel', r.channel, 'nth', p.nth, 'made_at', p.made_at,
                  'sent_at', p.sent_at, 'given_up', p.given_up, 'failure', p.failure, 'tries', p.tries)::text
             FROM alerts.page p JOIN alerts.rung r USING (rung_id)
             JOIN alerts.episode e ON e.episode_id = p.episode_id
            WHERE %(episode)s::uuid IS NULL OR p.episode_id = %(episode)s
            ORDER BY p.made_at DESC, p.nth DESC LIMIT %(limit)s""",
        {"episode": episode_id, "limit": limit},
    )
    return [msgspec.json.decode(text, type=Call) for (text,) in await rows.fetchall()]


async def add(conn: AsyncConnection, rung: Rung, *, practice_id: int, by: UUID, at: datetime) -> None:
    await conn.execute(
        """INSERT INTO alerts.rung (rung_id, practice_id, severity, wait_minutes, repeat_minutes, channel, target,
                                    added_at, added_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (rung.rung_id, practice_id, rung.severity, rung.wait_minutes, rung.repeat_minutes, rung.channel, rung.target,
         at, by),
    )  # fmt: skip


async def end(conn: AsyncConnection, rung_id: UUID, *, at: datetime) -> bool:
    done = await conn.execute(
        "UPDATE alerts.rung SET ended_at = %s WHERE rung_id = %s AND ended_at IS NULL", (at, rung_id)
    )
    return done.rowcount == 1
