"""How likely is a low glucose in the next day and week: calibrated chances from what the fingersticks have shown.

What the data can carry, and what not: *who* is at risk is predictable, *when* hardly. Even a judge who knew each
person's true rate of lows would order the next days only a little better than this does (see the report card). So these
are stable risk tiers with honest probabilities, not a warning of the next low.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from risk.drift import checksum
from risk.features import NAMES, glucose_features
from risk.memory import GLUCOSE, Block, Floats, Ints, Past

LAYOUT = 1
READINGS_LEAST = 10
DAYS_LEAST = 3
"""With less behind it there is no opinion."""


class ForecastRefused(ValueError):
    """A stored forecast of other features, another layout, or altered since it was trained."""


@dataclass(frozen=True)
class Forecast:
    """Two logistic readings of the same features: a low within a day, and within a week."""

    version: str
    centre: Floats
    scale: Floats
    weights: Floats  # (features, 2)
    offset: Floats  # (2,)

    def chances(self, block: Block, slot: Ints, reset: Ints, at: Ints, past: Past) -> tuple[Floats, Floats]:
        """Chance of a glucose below 70 mg/dL within a day and within a week, per row; NaN where there is no opinion."""
        seen = glucose_features(block, GLUCOSE, at=at, past=past)
        log_odds = (seen - self.centre) / self.scale @ self.weights + self.offset
        chance = 1.0 / (1.0 + np.exp(-log_odds))
        since = slot - np.maximum(block["first"], reset)
        known = (past.count.sum(axis=1) >= READINGS_LEAST) & (since >= DAYS_LEAST * GLUCOSE.slots_a_day)
        chance[~known] = np.nan
        return chance[:, 0], np.maximum(chance[:, 0], chance[:, 1])  # a week holds the day


def understood(content: dict[str, Any]) -> Forecast:
    """A stored forecast, if it was trained on these features and nobody altered it."""
    version = content.get("version")
    if content.get("layout") != LAYOUT:
        raise ForecastRefused(f"forecast {version} has layout {content.get('layout')}; wanted {LAYOUT}")
    if content["checksum"] != checksum(content):
        raise ForecastRefused(f"forecast {version} does not match its checksum")
    if tuple(content["features"]) != NAMES:
        raise ForecastRefused(
            f"forecast {version} was trained on {content['features']}; wanted {list(NAMES)}"
        )
    return Forecast(
        version=content["version"],
        centre=np.array(content["centre"]),
        scale=np.array(content["scale"]),
        weights=np.array(content["weights"]),
        offset=np.array(content["offset"]),
    )


def stored() -> str:
    """The forecast that ships with the product, as it was written."""
    return files("risk").joinpath("models/glucose.json").read_text(encoding="utf-8")


@cache
def packaged() -> Forecast:
    """The forecast that ships with the product."""
    return understood(json.loads(stored()))
