"""The burden for whoever watches machines: counted every few minutes over all practices, told to a meter."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import psycopg
import structlog

from alerts import report_store
from alerts.burden import Burden, Call, weigh
from alerts.concerns import ABOUT
from alerts.policy import DEFAULT
from alerts.report_store import Stand
from alerts.service import Transact

log = structlog.get_logger()

PERIOD: Final = timedelta(days=30)
OTHER: Final = "other"


class Meter(Protocol):
    """Where the numbers go: names and labels are the meter's affair."""

    def burden(self, stands: Sequence[Stand], burden: Burden, concerns: Mapping[str, int]) -> None:
        """What is open now, what the last thirty days cost, and calls by concern (a closed set, see `by_concern`)."""
        ...


def by_concern(calls: Sequence[Call]) -> dict[str, int]:
    """Calls by concern; every concern we know has a number, what we do not know is one more.

    >>> by_concern([])["low_glucose"], by_concern([])["other"]
    (0, 0)
    """
    found = Counter(call.concern if call.concern in ABOUT else OTHER for call in calls)
    return {concern: found[concern] for concern in (*map(str, ABOUT), OTHER)}


async def measure(transact: Transact, meter: Meter, *, now: datetime) -> None:
    """Count once, in one short transaction."""
    since = now - PERIOD
    async with transact() as conn:
        stands = await report_store.stands(conn, now=now)
        calls = await report_store.calls(conn, since=since, until=now)
        patients, readings = await report_store.watched(conn, since=since, until=now)
    overdue = sum(stand.overdue for stand in stands)
    burden = weigh(
        calls, patients=patients, readings=readings, since=since, until=now, policy=DEFAULT, overdue=overdue
    )
    meter.burden(stands, burden, by_concern(calls))


async def keep_measuring(
    transact: Transact,
    meter: Meter,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
    *,
    every_s: float = 300.0,
) -> None:
    """Count until asked to stop. What cannot be counted now is counted next time."""
    while not stopping.is_set():
        try:
            await measure(transact, meter, now=clock())
        except psycopg.Error as error:
            log.warning("alerts.burden_away", error=type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stopping.wait()
