"""The site: sign-in pages, the rooms' screens behind the guard, headers, errors in sentences."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import resources
from typing import Annotated

import psycopg
import structlog
from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy import metrics
from deploy.database import OUTAGES
from deploy.web import reads, session
from deploy.web.frame import Desk, SignInNeeded, from_here, sign_in_url
from deploy.web.legible import Legible, Page

log = structlog.get_logger()

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}
HOME = {
    "nurse": "/queue",
    "physician": "/queue",
    "coordinator": "/tasks",
    "admin": "/queue",
    "auditor": "/month",
}


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Anybody can send a word of his own as method; a metric's label must not take it over."""

Fault = Callable[[Request, Exception], Awaitable[Response]]


class Headers:
    """Security headers on every answer, no-store on everything but static files, and the request counters.

    The page for our own faults is made here and not by Starlette: that would answer outside of this class (no headers,
    not counted), and raise again for the server to log, with a message that may quote health data.
    """

    def __init__(self, app: ASGIApp, fault: Fault) -> None:
        self._app, self._fault = app, fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, answering = time.monotonic(), False
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def with_headers(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if not scope["path"].startswith("/static/"):
                    headers["cache-control"] = "no-store"
                metrics.REQUESTS.labels(method, f"{message['status'] // 100}xx").inc()
                metrics.REQUEST_SECONDS.labels(method).observe(time.monotonic() - started)
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the person gets a page and nobody the message
            answer = await self._fault(Request(scope, receive), error)
            if not answering:  # else its rest is missing, the server hangs up, and the client comes again
                await answer(scope, receive, with_headers)


DOOR_BYTES = 8 * 1024
"""More than an e-mail address and a password need; whoever is not signed in may send no more than this."""
PAGE_BYTES = 4 * 1024 * 1024


class Bounded:
    """Refuse a body that is longer than its page can need, before anything reads it all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = DOOR_BYTES if scope["path"] == "/sign-in" else PAGE_BYTES
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > most:
            await PlainTextResponse("That is more than this page takes.", status_code=413)(
                scope, receive, send
            )
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise StarletteHTTPException(413, "That is more than this page takes.")
            return message

        await self._app(scope, bounded, send)


def site(desk: Desk, routers: Sequence[APIRouter], *, static: Iterable[str]) -> FastAPI:
    """The whole web application. Every room's router is behind the guard; sign-in alone is not."""
    app = FastAPI(title="Lamplight", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Bounded)
    app.add_middleware(Legible, page=_plain_words(desk))
    app.add_middleware(Headers, fault=_fault(desk))
    app.mount(
        "/static/web", StaticFiles(directory=str(resources.files("deploy.web") / "static")), name="static-web"
    )
    for room in static:
        app.mount(
            f"/static/{room}",
            StaticFiles(directory=str(resources.files(room) / "static")),
            name=f"static-{room}",
        )
    app.include_router(_doors(desk))
    app.include_router(reads.router(desk), dependencies=[Depends(desk.guard)])
    for router in routers:
        app.include_router(router, dependencies=[Depends(desk.guard)])

    @app.exception_handler(SignInNeeded)
    async def to_sign_in(request: Request, _: SignInNeeded) -> Response:
        if request.headers.get("hx-request") or "text/event-stream" in request.headers.get("accept", ""):
            return Response(status_code=401, headers={"hx-redirect": "/sign-in"})
        return RedirectResponse(sign_in_url(request), status_code=303)

    @app.exception_handler(StarletteHTTPException)
    async def in_words(request: Request, error: StarletteHTTPException) -> HTMLResponse:
        words = "There is no such page here." if error.detail == "Not Found" else str(error.detail)
        return desk.page(
            request, "web/error.html", status_code=error.status_code, status=error.status_code, words=words
        )

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> HTMLResponse:
        """An address that names nothing, or a form of some other page. FastAPI would answer with what was sent."""
        status, words = 422, "This form is not complete. Open the page again and repeat it."
        if any(wrong["loc"][0] == "path" for wrong in error.errors()):
            status, words = 404, "There is no such page here."
        return desk.page(request, "web/error.html", status_code=status, status=status, words=words)

    return app


def _plain_words(desk: Desk) -> Page:
    """A page that says one sentence, whoever asks."""

    async def page(request: Request, status: int, words: str) -> HTMLResponse:
        return desk.page(request, "web/error.html", status_code=status, status=status, words=words)

    return page


def _fault(desk: Desk) -> Fault:
    """What people see when we failed, and the one line that the log gets of it."""

    async def our_fault(request: Request, error: Exception) -> HTMLResponse:
        away = isinstance(error, OUTAGES)
        log.error(
            "web.failed",
            error=type(error).__name__,
            method=request.method,
            route=getattr(request.scope.get("route"), "path", "?"),
        )
        words, status = "This is our fault. It has been logged; nothing was saved.", 500
        if away:
            words, status = "The database is not answering. Nothing was saved; try again in a moment.", 503
        elif isinstance(error, psycopg.DataError):
            words, status = (
                "Something you typed cannot be kept, perhaps an invisible character. Nothing was saved.",
                422,
            )
        return desk.page(request, "web/error.html", status_code=status, status=status, words=words)

    return our_fault


def _doors(desk: Desk) -> APIRouter:
    """Signing in and out, and the way home."""
    router = APIRouter()

    @router.get("/sign-in", response_class=HTMLResponse)
    async def ask(request: Request, next: str = "/", idle: bool = False) -> HTMLResponse:  # noqa: A002, FBT001, FBT002
        words = (
            "You were signed out because nobody used the page for a while. Nothing is lost." if idle else ""
        )
        return desk.page(request, "web/sign_in.html", back=next, words=words, email="")

    @router.post("/sign-in")
    async def sign_in(
        request: Request,
        email: Annotated[str, Form()],
        password: Annotated[str, Form()],
        back: Annotated[str, Form()] = "/",
    ) -> Response:
        if not from_here(request):
            raise HTTPException(403, "Sign in on Lamplight's own page.")
        outcome, token = await session.sign_in(desk.pool, email, password, now=desk.now())
        metrics.SIGN_INS.labels(outcome).inc()
        if outcome is not session.Outcome.SIGNED_IN:
            words = (
                "Too many attempts. Wait a little and try again."
                if outcome is session.Outcome.WAIT
                else "E-mail or password is not right."
            )
            return desk.page(
                request, "web/sign_in.html", status_code=401, back=back, words=words, email=email
            )
        home = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
        answer = RedirectResponse(home, status_code=303)
        answer.set_cookie(desk.cookie, token, httponly=True, secure=desk.secure, samesite="lax", path="/")
        return answer

    @router.get("/here", dependencies=[Depends(desk.guard)])
    async def here() -> Response:
        """Somebody touched a page: asking renews the session, and that is all."""
        return Response(status_code=204)

    @router.post("/sign-out", dependencies=[Depends(desk.guard)])
    async def sign_out(request: Request) -> Response:
        await session.end(desk.pool, request.cookies.get(desk.cookie, ""), now=desk.now())
        answer = RedirectResponse("/sign-in", status_code=303)
        answer.delete_cookie(desk.cookie, path="/")
        return answer

    @router.get("/", dependencies=[Depends(desk.guard)])
    async def home(request: Request) -> Response:
        return RedirectResponse(HOME[desk.who(request).role], status_code=303)

    return router
