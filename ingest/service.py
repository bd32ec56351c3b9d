"""The live path: MQTT to Kafka. What "acknowledged" means is decided in this file.

For each batch of messages from one line:

1. Decode each message. Bytes that mean nothing become a refusal, never an exception.
2. Ask the registry once whose devices these are (2a), and the archive what it already has of them (2b).
3. Sort: each message becomes a reading, a refusal with its reason, or news about a device.
4. Append readings and refusals to Kafka and wait until every in-sync replica has all of them. However long
it takes; only what is larger than Kafka's own limit is left out, unanswered, so that its sender keeps it.
5. Tell each gateway by id what is safe and what was refused: only now may it forget.
6. Acknowledge to the broker, in the order heard, on the line it was heard on.

A crash between any two of these repeats work. Ids are computed from the facts, so the repetition says the
same facts.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from ingest import replay, wire
from ingest.events import READINGS, REFUSED, Refused
from ingest.fleet_service import Errands, beside
from ingest.mqtt import Batch, Line, LineDropped
from ingest.presence import Roll, Told
from ingest.quality import Seen
from ingest.recent import Recent
from ingest.replay import Left, Orders
from ingest.sorting import Ask, Known, Message, Past, Sorted, Tally, asks, numbers, pasts, read, sort
from ingest.store import Away
from ingest.stream import Record
from ingest.strongbox import Strongbox

log = structlog.get_logger()
T = TypeVar("T")

BATCH = 500
WORTH_PREPARING = 100  # messages heard and not taken
NOTE_EVERY_S = 2.0
REPLAY_EVERY_S = 1.0
COUNT_EVERY = 30  # of those turns: what is left is counted for whoever watches
LEAST_WAIT_S, MOST_WAIT_S = 0.1, 5.0
FINISH_WITHIN_S = 5.0  # of the batch in hand, when asked to stop while Kafka or the database is away


class Registry(Protocol):
    """Who and what is known; `store.Registry` is one. Every method raises Away while it cannot say."""

    async def look_up(self, asks: Sequence[Ask], numbers: Sequence[str] = ()) -> Known: ...
    async def past(self, spans: Sequence[Past]) -> Mapping[str, Sequence[Seen]]: ...
    async def gateways(self) -> Sequence[str]: ...
    async def note(self, told: Told) -> None: ...
    async def mend(self) -> None: ...
    def lease(self, name: str) -> AbstractAsyncContextManager[bool]: ...


class Stream(Protocol):
    """Where facts go to be kept; returns when they are, with those that never can be (`stream.Stream`)."""

    async def append(self, records: Sequence[Record]) -> Sequence[Record]: ...


class Meter(Protocol):
    """Where the live path counts, once per batch."""

    def batch(self, tally: Tally) -> None: ...
    def line_dropped(self) -> None: ...
    def session_lost(self) -> None: ...
    def set_aside(self, left: Left, now: datetime) -> None: ...
    def broker_dropped(self, messages: int) -> None: ...


async def run(
    dial: Callable[[], AbstractAsyncContextManager[Line]],
    registry: Registry,
    stream: Stream,
    *,
    name: str,
    clock: Callable[[], datetime],
    meter: Meter,
    stopping: asyncio.Event,
    ready: asyncio.Event,
    strongbox: Strongbox | None = None,
    orders: Orders | None = None,
    errands: Errands | None = None,
) -> None:
    """Listen until `stopping`, a line at a time, as the only process that uses the broker's client id `name`."""
    intake = Intake(registry, stream, clock=clock, meter=meter, strongbox=strongbox, errands=errands)
    known_to_broker = False
    wait = LEAST_WAIT_S
    while not stopping.is_set():
        try:
            async with registry.lease(name) as ours, contextlib.AsyncExitStack() as opened:
                if ours:
                    line = await opened.enter_async_context(dial())
                    wait = LEAST_WAIT_S
                    if not line.session_present:
                        await intake.resync(line)
                        if known_to_broker:
                            log.error("ingest.session_lost")  # the broker forgot what it had queued for us
                            meter.session_lost()
                    known_to_broker = True
                    ready.set()
                    async with beside(errands, line):
                        await _until(stopping, line, intake.serve(line, orders))
        except LineDropped as dropped:
            meter.line_dropped()
            log.warning("ingest.line_dropped", why=str(dropped))
        except Away as away:
            log.warning("ingest.database_away", error=str(away))
        ready.clear()
        await _pause(stopping, wait)
        wait = min(wait * 2, MOST_WAIT_S)


