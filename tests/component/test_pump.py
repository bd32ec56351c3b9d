"""The pump on real Kafka and PostgreSQL: nothing lost, nothing twice, zombies shut out, poison parked."""

import asyncio
import contextlib
import dataclasses
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from structlog.testing import capture_logs

from deploy import bus, database, relay
from deploy.course import Course, consumer
from deploy.pump import Pump
from deploy.settings import Secret
from tests.faults.link import Link, Weather

pytestmark = pytest.mark.stack


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag="beat"):
    event_id: UUID
    patient_id: UUID
    n: int


class Echo(msgspec.Struct, frozen=True, kw_only=True, tag="echo"):
    event_id: UUID
    patient_id: UUID
    total: int


class Quiet:
    """A meter that remembers."""

    def __init__(self):
        self.events = self.skipped = self.parked = self.fences = self.sent = self.largest = 0

    def served(self, *, events, skipped, parked, seconds):
        self.events += events
        self.largest = max(self.largest, events)
        self.skipped += skipped
        self.parked += parked

    def fenced(self):
        self.fences += 1

    def lag(self, records): ...

    def relayed(self, events):
        self.sent += events


class Summing:
    """A room that keeps a running total per patient, in memory and in the database."""

    def __init__(self, poison=None):
        self.poison, self.totals, self.forgotten = poison, {}, 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def handle(self, conn, events, *, now):
        self.entered.set()
        await self.gate.wait()
        out = []
        for event in events:
            if event.n == self.poison:
                raise ValueError("poison")
            if event.patient_id not in self.totals:
                row = await (
                    await conn.execute("SELECT total FROM summing WHERE patient_id = %s", (event.patient_id,))
                ).fetchone()
                self.totals[event.patient_id] = row[0] if row else 0
            self.totals[event.patient_id] += event.n
            out.append(
                Echo(event_id=uuid4(), patient_id=event.patient_id, total=self.totals[event.patient_id])
            )
        for patient_id, total in self.totals.items():
            await conn.execute(
                "INSERT INTO summing VALUES (%s, %s) ON CONFLICT (patient_id) DO UPDATE SET total = excluded.total",
                (patient_id, total),
            )
        return out

    async def park(self, conn, event, *, reason, now):
        return []

    def forget(self):
        self.forgotten += 1
        self.totals.clear()


@pytest.fixture
async def world(stack, fresh_database):
    """A fresh database and two topics of our own on the real broker."""
    name = uuid4().hex[:8]
    dsn = Secret(fresh_database.pipeline)
    async with await database.Connection.connect(fresh_database.superuser, autocommit=True) as conn:
        await conn.execute("CREATE TABLE summing (patient_id uuid PRIMARY KEY, total bigint NOT NULL)")
        await conn.execute("GRANT ALL ON summing TO lamplight_pipeline")
    source, target = f"beats-{name}", f"echoes-{name}"
    admin = bus.AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([bus.NewTopic(source, 2, 1), bus.NewTopic(target, 2, 1)])
    await admin.close()
    course = Course(room=f"summing-{name}", source=source, reads=Beat, target=target)
    async with database.pool(dsn) as pool:
        yield World(stack.kafka, dsn, pool, course)


