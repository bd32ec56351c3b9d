"""How likely is next week's average home pressure at or above the limit: a closed form, nothing trained.

Method. The half-days of the window, made safe as for the baseline, are weighed so that four days ago counts half; their
mean, shrunk towards the population, is what next week is expected to be. Its error has two parts: how well that level is
known, and how far a mean of as many half-days as were measured last week strays from it. Both are the patient's own
day-by-day spread over evidence, times `ALIKE`. Systolic and diastolic pressure are then asked together, because the
home threshold is crossed by either.

What the data can carry, and what not: who stays above is told well, who is about to cross hardly, and a change of the last
days is followed at half speed. So no chance is told without an own usual and a measured week, and none beyond 1 to 99 %.
"""

import math
from collections.abc import Sequence

import numpy as np

from risk import missing
from risk.baseline import PEOPLE, Robust
from risk.events import Evidence, Outlook
from risk.memory import PRESSURE, Floats, Shorts
from risk.rules import PLACE, Limits

VERSION = "outlook-1"
PAIR = ("systolic", "diastolic")
RULES = ("systolic-average", "diastolic-average")
"""The limits asked about: ESC, NICE and ISH home threshold 135/85, or what the practice or a clinician set."""
HALF_LIFE = 4.0
"""Days after which a half-day counts half: longer is better for unchanged people, shorter for changed ones. Chosen, like
ALIKE, on 200 streams of which half the people were changed, and judged on 200 others (docs/evaluation.md)."""
ALIKE = 2.1
"""Variance of a mean over that of independent half-days: neighbours are alike, and a level wanders."""
TOGETHER = 0.7
"""Correlation of systolic and diastolic changes inside one person (431 people over a year of trial visits: 0.70)."""
LEAST, MOST = 0.01, 0.99
LEVEL, BETWEEN = (np.array([getattr(PEOPLE[name], told) for name in PAIR]) for told in ("level", "between"))
FADING = 0.5 ** (np.arange(PRESSURE.slots)[::-1] / PRESSURE.slots_a_day / HALF_LIFE)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


def chances(robust: Robust, limits: Floats) -> Floats:
    """Chance that the mean of the next seven days is at or above the limit of either pressure, per row.

    `robust` holds the three quantities of each reading stacked, `limits` (rows or 1, LINES) in mm[Hg]. NaN where nothing
    was measured in the last seven days.
    """
    level, error = week_ahead(robust)
    beyond = (level - limits[:, [PLACE[rule] for rule in RULES]]) / error
    return np.clip(either(np.where(np.isnan(beyond), -np.inf, beyond)), LEAST, MOST)


def week_ahead(robust: Robust) -> tuple[Floats, Floats]:
    """Expected mean of the next seven days and its error, (rows, PAIR) in mm[Hg]; NaN for what was not measured."""
    weight, value = _pair(robust.weight), _pair(robust.value)
    faded = weight * FADING
    total = faded.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = total**2 / (faded**2).sum(axis=2)  # half-days' worth of evidence
        own = (faded * value).sum(axis=2) / total + _pair(robust.centre)
        wander = ALIKE * _pair(robust.spread) ** 2
        unsure = wander / known
        trusted = BETWEEN**2 / (BETWEEN**2 + unsure)
        measured = (weight[:, :, -7 * PRESSURE.slots_a_day :] > 0).sum(axis=2)  # next week as often as last
        return LEVEL + trusted * (own - LEVEL), np.sqrt(trusted * unsure + wander / measured)


def _pair(stacked: Floats | Shorts) -> Floats:
    """The pressures of each reading, the pulse left out: (rows, PAIR, ...)."""
    table = stacked.reshape(-1, len(PRESSURE.quantities), *stacked.shape[1:])
    return table[:, : len(PAIR)].astype(np.float64)


def either(beyond: Floats) -> Floats:
    """Chance that at least one of two normal values, correlated by TOGETHER, is above 0; `beyond` in errors, (rows, 2).

    Given what both share, the two are independent: their product is summed over the common part (Gauss-Hermite).

    >>> either(np.array([[0.0, -np.inf], [0.0, 0.0], [-9.0, -9.0]])).round(2).tolist()
    [0.5, 0.63, 0.0]
    """
    apart = (-np.clip(beyond, -9.0, 9.0)[:, :, None] - np.sqrt(TOGETHER) * NODES) / np.sqrt(1.0 - TOGETHER)
    neither = (below(apart).prod(axis=1) * WEIGHTS).sum(axis=1) / WEIGHTS.sum()
    chance: Floats = 1.0 - neither
    return chance


def below(z: Floats) -> Floats:
    """Normal distribution function, within 0.0002 (Page, Applied Statistics 1977; 26: 75).

    >>> below(np.array([-1.96, 0.0, 1.0])).round(3).tolist()
    [0.025, 0.5, 0.841]
    """
    z = np.clip(z, -9.0, 9.0)
    chance: Floats = 1.0 / (1.0 + np.exp(-(1.5976 * z + 0.070566 * z**3)))
    return chance


def outlook(chance: float, *, days: int, times: int, week: Sequence[float], limits: Limits) -> Outlook | None:
    """The chance in one sentence with what it rests on, or why it is not said; None where no such limit holds.

    `days` were measured in the window, `times` half-days in the last seven days; `week` are their means, systolic first.
    """
    held = {
        name: limits.of(rule)
        for name, rule in zip(PAIR, RULES, strict=True)
        if math.isfinite(limits.of(rule))
    }
    if not held:
        return None
    lacks = tuple(missing.days(days)) or tuple(missing.week(times))
    if lacks:
        said = "; ".join(lack.said for lack in lacks)
        return Outlook(reason=f"No chance is told of next week's home average: {said}.", evidence=lacks)
    told = {
        name: mean for name, mean in zip(PAIR, week, strict=False) if name in held and not math.isnan(mean)
    }
    own = "" if limits.moved.isdisjoint(RULES) else "your limit of "
    return Outlook(
        chance=chance,
        reason=f"{chance:.0%} likely that next week's home average is at or above {own}{_both(held)}; from {days} days "
        f"measured, last seven days' average {_both(told)}.",
        evidence=tuple(
            Evidence(
                quantity=name,
                value=round(mean, 1),
                unit="mm[Hg]",
                window="7 days",
                comparison="limit",
                against=held[name],
            )
            for name, mean in told.items()
        ),
    )


def _both(told: dict[str, float]) -> str:
    """A pressure as people write it.

    >>> _both({"systolic": 135.0, "diastolic": 85.0}), _both({"diastolic": 85.0})
    ('135/85', 'diastolic 85')
    """
    if len(told) == len(PAIR):
        return "/".join(f"{told[name]:.0f}" for name in PAIR)
    return ", ".join(f"{name} {value:.0f}" for name, value in told.items())