async def _until(stopping: asyncio.Event, line: Line, serving: Awaitable[None]) -> None:
    """Serve; when asked to stop, hear nothing more and finish the batch in hand, or leave it to the next process."""

    async def leave() -> None:
        await stopping.wait()
        line.leave()
        limit.reschedule(asyncio.get_running_loop().time() + FINISH_WITHIN_S)

    try:
        async with asyncio.timeout(None) as limit:
            leaving = asyncio.create_task(leave(), name="ingest.leave")
            try:
                await serving
            finally:
                leaving.cancel()
    except LineDropped:
        if not stopping.is_set():
            raise
    except TimeoutError:
        log.warning("ingest.left_unfinished")  # never acknowledged, so it comes again


class Prepared(NamedTuple):
    """A batch that was heard at `now`, decoded, and whose devices were looked up."""

    batch: Batch
    now: datetime
    messages: list[Message]
    known: Known


NOBODY = Known({}, {})


class Intake:
    """Takes batches through the six steps; remembers what devices said lately."""

    def __init__(
        self,
        registry: Registry,
        stream: Stream,
        *,
        clock: Callable[[], datetime],
        meter: Meter,
        strongbox: Strongbox | None = None,
        errands: Errands | None = None,
    ) -> None:
        self._registry, self._stream, self._clock, self._meter = registry, stream, clock, meter
        self._strongbox, self._errands = strongbox, errands
        self._door = asyncio.Lock()  # what comes again waits its turn, and knows what the last batch held
        self._recent, self._roll = Recent(), Roll()
        self._encoder = msgspec.json.Encoder()

    async def serve(self, line: Line, orders: Orders | None = None) -> None:
        """Take batches until the line drops; beside them write presence down, and take what people order to come again.

        Under load, while Kafka flushes one batch the next is heard, decoded and looked up; it is sorted only after the
        first is accepted, so that what one batch holds is known to the next, and answers leave in the order heard.
        Without load that would only cut what comes into smaller batches, each of which waits for the one before.
        """
        noting = asyncio.create_task(self.note_now_and_then(), name="ingest.note")
        again = asyncio.create_task(self._replay_now_and_then(orders), name="ingest.replay")
        next_one = asyncio.create_task(self._prepared(line), name="ingest.prepare")
        try:
            while True:
                prepared = await next_one
                if ahead := line.waiting >= WORTH_PREPARING:
                    next_one = asyncio.create_task(self._prepared(line), name="ingest.prepare")
                await self._finish(line, prepared)
                if not ahead:
                    next_one = asyncio.create_task(self._prepared(line), name="ingest.prepare")
        finally:
            for beside in (noting, again, next_one):
                beside.cancel()
            await asyncio.gather(noting, again, next_one, return_exceptions=True)

    async def _prepared(self, line: Line) -> Prepared:
        """Steps 1 and 2a: what needs to know nothing of the batch before."""
        batch = await line.take(BATCH)
        now = self._clock()
        messages = self._read(batch, now)
        known = await self.look_up(messages, now) if messages else NOBODY
        return Prepared(batch, now, messages, known)

    async def _finish(self, line: Line, prepared: Prepared) -> None:
        """Steps 2b to 6 for one batch; nothing but the end of the process or the line keeps it from finishing."""
        batch, now, messages, known = prepared
        tally = Tally()
        if messages:
            found = await self.settle(messages, known, now)
            for gateway_id, answer in found.answers.items():
                for piece in wire.pieces(answer):
                    line.tell(wire.answers(gateway_id), self._encoder.encode(piece))
            tally = found.tally
        batch.acknowledge()
        tally.received = len(batch.messages)
        tally.ack_seconds = (self._clock() - now).total_seconds()
        self._meter.batch(tally)

    async def look_up(self, messages: Sequence[Message], now: datetime) -> Known:
        """Step 2a: whose devices these are."""
        return await self._patiently(lambda: self._registry.look_up(asks(messages, now), numbers(messages)))

    async def settle(self, messages: Sequence[Message], known: Known, now: datetime) -> Sorted:
        """Steps 2b to 4: when this returns, Kafka has whatever became of every message; the answers may be told."""
        async with self._door:
            if spans := pasts(messages, known, self._recent, now):
                past = await self._patiently(lambda: self._registry.past(spans))
                for span in spans:
                    self._recent.learn(span.device_id, span.since, past.get(span.device_id, ()))
            found = sort(messages, known, self._recent, now, _report)
            records = self._records(found)
            if unkept := await self._stream.append(records):
                lost = (one for one, record in zip(found.facts, records, strict=True) if record in unkept)
                found.leave_out({one.event_id for one in lost})
            for device_id, seen in found.seen:
                self._recent.accept(device_id, seen)
        for gateway_id, said in found.news:
            self._roll.news(gateway_id, said)
        return found

    def heard(self, gateway_id: str, now: datetime) -> None:
        """A sender without heartbeats, a vendor's cloud, is there whenever it speaks."""
        self._roll.status(gateway_id, b'{"online":true}', now)

    async def resync(self, line: Line) -> None:
        """The broker knows nothing of us: whatever it had for us is gone, so ask every gateway for what is unanswered."""
        command = self._encoder.encode(wire.Resync())
        for gateway_id in await self._registry.gateways():
            line.tell(wire.commands(gateway_id), command)

    def _read(self, batch: Batch, now: datetime) -> list[Message]:
        """Step 1. Heartbeats and statuses are noted in passing: they have no id to acknowledge."""
        messages = []
        for heard in batch.messages:
            about = wire.topic(heard.topic)
            if heard.topic == wire.DROPPED:
                self._meter.broker_dropped(wire.count(heard.payload))
            elif self._errands is not None and about.what in wire.ERRANDS:
                self._errands.heard(about.gateway, about.what, heard.payload)
            elif about.what == "heartbeat":
                self._roll.heartbeat(about.gateway, heard.payload, now)
            elif about.what == "status":
                self._roll.status(about.gateway, heard.payload, now)
            else:
                family = about.family if about.what == "readings" else None
                message, error = read(about.gateway, family, heard.payload, place=about.place)
                messages.append(message)
                if error is not None:
                    _report(error)
        return messages

    def _sealed(self, refused: Refused) -> Refused:
        """Whatever lies in the log or in the archive of a refusal, its bytes are sealed."""
        if self._strongbox is None:
            return refused
        key_id, raw = self._strongbox.close(refused.raw, refused.event_id)
        return msgspec.structs.replace(refused, key_id=key_id, raw=raw)

    def _records(self, found: Sorted) -> list[Record]:
        encode = self._encoder.encode
        return [
            *(Record(READINGS, str(one.patient_id).encode(), encode(one)) for one in found.readings),
            *(
                Record(REFUSED, (one.device_id or one.gateway_id).encode(), encode(self._sealed(one)))
                for one in found.refused
            ),
        ]

    async def note_now_and_then(self) -> None:
        """Presence is news, not evidence: losing some costs a few seconds of knowing, so it never holds up a reading."""
        while True:
            await _pause(None, NOTE_EVERY_S)
            told = self._roll.told()
            if any(told):
                try:
                    await self._registry.note(told)
                except Away:
                    continue  # it is kept, and tried again
                except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is only news
                    _report(error)
                self._roll.written(told)

    async def _replay_now_and_then(self, orders: Orders | None) -> None:
        """People's orders can wait for the database; one that a rule of ours fails on must not end the others."""
        turn = 0
        while orders is not None:
            await _pause(None, REPLAY_EVERY_S)
            try:
                while await replay.serve(orders, self, self._strongbox, self._clock, _report):
                    pass  # a whole kind was ordered: live batches take turns with it at the door
                if turn % COUNT_EVERY == 0:
                    self._meter.set_aside(await orders.left(), self._clock())
                turn += 1
            except Away:
                continue
            except Exception as error:  # noqa: BLE001 - it stays ordered, and is reported
                _report(error)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until the database answers."""
        wait = LEAST_WAIT_S
        while True:
            try:
                return await ask()
            except Away as away:
                log.warning("ingest.database_away", error=str(away))
                await _pause(None, wait)
                wait = min(wait * 2, MOST_WAIT_S)
                with contextlib.suppress(Away, TimeoutError):
                    async with asyncio.timeout(MOST_WAIT_S):
                        await self._registry.mend()


def _report(error: Exception) -> None:
    """A rule or decoder of ours failed: where, but never with what, because that may be health data."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_qualname}:{frame.tb_lineno}" if frame is not None else "?"
    log.error("ingest.rule_raised", error=type(error).__name__, where=where)


async def _pause(stopping: asyncio.Event | None, seconds: float) -> None:
    """A jittered pause, cut short by the wish to stop."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter, not a secret
            await (stopping.wait() if stopping is not None else asyncio.Event().wait())
