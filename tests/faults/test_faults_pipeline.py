"""Kill everything, again and again, under load. The oracle is a pure replay of Kafka's log into a clean database.

Printed with `-s`: kills by target, what was made, acknowledged and lost, and how far state and episodes differ.
"""

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from alerts.service import AlertsRoom
from deploy import database
from deploy.native import undertaker
from deploy.native.stack import ROOT
from deploy.settings import Secret
from ingest.events import READINGS, Reading
from risk.service import RiskRoom
from tests.product import Product

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "4"))
SERVICES = ("ingest", "risk", "alerts", "archive", "ccm", "web")
SERVERS = ("kafka", "postgres", "mosquitto")
PATIENTS, GATEWAYS, PER_SECOND = 240, 3, 60
SEED = int(os.environ.get("FAULT_SEED", "20261122"))


class Home:
    """A gateway agent in a process of its own, fed with readings as long as wanted."""

    def __init__(self, product, name, devices, folder, dice):
        self.made: list[str] = []
        self.outbox = folder / f"{name}.sqlite"
        self._devices, self._dice = devices, dice
        self._count = Counter()
        credential = product.gateway(1, name)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deploy.cli",
                "gateway",
                "run",
                "--id",
                name,
                "--outbox",
                str(self.outbox),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                "PATH": os.environ["PATH"],
                "LAMPLIGHT_MQTT": product.stack.mqtt,
                "LAMPLIGHT_MQTT_CA": str(credential.ca),
                "LAMPLIGHT_MQTT_CERT": str(credential.cert),
                "LAMPLIGHT_MQTT_KEY": str(credential.key),
            },
        )

    def feed(self, stopping: threading.Event):
        while not stopping.is_set():
            device = self._dice.choice(self._devices)
            self._count[device] += 1
            message = {
                "id": str(uuid4()),
                "device": device,
                "kind": "bp",
                "seq": self._count[device],
                "gateway_time": datetime.now(UTC).isoformat(),
                **self._dice.choice(KINDS),
            }
            self.made.append(message["id"])
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
            time.sleep(GATEWAYS / PER_SECOND)
        self.process.stdin.close()

    def finish(self, within=120):
        self.process.wait(within)


KINDS = (
    *({"systolic": 118 + n, "diastolic": 74 + n % 5, "pulse": 64 + n} for n in range(12)),
    {"systolic": 192, "diastolic": 124, "pulse": 88},
    {"systolic": 84, "diastolic": 51, "pulse": 71},
    {"systolic": 126, "diastolic": 80, "pulse": 151},
)


@pytest.fixture
def homes():
    """Filled by the test; whatever happens in it, no gateway outlives it."""
    opened = []
    yield opened
    for home in opened:
        home.process.kill()
        home.process.wait()


@pytest.fixture
def hurt():
    folder = Path(tempfile.mkdtemp(prefix="lamplight-faults-"))
    folder.chmod(0o755)
    with undertaker.watched(folder):
        whole = Product(folder).start()
        yield whole
        whole.stop()


def test_kill_nine_of_everything_under_load_loses_and_doubles_nothing(hurt, homes, tmp_path, capsys):
    dice = random.Random(SEED)
    hurt.practice(1)
    devices = [f"cuff-{n}" for n in range(PATIENTS)]
    for device in devices:
        hurt.patient(1, f"Patient {device}", device=device)
    homes += [
        Home(hurt, f"gw-f{n}", devices[n::GATEWAYS], tmp_path, random.Random(SEED + n))
        for n in range(GATEWAYS)
    ]
    stopping = threading.Event()
    feeding = [threading.Thread(target=home.feed, args=(stopping,), daemon=True) for home in homes]
    for thread in feeding:
        thread.start()
    hurt.until("SELECT count(*) FROM alerts.episode", is_true=lambda n: n > 0)

    kills = Counter()
    try:
        for _ in range(ROUNDS):
            for target in dice.sample(SERVICES + SERVERS, len(SERVICES + SERVERS)):
                time.sleep(dice.uniform(0.1, 0.8))
                if target in SERVERS:
                    hurt.stack.kill(target)
                    time.sleep(dice.uniform(0.0, 0.5))
                    hurt.stack.restart(target)
                    kills[target] += 1
                else:
                    end = time.monotonic() + 15
                    while not hurt.kill(target) and time.monotonic() < end:
                        time.sleep(0.05)  # its keeper is about to start it again
                    kills[target] += 1
    finally:
        stopping.set()
        for thread in feeding:
            thread.join()
    for home in homes:
        home.finish()
    hurt.wait_ready(*SERVICES)
    asyncio.run(drained(hurt))

    made = {name for home in homes for name in home.made}
    acked = {name for home in homes for name in acknowledged(home.outbox)}
    stored = {str(row[0]) for row in hurt.rows("SELECT caused_by FROM ingest.reading")}
    readings, distinct = hurt.rows("SELECT count(*), count(DISTINCT event_id) FROM ingest.reading")[0]
    oracle = asyncio.run(replayed(hurt))
    lived = asyncio.run(facts(hurt.stack.dsn("postgres")))
    with capsys.disabled():
        print(f"\nseed {SEED}; kill -9: {dict(kills)}")
        print(f"made {len(made)}, acknowledged {len(acked)}, acknowledged but missing {len(acked - stored)}")
        print(f"stored {readings}, stored twice {readings - distinct}")
        for name in lived:
            print(
                f"{name}: {len(lived[name])} lived, {len(oracle[name] - lived[name])} missing, {len(lived[name] - oracle[name])} too many"
            )
    assert min(kills.values()) >= ROUNDS
    assert acked == made, "the agents ended although something was not acknowledged"
    assert acked <= stored
    assert readings == distinct
    for name, wanted in oracle.items():
        assert lived[name] == wanted, name
    assert len(lived["episodes"]) > PATIENTS / 4, "the load opened too few episodes to prove anything"


