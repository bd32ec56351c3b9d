"""What this room's screens use of the web frame, and how they read forms and show refusals."""

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from ccm_bridge.service import Refused, Who
from ccm_bridge.store import Connection


class Patient(Protocol):
    """A patient's name tag."""

    @property
    def name(self) -> str: ...
    @property
    def mrn(self) -> str: ...
    @property
    def born(self) -> date: ...
    @property
    def zone(self) -> str: ...


class Desk(Protocol):
    """The frame around these screens: who asks, one transaction for their practice, and the page layout."""

    def who(self, request: Request) -> Who: ...
    def require(self, request: Request, *roles: str) -> Who: ...
    def transaction(self, request: Request) -> AbstractAsyncContextManager[Connection]: ...
    def now(self) -> datetime: ...
    def page(
        self, request: Request, template: str, *, status_code: int = 200, **context: Any
    ) -> HTMLResponse: ...
    async def patients(self, conn: Connection, ids: Iterable[UUID]) -> Mapping[UUID, Patient]: ...
    async def colleagues(self, conn: Connection) -> dict[UUID, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A patient as every page shows them."""

    patient_id: UUID
    name: str
    mrn: str
    age: int


def tag(patient_id: UUID, patient: Patient | None, today: date) -> Tag:
    """The name tag; a patient whom the asker may not see has none, and their pages are never built."""
    if patient is None:
        return Tag(patient_id=patient_id, name="Unknown patient", mrn="", age=0)
    had_birthday = (today.month, today.day) >= (patient.born.month, patient.born.day)
    age = today.year - patient.born.year - (0 if had_birthday else 1)
    return Tag(patient_id=patient_id, name=patient.name, mrn=patient.mrn, age=age)


async def tags(desk: Desk, conn: Connection, ids: Iterable[UUID], today: date) -> dict[UUID, Tag]:
    wanted = set(ids)
    found = await desk.patients(conn, wanted)
    return {one: tag(one, found.get(one), today) for one in wanted}


def today(desk: Desk, who: Who) -> date:
    """The date on the practice's wall."""
    return desk.now().astimezone(ZoneInfo(who.zone)).date()


def wants_json(request: Request) -> bool:
    """The timer's script asks for JSON; a form, with or without a script, gets a page."""
    return "application/json" in request.headers.get("accept", "")


def refusal(desk: Desk, request: Request, refused: Refused, *, back: str) -> Response:
    """A refusal as a sentence, with its status and the way back."""
    if wants_json(request):
        return JSONResponse({"refused": refused.sentence}, status_code=refused.status)
    return desk.page(
        request,
        "ccm_bridge/refused.html",
        status_code=refused.status,
        sentence=refused.sentence,
        entry_id=refused.entry_id,
        back=back,
    )


Form = Mapping[str, str]


async def form_of(request: Request) -> Form:
    """The text fields of a form."""
    sent = await request.form()
    return {name: value.strip() for name, value in sent.items() if isinstance(value, str)}


def uuid_of(text: str | None) -> UUID | None:
    """An id from a form, or None: anything else is not an id."""
    try:
        return UUID(text or "")
    except ValueError:
        return None


def local_instant(text: str, zone: str) -> datetime | None:
    """A `datetime-local` field in the practice's civil time, as an instant.

    >>> local_instant("2026-11-03T10:00", "America/New_York").isoformat()
    '2026-11-03T10:00:00-05:00'
    >>> local_instant("yesterday", "America/New_York") is None
    True
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))


FIRST_YEAR, LAST_YEAR = 2000, 2199
"""Months that a page may be asked for: the calendar ends a little later, and with it the month after."""


def read_month(text: str) -> date | None:
    """`2026-11` as the month's first day.

    >>> read_month("2026-11"), read_month("2026-13"), read_month("nonsense"), read_month("9999-12")
    (datetime.date(2026, 11, 1), None, None, None)
    """
    try:
        month = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no instant
    except ValueError:
        return None
    return month if FIRST_YEAR <= month.year <= LAST_YEAR else None


def attached(content: bytes, kind: str, name: str) -> Response:
    """A file to keep. Its name holds a record number that others chose: only plain letters stay."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return Response(
        content, media_type=kind, headers={"content-disposition": f'attachment; filename="{safe}"'}
    )


async def file_of(request: Request, name: str) -> str:
    """The text of a file that a form carries; empty if it carries none. The form's files are closed with it."""
    form = await request.form()
    sent = form.get(name)
    try:
        return "" if sent is None or isinstance(sent, str) else (await sent.read()).decode(errors="replace")
    finally:
        await form.close()


def safe_back(text: str, *, otherwise: str) -> str:
    """Where a form wants to return to, if that is a page of ours.

    >>> safe_back("//elsewhere.example/x", otherwise="/tasks"), safe_back("/tasks/7", otherwise="/tasks")
    ('/tasks', '/tasks/7')
    """
    inside = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if inside else otherwise
