"""The daily anchor: the heads of a practice's chains, signed, so that even who owns the database cannot rebuild them.

A chain that lost its tail, or was rebuilt from the first row on, verifies. Only a statement that was signed before and
kept elsewhere (printed, mailed, written once) can tell. Pure: keys and statements in, signatures and findings out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ccm_bridge.chain import Head


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    hash: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed: how far each chain of a practice reached at the end of a day."""

    practice: int
    day: date
    heads: dict[str, _Head]

    def head(self, table: str) -> Head | None:
        found = self.heads.get(table)
        return Head(seq=found.seq, hash=bytes.fromhex(found.hash)) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A statement's text, the signature over exactly that text, and whose key made it."""

    statement: str
    key_id: str
    signature: bytes


def state(practice: int, day: date, heads: Mapping[str, Head]) -> str:
    """The statement's one spelling: keys sorted, no spaces."""
    said = Statement(
        practice=practice,
        day=day,
        heads={table: _Head(seq=head.seq, hash=head.hash.hex()) for table, head in heads.items()},
    )
    return msgspec.json.encode(said, order="sorted").decode()


def sign(statement: str, key: Ed25519PrivateKey) -> Anchor:
    return Anchor(
        statement=statement, key_id=key_id(key.public_key()), signature=key.sign(statement.encode())
    )


def key_id(key: Ed25519PublicKey) -> str:
    """A short name for a key: the beginning of its SHA-256."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def read(anchor: Anchor, key: Ed25519PublicKey) -> Statement | None:
    """What an anchor says, if that key signed it; None if not, whatever it says."""
    try:
        key.verify(anchor.signature, anchor.statement.encode())
    except InvalidSignature:
        return None
    return msgspec.json.decode(anchor.statement, type=Statement)
