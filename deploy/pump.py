"""The pump: one loop for every consuming room, and the correctness argument of the whole product.

1. Take a batch of records from the assigned partitions, bounded by count and by milliseconds.
2. In ONE database transaction: take each partition's row with our epoch (no row: we were replaced; drop everything
   remembered, and go on without that partition), skip what this room has seen before, let the room handle the rest,
   write its rows, its outgoing events (outbox) and the next offsets. One transaction, because a commit per partition
   costs more than the work: eight of them made a lone reading wait for seven strangers' flushes.
3. Commit. The offset in the database is the truth: a newly assigned partition is claimed (epoch + 1) and read from
   there. Kafka's group offsets only feed lag displays.
4. The relay brings the outbox to Kafka with the idempotent producer; what it sends twice falls to step 2.

A crash, a freeze or a rebalance between any two lines repeats work and never loses or doubles it: a zombie that wakes
up finds its epoch gone at step 2. Kafka transactions would not give that: aiokafka 0.14 does not fence a zombie consumer.

A record whose handling raises is parked with its reason, the room marks the patient (`park`), and the next record is
served. A record that kills the process is found by counting claims without progress: its partition is served apart from
the others and one by one from the 3rd, the record is parked at the 5th. Infrastructure errors are retried with back-off
for ever.
"""

import asyncio
import contextlib
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, Protocol
from uuid import UUID

import msgspec
import psycopg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from psycopg_pool import AsyncConnectionPool

from deploy import failpoints, pump_store
from deploy.course import Course, E, Keyed, Room
from deploy.database import OUTAGES, TOO_SLOW, Connection, steadily
from deploy.pump_store import Held, Outgoing

log = structlog.get_logger()

ALONE_AFTER = 3
PARK_AFTER = 5
STUCK_S = 45.0
LAG_EVERY_S = 1.0
LONG_S = 1.0


class Meter(Protocol):
    """Where the pump counts, once per batch."""

    def served(self, *, events: int, skipped: int, parked: int, seconds: float) -> None: ...
    def fenced(self) -> None: ...
    def lag(self, records: int) -> None: ...


class Replaced(Exception):
    """Another process claimed the partition: whatever we remember about it may be old."""

    def __init__(self, tp: TopicPartition) -> None:
        super().__init__(f"partition {tp.partition} of {tp.topic} was claimed by another process")
        self.tp = tp


@dataclass(slots=True)
class Claim:
    epoch: int
    tries: int  # claims that began to serve since the last progress
    begun: bool = False  # whether ours is counted among them

    @property
    def suspect(self) -> bool:
        """Whether serving it, now, is the 3rd time or later: a record in it may be what ended the others."""
        return self.tries + (not self.begun) >= ALONE_AFTER


