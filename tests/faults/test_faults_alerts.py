"""Alerts under fire: workers killed, frozen, joined and left, rows held, poison, a mail server that takes and denies.

The oracle is the pure rules over what was sent, patient by patient. Printed with `-s`: missed, doubled, false, and how
often each alert was notified.
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
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiosmtpd.controller import Controller

from alerts import page_store
from alerts.events import ALERTS, EpisodeMoved, Severity
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


class Sink:
    """A mail server that takes a call and sometimes says that it did not."""

    def __init__(self, dice):
        self.taken: Counter[str] = Counter()
        self.first: dict[str, datetime] = {}
        self.denied = 0
        self._dice = dice

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the library's name
        text = envelope.content.decode()
        key = text.partition("X-Lamplight-Key:")[2].split()[0]
        self.taken[key] += 1
        self.first.setdefault(key, datetime.now(UTC))
        if self._dice.random() < 0.2:
            self.denied += 1
            return "451 taken, but you will not hear of it"
        return "250 OK"


class Worker:
    """One alerts process: triage, timers, calls and relay together, as in production."""

    def __init__(self, told, stack):
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
        """Commits that were refused because another process had taken the partition."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics/", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        return sum(
            int(float(line.split()[-1])) for line in lines if line.startswith("lamplight_room_fenced_total")
        )


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
    told = {
        "LAMPLIGHT_KAFKA": kafka,
        "LAMPLIGHT_PARTITIONS": str(PARTITIONS),
        "LAMPLIGHT_DATABASE": fresh_database.pipeline,
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
            f" ({sink.denied} taken and denied); first notification after"
            f" p95 {lateness[math.ceil(0.95 * len(lateness)) - 1]:.1f} s"
            f"\nfenced commits {fenced} (of the workers alive at the end), parked {parked}, longest stall {stall:.1f} s,"
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
    workers[n].kill()
    workers[n] = Worker(told, stack)
    return 1


async def freeze(*, workers, dice, **_):
    """3: a worker that stops in the middle and comes back as a zombie."""
    frozen = dice.choice(workers)
    frozen.signal(signal.SIGSTOP)
    await asyncio.sleep(dice.uniform(12, 18))  # longer than the group waits: its partitions go to others
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
