"""Has the patient moved away from their own normal, and since when: one statistic for steps and ramps, up and down.

Method. Against the last 64 days a bank of possible changes is held: each began some days ago and came at once or over
two weeks. For each, least squares gives the size of the change and how clear it is (its z, corrected for neighbouring
readings being alike). A small fixed reading of all those z together, learnt offline on real and changed series, says
how much the whole pattern looks like a change that began lately rather than the wandering of an unchanged person.
The absolute level plays no part: only differences, in the person's and the population's spreads.

The evidence is put on a scale a practice can use: months between chance alerts. A drift score of 4 is reached by an
unchanged patient about once in four months; an alert budget of 0.25 per patient-month is therefore a threshold of 4.
Reading and scale come from `lamplight risk train drift`, stand in `models/drift.json` with their report card, and
are used only if the bank they were learnt on is the bank here.

Weak where it must be: says nothing before `SLOTS_TO_SPEAK` slots; a shift of less than half the patient's own spread
is found late or never; a change older than the window is the new normal, by way of a slow anchor.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from risk.baseline import People, Robust, by_day
from risk.memory import Floats

AGES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 24, 28, 33, 38, 44, 50)
"""Days since the change began."""
RISES = (0, 14)
"""Days the change took to arrive; 0 is a step. A ramp still under way looks the same however long it will take."""
RAMP_AGE_LEAST = 4
AMPLITUDE = 1.6
"""Expected size of a change worth knowing, in the population's spreads."""
SLOTS_TO_SPEAK = 8
ANCHOR_SHARE = 0.5
"""How far the level of days that left the window is believed: people wander."""
SIZE_AGES = (6, 14)
"""Days over which the bare size of a step is a feature beside its clearness."""
MOST = 8.0
"""A z beyond this says no more than this."""
SHARES: dict[str, tuple[float, float]] = {
    "systolic": (0.75, 0.15),
    "diastolic": (0.05, 0.05),
    "pulse": (0.5, 0.5),
    "glucose": (0.5, 0.5),
}
"""How the alert budget is divided between rise and fall; pressure, pulse and glucose have a budget each."""
BUDGET_MOST = 4.0
ROWS_AT_ONCE = 128
"""Rows whose hidden units fit the processor's nearer memory: more of them at once are slower."""
LOG_MONTHS_MOST = 30.0


class DriftRefused(ValueError):
    """A reading of the bank that was learnt on another bank, or was altered since."""


@dataclass(frozen=True, slots=True)
class Bank:
    """The possible changes, as shapes over the days of the window (oldest first, the last ends with the reading's slot)."""

    shapes: Floats  # (days, changes)
    squares: Floats
    ages: Floats  # days since it began
    now: Floats  # share of the change that has arrived
    sizes: tuple[int, ...]  # the steps whose bare size is a feature


@cache
def bank(days: int) -> Bank:
    """Every change of the bank, over a window of this many days."""
    back = np.arange(days)[::-1] + 0.5
    changes = [(age, rise) for age in AGES for rise in RISES if not rise or age >= RAMP_AGE_LEAST]
    shapes = np.array(
        [np.clip((age - back) / rise, 0, 1) if rise else (back <= age) * 1.0 for age, rise in changes]
    ).T
    return Bank(
        shapes=np.ascontiguousarray(shapes),
        squares=np.ascontiguousarray(shapes**2),
        ages=np.array([float(age) for age, _ in changes]),
        now=np.array([min(1.0, age / rise) if rise else 1.0 for age, rise in changes]),
        sizes=tuple(changes.index((age, 0)) for age in SIZE_AGES),
    )


@dataclass(frozen=True, slots=True)
class Held:
    """The window held against the bank: size and clearness of each possible change, per row."""

    size: Floats  # (rows, changes) least-squares size, in the quantity's unit
    clear: Floats  # (rows, changes) size over its error, neighbours taken as independent
    power: Floats  # slots' worth of evidence about each change
    mixing: Floats  # how much of a change the calm level would swallow
    calm: Floats  # (rows,) level if nothing changed, about the same centre as Robust.value
    precision: Floats  # slots' worth of evidence for that level


def hold(robust: Robust, anchor: Floats, trust: Floats, against: Bank) -> Held:
    """Least squares of level plus one change, for every change of the bank at once.

    A change moves all slots of a day alike, so the slots of a day are summed first. `anchor` is the level of days
    that left the window, about the same centre; `trust` its weight in slots.
    """
    slots_a_day = robust.weight.shape[1] // len(against.shapes)
    weight = by_day(robust.weight, slots_a_day)
    weighted = by_day(robust.weight * robust.value, slots_a_day)
    precision = weight.sum(axis=1) + trust + 1e-6
    calm = (weighted.sum(axis=1) + trust * anchor) / precision
    inside = weight @ against.shapes
    mixing = inside / precision[:, None]
    power = np.maximum(weight @ against.squares - mixing * inside, 1e-9)
    matched = weighted @ against.shapes - inside * calm[:, None]
    clear = matched / np.sqrt(power) / robust.spread[:, None]
    return Held(matched / power, clear, power, mixing, calm, precision)


