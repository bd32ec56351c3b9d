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
    """One reading with its four times and the bytes it came from. Pressures mm[Hg], pulse /min, glucose mg/dL."""

    reading_id: UUID
    patient_id: UUID
    caused_by: UUID  # the gateway's message that carried it
    systolic: float | None = None
    diastolic: float | None = None
    pulse: float | None = None
    glucose: float | None = None
    beyond: str | None = None
    device_id: str
    gateway_id: str
    effective_at: datetime
    received_at: datetime
    device_time: str | None
    time_rule: str
    flags: tuple[str, ...]
    raw: bytes

    @property
    def value(self) -> str:
        """The value with its units: 172/96 mm[Hg], pulse 78 /min."""
        parts = []
        if self.systolic is not None or self.diastolic is not None:
            high, low = (f"{x:g}" if x is not None else "?" for x in (self.systolic, self.diastolic))
            parts.append(f"{high}/{low} mm[Hg]")
        if self.pulse is not None:
            parts.append(f"pulse {self.pulse:g} /min")
        if self.glucose is not None:
            parts.append(f"{self.glucose:g} mg/dL")
        if self.beyond is not None:
            parts.append(f"{self.beyond}: beyond what the meter measures")
        return ", ".join(parts)


class Origins(Protocol):
    """Port: scores and readings, as far as the transaction may see them. What is not there is left out."""

    async def scores(self, conn: Any, patient_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, Score]: ...
    async def readings(self, conn: Any, ids: Sequence[UUID]) -> Mapping[UUID, Measured]: ...
    async def of_patient(
        self, conn: Any, patient_id: UUID, *, start: datetime, end: datetime
    ) -> Sequence[Measured]: ...


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
