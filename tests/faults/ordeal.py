"""What the door's fault tests share: real gateways fed without pause, what is done to them, and the count at the end."""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg

from ingest import wire
from ingest.archive import ReadingArchive
from ingest.events import Reading
from ingest.gateway.agent import Agent
from ingest.gateway.outbox import ACKED, Outbox
from ingest.mqtt import dial
from tests.ingest_home import ROOT, spoken, until, utc_now

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "4"))
SEED = int(os.environ.get("FAULT_SEED", "20260302"))
PER_SECOND = 120  # of each gateway


class Gateway:
    """A real agent in its own process, fed without pause; its outbox outlives it and is the witness."""

    def __init__(self, home, name, folder):
        self.home, self.name, self.outbox = home, name, folder / f"{name}.sqlite"
        self.log = (folder / f"{name}.log").open("wb")
        self.process = None
        self._fed = 0
        self._began = utc_now()
        self._lock = threading.Lock()

    def start(self):
        credential = self.home.credential(self.name)
        settings = {
            "PATH": os.environ["PATH"],
            "LAMPLIGHT_MQTT": self.home.stack.mqtt,
            "LAMPLIGHT_MQTT_CA": str(credential.ca),
            "LAMPLIGHT_MQTT_CERT": str(credential.cert),
            "LAMPLIGHT_MQTT_KEY": str(credential.key),
        }
        command = [
            sys.executable,
            "-m",
            "deploy.cli",
            "gateway",
            "run",
            "--id",
            self.name,
            "--outbox",
            self.outbox,
        ]
        with self._lock:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stderr=self.log
            )

    def kill(self):
        with self._lock:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def close(self):
        self.kill()
        self.log.close()

    def feed(self, stopping):
        while not stopping.wait(1 / PER_SECOND):
            self._fed += 1
            at = self._began - timedelta(days=30) + timedelta(seconds=self._fed)
            line = {
                "id": str(uuid4()),
                "device": self.home.meter,
                "kind": "glucose",
                "unit": "mg/dL",
                "glucose": 90 + self._fed % 60,
                "measured_at": at.isoformat(),
                "seq": self._fed * 10 + sum(self.name.encode()) % 10,
            }
            with (
                self._lock,
                contextlib.suppress(BrokenPipeError, ValueError),
            ):  # just killed: what it never had was never made
                self.process.stdin.write(json.dumps(line).encode() + b"\n")
                self.process.stdin.flush()

    def rows(self, state=None):
        where = "" if state is None else f"WHERE state = {state}"
        return {UUID(bytes=row[0]) for row in self._ask(f"SELECT id FROM outbox {where}")}

    def acknowledged(self):
        return sum(row[0] for row in self._ask(f"SELECT count(*) FROM outbox WHERE state = {ACKED}"))

    def _ask(self, query):
        try:
            with contextlib.closing(
                sqlite3.connect(f"file:{self.outbox}?mode=ro", uri=True, timeout=10)
            ) as db:
                return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # not made yet
            return []


@dataclass
class Ordeal:
    """What came of it."""

    kills: Counter = field(default_factory=Counter)
    recovery: dict = field(default_factory=lambda: defaultdict(list))
    made: int = 0
    acked: int = 0
    missing: int = 0
    copies: int = 0
    drained_s: float = 0.0  # from the last reading fed to the last answer

    def told(self):
        seconds = {who: spread(found) for who, found in sorted(self.recovery.items())}
        return (
            f"done to them: {dict(self.kills)}; made {self.made}, acknowledged {self.acked}, missing {self.missing}, "
            f"copies beyond the first {self.copies}, drained in {self.drained_s:.1f} s; "
            f"next acknowledgement after: {seconds}"
        )


def spread(seconds):
    """The middle, the worst of twenty, the worst.

    >>> spread([1.0, 2.0, 3.0])
    'p50 2.00 s, p95 3.00 s, max 3.00 s'
    """
    found = sorted(seconds)
    late = found[max(0, round(0.95 * len(found)) - 1)] if len(found) > 20 else found[-1]
    return f"p50 {statistics.median(found):.2f} s, p95 {late:.2f} s, max {found[-1]:.2f} s"


