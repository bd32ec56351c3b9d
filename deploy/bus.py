"""Kafka: topics and the one way we produce. Every unsafe default of aiokafka is set by hand."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from alerts.events import ALERTS
from ingest.events import READINGS, REFUSED
from risk.events import SCORES

FLUSHED = {"flush.messages": "1"}  # one broker: acknowledged means on disk, not in the page cache
TOPICS = {READINGS: FLUSHED, REFUSED: FLUSHED, SCORES: {}, ALERTS: {}}  # scores and alerts can be told again


@asynccontextmanager
async def producer(bootstrap: str, *, linger_ms: int = 3) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer that counts a record as sent when every in-sync replica has it."""
    opened = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=256 * 1024,
        request_timeout_ms=20_000,
        compression_type=None,
    )
    try:
        await opened.start()
        yield opened
    finally:
        # of one that could not start too: Kafka may be away for hours, and each try opens another
        await opened.stop()


async def ensure_topics(bootstrap: str, *, partitions: int, replication: int) -> list[str]:
    """Create the topics that are missing; on one broker the readings are flushed, in a cluster replicated."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        missing = [name for name in TOPICS if name not in there]
        configs = {
            n: {**(c if replication == 1 else {"min.insync.replicas": "2"}), "retention.ms": "-1"}
            for n, c in TOPICS.items()
        }
        with contextlib.suppress(TopicAlreadyExistsError):  # another process was faster
            await admin.create_topics(
                [NewTopic(name, partitions, replication, topic_configs=configs[name]) for name in missing]
            )
        return missing
    finally:
        await admin.close()
