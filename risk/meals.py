"""What a meal adds to this patient's glucose, and the window as it would be without it. Pure.

A glucose of 190 after supper says something else than 190 before it. Where the reading tells that it followed a meal,
its distance from the patient's other readings of the same part of the day and the same fortnight is what a meal adds;
with few such readings the population's answer is leant on. A reading that tells nothing is taken as it always was.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from risk.baseline import by_day
from risk.memory import Floats, Ints, Past, Shape, Shorts

AFTER = "after_meal"
BEFORE = frozenset({"fasting", "before_meal"})
AFTER_MEALS, BEFORE_MEALS = "after meals", "before meals"
ADDS = 0.16
"""Of ln(mg/dL): 139 before and 164 an hour and a half after a meal, 152 and 176 at a higher HbA1c (470 people, ADAG study;
Wei, Diabetes Care 2014;37:1048)."""
ADDS_BETWEEN = 0.2
"""Spread of that between people: what is left of six people's own differences (AIM '94) when their chance is taken off."""
WORTH = (0.45 / ADDS_BETWEEN) ** 2
"""How many pairs of readings the population's answer is worth; 0.45 is the spread of one person's readings."""
ADDS_MOST = 1.0
"""A meal that nearly trebles a glucose: what one stretch may say at most."""
STRETCH_DAYS = 16
"""Days within which readings are compared: a drift over months must not pass for a meal."""


@dataclass(frozen=True, slots=True)
class Meals:
    """What the windows tell about meals, per row."""

    adds: Floats  # (rows,) of ln(mg/dL)
    days: Ints  # days with a reading that followed a meal
    share: Shorts  # (rows, slots) of a slot's readings


def heard(past: Past, shape: Shape) -> Meals:
    """What a meal adds to each row's patient, the population's answer where nothing is known.

    Readings are compared with others of the same slot of the day and the same stretch of days.
    """
    after, total = (past.tallies[shape.tallies.index(name)] for name in ("after_meal", "after_meal_total"))
    adds, days, share = np.full(len(after), ADDS), np.zeros(len(after), np.int64), np.zeros_like(after)
    told = np.nonzero(after.any(axis=1))[0]
    if len(told):
        count, fed = past.count[told], after[told]
        of_fed = total[told] / np.float32(shape.scale)
        slots = np.concatenate([fed, np.maximum(count - fed, 0), of_fed, past.mean[told] * count - of_fed])
        sums = slots.astype(np.float64) @ _stretches(shape.slots, shape.slots_a_day)
        many, others, of_many, of_others = sums.reshape(4, len(told), -1)
        pairs = many * others / np.maximum(many + others, 1.0)
        apart = of_many / np.maximum(many, 1.0) - of_others / np.maximum(others, 1.0)
        seen = (pairs * np.clip(apart, -ADDS_MOST, ADDS_MOST)).sum(axis=1)
        adds[told] = (seen + WORTH * ADDS) / (pairs.sum(axis=1) + WORTH)
        days[told] = (by_day(fed, shape.slots_a_day) > 0).sum(axis=1)
        share[told] = np.minimum(fed / np.maximum(count, np.float32(1.0)), np.float32(1.0))
    return Meals(adds, days, share)


@cache
def _stretches(slots: int, slots_a_day: int) -> Floats:
    """Which slots (rows) are which slot of the day in which stretch (columns)."""
    one = np.tile(np.eye(slots_a_day), (STRETCH_DAYS, 1))
    which: Floats = np.kron(np.eye(slots // len(one)), one).astype(np.float64)
    return which


def without(past: Past, meals: Meals) -> Past:
    """The windows as they would be if nobody had measured after a meal."""
    return replace(past, mean=past.mean - meals.adds.astype(np.float32)[:, None] * meals.share)


def when(context: str | None, days: int) -> str:
    """Which of the patient's readings one of this context is compared with, in words; none for all of them.

    >>> when("after_meal", 9), when("fasting", 9), when("fasting", 0), when("bedtime", 9)
    ('after meals', 'before meals', '', '')
    """
    if context == AFTER:
        return AFTER_MEALS
    return BEFORE_MEALS if days and context in BEFORE else ""
