"""Has the patient moved away from their own normal, and since when: one statistic for steps and ramps, up and down.

Method. The last 64 days are explained twice: by the patient's level and daily rhythm alone, and by the same plus a
change that began some days ago and rose for up to four weeks. Averaging the likelihood ratio over all those
beginnings and lengths (a Bayesian change-point mixture, whose largest term is the generalised likelihood ratio) gives
the evidence for a rise and for a fall. The absolute level plays no part.

The evidence is then put on a scale a practice can use: months between chance alerts. A drift score of 4 is reached by
an unchanged patient about once in four months; an alert budget of 0.25 per patient-month is therefore a threshold
of 4. The scale was derived offline on unchanged people's series (see `risk/training`).

Weak where it must be: says nothing before `SLOTS_TO_SPEAK` slots; a level shift of less than half the patient's own
spread is found late or never; a change older than the window is the new normal, by way of a slow anchor.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from risk.baseline import People, Robust
from risk.memory import Floats

AGES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 24, 28, 33, 38)
"""Days since the change began."""
RISES = (0, 7, 14, 28)
"""Days the change took to arrive; 0 is a step."""
AMPLITUDE = 1.4
"""Expected size of a change worth knowing, in the patient's own spreads."""
INFLATION = 2.0
"""Neighbouring slots are alike (lag-1 correlation about 0.3): the naive variance of a contrast is too small."""
SLOTS_TO_SPEAK = 8
ANCHOR_SHARE = 0.5
"""How far the level of days that left the window is believed: people wander."""
SHARES: dict[str, tuple[float, float]] = {
    "systolic": (0.75, 0.15),
    "diastolic": (0.05, 0.05),
    "pulse": (0.5, 0.5),
    "glucose": (0.5, 0.5),
}
"""How the alert budget is divided between rise and fall; pressure, pulse and glucose have a budget each."""
RHYTHM_TRUST = 4.0


@dataclass(frozen=True, slots=True)
class Shift:
    """What the window says about a change, per row."""

    rise: Floats  # log evidence
    fall: Floats
    level: Floats  # own level before any change, about the same centre as Robust.value
    rhythm: Floats  # what this slot of the day adds
    precision: Floats  # slots' worth of evidence for that level
    change: Floats  # expected size of the change by now
    age: Floats  # days since it most likely began


