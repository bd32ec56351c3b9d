"""The fleet's page: who asks to be a gateway, which certificates end soon, what gateways were told. Only an admin acts."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Protocol
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ingest import fleet_store, wire
from ingest.web import gateway_state

ADMIN: Final = "admin"
ENDS_SOON: Final = timedelta(days=14)
KEPT_DAYS: Final = 14  # as long as a gateway keeps what was acknowledged


class Who(Protocol):
    """Who acts."""

    @property
    def staff_id(self) -> UUID: ...
    @property
    def role(self) -> str: ...
    @property
    def practice_id(self) -> int: ...


class Desk(Protocol):
    """The web frame, as far as this page uses it."""

    def who(self, request: Request) -> Who: ...
    def require(self, request: Request, *roles: str) -> Who: ...
    def transaction(self, request: Request) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def page(self, request: Request, template: str, **context: Any) -> HTMLResponse: ...
    def now(self) -> datetime: ...


GATEWAYS: Final = """
    SELECT g.gateway_id, g.playback, g.online, g.last_seen, g.clock_error, g.outbox_depth, g.outbox_full, g.agent,
           g.revoked_at, g.certificate_ends, w.vendor, c.kind AS told, c.outcome, c.detail, c.asked_at AS told_at
      FROM ingest.gateway g
      LEFT JOIN (SELECT source_id, vendor FROM ingest.webhook) w ON w.source_id = g.gateway_id
      LEFT JOIN LATERAL (SELECT kind, outcome, detail, asked_at FROM ingest.command
                          WHERE gateway_id = g.gateway_id ORDER BY asked_at DESC LIMIT 1) c ON true
     ORDER BY g.revoked_at IS NOT NULL, g.gateway_id"""
WAITING: Final = """
    SELECT e.request_id, e.gateway_id, e.fingerprint, e.asked_at, g.gateway_id IS NOT NULL AS replaces
      FROM ingest.enrolment e LEFT JOIN ingest.gateway g ON g.gateway_id = e.gateway_id
     WHERE e.state = 'waiting' AND e.asked_at > %(since)s ORDER BY e.asked_at"""


def router(desk: Desk) -> APIRouter:
    """Everything below /devices/fleet."""
    routes = APIRouter()

    @routes.get("/devices/fleet")
    async def fleet(request: Request) -> HTMLResponse:
        now = desk.now()
        async with desk.transaction(request) as conn, conn.cursor(row_factory=dict_row) as cursor:
            gateways = await (await cursor.execute(GATEWAYS)).fetchall()
            since = now - fleet_store.WAITS
            waiting = await (await cursor.execute(WAITING, {"since": since})).fetchall()
        return desk.page(
            request,
            "ingest/fleet.html",
            gateways=gateways,
            waiting=waiting,
            states={row["gateway_id"]: gateway_state(row, now=now) for row in gateways},
            acts=desk.who(request).role == ADMIN,
            ends_soon=now + ENDS_SOON,
            kept_days=KEPT_DAYS,
        )

    async def act(request: Request, what: Callable[[AsyncConnection], Awaitable[str | None]]) -> Response:
        """Do it in one transaction, or say in a sentence why not."""
        async with desk.transaction(request) as conn:
            if trouble := await what(conn):
                raise HTTPException(409, trouble[0].upper() + trouble[1:] + ".")
        return RedirectResponse("/devices/fleet", status_code=303)

    @routes.post("/devices/fleet/approve/{request_id}")
    async def approve(request: Request, request_id: UUID) -> Response:
        by = str(desk.require(request, ADMIN).staff_id)
        return await act(request, lambda conn: fleet_store.approve(conn, request_id, by=by, now=desk.now()))

    @routes.post("/devices/fleet/refuse/{request_id}")
    async def refuse(request: Request, request_id: UUID) -> Response:
        by = str(desk.require(request, ADMIN).staff_id)
        return await act(
            request,
            lambda conn: _or(
                fleet_store.refuse(conn, request_id, by=by, now=desk.now()), "this request no longer waits"
            ),
        )

    @routes.post("/devices/fleet/revoke/{gateway_id}")
    async def revoke(request: Request, gateway_id: str) -> Response:
        desk.require(request, ADMIN)
        return await act(
            request,
            lambda conn: _or(
                fleet_store.revoke(conn, gateway_id, now=desk.now()),
                "there is no such gateway, or it is revoked already",
            ),
        )

    @routes.post("/devices/fleet/resync/{gateway_id}")
    async def resync(
        request: Request, gateway_id: str, days: Annotated[int, Form(ge=1, le=KEPT_DAYS)]
    ) -> Response:
        who = desk.require(request, ADMIN)
        command = wire.Resync(id=uuid4(), since=(desk.now() - timedelta(days=days)).astimezone(UTC))

        def tell(conn: AsyncConnection) -> Awaitable[bool]:
            return fleet_store.tell(
                conn, gateway_id, command, practice_id=who.practice_id, by=str(who.staff_id), now=desk.now()
            )

        return await act(request, lambda conn: _or(tell(conn), "there is no such gateway, or it is revoked"))

    return routes


async def _or(done: Awaitable[bool], otherwise: str) -> str | None:
    """Nothing to say if it was done."""
    return None if await done else otherwise
