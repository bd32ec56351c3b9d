"""The relay: brings a room's outbox to Kafka, in order, at least once. What arrives twice is skipped by the next pump."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from psycopg import sql

from deploy import failpoints
from deploy.bus import producer
from deploy.database import OUTAGES, SLOWEST_S, Connection, Patient, lively
from deploy.settings import Secret
from ingest.stream import Record, send

log = structlog.get_logger()

LOOK_AGAIN_S: Final = 1.0
FROZEN_AFTER_S: Final = 60
"""Who says nothing to the database for so long has lost its place: it is frozen, or Kafka is away."""


class Meter(Protocol):
    def relayed(self, events: int) -> None: ...


class Relay:
    """One room's way out. Several may run; a lock of the session lets one of them work, the others stand by.

    Two statements a batch, each by itself: nothing is promised between them. A relay that dies between Kafka and the
    DELETE sends again, one that wakes up after its place was taken repeats what the next one sent; both are told twice.
    """

    def __init__(self, room: str, *, bootstrap: str, dsn: Secret, meter: Meter, batch: int = 2_000) -> None:
        self._room, self._bootstrap, self._dsn, self._meter = room, bootstrap, dsn, meter
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
                    async with await self._connect() as conn, producer(self._bootstrap) as out:
                        ours = False
                        while not stopping.is_set():
                            self._work.clear()
                            ours = ours or await self._take_place(conn)
                            if not ours or await self._publish(conn, out) < self._batch:
                                await self._pause()
                            wait = 0.05
                except (KafkaError, *OUTAGES) as error:
                    log.warning("relay.away", room=self._room, error=type(error).__name__, retry_s=wait)
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, 5.0)
            listening.cancel()

    async def _connect(self) -> Connection:
        options = f"-c idle_session_timeout={FROZEN_AFTER_S}s -c statement_timeout={SLOWEST_S}s"
        return await Patient.connect(
            lively(self._dsn), autocommit=True, options=options, application_name="lamplight"
        )

    async def _take_place(self, conn: Connection) -> bool:
        """Whether the room's place at the outbox is this session's now, and until it ends."""
        place = "SELECT pg_try_advisory_lock(hashtext('relay'), hashtext(%s))"
        row = await (await conn.execute(place, (self._room,))).fetchone()
        return row is not None and bool(row[0])

    async def _pause(self) -> None:
        """Until there is work: a wake-up, a notification from another process, or a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._work.wait()

    async def _publish(self, conn: Connection, out: AIOKafkaProducer) -> int:
        look = "SELECT seq, topic, key, payload FROM pump.outbox WHERE room = %s ORDER BY seq LIMIT %s"
        rows = await (await conn.execute(look, (self._room, self._batch), binary=True)).fetchall()
        if rows:
            await send(out, [Record(topic, key.encode(), payload) for _, topic, key, payload in rows])
            failpoints.hit("relay.after_send")
            # by number, not "up to": a smaller number may be committed by a slower transaction later
            await conn.execute(
                "DELETE FROM pump.outbox WHERE seq = ANY(%b::bigint[])", ([row[0] for row in rows],)
            )
            self._meter.relayed(len(rows))
        return len(rows)

    async def _listen(self) -> None:
        """Be woken by other processes that wrote to this room's outbox; losing the line costs a second of latency."""
        while True:
            try:
                async with await Connection.connect(lively(self._dsn), autocommit=True) as conn:
                    await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"outbox_{self._room}")))
                    async for _ in conn.notifies():
                        self._work.set()
            except OUTAGES:
                await asyncio.sleep(1)
