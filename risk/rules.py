"""Clinical limits as data: every line with its source, the practice's defaults, and one patient's overrides.

Decision support only: each number is a candidate that a programme's clinician signs off, and each can be moved
for a practice or a patient, with author, reason and validity.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from risk.events import Concern, Tier

VERSION = "limits-1"


class Side(StrEnum):
    ABOVE = "above"  # breached at the limit or beyond it
    BELOW = "below"  # breached under the limit; the limit itself is fine


class Basis(StrEnum):
    """What is held against the line: how a dangerous value differs from an untidy one."""

    READING = "reading"  # one reading counts at once
    SITTING = "sitting"  # the mean of the readings of 30 minutes
    TWICE = "twice"  # a second reading within 24 hours, more than a sitting apart
    WEEK = "week"  # the mean of seven days, at least six half-days measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One clinical limit: what is compared, from where on it matters, how much, and who says so."""

    rule: str
    concern: Concern
    quantity: str
    side: Side
    basis: Basis
    tier: Tier
    default: float
    unit: str
    source: str
    settings: tuple[float, float]  # what a clinician may set: beyond this it is a typing error
    confirm: bool = False  # one sitting is worth watching; three of the last six make it the tier

    def breached(self, value: float, limit: float) -> bool:
        """Is the value on the wrong side?

        >>> LINE["systolic-severe"].breached(180, 180), LINE["glucose-low"].breached(70, 70)
        (True, False)
        """
        return value >= limit if self.side is Side.ABOVE else value < limit


CONFIRMED = frozenset({"systolic-high", "diastolic-high", "pulse-fast", "pulse-low"})
"""Lines that one raised sitting does not cross for good: alerts after three raised readings were acted on (62 %)."""


def _line(
    rule: str,
    concern: Concern,
    basis: Basis,
    tier: Tier,
    default: float,
    settings: tuple[float, float],
    source: str,
) -> Line:
    quantity, _, word = rule.partition("-")
    return Line(
        rule=rule,
        concern=concern,
        quantity=quantity,
        side=Side.BELOW if "low" in word.split("-") else Side.ABOVE,
        basis=basis,
        tier=tier,
        default=default,
        unit={"glucose": "mg/dL", "pulse": "/min"}.get(quantity, "mm[Hg]"),
        source=source,
        settings=settings,
        confirm=rule in CONFIRMED,
    )


C, B, T = Concern, Basis, Tier

