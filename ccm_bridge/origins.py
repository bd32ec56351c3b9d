"""Where a minute came from, beyond this room: the scores and readings behind an alert, as the chain's page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the scorer said about one reading."""

    score_id: UUID
    reading_id: UUID
    effective_at: datetime
    tier: str
    reasons: tuple[str, ...]  # sentences, with their numbers
    rules: tuple[str, ...]
    model_version: str
    rules_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One reading with its four times and the bytes it came from."""

    reading_id: UUID
    patient_id: UUID
    caused_by: UUID  # the gateway's message that carried it
    value: str  # "172/96 mm[Hg], pulse 78 /min"
    device_id: str
    gateway_id: str
    effective_at: datetime
    received_at: datetime
    device_time: str | None
    time_rule: str
    flags: tuple[str, ...]
    raw: bytes


class Origins(Protocol):
    """Port: scores and readings by id, as far as the transaction may see them. What is not there is left out."""

    async def scores(self, conn: Any, ids: Sequence[UUID]) -> Mapping[UUID, Score]: ...
    async def readings(self, conn: Any, ids: Sequence[UUID]) -> Mapping[UUID, Measured]: ...


def shown(raw: bytes) -> str:
    """Bytes as a person can check them: as they are if they are text, else in hexadecimal, sixteen a line.

    >>> shown(b'{"sys": 172}')
    '{"sys": 172}'
    >>> shown(bytes([0x1e, 0xac, 0x00]))
    '1e ac 00'
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\x00"
    if text.isprintable() or all(char.isprintable() or char in "\r\n\t" for char in text):
        return text
    return "\n".join(raw[at : at + 16].hex(" ") for at in range(0, len(raw), 16))
