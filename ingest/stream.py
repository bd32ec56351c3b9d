"""The way into Kafka: everything or again, never "probably"."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2

log = structlog.get_logger()

LEAST_WAIT_S, MOST_WAIT_S = 0.1, 5.0
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
"""The topic's limit is below what was sent: again changes nothing, less at once may."""


class Record(NamedTuple):
    """What goes to Kafka; the default partitioner on the key, so that every producer agrees."""

    topic: str
    key: bytes
    value: bytes


class Batch(Protocol):
    """Records for one partition; `append` says None when it is full."""

    def append(self, *, timestamp: int | None, key: bytes, value: bytes) -> object | None: ...


class Producer(Protocol):
    """As much of aiokafka's producer as we use; it must be idempotent, with acks=all."""

    async def partitions_for(self, topic: str) -> set[int]: ...
    def create_batch(self) -> Batch: ...
    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Awaitable[Any]: ...


@lru_cache(maxsize=100_000)
def hashed(key: bytes) -> int:
    """Kafka's own hash of a key, the one every default partitioner uses; slow in Python, so remembered."""
    return int(murmur2(key)) & 0x7FFFFFFF


class Stream:
    """Appends to Kafka, for ever if need be, but for what its own limit of size never lets in.

    After an error nobody knows what an idempotent producer has written and which sequence number comes next,
    so it is thrown away and the whole batch is sent again by a new one; what was written twice is one fact
    with one id.
    """

    def __init__(self, producer: Callable[[], AbstractAsyncContextManager[Producer]]) -> None:
        self._make = producer
        self._producer: Producer | None = None
        self._open = AsyncExitStack()
        self._closing: set[asyncio.Task[None]] = set()

    async def append(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return when every record is in Kafka for good; those returned are each larger than its topic takes."""
        wait = LEAST_WAIT_S
        while records:
            try:
                if self._producer is None:
                    self._producer = await self._open.enter_async_context(self._make())
                await send(self._producer, records)
            except TOO_LARGE:
                self._discard()
                return await self._apart(records)
            except (KafkaError, OSError) as error:
                log.warning("ingest.kafka_away", error=type(error).__name__, records=len(records))
                self._discard()
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                wait = min(wait * 2, MOST_WAIT_S)
            else:
                break
        return ()

    async def _apart(self, records: Sequence[Record]) -> Sequence[Record]:
        """In halves, until what is too large is alone."""
        if len(records) == 1:
            log.error("ingest.larger_than_kafka_takes", topic=records[0].topic, bytes=len(records[0].value))
            return records
        half = len(records) // 2
        return [*await self.append(records[:half]), *await self.append(records[half:])]

    def _discard(self) -> None:
        """Close it aside: a producer that lost its broker may take long to give up."""
        closing = asyncio.create_task(_closed(self._open), name="ingest.discard")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._producer, self._open = None, AsyncExitStack()

    async def close(self, within_s: float = 5.0) -> None:
        """Close the producer; nothing waits to be sent, because `append` waits for everything."""
        self._discard()
        await asyncio.wait(self._closing, timeout=within_s)


async def send(out: Producer, records: Sequence[Record]) -> None:
    """Return when Kafka has every record; the order within a partition is theirs."""
    await asyncio.gather(*[one async for one in _batches(out, records)])


async def _batches(out: Producer, records: Sequence[Record]) -> AsyncIterator[Awaitable[Any]]:
    """Whole batches, one or more for each partition: a tenth of the cost of record by record."""
    groups: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
    partitions = {
        topic: sorted(await out.partitions_for(topic)) for topic in {record.topic for record in records}
    }
    for record in records:
        there = partitions[record.topic]
        groups[record.topic, there[hashed(record.key) % len(there)]].append(record)
    for (topic, partition), group in groups.items():
        batch = out.create_batch()
        for record in group:
            if batch.append(timestamp=None, key=record.key, value=record.value) is None:
                yield await out.send_batch(batch, topic, partition=partition)
                batch = out.create_batch()
                batch.append(timestamp=None, key=record.key, value=record.value)  # the first always fits
        yield await out.send_batch(batch, topic, partition=partition)


async def _closed(opened: AsyncExitStack) -> None:
    with contextlib.suppress(KafkaError, OSError):
        await opened.aclose()
