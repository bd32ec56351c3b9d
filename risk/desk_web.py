"""What these screens ask of the web frame, and who may see and decide."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from fastapi import Request
from fastapi.responses import HTMLResponse
from psycopg import AsyncConnection

SEES = ("nurse", "physician", "coordinator", "admin", "auditor")
DECIDES = ("nurse", "physician")
DECIDES_FOR_ALL = ("physician",)


class Who(Protocol):
    """The person signed in."""

    @property
    def staff_id(self) -> UUID: ...
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
    @property
    def zone(self) -> str: ...


class Desk(Protocol):
    """The web frame, as far as these screens use it."""

    def require(self, request: Request, *roles: str) -> Who: ...
    def transaction(self, request: Request) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def page(
        self, request: Request, template: str, *, status_code: int = 200, **context: Any
    ) -> HTMLResponse: ...
    async def patients(self, conn: AsyncConnection, ids: Iterable[UUID]) -> Mapping[UUID, Patient]: ...
    async def roster(self, conn: AsyncConnection) -> Mapping[UUID, Patient]: ...
    async def colleagues(self, conn: AsyncConnection) -> dict[UUID, str]: ...
    def now(self) -> datetime: ...
