"""Where a new gateway asks for its certificate and comes back for it. Asking gives nothing: an admin decides."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg
from fastapi import APIRouter, Request, Response

from ingest import fleet, fleet_store
from ingest.store import OUTAGES

LARGEST: Final = 8 * 1024


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """I should like to be a gateway of this practice."""

    practice: int
    request: str  # PEM


class Noted(msgspec.Struct, frozen=True):
    """The request waits for an admin, who compares the fingerprint with what the gateway shows."""

    request_id: UUID
    fingerprint: str


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the request stands: waiting, approved, issued or refused."""

    state: str
    certificate: str | None = None
    authority: str | None = None


class Not(msgspec.Struct, frozen=True):
    detail: str


def router(
    connection: Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection]],
    clock: Callable[[], datetime],
) -> APIRouter:
    """`POST /enrol` and `GET /enrol/{request_id}`."""
    routes = APIRouter()

    @routes.post(
        "/enrol",
        status_code=202,
        operation_id="enrol",
        summary="Ask to be a gateway",
        response_class=Response,
        responses={
            202: {"description": "It waits for an admin."},
            409: {"description": "Too many wait already, or there is no such practice."},
            413: {"description": "Larger than any request."},
            422: {"description": "Not a certificate request that could be granted; `detail` says why."},
            503: {"description": "Ask again later."},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": msgspec.json.schema_components([Wish])[1]["Wish"]}
                },
            }
        },
    )
    async def enrol(request: Request) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST:
                return _answer(413, Not(f"at most {LARGEST} bytes"))
        try:
            wish = msgspec.json.decode(bytes(body), type=Wish)
        except (msgspec.MsgspecError, ValueError):
            return _answer(422, Not("want {practice, request}"))
        asked = fleet.understood(wish.request)
        if isinstance(asked, str):
            return _answer(422, Not(asked))
        try:
            async with connection() as conn:
                noted = await fleet_store.ask(conn, asked, practice_id=wish.practice, now=clock())
        except OUTAGES:
            return _answer(503, Not("the database is not answering"))
        if not noted:
            return _answer(409, Not("too many requests wait, or there is no such practice"))
        return _answer(202, Noted(asked.request_id, asked.fingerprint))

    @routes.get(
        "/enrol/{request_id}",
        operation_id="standing",
        summary="How a request stands, and the certificate once it is there",
        response_class=Response,
        responses={404: {"description": "No such request."}, 503: {"description": "Ask again later."}},
    )
    async def standing(request_id: UUID) -> Response:
        try:
            async with connection() as conn:
                found = await fleet_store.standing(conn, request_id)
        except OUTAGES:
            return _answer(503, Not("the database is not answering"))
        return _answer(404, Not("no such request")) if found is None else _answer(200, Standing(*found))

    return routes


def _answer(status: int, body: msgspec.Struct) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
