"""The alerts, one fault at a time, each with its own figure: a storm of members, a slow database, a held patient, poison."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from aiokafka.partitioner import DefaultPartitioner

from deploy import bus
from risk.events import SCORES, Concern, Tier
from tests.faults.alerts_ward import (
    HELD_S,
    PARTITIONS,
    ROUNDS,
    SEED,
    Worker,
    begin_here,
    furnish,
    one,
    p99,
    settings,
    until,
)
from tests.unit.alerts.ward import a_finding, a_score

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(1800)]


class Arrivals:
    """Each score a patient of its own with something critical: from when it was sent until its episode is committed."""

    def __init__(self, producer, watch, patients):
        self.producer, self.watch, self.left = producer, watch, list(patients)
        self.sent: dict[UUID, float] = {}
        self.partition: dict[UUID, int] = {}
        self.lag = 0

    async def one(self, *, to=None):
        """`to`: the partition that it must go to; its patient is looked for."""
        patient = next(p for p in self.left if to is None or partition_of(p) == to)
        self.left.remove(patient)
        await self.producer.send(SCORES, msgspec.json.encode(self.score(patient)), key=str(patient).encode())
        return patient

    def score(self, patient, **changes):
        now = datetime.now(UTC)
        self.sent[patient], self.partition[patient] = now.timestamp(), partition_of(patient)
        made = a_score("09:00", a_finding(tier=Tier.CRITICAL), patient=patient, reading=uuid4())
        return msgspec.structs.replace(made, effective_at=now, received_at=now, **changes)

    async def for_a_while(self, seconds, *, every=0.05):
        """Send at this pace; returns whom."""
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            found.append(await self.one())
            self.lag = max(self.lag, len(self.sent) - await self.seen())
            await asyncio.sleep(every)
        return found

    async def seen(self):
        return await one(self.watch, "SELECT count(*) FROM alerts.episode")

    async def settled(self):
        return await self.seen() >= len(self.sent)

    async def waits(self, patients):
        """Seconds from send to commit, of those that have arrived."""
        rows = await self.watch.execute(
            "SELECT patient_id, extract(epoch FROM recorded_at)::float FROM alerts.transition WHERE patient_id = ANY(%s)",
            (list(patients),),
        )
        return {patient: at - self.sent[patient] for patient, at in await rows.fetchall()}


def partition_of(patient):
    """Where the producer's partitioner puts this key."""
    return DefaultPartitioner()(str(patient).encode(), list(range(PARTITIONS)), list(range(PARTITIONS)))


@contextlib.asynccontextmanager
async def ward_of(stack, database, *, patients, workers=2, told=None):
    """Workers on the real Kafka and database, somebody who sends, somebody who watches."""
    people = [uuid4() for _ in range(patients)]
    furnish(database.superuser, people)
    kafka = stack.environment()["LAMPLIGHT_KAFKA"]
    await bus.ensure_topics(kafka, partitions=PARTITIONS, replication=1)
    await begin_here(kafka, database.superuser)
    common = settings(kafka, database)
    running = [Worker(common | ((told or [{}] * workers)[n]), stack) for n in range(workers)]
    try:
        async with (
            bus.producer(kafka) as producer,
            await psycopg.AsyncConnection.connect(database.superuser, autocommit=True) as watch,
        ):
            arrivals = Arrivals(producer, watch, people)
            await arrivals.one()
            await until(arrivals.settled)
            yield arrivals, running, common
    finally:
        for worker in running:
            with contextlib.suppress(ProcessLookupError):
                worker.signal(signal.SIGCONT)
            worker.kill()


