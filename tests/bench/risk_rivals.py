"""Ours at the same job and at the whole of scoring, through the real pump and relay, and a consumer that does nothing.

`python -m tests.bench.risk_rivals noop|slope|risk COUNT [TOPIC]` with LAMPLIGHT_KAFKA and LAMPLIGHT_DATABASE; one JSON line.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaConsumer

from deploy import database
from deploy.course import Course, consumer
from deploy.pump import Pump
from deploy.relay import Relay
from deploy.settings import read
from ingest.events import READINGS, Reading, fact_id
from risk.events import SCORES
from risk.service import RiskRoom
from tests.bench.slope import step


class Watch:
    """From the first batch to the last reading scored, committed and relayed."""

    def __init__(self, count, outs):
        self.count, self.outs = count, outs
        self.done, self.out = 0, 0
        self.began = self.cpu = None
        self.stopping = asyncio.Event()
        self.batches = []

    def begin(self):
        if self.began is None:
            self.began, self.cpu = time.perf_counter(), time.process_time()

    def served(self, *, events, skipped, parked, seconds):
        assert not parked
        self.done += events
        self.batches.append(events)
        self.check()

    def relayed(self, events):
        self.out += events
        self.check()

    def check(self):
        if self.done >= self.count and (not self.outs or self.out >= self.count):
            self.wall, self.spent = time.perf_counter() - self.began, time.process_time() - self.cpu
            self.stopping.set()

    def fenced(self): ...

    def lag(self, records): ...

    def tell(self):
        told = {"seconds": self.wall, "cpu": self.spent, "served": self.done, "relayed": self.out}
        told["batch"] = sum(self.batches) / max(len(self.batches), 1)
        print(json.dumps(told), flush=True)


class Sloped(msgspec.Struct, frozen=True, kw_only=True):
    event_id: UUID
    patient_id: UUID
    reading: UUID
    mean: float
    slope: float


class SlopeRoom:
    """The rivals' job as a room: numbers in memory while the partition is ours, in the database with every commit."""

    def __init__(self, watch):
        self.watch, self.held = watch, {}

    async def handle(self, conn, events, *, now):
        self.watch.begin()
        missing = list({event.patient_id for event in events} - self.held.keys())
        if missing:
            rows = await conn.execute(
                "SELECT patient_id, state FROM bench_slope WHERE patient_id = ANY(%s)", (missing,)
            )
            self.held |= {patient: msgspec.json.decode(state) for patient, state in await rows.fetchall()}
        out = []
        for event in events:
            state, mean, slope = step(
                self.held.get(event.patient_id), event.effective_at.timestamp(), event.systolic
            )
            self.held[event.patient_id] = state
            out.append(
                Sloped(
                    event_id=fact_id("sloped", event.event_id),
                    patient_id=event.patient_id,
                    reading=event.event_id,
                    mean=mean,
                    slope=slope,
                )
            )
        changed = {event.patient_id for event in events}
        await conn.execute(
            """INSERT INTO bench_slope SELECT * FROM unnest(%b::uuid[], %b::bytea[])
               ON CONFLICT (patient_id) DO UPDATE SET state = excluded.state""",
            (list(changed), [msgspec.json.encode(self.held[patient]) for patient in changed]),
        )
        return out

    async def park(self, conn, event, *, reason, now):
        raise AssertionError(reason)

    def forget(self):
        self.held.clear()


class Watched(RiskRoom):
    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    async def handle(self, conn, events, *, now):
        self.watch.begin()
        return await super().handle(conn, events, now=now)


async def noop(settings, watch):
    reader = AIOKafkaConsumer(
        READINGS, bootstrap_servers=settings.kafka, group_id=f"noop-{os.getpid()}", auto_offset_reset="earliest",
        enable_auto_commit=False, max_partition_fetch_bytes=4 * 1024 * 1024,
    )  # fmt: skip
    await reader.start()
    while not watch.stopping.is_set():
        for records in (await reader.getmany(timeout_ms=200, max_records=1_000)).values():
            watch.begin()
            watch.served(events=len(records), skipped=0, parked=0, seconds=0)
    await reader.stop()


async def ours(who, settings, watch, topic):
    room = SlopeRoom(watch) if who == "slope" else Watched(watch)
    course = Course(room=who, source=topic, reads=Reading, target=SCORES)
    async with AsyncExitStack() as opened, asyncio.TaskGroup() as group:
        pool = await opened.enter_async_context(database.pool(settings.database, size=4))
        relay = Relay(who, bootstrap=settings.kafka, dsn=settings.database, meter=watch)
        group.create_task(relay.run(watch.stopping))
        feed = await opened.enter_async_context(consumer(settings.kafka, course))
        pump = Pump(
            course, room, consumer=feed, pool=pool, clock=lambda: datetime.now(UTC), meter=watch, owner=str(os.getpid()),
            wake=relay.wake,
        )  # fmt: skip
        await pump.run(watch.stopping)


async def main():
    who, count = sys.argv[1], int(sys.argv[2])
    watch = Watch(count, outs=who != "noop")
    topic = sys.argv[3] if len(sys.argv) > 3 else READINGS
    await (noop(read(os.environ), watch) if who == "noop" else ours(who, read(os.environ), watch, topic))
    watch.tell()


if __name__ == "__main__":
    asyncio.run(main())
