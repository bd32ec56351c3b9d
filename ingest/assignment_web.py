"""Registering a device, giving it or a user button of it to a patient, and ending that: forms of the devices' pages."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from psycopg import AsyncConnection
from starlette.datastructures import FormData

from ingest import assignment_store
from ingest.assignment_store import Trouble
from ingest.devices.vitals import device_name
from ingest.set_aside import By
from ingest.set_aside_web import STAFF, Desk, Person, form_text


def router(desk: Desk) -> APIRouter:
    """What is posted to /devices/register and below /devices/of."""
    routes = APIRouter()

    async def do(
        request: Request, device_id: str, what: Callable[[AsyncConnection], Awaitable[Trouble | None]]
    ) -> Response:
        async with desk.transaction(request) as conn:
            if (trouble := await what(conn)) is not None:
                status = 409 if trouble in (Trouble.TAKEN, Trouble.NOT_HAD, Trouble.KNOWN) else 400
                raise HTTPException(status, f"{trouble.value} Nothing was changed.")
        return RedirectResponse(f"/devices/of/{quote(device_id, safe='')}", status_code=303)

    @routes.post("/devices/register")
    async def register(request: Request) -> Response:
        who, form = desk.require(request, *STAFF), await request.form()
        device_id, model = form_text(form, "device"), form_text(form, "model")
        by = By(who.staff_id, who.name)
        return await do(
            request,
            device_name(device_id),
            lambda conn: assignment_store.register(
                conn, device_id, practice_id=who.practice_id, model=model, by=by, now=desk.now()
            ),
        )

    @routes.post("/devices/of/{device_id}/give")
    async def give(request: Request, device_id: str) -> Response:
        who, form = desk.require(request, *STAFF), await request.form()
        now = desk.now()
        since, slot, mrn = _when(form, "since", who, now), _slot(form), form_text(form, "mrn")
        by = By(who.staff_id, who.name)
        return await do(
            request,
            device_id,
            lambda conn: assignment_store.give(conn, device_id, mrn, slot=slot, since=since, by=by, now=now),
        )

    @routes.post("/devices/of/{device_id}/end")
    async def end(request: Request, device_id: str) -> Response:
        who, form = desk.require(request, *STAFF), await request.form()
        now = desk.now()
        slot, by = _slot(form), By(who.staff_id, who.name)
        return await do(
            request,
            device_id,
            lambda conn: assignment_store.end(conn, device_id, slot=slot, at=now, by=by, now=now),
        )

    return routes


def _slot(form: FormData) -> int | None:
    text = form_text(form, "slot")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 3 or int(text) > 254:  # noqa: PLR2004 - one byte, and 255 is nobody
        raise HTTPException(400, "A user button is a number from 0 to 254. Nothing was changed.")
    return int(text)


def _when(form: FormData, name: str, who: Person, now: datetime) -> datetime:
    """A date and time on the practice's clock; empty: now."""
    text = form_text(form, name)
    if not text:
        return now
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(who.zone))
    except ValueError:
        raise HTTPException(400, "That is not a date and a time. Nothing was changed.") from None
