"""The bytes of a Bluetooth characteristic, however a gateway wrapped them: raw, hex, base64."""

import binascii
import re
from base64 import b64decode

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