async def test_members_join_and_leave_without_end_and_every_alert_arrives(stack, fresh_database, capsys):
    """Row 20: a member comes or goes each 0.5 to 3 s; something is committed in every stretch of time."""
    dice, seconds = random.Random(SEED), float(os.environ.get("FAULT_STORM_S", str(10 * ROUNDS)))
    async with ward_of(stack, fresh_database, patients=int(seconds * 12) + 200) as (arrivals, _, told):

        async def storm(stopping):
            extra, changes = [], 0
            while not stopping.is_set():
                await asyncio.sleep(dice.uniform(0.5, 3.0))
                if len(extra) < 2 and dice.random() < 0.6:
                    extra.append(Worker(told, stack))
                elif extra:
                    leaving = extra.pop(dice.randrange(len(extra)))
                    leaving.signal(dice.choice([signal.SIGTERM, signal.SIGKILL]))
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        await asyncio.to_thread(leaving.process.wait, 10)
                    leaving.kill()
                changes += 1
            for worker in extra:
                worker.kill()
            return changes

        stopping = asyncio.Event()
        storming = asyncio.create_task(storm(stopping))
        people = await arrivals.for_a_while(seconds, every=0.1)
        stopping.set()
        changes = await storming
        await until(arrivals.settled)
        waits = await arrivals.waits(people)
        claims = await one(arrivals.watch, "SELECT sum(epoch) FROM pump.partition WHERE room = 'alerts'")
        committed = sorted(arrivals.sent[p] + waits[p] for p in people)
        stall = max(b - a for a, b in pairwise(committed))
        episodes = await arrivals.seen()
        moves = await one(arrivals.watch, "SELECT count(*) FROM alerts.transition")
    with capsys.disabled():
        print(
            f"\nstorm of {seconds:.0f} s: {changes} joined or left, {claims} claims of partitions; {len(people)} alerts, missed"
            f" {len(arrivals.sent) - episodes}, doubled {moves - episodes}; longest stall {stall:.1f} s,"
            f" p99 {p99(waits.values()):.1f} s; load {os.getloadavg()[0]:.1f}"
        )
    assert (len(waits), episodes, moves) == (len(people), len(arrivals.sent), len(arrivals.sent))
    assert stall < 60


class Far:
    """A database that is so many seconds away: everything that it answers comes that much later."""

    def __init__(self, port, seconds):
        self._port, self.seconds = port, seconds
        self._ends, self._joined = set(), set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._joined, return_exceptions=True)

    async def _join(self, reader, writer):
        self._joined.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, far_writer}
        ways = (self._carry(reader, far_writer, late=False), self._carry(far_reader, writer, late=True))
        await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, reader, writer, *, late):
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(self.seconds if late else 0.0, writer.write, data)
        loop.call_later(self.seconds if late else 0.0, writer.close)


async def served_by(watch, worker):
    """The partitions that this process has claimed."""
    rows = await watch.execute("SELECT partition, owner FROM pump.partition WHERE room = 'alerts'")
    return {n for n, owner in await rows.fetchall() if owner.endswith(f":{worker.process.pid}")}


