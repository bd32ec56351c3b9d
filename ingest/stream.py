"""The way into Kafka: everything or again, never "probably"."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, NamedTuple, Protocol

import structlog
from aiokafka.errors import KafkaError

log = structlog.get_logger()

LEAST_WAIT_S, MOST_WAIT_S = 0.1, 5.0


class Record(NamedTuple):
    """What goes to Kafka; the default partitioner on the key, so that every producer agrees."""

    topic: str
    key: bytes
    value: bytes


class Producer(Protocol):
    """As much of aiokafka's producer as we use; it must be idempotent, with acks=all."""

    async def send(self, topic: str, value: bytes, *, key: bytes) -> Awaitable[Any]: ...


class Stream:
    """Appends to Kafka, for ever if need be.

    After an error nobody knows what an idempotent producer has written and which sequence number comes next,
    so it is thrown away and the whole batch is sent again by a new one; what was written twice is one fact
    with one id.
    """

    def __init__(self, producer: Callable[[], AbstractAsyncContextManager[Producer]]) -> None:
        self._make = producer
        self._producer: Producer | None = None
        self._open = AsyncExitStack()
        self._closing: set[asyncio.Task[None]] = set()

    async def append(self, records: Sequence[Record]) -> None:
        """Return when every record is in Kafka for good."""
        wait = LEAST_WAIT_S
        while records:
            try:
                if self._producer is None:
                    self._producer = await self._open.enter_async_context(self._make())
                out = self._producer
                await asyncio.gather(*[await out.send(r.topic, value=r.value, key=r.key) for r in records])
            except (KafkaError, OSError) as error:
                log.warning("ingest.kafka_away", error=type(error).__name__, records=len(records))
                self._discard()
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                wait = min(wait * 2, MOST_WAIT_S)
            else:
                return

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


async def _closed(opened: AsyncExitStack) -> None:
    with contextlib.suppress(KafkaError, OSError):
        await opened.aclose()
