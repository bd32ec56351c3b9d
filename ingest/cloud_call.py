"""One call to a vendor's cloud over HTTPS: whatever goes wrong there is an answer, never an exception."""

import asyncio
import http.client
import urllib.error
import urllib.request
from typing import Any, Final, NamedTuple

import msgspec

PATIENCE_S: Final = 20  # for the whole answer, however slowly it drips
LARGEST: Final = 16 << 20  # of an answer; its records are kept one by one
OK: Final = 200


class Told(NamedTuple):
    """What came back; `code` 0: nothing."""

    code: int
    fields: dict[str, msgspec.Raw]  # each as the vendor wrote it; empty where the answer is no object


async def call(asked: str | urllib.request.Request) -> Told:
    """The vendor's answer, an HTTP error's body included: some say there that a token is over."""

    def ask() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310 - our own constants
                return OK, answer.read(LARGEST)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read(LARGEST)

    try:
        async with asyncio.timeout(PATIENCE_S):
            code, body = await asyncio.to_thread(ask)
    except (
        OSError,
        ValueError,
        http.client.HTTPException,
    ):  # a broken line, no address, a lost rest or no HTTP
        return Told(0, {})
    return Told(code, fields(body))


def fields(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The object's fields as written; none where it is no object.

    >>> {name: bytes(raw) for name, raw in fields(b'{"BP": [1.50], "n": 1}').items()}, fields(b"[1]"), fields(b"<html>")
    ({'BP': b'[1.50]', 'n': b'1'}, {}, {})
    """
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def value(said: dict[str, msgspec.Raw], name: str) -> Any:
    """One field's value; None where it is not there."""
    return msgspec.json.decode(said[name]) if name in said else None


def records(said: dict[str, msgspec.Raw], name: str, beside: str) -> list[dict[str, Any]] | None:
    """Each record of the list `name` alone, as the vendor wrote it, with the field that says what all of them mean.

    A record has some hundred bytes, a page of them more than a message may have. None: there is no such list.

    >>> [msgspec.json.encode(one) for one in records(fields(b'{"L": [{"a": 1.0}, {"a": 2}], "U": 0, "N": 9}'), "L", "U")]
    [b'{"L":[{"a": 1.0}],"U":0}', b'{"L":[{"a": 2}],"U":0}']
    """
    try:
        listed = msgspec.json.decode(said.get(name, b"null"), type=list[msgspec.Raw])
    except msgspec.MsgspecError:
        return None
    shared = {beside: said[beside]} if beside in said else {}
    return [{name: [one], **shared} for one in listed]
