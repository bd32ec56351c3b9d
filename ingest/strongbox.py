"""The bytes of what was refused, sealed before they leave the process: they may be anybody's health data."""

import hashlib
import os
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LEAST: Final = 20  # characters of a key: a password somebody thought up is not one
NONCE: Final = 12  # bytes; random, so one key is good for four thousand million messages


class Strongbox:
    """AES-256-GCM under keys from the settings; each sealed text is bound to the id of what it belongs to.

    Several keys may be given while one replaces another: the first seals, each opens.

    >>> box, about = Strongbox(["a key of enough characters"]), UUID(int=1)
    >>> key_id, sealed = box.close(b"180/110", about)
    >>> box.open(key_id, sealed, about), b"180" in sealed
    (b'180/110', False)
    >>> box.open(key_id, sealed, UUID(int=2)) is None  # another row's bytes are not these
    True
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or any(len(key) < LEAST for key in keys):
            raise ValueError(f"a key that seals refused bytes needs at least {LEAST} characters")
        made = [hashlib.sha256(b"lamplight refused bytes\0" + key.encode()).digest() for key in keys]
        self._boxes = {hashlib.sha256(key).hexdigest()[:8]: AESGCM(key) for key in made}
        self._newest = next(iter(self._boxes))

    def close(self, raw: bytes, about: UUID) -> tuple[str, bytes]:
        """(id of the key, sealed bytes)."""
        nonce = os.urandom(NONCE)
        return self._newest, nonce + self._boxes[self._newest].encrypt(nonce, raw, about.bytes)

    def open(self, key_id: str, sealed: bytes, about: UUID) -> bytes | None:
        """The bytes as they came; None: the key is not among ours, or these are not the bytes that were sealed."""
        box = self._boxes.get(key_id)
        try:
            return box.decrypt(sealed[:NONCE], sealed[NONCE:], about.bytes) if box is not None else None
        except (InvalidTag, ValueError):
            return None
