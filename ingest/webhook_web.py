"""The HTTP side of vendors' webhooks: who it is, how much at most, and an answer that means what it says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Protocol

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from ingest.webhook_service import Busy, Door
from ingest.webhooks import LARGEST, Vendor, authentic

READ_WITHIN_S: Final = 10.0  # a whole body; slower is nobody we know
COME_AGAIN_S: Final = 30


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a post that is kept for good."""

    kept: bool
    set_aside: str | None = None  # the reason, where it did not become a reading


class Not(msgspec.Struct, frozen=True):
    """The answer to a post that is not kept."""

    detail: str


class PostMeter(Protocol):
    """Where posts are counted; both labels come from closed sets."""

    def post(self, vendor: str, outcome: str) -> None: ...


class _Refused(Exception):
    def __init__(self, status: int, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.outcome, self.detail = status, outcome, detail


DESCRIPTION: Final = """\
Vendors' clouds post readings here. `200` means that what became of the post, a reading or a refusal with its reason, is
in Kafka on every in-sync replica (or, for a notification, that the fetch is in the database). `503` means that it is
not, or that nobody knows: post it again. The same post again is the same reading, never a second one.
"""
ANSWERS: Final[dict[int | str, dict[str, object]]] = {
    200: {
        "description": "Kept for good; `set_aside` says why it did not become a reading.",
        "content": {"application/json": {"schema": msgspec.json.schema_components([Kept])[1]["Kept"]}},
    },
    401: {"description": "No such source, or the secret is not its own. The two are not told apart."},
    404: {"description": "No vendor of this name."},
    408: {"description": "The body did not come in time."},
    413: {"description": f"More than {LARGEST} bytes."},
    503: {
        "description": "Not kept. Post it again.",
        "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
    },
}


def app(door: Door, meter: PostMeter) -> FastAPI:
    """The application; it has no pages, no cookies and no documents of its own."""
    made = FastAPI(
        title="Lamplight webhooks",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )

    @made.post(
        "/hooks/{vendor}/{source}",
        responses=ANSWERS,
        operation_id="post",
        summary="One post of a vendor, in the vendor's own format",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {}},
                    "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
                },
            }
        },
        response_class=Response,
    )
    async def post(
        request: Request,
        vendor: Annotated[Vendor, Path(description="Which vendor's format it is.")],
        source: Annotated[
            str, Path(max_length=64, description="The id `lamplight ingest webhook add` printed.")
        ],
        key: Annotated[
            str | None, Query(max_length=200, description="The secret, for vendors that send no header.")
        ] = None,
    ) -> Response:
        return await _counted(vendor, meter, lambda: _take(door, request, vendor, source, key))

    @made.exception_handler(RequestValidationError)
    async def nowhere(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001
        """FastAPI would answer with what was sent."""
        return _answer(404, Not("there is no such address"))

    @made.get("/hooks/{vendor}/{source}", operation_id="here", summary="Whether the address is reachable")
    @made.head("/hooks/{vendor}/{source}", include_in_schema=False)
    async def here(vendor: Vendor, source: str) -> Response:  # noqa: ARG001 - whatever they are
        """Some vendors look before they subscribe. It says nothing about whether the source exists."""
        return Response(status_code=200, headers={"cache-control": "no-store"})

    return made


async def _counted(vendor: Vendor, meter: PostMeter, take: Callable[[], Awaitable[Kept]]) -> Response:
    try:
        kept = await take()
    except _Refused as no:
        meter.post(vendor.value, no.outcome)
        more = {"retry-after": str(COME_AGAIN_S)} if no.status == 503 else {}  # noqa: PLR2004
        return _answer(no.status, Not(no.detail), **more)
    meter.post(vendor.value, "kept" if kept.set_aside is None else "set-aside")
    return _answer(200, kept)


def _answer(status: int, body: msgspec.Struct, **headers: str) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store", **headers},
    )


async def _take(door: Door, request: Request, vendor: Vendor, source_id: str, key: str | None) -> Kept:
    """Read, know, keep: in this order, because a signature is over the body."""
    body = await _body(request)
    try:
        source = await door.source(source_id, vendor)
        if not authentic(source, headers=request.headers, key=key, body=body) or source is None:
            raise _Refused(401, "unauthorized", "no such source, or not its secret")
        no = await door.take(source, body)
    except Busy:
        raise _Refused(503, "unavailable", "not kept: post it again") from None
    return Kept(kept=True, set_aside=no.reason if no is not None else None)


async def _body(request: Request) -> bytes:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > LARGEST:
        raise _Refused(413, "too-large", f"at most {LARGEST} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST:
                    raise _Refused(413, "too-large", f"at most {LARGEST} bytes")
    except TimeoutError:
        raise _Refused(408, "too-slow", "the body did not come in time") from None
    return bytes(body)