class World:
    def __init__(self, kafka, dsn, pool, course):
        self.kafka, self.dsn, self.pool, self.course = kafka, dsn, pool, course

    async def tell(self, *events, partition=None):
        async with bus.producer(self.kafka) as out:
            for event in events:
                value = event if isinstance(event, bytes) else msgspec.json.encode(event)
                await out.send_and_wait(self.course.source, value, key=b"k", partition=partition)

    async def totals(self):
        async with self.pool.connection() as conn:
            return dict(await (await conn.execute("SELECT patient_id, total FROM summing")).fetchall())

    async def claimed(self):
        return await self.count("partition") == 2

    async def contested(self):
        """Another one has claimed both partitions, or waits for the row of one until our transaction ends."""
        async with self.pool.connection() as conn:
            row = await conn.execute(
                """SELECT 2 = (SELECT count(*) FROM pump.partition WHERE room = %s AND epoch > 1)
                       OR EXISTS (SELECT FROM pg_stat_activity
                                   WHERE datname = current_database() AND wait_event_type = 'Lock')""",
                (self.course.room,),
            )
            return (await row.fetchone())[0]

    async def count(self, table):
        async with self.pool.connection() as conn:
            return (
                await (
                    await conn.execute(
                        f"SELECT count(*) FROM pump.{table} WHERE room = %s", (self.course.room,)
                    )
                ).fetchone()
            )[0]

    async def pause_until_served_by_another(self, room, meter, events):
        """Let another process serve `events` behind the back of the pump at work: it has the partition afterwards."""
        async with self.pool.connection() as conn:
            for event in events:
                await conn.execute(
                    "INSERT INTO pump.seen (room, event_id) VALUES (%s, %s)",
                    (self.course.room, event.event_id),
                )
            await room.handle(conn, events, now=datetime.now(UTC))
            await conn.execute(
                "UPDATE pump.partition SET epoch = epoch + 1 WHERE room = %s", (self.course.room,)
            )
        meter.events += len(events)

    @contextlib.asynccontextmanager
    async def pumping(self, room, meter, *, group=None, batch=500, kind=Pump):
        """A pump at work; `group` gives it a consumer group of its own: two pumps then both believe they own all."""
        course = self.course
        stopping = asyncio.Event()
        feed_course = (
            course
            if group is None
            else Course(room=group, source=course.source, reads=course.reads, target=course.target)
        )
        async with consumer(self.kafka, feed_course) as feed:
            pump = kind(
                course,
                room,
                consumer=feed,
                pool=self.pool,
                clock=lambda: datetime.now(UTC),
                meter=meter,
                owner="test",
                batch=batch,
            )
            task = asyncio.create_task(pump.run(stopping))
            try:
                yield task
            finally:
                stopping.set()
                room.gate.set()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def until(condition, *, within=20):
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


def beats(patient, numbers):
    return [Beat(event_id=uuid4(), patient_id=patient, n=n) for n in numbers]


async def test_who_joins_while_kafka_does_not_know_the_topic_serves_it_once_it_does(world):
    """A broker that just came back answers so for a moment: the group then shares out nothing, and nobody complains."""
    world.course = dataclasses.replace(world.course, source=f"late-{uuid4().hex[:8]}")
    maria, meter = uuid4(), Quiet()
    async with world.pumping(Summing(), meter):
        await asyncio.sleep(4)  # joined, with nothing to serve: nobody outside can see that
        assert not await world.count("partition")
        admin = bus.AIOKafkaAdminClient(bootstrap_servers=world.kafka)
        await admin.start()
        await admin.create_topics([bus.NewTopic(world.course.source, 2, 1)])
        await admin.close()
        await world.tell(*beats(maria, range(1, 11)))
        await until(lambda: _is(lambda: meter.events == 10))
    assert await world.totals() == {maria: 55}


async def test_each_event_is_served_once_however_often_it_is_told(world):
    maria, meter = uuid4(), Quiet()
    told = beats(maria, range(1, 101))
    async with world.pumping(Summing(), meter):
        await world.tell(*told, *told[:50])
        await until(lambda: _is(lambda: meter.events + meter.skipped == 150))
    assert await world.totals() == {maria: 5050}
    assert meter.skipped == 50


async def test_a_pump_that_was_replaced_commits_nothing_and_forgets(world):
    maria = uuid4()
    zombie, heir = Summing(), Summing()
    zombies, heirs = Quiet(), Quiet()
    zombie.gate.clear()
    async with world.pumping(zombie, zombies, group=f"z-{uuid4()}"):
        await world.tell(*beats(maria, [1, 2, 3]))
        await asyncio.wait_for(zombie.entered.wait(), 20)  # frozen inside its transaction, holding the fence
        async with world.pumping(heir, heirs, group=f"h-{uuid4()}"):
            await until(world.contested)  # the heir came while the zombie was frozen, however long that took
            zombie.gate.set()
            await world.tell(*beats(maria, [4]))
            await until(lambda: _is(lambda: zombies.events + heirs.events == 4))
            await until(lambda: _is(lambda: zombies.fences + heirs.fences >= 1))
    assert await world.totals() == {maria: 10}


