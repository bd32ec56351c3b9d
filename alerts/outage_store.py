"""Outages of channels in the database: one open at a time for each practice and channel, kept for ever."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from alerts.escalation import FAILING_AFTER
from alerts.outage import Outage, Stuck


async def stuck(conn: AsyncConnection) -> list[tuple[Outage | None, Stuck]]:
    """Every channel with a failing call or an open outage, with that outage."""
    rows = await conn.execute(
        """WITH failing AS (
               SELECT p.practice_id, r.channel, count(*) AS calls,
                      (array_agg(p.failure ORDER BY p.made_at DESC))[1] AS failure
                 FROM alerts.page p JOIN alerts.rung r USING (rung_id)
                WHERE p.sent_at IS NULL AND NOT p.given_up AND p.tries >= %s AND p.failure IS NOT NULL
                GROUP BY 1, 2
           ), asked AS (
               SELECT practice_id, channel, k.outage_id, k.began_at, coalesce(f.calls, 0) AS calls, f.failure
                 FROM failing f FULL JOIN (SELECT * FROM alerts.outage WHERE ended_at IS NULL) k
                      USING (practice_id, channel))
           SELECT (SELECT row_to_json(o)::text FROM alerts.outage o WHERE o.outage_id = a.outage_id),
                  json_build_object('practice_id', a.practice_id, 'channel', a.channel, 'calls', a.calls,
                      'failure', a.failure,
                      'sent_at', (SELECT max(p.sent_at) FROM alerts.page p JOIN alerts.rung r USING (rung_id)
                                   WHERE r.practice_id = a.practice_id AND r.channel = a.channel
                                     AND p.sent_at > a.began_at),
                      'used', EXISTS (SELECT FROM alerts.rung r WHERE r.practice_id = a.practice_id
                                         AND r.channel = a.channel AND r.ended_at IS NULL))::text
             FROM asked a""",
        (FAILING_AFTER,),
    )
    return [
        (msgspec.json.decode(known, type=Outage) if known else None, msgspec.json.decode(told, type=Stuck))
        for known, told in await rows.fetchall()
    ]


async def begin(conn: AsyncConnection, outage: Outage) -> None:
    """Nothing happens where another process has begun it."""
    await conn.execute(
        """INSERT INTO alerts.outage SELECT * FROM jsonb_populate_record(NULL::alerts.outage, %s)
           ON CONFLICT DO NOTHING""",
        (msgspec.json.encode(outage).decode(),),
    )


async def change(conn: AsyncConnection, outage: Outage) -> None:
    """What has changed about one that is open; whoever is on it stays."""
    await conn.execute(
        """UPDATE alerts.outage SET calls = %s, cause = %s, ended_at = %s, ended = %s
            WHERE outage_id = %s AND ended_at IS NULL""",
        (outage.calls, outage.cause, outage.ended_at, outage.ended, outage.outage_id),
    )


async def since(conn: AsyncConnection, at: datetime) -> Sequence[Outage]:
    """Those that are open, and those that ended since then; what is open and oldest first."""
    rows = await conn.execute(
        """SELECT row_to_json(o)::text FROM alerts.outage o WHERE ended_at IS NULL OR ended_at > %s
            ORDER BY ended_at DESC NULLS FIRST, began_at""",
        (at,),
    )
    return [msgspec.json.decode(text, type=Outage) for (text,) in await rows.fetchall()]


async def take(
    conn: AsyncConnection, outage_id: UUID, *, by: UUID, by_name: str, expected: UUID | None
) -> bool:
    """Somebody says that they are on it; False if it is over, or somebody else has it than they saw."""
    done = await conn.execute(
        """UPDATE alerts.outage SET owner = %(by)s, owner_name = %(by_name)s
            WHERE outage_id = %(outage)s AND ended_at IS NULL
              AND (owner IS NOT DISTINCT FROM %(expected)s OR owner = %(by)s)""",
        {"by": by, "by_name": by_name, "outage": outage_id, "expected": expected},
    )
    return done.rowcount == 1


async def owner_name(conn: AsyncConnection, outage_id: UUID) -> str | None:
    """Who is on it while it lasts; empty: nobody any more, None: it is over or there is none."""
    rows = await conn.execute(
        "SELECT coalesce(owner_name, '') FROM alerts.outage WHERE outage_id = %s AND ended_at IS NULL",
        (outage_id,),
    )
    row = await rows.fetchone()
    return row[0] if row else None
