"""What ingest says: readings about patients, and refusals with their reason. The only ingest module risk may import."""

from datetime import datetime
from enum import StrEnum
from hashlib import sha1
from uuid import UUID

import msgspec

READINGS = "readings.v1"
REFUSED = "refused.v1"
FACTS = UUID("6f1d0c5e-52f4-5b1c-9c36-1a4c6a4c9d10")
"""Namespace of every event id: the same fact has the same id, from whichever gateway and however often."""


class Kind(StrEnum):
    BLOOD_PRESSURE = "bp"
    GLUCOSE = "glucose"


class TimeConfidence(StrEnum):
    HIGH = "high"  # device clock checked against gateway and receipt
    LOW = "low"  # a rule had to choose
    SUSPECT = "suspect"  # stored and shown, never scored as current


class Beyond(StrEnum):
    """A meter's reading outside its range: an emergency without a number."""

    HI = "HI"
    LO = "LO"


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="reading"):
    """One measurement of one patient, at a derived instant, with the bytes it came from.

    Pressures are mm[Hg], pulse is /min, glucose is mg/dL; all instants are aware UTC.
    Trends use `effective_at`; freshness uses `received_at`.
    """

    event_id: UUID
    caused_by: UUID  # the gateway's outbox row (or message hash) that carried it
    practice_id: int
    patient_id: UUID
    device_id: str
    gateway_id: str
    kind: Kind
    effective_at: datetime
    received_at: datetime
    gateway_time: datetime | None = None
    device_time: str | None = None  # as the device wrote it, zone or none
    time_rule: str
    time_confidence: TimeConfidence
    utc_offset_minutes: int | None = None  # the patient's local time then, for daily rhythm
    systolic: float | None = None
    diastolic: float | None = None
    map: float | None = None
    pulse: float | None = None
    glucose: float | None = None
    beyond: Beyond | None = None
    context: str | None = None  # fasting, before_meal, after_meal, bedtime, overnight, unspecified
    flags: tuple[str, ...] = ()  # movement, cuff_loose, irregular_pulse, echo, playback ...
    history: bool = False  # recorded before watching began: builds the baseline, pages nobody
    released_at: datetime | None = None  # set aside or corrected: when a person let it through
    supersedes: UUID | None = None  # the reading that this one corrects
    raw: bytes

    @property
    def known_at(self) -> datetime:
        """When anybody could first act on it: what was set aside for days is no news from days ago."""
        return self.received_at if self.released_at is None else self.released_at


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="withdrawn"):
    """A person took a reading back: a new fact beside it. Whoever learnt from the reading unlearns it.

    The reading comes along as it was said, so that nobody must have kept it. What it is replaced by, if anything,
    is a reading of its own that `supersedes` it and follows this.
    """

    event_id: UUID  # fact_id("withdrawn", the reading): once, however often it is said
    caused_by: UUID  # what the person did
    practice_id: int
    patient_id: UUID  # whose the reading was said to be
    reading: Reading
    superseded_by: UUID | None = None
    reason: str
    by: UUID | None = None  # None: from the command line
    by_name: str
    at: datetime


Told = Reading | Withdrawn
"""What `readings.v1` carries."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="refused"):
    """A message that could not become a reading: nothing is lost, everything has a reason."""

    event_id: UUID
    caused_by: UUID | None = None
    practice_id: int | None = None
    gateway_id: str
    device_id: str | None = None
    hop: str  # decode, identity, quality ...
    reason: str  # closed set of codes, e.g. "unknown-device"
    detail: str  # one sentence for a person, without the value
    received_at: datetime
    place: str | None = None  # the topic below the gateway's name: "readings", "readings/ava4"
    part: int = 0  # which of the things its payload says
    clock_error_s: float | None = None  # our clock minus the gateway's, as known at receipt
    key_id: str | None = None  # `raw` is sealed under this key (`ingest/strongbox.py`); None: as it came
    raw: bytes


def fact_id(*parts: object) -> UUID:
    r"""The id of a fact named by its parts: their uuid5, spelled out because every hop of a reading makes some.

    >>> from uuid import uuid5
    >>> fact_id("cuff-7", 41) == uuid5(FACTS, "cuff-7\x1f41")
    True
    """
    name = FACTS.bytes + "\x1f".join(map(str, parts)).encode()
    return UUID(bytes=sha1(name, usedforsecurity=False).digest()[:16], version=5)