class Unfenced(Pump):
    """Broken on purpose: writes whoever owns the partition."""

    async def _fenced(self, conn, claims, polled, told):
        return {tp: polled[tp] for tp in claims}, await self._unseen(conn, [event for _, event in told])


class Forgetful(Pump):
    """Broken on purpose: does not remember what it has served."""

    async def _unseen(self, conn, events):
        return list(events)


@pytest.mark.parametrize(
    ("kind", "total"),
    [(Pump, 15), (Unfenced, 11)],
    ids=["the fence makes a zombie reload before it writes", "without the fence the invariant breaks"],
)
async def test_a_zombie_never_writes_from_old_memory(world, kind, total):
    maria = uuid4()
    zombies, heirs = Quiet(), Quiet()
    async with world.pumping(Summing(), zombies, group=f"z-{uuid4()}", kind=kind):
        await world.tell(*beats(maria, [1, 2, 3]))
        await until(lambda: _is(lambda: zombies.events == 3))
        heir = Summing()
        await world.pause_until_served_by_another(heir, heirs, beats(maria, [4]))
        await world.tell(*beats(maria, [5]))
        await until(lambda: _is(lambda: zombies.events + heirs.events == 5))
    assert (await world.totals())[maria] == total


async def test_without_remembering_a_fact_told_twice_counts_twice(world):
    maria, meter = uuid4(), Quiet()
    told = beats(maria, [1, 2])
    async with world.pumping(Summing(), meter, kind=Forgetful):
        await world.tell(*told, *told)
        await until(lambda: _is(lambda: meter.events == 4))
    assert await world.totals() == {maria: 6}, "the negative control no longer shows the fault"


async def test_what_was_committed_is_not_served_again_by_a_room_that_recognises_when_the_answer_was_lost(
    world,
):
    maria, meter = uuid4(), Quiet()
    world.course = dataclasses.replace(world.course, recognises=True)
    async with world.pumping(Summing(), meter):
        await world.tell(*beats(maria, [1]), partition=0)
        await until(lambda: _is(lambda: meter.events == 1))
        async with world.pool.connection() as conn:  # as a commit does whose answer never came
            await conn.execute(
                "UPDATE pump.partition SET next_offset = next_offset + 2 WHERE room = %s AND partition = 0",
                (world.course.room,),
            )
        await world.tell(*beats(maria, [10, 20, 4]), partition=0)
        await until(lambda: _is(lambda: meter.events == 2))
    assert await world.totals() == {maria: 5}


class Dividing(Summing):
    """Lets the database find the poison, in the middle of a pipeline."""

    async def handle(self, conn, events, *, now):
        poison, self.poison = self.poison, None
        try:
            async with conn.pipeline():
                out = await super().handle(conn, events, now=now)
                for event in events:
                    await conn.execute("SELECT 1 / (%s - %s)", (event.n, poison))
                return out
        finally:
            self.poison = poison


@pytest.mark.parametrize("kind", [Summing, Dividing])
async def test_poison_is_parked_and_the_patient_behind_it_is_served(world, kind):
    maria, jose, meter = uuid4(), uuid4(), Quiet()
    async with world.pumping(kind(poison=13), meter):
        await world.tell(*beats(maria, [1, 13, 2]), b"not an event", *beats(jose, [7]))
        await until(lambda: _is(lambda: meter.parked == 2 and meter.events >= 3))
    assert await world.totals() == {maria: 3, jose: 7}
    assert await world.count("parked") == 2


class Unmarkable(Summing):
    """A room that breaks its promise: it raises even when asked to mark the patient."""

    async def park(self, conn, event, *, reason, now):
        await conn.execute("INSERT INTO summing VALUES (%s, 1)", (event.patient_id,))
        raise ValueError("poison again")


