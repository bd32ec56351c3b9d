"""What a glucose forecast looks at: one function from memory to named features, used in training and in service alike."""

from functools import cache

import numpy as np

from risk.memory import Block, Bools, Floats, Ints, Past, Shape

DAY = 86400
PRIOR_LOW, PRIOR_VERY_LOW, PRIOR_LOW_DAY = 0.11, 0.035, 0.3
"""Pooled shares of fingersticks below 70 and 54 mg/dL, and of measured days with one below 70."""

NAMES = (
    "low_rate_14d",  # logit of the share of readings <70, half-life 14 days, shrunk to the pooled share
    "very_low_rate_30d",  # the same for <54, half-life 30 days
    "low_days_14d",  # logit of the share of measured days with a reading <70, half-life 14 days, shrunk
    "low_risk_14d",  # log of Kovatchev's low blood glucose index, half-life 14 days
    "swing_14d",  # spread of ln(mg/dL)
    "tests_a_day",  # log of fingersticks a day over two weeks
    "lowest_24h",  # ln of the lowest reading of the last 24 hours, about ln 150
)
"""In the order of the columns; a forecast is loaded only if it was trained on exactly these."""
MIDDLE = float(np.log(150.0))


def glucose_features(block: Block, shape: Shape, *, at: Ints, past: Past) -> Floats:
    """Features of every row (rows, NAMES), from what was known up to its own reading."""
    age, fortnight, month, fading = _fading(shape)
    many, there = past.count.astype(np.float64), past.there
    low, very_low, low_risk = (tally.astype(np.float64) for tally in past.tallies[:3])
    measured, lows = _days(there, shape.slots_a_day), _days(low > 0, shape.slots_a_day)
    known = many @ fortnight
    middle = np.where(there, past.mean.astype(np.float64) - MIDDLE, 0.0)
    mean = (middle * many) @ fortnight / (known + 1.0)
    swing = ((middle - mean[:, None]) ** 2 * there) @ fortnight / (there @ fortnight + 1.0)
    since = np.where(there.any(axis=1), age[there.argmax(axis=1)] + 1, 0.0)  # days since the oldest slot
    days = np.minimum(np.maximum(since, 1.0), 14.0)
    gap = at[:, None] - block["recent_at"]
    near = (gap >= 0) & (gap < DAY) & (block["recent"][:, :, 0] > 0)
    lowest = np.where(near, block["recent"][:, :, 0] / 16.0, 1000.0).min(axis=1)
    return np.stack(
        [
            _logit(low @ fortnight, known, PRIOR_LOW, 9.0),
            _logit(very_low @ month, many @ month, PRIOR_VERY_LOW, 9.0),
            _logit(lows @ fading, measured @ fading, PRIOR_LOW_DAY, 4.0),
            np.log((low_risk / 32.0) @ fortnight / (known + 1.0) + 0.2),
            np.sqrt(swing),
            np.log((many[:, -14 * shape.slots_a_day :].sum(axis=1) + 1.0) / days),
            np.log(lowest) - MIDDLE,
        ],
        axis=1,
    )


@cache
def _fading(shape: Shape) -> tuple[Floats, Floats, Floats, Floats]:
    """Age of every slot in days, its weight by half-lives of 14 and 30 days, and that of every day by 14."""
    age = np.arange(shape.slots)[::-1] / shape.slots_a_day
    fortnight, month = 0.5 ** (age / 14.0), 0.5 ** (age / 30.0)
    return age, fortnight, month, fortnight[shape.slots_a_day - 1 :: shape.slots_a_day].copy()


def _days(slots: Bools, slots_a_day: int) -> Floats:
    """1 for every day with any such slot."""
    days = slots[:, ::slots_a_day].copy()
    for slot in range(1, slots_a_day):
        days |= slots[:, slot::slots_a_day]
    return days.astype(np.float64)


def _logit(hit: Floats, seen: Floats, prior: float, worth: float) -> Floats:
    """Log odds of a share, shrunk to a prior worth so many observations."""
    odds: Floats = (hit + prior * worth) / (seen - hit + (1.0 - prior) * worth)
    return np.log(odds)
