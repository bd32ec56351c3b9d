"""The relay: brings a room's outbox to Kafka, in order, at least once. What arrives twice is skipped by the next pump."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

import psycopg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from psycopg_pool import AsyncConnectionPool

from deploy import failpoints
from deploy.bus import producer
from deploy.database import OUTAGES
from deploy.settings import Secret
from ingest.stream import Record, send

log = structlog.get_logger()


class Meter(Protocol):
    def relayed(self, events: int) -> None: ...


class Relay:
    """One room's way out. Several may run; a transaction-long advisory lock lets one of them work at a time."""

    def __init__(
        self,
        room: str,
        *,
        bootstrap: str,
        pool: AsyncConnectionPool,
        dsn: Secret,
        meter: Meter,
        batch: int = 2_000,
    ) -> None:
        self._room, self._bootstrap, self._pool, self._dsn, self._meter = room, bootstrap, pool, dsn, meter
        self._batch = batch
        self._work = asyncio.Event()

    @property
    def wake(self) -> Callable[[], None]:
        """Call it after a commit that may have left something in the outbox."""
        return self._work.set

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until `stopping`; a new producer after any Kafka error, since its state is then unknown."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(), name=f"{self._room}.relay.listen")
            wait = 0.05
            while not stopping.is_set():
                try:
                    async with producer(self._bootstrap) as out:
                        while not stopping.is_set():
                            await self._turn(out)
                            wait = 0.05
                except (KafkaError, *OUTAGES) as error:
                    log.warning("relay.away", room=self._room, error=type(error).__name__, retry_s=wait)
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, 5.0)
                    with contextlib.suppress(*OUTAGES, TimeoutError):
                        async with asyncio.timeout(5):
                            await self._pool.check()
            listening.cancel()

    async def _turn(self, out: AIOKafkaProducer) -> None:
        """Publish one batch, or wait for work: a wake-up, a notification from another process, or a second."""
        self._work.clear()
        moved = await self._publish(out)
        self._meter.relayed(moved)
        if moved == 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._work.wait()

    async def _publish(self, out: AIOKafkaProducer) -> int:
        async with self._pool.connection() as conn, conn.transaction():
            # Kafka may take its time; a relay that freezes holds up nobody's fence, only other relays of its room
            await conn.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
            locked = await (
                await conn.execute(
                    "SELECT pg_try_advisory_xact_lock(hashtext('relay'), hashtext(%s))", (self._room,)
                )
            ).fetchone()
            if not locked or not locked[0]:
                return 0
            rows = await (
                await conn.execute(
                    "SELECT seq, topic, key, payload FROM pump.outbox WHERE room = %s ORDER BY seq LIMIT %s",
                    (self._room, self._batch),
                )
            ).fetchall()
            if not rows:
                return 0
            await send(out, [Record(topic, key.encode(), payload) for _, topic, key, payload in rows])
            failpoints.hit("relay.after_send")
            # by number, not "up to": a smaller number may be committed by a slower transaction later
            await conn.execute(
                "DELETE FROM pump.outbox WHERE seq = ANY(%b::bigint[])", ([row[0] for row in rows],)
            )
            return len(rows)

    async def _listen(self) -> None:
        """Be woken by other processes that wrote to this room's outbox; losing the line costs a second of latency."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn.reveal(), autocommit=True) as conn:
                    await conn.execute(
                        psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(f"outbox_{self._room}"))
                    )
                    async for _ in conn.notifies():
                        self._work.set()
            except OUTAGES:
                await asyncio.sleep(1)