LINES: tuple[Line, ...] = (
    _line(
        "systolic-severe", C.HIGH_PRESSURE, B.READING, T.CRITICAL, 180, (150, 230),
        "AHA/ACC 2025 severe hypertension (>180); NHS severe band (>=180)",
    ),
    _line(
        "diastolic-severe", C.HIGH_PRESSURE, B.READING, T.CRITICAL, 120, (95, 150),
        "AHA/ACC 2025 severe hypertension (>120)",
    ),
    _line(
        "systolic-high", C.HIGH_PRESSURE, B.SITTING, T.HIGH, 160, (120, 200),
        "practice rule (160/105 asks for review); acted on after three raised readings (Lee, JAMA Netw Open 2022)",
    ),
    _line("diastolic-high", C.HIGH_PRESSURE, B.SITTING, T.HIGH, 105, (75, 130), "practice rule (160/105 asks for review)"),
    _line(
        "systolic-average", C.HIGH_PRESSURE, B.WEEK, T.WATCH, 135, (115, 180),
        "ESC, NICE and ISH home threshold 135/85 (AHA/ACC: 130/80)",
    ),
    _line("diastolic-average", C.HIGH_PRESSURE, B.WEEK, T.WATCH, 85, (65, 115), "ESC, NICE and ISH home threshold 135/85"),
    _line("systolic-very-low", C.LOW_PRESSURE, B.READING, T.CRITICAL, 80, (60, 110), "practice rule (<80/50 is urgent)"),
    _line("systolic-low", C.LOW_PRESSURE, B.SITTING, T.HIGH, 90, (70, 130), "NHS table: systolic <90 is low"),
    _line("diastolic-low", C.LOW_PRESSURE, B.SITTING, T.HIGH, 50, (35, 75), "practice rule (<80/50 is urgent)"),
    _line("pulse-very-fast", C.FAST_PULSE, B.READING, T.CRITICAL, 131, (100, 180), "NEWS2 highest band (>=131 /min)"),
    _line("pulse-fast", C.FAST_PULSE, B.SITTING, T.HIGH, 111, (85, 150), "NEWS2 band 111-130 /min; at rest, review"),
    _line("pulse-very-low", C.SLOW_PULSE, B.READING, T.CRITICAL, 41, (25, 60), "NEWS2 lowest band (<=40 /min)"),
    _line("pulse-low", C.SLOW_PULSE, B.SITTING, T.HIGH, 50, (35, 70), "common monitoring practice; NEWS2 band 41-50 /min"),
    _line(
        "glucose-very-low", C.LOW_GLUCOSE, B.READING, T.CRITICAL, 54, (40, 80),
        "ADA Standards of Care: level 2 hypoglycaemia <54 mg/dL",
    ),
    _line(
        "glucose-low", C.LOW_GLUCOSE, B.READING, T.HIGH, 70, (50, 110),
        "ADA Standards of Care: level 1 hypoglycaemia <70 mg/dL",
    ),
    _line(
        "glucose-very-high", C.HIGH_GLUCOSE, B.READING, T.HIGH, 300, (200, 600),
        "CDC: above 300 mg/dL; a single one asks for a repeat",
    ),
    _line(
        "glucose-persistently-high", C.HIGH_GLUCOSE, B.TWICE, T.CRITICAL, 300, (200, 600),
        "CDC: persistently above 300 mg/dL asks for a call or the emergency department",
    ),
    _line(
        "glucose-high", C.HIGH_GLUCOSE, B.TWICE, T.WATCH, 250, (150, 500),
        "consensus time-above-range level 2 (>250 mg/dL); ADA: ketones from 240",
    ),
)  # fmt: skip
LINE: dict[str, Line] = {line.rule: line for line in LINES}
PLACE: dict[str, int] = {line.rule: place for place, line in enumerate(LINES)}

FALL_FROM_USUAL = 20.0
"""mm[Hg] under the own usual that makes a systolic below 100 worth a look (review practice)."""
FALL_BELOW = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One limit moved for one patient (or a whole practice), by somebody, for a reason, for a while."""

    rule: str
    value: float | None  # None: the line is switched off
    author: str
    reason: str
    valid_from: datetime
    valid_to: datetime | None = None

    def holds_at(self, at: datetime) -> bool:
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)


class LimitRefused(ValueError):
    """A limit that cannot be set, with the sentence to show."""


@dataclass(frozen=True)
class Limits:
    """The limits one reading is held against, in the order of LINES; infinite where a line is off.

    >>> Limits().of("systolic-high")
    160.0
    """

    values: tuple[float, ...] = tuple(float(line.default) for line in LINES)

    def of(self, rule: str) -> float:
        return self.values[PLACE[rule]]

    @cached_property
    def moved(self) -> frozenset[str]:
        """The rules whose limit is not the published default: "your limit" in a sentence."""
        return frozenset(
            line.rule for line, value in zip(LINES, self.values, strict=True) if value != line.default
        )

    def with_(self, changes: Mapping[str, float | None]) -> "Limits":
        """These limits with some lines moved, or off where the change is None.

        >>> Limits().with_({"systolic-high": 150}).of("systolic-high")
        150.0
        """
        moved = list(self.values)
        for rule, value in changes.items():
            if rule not in LINE:
                raise LimitRefused(f"there is no limit called {rule}")
            line = LINE[rule]
            if value is None:
                moved[PLACE[rule]] = float("inf") if line.side is Side.ABOVE else float("-inf")
                continue
            lowest, highest = line.settings
            if not lowest <= value <= highest:
                raise LimitRefused(
                    f"{rule} can be set from {lowest:g} to {highest:g} {line.unit}, not to {value:g}"
                )
            moved[PLACE[rule]] = float(value)
        return Limits(tuple(moved))


DEFAULT = Limits()


def limits_at(overrides: Iterable[Override], at: datetime, *, defaults: Limits = DEFAULT) -> Limits:
    """The limits that held at an instant: practice defaults, then overrides, the later start winning."""
    holding = sorted((o for o in overrides if o.holds_at(at)), key=lambda o: o.valid_from)
    return defaults.with_({o.rule: o.value for o in holding}) if holding else defaults
