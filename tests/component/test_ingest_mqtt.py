"""A line to real Mosquitto: acknowledged only on the line it was heard on, bounded, loud when it ends."""

import asyncio
import dataclasses
import gc

import pytest

from ingest.mqtt import DELIVERED, LineDropped, Will, dial
from ingest.wire import EVERYTHING
from tests.ingest_home import Home

pytestmark = pytest.mark.stack


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database)


def listener(home, **more):
    """The bridge. Its subscription stays with its session, so every test uses the same one."""
    return dial(home.broker("bridge"), topics=[EVERYTHING], **more)


def speaker(home, **more):
    return dial(home.broker(home.gateway), topics=[], **more)


async def take(line, count):
    heard = []
    async with asyncio.timeout(10):
        while len(heard) < count:
            heard.append(await line.take(count - len(heard)))
            if sum(len(batch.messages) for batch in heard) >= count:
                return heard
    return heard


def payloads(batches):
    return [int(message.payload) for batch in batches for message in batch.messages]


async def drain(home):
    """Whatever earlier tests left for the bridge."""
    async with dial(home.broker("bridge"), topics=[EVERYTHING]) as line:
        while True:
            try:
                async with asyncio.timeout(0.5):
                    (await line.take(1_000)).acknowledge()
            except TimeoutError:
                return


async def test_what_was_not_acknowledged_comes_again_on_the_next_line_and_what_was_does_not(home):
    await drain(home)
    async with listener(home) as line, speaker(home) as gateway:
        for n in range(10):
            assert await gateway.tell(f"v1/{home.gateway}/x", b"%d" % n) == DELIVERED
        (first, *_) = await take(line, 10)
        heard = payloads([first])
        first.acknowledge()
        late = await take(line, 10 - len(heard)) if len(heard) < 10 else []
        await gateway.tell(f"v1/{home.gateway}/x", b"99")
        unanswered = await take(line, 1)
    rest = payloads(late) + payloads(unanswered)
    async with listener(home) as line:
        assert line.session_present
        again = await take(line, len(rest))
        assert sorted(payloads(again)) == sorted(rest)
        for batch in (*late, *unanswered):
            batch.acknowledge()  # an old line's receipts: nothing may happen on the new one
        for batch in again:
            batch.acknowledge()


async def test_a_stale_receipt_never_acknowledges_a_new_message(home):
    await drain(home)
    async with listener(home) as line, speaker(home) as gateway:
        await gateway.tell(f"v1/{home.gateway}/x", b"1")
        stale = await take(line, 1)
    async with listener(home) as line:
        stale[0].acknowledge()
        assert payloads(await take(line, 1)) == [1]
    async with listener(home) as line:
        held = await take(line, 1)
        assert payloads(held) == [1]
        held[0].acknowledge()


async def test_order_is_kept_and_a_lone_message_does_not_wait_for_company(home):
    await drain(home)
    async with listener(home) as line, speaker(home, in_flight=500) as gateway:
        told = [gateway.tell(f"v1/{home.gateway}/x", b"%d" % n) for n in range(2_000)]
        batches = []
        while sum(len(batch.messages) for batch in batches) < 2_000:
            batches.append(await line.take(500))
            batches[-1].acknowledge()
        assert payloads(batches) == list(range(2_000))
        assert {await one for one in told} == {DELIVERED}
        loop = asyncio.get_running_loop()
        started = loop.time()
        await gateway.tell(f"v1/{home.gateway}/x", b"7")
        (await line.take(500)).acknowledge()
        assert loop.time() - started < 0.25


async def test_a_listener_that_falls_behind_hears_a_bounded_number_and_loses_nothing(home):
    await drain(home)
    async with listener(home, room=50) as line, speaker(home, in_flight=500) as gateway:
        for told in [gateway.tell(f"v1/{home.gateway}/x", b"%d" % n) for n in range(1_000)]:
            await told
        assert len(line._heard) <= 60
        seen = []
        while len(seen) < 1_000:
            batch = await line.take(20)
            assert len(line._heard) <= 60
            seen += payloads([batch])
            batch.acknowledge()
        assert seen == list(range(1_000))