def acknowledged(outbox: Path) -> set[str]:
    """What the agent was told is safe, by its own books."""
    with sqlite3.connect(outbox) as kept:
        return {str(UUID(bytes=row[0])) for row in kept.execute("SELECT id FROM outbox WHERE state = 1")}


async def drained(product, within=120):
    """Wait until every room has served its topic to the end and every outbox is empty."""
    listener = AIOKafkaConsumer(bootstrap_servers=product.stack.kafka)
    await listener.start()
    try:
        async with asyncio.timeout(within):
            while True:
                served = product.rows("SELECT topic, partition, next_offset FROM pump.partition")
                ends = await listener.end_offsets([TopicPartition(t, p) for t, p, _ in served])
                behind = sum(max(0, ends[TopicPartition(t, p)] - at) for t, p, at in served)
                if behind == 0 and product.one("SELECT count(*) FROM pump.outbox") == 0:
                    return
                await asyncio.sleep(0.3)
    finally:
        await listener.stop()


async def log_of(bootstrap: str) -> list[list[Reading]]:
    """The readings in Kafka, partition by partition, in order, each fact at its first place."""
    consumer = AIOKafkaConsumer(
        READINGS, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()  # without a group: every partition is ours
    try:
        log: dict[TopicPartition, dict] = {tp: {} for tp in sorted(consumer.assignment())}
        ends = await consumer.end_offsets(list(log))
        while any([await consumer.position(tp) < ends[tp] for tp in log]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    event = msgspec.json.decode(record.value, type=Reading)
                    log[tp].setdefault(event.event_id, event)
        return [list(events.values()) for events in log.values()]
    finally:
        await consumer.stop()


async def replayed(product) -> dict[str, set]:
    """What a clean house makes of the same log: no pump, no Kafka, no crash."""
    product.stack.create_database("oracle")
    database.migrate(Secret(product.stack.dsn("lamplight_owner", "oracle")))
    lived, clean = product.stack.dsn("postgres"), product.stack.dsn("postgres", "oracle")
    with psycopg.connect(lived) as old, psycopg.connect(clean) as new:
        for table in ("who.practice", "who.patient"):
            for row in old.execute(f"SELECT * FROM {table}").fetchall():
                new.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    risk, alerts = RiskRoom(), AlertsRoom()
    async with await psycopg.AsyncConnection.connect(
        product.stack.dsn("lamplight_pipeline", "oracle")
    ) as conn:
        for events in await log_of(product.stack.kafka):
            for at in range(0, len(events), 100):
                batch = events[at : at + 100]
                async with conn.transaction():
                    scores = await risk.handle(conn, batch, now=datetime.now(UTC))
                    await alerts.handle(conn, scores, now=datetime.now(UTC))
    return await facts(clean)


async def facts(dsn: str) -> dict[str, set]:
    """State, scores, episodes and their moves, as comparable facts."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:

        async def rows(query):
            return set(await (await conn.execute(query)).fetchall())

        return {
            "memories": await rows("SELECT patient_id, kind, memory FROM risk.memory"),
            "scores": await rows("SELECT event_id, tier FROM risk.score"),
            "episodes": await rows("SELECT episode_id, concern, severity FROM alerts.episode"),
            "moves": await rows("SELECT episode_id, number, move FROM alerts.transition"),
        }
