"""Alerts under fire: workers killed, frozen, joined and left, rows held, poison, a mail server that takes and denies.

The oracle is the pure rules over what was sent, patient by patient. Printed with `-s`: missed, doubled, false, how often
each alert was notified, and who waited for how long. `FAULT_ROUNDS` makes all of it longer (docs/faults-alerts.md).
"""

import asyncio
import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from aiosmtpd.controller import Controller

from alerts import page_store, store
from alerts.events import ALERTS, EpisodeMoved, Severity
from alerts.notify import TIMEOUT_S
from alerts.service import AlertsRoom
from deploy import bus
from deploy.native.stack import ROOT
from risk.events import SCORES, Concern, Tier
from tests.unit.alerts.ward import Ward, a_finding, a_score

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "2"))
SEED = int(os.environ.get("FAULT_SEED", "20261122"))
PATIENTS, PER_ROUND, PARTITIONS = 40, 1200, 8
CONCERNS = (Concern.HIGH_PRESSURE, Concern.FAST_PULSE)
DUTY = "duty@practice.example"
HELD_S = 10.0
LATE = 0.02
"""Of a hundred mails, how many are answered after the caller has given up."""


class Sink:
    """A mail server that takes a call and sometimes says that it did not, or says so when nobody listens any more."""

    def __init__(self, dice):
        self.taken: Counter[str] = Counter()
        self.first: dict[str, datetime] = {}
        self.denied = self.late = 0
        self._dice = dice

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the library's name
        text = envelope.content.decode()
        key = text.partition("X-Lamplight-Key:")[2].split()[0]
        self.taken[key] += 1
        self.first.setdefault(key, datetime.now(UTC))
        chance = self._dice.random()
        if (
            self.taken[key] > 3
        ):  # the wait doubles each time: after a fourth denial it outlasts the test's patience
            return "250 OK"
        if chance < 0.2:
            self.denied += 1
            return "451 taken, but you will not hear of it"
        if chance < 0.2 + LATE:
            self.late += 1
            await asyncio.sleep(TIMEOUT_S + 1)
        return "250 OK"


class Worker:
    """One alerts process: triage, timers, calls and relay together, as in production."""

    def __init__(self, told, stack, *, before=0):
        self.before, self.fences = before, 0  # refused commits: of the workers it followed, and its own
        self.port = stack.ports.choose(f"alerts-{uuid4().hex[:6]}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "run", "alerts"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **told, "LAMPLIGHT_STATUS_PORT": str(self.port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def memory_mib(self):
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)

    def fenced(self):
        """Commits that were refused because another process had taken the partition, as far as it could still be asked."""
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics/", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
            told = (line.split()[-1] for line in lines if line.startswith("lamplight_room_fenced_total"))
            self.fences = sum(int(float(count)) for count in told)
        return self.before + self.fences


def furnish(dsn, patients):
    """A practice with its patients and a rung that calls at once for what is critical."""
    rung, staff = uuid4(), uuid4()
    with psycopg.connect(dsn) as conn:
        conn.execute("INSERT INTO who.practice VALUES (1, 'Practice 1', 'America/New_York')")
        conn.execute(
            "INSERT INTO who.staff (staff_id, practice_id, email, name, role, password_hash) VALUES (%s, 1, 'd@x', 'D', 'physician', 'x')",
            (staff,),
        )
        for n, patient in enumerate(patients):
            conn.execute(
                "INSERT INTO who.patient VALUES (%s, 1, %s, %s, %s, 'America/New_York')",
                (patient, f"F{n}", f"Patient {n}", date(1950, 1, 1)),
            )
        conn.execute(
            "INSERT INTO alerts.rung VALUES (%s, 1, 'critical', 0, NULL, 'email', %s, now(), %s, NULL)",
            (rung, DUTY, staff),
        )
    return rung