async def test_the_end_of_the_broker_is_the_end_of_the_line_for_everybody_who_waits(home, stack):
    async with listener(home) as line:
        waiting = asyncio.create_task(line.take(1))
        stack.kill("mosquitto")
        try:
            with pytest.raises(LineDropped):
                async with asyncio.timeout(10):
                    await waiting
            with pytest.raises(LineDropped):
                await line.tell("ack/x", b"")
            with pytest.raises(LineDropped, match=r"cannot reach the broker|disconnected"):
                async with listener(home):
                    pass
        finally:
            stack.restart("mosquitto")
    async with listener(home) as line:
        assert not line.dropped.is_set()


async def test_a_broker_that_is_away_is_said_once_and_leaves_no_forgotten_future(home):
    forgotten = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: forgotten.append(what["message"]))
    nobody = dataclasses.replace(home.broker(home.gateway), port=1)
    with pytest.raises(LineDropped, match="cannot reach the broker"):
        async with dial(nobody, topics=[]):
            pass
    await asyncio.sleep(0)  # what the loop itself still holds of the line goes with its next turn
    gc.collect()
    assert forgotten == []


async def test_a_handler_that_raises_ends_the_line_loudly(home):
    await drain(home)
    async with listener(home) as line, speaker(home) as gateway:

        def broken(*_):
            raise RuntimeError("boom")

        line._client.on_message = broken
        await gateway.tell(f"v1/{home.gateway}/x", b"1")
        with pytest.raises(LineDropped, match="broken: RuntimeError"):
            async with asyncio.timeout(10):
                await line.take(1)
    async with listener(home) as line:  # not acknowledged, so not lost
        batch = await line.take(1)
        assert payloads([batch]) == [1]
        batch.acknowledge()


async def test_a_gateway_may_not_speak_for_another_and_hears_that_it_may_not(home):
    async with speaker(home) as gateway:
        assert await gateway.tell(f"v1/{home.other_gateway}/readings", b"x") == 135  # not authorized


async def test_a_publish_nobody_takes_is_not_called_delivered(home):
    async with speaker(home) as gateway:
        code = await gateway.tell(f"v1/{home.gateway}/x", b"x")
        assert code in {DELIVERED, 16}  # 16, no matching subscribers, when no bridge session exists


async def test_the_will_is_spoken_for_who_vanished_and_not_for_who_said_good_bye(home):
    await drain(home)
    will = Will(topic=f"v1/{home.gateway}/status", payload=b"0", after_s=0)
    async with listener(home) as line:
        async with speaker(home, will=will) as gateway:
            await gateway.tell(f"v1/{home.gateway}/x", b"1")
        async with speaker(home, will=will) as gateway:
            await gateway.tell(f"v1/{home.gateway}/x", b"2")
            gateway._client.socket().close()  # a cable pulled
            gateway._end("pulled")
        batches = await take(line, 3)
        assert payloads(batches) == [1, 2, 0]
        for batch in batches:
            batch.acknowledge()


async def test_leaving_takes_no_more_and_still_acknowledges_what_was_taken(home):
    await drain(home)
    async with listener(home) as line, speaker(home) as gateway:
        await gateway.tell(f"v1/{home.gateway}/x", b"1")
        batch = await line.take(1)
        line.leave()
        batch.acknowledge()
        with pytest.raises(LineDropped, match="leaving"):
            await line.take(1)
    async with listener(home) as line, speaker(home) as gateway:
        await gateway.tell(f"v1/{home.gateway}/x", b"2")
        (batch,) = await take(line, 1)
        assert payloads([batch]) == [2]
        batch.acknowledge()
