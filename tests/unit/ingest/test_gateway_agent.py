"""The agent against a line it holds in its hand: what it sends when, what it believes, and what it never forgets."""

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest

from ingest import wire
from ingest.gateway import agent as agent_module
from ingest.gateway.agent import Agent
from ingest.gateway.outbox import FullError, Outbox
from ingest.mqtt import DELIVERED, LineDropped

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PAYLOADS = {n: f'{{"reading":{n}}}'.encode() for n in range(1, 400)}


class HandLine:
    """A line whose other end is the test. The same promises as the real one (tests/component/test_ingest_mqtt.py)."""

    def __init__(self, code=DELIVERED):
        self.code, self.said, self.arrived = code, [], asyncio.Queue()
        self.news = asyncio.Event()
        self.acknowledged = 0

    def tell(self, topic, payload, *, qos=1):
        self.said.append((topic, payload))
        self.news.set()
        told = asyncio.get_running_loop().create_future()
        told.set_result(self.code)
        return told

    async def take(self, most):
        found = await self.arrived.get()
        if isinstance(found, Exception):
            raise found
        line = self

        class Batch:
            messages = (found,)

            def acknowledge(self):
                line.acknowledged += 1

        return Batch()

    def answer(self, gateway="gw", *, acked=(), refused=()):
        answer = wire.Answer(
            acked=tuple(UUID(int=n) for n in acked),
            refused=tuple(wire.No(id=UUID(int=n), reason="unknown-device", detail="d") for n in refused),
        )
        self.hear(wire.answers(gateway), msgspec.json.encode(answer))

    def hear(self, topic, payload):
        self.arrived.put_nowait(type("Heard", (), {"topic": topic, "payload": payload}))

    def drop(self):
        self.arrived.put_nowait(LineDropped("cut"))

    def readings(self):
        back = {payload: n for n, payload in PAYLOADS.items()}
        return [back.get(payload) for topic, payload in self.said if topic.endswith("/readings")]

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                waiting = asyncio.ensure_future(self.news.wait())
                await asyncio.wait({waiting}, timeout=0.02)
                waiting.cancel()


@contextlib.asynccontextmanager
async def agent_on(*lines, in_flight=50, outbox=None, stopping=None):
    with outbox or Outbox(":memory:") as kept:
        waiting = list(lines)

        @contextlib.asynccontextmanager
        async def dial():
            if not waiting:
                await asyncio.Event().wait()
            yield waiting.pop(0)

        agent = Agent("gw", kept, dial, clock=lambda: NOON, version="1", in_flight=in_flight)
        stopping = stopping or asyncio.Event()
        running = asyncio.create_task(agent.run(stopping))
        try:
            yield agent, kept
        finally:
            stopping.set()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def put(agent, *numbers):
    return agent.put([(UUID(int=n), PAYLOADS[n]) for n in numbers])


async def test_a_puback_alone_lets_nothing_go():
    line = HandLine()
    async with agent_on(line) as (agent, outbox):
        put(agent, 1, 2)
        await line.until(lambda: set(line.readings()) == {1, 2})
        assert outbox.depth == 2
        line.answer(acked=[1])
        await line.until(lambda: outbox.depth == 1)
        assert line.acknowledged == 1


async def test_an_unanswered_reading_is_sent_again_and_again_with_longer_pauses():
    line = HandLine()
    async with agent_on(line) as (agent, _):
        agent._usual_s = 0.01
        put(agent, 1)
        loop = asyncio.get_running_loop()
        times = []

        def sent_again():
            if len(line.readings()) > len(times):
                times.append(loop.time())
            return len(times) >= 4

        await line.until(sent_again)
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[0] >= 0.1
    assert pauses[2] > 1.5 * pauses[0]


@pytest.mark.parametrize(
    "code", [16, 135, 149], ids=["no matching subscribers", "not authorized", "packet too large"]
)
async def test_any_puback_but_zero_is_not_delivered(code):
    line = HandLine(code)
    async with agent_on(line) as (agent, outbox):
        agent._usual_s = 0.01
        put(agent, 1)
        await line.until(lambda: agent.undelivered >= 2)
        assert (outbox.depth, set(line.readings())) == (1, {1})


async def test_a_refused_reading_is_kept_with_its_reason_and_not_sent_again():
    line = HandLine()
    async with agent_on(line) as (agent, outbox):
        put(agent, 1)
        await line.until(lambda: line.readings())
        line.answer(refused=[1])
        await line.until(lambda: outbox.depth == 0)
        assert outbox.counts() == (0, 1, 0)


async def test_no_more_than_the_window_is_on_its_way_and_the_oldest_goes_first():
    line = HandLine()
    async with agent_on(line, in_flight=10) as (agent, _outbox):
        agent._usual_s = 60.0
        put(agent, *range(1, 101))
        await line.until(lambda: len(line.readings()) >= 10)
        assert line.readings() == list(range(1, 11))
        line.answer(acked=range(1, 6))
        await line.until(lambda: len(line.readings()) >= 15)
        assert line.readings() == list(range(1, 16))


async def test_a_new_line_begins_again_with_everything_unanswered():
    first, second = HandLine(), HandLine()
    async with agent_on(first, second) as (agent, outbox):
        put(agent, 1, 2, 3)
        await first.until(lambda: set(first.readings()) == {1, 2, 3})
        first.answer(acked=[2])
        await first.until(lambda: outbox.depth == 2)
        first.drop()
        await second.until(lambda: set(second.readings()) == {1, 3})