class Pump(ConsumerRebalanceListener, Generic[E]):  # type: ignore[misc]
    """One room's loop over its partitions. `wake` is called after each commit that left something in the outbox."""

    def __init__(
        self,
        course: Course[E],
        room: Room[E],
        *,
        consumer: AIOKafkaConsumer,
        pool: AsyncConnectionPool,
        clock: Callable[[], datetime],
        meter: Meter,
        owner: str,
        wake: Callable[[], None] = lambda: None,
        batch: int = 500,
    ) -> None:
        self._course, self._room = course, room
        self._consumer, self._pool, self._clock, self._meter = consumer, pool, clock, meter
        self._owner, self._wake, self._batch = owner, wake, batch
        self._decoder = msgspec.json.Decoder(course.reads)
        self._encoder = msgspec.json.Encoder()
        self._claims: dict[TopicPartition, Claim] = {}
        self._reached: dict[TopicPartition, int] = {}  # the next offset of each
        self._serving = False
        self._moving = time.monotonic()

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Only note it: waiting for work in here would deadlock with the poll (aiokafka 335)."""
        for tp in revoked:
            self._claims.pop(tp, None)

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        for tp in assigned:
            self._claims.pop(tp, None)

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping`; the batch in hand is finished first."""
        self._consumer.subscribe([self._course.source], listener=self)
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._watch(), name=f"{self._course.room}.watchdog"),
                group.create_task(self._tell_lag(), name=f"{self._course.room}.lag"),
            ]
            while not stopping.is_set():
                polled = await self._poll(stopping)
                self._serving = True
                await self._serve(polled)
                self._moving = time.monotonic()
                self._serving = False
            for task in beside:
                task.cancel()

    async def _poll(self, stopping: asyncio.Event) -> dict[TopicPartition, list[ConsumerRecord]]:
        """The next records; claims what was assigned since the last poll, before anything of it is served."""
        for tp in self._consumer.assignment() - self._claims.keys():
            await self._claim(tp)
        poll = asyncio.ensure_future(self._consumer.getmany(timeout_ms=1_000, max_records=self._batch))
        stop = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({poll, stop}, return_when=asyncio.FIRST_COMPLETED)
            return dict(poll.result()) if poll.done() else {}
        except KafkaError as error:
            log.warning("pump.poll_failed", room=self._course.room, error=type(error).__name__)
            await asyncio.sleep(0.5)
            return {}
        finally:
            for waiting in (poll, stop):
                if not waiting.done():
                    waiting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await waiting

    async def _claim(self, tp: TopicPartition) -> None:
        """Take the partition: a new epoch shuts out whoever had it, and reading goes on where the database says."""

        async def take() -> Held:
            async with self._pool.connection() as conn:
                return await pump_store.claim(conn, self._course.room, tp, owner=self._owner)

        epoch, offset, tries = await steadily(self._pool, take, what="claim")
        self._room.forget()  # state kept for this partition may be older than the database's
        try:
            if await self._beyond_its_end(tp, offset):
                log.error(
                    "pump.topic_anew", room=self._course.room, partition=tp.partition, next_offset=offset
                )
                offset = await steadily(self._pool, lambda: self._from_the_start(tp, epoch), what="rewind")
            self._consumer.seek(tp, offset)
        except (
            IllegalStateError,
            KafkaError,
        ):  # revoked, or Kafka went, while we asked: claimed at the next poll
            return
        self._claims[tp] = Claim(epoch, tries)
        self._reached[tp] = offset

    async def _beyond_its_end(self, tp: TopicPartition, offset: int) -> bool:
        """Whether Kafka has less than we have read: the topic was made anew, or its log lost its end.

        Asked again for a while: a new leader may not know its end yet.
        """
        for _ in range(5):
            if offset <= (await self._consumer.end_offsets([tp]))[tp]:
                return False
            await asyncio.sleep(1)
        return True

    async def _from_the_start(self, tp: TopicPartition, epoch: int) -> int:
        """Read all of it: what was served is recognised by its id; to go on at the old offset would skip what is new."""
        async with self._pool.connection() as conn:
            await pump_store.rewind(conn, self._course.room, tp, epoch)
        return 0

    async def _serve(self, polled: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        """Partitions above suspicion together; then each suspect by itself, so that only it can be blamed.

        A partition without a claim was assigned during the poll: it is claimed, and read again from the database's
        offset.
        """
        suspects = [tp for tp in polled if (claim := self._claims.get(tp)) and claim.suspect]
        together = {tp: records for tp, records in polled.items() if tp not in suspects}
        for tp in together:
            await self._begin(tp)
        await self._attempt(together)
        for tp in suspects:
            await self._begin(tp)
            records = polled[tp]
            if (claim := self._claims.get(tp)) and claim.tries >= PARK_AFTER:
                await self._attempt({tp: records[:1]}, park="killed the process repeatedly")
                records = records[1:]
            for record in records:
                await self._attempt({tp: [record]})

    async def _begin(self, tp: TopicPartition) -> None:
        """Count, in a transaction of its own, that this claim began to serve: if it ends us, the next one will know."""
        claim = self._claims.get(tp)
        if claim is None or claim.begun:
            return

        async def count() -> int:
            async with self._pool.connection() as conn:
                return await pump_store.begin(conn, self._course.room, tp, claim.epoch)

        claim.tries = await steadily(self._pool, count, what="begin")
        claim.begun = True

    async def _attempt(
        self, polled: dict[TopicPartition, list[ConsumerRecord]], *, park: str | None = None
    ) -> None:
        """One transaction, repeated through outages.

        When the room raises, the partitions are served apart, and the one that raises again record by record. When
        the database ended the transaction because it took too long, the next tries are half as long each.
        """
        wait = 0.05
        alone = park is not None
        while claims := {tp: self._claims[tp] for tp in polled if tp in self._claims}:
            started = time.monotonic()
            try:
                fresh, counts = await self._transact(claims, polled, park, alone=alone)
            except Replaced as replaced:
                await self._stand_back(replaced.tp)
            except (*TOO_SLOW, *OUTAGES) as error:
                if len(halves := self._interrupted(error, polled)) > 1:
                    await self._apart(halves)
                    return
                wait = await self._wait_out(wait)
            except Exception as error:
                self._room.forget()
                if alone:
                    raise  # parking itself failed: broken plumbing, let the process end and be restarted
                log.warning(
                    "pump.batch_failed",
                    room=self._course.room,
                    error=type(error).__name__,
                    partitions=len(claims),
                )
                if len(claims) > 1:
                    await self._apart([{tp: records} for tp, records in polled.items()])
                    return
                alone = True
            else:
                if fresh:
                    self._served(claims, fresh, counts, seconds=time.monotonic() - started)
                return

    async def _stand_back(self, tp: TopicPartition) -> None:
        """Two who believe they own a partition must not fence each other out in turns: let the other one work."""
        self._room.forget()
        claim = self._claims.pop(tp, None)
        self._meter.fenced()
        log.warning(
            "pump.replaced", room=self._course.room, partition=tp.partition, epoch=claim and claim.epoch
        )
        await asyncio.sleep(random.uniform(0.5, 2))  # noqa: S311 - jitter, not a secret

    async def _wait_out(self, wait: float) -> float:
        """Pause, throw out dead connections, and say how long to wait the next time."""
        self._moving = time.monotonic()
        await asyncio.sleep(wait)
        with contextlib.suppress(*OUTAGES, TimeoutError):
            async with asyncio.timeout(5):
                await self._pool.check()
        return min(wait * 2, 5.0)

    async def _apart(self, parts: Sequence[dict[TopicPartition, list[ConsumerRecord]]]) -> None:
        """Each part in a transaction of its own: only the partition whose record raises goes record by record."""
        for part in parts:
            await self._attempt(part)

    def _interrupted(
        self, error: Exception, polled: dict[TopicPartition, list[ConsumerRecord]]
    ) -> list[dict[TopicPartition, list[ConsumerRecord]]]:
        """The database broke off: in which parts to try again. Halves if it was because we took too long."""
        self._room.forget()
        slow = isinstance(error, TOO_SLOW)
        log.warning(
            "pump.too_slow" if slow else "pump.database_away",
            room=self._course.room,
            error=type(error).__name__,
        )
        return _halves(polled) if slow else [polled]

    def _served(
        self,
        claims: dict[TopicPartition, Claim],
        fresh: dict[TopicPartition, list[ConsumerRecord]],
        counts: tuple[int, int, int],
        *,
        seconds: float,
    ) -> None:
        for tp, records in fresh.items():
            claims[tp].tries = 0
            self._reached[tp] = records[-1].offset + 1
        events, skipped, parked = counts
        self._meter.served(events=events, skipped=skipped, parked=parked, seconds=seconds)
        self._wake()

    async def _transact(
        self,
        claims: dict[TopicPartition, Claim],
        polled: dict[TopicPartition, list[ConsumerRecord]],
        park: str | None,
        *,
        alone: bool,
    ) -> tuple[dict[TopicPartition, list[ConsumerRecord]], tuple[int, int, int]]:
        """Fence, serve, remember where to go on, commit; what was fresh, and how many were served, skipped, parked.

        Statements that need no answer of each other travel together: a trip wakes two processes, and at fifty
        readings a second trips were most of what a reading cost.
        """
        records = [] if alone else [record for tp in claims for record in polled[tp]]
        told = [(record, self._decoder.decode(record.value)) for record in records]
        async with self._pool.connection() as conn:
            fresh, new = await self._fenced(conn, claims, polled, told)
            with _too_long_by_name():
                if alone:
                    counts = await self._each(conn, [r for some in fresh.values() for r in some], park)
                    out: Sequence[Keyed] = ()
                else:
                    out = await self._room.handle(conn, new, now=self._clock()) if new else ()
                    counts = len(new), len(told) - len(new), 0
                async with conn.pipeline():
                    await self._send(conn, out)
                    reached = {tp: some[-1].offset + 1 for tp, some in fresh.items()}
                    await pump_store.progress(conn, self._course.room, reached)
                    failpoints.hit("pump.before_commit")
                    await conn.commit()
        failpoints.hit("pump.after_commit")
        return fresh, counts

    async def _fenced(
        self,
        conn: Connection,
        claims: dict[TopicPartition, Claim],
        polled: dict[TopicPartition, list[ConsumerRecord]],
        told: Sequence[tuple[ConsumerRecord, E]],
    ) -> tuple[dict[TopicPartition, list[ConsumerRecord]], list[E]]:
        """Lock the partitions' rows under our epochs, or Replaced; which records and which events are new.

        Rows before events, so that two pumps cannot deadlock. An event of a record served before is not new, also
        where the room recognises what it has: the answer to our commit may have been lost.
        """
        async with conn.pipeline():
            rows = await pump_store.lock(conn, self._course.room, {tp: c.epoch for tp, c in claims.items()})
            unseen = await self._unseen(conn, [event for _, event in told])
            first = {TopicPartition(topic, n): offset for topic, n, offset in await rows.fetchall()}
        for tp in sorted(claims.keys() - first.keys()):
            raise Replaced(tp)
        fresh = {tp: [r for r in polled[tp] if r.offset >= first[tp]] for tp in claims}
        served = {e.event_id for r, e in told if r.offset < first[TopicPartition(r.topic, r.partition)]}
        new = [event for event in unseen if event.event_id not in served]
        return {tp: some for tp, some in fresh.items() if some}, new

    async def _each(
        self, conn: Connection, records: list[ConsumerRecord], park: str | None
    ) -> tuple[int, int, int]:
        """Record by record, each in a savepoint; what raises is parked with its reason."""
        served = skipped = parked = 0
        for record in records:
            event: E | None = None
            try:
                if park:
                    raise PoisonError(park)  # noqa: TRY301
                event = self._decoder.decode(record.value)
                async with conn.transaction():
                    new = await self._unseen(conn, [event])
                    if new:
                        await self._send(conn, await self._room.handle(conn, new, now=self._clock()))
                served, skipped = served + len(new), skipped + 1 - len(new)
            except (*OUTAGES, *TOO_SLOW):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, the next patient is served
                self._room.forget()
                parked += 1
                if event is None:
                    with contextlib.suppress(msgspec.MsgspecError):
                        event = self._decoder.decode(record.value)
                await self._park(conn, record, event, error)
        return served, skipped, parked

    async def _park(
        self, conn: Connection, record: ConsumerRecord, event: E | None, error: Exception
    ) -> None:
        """Keep the record aside, tell the room, and say it loudly; the message of the error may quote health data."""
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        reason = " ".join([type(error).__name__, *(f"at {Path(f.filename).name}:{f.lineno}" for f in frame)])
        event_id = None if event is None else event.event_id
        await pump_store.put_aside(conn, self._course.room, record, event_id, reason=reason)
        log.error(
            "pump.parked",
            room=self._course.room,
            partition=record.partition,
            offset=record.offset,
            error=reason,
        )
        if event is not None:
            await self._mark(conn, event, reason)

    async def _mark(self, conn: Connection, event: E, reason: str) -> None:
        """Let the room mark the patient. A room that raises even here must not end us: its partition would wait for ever."""
        try:
            async with conn.transaction():
                await self._send(conn, await self._room.park(conn, event, reason=reason, now=self._clock()))
        except (*OUTAGES, *TOO_SLOW):
            raise
        except Exception:  # the record is kept aside all the same, and this is said loudly
            self._room.forget()
            log.exception("pump.not_marked", room=self._course.room)

    async def _unseen(self, conn: Connection, events: Sequence[E]) -> list[E]:
        """The events this room has not handled yet, in order, marked as handled by this transaction."""
        by_id: dict[UUID, E] = {}
        for event in events:
            by_id.setdefault(event.event_id, event)  # the first of equals stays
        if self._course.recognises or not by_id:
            return list(by_id.values())
        new = await pump_store.mark(conn, self._course.room, list(by_id))
        return [event for event in by_id.values() if event.event_id in new]

    async def _send(self, conn: Connection, out: Sequence[Keyed]) -> None:
        if not out:
            return
        if self._course.target is None:
            raise TypeError(f"room {self._course.room} ends the line but returned {len(out)} events")
        told = [Outgoing(str(one.patient_id), one.event_id, self._encoder.encode(one)) for one in out]
        await pump_store.send(conn, self._course.room, self._course.target, told)

    async def _tell_lag(self) -> None:
        """Kafka's group offsets and our gauge, for people who look at lag; failing to tell harms nothing."""
        told: dict[TopicPartition, int] = {}
        while True:
            await asyncio.sleep(LAG_EVERY_S)
            ours = self._consumer.assignment()
            self._reached = {tp: offset for tp, offset in self._reached.items() if tp in ours}
            behind = [
                end - offset
                for tp, offset in self._reached.items()
                if (end := self._consumer.highwater(tp)) is not None
            ]
            self._meter.lag(max([0, *behind]))
            moved = {tp: offset for tp, offset in self._reached.items() if told.get(tp) != offset}
            if moved:
                told |= moved
                with contextlib.suppress(KafkaError, CommitFailedError, IllegalStateError):
                    await self._consumer.commit(moved)

    async def _watch(self) -> None:
        """Aiokafka can stop fetching and stay alive (issues 1154, 847, 727): then only a new process helps."""
        stood: dict[TopicPartition, int] = {}
        while True:
            await asyncio.sleep(STUCK_S)
            with contextlib.suppress(KafkaError, IllegalStateError):
                ends = await self._consumer.end_offsets(list(self._claims))
                here = {tp: await self._consumer.position(tp) for tp in list(self._claims)}
                idle = time.monotonic() - self._moving > STUCK_S or not self._serving
                stuck = [tp for tp, at in here.items() if idle and stood.get(tp) == at < ends.get(tp, 0)]
                stood = here
                if stuck:
                    log.error("pump.stuck", room=self._course.room, partitions=len(stuck))
                    os._exit(70)


@contextlib.contextmanager
def _too_long_by_name() -> Iterator[None]:
    """Within a pipeline the server's good-bye has no name: who lost the line after a while is taken to be too slow.

    If it was an outage after all, this one batch is served in smaller pieces, and nothing else comes of it.
    """
    began = time.monotonic()
    try:
        yield
    except OUTAGES as error:
        if time.monotonic() - began > LONG_S:
            raise psycopg.errors.IdleInTransactionSessionTimeout from error
        raise


def _halves(
    polled: dict[TopicPartition, list[ConsumerRecord]],
) -> list[dict[TopicPartition, list[ConsumerRecord]]]:
    """The first half of every partition's records, then the rest; one part when there is nothing to halve."""
    first = {tp: records[: (len(records) + 1) // 2] for tp, records in polled.items()}
    rest = {tp: records[len(first[tp]) :] for tp, records in polled.items() if len(records) > 1}
    if not rest and len(first) > 1:  # one record each: half of the partitions
        parts = sorted(first)
        return [{tp: first[tp] for tp in part} for part in (parts[::2], parts[1::2])]
    return [first, rest] if rest else [first]


class PoisonError(Exception):
    """A record that killed the process again and again."""