async def test_a_room_that_cannot_even_mark_the_patient_holds_up_nobody_behind(world):
    maria, jose, meter = uuid4(), uuid4(), Quiet()
    async with world.pumping(Unmarkable(poison=13), meter) as task:
        await world.tell(*beats(maria, [13]), *beats(jose, [7]))
        await until(lambda: _is(lambda: task.done() or (meter.parked == 1 and meter.events == 1)))
        assert not task.done()
    assert await world.totals() == {jose: 7}, "what the room wrote before it raised must not stay"
    assert await world.count("parked") == 1


async def test_a_new_pump_goes_on_where_the_database_says(world):
    maria = uuid4()
    first, second = Quiet(), Quiet()
    async with world.pumping(Summing(), first):
        await world.tell(*beats(maria, [1, 2]))
        await until(lambda: _is(lambda: first.events == 2))
    await world.tell(*beats(maria, [3]))
    async with world.pumping(
        Summing(), second, group=f"other-{uuid4()}"
    ):  # no committed group offset to help
        await until(lambda: _is(lambda: second.events == 1))
    assert second.skipped == 0
    assert await world.totals() == {maria: 6}


async def test_a_topic_made_anew_is_read_from_its_start_and_nothing_of_it_is_skipped(world):
    maria, meter = uuid4(), Quiet()
    told = beats(maria, [1, 2, 3])
    async with world.pumping(Summing(), Quiet()) as _, world.pool.connection() as conn:
        await until(lambda: world.claimed())
        await conn.execute(
            "UPDATE pump.partition SET next_offset = 1000 WHERE room = %s", (world.course.room,)
        )  # as if Kafka had held a thousand records before it lost them
    await world.tell(*told)
    async with world.pumping(Summing(), meter, group=f"other-{uuid4()}"):
        await until(lambda: _is(lambda: meter.events == 3), within=40)
    assert await world.totals() == {maria: 6}


class Slow(Summing):
    """Takes a quarter of a second for each event, between two statements."""

    async def handle(self, conn, events, *, now):
        out = await super().handle(conn, events, now=now)
        await asyncio.sleep(0.25 * len(events))
        return out


async def test_a_batch_that_takes_the_database_too_long_is_served_in_smaller_ones(world):
    maria, meter = uuid4(), Quiet()
    await world.tell(*beats(maria, range(1, 17)), partition=0)
    async with database.pool(world.dsn, frozen_after_s=1) as world.pool, world.pumping(Slow(), meter):
        await until(lambda: _is(lambda: meter.events == 16), within=60)
    assert meter.largest < 16
    async with database.pool(world.dsn) as world.pool:
        assert await world.totals() == {maria: 136}


