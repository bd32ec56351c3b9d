"""A reading that kills the scorer: set aside after its tries, those behind it scored, the others hardly delayed, somebody told.

Printed with `-s`. With FAULT_ROUNDS of 10 or more readings stand before the poison, and Kafka misses a dead
member as late as in the product: after ten seconds.
"""

import asyncio
import contextlib
import sys
import time
from uuid import uuid4

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy import bus
from ingest.events import READINGS
from ingest.stream import Record, hashed, send
from tests.faults.fatal_risk import DEADLY
from tests.faults.ordeal import ROUNDS
from tests.ingest_home import Home, until
from tests.unit.risk.diary import a_reading

FULL = ROUNDS >= 10
pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(400)]

FATAL = "tests.faults.fatal_risk"
SOON = {} if FULL else {"FATAL_MISSED_SOON": "1"}
SCORED = "SELECT count(*) FROM risk.score WHERE reading_id = ANY(%s)"


@pytest.fixture
def home(stack, fresh_database):
    made = Home(stack, fresh_database)
    while (
        hashed(str(made.maria).encode()) % stack.partitions
        == hashed(str(made.oto).encode()) % stack.partitions
    ):
        made.maria = uuid4()  # two patients in two partitions
    return made.furnish()


async def from_now_on(home):
    """The room begins where the topic ends: what other tests of the run said there is not its business."""
    consumer = AIOKafkaConsumer(bootstrap_servers=home.stack.kafka)
    await consumer.start()
    try:
        there = [TopicPartition(READINGS, n) for n in range(home.stack.partitions)]
        ends = await consumer.end_offsets(there)
    finally:
        await consumer.stop()
    with psycopg.connect(home.fresh.pipeline) as conn:
        for tp, end in ends.items():
            conn.execute(
                "INSERT INTO pump.partition (room, topic, partition, next_offset) VALUES ('risk', %s, %s, %s)",
                (READINGS, tp.partition, end),
            )


def sticks(patient, count, **told):
    return [
        a_reading(n / 4, patient=patient, **{"glucose": 110.0 + n % 9, "event_id": uuid4()} | told)
        for n in range(count)
    ]


async def say(home, readings):
    async with bus.producer(home.stack.kafka) as out:
        await send(
            out, [Record(READINGS, str(r.patient_id).encode(), msgspec.json.encode(r)) for r in readings]
        )


class Story:
    """Maria's readings with the deadly one among them, and Oto's, whose partition is another one."""

    def __init__(self, home):
        self.before, self.behind = sticks(home.maria, 5 if FULL else 0), sticks(home.maria, 5)
        (self.deadly,) = sticks(home.maria, 1, glucose=DEADLY)
        self.others = sticks(home.oto, 5, practice_id=2)
        asyncio.run(from_now_on(home))
        asyncio.run(say(home, [*self.before, self.deadly, *self.behind, *self.others]))


def scored(home, readings):
    return home.rows(SCORED, [r.event_id for r in readings])[0][0]


@contextlib.contextmanager
def kept_running(home, log, **environment):
    """The scorer under the product's own keeper."""
    with log.open("wb") as words:
        keeper = home.process("deploy.keeper", sys.executable, "-m", FATAL, log=words, **environment)
        try:
            yield lambda: log.read_text().count("keeper: ended with -9")
        finally:
            keeper.kill()  # the kernel takes the child along
            keeper.wait()


def test_a_reading_that_kills_the_scorer_is_set_aside_and_the_partition_goes_on(home, tmp_path, capsys):
    story = Story(home)
    with kept_running(home, tmp_path / "log", **SOON) as deaths:
        until(lambda: deaths() >= 1, 60, "the first death")
        began = time.monotonic()
        until(lambda: scored(home, story.others) == 5, 200, "the other partition's scores")
        others = time.monotonic() - began
        until(lambda: scored(home, story.behind) == 5, 200, "the scores behind the poison")
        stalled = time.monotonic() - began
        died = deaths()
    parked = home.rows("SELECT event_id, error FROM pump.parked WHERE room = 'risk'")
    marked = home.rows(
        "SELECT tier FROM risk.score WHERE reading_id = %s AND convert_from(scored, 'utf8') LIKE '%%incomplete%%'",
        story.deadly.event_id,
    )
    with capsys.disabled():
        print(
            f"\n  killed the scorer {died} times, then set aside: {len(parked)}; its partition stood {stalled:.1f} s, "
            f"the others {others:.1f} s{'' if FULL else ' (dead members missed after 2 s)'}; marked {marked}"
        )
    assert [name for name, _ in parked] == [story.deadly.event_id]
    # The fifth claim without progress sets it aside; those that are served before it in the same batch are progress, and
    # the count begins again.
    assert died == (7 if FULL else 4)
    assert scored(home, story.before) == len(story.before)
    assert len(marked) == 1  # its patient is told to be incomplete: somebody looks at the bare value


def test_a_pump_that_does_not_count_its_deaths_never_comes_past_the_poison(home, capsys):
    """The negative control."""
    story, died = Story(home), 0
    for _ in range(5):
        process = home.process(FATAL, FATAL_UNCOUNTED="1", FATAL_MISSED_SOON="1")
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        died += process.returncode == -9
    with capsys.disabled():
        print(
            f"\n  without counting: dead {died} times of 5, scored behind the poison {scored(home, story.behind)} of 5"
        )
    assert died == 5
    assert scored(home, story.behind) == 0
