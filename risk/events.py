"""What risk says: one score per reading, with its findings and the evidence the next room needs."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

SCORES = "scores.v1"


class Tier(StrEnum):
    """How much a finding matters. Order: routine < watch < high < critical (see `rank`)."""

    ROUTINE = "routine"
    WATCH = "watch"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Tier).index(self)


class Concern(StrEnum):
    """What may be wrong with a patient: at most one open episode each."""

    HIGH_PRESSURE = "high_pressure"
    LOW_PRESSURE = "low_pressure"
    PRESSURE_DRIFT_UP = "pressure_drift_up"
    PRESSURE_DRIFT_DOWN = "pressure_drift_down"
    FAST_PULSE = "fast_pulse"
    SLOW_PULSE = "slow_pulse"
    PULSE_DRIFT = "pulse_drift"
    LOW_GLUCOSE = "low_glucose"
    HIGH_GLUCOSE = "high_glucose"
    GLUCOSE_DRIFT = "glucose_drift"
    SCORE_INCOMPLETE = "score_incomplete"  # technical: a reading could not be scored


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One number behind a finding; never without unit, window and comparison."""

    quantity: str  # "systolic", "glucose", "drift" ...
    value: float
    unit: str  # UCUM: mm[Hg], /min, mg/dL, 1
    window: str  # "this reading", "12 days"
    comparison: str  # "limit", "own usual", "needed"
    against: float | None = None
    spread: float | None = None  # of the comparison, same unit
    said: str = ""  # of data that is missing: the same in a few plain words


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something worth saying about a reading: the concern, how much it matters, and why in one sentence."""

    concern: Concern
    tier: Tier
    reason: str
    rule: str  # rule id, with the source in risk/rules.py
    evidence: tuple[Evidence, ...] = ()
    clears: str = ""  # what would clear it


class Band(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The patient's own usual for one quantity at this reading's time of day."""

    quantity: str
    level: float
    low: float
    high: float
    when: str = ""  # "before meals", "after meals": which of the readings it is about; none for all of them
    days: int  # distinct days it rests on
    learning: bool = False  # not enough yet: shrunk towards the population


class Outlook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How likely next week's average home pressure is at or above the limit, and what that rests on.

    Every reading of a cuff carries one, so only its numbers travel; `risk.outlook.sentence` says it in words.
    """

    chance: float | None = None  # 0.01 to 0.99; None: something is missing
    days: int  # distinct days measured in the last 64
    average: dict[str, float]  # systolic, diastolic of the last seven days, mm[Hg], where enough was measured
    limit: dict[str, float]  # of a seven-day average, those that hold for this patient, mm[Hg]
    missing: tuple[Evidence, ...] = ()


class Scored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="scored"):
    """The score of one reading, with everything the next room needs to decide and to show."""

    event_id: UUID  # fact_id("scored", reading id, model_version, rules_version)
    caused_by: UUID  # the reading
    practice_id: int
    patient_id: UUID
    kind: str  # "bp" or "glucose"
    effective_at: datetime
    received_at: datetime
    time_confidence: str
    values: dict[str, float]  # systolic, diastolic, pulse, glucose as present
    beyond: str | None = None
    context: str | None = None
    flags: tuple[str, ...] = ()
    history: bool = False
    tier: Tier
    findings: tuple[Finding, ...] = ()
    assessed: tuple[
        Concern, ...
    ] = ()  # concerns this reading could speak about; those without a finding are calm
    bands: tuple[Band, ...] = ()
    drift_score: float | None = None
    p_low_24h: float | None = None
    p_low_7d: float | None = None
    outlook: Outlook | None = None  # of pressure, while a limit of the weekly average holds
    model_version: str
    rules_version: str


class Retracted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="retracted"):
    """A person took the reading behind a score back: what was said about it says nothing about the patient any more."""

    event_id: UUID  # fact_id("retracted", the reading)
    caused_by: UUID  # the withdrawal
    practice_id: int
    patient_id: UUID
    reading_id: UUID
    superseded_by: UUID | None = None
    reason: str  # the person's words: health data
    by: UUID | None = None
    by_name: str
    at: datetime


Said = Scored | Retracted
"""What `scores.v1` carries."""
