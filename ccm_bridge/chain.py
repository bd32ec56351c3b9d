"""Proof that a ledger was not changed: canonical bytes, hashes that point back, the verifier. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

Value: TypeAlias = "str | int | bool | bytes | date | datetime | UUID | Sequence[Value] | None"
Row: TypeAlias = Mapping[str, Value]


def canonical(row: Row) -> bytes:
    """One spelling of a row: JSON with sorted keys and no spaces, as RFC 8785 spells strings and integers.

    Instants are UTC with microseconds, bytes are hexadecimal. Fractions are refused: languages spell them
    differently.

    >>> canonical({"b": datetime(2026, 11, 3, tzinfo=UTC), "a": True})
    b'{"a":true,"b":"2026-11-03T00:00:00.000000Z"}'
    """
    spelled = {name: _spell(value) for name, value in row.items()}
    return json.dumps(
        spelled, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _spell(value: Value) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.hex()
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case list() | tuple():
            return [_spell(item) for item in value]
    raise TypeError(f"a ledger row cannot hold {type(value).__name__}")


def genesis(table: str, practice_id: int) -> bytes:
    """What the first row of a practice's chain points back to."""
    return hashlib.sha256(f"lamplight {table} of practice {practice_id}".encode()).digest()


LATER = frozenset({"episode_id"})
"""Columns that came when rows stood already: sealed where they say something, so that older rows keep their hash."""


def sealed(row: Row) -> bytes:
    """The bytes that a row's hash is of: everything in it, its place (`seq`, `prev_hash`) too, except `hash` itself.

    >>> sealed({"seq": 7, "episode_id": None, "hash": b""})
    b'{"seq":7}'
    """
    return canonical(
        {
            name: value
            for name, value in row.items()
            if name != "hash" and not (name in LATER and value is None)
        }
    )


def seal(row: Row) -> bytes:
    """The hash of a row."""
    return hashlib.sha256(sealed(row)).digest()


class Fault(StrEnum):
    """What a verifier can find wrong with one row of a chain."""

    ALTERED = "altered"  # the row no longer gives its own hash
    UNLINKED = "unlinked"  # it does not point back to the row before it
    MISSING = "missing"  # a number is missing before it
    REPEATED = "repeated"  # its number was there before
    CUT = "cut"  # the chain ends before, or elsewhere than, a signed anchor says


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault, where, in a sentence without health data."""

    table: str
    practice_id: int
    seq: int
    fault: Fault
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: what an anchor signs."""

    seq: int
    hash: bytes


def verify(table: str, practice_id: int, rows: Sequence[Row], *, anchor: Head | None = None) -> list[Finding]:
    """Every fault of one practice's chain, given its rows in the order of `seq`.

    1. Each row is hashed anew and compared with its own hash.
    2. Each row must carry the next number and point to the hash that the row before it carries. After a fault
       the walk goes on from what the row says: one altered row gives one place to look at, not a thousand.
    3. A chain that lost its tail is a good chain: only an anchor signed earlier can tell.
    """
    found: list[Finding] = []

    def note(seq: int, fault: Fault, sentence: str) -> None:
        found.append(Finding(table=table, practice_id=practice_id, seq=seq, fault=fault, sentence=sentence))

    expected, before = 1, genesis(table, practice_id)
    for row in rows:
        seq, prev, own = row["seq"], row["prev_hash"], row["hash"]
        if not (isinstance(seq, int) and isinstance(prev, bytes) and isinstance(own, bytes)):
            raise TypeError(f"a row of {table} has no seq, prev_hash and hash: it cannot be verified")
        if seq > expected:
            note(seq, Fault.MISSING, f"rows missing before number {seq}: {seq - expected}")
        elif seq < expected:
            note(seq, Fault.REPEATED, f"number {seq} comes after number {expected - 1}")
        if prev != before:
            note(seq, Fault.UNLINKED, f"number {seq} does not point back to the row before it")
        if seal(row) != own:
            note(seq, Fault.ALTERED, f"number {seq} is not what was written: its hash differs")
        if anchor is not None and seq == anchor.seq and own != anchor.hash:
            note(seq, Fault.CUT, f"number {seq} is not the row that was anchored: the chain was rebuilt")
        expected, before = seq + 1, own
    if anchor is not None and expected <= anchor.seq:
        note(
            expected - 1,
            Fault.CUT,
            f"the chain ends at number {expected - 1}, the anchor saw number {anchor.seq}",
        )
    return found
