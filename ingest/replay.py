"""What was set aside comes to the door again: opened, decoded and sorted like any message, received when it first came."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import structlog

from ingest import wire
from ingest.events import Reading, Refused
from ingest.identity import Decided
from ingest.sorting import Known, Message, Sorted, read
from ingest.store import Away
from ingest.strongbox import Strongbox
from ingest.verdict import Again, News

log = structlog.get_logger()

READING: Final = "reading"  # answers that are no reason: it became a reading, or was one already
NEWS: Final = "news"  # it is about the device, not about a person
UNREADABLE: Final = "cannot-be-opened"  # sealed with a key that we were not given
FAILED: Final = "contradiction"  # a rule of ours raised
UNKEPT: Final = "larger-than-kafka-takes"


class Order(NamedTuple):
    """One thing set aside that a person wants to come again."""

    replay_id: UUID
    refusal_id: UUID
    gateway_id: str
    place: str
    part: int
    received_at: datetime
    clock_error_s: float | None
    key_id: str | None
    raw: bytes
    asked_at: datetime
    decided: Decided | None
    caused_by: UUID | None = None


class Became(NamedTuple):
    """What the door said: `answer` is READING, NEWS, UNREADABLE, UNKEPT or the reason of the new refusal."""

    answer: str
    reading_id: UUID | None = None


class Left(NamedTuple):
    """What still lies set aside, for whoever watches."""

    refused: int
    lane: int  # readings whose owner nobody has named yet
    lane_since: datetime | None  # the oldest of them


class Orders(Protocol):
    """Where orders wait (`replay_store.Orders`). Every method raises Away while it cannot say."""

    async def waiting(self) -> Sequence[Order]: ...
    async def done(self, served: Sequence[tuple[Order, Became]], *, now: datetime) -> None: ...
    async def left(self) -> Left: ...


class Door(Protocol):
    """The ordinary way in (`service.Intake`)."""

    async def look_up(self, messages: Sequence[Message], now: datetime) -> Known: ...
    async def settle(self, messages: Sequence[Message], known: Known, now: datetime) -> Sorted: ...


async def serve(
    orders: Orders,
    door: Door,
    strongbox: Strongbox | None,
    clock: Callable[[], datetime],
    failed: Callable[[Exception], None],
) -> int:
    """The oldest orders that wait, together; how many there were. A crash in between repeats them: the same facts.

    1. Open and decode, as each message was when it came.
    2. Through the door: registry, sorting, Kafka; when `settle` returns, Kafka has them.
    3. Only then say what became of each.
    """
    waiting = await orders.waiting()
    if not waiting:
        return 0
    now = clock()
    came = [(order, brought(order, strongbox)) for order in waiting]
    readable = [(order, message) for order, message in came if message is not None]
    said = {order.replay_id: Became(UNREADABLE) for order in waiting}
    try:
        said |= await _through(door, readable, now)
    except Away:
        raise
    except Exception:  # noqa: BLE001 - rules never raise; if one does, each comes alone, and those behind do not wait
        for one in readable:
            try:
                said |= await _through(door, [one], now)
            except Away:
                raise
            except Exception as error:  # noqa: BLE001
                failed(error)
                said[one[0].replay_id] = Became(FAILED)
    await orders.done([(order, said[order.replay_id]) for order in waiting], now=now)
    log.info("ingest.replayed", orders=len(waiting))
    return len(waiting)


async def _through(door: Door, came: Sequence[tuple[Order, Message]], now: datetime) -> dict[UUID, Became]:
    """What the door says to each."""
    messages = [message for _, message in came]
    found = await door.settle(messages, await door.look_up(messages, now), now)
    return {order.replay_id: became(found, order.refusal_id) for order, _ in came}


def brought(order: Order, strongbox: Strongbox | None) -> Message | None:
    """The message of an order, decoded as at its first coming; None if its bytes cannot be opened."""
    raw: bytes | None = order.raw
    if order.key_id is not None:
        raw = strongbox.open(order.key_id, order.raw, order.refusal_id) if strongbox is not None else None
    if raw is None:
        return None
    about = wire.topic(f"v1/{order.gateway_id}/{order.place}")
    message, _ = read(
        order.gateway_id, about.family if about.what == "readings" else None, raw, place=order.place
    )
    return message._replace(
        again=Again(
            refusal_id=order.refusal_id,
            part=order.part,
            received_at=order.received_at,
            released_at=order.asked_at,
            clock_error=None if order.clock_error_s is None else timedelta(seconds=order.clock_error_s),
            decided=order.decided,
            caused_by=order.caused_by,
        )
    )


def became(found: Sorted, refusal_id: UUID) -> Became:
    """What the door said to this one."""
    if (
        refusal_id not in found.again
    ):  # its payload has fewer parts than when it was set aside: the decoder has changed
        return Became("nothing-here")
    match outcome := found.again[refusal_id]:
        case Reading():
            return Became(READING, outcome.event_id)
        case News():
            return Became(NEWS)
        case Refused():
            return Became(outcome.reason)
        case None:
            return Became(UNKEPT)
