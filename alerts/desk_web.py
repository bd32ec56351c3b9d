"""What these screens ask of the web frame and of the doorbell, as protocols: the frame is not imported."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import UTC, date, datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from psycopg import AsyncConnection

from alerts.access import SEES, WORKS
from alerts.acts import Act, Person
from alerts.concerns import Queue


class Who(Protocol):
    """The person signed in."""

    @property
    def staff_id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def practice_id(self) -> int: ...
    @property
    def zone(self) -> str: ...


class Patient(Protocol):
    """Whom a row is about."""

    @property
    def name(self) -> str: ...
    @property
    def mrn(self) -> str: ...
    @property
    def born(self) -> date: ...


class Desk(Protocol):
    """The web frame, as far as these screens use it."""

    def who(self, request: Request) -> Who: ...
    def require(self, request: Request, *roles: str) -> Who: ...
    def transaction(self, request: Request) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def page(
        self, request: Request, template: str, *, status_code: int = 200, **context: Any
    ) -> HTMLResponse: ...
    async def patients(self, conn: AsyncConnection, ids: Iterable[UUID]) -> Mapping[UUID, Patient]: ...
    async def colleagues(
        self, conn: AsyncConnection, *, roles: Collection[str] = ()
    ) -> Mapping[UUID, str]: ...
    def now(self) -> datetime: ...


class Doorbell(Protocol):
    """Wakes open pages when their practice's queue moved: `stream.Bell`, or a test's own."""

    def listening(self, practice_id: int) -> AbstractContextManager[asyncio.Event]: ...


def person(who: Who) -> Person:
    return Person(staff_id=who.staff_id, name=who.name, role=who.role, zone=who.zone)


def midnight(who: Who, now: datetime) -> datetime:
    """When today began in the practice's civil time."""
    zone = ZoneInfo(who.zone)
    return datetime.combine(now.astimezone(zone).date(), datetime.min.time(), zone)


def instant(text: str, zone: str) -> datetime | None:
    """A `datetime-local` field in the practice's civil time; None for anything else.

    >>> instant("2026-11-03T10:00", "America/New_York").isoformat(), instant("soon", "UTC")
    ('2026-11-03T15:00:00+00:00', None)
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def must_see(who: Who, queue: Queue) -> None:
    """Refuse with a sentence that says whose queue it is."""
    if who.role not in SEES[queue]:
        raise HTTPException(
            403, f"The {queue} queue is for {_or(SEES[queue])}; you are signed in as {who.role}."
        )


def must_work(who: Who, queue: Queue) -> None:
    if who.role not in WORKS[queue]:
        words = f"Working the {queue} queue is for {_or(WORKS[queue])}; you are signed in as {who.role}."
        raise HTTPException(403, words)


def _or(roles: Iterable[str]) -> str:
    return " or ".join(sorted(roles))


def clock(act: Act, at: datetime | None) -> str:
    """An instant as this person reads it; empty for none."""
    return act.clock(at) if at else ""