async def test_the_relay_brings_everything_out_in_order_and_empties_the_outbox(world):
    maria, meter = uuid4(), Quiet()
    stopping = asyncio.Event()
    way_out = relay.Relay(world.course.room, bootstrap=world.kafka, dsn=world.dsn, meter=meter)
    relaying = asyncio.create_task(way_out.run(stopping))
    async with world.pumping(Summing(), Quiet()):
        await world.tell(*beats(maria, range(1, 51)))
        await until(lambda: _is(lambda: meter.sent == 50))
    stopping.set()
    way_out.wake()
    await relaying
    heard = []
    async with consumer(
        world.kafka, Course(room=f"listener-{uuid4()}", source=world.course.target, reads=Echo, target=None)
    ) as feed:
        feed.subscribe([world.course.target])
        while len(heard) < 50:
            for records in (await feed.getmany(timeout_ms=1000)).values():
                heard += [msgspec.json.decode(r.value, type=Echo).total for r in records]
    assert heard == [n * (n + 1) // 2 for n in range(1, 51)]
    assert await world.count("outbox") == 0


async def test_a_relay_behind_a_line_that_swallows_dials_anew(world, monkeypatch):
    maria, meter, stopping = uuid4(), Quiet(), asyncio.Event()
    monkeypatch.setattr(database.Patient, "within_s", 4.0)
    monkeypatch.setattr(
        relay, "FROZEN_AFTER_S", 3
    )  # the server lets the lost session's place go before we notice
    told = conninfo_to_dict(world.dsn.reveal())
    async with Link(told["host"], told["port"]) as line:
        bent = Secret(make_conninfo(world.dsn.reveal(), port=line.port))
        way_out = relay.Relay(world.course.room, bootstrap=world.kafka, dsn=bent, meter=meter)
        relaying = asyncio.create_task(way_out.run(stopping))
        async with world.pumping(Summing(), Quiet()):
            await world.tell(*beats(maria, [1]))
            await until(lambda: _is(lambda: meter.sent == 1))
            line.turn(Weather.SILENT)
            with capture_logs() as said:
                await world.tell(*beats(maria, [2]))
                await until(lambda: _is(lambda: any(one["event"] == "relay.away" for one in said)))
            line.turn(Weather.FAIR)
            await until(lambda: _is(lambda: meter.sent >= 2), within=60)
        stopping.set()
        way_out.wake()
        await relaying


async def _is(condition):
    return condition()


async def test_a_record_that_kills_the_process_again_and_again_is_parked_alone(world):
    maria, meter = uuid4(), Quiet()
    await world.tell(*beats(maria, [1, 2, 3]))
    async with world.pool.connection() as conn:  # as five processes leave it that died serving this offset
        await conn.execute(
            "INSERT INTO pump.partition (room, topic, partition, tries) SELECT %s, %s, n, 4 FROM generate_series(0, 1) n",
            (world.course.room, world.course.source),
        )
    async with world.pumping(Summing(), meter):
        await until(lambda: _is(lambda: meter.parked + meter.events == 3))
    assert meter.parked == 1
    assert await world.totals() == {maria: 5}


async def test_restarts_without_work_are_not_held_against_the_next_record(world):
    maria, meter = uuid4(), Quiet()
    for _ in range(6):
        async with world.pumping(Summing(), Quiet()) as task:
            await asyncio.sleep(0.2)
            assert not task.done()
    async with world.pumping(Summing(), meter):
        await world.tell(*beats(maria, [1]))
        await until(lambda: _is(lambda: meter.events + meter.parked == 1))
    assert await world.totals() == {maria: 1}


async def test_partitions_are_committed_together_and_poison_in_one_is_no_matter_of_the_other(world):
    maria, jose, meter = uuid4(), uuid4(), Quiet()
    room = Summing(poison=13)
    await world.tell(*beats(maria, [1, 13, 2]), partition=0)
    await world.tell(*beats(jose, [7, 8]), partition=1)
    async with world.pumping(room, meter):
        await until(lambda: _is(lambda: meter.parked == 1 and meter.events == 4))
    assert await world.totals() == {maria: 3, jose: 15}


async def test_a_partition_that_was_taken_away_holds_up_no_other(world):
    maria, jose, meter = uuid4(), uuid4(), Quiet()
    async with world.pumping(Summing(), meter):
        await world.tell(*beats(maria, [1]), partition=0)
        await world.tell(*beats(jose, [7]), partition=1)
        await until(lambda: _is(lambda: meter.events == 2))
        async with world.pool.connection() as conn, conn.transaction():
            await conn.execute(  # the lock makes the next batch wait, so that both partitions are in it or behind it
                "UPDATE pump.partition SET epoch = epoch + 1 WHERE room = %s AND partition = 0",
                (world.course.room,),
            )
            await world.tell(*beats(jose, [8]), partition=1)
            await world.tell(*beats(maria, [2]), partition=0)
        await until(lambda: _is(lambda: meter.events == 4))  # the pump claims it again and serves it then
    assert await world.totals() == {maria: 3, jose: 15}
    assert meter.fences == 1


async def test_a_partition_whose_record_kills_is_blamed_alone(world):
    maria, jose, meter = uuid4(), uuid4(), Quiet()
    await world.tell(*beats(maria, [1, 2]), partition=0)
    await world.tell(*beats(jose, [7, 8]), partition=1)
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO pump.partition (room, topic, partition, tries) VALUES (%s, %s, 0, 4), (%s, %s, 1, 2)",
            (world.course.room, world.course.source) * 2,
        )
    async with world.pumping(Summing(), meter):
        await until(lambda: _is(lambda: meter.parked + meter.events == 4))
    assert meter.parked == 1
    assert await world.totals() == {maria: 2, jose: 15}
