"""Foreign JSON read strictly: bounded size and depth, no duplicate key, no NaN, no number out of reach."""

import json
import math
from typing import Any

from ingest.devices.measurement import Reason, Refusal

LARGEST = 1 << 20  # bytes of one vendor answer; a page of readings is far below
DEEPEST = 64
LONGEST_NUMBER = 40  # characters; a float written in full has at most 25


class _Unacceptable(ValueError):
    """Raised inside the parser's callbacks and caught in `read`: it never leaves this module."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read(raw: bytes, *, largest: int = LARGEST) -> Any | Refusal:
    """The document as plain Python values, or the one reason it cannot be read.

    >>> read(b'{"a": 1, "a": 2}').reason
    <Reason.DUPLICATE_KEY: 'duplicate-key'>
    >>> read(b'[1e999]').reason, read(b'[NaN]').reason
    (<Reason.NUMBER_TOO_LARGE: 'number-too-large'>, <Reason.NOT_A_NUMBER: 'not-a-number'>)
    """
    try:
        return DECODER.decode(_text(raw, largest))
    except UnicodeDecodeError:
        return Refusal(reason=Reason.NOT_TEXT, detail="the message is not UTF-8 text")
    except _Unacceptable as no:
        return Refusal(reason=no.reason, detail=no.detail)
    except ValueError:
        return Refusal(reason=Reason.NOT_JSON, detail="the message is not JSON")


def _text(raw: bytes, largest: int) -> str:
    if not raw or raw.isspace():
        raise _Unacceptable(Reason.EMPTY, "the message is empty")
    if len(raw) > largest:
        raise _Unacceptable(Reason.TOO_LARGE, f"the message is longer than {largest} bytes")
    text = raw.decode("utf-8-sig")
    if text.count("{") + text.count("[") > DEEPEST and _depth(text) > DEEPEST:
        raise _Unacceptable(Reason.TOO_DEEP, f"the message nests deeper than {DEEPEST} levels")
    return text


def _depth(text: str) -> int:
    """How deep brackets nest outside strings; counted before parsing because the parser itself recurses."""
    depth = deepest = 0
    inside = escaped = False
    for letter in text:
        if inside:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                inside = False
        elif letter == '"':
            inside = True
        elif letter in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "}]":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unacceptable(Reason.DUPLICATE_KEY, "an object has the same key twice")
    return found


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise _Unacceptable(Reason.NUMBER_TOO_LARGE, "a whole number has too many digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise _Unacceptable(Reason.NUMBER_TOO_LARGE, "a number is out of reach or too long")
    return value


def _constant(_text: str) -> float:
    raise _Unacceptable(Reason.NOT_A_NUMBER, "NaN and Infinity are not JSON numbers")


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
)
