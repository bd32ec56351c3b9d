"""Rungs and pages: made by one statement, given to a notification, sent by whoever takes the lease under its key."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from alerts.escalation import FAILING_AFTER, Page
from alerts.notification import Line, Notification, Why, together

MOST = 20
"""Notifications sent at once."""
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


async def alone(conn: AsyncConnection) -> bool:
    """True for one process at a time, until its transaction ends: what goes out together is decided by one."""
    row = await (await conn.execute("SELECT pg_try_advisory_xact_lock(hashtext('alerts.page'))")).fetchone()
    return bool(row and row[0])


_PAGE = """json_build_object('episode_id', p.episode_id, 'times', p.times, 'rung_id', p.rung_id, 'nth', p.nth,
           'practice_id', p.practice_id, 'channel', r.channel, 'target', r.target, 'severity', e.severity,
           'due_at', e.due_at, 'tries', CASE WHEN p.notification IS NULL THEN 1 ELSE p.tries END, 'first', NOT EXISTS (
               SELECT FROM alerts.page before WHERE before.episode_id = p.episode_id AND before.times = p.times
                  AND before.rung_id = p.rung_id AND before.sent_at IS NOT NULL))::text"""
_FROM = (
    "alerts.page p JOIN alerts.rung r USING (rung_id) JOIN alerts.episode e ON e.episode_id = p.episode_id"
)


async def waiting(conn: AsyncConnection) -> list[Page]:
    """Calls that are due and have not been given to a notification yet."""
    rows = await conn.execute(
        f"SELECT {_PAGE} FROM {_FROM} WHERE p.sent_at IS NULL AND NOT p.given_up AND p.notification IS NULL"  # noqa: S608
    )
    return [msgspec.json.decode(text, type=Page) for (text,) in await rows.fetchall()]


async def told(conn: AsyncConnection, *, since: datetime) -> dict[Line, datetime]:
    """When the last notification on each line was first tried, as far as that is since then."""
    rows = await conn.execute(
        "SELECT rung_id, person, max(gathered_at) FROM alerts.page WHERE gathered_at > %s GROUP BY 1, 2",
        (since,),
    )
    return {Line(rung_id, person): at for rung_id, person, at in await rows.fetchall()}


async def begin(
    conn: AsyncConnection, notification: Notification, *, person: UUID | None, now: datetime
) -> None:
    """Fix what goes out together, and why, before it is first sent; leased to whoever did."""
    await conn.execute(
        f"""UPDATE alerts.page p SET notification = %(key)s, person = %(person)s, gathered_at = %(now)s, tries = 1,
                   next_try_at = %(until)s, why = CASE WHEN t.n = 1 THEN %(why)s ELSE %(joined)s END
              {_THESE} AND p.notification IS NULL""",  # noqa: S608
        _these(notification)
        | {
            "key": notification.key,
            "person": person,
            "now": now,
            "until": now + LEASE,
            "why": notification.why.name.lower(),
            "joined": Why.JOINED.name.lower(),
        },
    )


async def again(conn: AsyncConnection, *, now: datetime, limit: int) -> list[Notification]:
    """Notifications to try again, leased: until the lease ends nobody else sends them. What was given up is left out."""
    rows = await conn.execute(
        f"""WITH due AS (SELECT notification FROM alerts.page
                          WHERE sent_at IS NULL AND NOT given_up AND notification IS NOT NULL AND next_try_at <= %(now)s
                          GROUP BY 1 ORDER BY min(next_try_at) LIMIT %(limit)s),
                 leased AS (UPDATE alerts.page SET tries = tries + 1, next_try_at = %(until)s
                             WHERE notification IN (SELECT notification FROM due)
                               AND sent_at IS NULL AND NOT given_up AND next_try_at <= %(now)s RETURNING *)
            SELECT p.notification, {_PAGE} FROM {_FROM.replace("alerts.page", "leased")}""",  # noqa: S608
        {"now": now, "until": now + LEASE, "limit": limit},
    )
    found: dict[str, list[Page]] = {}
    for key, text in await rows.fetchall():
        found.setdefault(key, []).append(msgspec.json.decode(text, type=Page))
    return [together(calls, why=Why.AGAIN, key=key) for key, calls in found.items()]


async def sent(conn: AsyncConnection, notification: Notification, *, at: datetime) -> None:
    """All of its calls are made, together or not at all."""
    await conn.execute(
        f"UPDATE alerts.page p SET sent_at = %(at)s, failure = NULL {_THESE} AND p.sent_at IS NULL",  # noqa: S608
        _these(notification) | {"at": at},
    )


async def failed(
    conn: AsyncConnection, notification: Notification, *, failure: str, next_try_at: datetime
) -> None:
    await conn.execute(
        f"""UPDATE alerts.page p SET failure = %(failure)s, next_try_at = %(next)s
            {_THESE} AND p.sent_at IS NULL""",  # noqa: S608
        _these(notification) | {"failure": failure, "next": next_try_at},
    )


_THESE = """FROM unnest(%(episodes)s::uuid[], %(times)s::int[], %(nths)s::int[])
                 WITH ORDINALITY AS t (episode_id, times, nth, n)
           WHERE (p.episode_id, p.times, p.rung_id, p.nth) = (t.episode_id, t.times, %(rung)s, t.nth)"""


def _these(notification: Notification) -> dict[str, object]:
    """The rows of a notification's calls; the one that leads is the first."""
    calls = notification.calls
    return {
        "rung": notification.lead.rung_id,
        "episodes": [call.episode_id for call in calls],
        "times": [call.times for call in calls],
        "nths": [call.nth for call in calls],
    }


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a practice's chain, and how it has done lately."""

    rung_id: UUID
    severity: str
    wait_minutes: int
    repeat_minutes: int | None
    channel: str
    target: str
    sent: int = 0
    notifications: int = 0
    failing: int = 0


async def rungs(conn: AsyncConnection) -> list[Rung]:
    """The chain in the order it calls, each rung with what it sent and what it could not send."""
    rows = await conn.execute(
        """SELECT json_build_object('rung_id', r.rung_id, 'severity', r.severity, 'wait_minutes', r.wait_minutes,
                  'repeat_minutes', r.repeat_minutes, 'channel', r.channel, 'target', r.target,
                  'sent', count(p.sent_at),
                  'notifications', count(DISTINCT coalesce(p.notification, p.episode_id::text || p.nth))
                                       FILTER (WHERE p.sent_at IS NOT NULL),
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
    joined: bool  # it went out with another call
    more: int  # other calls that went out with it


async def calls(conn: AsyncConnection, *, episode_id: UUID | None = None, limit: int = 20) -> list[Call]:
    """The newest calls, newest first; of one episode, if it is named."""
    rows = await conn.execute(
        """SELECT json_build_object('episode_id', p.episode_id, 'patient_id', e.patient_id, 'concern', e.concern,
                  'severity', r.severity, 'target', r.target, 'channel', r.channel, 'nth', p.nth, 'made_at', p.made_at,
                  'sent_at', p.sent_at, 'given_up', p.given_up, 'failure', p.failure, 'tries', p.tries,
                  'joined', p.why IS NOT DISTINCT FROM 'joined',
                  'more', CASE WHEN p.notification IS NULL THEN 0 ELSE (
                      SELECT count(*) - 1 FROM alerts.page o WHERE o.notification = p.notification) END)::text
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
