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
from functools import lru_cache

import numpy as np

from risk import missing
from risk.baseline import PEOPLE, Robust
from risk.events import Outlook
from risk.memory import PRESSURE, Floats, Shorts
from risk.rules import LINE, PLACE, Limits

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
FAR = 9.0
"""Errors beyond which nothing changes."""
PLACES = [PLACE[rule] for rule in RULES]
LEVEL, BETWEEN = (np.array([getattr(PEOPLE[name], told) for name in PAIR]) for told in ("level", "between"))
FADING = 0.5 ** (np.arange(28 * PRESSURE.slots_a_day)[::-1] / PRESSURE.slots_a_day / HALF_LIFE)
"""Weights of the half-days of four weeks; what is older would count less than a hundredth."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)


def chances(robust: Robust, limits: Floats) -> Floats:
    """Chance that the mean of the next seven days is at or above the limit of either pressure, per row.

    `robust` holds the three quantities of each reading stacked, `limits` (rows or 1, LINES) in mm[Hg]. What was not
    measured in the last seven days is not asked.
    """
    level, error = week_ahead(robust)
    beyond = (level - limits[:, PLACES]) / error
    return np.clip(either(np.where(np.isnan(beyond), -np.inf, beyond)), LEAST, MOST)


def week_ahead(robust: Robust) -> tuple[Floats, Floats]:
    """Expected mean of the next seven days and its error, (rows, PAIR) in mm[Hg]; NaN for what was not measured."""
    weight, value = (_pair(told[:, -len(FADING) :]) for told in (robust.weight, robust.value))
    faded = weight * FADING
    total = faded.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = (faded * value).sum(axis=2) / total + _pair(robust.centre)
        wander = ALIKE * _pair(robust.spread) ** 2
        unsure = wander * (faded * faded).sum(axis=2) / total**2  # over half-days' worth of evidence
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
    apart = (-np.clip(beyond, -FAR, FAR)[:, :, None] - np.sqrt(TOGETHER) * NODES) / np.sqrt(1.0 - TOGETHER)
    neither = (below(apart).prod(axis=1) * WEIGHTS).sum(axis=1) / WEIGHTS.sum()
    chance: Floats = 1.0 - neither
    return chance


def below(z: Floats) -> Floats:
    """Normal distribution function, within 0.0002 (Page, Applied Statistics 1977; 26: 75).

    >>> below(np.array([-1.96, 0.0, 1.0])).round(3).tolist()
    [0.025, 0.5, 0.841]
    """
    z = np.clip(z, -FAR, FAR)
    chance: Floats = 1.0 / (1.0 + np.exp(z * (-1.5976 - 0.070566 * z * z)))
    return chance


def outlook(chance: float, *, days: int, times: int, week: Sequence[float], limits: Limits) -> Outlook | None:
    """The chance with what it rests on, or what is missing for it; None where no limit of an average holds.

    `days` were measured in the window, `times` half-days in the last seven days; `week` are their means, systolic first.
    """
    limit = _holding(limits)
    if not limit:
        return None
    lacks = tuple(missing.days(days)) or tuple(missing.week(times))
    return Outlook(
        chance=None if lacks else chance,
        days=days,
        average={name: round(mean, 1) for name, mean in zip(PAIR, week, strict=False) if mean == mean},  # noqa: PLR0124 - NaN
        limit=limit,
        missing=lacks,
    )


@lru_cache(maxsize=1024)
def _holding(limits: Limits) -> dict[str, float]:
    """The limits of a seven-day average that are not switched off."""
    return {
        name: limits.of(rule)
        for name, rule in zip(PAIR, RULES, strict=True)
        if math.isfinite(limits.of(rule))
    }


def sentence(told: Outlook) -> str:
    """An outlook in one sentence.

    >>> both = {"systolic": 135.0, "diastolic": 85.0}
    >>> sentence(Outlook(chance=0.73, days=12, average={"systolic": 141.4, "diastolic": 86.0}, limit=both))
    "73% likely that next week's home average is at or above 135/85; from 12 days measured, last seven days' average 141/86."
    """
    if told.chance is None:
        return (
            f"No chance is told of next week's home average: {'; '.join(lack.said for lack in told.missing)}."
        )
    rules = dict(zip(PAIR, RULES, strict=True))
    moved = any(limit != LINE[rules[name]].default for name, limit in told.limit.items())
    own = "your limit of " if moved or len(told.limit) < len(PAIR) else ""
    return (
        f"{told.chance:.0%} likely that next week's home average is at or above {own}{_both(told.limit)}; "
        f"from {told.days} days measured, last seven days' average {_both(told.average)}."
    )


def _both(told: dict[str, float]) -> str:
    """A pressure as people write it.

    >>> _both({"systolic": 135.0, "diastolic": 85.0}), _both({"diastolic": 85.0})
    ('135/85', 'diastolic 85')
    """
    if len(told) == len(PAIR):
        return "/".join(f"{told[name]:.0f}" for name in PAIR)
    return ", ".join(f"{name} {value:.0f}" for name, value in told.items())
