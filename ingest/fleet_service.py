"""Beside the readings: commands down to the gateways, their answers up, and their wish for a new certificate."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

import msgspec
import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from ingest import fleet, fleet_store, wire
from ingest.mqtt import Line
from ingest.store import OUTAGES, Away

log = structlog.get_logger()

EVERY_S = 2.0
MOST = 1_000  # answers and renewals waiting to be written down; beyond, the sender says it again


class FleetMeter(Protocol):
    """How the fleet is, in numbers without names."""

    def fleet(self, counts: "Counts") -> None: ...


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet counted: gateways by state, and what waits in their outboxes."""

    online: int
    offline: int
    silent: int  # online by its own word, and no heartbeat for minutes
    revoked: int
    filling: int  # outboxes at their alarm, 80 %
    waiting: int  # readings in all outboxes
    expiring: int  # certificates that end within two weeks
    unanswered: int  # commands told more than an hour ago


COUNTS = """
    SELECT count(*) FILTER (WHERE online AND last_seen > %(now)s - interval '5 minutes' AND revoked_at IS NULL),
           count(*) FILTER (WHERE NOT online AND last_seen IS NOT NULL AND revoked_at IS NULL),
           count(*) FILTER (WHERE online AND last_seen <= %(now)s - interval '5 minutes' AND revoked_at IS NULL),
           count(*) FILTER (WHERE revoked_at IS NOT NULL),
           count(*) FILTER (WHERE outbox_full >= 0.8 AND revoked_at IS NULL),
           coalesce(sum(outbox_depth) FILTER (WHERE revoked_at IS NULL), 0),
           count(*) FILTER (WHERE certificate_ends < %(now)s + interval '14 days' AND revoked_at IS NULL),
           (SELECT count(*) FROM ingest.command WHERE answered_at IS NULL AND told_at IS NOT NULL
                                                  AND asked_at < %(now)s - interval '1 hour'
                                                  AND asked_at > %(now)s - interval '7 days')
      FROM ingest.gateway WHERE NOT EXISTS (SELECT FROM ingest.webhook w WHERE w.source_id = gateway_id)"""


class Errands:
    """What gateways said that is no reading, until it is written down; and what they are to be told.

    None of it is evidence. What is lost here is said again: a renewal by the agent, a command by its row.
    """

    def __init__(
        self, pool: AsyncConnectionPool, *, clock: Callable[[], datetime], meter: FleetMeter
    ) -> None:
        self._pool, self._clock, self._meter = pool, clock, meter
        self._done: list[tuple[str, wire.Done]] = []
        self._renewals: dict[str, fleet.Request] = {}

    def heard(self, gateway_id: str, what: str, payload: bytes) -> None:
        """Take what a gateway said; nonsense is nobody's harm and nobody's news."""
        try:
            if what == "answer" and len(self._done) < MOST:
                self._done.append((gateway_id, msgspec.json.decode(payload, type=wire.Done)))
            elif what == "renewal" and len(self._renewals) < MOST:
                asked = fleet.understood(msgspec.json.decode(payload, type=wire.Renewal).request)
                if isinstance(asked, fleet.Request):
                    self._renewals[gateway_id] = asked
        except (msgspec.MsgspecError, ValueError):
            log.warning("ingest.errand_not_understood", what=what)

    async def run(self, line: Line) -> None:
        """Every two seconds: write down, tell, count. Ends with the task."""
        while True:
            try:
                await self.once(line)
            except Away as away:
                log.warning("ingest.database_away", error=str(away))
            await asyncio.sleep(EVERY_S)

    async def once(self, line: Line) -> None:
        now = self._clock()
        done, renewals = self._done, self._renewals
        self._done, self._renewals = [], {}
        try:
            async with self._borrowed() as conn:
                for gateway_id, answer in done:
                    await fleet_store.answered(conn, gateway_id, answer, now=now)
                for gateway_id, request in renewals.items():
                    await fleet_store.renew(conn, gateway_id, request, now=now)
                told = await fleet_store.due(conn, now=now)
                row = await (await conn.execute(COUNTS, {"now": now})).fetchone()
        except Away:
            self._done, self._renewals = done + self._done, renewals | self._renewals
            raise
        for command in told:
            line.tell(wire.commands(command.gateway_id), command.payload)
        if row is not None:
            self._meter.fleet(Counts(**dict(zip(Counts.__struct_fields__, row, strict=True))))

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[psycopg.AsyncConnection]:
        try:
            async with self._pool.connection() as conn:
                yield conn
        except OUTAGES as error:
            raise Away(type(error).__name__) from error


@contextlib.asynccontextmanager
async def beside(errands: Errands | None, line: Line) -> AsyncIterator[None]:
    """The errands run while the line is served."""
    if errands is None:
        yield
        return
    running = asyncio.create_task(errands.run(line), name="ingest.errands")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
