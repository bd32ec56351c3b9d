"""The doorbell: one connection per process listens for moved queues and wakes the pages that are open."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog

log = structlog.get_logger()

CHANNEL = "alerts_moved"


class Bell:
    """Rings when a practice's queue moved. It says nothing about what moved: pages ask the database.

    A ring may be missed while the connection is away; everybody is woken when it is back, and pages look by
    themselves every so often, so that the bell is a hint and never the truth.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self.heard: Counter[int] = Counter()  # rings per practice, for tests and for the curious

    @contextmanager
    def listening(self, practice_id: int) -> Iterator[asyncio.Event]:
        """An event that is set at every ring for this practice; whoever waits clears it."""
        rung = asyncio.Event()
        self._waiting.setdefault(practice_id, set()).add(rung)
        try:
            yield rung
        finally:
            ears = self._waiting[practice_id]
            ears.discard(rung)
            if not ears:
                del self._waiting[practice_id]

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until asked to stop; a lost connection is a new connection, and a ring for everybody."""
        wait = 0.1
        while not stopping.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
                    await conn.execute(f"LISTEN {CHANNEL}")
                    for practice_id in list(self._waiting):
                        self._ring(practice_id)
                    wait = 0.1
                    while not stopping.is_set():
                        async for notify in conn.notifies(timeout=1.0):
                            self._ring(int(notify.payload))
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                log.warning("alerts.bell_away", error=type(error).__name__, retry_s=wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 5.0)

    def _ring(self, practice_id: int) -> None:
        self.heard[practice_id] += 1
        for rung in self._waiting.get(practice_id, ()):
            rung.set()
