"""Calling when nobody comes: pages are made from rows, sent until they are taken, and stop when somebody claims."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import psycopg
import structlog

from alerts import page_store
from alerts.escalation import Page, message, wait
from alerts.notify import NotSent, Ways
from alerts.service import Transact

log = structlog.get_logger()

SEND_S = 30.0  # less than the lease


async def call(transact: Transact, ways: Ways, *, public_url: str, now: datetime) -> tuple[int, int]:
    """One round; (sent, failed).

    1. Make what became due, give up what somebody came for, take a lease on what is to be sent; commit.
    2. Send, outside any transaction: a slow mail server holds no lock.
    3. Write down what was taken and when to try the rest again. A crash between 2 and 3 repeats the call under the
       same key.
    """
    async with transact() as conn:
        await page_store.make(conn, now=now)
        await page_store.give_up(conn)
        pages = await page_store.take(conn, now=now)
    results = await asyncio.gather(*(_send(ways, page, public_url=public_url, now=now) for page in pages))
    if pages:
        async with transact() as conn:
            for page, failure in zip(pages, results, strict=True):
                if failure is None:
                    await page_store.sent(conn, page, at=now)
                else:
                    await page_store.failed(conn, page, failure=failure, next_try_at=now + wait(page.tries))
    return results.count(None), len(results) - results.count(None)


async def _send(ways: Ways, page: Page, *, public_url: str, now: datetime) -> str | None:
    """None when it was taken; otherwise the name of what went wrong."""
    way = ways.get(page.channel)
    if way is None:
        return "NotSetUp"
    try:
        async with asyncio.timeout(SEND_S):
            await way.send(page.target, message(page, public_url=public_url, now=now))
    except NotSent as error:
        log.warning("alerts.not_sent", channel=page.channel, failure=str(error), tries=page.tries)
        return str(error)
    except TimeoutError:
        return "TimeoutError"
    return None


async def keep_calling(
    transact: Transact,
    ways: Ways,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
    *,
    public_url: str,
    every_s: float = 5.0,
) -> None:
    """Call until asked to stop."""
    while not stopping.is_set():
        try:
            await call(transact, ways, public_url=public_url, now=clock())
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("alerts.calling_away", error=type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stopping.wait()