def features(
    held: Held, robust: Robust, against: Bank, alike: Floats, people: People, *, most: float = MOST
) -> Floats:
    """What the reading of the bank sees of a rise; for a fall the first two parts change their sign.

    Clearness of every change, bare size of two, both in spreads; last, the patient's spread against the population's.
    """
    clear = held.clear / np.sqrt(alike)
    size = held.size[:, against.sizes] / np.reshape(people.spread, (-1, 1))
    seen = np.concatenate([clear, size, np.log(robust.spread / people.spread)[:, None]], axis=1)
    shape = seen[:, :-1]
    np.minimum(np.maximum(shape, -most, out=shape), most, out=shape)
    return seen


@dataclass(frozen=True, slots=True)
class Shift:
    """What the window says about a change, per row."""

    rise: Floats  # evidence, on the reading's own scale
    fall: Floats
    level: Floats  # own level before any change, about the same centre as Robust.value
    precision: Floats
    change: Floats  # expected size of the change by now
    age: Floats  # days since it most likely began


def plain(robust: Robust, slots_a_day: int, people: People) -> Floats:
    """Distance of the last seven days' mean from the usual, in the population's spreads: added where it is strong."""
    if not np.any(people.plain):
        return np.zeros(len(robust.centre))
    week = robust.weight[:, -7 * slots_a_day :].astype(np.float64)
    mean = (week * robust.value[:, -7 * slots_a_day :]).sum(axis=1) / np.maximum(week.sum(axis=1), 1e-9)
    distance: Floats = people.plain * mean / people.spread
    return distance