class Load:
    """Scores as risk would send them, remembered for the oracle; now and then told twice, as a relay may."""

    def __init__(self, dice, patients, now):
        self.dice, self.now = dice, now
        self.clocks = {patient: now - timedelta(days=8) for patient in patients}
        self.wards = {patient: Ward() for patient in patients}
        self.sent = 0

    def one(self):
        patient = self.dice.choice(list(self.clocks))
        self.clocks[patient] += timedelta(minutes=self.dice.choice([2, 5, 60]))
        findings = [
            a_finding(concern, self.dice.choice([Tier.WATCH, Tier.HIGH, Tier.CRITICAL]))
            for concern in CONCERNS
            if self.dice.random() < 0.12
        ]
        at = self.clocks[patient]
        reading = UUID(int=self.dice.getrandbits(128))
        scored = msgspec.structs.replace(
            a_score("09:00", *findings, patient=patient, reading=reading),
            effective_at=at,
            received_at=at + timedelta(seconds=2),
        )
        self.wards[patient].score(scored, now=self.now)
        self.sent += 1
        return scored

    def story(self):
        """What must have happened: one line per move."""
        return {
            (t.episode.episode_id, t.number, str(t.move), str(t.episode.severity), t.cause.why)
            for ward in self.wards.values()
            for t in ward.transitions
        }

    def calls(self, rung):
        """The key of every call that must have gone out."""
        return {
            f"{e.episode_id}:{e.times}:{rung}:0"
            for ward in self.wards.values()
            for e in ward.episodes
            if e.severity is Severity.CRITICAL
        }


def settings(kafka, database):
    return {
        "LAMPLIGHT_KAFKA": kafka,
        "LAMPLIGHT_PARTITIONS": str(PARTITIONS),
        "LAMPLIGHT_DATABASE": database.pipeline,
    }


