"""Calling when nobody comes: pages are made from rows, sent until they are taken, and stop when somebody claims."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection

from alerts import desk_store, outage_store, page_store, policy_store, rota_store
from alerts.episode import RANK
from alerts.escalation import ON_CALL, ROLES, Channel, Message, Page, receipt, wait
from alerts.notification import LONGEST, Line, Notification, gather, message
from alerts.notify import NotSent, Way, Ways
from alerts.outage import weigh
from alerts.service import Transact

log = structlog.get_logger()

SEND_S = 12.0  # each; with a few addresses still less than the lease


class People(Protocol):
    """Who knows how staff are reached."""

    async def addresses(
        self,
        conn: AsyncConnection,
        practice_id: int,
        *,
        staff: Collection[UUID] = (),
        role: str | None = None,
    ) -> Sequence[str]:
        """The e-mail addresses of these people, or of everybody with that role, as far as they still work there."""
        ...


class Nobody:
    """Only written addresses are called."""

    async def addresses(self, *_: object, **__: object) -> Sequence[str]:
        return ()


async def call(
    transact: Transact, ways: Ways, *, public_url: str, now: datetime, people: People | None = None
) -> tuple[int, int]:
    """One round; notifications (sent, failed).

    1. Make what became due, give up what somebody came for, decide what goes out together, take a lease on what is to
       be sent; commit. What another process is deciding meanwhile is its own.
    2. Send, outside any transaction: a slow mail server holds no lock.
    3. Write down what was taken and when to try the rest again. A crash between 2 and 3 repeats the notification under
       the same key. A channel that keeps failing becomes an outage, and ends with the first call that gets out.
    """
    async with transact() as conn:
        await page_store.make(conn, now=now)
        await page_store.give_up(conn)
        found = await due(conn, now=now) if await page_store.alone(conn) else []
        targets = await _targets(conn, people or Nobody(), [one.lead for one in found], now=now)
    results = await asyncio.gather(
        *(
            _send(ways, one, reached, public_url=public_url, now=now)
            for one, reached in zip(found, targets, strict=True)
        )
    )
    async with transact() as conn:
        for one, failure in zip(found, results, strict=True):
            if failure is None:
                await page_store.sent(conn, one, at=now)
            else:
                again = now + wait(one.lead.tries)
                await page_store.failed(conn, one, failure=failure, next_try_at=again)
        await _watch(conn, now=now)
    return results.count(None), len(results) - results.count(None)


async def due(conn: AsyncConnection, *, now: datetime) -> list[Notification]:
    """The notifications to send now, leased: what is new, the worst first, and what did not get out before."""
    calls = await page_store.waiting(conn)
    practices = {call.practice_id for call in calls}
    on_call = await rota_store.on_call_of(conn, practices, at=now)
    policies = await policy_store.in_force(conn, practices)
    told = await page_store.told(conn, since=now - LONGEST)
    lines: dict[Line, list[Page]] = {}
    for call in calls:
        person = on_call.get(call.practice_id) if call.target == ON_CALL else None
        lines.setdefault(Line(call.rung_id, person), []).append(call)
    gathered: list[tuple[Line, Notification]] = []
    for line, waiting in lines.items():
        window = policies.of(waiting[0].practice_id).calls_gather
        became = gather(waiting, told_at=told.get(line), window=window, now=now)
        if isinstance(became, Notification):
            gathered.append((line, became))
    gathered.sort(key=lambda found: (-RANK[found[1].lead.severity], found[1].lead.due_at))
    for line, notification in gathered[: page_store.MOST]:
        await page_store.begin(conn, notification, person=line.person, now=now)
    new = [notification for _, notification in gathered[: page_store.MOST]]
    return new + await page_store.again(conn, now=now, limit=page_store.MOST - len(new))


async def _watch(conn: AsyncConnection, *, now: datetime) -> None:
    """A channel whose calls do not get out is technical work, until one does."""
    for known, stuck in await outage_store.stuck(conn):
        became = weigh(known, stuck, now=now)
        if became is not None:
            await (outage_store.change if known else outage_store.begin)(conn, became)


async def _targets(
    conn: AsyncConnection, people: People, pages: Sequence[Page], *, now: datetime
) -> list[Sequence[str]]:
    """Whom each call reaches now: an address as written, whoever is on call, everybody of a role."""
    on_call = await rota_store.on_call_of(
        conn, {page.practice_id for page in pages if page.target == ON_CALL}, at=now
    )
    found: list[Sequence[str]] = []
    for page in pages:
        if page.target == ON_CALL:
            somebody = on_call.get(page.practice_id)
            staff = [somebody] if somebody else []
            found.append(await people.addresses(conn, page.practice_id, staff=staff) if staff else ())
        elif page.target in ROLES:
            found.append(await people.addresses(conn, page.practice_id, role=ROLES[page.target]))
        else:
            found.append((page.target,))
    return found


async def _send(
    ways: Ways, notification: Notification, targets: Sequence[str], *, public_url: str, now: datetime
) -> str | None:
    """None when all of them took it; otherwise the name of what went wrong. A repetition has the same key."""
    page, said = notification.lead, message(notification, public_url=public_url, now=now)
    if not targets:
        return "NobodyOnCall" if page.target == ON_CALL else "NobodyOfThatRole"
    way = ways.get(page.channel)
    failures = [failure for target in targets if (failure := await _deliver(way, target, said))]
    if failures:
        log.warning("alerts.not_sent", channel=page.channel, failure=failures[0], tries=page.tries)
    return failures[0] if failures else None


async def _deliver(way: Way | None, target: str, said: Message) -> str | None:
    """None when it was taken."""
    if way is None:
        return "NotSetUp"
    try:
        async with asyncio.timeout(SEND_S):
            await way.send(target, said)
    except NotSent as error:
        return str(error)
    except TimeoutError:
        return "TimeoutError"
    return None


async def tell_patients(transact: Transact, ways: Ways, *, now: datetime) -> tuple[int, int]:
    """Send the receipts that were promised, by the signed webhook; (sent, failed). The steps are those of `call`."""
    async with transact() as conn:
        receipts = await desk_store.take_receipts(conn, now=now)
    failures = await asyncio.gather(
        *(
            _deliver(
                ways.get(Channel.WEBHOOK), one.target, receipt(one.receipt_id, one.patient_id, one.by_name)
            )
            for one in receipts
        )
    )
    if receipts:
        async with transact() as conn:
            for one, failure in zip(receipts, failures, strict=True):
                again = now + wait(one.tries)
                await desk_store.receipt_done(conn, one, failure=failure, at=now, next_try_at=again)
    return failures.count(None), len(failures) - failures.count(None)


async def keep_calling(
    transact: Transact,
    ways: Ways,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
    *,
    public_url: str,
    people: People | None = None,
    every_s: float = 5.0,
) -> None:
    """Call until asked to stop."""
    while not stopping.is_set():
        calls = 0
        try:
            calls = sum(await call(transact, ways, public_url=public_url, now=clock(), people=people))
            await tell_patients(transact, ways, now=clock())
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("alerts.calling_away", error=type(error).__name__)
        if calls < page_store.MOST:  # otherwise more are waiting
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stopping.wait()