def endure(home, folder, *, ingest, targets):
    """Feed three gateways, kill the targets in turn at random moments, stop feeding, and compare outboxes with Kafka."""
    dice, found = random.Random(SEED), Ordeal()
    names = [f"gw-{home.mark}-{n}" for n in range(3)]
    with psycopg.connect(home.fresh.pipeline) as conn:
        for name in names:
            conn.execute("INSERT INTO ingest.gateway (gateway_id, practice_id) VALUES (%s, 1)", (name,))
    gateways = [Gateway(home, name, folder) for name in names]
    service = home.process(*ingest)
    for gateway in gateways:
        gateway.start()
    stopping = threading.Event()
    feeding = [threading.Thread(target=gateway.feed, args=(stopping,), daemon=True) for gateway in gateways]
    for thread in feeding:
        thread.start()
    try:
        until(lambda: all(gateway.acknowledged() > 20 for gateway in gateways), 60, "the flow")
        for target in targets:
            time.sleep(dice.uniform(0.02, 0.4))  # the moment of the kill is the experiment
            watched = gateways
            if target == "ingest":
                service.kill()
                service.wait()
                service = home.process(*ingest)
            elif target == "broker":
                home.stack.kill("mosquitto")
                home.stack.restart("mosquitto")
            elif target == "broker asked to end":
                home.stack.restart("mosquitto")
            elif target == "broker told to read its configuration":
                home.stack.mosquitto.reload()
            else:
                watched = [dice.choice(gateways)]
                watched[0].kill()
                watched[0].start()
            found.kills[target] += 1
            started, before = time.monotonic(), {gateway: gateway.acknowledged() for gateway in watched}
            until(lambda known=before: any(one.acknowledged() > n for one, n in known.items()), 60, target)
            found.recovery[target].append(time.monotonic() - started)
        stopping.set()
        for thread in feeding:
            thread.join()
        began = time.monotonic()
        for gateway in gateways:
            gateway.process.stdin.close()
        for gateway in gateways:
            gateway.process.wait(180)  # ends by itself when everything is answered for
        found.drained_s = time.monotonic() - began
    finally:
        stopping.set()
        service.kill()
        service.wait()
        for gateway in gateways:
            gateway.close()
    return acked_beside(home, gateways, found)


def acked_beside(home, gateways, found=None):
    """What the outboxes were told is safe, beside what Kafka has."""
    found = found or Ordeal()
    readings = asyncio.run(spoken(home.stack, [gateway.name for gateway in gateways]))
    kept = Counter(reading.caused_by for reading in readings)
    for gateway in gateways:
        acked = gateway.rows(ACKED)
        found.made += len(gateway.rows())
        found.acked += len(acked)
        found.missing += len(acked - kept.keys())
    found.copies = sum(kept.values()) - len(kept)
    return found


@contextlib.asynccontextmanager
async def agent(home, path, *, name=None, kind=Agent, in_flight=50):
    """A real agent in this process with its outbox; `kind` may be one that is broken on purpose."""
    name, stopping = name or home.gateway, asyncio.Event()
    topics = (wire.answers(name), wire.commands(name))
    with Outbox(path) as outbox:
        made = kind(
            name,
            outbox,
            lambda: dial(home.broker(name), topics=topics, room=200),
            clock=utc_now,
            version="test",
            in_flight=in_flight,
        )
        running = asyncio.create_task(made.run(stopping))
        try:
            yield made, outbox
        finally:
            stopping.set()
            await running


def sample(home, number):
    """The number-th fingerstick of a home: an id, and the bytes."""
    at = utc_now() - timedelta(days=20) + timedelta(seconds=number)
    name = uuid4()
    line = {
        "id": str(name),
        "device": home.meter,
        "kind": "glucose",
        "unit": "mg/dL",
        "glucose": 90 + number % 60,
        "measured_at": at.isoformat(),
        "seq": number,
    }
    return name, msgspec.json.encode(line)


@contextlib.asynccontextmanager
async def pouring(home, made, *, per_second=50):
    """An agent gets readings as long as this lasts; the glucose of each, by id."""
    said, stopping = {}, asyncio.Event()

    async def pour():
        while not stopping.is_set():
            name, line = sample(home, len(said))
            await made.take_in([(name, line)])
            said[name] = 90 + len(said) % 60
            await asyncio.sleep(1 / per_second)

    task = asyncio.create_task(pour())
    try:
        yield said
    finally:
        stopping.set()
        await task


@dataclass(frozen=True, kw_only=True)
class Books:
    """What gateways were told, beside what is kept."""

    acked: int
    missing: int
    in_log: int  # records of these gateways in Kafka, copies included
    doubled: int  # facts of which the archive has two
    kept: dict[UUID, Reading]


async def books(home, acked, names):
    """Kafka's log through the real archive: an acknowledged reading that is not in it is lost, one in it twice is doubled."""
    readings = await spoken(home.stack, names)
    async with await psycopg.AsyncConnection.connect(home.fresh.pipeline) as conn:
        archive = ReadingArchive()
        for at in range(0, len(readings), 500):
            async with conn.transaction():
                await archive.handle(conn, readings[at : at + 500], now=utc_now())
    stored = Counter(row[0] for row in home.rows("SELECT caused_by FROM ingest.reading"))
    return Books(
        acked=len(acked),
        missing=len(acked - stored.keys()),
        in_log=len(readings),
        doubled=sum(stored.values()) - len(stored),
        kept={reading.caused_by: reading for reading in readings},
    )


def settled(path, state=ACKED):
    """What an outbox was told is safe."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return {UUID(bytes=row[0]) for row in db.execute("SELECT id FROM outbox WHERE state = ?", (state,))}