def shift(
    robust: Robust,
    anchor: Floats,
    trust: Floats,
    slots_a_day: int,
    people: People,
    reading: "Learnt",
    alike: Floats,
) -> Shift:
    """Evidence for a rise and a fall, with the level before it and the likeliest size and beginning."""
    against = bank(robust.value.shape[1] // slots_a_day)
    held = hold(robust, anchor, trust, against)
    seen = features(held, robust, against, alike, people)
    distance = plain(robust, slots_a_day, people)
    rise, fall = reading.both(seen)
    # Beginning and size, by Bayes over the bank: a change of usual size, against none.
    expected = np.reshape((AMPLITUDE * people.spread) ** 2, (-1, 1))
    error = robust.spread[:, None] ** 2 * alike / held.power
    sure = expected / (error + expected)
    evidence = 0.5 * held.clear**2 / alike * sure + 0.5 * np.log1p(-sure)
    top = evidence.max(axis=1, keepdims=True)
    odds = np.exp(evidence - top)
    whole = odds.sum(axis=1, keepdims=True)
    share = odds / whole
    mean = (top + np.log(whole / len(against.ages)))[:, 0]
    chance = 1.0 / (1.0 + np.exp(-mean))
    size = held.size * sure * share
    return Shift(
        rise=rise + distance,
        fall=fall - distance,
        level=held.calm - chance * (size * held.mixing).sum(axis=1),
        precision=held.precision,
        change=(size * against.now).sum(axis=1),
        age=against.ages[np.argmax(evidence, axis=1)],
    )


@dataclass(frozen=True)
class Learnt:
    """The fixed reading of the bank: one hidden layer of simple thresholds, the same for everybody."""

    version: str
    alike: dict[
        str, Floats
    ]  # per kind, variance of each change's z in unchanged people: above 1, as neighbours are alike
    hidden: Floats  # (features, units)
    offset: Floats
    out: Floats
    scales: dict[str, dict[str, "Scale"]]

    def both(self, seen: Floats) -> tuple[Floats, Floats]:
        """Evidence that the pattern is a recent rise, and that it is a recent fall.

        A fall is the same pattern upside down: all features but the last change their sign. So the large product is
        taken once, and the last feature's share is added to it and to its opposite.
        """
        rise, fall = np.empty(len(seen)), np.empty(len(seen))
        for start in range(0, len(seen), ROWS_AT_ONCE):
            some = seen[start : start + ROWS_AT_ONCE]
            shared = some[:, :-1] @ self.hidden[:-1]
            rest = some[:, -1:] * self.hidden[-1] + self.offset
            opposite = rest - shared
            np.maximum(opposite, 0.0, out=opposite)
            shared += rest
            np.maximum(shared, 0.0, out=shared)
            rise[start : start + ROWS_AT_ONCE] = shared @ self.out
            fall[start : start + ROWS_AT_ONCE] = opposite @ self.out
        return rise, fall


@dataclass(frozen=True, eq=False)
class Scale:
    """From evidence to months between chance alerts, by straight lines (of the logarithm) between measured points."""

    evidence: tuple[float, ...]
    log_months: tuple[float, ...]

    @cached_property
    def _line(self) -> tuple[Floats, Floats]:
        """The measured points, and where the outer lines end: at so many months that more of them say nothing."""
        xs, ys = list(self.evidence), list(self.log_months)
        first = xs[0] + (-LOG_MONTHS_MOST - ys[0]) * (xs[1] - xs[0]) / (ys[1] - ys[0])
        last = xs[-1] + (LOG_MONTHS_MOST - ys[-1]) * (xs[-1] - xs[-2]) / (ys[-1] - ys[-2])
        return np.array([first, *xs, last]), np.array([-LOG_MONTHS_MOST, *ys, LOG_MONTHS_MOST])

    def months(self, evidence: Floats) -> Floats:
        """Months between chance alerts; beyond the measured points the outer lines go on."""
        months: Floats = np.exp(np.interp(evidence, *self._line))
        return months


def checksum(content: dict[str, Any]) -> str:
    """Of everything but the checksum itself, spelled canonically."""
    told = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def understood(content: dict[str, Any]) -> Learnt:
    """A stored reading, if it was learnt on this bank and nobody altered it."""
    if content["checksum"] != checksum(content):
        raise DriftRefused(f"drift reading {content['version']} does not match its checksum")
    if content["bank"] != described():
        raise DriftRefused(f"drift reading {content['version']} was learnt on another bank of changes")
    one_each: dict[Any, Scale] = {}

    def scale(told: dict[str, list[float]]) -> Scale:
        points = tuple(told["evidence"]), tuple(told["log_months"])
        return one_each.setdefault(points, Scale(*points))

    return Learnt(
        version=content["version"],
        alike={kind: np.array(variance) for kind, variance in content["alike"].items()},
        hidden=np.array(content["hidden"]),
        offset=np.array(content["offset"]),
        out=np.array(content["out"]),
        scales={
            quantity: {side: scale(points) for side, points in sides.items()}
            for quantity, sides in content["scales"].items()
        },
    )


def described() -> dict[str, Any]:
    """The bank in words that can be stored beside what was learnt on it."""
    return {
        "over": "days",
        "ages": list(AGES),
        "rises": list(RISES),
        "ramp_age_least": RAMP_AGE_LEAST,
        "size_ages": list(SIZE_AGES),
    }


def stored() -> str:
    """The reading that ships with the product, as it was written."""
    return files("risk").joinpath("models/drift.json").read_text(encoding="utf-8")


@cache
def learnt() -> Learnt:
    """The reading that ships with the product."""
    return understood(json.loads(stored()))


def months(reading: Learnt, quantities: tuple[str, ...], rise: Floats, fall: Floats) -> Floats:
    """Drift scores (rows, quantities, rise and fall): months between chance alerts, by SHARES of the budget."""
    heard = np.empty((*rise.shape, 2))
    for side, (name, evidence) in enumerate((("rise", rise), ("fall", fall))):
        scales = [reading.scales[quantity][name] for quantity in quantities]
        if all(scale is scales[0] for scale in scales):  # the pressures share one
            heard[:, :, side] = scales[0].months(evidence)
        else:
            for column, scale in enumerate(scales):
                heard[:, column, side] = scale.months(evidence[:, column])
    heard *= _shares(quantities)
    return heard


@cache
def _shares(quantities: tuple[str, ...]) -> Floats:
    return np.array([SHARES[quantity] for quantity in quantities])


def combined(quantities: tuple[str, ...], heard: Floats) -> Floats:
    """The one drift score of each row: the loudest of its quantities but pulse, which has a budget of its own."""
    told = [column for column, quantity in enumerate(quantities) if quantity != "pulse"]
    score: Floats = heard[:, told].reshape(len(heard), -1).max(axis=1)
    return score


def threshold(budget: float) -> float:
    """The drift score at which to speak, for a budget of false alerts per patient-month.

    >>> threshold(0.25)
    4.0
    """
    if not 0 < budget <= BUDGET_MOST:
        raise ValueError(
            f"an alert budget of {budget:g} per patient-month; wanted above 0, at most {BUDGET_MOST:g}"
        )
    return 1.0 / budget


def card() -> dict[str, Any]:
    """The report card of the reading that ships."""
    told: dict[str, Any] = json.loads(stored())["report"]
    return told
