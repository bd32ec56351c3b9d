"""The keeping of time goes on, whatever one row does to a rule."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from structlog.testing import capture_logs

from alerts.service import keep_time


async def test_a_rule_that_raises_ends_neither_the_timers_nor_the_triage_beside_them():
    stopping, asked = asyncio.Event(), 0

    @asynccontextmanager
    async def transact():
        nonlocal asked
        asked += 1
        if asked == 2:
            stopping.set()
        raise ValueError("Maria Delgado 190/120")
        yield

    async with asyncio.timeout(10):
        with capture_logs() as said:
            await keep_time(transact, lambda: datetime(2026, 3, 2, tzinfo=UTC), stopping, every_s=0.001)
    assert asked == 2
    assert said == [{"event": "alerts.timers_failed", "exc_info": True, "log_level": "error"}] * 2
