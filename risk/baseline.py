"""The patient's own usual: level, spread and daily rhythm, robust to gross errors, shrunk to the population at first.

Weak where it must be: with fewer than `DAYS_TO_KNOW` days measured it leans on strangers and says `learning`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from risk.memory import Bools, Floats, Ints, Past, Shorts

VERSION = "usual-2"
"""How a usual is made: the second hears what a reading tells of meals."""
DAYS_TO_KNOW = 7
"""Distinct days before a band is the patient's own (home protocols ask for 4-7 days)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """What is known of a quantity before the patient has shown anything: the population's level and spreads.

    Systolic: trial visits (level) and day-by-day home spread 8.6 +- 3.1 mm[Hg] (Ohasama); `within` is the spread of
    readings of one sitting (three a minute apart: 4.65 mm[Hg], NHANES).
    """

    level: float | Floats  # one number, or one per row of a stack
    between: float | Floats  # spread of personal levels
    spread: float | Floats  # usual day-by-day spread of one person
    within: float | Floats  # spread inside one sitting
    rhythm: float | Floats  # spread of a slot of the day around the personal level
    trust: float | Floats  # how many differences `spread` is worth against the patient's own
    plain: float | Floats = (
        0.0  # weight of last week's plain distance from the usual in the evidence of a trend
    )


PEOPLE: dict[str, People] = {
    "systolic": People(level=134.0, between=18.0, spread=8.6, within=4.7, rhythm=4.0, trust=15.0),
    "diastolic": People(level=80.0, between=11.0, spread=5.8, within=3.5, rhythm=3.0, trust=15.0),
    "pulse": People(level=72.0, between=10.0, spread=6.0, within=3.0, rhythm=4.0, trust=15.0),
    # Of ln(mg/dL). Fingersticks cluster around meals, so a personal spread is poorly known and the plain mean is strong.
    "glucose": People(level=5.0, between=0.35, spread=0.38, within=0.1, rhythm=0.2, trust=80.0, plain=3.0),
}

GROSS = 2.5
"""Spreads beyond which a slot is pulled in: a cuff over a sleeve must not move the level."""
RECENT_SLOTS = 16
NOTHING = np.float32(np.nan)
PAIRS_TO_KNOW = 4


@dataclass(frozen=True, slots=True)
class Robust:
    """One quantity's window made safe: centred, gross errors pulled in, daily rhythm taken out."""

    centre: Floats  # (rows,)
    spread: Floats  # (rows,)
    value: Shorts  # (rows, slots) about the centre and the rhythm, 0 where missing
    weight: Shorts  # (rows, slots) 0 where missing
    rhythm: Floats  # (rows,) what the reading's own slot of the day adds to the level
    seen: Ints  # (rows,) slots measured


def settle(past: Past, people: People, slots_a_day: int) -> Robust:
    """Centre, spread, rhythm and pulled-in values of the window.

    The spread comes from differences between the same slot of neighbouring days, so that neither a drift nor the
    daily rhythm widens it; it starts at the population's and becomes the patient's own.
    """
    there = past.there
    shown = np.where(there, past.mean, NOTHING)
    seen = there.sum(axis=1)
    centre = _median(shown, seen)
    recently = there[:, -RECENT_SLOTS:].sum(axis=1)
    lately = np.where(recently > 0, _median(shown[:, -RECENT_SLOTS:], recently), centre)
    steps = np.abs(shown[:, slots_a_day:] - shown[:, :-slots_a_day])
    pairs = (there[:, slots_a_day:] & there[:, :-slots_a_day]).sum(axis=1)
    # The median |difference| of two normal values is 0.954 of their spread.
    own = np.where(pairs >= PAIRS_TO_KNOW, _median(steps, pairs) / 0.954, people.spread)
    trust = pairs * 0.5
    spread = np.sqrt((people.trust * people.spread**2 + trust * own**2) / (people.trust + trust))
    reach = GROSS * spread
    lowest, highest = np.minimum(centre, lately) - reach, np.maximum(centre, lately) + reach
    value = past.mean - _column(centre)
    np.maximum(value, _column(lowest - centre), out=value)
    np.minimum(value, _column(highest - centre), out=value)
    # Readings of one slot share the day's state: the second and third add less than the first.
    share = _column((people.within / people.spread) ** 2)
    weight = there.astype(np.float32)
    weight /= 1 - share + share / np.maximum(past.count, np.float32(1.0))
    value, rhythm = _without_rhythm(value, weight, people, slots_a_day)
    value *= there
    return Robust(centre, spread, value, weight, rhythm, seen)


def _column(rows: float | Floats) -> Shorts:
    return np.reshape(np.asarray(rows, np.float32), (-1, 1))


def _without_rhythm(value: Shorts, weight: Shorts, people: People, slots_a_day: int) -> tuple[Shorts, Floats]:
    """Take out what each slot of the day adds, shrunk to nothing while little is known; own slot last."""
    known, total = _by_turn(weight, slots_a_day), _by_turn(weight * value, slots_a_day)
    level = total.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1e-9)
    rhythm = total / np.maximum(known, 1e-9) - level
    rhythm *= known / (known + np.reshape((people.spread / people.rhythm) ** 2, (-1, 1)))
    for slot in range(slots_a_day):
        value[:, slot::slots_a_day] -= rhythm[:, slot : slot + 1].astype(np.float32)
    return value, rhythm[:, -1]


def _by_turn(slots: Shorts, slots_a_day: int) -> Floats:
    """Sums over all days for each slot of the day."""
    whole: Floats = slots.astype(np.float64) @ _turns(slots.shape[1], slots_a_day)
    return whole


@cache
def _turns(slots: int, slots_a_day: int) -> Floats:
    """Which slots (rows) are which slot of their day (columns)."""
    return np.tile(np.eye(slots_a_day), (slots // slots_a_day, 1))


def by_day(slots: Shorts, slots_a_day: int) -> Floats:
    """Sums over the slots of each day (strided slices: reducing a short last axis is many times slower)."""
    whole = slots[:, ::slots_a_day] + slots[:, 1::slots_a_day]
    for slot in range(2, slots_a_day):
        whole += slots[:, slot::slots_a_day]
    return whole.astype(np.float64)


def _median(values: Shorts, many: Ints) -> Floats:
    """The upper median of each row, NaNs left out; 0 for an empty row."""
    ranked = np.sort(values, axis=1)  # NaNs last
    middle = ranked[np.arange(len(values)), np.minimum(many // 2, values.shape[1] - 1)]
    return np.where(many > 0, middle.astype(np.float64), 0.0)


@dataclass(frozen=True, slots=True)
class Usual:
    """The personal band of one quantity at the reading's slot of the day."""

    level: Floats
    spread: Floats
    days: Ints
    learning: Bools


def usual(level: Floats, precision: Floats, spread: Floats, days: Ints, people: People) -> Usual:
    """Shrink the patient's level towards the population by how little is known of it.

    `precision` counts slots' worth of own evidence about the level.
    """
    own = precision / spread**2
    strangers = 1.0 / people.between**2
    mixed = (own * level + strangers * people.level) / (own + strangers)
    return Usual(mixed, spread, days, days < DAYS_TO_KNOW)
