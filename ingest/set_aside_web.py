"""Pages about what was set aside: kinds, one refusal with its bytes, and the lane where a person says whose a reading is."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Protocol
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from psycopg import AsyncConnection
from starlette.datastructures import FormData

from ingest import lane_service, set_aside, wire
from ingest import set_aside_store as store
from ingest.devices import FAMILIES, decode
from ingest.devices.measurement import Refusal
from ingest.set_aside import By, Held, Kind
from ingest.strongbox import Strongbox

STAFF: Final = ("nurse", "coordinator", "physician", "admin")
"""Who looks at what was set aside and decides about it."""
STATUS: Final = {lane_service.Trouble.NOT_HERE: 404, lane_service.Trouble.DECIDED: 409}
LONGEST: Final = 500  # characters of a reason


class Person(Protocol):
    """Who is asking."""

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
    """Whose it may be."""

    @property
    def name(self) -> str: ...
    @property
    def mrn(self) -> str: ...


class Desk(Protocol):
    """The web frame, as far as these pages use it."""

    def require(self, request: Request, *roles: str) -> Person: ...
    def transaction(self, request: Request) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def page(self, request: Request, template: str, **context: Any) -> HTMLResponse: ...
    async def patients(self, conn: AsyncConnection, ids: Iterable[UUID]) -> Mapping[UUID, Patient]: ...
    def now(self) -> datetime: ...


def router(desk: Desk, strongbox: Strongbox | None) -> APIRouter:
    """Everything below /devices/set-aside."""
    routes = APIRouter()

    @routes.get("/devices/set-aside")
    async def of_a_kind(
        request: Request, gateway: str = "", device: str = "", hop: str = "", reason: str = ""
    ) -> HTMLResponse:
        desk.require(request, *STAFF)
        kind = Kind(gateway, device, hop, reason)
        async with desk.transaction(request) as conn:
            samples = await store.alike(conn, kind)
            tally = await store.kinds(conn, only=kind)
        return desk.page(
            request,
            "ingest/set_aside.html",
            samples=samples,
            kind=kind._asdict(),
            tally=tally[0] if tally else None,
            words=set_aside.words,
            states=set_aside.STATES,
        )

    @routes.post("/devices/set-aside/replay")
    async def replay_kind(request: Request) -> Response:
        by, form = _by(desk.require(request, *STAFF)), await request.form()
        kind = _kind(form)
        async with desk.transaction(request) as conn:
            await store.ask_kind_again(conn, kind, by=by, now=desk.now())
        return RedirectResponse(f"/devices/set-aside?{urlencode(kind._asdict())}", status_code=303)

    @routes.post("/devices/set-aside/resolve")
    async def resolve_kind(request: Request) -> Response:
        by, form = _by(desk.require(request, *STAFF)), await request.form()
        kind, why = _kind(form), _reason(form, "why")
        async with desk.transaction(request) as conn:
            await store.resolve_kind(conn, kind, by=by, now=desk.now(), reason=why)
        return RedirectResponse(f"/devices/set-aside?{urlencode(kind._asdict())}", status_code=303)

    @routes.get("/devices/set-aside/{refusal_id}")
    async def one(request: Request, refusal_id: UUID) -> HTMLResponse:
        who = desk.require(request, *STAFF)
        async with desk.transaction(request) as conn:
            held = await _found(conn, refusal_id)
            by = _by(who)
            await store.note(conn, refusal_id, "looked", practice_id=held.practice_id, by=by, now=desk.now())
            acts = await store.history(conn, refusal_id)
            names = await desk.patients(conn, {act["patient_id"] for act in acts if act["patient_id"]})
        raw = store.opened(held, strongbox)
        return desk.page(
            request,
            "ingest/refusal.html",
            held=held,
            acts=acts,
            names=names,
            raw=set_aside.shown(raw) if raw is not None else None,
            understood=_understood(held, raw),
            words=set_aside.words,
            states=set_aside.STATES,
        )

    @routes.post("/devices/set-aside/{refusal_id}/replay")
    async def replay(request: Request, refusal_id: UUID) -> Response:
        by = _by(desk.require(request, *STAFF))
        async with desk.transaction(request) as conn:
            await _found(conn, refusal_id)
            await store.ask_again(conn, refusal_id, by=by, now=desk.now())
        return RedirectResponse(f"/devices/set-aside/{refusal_id}", status_code=303)

    @routes.post("/devices/set-aside/{refusal_id}/resolve")
    async def resolve(request: Request, refusal_id: UUID) -> Response:
        by, form = _by(desk.require(request, *STAFF)), await request.form()
        reason = _reason(form)
        async with desk.transaction(request) as conn:
            await _found(conn, refusal_id)
            if not await store.resolve(conn, refusal_id, by=by, now=desk.now(), reason=reason):
                raise HTTPException(409, "This is not open any more: somebody was faster. Look again.")
        return RedirectResponse(f"/devices/set-aside/{refusal_id}", status_code=303)

    return routes


def lane_router(desk: Desk, strongbox: Strongbox | None) -> APIRouter:
    """The page /devices/whose, and who shares a device."""
    routes = APIRouter()

    @routes.get("/devices/whose")
    async def whose(request: Request) -> HTMLResponse:
        who = desk.require(request, *STAFF)
        async with desk.transaction(request) as conn:
            waiting, total = await store.lane(conn)
            for held in waiting:  # their values are shown: that is a look
                await store.note(
                    conn, held.refusal_id, "looked", practice_id=held.practice_id, by=_by(who), now=desk.now()
                )
            near = await store.candidates(
                conn, [held.kind_device for held in waiting], sorted({held.gateway_id for held in waiting})
            )
            names = await desk.patients(conn, {row["patient_id"] for row in near})
        waiting.sort(key=lambda held: (held.kind_device, held.gateway_id))
        groups = [
            {
                "device": device,
                "gateway": gateway,
                "readings": readings,
                "near": [
                    {"patient_id": one.patient_id, "patient": names[one.patient_id], "why": one.why}
                    for one in lane_service.near(near, device, gateway)
                    if one.patient_id in names
                ],
            }
            for (device, gateway), grouped in groupby(
                waiting, key=lambda one: (one.kind_device, one.gateway_id)
            )
            if (readings := [_shown(held, strongbox) for held in grouped])
        ]
        return desk.page(
            request,
            "ingest/whose.html",
            groups=groups,
            total=total,
            shown=len(waiting),
            words=set_aside.words,
        )

    @routes.post("/devices/whose")
    async def decide(request: Request) -> Response:
        who, form = desk.require(request, *STAFF), await request.form()
        ids = [one for text in form.getlist("id") if (one := _uuid(text)) is not None]
        choice = form_text(form, "whose")
        if not ids or not choice:
            raise HTTPException(400, "Choose at least one reading, and say whose it is.")
        patient = {"nobody": None, "number": form_text(form, "mrn")}.get(choice, _uuid(choice) or choice)
        async with desk.transaction(request) as conn:
            trouble = await lane_service.decide(
                conn, ids, patient, reason=form_text(form, "reason"), by=_by(who), now=desk.now()
            )
            if trouble is not None:  # nothing of this form is kept then
                raise HTTPException(STATUS.get(trouble, 400), trouble.value)
        return RedirectResponse("/devices/whose", status_code=303)

    @routes.post("/devices/of/{device_id}/shared")
    async def share(request: Request, device_id: str) -> Response:
        by, form = _by(desk.require(request, *STAFF)), await request.form()
        async with desk.transaction(request) as conn:
            await store.share(
                conn, device_id, shared=form_text(form, "shared") == "yes", by=by, now=desk.now()
            )
        return RedirectResponse("/devices", status_code=303)

    return routes


def _by(who: Person) -> By:
    return By(who.staff_id, who.name)


def _kind(form: FormData) -> Kind:
    return Kind._make(form_text(form, name) for name in Kind._fields)


def form_text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip()[:LONGEST] if isinstance(value, str) else ""


def _reason(form: FormData, name: str = "reason") -> str:
    reason = form_text(form, name)
    if not reason:
        raise HTTPException(400, "Say why, in a few words: it stays with the record.")
    return reason


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


async def _found(conn: AsyncConnection, refusal_id: UUID) -> Held:
    held = await store.held(conn, refusal_id)
    if held is None:
        raise HTTPException(404, "There is no such thing here.")
    return held


def _understood(held: Held, raw: bytes | None) -> Sequence[str]:
    """What the decoder makes of it today, a sentence for each thing it says."""
    if raw is None:
        return ()
    family = wire.topic(f"v1/{held.gateway_id}/{held.place or wire.CANONICAL}").family
    if family not in FAMILIES:
        return (f"Nothing is expected on {held.place}.",)
    return [
        f"{set_aside.words(said.reason)}: {said.detail}"
        if isinstance(said, Refusal)
        else set_aside.value(set_aside.measured(held._replace(part=part), raw))
        or "news of the device, no measurement"
        for part, said in enumerate(decode(family, raw))
    ]


def _shown(held: Held, strongbox: Strongbox | None) -> dict[str, Any]:
    """One waiting reading, as far as it helps to recognise whose it is."""
    raw = store.opened(held, strongbox)
    said = set_aside.measured(held, raw) if raw is not None else None
    return {
        "held": held,
        "value": set_aside.value(said) if raw is not None else "sealed: the key is not here",
        "claim": set_aside.claim(said),
        "device_time": said.device_time if said is not None else None,
        "measured_at": said.gateway_time if said is not None else None,
    }