async def begin_here(kafka, dsn):
    """The room's offsets stand at the end of what other tests have sent."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(SCORES, n) for n in range(PARTITIONS)])
    finally:
        await consumer.stop()
    with psycopg.connect(dsn) as conn:
        for part, end in ends.items():
            conn.execute(
                "INSERT INTO pump.partition (room, topic, partition, next_offset) VALUES ('alerts', %s, %s, %s)",
                (SCORES, part.partition, end),
            )


def p99(seconds):
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1] if seconds else float("nan")


async def until(what, within=180.0):
    end = time.monotonic() + within
    while not await what():
        assert time.monotonic() < end, "it did not settle"
        await asyncio.sleep(0.3)


async def one(conn, query, *values):
    return (await (await conn.execute(query, values)).fetchone())[0]


async def test_killed_frozen_stormed_and_poisoned_no_alert_is_missed_doubled_or_false(
    stack, fresh_database, capsys
):
    dice = random.Random(SEED)
    patients = [UUID(int=dice.getrandbits(128)) for _ in range(PATIENTS)]
    rung = furnish(fresh_database.superuser, patients)
    kafka = stack.environment()["LAMPLIGHT_KAFKA"]
    await bus.ensure_topics(kafka, partitions=PARTITIONS, replication=1)
    sink = Sink(random.Random(SEED + 1))
    mail = Controller(sink, hostname="127.0.0.1", port=stack.ports.choose(f"mail-{uuid4().hex[:6]}"))
    mail.start()
    await begin_here(kafka, fresh_database.superuser)
    told = settings(kafka, fresh_database) | {
        "LAMPLIGHT_SMTP": f"127.0.0.1:{mail.port}",
        "LAMPLIGHT_SMTP_FROM": "lamplight@practice.example",
    }
    workers = [Worker(told, stack), Worker(told, stack)]
    load = Load(dice, patients, datetime.now(UTC))
    done, rss, stall = Counter(), 0, 0.0
    try:
        async with (
            bus.producer(kafka) as producer,
            await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as watch,
        ):

            async def send(count):
                for _ in range(count):
                    scored = load.one()
                    record = msgspec.json.encode(scored)
                    key = str(scored.patient_id).encode()
                    for _ in range(2 if dice.random() < 0.05 else 1):
                        await producer.send(SCORES, record, key=key)
                    await asyncio.sleep(0.005)

            async def look(stopping):
                """The longest time without progress, and the most memory, while there was work."""
                nonlocal rss, stall
                seen, moved = -1, time.monotonic()
                while not stopping.is_set():
                    count = await one(watch, "SELECT count(*) FROM alerts.observation")
                    if count != seen:
                        stall = max(stall, time.monotonic() - moved) if seen > 0 else 0.0
                        seen, moved = count, time.monotonic()
                    rss = max(rss, *(worker.memory_mib() for worker in workers))
                    await asyncio.sleep(0.2)

            await send(100)
            await until(lambda: _true(watch, "SELECT count(*) > 0 FROM alerts.observation"))
            stopping = asyncio.Event()
            looking = asyncio.create_task(look(stopping))
            for _ in range(ROUNDS):
                sending = asyncio.create_task(send(PER_ROUND))
                for fault in dice.sample(FAULTS, len(FAULTS)):
                    await asyncio.sleep(dice.uniform(0.2, 1.0))
                    done[fault.__name__] += await fault(
                        dice=dice, workers=workers, told=told, stack=stack, producer=producer,
                        dsn=fresh_database.pipeline, patients=patients,
                    )  # fmt: skip
                await sending
            await producer.flush()
            wanted, keys = load.story(), load.calls(rung)

            async def settled():
                return (
                    await one(watch, "SELECT count(*) FROM alerts.observation") >= load.sent
                    and await one(watch, "SELECT count(*) FROM alerts.page WHERE sent_at IS NOT NULL")
                    >= len(keys)
                    and await one(watch, "SELECT count(*) FROM pump.outbox WHERE room = 'alerts'") == 0
                )

            await until(settled, within=300)
            stopping.set()
            await looking
            rows = await watch.execute(
                "SELECT episode_id, number, move, severity, why, at FROM alerts.transition WHERE concern = ANY(%s)",
                ([str(concern) for concern in CONCERNS],),
            )
            story = {row[:5]: row[5] for row in await rows.fetchall()}
            fenced = sum(worker.fenced() for worker in workers)
            parked = await one(watch, "SELECT count(*) FROM pump.parked WHERE room = 'alerts'")
            told_on = await moves_told(kafka, {row[0] for row in story})
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                worker.signal(signal.SIGCONT)
            worker.kill()
        mail.stop()

    missed, false = wanted - story.keys(), story.keys() - wanted
    unheard, strange = keys - sink.taken.keys(), sink.taken.keys() - keys
    became = {  # when each episode became critical
        episode: at
        for (episode, _, _, severity, _), at in sorted(story.items(), key=lambda i: -i[0][1])
        if severity == "critical"
    }
    lateness = sorted(
        (sink.first[key] - became[UUID(key.split(":")[0])]).total_seconds()
        for key in keys & sink.first.keys()
    )
    told_ids = Counter(event.event_id for event in told_on)
    with capsys.disabled():
        print(
            f"\n{load.sent} scores, {len(wanted)} moves, {len(keys)} alerts to notify; faults {dict(done)}"
            f"\nmissed {len(missed)}, false {len(false)}; next room told {len(told_ids)} moves, repeated {sum(told_ids.values()) - len(told_ids)}"
            f"\nnot notified {len(unheard)}, notified of nothing {len(strange)}; notifications per alert mean"
            f" {sum(sink.taken.values()) / max(1, len(sink.taken)):.2f}, max {max(sink.taken.values(), default=0)}"
            f" ({sink.denied} taken and denied, {sink.late} answered too late); first notification after"
            f" p95 {lateness[math.ceil(0.95 * len(lateness)) - 1]:.1f} s"
            f"\nfenced commits {fenced}, parked {parked}, longest stall {stall:.1f} s,"
            f" memory at most {rss} MiB; load {os.getloadavg()[0]:.1f}"
        )
    assert (len(missed), len(false)) == (0, 0)
    assert (len(unheard), len(strange)) == (0, 0)
    assert len(told_ids) == len({(row[0], row[1]) for row in story})
    assert parked == done["poison"]
    assert rss < 400


async def _true(conn, query):
    return await one(conn, query)


async def moves_told(kafka, episodes):
    """What alerts.v1 holds about these episodes."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        parts = [TopicPartition(ALERTS, n) for n in range(PARTITIONS)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        await consumer.seek_to_beginning(*parts)
        found = []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                events = (msgspec.json.decode(record.value, type=EpisodeMoved) for record in records)
                found += [event for event in events if event.episode_id in episodes]
        return found
    finally:
        await consumer.stop()


# Faults: each does its harm and says how often it did --------------------------------------------------------------------


async def kill(*, workers, told, stack, dice, **_):
    """2 and 4: kill -9 of triage and notifier, wherever they are."""
    n = dice.randrange(len(workers))
    fences = await asyncio.to_thread(workers[n].fenced)
    workers[n].kill()
    workers[n] = Worker(told, stack, before=fences)
    return 1


async def freeze(*, workers, dice, **_):
    """3: a worker that stops in the middle and comes back as a zombie."""
    frozen = dice.choice(workers)
    frozen.signal(signal.SIGSTOP)
    # Shorter or longer than the group waits: then its partitions go to others, and what it still writes is refused.
    await asyncio.sleep(dice.choice([dice.uniform(0.5, 5), dice.uniform(12, 30)]))
    frozen.signal(signal.SIGCONT)
    return 1


