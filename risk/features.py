"""What a glucose forecast looks at: one function from memory to named features, used in training and in service alike."""

import numpy as np

from risk.memory import Block, Floats, Ints, Past, Shape

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
    age = np.arange(shape.slots)[::-1] / shape.slots_a_day
    fortnight, month = 0.5 ** (age / 14.0), 0.5 ** (age / 30.0)
    many = past.count.astype(np.float64)
    low, very_low, low_risk = (tally.astype(np.float64) for tally in past.tallies)
    by_day = (len(at), -1, shape.slots_a_day)
    measured, lows = past.there.reshape(by_day).any(axis=2), (low > 0).reshape(by_day).any(axis=2)
    fading = fortnight[shape.slots_a_day - 1 :: shape.slots_a_day]
    known = many @ fortnight
    middle = np.where(past.there, past.mean.astype(np.float64) - MIDDLE, 0.0)
    mean = (middle * many) @ fortnight / (known + 1.0)
    swing = ((middle - mean[:, None]) ** 2 * past.there) @ fortnight / (past.there @ fortnight + 1.0)
    days = np.clip((past.there * (age + 1)).max(axis=1), 1.0, 14.0)
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


def _logit(hit: Floats, seen: Floats, prior: float, worth: float) -> Floats:
    """Log odds of a share, shrunk to a prior worth so many observations."""
    odds: Floats = (hit + prior * worth) / (seen - hit + (1.0 - prior) * worth)
    return np.log(odds)
