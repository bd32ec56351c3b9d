"""From numbers to something a nurse can agree with in five seconds: findings, each with one sentence and its evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from risk import missing
from risk.events import Concern, Evidence, Finding, Tier
from risk.memory import SITTING
from risk.missing import Lacks
from risk.rules import FALL_BELOW, FALL_FROM_USUAL, LINES, Basis, Limits, Line, Side

SITTINGS_LOOKED_AT = 6
SITTINGS_TO_CONFIRM = 3
SECOND_WITHIN = 24 * 3600
RANK = {tier: tier.rank for tier in Tier}
NUMBERS = ("none", "one", "two", "three", "four", "five", "six")
UNITS = {"systolic": "mm[Hg]", "diastolic": "mm[Hg]", "pulse": "/min", "glucose": "mg/dL"}
LABELS = {"mm[Hg]": "", "/min": "", "mg/dL": " mg/dL"}
REPEAT = {
    "systolic": "Repeat in 5 minutes.",
    "diastolic": "Repeat in 5 minutes.",
    "pulse": "Repeat in 5 minutes.",
    "glucose": "Repeat in 15 minutes.",
}
CLEARED_BY = {
    Basis.READING: "A repeat",
    Basis.TWICE: "A repeat",
    Basis.SITTING: "A sitting",
    Basis.WEEK: "A seven-day average",
}
WINDOWS = {
    Basis.READING: "this reading",
    Basis.TWICE: "24 hours",
    Basis.SITTING: "this sitting, 30 minutes",
    Basis.WEEK: "7 days",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """The patient's own usual of one quantity, in the unit a person reads."""

    level: float
    spread: float
    learning: bool
    when: str = ""  # of which readings, if not of all
    unit: str = ""  # as a sentence spells it

    def __str__(self) -> str:
        """In words.

        >>> str(Habit(level=128.2, spread=21.6, learning=False, when="before meals", unit=" mg/dL"))
        'usual before meals 128 ± 22 mg/dL'
        """
        usual = f"usual {self.when}" if self.when else "usual"
        return f"{usual} {self.level:.0f} ± {self.spread:.0f}{self.unit}" + (
            " (still learning)" if self.learning else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What the drift statistic says of one quantity: which way, how far, how long, how sure."""

    concern: Concern
    quantity: str
    rises: bool
    habit: Habit  # apart from meals
    change: float  # in the unit a person reads
    days: float
    now: float
    score: float  # months between chance alerts
    line: float  # the score at which the practice wants to hear it


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the sentences about one reading may need."""

    at: int
    held: dict[Basis, dict[str, float]]  # what is held against a line of this basis
    habits: dict[str, Habit]
    slot: str
    limits: Limits
    breached: tuple[Line, ...]
    recent: Sequence[tuple[int, dict[str, float]]]  # rising in time, this reading included
    trends: tuple[Trend, ...] = ()
    lacks: dict[str, Lacks] = field(default_factory=dict)
    beyond: str | None = None
    cautions: tuple[str, ...] = field(default=())  # device flags worth hearing with the number


def findings(facts: Facts) -> tuple[Finding, ...]:
    """The worst finding of each concern, the worst concern first."""
    worst: dict[Concern, Finding] = {}
    for finding in _all(facts):
        known = worst.get(finding.concern)
        if known is None or RANK[finding.tier] > RANK[known.tier]:
            worst[finding.concern] = finding
    return tuple(sorted(worst.values(), key=lambda f: -RANK[f.tier]))


def _all(facts: Facts) -> Iterator[Finding]:
    if facts.beyond is not None:
        yield _beyond(facts.beyond)
    for line in facts.breached:
        if line.basis is not Basis.TWICE or _twice(line, facts):
            yield _crossed(line, facts.held[line.basis][line.quantity], facts)
    yield from _fall(facts)
    for trend in facts.trends:
        yield _drifting(trend, facts)


def _beyond(beyond: str) -> Finding:
    low = beyond == "LO"
    return Finding(
        concern=Concern.LOW_GLUCOSE if low else Concern.HIGH_GLUCOSE,
        tier=Tier.CRITICAL,
        reason=f"The meter shows {beyond}: glucose {'below' if low else 'above'} what it can measure. {REPEAT['glucose']}",
        rule=f"glucose-{beyond.lower()}",
        clears="A repeat that shows a number inside the limits.",
    )


def _crossed(line: Line, value: float, facts: Facts) -> Finding:
    limit = facts.limits.of(line.rule)
    tier, parts = line.tier, [_what(line, value, facts)]
    fine = f"{'below' if line.side is Side.ABOVE else 'at or above'} {limit:.0f}{LABELS[line.unit]}."
    clears = f"{CLEARED_BY[line.basis]} {fine}"
    lacks = facts.lacks.get(line.quantity, Lacks())
    lacking = {Basis.SITTING: lacks.usual, Basis.TWICE: lacks.meal, Basis.WEEK: lacks.parts_of_day}.get(
        line.basis, ()
    )
    if line.confirm:
        over, seen = _raised(line, limit, facts)
        if over < SITTINGS_TO_CONFIRM:
            tier = Tier.WATCH
            lacking += tuple(missing.sittings(seen, SITTINGS_TO_CONFIRM))
        if seen > 1:
            parts.append(_of_last(over, seen, f"{line.side} {_whose(line, facts)} {limit:.0f}"))
    if line.basis is Basis.TWICE:
        parts.append("the second within 24 hours")
    habit = facts.habits.get(line.quantity)
    if habit is not None and line.basis is not Basis.WEEK:
        parts.insert(1, str(habit))
    step = ""
    if line.tier is Tier.CRITICAL or line.quantity == "glucose":
        step = f" {REPEAT[line.quantity]}"
    return Finding(
        concern=line.concern,
        tier=tier,
        reason=_sentence(parts, facts) + step,
        rule=line.rule,
        evidence=_evidence(line, value, limit, habit) + lacking * (tier is not Tier.CRITICAL),
        clears=clears,
    )


def _what(line: Line, value: float, facts: Facts) -> str:
    limit = facts.limits.of(line.rule)
    said = f"{value:.0f}{LABELS[line.unit]}"
    beyond = "at or above" if line.side is Side.ABOVE else "below"
    against = f"{beyond} {_whose(line, facts)} {limit:.0f}"
    if line.basis is Basis.WEEK:
        return f"Seven-day average {line.quantity} {said}, {against}"
    many = sum(
        1 for at, held in facts.recent if facts.at - SITTING < at <= facts.at and line.quantity in held
    )
    mean = f" (mean of {many})" if line.basis is Basis.SITTING and many > 1 else ""
    return f"{facts.slot.capitalize()} {line.quantity} {said}{mean}, {against}"


def _of_last(many: int, seen: int, what: str) -> str:
    return f"{NUMBERS[many]} of the last {NUMBERS[seen]} {what}"


def _whose(line: Line, facts: Facts) -> str:
    own = "your" if line.rule in facts.limits.moved else "the"
    return f"{own} emergency limit of" if line.tier is Tier.CRITICAL else f"{own} limit of"


def _sentence(parts: Sequence[str], facts: Facts) -> str:
    cautions = [f"the device reported {caution.replace('_', ' ')}" for caution in facts.cautions]
    return "; ".join([*parts, *cautions]) + "."


def _evidence(line: Line, value: float, limit: float, habit: Habit | None) -> tuple[Evidence, ...]:
    window = WINDOWS[line.basis]
    held = Evidence(
        quantity=line.quantity, value=value, unit=line.unit, window=window, comparison="limit", against=limit
    )
    if habit is None:
        return (held,)
    own = Evidence(
        quantity=line.quantity,
        value=value,
        unit=line.unit,
        window=window,
        comparison="own usual",
        against=round(habit.level, 1),
        spread=round(habit.spread, 1),
    )
    return (held, own)


def sittings(recent: Sequence[tuple[int, dict[str, float]]], quantity: str) -> list[float]:
    """Means of the last sittings of one quantity, oldest first; a sitting ends 30 minutes after it began.

    >>> sittings([(0, {"systolic": 150.0}), (60, {"systolic": 140.0}), (7200, {"systolic": 160.0})], "systolic")
    [145.0, 160.0]
    """
    groups: list[tuple[int, list[float]]] = []
    for at, held in recent:
        if quantity not in held:
            continue
        if not groups or at - groups[-1][0] >= SITTING:
            groups.append((at, []))
        groups[-1][1].append(held[quantity])
    return [sum(values) / len(values) for _, values in groups][-SITTINGS_LOOKED_AT:]


def _raised(line: Line, limit: float, facts: Facts) -> tuple[int, int]:
    means = sittings([r for r in facts.recent if r[0] <= facts.at], line.quantity)
    return sum(1 for mean in means if line.breached(mean, limit)), len(means)


def _twice(line: Line, facts: Facts) -> bool:
    limit = facts.limits.of(line.rule)
    earlier = (held for at, held in facts.recent if facts.at - SECOND_WITHIN <= at <= facts.at - SITTING)
    return any(line.quantity in held and line.breached(held[line.quantity], limit) for held in earlier)


def _fall(facts: Facts) -> Iterator[Finding]:
    value, habit = facts.held[Basis.SITTING].get("systolic"), facts.habits.get("systolic")
    if (
        value is None
        or habit is None
        or habit.learning
        or value >= FALL_BELOW
        or habit.level - value < FALL_FROM_USUAL
    ):
        return
    yield Finding(
        concern=Concern.LOW_PRESSURE,
        tier=Tier.WATCH,
        reason=_sentence(
            [
                f"{facts.slot.capitalize()} systolic {value:.0f}, {habit.level - value:.0f} below the own usual",
                str(habit),
            ],
            facts,
        ),
        rule="systolic-fall",
        evidence=(
            Evidence(
                quantity="systolic",
                value=value,
                unit="mm[Hg]",
                window="this sitting, 30 minutes",
                comparison="own usual",
                against=round(habit.level, 1),
                spread=round(habit.spread, 1),
            ),
        ),
        clears=f"A sitting at or above {FALL_BELOW:.0f}.",
    )


AT_GOAL = {"systolic": ("systolic-average", 110.0), "diastolic": ("diastolic-average", 60.0)}
"""A trend inside the goal is watched; towards harm it is worth a call the same day."""


def _drifting(trend: Trend, facts: Facts) -> Finding:
    habit, unit = trend.habit, UNITS[trend.quantity]
    lacks = facts.lacks.get(trend.quantity, Lacks())
    rises = trend.rises
    parts = [
        f"{trend.quantity.capitalize()} has {'risen' if rises else 'fallen'} by {abs(trend.change):.0f}",
        str(habit),
    ]
    means = sittings([r for r in facts.recent if r[0] <= facts.at], trend.quantity)
    line = next(
        (
            line
            for line in LINES
            if line.quantity == trend.quantity and line.confirm and (line.side is Side.ABOVE) == rises
        ),
        None,
    )
    over = sum(1 for mean in means if line.breached(mean, facts.limits.of(line.rule))) if line else 0
    if line is not None and over:
        limit = f"{line.side} {_whose(line, facts)} {facts.limits.of(line.rule):.0f}"
        parts.append(_of_last(over, len(means), limit))
    elif len(means) > 1:
        beyond = sum(1 for mean in means if (mean > habit.level) == rises)
        parts.append(_of_last(beyond, len(means), "above usual" if rises else "below usual"))
    parts[0] += f"{LABELS[unit]} over {_days(trend.days)}, to {trend.now:.0f}"
    return Finding(
        concern=trend.concern,
        tier=_trend_tier(trend, facts),
        reason=_sentence(parts, facts),
        rule=f"drift-{trend.quantity}-{'up' if rises else 'down'}",
        evidence=(
            Evidence(
                quantity=trend.quantity,
                value=round(trend.now, 1),
                unit=unit,
                window=_days(trend.days),
                comparison="own usual",
                against=round(habit.level, 1),
                spread=round(habit.spread, 1),
            ),
            Evidence(
                quantity="drift",
                value=round(trend.score, 2),
                unit="mo",
                window="64 days",
                comparison="months between chance alerts",
                against=round(trend.line, 2),
            ),
            *lacks.week,
            *lacks.parts_of_day,
        ),
        clears="Readings back inside the own usual for some days, or a clinician's word that this is the new normal.",
    )


def _trend_tier(trend: Trend, facts: Facts) -> Tier:
    goal = AT_GOAL.get(trend.quantity)
    if goal is None:
        return Tier.WATCH if trend.quantity == "pulse" else Tier.HIGH
    harmful = trend.now >= facts.limits.of(goal[0]) if trend.rises else trend.now < goal[1]
    return Tier.HIGH if harmful else Tier.WATCH


def _days(days: float) -> str:
    """A stretch of days in words.

    >>> _days(1.0), _days(12.4)
    ('1 day', '12 days')
    """
    return "1 day" if round(days) == 1 else f"{days:.0f} days"
