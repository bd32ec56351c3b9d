"""The way of a post from a vendor's cloud into Kafka: through the same door as a gateway's message, and answered after it.

1. Decode, with the decoders that everybody uses; what means nothing becomes a refusal.
2. Wait in the lane: one batch at a time passes registry, sorting and Kafka, whatever has come meanwhile is the next.
3. Only when Kafka has what became of the post (a reading, a refusal) is it answered. If that takes too long the vendor
   is told to come again; what it then repeats is the same fact under the same id.
4. A vendor that only says "data waits" is answered when that is in the database; the data is fetched afterwards and
   takes the same lane.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from ingest import wire
from ingest.service import Intake, Meter
from ingest.sorting import Message, read
from ingest.store import Away
from ingest.webhook_store import Account, Tokens, Turn
from ingest.webhooks import Source, Vendor, Waiting, name_of, named, of_account, waiting

log = structlog.get_logger()

ROOM = 256  # posts waiting for the door; each is at most 64 KiB
BATCH = 100
ANSWER_WITHIN_S = 5.0
FETCH_EVERY_S = 2.0


class Busy(Exception):
    """Not kept yet, or nobody knows: the vendor has to come again."""


class Stored(Protocol):
    """What is known of sources and fetches (`webhook_store.Webhooks`). Every method raises Away while it cannot say."""

    async def source(self, source_id: str, vendor: Vendor) -> Source | None: ...
    async def connect(self, source_id: str, account: str, tokens: Tokens) -> bool: ...
    async def account(self, source_id: str, account: str) -> Account | None: ...
    async def wait_for(self, what: Waiting, *, now: datetime) -> None: ...
    async def next(self, *, now: datetime) -> Turn | None: ...
    async def goes_on(self, turn: Turn, reached: str, *, now: datetime) -> bool: ...
    async def fetched(self, turn: Turn, *, now: datetime) -> bool: ...
    async def later(self, what: Waiting, *, trouble: str, now: datetime) -> None: ...
    async def oldest(self) -> datetime | None: ...


class Renewed(NamedTuple):
    """What a cloud answered, and the tokens it gave us on the way, if any: the old ones are void then."""

    records: tuple[bytes, ...]  # each a message of its own, as far as they came
    tokens: Tokens | None = None
    trouble: str = ""  # why there are no more
    reached: str = ""  # where the next turn goes on; empty: nothing is left


class Cloud(Protocol):
    """A vendor from which data is fetched (`withings_cloud`, `ihealth_cloud`). Never raises for what the vendor does."""

    async def measures(
        self, account: Account, *, since: int | None, until: int | None, reached: str = ""
    ) -> Renewed: ...


class FetchMeter(Protocol):
    """Where fetching counts."""

    def waiting_since(self, seconds: float) -> None: ...


class Lane:
    """One batch after the other through the door; `keep` returns when Kafka has the message."""

    def __init__(self, intake: Intake, *, clock: Callable[[], datetime], meter: Meter) -> None:
        self._intake, self._clock, self._meter = intake, clock, meter
        self._waiting: deque[tuple[Message, asyncio.Future[wire.No | None]]] = deque()
        self._come = asyncio.Event()

    async def keep(self, message: Message) -> wire.No | None:
        """Why it was set aside, or None: kept as what it says. Raises Busy when too many wait already."""
        if len(self._waiting) >= ROOM:
            raise Busy
        done: asyncio.Future[wire.No | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, done))
        self._come.set()
        return await asyncio.shield(done)  # whoever stops waiting does not stop the door

    async def run(self) -> None:
        """Serve the lane for ever; nothing but the end of the process keeps a batch from finishing."""
        noting = asyncio.create_task(self._intake.note_now_and_then(), name="webhooks.note")
        try:
            while True:
                await self._come.wait()
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not self._waiting:
                    self._come.clear()
                await self._serve(batch)
        finally:
            noting.cancel()

    async def _serve(self, batch: list[tuple[Message, asyncio.Future[wire.No | None]]]) -> None:
        now = self._clock()
        messages = [message for message, _ in batch]
        found = await self._intake.settle(messages, await self._intake.look_up(messages, now), now)
        said: dict[tuple[str, UUID], wire.No | None] = {}
        for source, answer in found.answers.items():
            said |= {(source, name): None for name in answer.acked}
            said |= {(source, no.id): no for no in answer.refused}
        for message, done in batch:
            self._intake.heard(message.gateway_id, now)
            name = message.gateway_id, name_of(message)
            if name in said:
                done.set_result(said[name])
            else:  # larger than Kafka takes
                done.set_exception(Busy())
        found.tally.received = len(batch)
        found.tally.ack_seconds = (self._clock() - now).total_seconds()
        self._meter.batch(found.tally)


class Door:
    """What the HTTP side asks for."""

    def __init__(self, stored: Stored, lane: Lane, *, clock: Callable[[], datetime]) -> None:
        self._stored, self._lane, self._clock = stored, lane, clock

    async def source(self, source_id: str, vendor: Vendor) -> Source | None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await self._stored.source(source_id, vendor)
        except (Away, TimeoutError):
            raise Busy from None

    async def take(self, source: Source, body: bytes) -> wire.No | None:
        """Keep a post of an authentic source for good, or raise Busy. None: kept as what it says."""
        message = named(source.source_id, _read(source.source_id, source.vendor, body))
        notified = waiting(source.source_id, message)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if not notified:
                    return await self._lane.keep(message)
                for one in notified:
                    await self._stored.wait_for(one, now=self._clock())
                return None
        except (Away, TimeoutError):
            raise Busy from None


def _read(source_id: str, vendor: str, body: bytes) -> Message:
    message, error = read(source_id, vendor, body, place=wire.place(vendor))
    if error is not None:
        log.error("webhooks.decoder_raised", error=type(error).__name__)
    return message


async def fetch(
    stored: Stored,
    clouds: Mapping[Vendor, Cloud],
    lane: Lane,
    *,
    clock: Callable[[], datetime],
    meter: FetchMeter,
    stopping: asyncio.Event,
) -> None:
    """Fetch what waits, the oldest first, until `stopping`; what fails is tried again, less and less often."""
    while not stopping.is_set():
        try:
            oldest = await stored.oldest()
            meter.waiting_since((clock() - oldest).total_seconds() if oldest is not None else 0.0)
            while (found := await stored.next(now=clock())) is not None:
                await _fetch_one(stored, clouds, lane, found, clock=clock)
        except Away as away:
            log.warning("webhooks.database_away", error=str(away))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FETCH_EVERY_S):
                await stopping.wait()


async def _fetch_one(
    stored: Stored,
    clouds: Mapping[Vendor, Cloud],
    lane: Lane,
    turn: Turn,
    *,
    clock: Callable[[], datetime],
) -> None:
    """One turn: keep what came, remember how far it went, and only then say that it is done."""
    what = turn.what
    account = await stored.account(what.source_id, what.account)
    cloud = clouds.get(account.vendor) if account is not None else None
    if account is None or cloud is None:
        await stored.later(what, trouble="unknown-account", now=clock())
        return
    told = await cloud.measures(account, since=what.since, until=what.until, reached=turn.reached)
    if told.tokens is not None:  # at once: the ones before are void
        await _remember(stored, what, told.tokens)
    messages = [
        named(what.source_id, of_account(_read(what.source_id, account.vendor, record), what.account))
        for record in told.records
    ]
    try:
        for first in range(0, len(messages), BATCH):
            await asyncio.gather(*(lane.keep(one) for one in messages[first : first + BATCH]))
    except Busy:
        await stored.later(what, trouble="busy", now=clock())
        return
    if told.reached and told.reached != turn.reached:
        await stored.goes_on(turn, told.reached, now=clock())
    if told.trouble:
        log.warning("webhooks.fetch_failed", why=told.trouble)
        await stored.later(what, trouble=told.trouble, now=clock())
    elif not told.reached:
        await stored.fetched(turn, now=clock())


async def _remember(stored: Stored, what: Waiting, tokens: Tokens) -> None:
    """Until the database has them: nobody else has, and without them the patient would have to consent anew."""
    while True:
        try:
            await stored.connect(what.source_id, what.account, tokens)
        except Away as away:
            log.warning("webhooks.database_away", error=str(away))
            await asyncio.sleep(FETCH_EVERY_S)
        else:
            return
