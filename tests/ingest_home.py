"""Two practices with a gateway each: Maria's meter and cuff at the first, Oto's meter at the second, and ways to hear them."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy import bus, database
from deploy.settings import Secret
from ingest import wire
from ingest.events import READINGS, REFUSED, Refused, Told
from ingest.fleet_service import Errands
from ingest.mqtt import Broker, dial
from ingest.replay_store import Orders
from ingest.service import run
from ingest.sorting import Tally
from ingest.store import Registry
from ingest.stream import Stream
from ingest.strongbox import Strongbox

ROOT = Path(__file__).parents[1]
STRONGBOX = Strongbox(["the key of these tests' homes"])


def utc_now():
    return datetime.now(UTC)


@dataclass
class Counting:
    """A meter that remembers."""

    tally: Tally = field(default_factory=Tally)
    batches: int = 0
    dropped: int = 0
    sessions_lost: int = 0
    broker_drops: int | None = None
    counts: object = None
    left: object = None

    def batch(self, tally):
        self.batches += 1
        for name in ("received", "accepted", "duplicates", "echoes", "late", "suspect_clock", "unkept"):
            setattr(self.tally, name, getattr(self.tally, name) + getattr(tally, name))
        self.tally.refused.update(tally.refused)

    def line_dropped(self):
        self.dropped += 1

    def session_lost(self):
        self.sessions_lost += 1

    def set_aside(self, left, now):
        self.left = left

    def broker_dropped(self, messages):
        self.broker_drops = messages

    def fleet(self, counts):
        self.counts = counts


@dataclass
class Home:
    """Names are new for each test: broker sessions and topics are shared by a whole run."""

    stack: object
    fresh: object
    mark: str = field(default_factory=lambda: uuid4().hex[:8])
    maria: UUID = field(default_factory=uuid4)
    nora: UUID = field(default_factory=uuid4)
    oto: UUID = field(default_factory=uuid4)

    @property
    def gateway(self):
        return f"gw-{self.mark}"

    @property
    def other_gateway(self):
        return f"gw-{self.mark}-other"

    @property
    def meter(self):
        return f"meter-{self.mark}"

    @property
    def cuff(self):
        return f"cuff-{self.mark}"

    @property
    def other_meter(self):
        return f"meter-{self.mark}-other"

    @property
    def drawer_meter(self):
        return f"meter-{self.mark}-drawer"  # registered, never given to anybody

    def furnish(self, *, playback=False):
        """Write the registry."""
        with psycopg.connect(self.fresh.pipeline) as conn:
            conn.execute(
                "INSERT INTO who.practice VALUES (1, 'Elm Street', 'America/New_York'), (2, 'Oak Hill', 'UTC')"
            )
            for who, practice, mrn, zone in (
                (self.maria, 1, "m", "America/New_York"),
                (self.nora, 1, "n", "America/New_York"),
                (self.oto, 2, "o", "UTC"),
            ):
                conn.execute(
                    "INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone) VALUES (%s, %s, %s, %s, '1950-01-01', %s)",
                    (who, practice, mrn, mrn, zone),
                )
            conn.execute(
                "INSERT INTO ingest.gateway (gateway_id, practice_id, playback) VALUES (%s, 1, %s), (%s, 2, false)",
                (self.gateway, playback, self.other_gateway),
            )
            for device, practice in (
                (self.meter, 1),
                (self.cuff, 1),
                (self.drawer_meter, 1),
                (self.other_meter, 2),
            ):
                conn.execute(
                    "INSERT INTO ingest.device (device_id, practice_id, family) VALUES (%s, %s, 'canonical')",
                    (device, practice),
                )
            self.give(conn, self.meter, 1, self.maria)
            self.give(conn, self.cuff, 1, self.maria)
            self.give(conn, self.other_meter, 2, self.oto)
        return self

    def give(self, conn, device, practice, patient, since="2000-01-01", until=None):
        conn.execute(
            "INSERT INTO ingest.device_assignment VALUES (%s, %s, %s, tstzrange(%s, %s))",
            (device, practice, patient, since, until),
        )

    def credential(self, name):
        return self.stack.issue(name)

    def broker(self, name, **more):
        host, _, port = self.stack.mqtt.rpartition(":")
        c = self.credential(name)
        return Broker(host=host, port=int(port), client_id=name, ca=c.ca, cert=c.cert, key=c.key, **more)

    @contextlib.asynccontextmanager
    async def listening(self, *, meter=None, stream=None, clock=utc_now, errands=False):
        """Ingest in this process."""
        meter = meter or Counting()
        stopping, ready = asyncio.Event(), asyncio.Event()
        async with database.pool(Secret(self.fresh.pipeline)) as pool:
            doing = Errands(pool, clock=clock, meter=meter) if errands else None
            stream = stream or Stream(lambda: bus.producer(self.stack.kafka))
            running = asyncio.create_task(
                run(
                    lambda: dial(self.broker("bridge"), topics=[wire.EVERYTHING, wire.DROPPED]),
                    Registry(pool),
                    stream,
                    name="bridge",
                    clock=clock,
                    meter=meter,
                    stopping=stopping,
                    ready=ready,
                    errands=doing,
                    strongbox=STRONGBOX,
                    orders=Orders(pool),
                )
            )
            try:
                async with asyncio.timeout(20):
                    await ready.wait()
                yield meter
            finally:
                stopping.set()
                await running
                await stream.close()

    @contextlib.asynccontextmanager
    async def speaking(self, name=None):
        """A gateway's bare line, for saying things an agent would not."""
        name = name or self.gateway
        async with dial(self.broker(name), topics=[wire.answers(name), wire.commands(name)]) as line:
            yield Speaker(line, name)

    def environment(self, **more):
        """For a service in a process of its own."""
        return {
            **self.stack.environment(self.fresh.name),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def process(self, *command, log=None, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment(**environment),
            cwd=ROOT,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )

    def rows(self, query, *args):
        with psycopg.connect(self.fresh.superuser) as conn:
            return conn.execute(query, args).fetchall()


class Speaker:
    """Says messages and hears answers."""

    def __init__(self, line, name):
        self.line, self.name = line, name
        self.acked, self.refused = [], {}

    async def say(self, *messages, what="readings"):
        return [
            await self.line.tell(
                f"v1/{self.name}/{what}", m if isinstance(m, bytes) else msgspec.json.encode(m)
            )
            for m in messages
        ]

    async def hear(self, count, within_s=20):
        """Wait until so many messages were answered for."""
        async with asyncio.timeout(within_s):
            while len(set(self.acked)) + len(self.refused) < count:
                batch = await self.line.take(100)
                for heard in batch.messages:
                    if heard.topic == wire.answers(self.name):
                        answer = msgspec.json.decode(heard.payload, type=wire.Answer)
                        self.acked += answer.acked
                        self.refused |= {no.id: no.reason for no in answer.refused}
                batch.acknowledge()


def fingerstick(device, glucose=112, *, minutes_ago=1.0, **more):
    """One canonical message, valid unless told otherwise."""
    at = utc_now() - timedelta(minutes=minutes_ago)
    return {
        "id": str(uuid4()),
        "device": device,
        "kind": "glucose",
        "glucose": glucose,
        "unit": "mg/dL",
        "measured_at": at.isoformat(),
        "gateway_time": at.isoformat(),
        **more,
    }


async def spoken(stack, of, topic=None):
    """Every reading (or, on another topic, event) now in Kafka whose gateway is one of `of`."""
    return [one for one in await told(stack, topic or READINGS) if getattr(one, "gateway_id", None) in of]


async def told(stack, topic):
    """Everything of ours now on a topic."""
    kind = Told if topic == READINGS else Refused
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic, p)
            for p in consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found = []
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [
                    msgspec.json.decode(record.value, type=kind)
                    for record in records
                    if record.value.startswith(
                        b"{"
                    )  # other tests of the run say other things on the same topic
                ]
        return found
    finally:
        await consumer.stop()


async def _partitions(consumer, topic):
    await consumer._client.force_metadata_update()
    return (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic)


def until(condition, within_s=30.0, what="the condition"):
    """Wait on a condition from outside an event loop."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {within_s} s"
        time.sleep(0.02)


__all__ = ["READINGS", "REFUSED", "Counting", "Home", "Speaker", "fingerstick", "spoken", "until", "utc_now"]
