"""Orders that things set aside come to the door again, in SQL: ingest takes them from here and says what became of each."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ingest import wire
from ingest.identity import Decided
from ingest.replay import NEWS, READING, Became, Left, Order
from ingest.set_aside import LANE_REASONS
from ingest.store import OUTAGES, Away

TURN = 100  # orders taken at once


class Orders:
    """What is to come to the door again. Raises Away while the database is."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def waiting(self) -> Sequence[Order]:
        """The oldest orders, with the bytes."""
        async with self._borrowed() as conn:
            cursor = await conn.execute(
                """SELECT o.replay_id, r.event_id, r.gateway_id, coalesce(r.place, %s), r.part, r.received_at,
                          r.clock_error_s, r.key_id, r.raw, o.asked_at, r.caused_by, p.practice_id, p.patient_id, p.zone
                     FROM ingest.replay o
                     JOIN ingest.refusal r ON r.event_id = o.refusal_id
                     LEFT JOIN who.patient p ON p.patient_id = o.patient_id AND p.practice_id = o.practice_id
                    WHERE o.done_at IS NULL AND (o.patient_id IS NULL) = (p.patient_id IS NULL)
                    ORDER BY o.asked_at, o.replay_id LIMIT %s""",
                (wire.CANONICAL, TURN),
            )
            return [
                Order._make((*row[:10], Decided(*row[11:]) if row[11] is not None else None, row[10]))
                for row in await cursor.fetchall()
            ]

    async def done(self, served: Sequence[tuple[Order, Became]], *, now: datetime) -> None:
        """Say what became of each, once."""
        async with self._borrowed() as conn:
            await conn.execute(
                """WITH ended AS (
                       UPDATE ingest.replay o SET done_at = %(now)s, answer = s.answer
                         FROM unnest(%(orders)s::uuid[], %(answers)s::text[], %(readings)s::uuid[])
                              AS s(replay_id, answer, reading_id)
                        WHERE o.replay_id = s.replay_id AND o.done_at IS NULL
                       RETURNING o.refusal_id, s.answer, s.reading_id, s.answer = ANY(%(settled)s) AS settled)
                   UPDATE ingest.refusal r
                      SET state = CASE WHEN settled THEN 'released' ELSE 'open' END, tries = r.tries + 1,
                          answer = ended.answer, settled_at = CASE WHEN settled THEN %(now)s::timestamptz END,
                          reading_id = coalesce(ended.reading_id, r.reading_id)
                     FROM ended WHERE r.event_id = ended.refusal_id AND r.state = 'replaying'""",
                {
                    "now": now,
                    "orders": [order.replay_id for order, _ in served],
                    "answers": [became.answer for _, became in served],
                    "readings": [became.reading_id for _, became in served],
                    "settled": [READING, NEWS],
                },
            )

    async def left(self) -> Left:
        """What is open: out of the index of open ones."""
        async with self._borrowed() as conn:
            row = await (
                await conn.execute(
                    """SELECT count(*) FILTER (WHERE NOT lane), count(*) FILTER (WHERE lane),
                              min(received_at) FILTER (WHERE lane)
                         FROM (SELECT received_at, hop = 'identity' AND reason = ANY(%s) AS lane
                                 FROM ingest.refusal WHERE state IN ('open', 'replaying')) open""",
                    (LANE_REASONS,),
                )
            ).fetchone()
        return Left(*row) if row is not None else Left(0, 0, None)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._pool.connection() as conn:
                yield conn
        except OUTAGES as error:
            raise Away(type(error).__name__) from error
