"""The bytes of a Bluetooth characteristic, however a gateway wrapped them: raw, hex, base64."""

import binascii
import re
from base64 import b64decode

from ingest.devices import document

HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
HEX_NOISE = re.compile(r"0[xX]|\\x|[\s:,;\-\[\](){}<>]")


def from_hex(text: str) -> bytes | None:
    r"""Bytes from hex in the spellings people paste, or None.

    >>> from_hex("16 7C 00"), from_hex("0x16,0x7c,0x00"), from_hex("167c00"), from_hex("xyz")
    (b'\x16|\x00', b'\x16|\x00', b'\x16|\x00', None)
    """
    bare = HEX_NOISE.sub("", text)
    return bytes.fromhex(bare) if HEX.fullmatch(bare) else None


def from_base64(text: str) -> bytes | None:
    r"""Bytes from standard or URL-safe base64, padded or not, or None.

    >>> from_base64("Fnw="), from_base64("Fnw"), from_base64("F n w ="), from_base64("?")
    (b'\x16|', b'\x16|', b'\x16|', None)
    """
    bare = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    if not bare:
        return None
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def from_text(text: str) -> bytes | None:
    """Hex if it can be hex, else base64: a frame in hex is far likelier than base64 of hex digits alone."""
    return from_hex(text) or from_base64(text)


LONGEST = 64 * 1024
NAMES = ("frame", "hex", "base64", "payload", "data", "value", "raw", "bytes")
CONTEXT_NAMES = ("context_frame", "context", "context_hex")


def unwrapped(content: bytes) -> tuple[bytes, ...]:
    r"""A frame, and its context if one is beside it, out of whatever an integrator saved in a file.

    Raw bytes stay as they are. Text is hex or base64, one frame on each line; JSON is a frame under one of
    the usual names, or a list of numbers.

    >>> unwrapped(b"16 7C 00\n"), unwrapped(b'{"frame": "FnwA"}'), unwrapped(b"[22, 124, 0]"), unwrapped(b"\x16|\x00")
    ((b'\x16|\x00',), (b'\x16|\x00',), (b'\x16|\x00',), (b'\x16|\x00',))
    """
    if len(content) > LONGEST:
        return (content,)
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return (content,)
    if text[:1] in {"{", "["}:
        found = _from_json(content)
        return found or (content,)
    lines = [from_text(line) for line in text.splitlines() if line.strip()]
    frames = tuple(line for line in lines if line is not None)
    return frames if frames and len(frames) == len(lines) else (content,)


def _from_json(content: bytes) -> tuple[bytes, ...]:
    said = document.read(content)
    if isinstance(said, list):
        found = _from_value(said)
        return (found,) if found is not None else ()
    if not isinstance(said, dict):
        return ()
    frame = next((found for name in NAMES if (found := _from_value(said.get(name))) is not None), None)
    context = next(
        (found for name in CONTEXT_NAMES if (found := _from_value(said.get(name))) is not None), None
    )
    if frame is None:
        return ()
    return (frame,) if context is None else (frame, context)


def _from_value(value: object) -> bytes | None:
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, list) and value and all(type(one) is int and 0 <= one < 256 for one in value):  # noqa: PLR2004
        return bytes(value)
    return None
