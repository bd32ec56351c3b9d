"""Pages of readings: a device's latest, one with its four times and its bytes, and taking it back or correcting it."""

from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from psycopg import AsyncConnection
from starlette.datastructures import FormData

from ingest import assignment_store, corrections, readings_store, set_aside, set_aside_store
from ingest.corrections import VALUES, Change, Facts
from ingest.events import Reading
from ingest.set_aside import By
from ingest.set_aside_web import STAFF, Desk, Person

MAY_TAKE_BACK: Final = ("nurse", "physician", "admin")
LONGEST: Final = 500


def router(desk: Desk) -> APIRouter:
    """Everything below /devices/of and /devices/readings."""
    routes = APIRouter()

    @routes.get("/devices/of/{device_id}")
    async def of_device(request: Request, device_id: str) -> HTMLResponse:
        desk.require(request, *STAFF)
        async with desk.transaction(request) as conn:
            rows = await readings_store.of_device(conn, device_id)
            periods = await assignment_store.of_device(conn, device_id)
            names = await desk.patients(conn, {row["patient_id"] for row in (*rows, *periods)})
        shown = [{**row, "value": corrections.value(row)} for row in rows]
        return desk.page(
            request, "ingest/of_device.html", device_id=device_id, rows=shown, periods=periods, names=names
        )

    @routes.get("/devices/readings/{reading_id}")
    async def one(request: Request, reading_id: UUID) -> HTMLResponse:
        who = desk.require(request, *STAFF, "auditor")
        async with desk.transaction(request) as conn:
            return await _page(desk, request, conn, await _found(conn, reading_id), who, words="", said={})

    @routes.post("/devices/readings/{reading_id}/withdraw")
    async def withdraw(request: Request, reading_id: UUID) -> Response:
        who, form = desk.require(request, *MAY_TAKE_BACK), await request.form()
        by, now = By(who.staff_id, who.name), desk.now()
        async with desk.transaction(request) as conn:
            reading = await _found(conn, reading_id)
            fact = corrections.withdraw(reading, by=by, reason=_reason(form), now=now)
            await _say(conn, Facts(fact), now=now)
        return RedirectResponse(f"/devices/readings/{reading_id}", status_code=303)

    @routes.post("/devices/readings/{reading_id}/correct")
    async def correct(request: Request, reading_id: UUID) -> Response:
        who, form = desk.require(request, *MAY_TAKE_BACK), await request.form()
        by, now = By(who.staff_id, who.name), desk.now()
        async with desk.transaction(request) as conn:
            reading = await _found(conn, reading_id)
            change = await _change(conn, reading, form, ZoneInfo(who.zone), who.practice_id)
            said: Facts | str = change if isinstance(change, str) else ""
            if not isinstance(change, str):
                said = corrections.correct(reading, change, by=by, reason=_reason(form), now=now)
            if isinstance(said, str):
                told = {name: str(value) for name, value in form.items()}
                return await _page(desk, request, conn, reading, who, words=said, said=told)
            await _say(conn, said, now=now)
        return RedirectResponse(f"/devices/readings/{reading_id}", status_code=303)

    return routes


async def _page(
    desk: Desk,
    request: Request,
    conn: AsyncConnection,
    reading: Reading,
    who: Person,
    *,
    words: str,
    said: dict[str, str],
) -> HTMLResponse:
    """One reading with everything that is known of it."""
    taken_back = await readings_store.withdrawal(conn, reading.event_id)
    acts = await set_aside_store.history(conn, reading.event_id)
    earlier = reading.supersedes
    ids = {reading.patient_id, *(act["patient_id"] for act in acts if act["patient_id"])}
    return desk.page(
        request,
        "ingest/reading.html",
        reading=reading,
        value=corrections.value(reading),
        raw=set_aside.shown(reading.raw),
        fields=VALUES[reading.kind],
        taken_back=taken_back,
        earlier=earlier,
        acts=acts,
        names=await desk.patients(conn, ids),
        may=who.role in MAY_TAKE_BACK and taken_back is None,
        words=words,
        said=said,
        rule=set_aside.words(reading.time_rule),
        status_code=400 if words else 200,
    )


async def _say(conn: AsyncConnection, facts: Facts, *, now: datetime) -> None:
    if not await readings_store.say(conn, facts, now=now):
        raise HTTPException(409, "Somebody has taken this reading back already. Look again.")


async def _found(conn: AsyncConnection, reading_id: UUID) -> Reading:
    reading = await readings_store.reading(conn, reading_id)
    if reading is None:
        raise HTTPException(404, "There is no such reading here.")
    return reading


def _reason(form: FormData) -> str:
    reason = _text(form, "reason")
    if not reason:
        raise HTTPException(400, "Say why, in a few words: it stays with the record.")
    return reason


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip()[:LONGEST] if isinstance(value, str) else ""


async def _change(
    conn: AsyncConnection, reading: Reading, form: FormData, zone: ZoneInfo, practice_id: int
) -> Change | str:
    """What the form says it should have been, or what is wrong with the form; an empty field leaves it as it is."""
    values: dict[str, float] = {}
    for name in VALUES[reading.kind]:
        if text := _text(form, name):
            try:
                values[name] = float(text)
            except ValueError:
                return f"{name.capitalize()} needs a number."
    at = None
    if text := _text(form, "effective_at"):
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return "That is not a date and a time."
        at = at if at.tzinfo is not None else at.replace(tzinfo=zone)
    patient = None
    if mrn := _text(form, "mrn"):
        patient = await set_aside_store.patient(conn, mrn, practice_id)
        if patient is None:
            return "No patient of this practice has that record number."
    return Change({name: value for name, value in values.items() if value == value}, at, patient)  # noqa: PLR0124 - NaN