async def test_resync_brings_back_what_was_acknowledged_since():
    line = HandLine()
    async with agent_on(line) as (agent, outbox):
        put(agent, 1, 2)
        await line.until(lambda: set(line.readings()) == {1, 2})
        line.answer(acked=[1, 2])
        await line.until(lambda: outbox.depth == 0)
        line.said.clear()
        line.hear(wire.commands("gw"), msgspec.json.encode(wire.Resync(since=NOON)))
        await line.until(lambda: set(line.readings()) == {1, 2})
        assert outbox.depth == 2


async def test_nonsense_from_the_other_side_changes_nothing():
    line = HandLine()
    async with agent_on(line) as (agent, outbox):
        put(agent, 1)
        await line.until(lambda: line.readings())
        for junk in (b"", b"\xff", b"[]", b'{"acked":["x"]}', b'{"command":"format the disk"}'):
            line.hear(wire.answers("gw"), junk)
            line.hear(wire.commands("gw"), junk)
        line.answer(acked=[77])  # not ours
        line.answer(acked=[1])
        await line.until(lambda: outbox.depth == 0)


async def test_a_full_disk_stops_neither_the_sending_nor_the_hearing(monkeypatch):
    line = HandLine()
    with Outbox(":memory:") as outbox:
        settle, full = outbox.settle, [True]

        def settle_if_room(ids, **more):
            if full[0]:
                raise FullError("no room")
            return settle(ids, **more)

        monkeypatch.setattr(outbox, "settle", settle_if_room)
        async with agent_on(line, outbox=outbox) as (agent, _):
            put(agent, 1)
            await line.until(lambda: line.readings())
            line.answer(acked=[1])
            await line.until(lambda: line.acknowledged == 1)
            assert outbox.depth == 1  # not written down, so not believed
            full[0] = False
            line.answer(acked=[1])
            await line.until(lambda: outbox.depth == 0)


async def test_a_device_waits_with_its_memory_until_there_is_room(monkeypatch):
    monkeypatch.setattr(agent_module, "FULL_PAUSE_S", 0.01)
    line = HandLine()
    with Outbox(":memory:", room=400_000) as outbox:
        outbox.put([(UUID(int=n), b"x" * 1_000) for n in range(1_000, 1_400)])
        async with agent_on(line, outbox=outbox) as (agent, _):
            waiting = asyncio.create_task(agent.take_in([(UUID(int=1), PAYLOADS[1])]))
            await line.until(lambda: len(line.said) > 40)
            assert not waiting.done()
            line.answer(acked=range(1_000, 1_400))
            async with asyncio.timeout(10):
                assert await waiting == 1


async def test_what_is_too_large_for_the_broker_is_never_published():
    line = HandLine()
    async with agent_on(line) as (agent, outbox):
        agent.put([(UUID(int=1), b"x" * (wire.LARGEST + 1)), (UUID(int=2), PAYLOADS[2])])
        await line.until(lambda: line.readings() == [2])
        assert outbox.counts() == (0, 1, 1)


async def test_bytes_that_name_themselves_nothing_are_settled_by_the_name_of_the_bytes():
    line = HandLine()
    async with agent_on(line) as (agent, outbox):
        agent.put([(UUID(int=9), b"no json")])
        await line.until(lambda: len(line.said) > 1)
        answer = wire.Answer(
            refused=(wire.No(id=wire.nameless("gw", b"no json"), reason="not-json", detail="d"),)
        )
        line.hear(wire.answers("gw"), msgspec.json.encode(answer))
        await line.until(lambda: outbox.depth == 0)


async def test_a_heartbeat_says_how_full_the_outbox_is():
    line = HandLine()
    with Outbox(":memory:") as outbox:
        outbox.put([(UUID(int=1), PAYLOADS[1])])
        async with agent_on(line, outbox=outbox):
            await line.until(lambda: any(topic == wire.heartbeat("gw") for topic, _ in line.said))
            beat = next(
                msgspec.json.decode(p, type=wire.Heartbeat) for t, p in line.said if t == wire.heartbeat("gw")
            )
    assert (beat.at, beat.outbox, beat.agent) == (NOON, 1, "1")


async def test_a_gateway_that_ends_in_good_order_says_its_true_state_before_its_good_bye():
    line, stopping = HandLine(), asyncio.Event()
    async with agent_on(line, stopping=stopping) as (agent, outbox):
        put(agent, 1)
        await line.until(lambda: line.readings())
        line.answer(acked=[1])
        await line.until(lambda: outbox.depth == 0)
        stopping.set()
        await line.until(lambda: [topic for topic, _ in line.said].count(wire.status("gw")) == 2)
    (*_, beat), (*_, bye) = (
        [msgspec.json.decode(said, type=kind) for topic, said in line.said if topic == place]
        for place, kind in ((wire.heartbeat("gw"), wire.Heartbeat), (wire.status("gw"), wire.Status))
    )
    assert (beat.outbox, bye.online) == (0, False)
    assert [topic for topic, _ in line.said[-2:]] == [wire.heartbeat("gw"), wire.status("gw")]