@cache
def _plans(slots: int, slots_a_day: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    back = np.arange(slots)[::-1] / slots_a_day + 0.5 / slots_a_day
    shapes, ages, now = [], [], []
    for age in AGES:
        for rise in RISES:
            if rise and age < min(rise, 4):
                continue
            shapes.append(np.clip((age - back) / rise, 0, 1) if rise else (back <= age).astype(float))
            ages.append(float(age))
            now.append(min(1.0, age / rise) if rise else 1.0)
    turn = np.arange(slots)[::-1] % slots_a_day  # 0 is the reading's own slot of the day
    rhythm = [np.ones(slots)] + [(turn == n) - 1.0 / slots_a_day for n in range(slots_a_day - 1)]
    return np.array(shapes).T, np.array(rhythm).T, np.array(ages), np.array(now), turn.astype(float)


def shift(robust: Robust, anchor: Floats, trust: Floats, slots_a_day: int, people: People) -> Shift:
    """Evidence for a rise and a fall, with the level before it.

    `anchor` is the level of days that left the window, about the same centre; `trust` its weight in slots.
    """
    slots = robust.value.shape[1]
    shapes, rhythm, ages, now, _ = _plans(slots, slots_a_day)
    many, parts = shapes.shape[1], rhythm.shape[1]
    weight, weighted = robust.weight, robust.weight * robust.value
    crossed = (rhythm[:, :, None] * shapes[:, None, :]).reshape(slots, parts * many)
    square = (rhythm[:, :, None] * rhythm[:, None, :]).reshape(slots, parts * parts)
    left = (weight @ square).reshape(-1, parts, parts)
    left[:, 0, 0] += trust + 1e-3
    for n in range(1, parts):
        left[:, n, n] += RHYTHM_TRUST
    right = weighted @ rhythm
    right[:, 0] += trust * anchor
    inverse = np.linalg.inv(left)
    calm = np.einsum("bij,bj->bi", inverse, right)  # level and rhythm if nothing changed
    mixed = (weight @ crossed).reshape(-1, parts, many)
    lifted = np.einsum("bij,bjk->bik", inverse, mixed)
    matched = weighted @ shapes - np.einsum("bik,bi->bk", mixed, calm)
    power = np.maximum(weight @ (shapes * shapes) - np.einsum("bik,bik->bk", mixed, lifted), 1e-9)
    variance = (robust.spread**2 * INFLATION)[:, None]
    expected = (AMPLITUDE * people.spread) ** 2
    sure = expected * power / (variance + expected * power)
    found = matched / power
    clear = matched / np.sqrt(power * variance)
    shared = 0.5 * clear * clear * sure + 0.5 * np.log1p(-sure) + np.log(2.0)
    tilt = clear * np.sqrt(sure)
    up, down = shared + _log_normal(tilt), shared + _log_normal(-tilt)
    rise, rise_share = _average(up)
    fall, fall_share = _average(down)
    # The level before the change: every possible change, and none, by how well it explains the window.
    heavy = np.exp(np.minimum(np.stack([rise, fall]), 50.0))
    chance = 0.5 * heavy / (1.0 + 0.5 * heavy.sum(axis=0))
    blame = rise_share * chance[0][:, None] + fall_share * chance[1][:, None]
    size = found * sure
    before = calm - np.einsum("bik,bk->bi", lifted, blame * size)
    most = np.argmax(np.where((rise > fall)[:, None], up, down), axis=1)
    return Shift(
        rise=rise,
        fall=fall,
        level=before[:, 0],
        rhythm=before[:, 1:] @ rhythm[-1, 1:],
        precision=np.reciprocal(inverse[:, 0, 0]).astype(np.float64),
        change=(blame * size * now).sum(axis=1),
        age=ages[most],
    )


def _average(evidence: Floats) -> tuple[Floats, Floats]:
    top = evidence.max(axis=1, keepdims=True)
    share = np.exp(evidence - top)
    whole = share.sum(axis=1, keepdims=True)
    return (top + np.log(whole / evidence.shape[1]))[:, 0], share / whole


def _log_normal(z: Floats) -> Floats:
    """Log of the normal distribution function, to a few thousandths (Page's logistic form, exact enough for odds).

    >>> round(float(_log_normal(np.array([0.0]))[0]), 3)
    -0.693
    """
    slope = 1.5957691216057308 * z + 0.07056 * z * z * z
    return -np.logaddexp(0.0, -slope)


@dataclass(frozen=True)
class Scale:
    """From evidence to months between chance alerts, by straight lines between measured points."""

    evidence: tuple[float, ...]
    log_months: tuple[float, ...]

    def months(self, evidence: Floats) -> Floats:
        xs, ys = np.array(self.evidence), np.array(self.log_months)
        inner = np.interp(evidence, xs, ys)
        low = ys[0] + (evidence - xs[0]) * (ys[1] - ys[0]) / (xs[1] - xs[0])
        high = ys[-1] + (evidence - xs[-1]) * (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
        log = np.where(evidence < xs[0], low, np.where(evidence > xs[-1], high, inner))
        months: Floats = np.exp(np.clip(log, -30.0, 30.0))
        return months


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(
        files("risk").joinpath("models/drift.json").read_text(encoding="utf-8")
    )
    return table


def version() -> str:
    """Which derivation of the scale is in force."""
    return str(_table()["version"])


@cache
def scale(quantity: str, direction: str) -> Scale:
    """The measured scale of one quantity and direction, as derived offline."""
    entry = _table()["scales"][quantity][direction]
    return Scale(tuple(entry["evidence"]), tuple(entry["log_months"]))


def combined(months: dict[str, tuple[Floats, Floats]]) -> Floats:
    """The drift score: months between chance alerts once the budget is divided by SHARES (pulse has its own)."""
    heard = [
        side * share
        for q, sides in months.items()
        if q != "pulse"
        for side, share in zip(sides, SHARES[q], strict=True)
    ]
    score: Floats = np.max(np.stack(heard), axis=0)
    return score


BUDGET_MOST = 4.0


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
