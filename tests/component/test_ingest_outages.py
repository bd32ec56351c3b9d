"""Kafka, PostgreSQL or the broker's memory goes away while readings flow: nobody is told a thing that is not so."""

import asyncio
import base64
from uuid import UUID, uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import bus
from ingest import wire
from ingest.stream import Stream
from tests.ingest_home import REFUSED, Home, fingerstick, spoken

pytestmark = pytest.mark.stack


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


def ids(messages):
    return {UUID(message["id"]) for message in messages}


async def silence(gateway, seconds=2.0):
    """Hear nothing for a while; what must not happen cannot be waited for."""
    with pytest.raises(TimeoutError):
        await gateway.hear(10_000, within_s=seconds)


async def test_while_kafka_is_frozen_nothing_is_acknowledged_and_then_everything_is(home, stack):
    before = fingerstick(home.meter, 100, minutes_ago=9)
    during = [fingerstick(home.meter, 101 + n, minutes_ago=8 - n) for n in range(5)]
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(before)
        await gateway.hear(1)
        stack.freeze("kafka")
        try:
            await gateway.say(*during)
            await silence(gateway)
            assert set(gateway.acked) == ids([before])
        finally:
            stack.thaw("kafka")
        await gateway.hear(6, within_s=40)
    assert {reading.caused_by for reading in await spoken(stack, [home.gateway])} == ids([before, *during])


@pytest.mark.parametrize("away", ["kafka", "postgres"])
async def test_a_server_killed_and_started_again_costs_time_and_nothing_else(home, stack, away):
    messages = [fingerstick(home.meter, 100 + n, minutes_ago=20 - n) for n in range(12)]
    async with home.listening() as meter, home.speaking() as gateway:
        await gateway.say(*messages[:4])
        await gateway.hear(4)
        stack.kill(away)
        try:
            await gateway.say(*messages[4:8])
            await silence(gateway, 1.0)
        finally:
            await asyncio.to_thread(stack.restart, away)
        await gateway.say(*messages[8:])
        await gateway.hear(12, within_s=60)
        assert meter.tally.accepted == 12
    assert {reading.caused_by for reading in await spoken(stack, [home.gateway])} == ids(messages)
    assert await spoken(stack, [home.gateway], REFUSED) == []


async def test_a_broker_that_forgot_us_is_an_incident_and_gateways_are_asked_for_everything(home, stack):
    async with home.listening() as meter:
        stack.kill("mosquitto")
        memory = stack.folder / "mosquitto" / "mosquitto.db"
        memory.unlink(missing_ok=True)
        await asyncio.to_thread(stack.restart, "mosquitto")
        async with asyncio.timeout(30):
            while not meter.sessions_lost:
                await asyncio.sleep(0.05)
        assert meter.dropped >= 1
        async with home.speaking() as gateway:
            await gateway.say(fingerstick(home.meter))
            await gateway.hear(1)
    assert meter.tally.accepted == 1


async def test_a_new_bridge_asks_every_gateway_to_send_what_is_unanswered(home, stack):
    commands = []
    stack.kill("mosquitto")
    (stack.folder / "mosquitto" / "mosquitto.db").unlink(missing_ok=True)
    await asyncio.to_thread(stack.restart, "mosquitto")
    async with home.speaking() as gateway, home.listening(), asyncio.timeout(10):
        while not commands:
            batch = await gateway.line.take(10)
            commands += [
                heard.payload for heard in batch.messages if heard.topic == wire.commands(home.gateway)
            ]
            batch.acknowledge()
    assert commands == [b'{"command":"resync"}']


class Narrow(Stream):
    """Into a topic whose limit is smaller than Lamplight's own, as an operator's broker might have it."""

    def __init__(self, kafka, topic):
        super().__init__(lambda: bus.producer(kafka))
        self._topic = topic

    async def append(self, records):
        moved = [record._replace(topic=self._topic) for record in records]
        unkept = await super().append(moved)
        return [record for record, there in zip(records, moved, strict=True) if there in unkept]


async def test_what_is_larger_than_kafka_takes_holds_nobody_up_and_is_kept_when_its_limit_is_mended(
    home, stack
):
    topic = f"narrow-{uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"max.message.bytes": "4000"})])
    await admin.close()
    large = fingerstick(home.meter, 200, minutes_ago=9, raw=base64.b64encode(b"x" * 6_000).decode())
    good = [fingerstick(home.meter, 100 + n, minutes_ago=8 - n) for n in range(8)]
    async with home.listening(stream=Narrow(stack.kafka, topic)) as meter, home.speaking() as gateway:
        await gateway.say(good[0], large, *good[1:])
        await gateway.hear(len(good))
        assert (set(gateway.acked), gateway.refused) == (ids(good), {})
        assert meter.tally.unkept == 1
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(large)
        await gateway.hear(1)
    assert set(gateway.acked) == ids([large])
    assert [one.glucose for one in await spoken(home.stack, [home.gateway])] == [200]
