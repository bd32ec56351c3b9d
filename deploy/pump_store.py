"""The pump's tables: who holds a partition and how far it got, what a room has seen, what leaves it, what was put aside."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from aiokafka import ConsumerRecord, TopicPartition
from psycopg import AsyncCursor

from deploy.database import Connection


class Held(NamedTuple):
    """A partition as its new holder finds it: the epoch that shuts out others, where to go on, tries without progress."""

    epoch: int
    next_offset: int
    tries: int


class Outgoing(NamedTuple):
    """One event for the next room."""

    key: str
    event_id: UUID
    payload: bytes


async def claim(conn: Connection, room: str, tp: TopicPartition, *, owner: str) -> Held:
    """Take the partition: a new epoch, whoever had it."""
    row = await (
        await conn.execute(
            """INSERT INTO pump.partition AS p (room, topic, partition, epoch, owner) VALUES (%s, %s, %s, 1, %s)
               ON CONFLICT (room, topic, partition) DO UPDATE
                  SET epoch = p.epoch + 1, owner = excluded.owner, moved_at = now()
               RETURNING epoch, next_offset, tries""",
            (room, tp.topic, tp.partition, owner),
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - an upsert returns its row
    return Held(*row)


async def rewind(conn: Connection, room: str, tp: TopicPartition, epoch: int) -> None:
    """Go on at the first record, if the partition is still ours."""
    await conn.execute(
        """UPDATE pump.partition SET next_offset = 0
            WHERE room = %s AND topic = %s AND partition = %s AND epoch = %s""",
        (room, tp.topic, tp.partition, epoch),
    )


async def begin(conn: Connection, room: str, tp: TopicPartition, epoch: int) -> int:
    """Count a try; how many there were since the last progress, 0 if the partition is not ours any more."""
    row = await (
        await conn.execute(
            """UPDATE pump.partition SET tries = tries + 1
                WHERE room = %s AND topic = %s AND partition = %s AND epoch = %s RETURNING tries""",
            (room, tp.topic, tp.partition, epoch),
        )
    ).fetchone()
    return row[0] if row else 0


async def lock(
    conn: Connection, room: str, epochs: Mapping[TopicPartition, int]
) -> AsyncCursor[tuple[str, int, int]]:
    """Topic, partition and next offset of those that are ours, locked in one order, so that two pumps cannot deadlock.

    The answer is read by the caller: what else travels in the pipeline need not wait for it.
    """
    return await conn.execute(
        """SELECT topic, partition, next_offset FROM pump.partition
            WHERE room = %s
              AND (topic, partition, epoch) IN (SELECT * FROM unnest(%b::text[], %b::int[], %b::bigint[]))
            ORDER BY topic, partition FOR UPDATE""",
        (room, [tp.topic for tp in epochs], [tp.partition for tp in epochs], list(epochs.values())),
    )


async def mark(conn: Connection, room: str, ids: Sequence[UUID]) -> set[UUID]:
    """Note that the room has seen these events; which of them it had not."""
    rows = await conn.execute(
        """INSERT INTO pump.seen (room, event_id) SELECT %s, unnest(%b::uuid[])
           ON CONFLICT DO NOTHING RETURNING event_id""",
        (room, sorted(ids)),  # sorted: two rooms' transactions cannot deadlock
    )
    return {event_id for (event_id,) in await rows.fetchall()}


async def progress(conn: Connection, room: str, reached: Mapping[TopicPartition, int]) -> None:
    """Remember where to go on, and that there was progress."""
    if not reached:
        return
    await conn.execute(
        """UPDATE pump.partition p SET next_offset = r.next_offset, tries = 0, moved_at = now()
             FROM unnest(%b::text[], %b::int[], %b::bigint[]) AS r (topic, partition, next_offset)
            WHERE p.room = %s AND p.topic = r.topic AND p.partition = r.partition""",
        ([tp.topic for tp in reached], [tp.partition for tp in reached], list(reached.values()), room),
    )


async def send(conn: Connection, room: str, topic: str, out: Sequence[Outgoing]) -> None:
    """Into the outbox, in this order."""
    if not out:
        return
    await conn.execute(
        """INSERT INTO pump.outbox (room, topic, key, event_id, payload)
           SELECT %s, %s, key, event_id, payload
             FROM unnest(%b::text[], %b::uuid[], %b::bytea[]) WITH ORDINALITY AS t(key, event_id, payload, n)
            ORDER BY n""",
        (
            room,
            topic,
            [event.key for event in out],
            [event.event_id for event in out],
            [event.payload for event in out],
        ),
    )


async def put_aside(
    conn: Connection, room: str, record: ConsumerRecord, event_id: UUID | None, *, reason: str
) -> None:
    """Keep a record that could not be served, with its bytes."""
    await conn.execute(
        """INSERT INTO pump.parked (room, topic, partition, record_offset, event_id, key, value, error)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        (
            room,
            record.topic,
            record.partition,
            record.offset,
            event_id,
            record.key,
            record.value,
            reason,
        ),
    )
