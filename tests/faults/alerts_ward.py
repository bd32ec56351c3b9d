"""The alerts under fire: workers of the real service, a mail server that takes and denies, and a load with its oracle."""

import asyncio
import contextlib
import math
import os
import re
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
from aiokafka import AIOKafkaConsumer, TopicPartition

from alerts.events import Severity
from alerts.notify import TIMEOUT_S
from deploy.native.stack import ROOT
from risk.events import SCORES, Concern, Tier
from tests.unit.alerts.ward import Ward, a_finding, a_score

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
        self.about: dict[str, int] = {}  # how many episodes the mail spoke of when it first came
        self.denied = self.late = 0
        self._dice = dice

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the library's name
        text = envelope.content.decode()
        key = text.partition("X-Lamplight-Key:")[2].split()[0]
        self.taken[key] += 1
        self.first.setdefault(key, datetime.now(UTC))
        more = re.search(r"(\d+) more alert", text)
        self.about.setdefault(key, 1 + int(more[1]) if more else 1)
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
