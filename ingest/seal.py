"""Secrets of vendors and gateways, sealed before they are written down; the database never holds them in the clear."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

LEAST: Final = 20  # characters of a key: a password somebody thought up is not one


class Broken(Exception):
    """A sealed text cannot be opened with any key we were given: the key was changed or lost, or the row was altered."""


class Seal:
    """Authenticated encryption (AES-128-CBC with HMAC-SHA256, as Fernet defines it) under a key from the settings.

    Several keys may be given while one replaces another: the first seals, each opens.

    >>> old, new = Seal(["an old key, long enough"]), Seal(["the newest key, long enough", "an old key, long enough"])
    >>> new.open(old.close("hunter2"))
    'hunter2'
    >>> old.open(new.close("hunter2"))
    Traceback (most recent call last):
    ingest.seal.Broken: this was sealed with another key
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or any(len(key) < LEAST for key in keys):
            raise ValueError(f"a sealing key needs at least {LEAST} characters")
        made = (base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()) for key in keys)
        self._fernet = MultiFernet([Fernet(key) for key in made])

    def close(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise Broken("this was sealed with another key") from None