async def storm(*, told, stack, dice, **_):
    """20: members join and leave."""
    for _ in range(3):
        extra = Worker(told, stack)
        await asyncio.sleep(dice.uniform(1.5, 3.0))
        extra.signal(dice.choice([signal.SIGTERM, signal.SIGKILL]))
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(extra.process.wait, 5)
        extra.kill()
    return 3


async def hold(*, dsn, patients, dice, **_):
    """21: one hot patient whose rows somebody holds."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute(
            "SELECT 1 FROM alerts.episode WHERE patient_id = %s FOR UPDATE", (dice.choice(patients),)
        )
        await asyncio.sleep(3)
        await conn.rollback()
    return 1


async def poison(*, producer, dice, patients, **_):
    """22: what cannot be read, and what cannot be kept because its patient does not exist."""
    key = str(dice.choice(patients)).encode()
    await producer.send_and_wait(SCORES, b'{"type":"scored"', key=key)
    stranger = a_score("09:00", a_finding(), patient=uuid4())
    await producer.send_and_wait(SCORES, msgspec.json.encode(stranger), key=key)
    return 2


FAULTS = (kill, freeze, storm, hold, poison)


# One fault at a time, with its own figure -----------------------------------------------------------------------------


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
                lambda: _true(
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


# The other way round: that the measure finds what it must find -----------------------------------------------------------


async def test_a_notifier_that_notes_before_it_sends_is_caught_missing(fresh_database, capsys):
    """The same keys, the same counting; each second send dies between the note and the mail."""
    patients = [uuid4() for _ in range(20)]
    rung = furnish(fresh_database.superuser, patients)
    now = datetime.now(UTC)
    heard: Counter[str] = Counter()
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        async with conn.transaction():
            scores = [
                msgspec.structs.replace(
                    a_score("09:00", a_finding(tier=Tier.CRITICAL), patient=patient),
                    effective_at=now,
                    received_at=now,
                )
                for patient in patients
            ]
            moves = await AlertsRoom().handle(conn, scores, now=now)
        keys = {f"{move.episode_id}:1:{rung}:0" for move in moves}
        await page_store.make(conn, now=now)
        for n, page in enumerate(await page_store.take(conn, now=now, limit=50)):
            await page_store.sent(conn, page, at=now)
            if n % 2:
                continue  # killed here
            heard[page.key] += 1
        assert await page_store.take(conn, now=now + timedelta(hours=1)) == []
    with capsys.disabled():
        print(
            f"\nnoting before sending, 10 kills: {len(keys - heard.keys())} of {len(keys)} alerts never notified"
        )
    assert len(keys - heard.keys()) == 10


class Forgetful(AlertsRoom):
    """A room that does not ask whether it has had a reading before."""

    async def _hear(self, conn, events, *, now):
        await store.observe(conn, events)
        return [t.event() for t in await self._triage(conn, events, now=now)]


@pytest.mark.parametrize(
    ("order", "room"),
    [("offset last", Forgetful()), ("offset first", AlertsRoom())],
    ids=["doubled", "missed"],
)
async def test_a_worker_that_keeps_its_offset_apart_is_caught(fresh_database, capsys, order, room):
    """The same oracle on what the pump prevents: killed between the rows and the offset, ten times."""
    dice = random.Random(SEED)
    patients = [UUID(int=dice.getrandbits(128)) for _ in range(10)]
    furnish(fresh_database.superuser, patients)
    load, now = Load(dice, patients, datetime.now(UTC)), datetime.now(UTC)
    scores = [load.one() for _ in range(400)]
    killed = set(dice.sample(range(40), 10))
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        for n in range(40):
            batch = scores[10 * n : 10 * n + 10]
            if order == "offset first" and n in killed:
                continue  # the offset is kept, the rows never were
            for _ in range(2 if n in killed else 1):  # the rows are kept, the offset is not: it comes again
                async with conn.transaction():
                    await room.handle(conn, batch, now=now)
        rows = await conn.execute("SELECT episode_id, number, move, severity, why FROM alerts.transition")
        story = set(await rows.fetchall())
        counts = await one(conn, "SELECT sum(count) FROM alerts.episode")
    wanted, oracle = load.story(), sum(e.count for ward in load.wards.values() for e in ward.episodes)
    missed, false = len(wanted - story), len(story - wanted)
    with capsys.disabled():
        print(
            f"\n{order}, 10 kills: missed {missed}, false {false} of {len(wanted)}; readings counted {counts} instead of {oracle}"
        )
    assert missed + false > 0 or counts != oracle
