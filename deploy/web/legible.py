"""A NUL in an address or a form is no text, and no database takes it: refused at the gate, in words."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NULS = (b"\x00", b"%00", b"\\u0000")
"""As it is, as an address or a form writes it, as JSON writes it. A percent sign that a person types arrives as %25."""
LONGEST = max(map(len, NULS))
WORDS = "There is a character in this that no text has (NUL). Nothing was saved; write it again without it."

Page = Callable[[Request, int, str], Awaitable[Response]]


class Legible:
    """Answers 400 to a NUL in the path, the query or the body; no handler behind it needs to think of one."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self._app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif "\x00" in scope["path"] or any(nul in scope["query_string"] for nul in NULS):
            answer = await self._page(Request({**scope, "path": "/"}, receive), 400, WORDS)
            await answer(scope, receive, send)
        else:
            await self._app(scope, _watched(receive), send)


def _watched(receive: Receive) -> Receive:
    """The body as it comes, with the end of each piece kept: a NUL may be cut in two."""
    tail = b""

    async def watched() -> Message:
        nonlocal tail
        message = await receive()
        if message["type"] == "http.request":
            seen = tail + message.get("body", b"")
            if any(nul in seen for nul in NULS):
                raise HTTPException(400, WORDS)
            tail = seen[-(LONGEST - 1) :]
        return message

    return watched