async def test_a_slow_database_and_a_held_patient_keep_only_their_own_waiting(stack, fresh_database, capsys):
    """Row 21: one worker's database answers 200 ms later; then one of its patients' rows are held. The other goes on."""
    seconds, seen = 4.0 * ROUNDS, {}
    dsn = fresh_database.pipeline
    port = int(psycopg.conninfo.conninfo_to_dict(dsn)["port"])
    async with Far(port, 0.2) as far:
        away = {"LAMPLIGHT_DATABASE": psycopg.conninfo.make_conninfo(dsn, port=far.port)}
        async with ward_of(stack, fresh_database, patients=int(seconds * 50) + 300, told=[{}, away]) as (
            arrivals,
            workers,
            _,
        ):
            watch = arrivals.watch
            await until(
                lambda: one(
                    watch, "SELECT count(DISTINCT owner) = 2 FROM pump.partition WHERE room = 'alerts'"
                )
            )
            people = await arrivals.for_a_while(seconds)
            await until(arrivals.settled)
            slow = await served_by(watch, workers[1])
            waits = await arrivals.waits(people)
            seen["a database 200 ms away"] = (
                [w for p, w in waits.items() if arrivals.partition[p] in slow],
                [w for p, w in waits.items() if arrivals.partition[p] not in slow],
            )
            far.seconds = 0.0
            hot = await arrivals.one(to=min(slow))
            await until(arrivals.settled)
            async with await psycopg.AsyncConnection.connect(dsn) as holding:
                await holding.execute("SELECT 1 FROM alerts.episode WHERE patient_id = %s FOR UPDATE", (hot,))
                again = msgspec.json.encode(arrivals.score(hot))
                await arrivals.producer.send_and_wait(SCORES, again, key=str(hot).encode())
                people = await arrivals.for_a_while(min(seconds, HELD_S))
                await holding.rollback()
            await until(arrivals.settled)
            waits = await arrivals.waits(people)
            held = await served_by(watch, workers[1])
            seen["one patient's rows held"] = (
                [w for p, w in waits.items() if arrivals.partition[p] in held],
                [w for p, w in waits.items() if arrivals.partition[p] not in held],
            )
            rss = max(worker.memory_mib() for worker in workers)
            episodes, lag = await arrivals.seen(), arrivals.lag
    with capsys.disabled():
        for what, (theirs, others) in seen.items():
            print(
                f"\n{what}: p99 of what this worker serves {p99(theirs):.1f} s ({len(theirs)}), of the other's"
                f" {p99(others):.2f} s ({len(others)})",
                end="",
            )
        print(
            f"\nlag at most {lag} of {len(arrivals.sent)}, memory at most {rss} MiB; load {os.getloadavg()[0]:.1f}"
        )
    assert episodes == len(arrivals.sent)
    assert rss < 400
    for theirs, others in seen.values():
        assert p99(others) < p99(theirs)


async def test_poison_is_set_aside_said_and_passed_by(stack, fresh_database, capsys):
    """Row 22: what cannot be read, what belongs to nobody, and what the database cannot keep; the next patient is served."""
    stalls = []
    async with ward_of(stack, fresh_database, patients=60 + 10 * ROUNDS) as (arrivals, workers, _):
        watch, producer = arrivals.watch, arrivals.producer
        marked = set()
        for n in range(3 * ROUNDS):
            patient = await arrivals.one()
            await until(arrivals.settled)
            key = str(patient).encode()
            if n % 3 == 0:
                poison = b'{"type":"scored"'
            elif n % 3 == 1:
                poison = msgspec.json.encode(a_score("09:00", a_finding(), patient=uuid4(), reading=uuid4()))
            else:
                finding = msgspec.structs.replace(a_finding(Concern.FAST_PULSE), reason="\x00")
                poison = msgspec.json.encode(
                    msgspec.structs.replace(arrivals.score(patient), findings=(finding,))
                )
                marked.add(patient)
            await producer.send_and_wait(SCORES, poison, key=key)
            after = await arrivals.one(to=arrivals.partition[patient])
            await until(lambda after=after: _has(watch, after))
            stalls += (await arrivals.waits([after])).values()
        parked = await one(watch, "SELECT count(*) FROM pump.parked WHERE room = 'alerts'")
        rows = await watch.execute("SELECT patient_id FROM alerts.episode WHERE queue = 'technical'")
        technical = {patient for (patient,) in await rows.fetchall()}
        killed = sum(worker.process.poll() is not None for worker in workers)
    with capsys.disabled():
        print(
            f"\n{len(stalls)} poisoned records: {parked} set aside, {len(technical)} of {len(marked)} patients marked in the"
            f" technical queue, the next record of the same partition after {max(stalls):.2f} s at most; workers that died"
            f" {killed}; load {os.getloadavg()[0]:.1f}"
        )
    assert (parked, technical, killed) == (3 * ROUNDS, marked, 0)


async def _has(conn, patient):
    return await one(conn, f"SELECT count(*) > 0 FROM alerts.episode WHERE patient_id = '{patient}'")
