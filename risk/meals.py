"""What a meal adds to this patient's glucose, and the window as it would be without it. Pure.

A glucose of 190 after supper says something else than 190 before it. Where the reading tells that it followed a meal,
its distance from the patient's other readings of the same part of the day and the same fortnight is what a meal adds;
with few such readings the population's answer is leant on. A reading that tells nothing is taken as it always was.
"""

from dataclasses import dataclass, replace

import numpy as np

from risk.memory import Floats, Ints, Past, Shape, Shorts

AFTER = "after_meal"
BEFORE = frozenset({"fasting", "before_meal"})
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
    """What a meal adds to each row's patient, the population's answer where nothing is known."""
    after, total = (past.tallies[shape.tallies.index(name)] for name in ("after_meal", "after_meal_total"))
    adds, days = np.full(len(after), ADDS), np.zeros(len(after), np.int64)
    told = np.nonzero(after.any(axis=1))[0]
    if not len(told):
        return Meals(adds, days, np.zeros_like(after))
    count, fed = past.count[told], after[told]
    rest = np.maximum(count - fed, 0)
    of_fed = total[told] / np.float32(shape.scale)
    of_rest = past.mean[told] * count - of_fed

    def stretches(slots: Shorts) -> Floats:
        """Sums over each stretch of days, the slots of the day apart."""
        parts = slots.astype(np.float64).reshape(len(slots), -1, STRETCH_DAYS, shape.slots_a_day)
        whole: Floats = parts.sum(axis=2)
        return whole

    many, others = stretches(fed), stretches(rest)
    pairs = many * others / np.maximum(many + others, 1.0)
    apart = stretches(of_fed) / np.maximum(many, 1.0) - stretches(of_rest) / np.maximum(others, 1.0)
    seen = (pairs * np.clip(apart, -ADDS_MOST, ADDS_MOST)).sum(axis=(1, 2))
    adds[told] = (seen + WORTH * ADDS) / (pairs.sum(axis=(1, 2)) + WORTH)
    days[told] = (fed > 0).reshape(len(told), -1, shape.slots_a_day).any(axis=2).sum(axis=1)
    share = np.zeros_like(after)
    share[told] = np.minimum(fed / np.maximum(count, np.float32(1.0)), np.float32(1.0))
    return Meals(adds, days, share)


def without(past: Past, meals: Meals) -> Past:
    """The windows as they would be if nobody had measured after a meal."""
    return replace(past, mean=past.mean - meals.adds.astype(np.float32)[:, None] * meals.share)


def when(context: str | None, days: int) -> str:
    """Which of the patient's readings one of this context is compared with, in words; none for all of them.

    >>> when("after_meal", 9), when("fasting", 9), when("fasting", 0), when("bedtime", 9)
    ('after meals', 'before meals', '', '')
    """
    if context == AFTER:
        return "after meals"
    return "before meals" if days and context in BEFORE else ""
