"""A batch of readings as arrays: put into memory, and everything numeric that can be said about each of them.

Rows are readings, columns the quantities of their kind. The quantities go through baseline and drift stacked on top
of each other, so that a batch of one costs one pass and a batch of five hundred costs one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache, lru_cache, partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ingest.events import Beyond, Reading, TimeConfidence
from risk import baseline, drift, meals
from risk.baseline import PEOPLE, People, Usual
from risk.meals import Meals
from risk.memory import (
    GLUCOSE,
    SITTING,
    Block,
    Bools,
    Floats,
    Ints,
    Past,
    Shape,
    learn,
    look_back,
    seconds,
)
from risk.rules import DEFAULT, LINES, Basis, Limits, Side
from risk.unlearning import unlearn

NEVER_SCORED = frozenset({"echo", "control_solution"})
"""Not a measurement of the patient at that time: shown, never judged and never learnt."""
SETTLED_DAYS = 14
"""Days between the first slot and the first trend: a trend against a week of acquaintance is a guess."""
DRIFT_EASES_AT = 0.5
"""Share of the threshold under which a trend counts as calm; between, it is neither found nor calm."""
WEEK_LEAST = 6
"""Half-days measured that make a seven-day average, as home protocols ask for twelve readings."""
NO_RESET = -(2**31)
BEYOND = {Beyond.LO: 19.0, Beyond.HI: 601.0}
"""What a meter's LO and HI are remembered as: just outside the range of 20-600 mg/dL."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What people decided about one patient: limits, alert budget, and since when the baseline counts."""

    limits: Limits = DEFAULT
    budget: float = 0.25  # false trend alerts per patient-month
    baseline_from: datetime | None = None  # a clinician said: a new normal starts here


NO_PLAN = Plan()
N = TypeVar("N", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of one kind, each of another patient, as arrays."""

    shape: Shape
    at: Ints
    slot: Ints
    reset: Ints
    values: Floats  # (rows, quantities), NaN where missing
    heard: Bools  # judged and learnt
    after_meal: Bools  # told to be so
    late: Bools
    limits: Floats  # (rows, LINES), or (1, LINES): the same for everybody
    line: Floats  # drift score at which to speak


def take_in(block: Block, shape: Shape, readings: Sequence[Reading], plans: Sequence[Plan]) -> Batch:
    """Put every reading that counts into its memory, changing the block, and keep the batch as arrays."""
    at = np.array([seconds(reading.effective_at) for reading in readings], np.int64)
    offsets = np.array([reading.utc_offset_minutes or 0 for reading in readings], np.int64)
    slot = (at + offsets * 60 - shape.starts_at * 3600) // shape.seconds
    values = _values(shape, readings)
    after_meal = np.array([reading.context == meals.AFTER for reading in readings])
    heard = np.array([_counts(reading) for reading in readings]) & ~np.isnan(values).all(axis=1)
    late = heard & (at < block["latest"])
    first = plans[0]
    if all(plan is first for plan in plans) and first.baseline_from is None:
        reset, line = np.full(len(at), NO_RESET, np.int64), np.full(len(at), drift.threshold(first.budget))
        limits = np.array([first.limits.values])
    else:
        reset = np.array([_reset(shape, p, r) for p, r in zip(plans, readings, strict=True)], np.int64)
        line = np.array([drift.threshold(plan.budget) for plan in plans])
        limits = np.array([plan.limits.values for plan in plans])
    _teach(block, shape, heard.nonzero()[0], slot, at, values, after_meal, reset)
    return Batch(shape, at, slot, reset, values, heard, after_meal, late, limits, line)


def _teach(
    block: Block,
    shape: Shape,
    rows: Ints,
    slot: Ints,
    at: Ints,
    values: Floats,
    after_meal: Bools,
    reset: Ints,
) -> None:
    """Put the readings of some rows into their memories."""
    whole = len(rows) == len(block)
    part = block if whole else block[rows]
    if not whole:
        slot, at, values, reset = slot[rows], at[rows], values[rows], reset[rows]
        after_meal = after_meal[rows]
    stored, tallies = stored_form(shape, values, after_meal)
    learn(part, shape, slot=slot, at=at, values=values, stored=stored, tallies=tallies, reset=reset)
    if not whole:
        block[rows] = part


def take_out(block: Block, shape: Shape, reading: Reading) -> bool:
    """Take one reading out of the one memory in the block, if it counted; whether it was there."""
    values = _values(shape, [reading])
    if not _counts(reading) or np.isnan(values).all():
        return False
    stored, tallies = stored_form(shape, values, np.array([reading.context == meals.AFTER]))
    at = seconds(reading.effective_at)
    return unlearn(
        block,
        shape,
        slot=shape.slot_of(at, reading.utc_offset_minutes),
        at=at,
        values=values[0],
        stored=stored[0],
        tallies=tallies,
    )


def _counts(reading: Reading) -> bool:
    return reading.time_confidence is not TimeConfidence.SUSPECT and (
        not reading.flags or NEVER_SCORED.isdisjoint(reading.flags)
    )


def _reset(shape: Shape, plan: Plan, reading: Reading) -> int:
    if plan.baseline_from is None:
        return NO_RESET
    return shape.slot_of(seconds(plan.baseline_from), reading.utc_offset_minutes)


def _values(shape: Shape, readings: Sequence[Reading]) -> Floats:
    if shape is GLUCOSE:
        return np.array([[r.glucose if r.beyond is None else BEYOND[r.beyond]] for r in readings], np.float64)
    return np.array([(r.systolic, r.diastolic, r.pulse) for r in readings], np.float64)  # None becomes NaN


def stored_form(shape: Shape, values: Floats, after_meal: Bools) -> tuple[Floats, dict[str, Floats]]:
    """The values as the window sums them, and what is counted beside them."""
    if shape is not GLUCOSE:
        return values, {}
    glucose = np.clip(values[:, 0], 10.0, 1000.0)
    stored = np.log(glucose)
    low_side = np.minimum(1.509 * (stored**1.084 - 5.381), 0.0)  # Kovatchev's symmetric scale
    tallies = {
        "low": (glucose < 70.0) * 1.0,  # noqa: PLR2004 - ADA level 1
        "very_low": (glucose < 54.0) * 1.0,  # noqa: PLR2004 - ADA level 2
        "low_risk": np.rint(10.0 * low_side**2 * 32.0),
        "after_meal": after_meal * 1.0,
        "after_meal_total": after_meal * np.rint(stored * shape.scale),
    }
    return stored[:, None], tallies


@dataclass(frozen=True, slots=True)
class Measures:
    """What the windows say, (rows, quantities) in the unit a person reads."""

    level: Floats  # of readings like this one: its slot of the day, and after a meal if it was
    spread: Floats
    low: Floats
    high: Floats
    days: Ints  # what that rests on
    learning: Bools
    apart: Usual  # the same apart from meals: what a trend is held against
    meals: Ints  # (rows,) days with a reading told to be after a meal
    change: Floats
    age: Floats
    now: Floats
    times: Ints  # slots measured in the last seven days
    week: Floats  # their mean; NaN with fewer than WEEK_LEAST
    sitting: Floats
    heard: Floats  # (rows, quantities, 2) drift score of rise and fall, each by its share of the budget
    speaks: Bools  # enough acquaintance for a trend, and measured now
    drift_score: Floats  # (rows,)
    breached: Bools  # (rows, LINES)
    past: Past
    robust: baseline.Robust


@lru_cache(maxsize=64)
def _people(shape: Shape, rows: int) -> People:
    """The population's numbers for every row of the stack."""
    each = [PEOPLE[quantity] for quantity in shape.quantities]

    def column(name: str) -> Floats:
        return np.tile([getattr(people, name) for people in each], rows)

    return People(**{field.name: column(field.name) for field in fields(People)})


def measure(block: Block, batch: Batch, reading: drift.Learnt) -> Measures:
    """Level, spread, rhythm, trend, week, sitting and limits of every row, up to and including its own slot."""
    shape, rows, many = batch.shape, len(batch.at), len(batch.shape.quantities)
    people = _people(shape, rows)
    past = look_back(block, shape, batch.slot, batch.reset)
    eaten = meals.heard(past, shape) if shape is GLUCOSE else None
    robust = baseline.settle(past if eaten is None else meals.without(past, eaten), people, shape.slots_a_day)
    trust = past.trust * drift.ANCHOR_SHARE
    anchor = np.where(trust > 0, past.anchor - robust.centre, 0.0)
    found = drift.shift(
        robust, anchor, trust, shape.slots_a_day, people, reading, reading.alike[shape.kind.value]
    )
    days = (baseline.by_day(past.count, shape.slots_a_day) > 0).sum(axis=1)
    usual = baseline.usual(found.level + robust.centre, found.precision, robust.spread, days, people)
    now, change = usual.level + found.change, found.change
    apart = replace(usual, level=usual.level + robust.rhythm)
    here = apart if eaten is None else _fed(apart, eaten, batch.after_meal)
    low, high = here.level - 2 * here.spread, here.level + 2 * here.spread
    if shape is GLUCOSE:  # back from ln to mg/dL
        apart, here, low, high, now = _mg(apart), _mg(here), np.exp(low), np.exp(high), np.exp(now)
        change = now - np.exp(usual.level)

    table = partial(_table, rows=rows, many=many)
    seen, since = table(robust.seen), batch.slot - np.maximum(block["first"], batch.reset)
    enough = batch.heard[:, None] & (seen >= drift.SLOTS_TO_SPEAK)
    months = (
        drift.months(reading, shape.quantities, table(found.rise), table(found.fall)) * enough[:, :, None]
    )
    times, mean = _week(past, shape)
    week, sitting = table(mean), _sitting(block, batch)
    return Measures(
        level=table(here.level),
        spread=table(here.spread),
        low=table(low),
        high=table(high),
        days=table(here.days),
        learning=table(here.learning),
        apart=Usual(table(apart.level), table(apart.spread), table(apart.days), table(apart.learning)),
        meals=np.zeros(rows, np.int64) if eaten is None else eaten.days,
        change=table(change),
        age=table(found.age),
        now=table(now),
        times=table(times),
        week=week,
        sitting=sitting,
        heard=months,
        speaks=enough & (since >= SETTLED_DAYS * shape.slots_a_day)[:, None] & ~np.isnan(batch.values),
        drift_score=drift.combined(shape.quantities, months),
        breached=_breached(batch, sitting, week),
        past=past,
        robust=robust,
    )


def _fed(usual: Usual, eaten: Meals, after_meal: Bools) -> Usual:
    """The usual of each row's own reading: what a meal adds, and how little that rests on, where it followed one."""
    days = np.where(after_meal, eaten.days, usual.days)
    level = usual.level + eaten.adds * after_meal
    return Usual(level, usual.spread, days, days < baseline.DAYS_TO_KNOW)


def _mg(usual: Usual) -> Usual:
    """From ln(mg/dL) to mg/dL."""
    level = np.exp(usual.level)
    return replace(usual, level=level, spread=level * usual.spread)


def _table(column: npt.NDArray[N], rows: int, many: int) -> npt.NDArray[N]:
    """What stands stacked, a row for each reading."""
    return column.reshape(rows, many)


def _week(past: Past, shape: Shape) -> tuple[Ints, Floats]:
    """How many slots of the last seven days were measured, and their mean, NaN with too few of them."""
    there = past.there[:, -7 * shape.slots_a_day :]
    many = there.sum(axis=1)
    mean = past.mean[:, -7 * shape.slots_a_day :].sum(axis=1, dtype=np.float64) / np.maximum(many, 1)
    return many, np.where(many >= WEEK_LEAST, mean, np.nan)


def _sitting(block: Block, batch: Batch) -> Floats:
    """The mean of the readings of the last 30 minutes, this one included."""
    gap = batch.at[:, None] - block["recent_at"]
    near = (gap >= 0) & (gap < SITTING)
    if not (near.sum(axis=1) > 1).any():
        return batch.values
    recent = block["recent"] * near[:, :, None]
    many = (recent > 0).sum(axis=1)
    mean = recent.sum(axis=1) / 16.0 / np.maximum(many, 1)
    return np.where(many > 1, mean, batch.values)


@cache
def _lines(shape: Shape) -> tuple[list[int], list[int], list[int], Bools]:
    """The limits that this kind of reading can cross.

    Their places in LINES, columns of their quantities, columns of what is held against them (values, sittings and
    weeks side by side), and whether they are breached upwards.
    """
    lines = [(place, line) for place, line in enumerate(LINES) if line.quantity in shape.quantities]
    columns = [shape.quantities.index(line.quantity) for _, line in lines]
    held = [
        HELD_AT[line.basis] * len(shape.quantities) + c for (_, line), c in zip(lines, columns, strict=True)
    ]
    return (
        [place for place, _ in lines],
        columns,
        held,
        np.array([line.side is Side.ABOVE for _, line in lines]),
    )


HELD_AT = {Basis.READING: 0, Basis.TWICE: 0, Basis.SITTING: 1, Basis.WEEK: 2}


def _breached(batch: Batch, sitting: Floats, week: Floats) -> Bools:
    """Which of LINES each row is beyond. An average is told with a value of now, never without."""
    places, columns, held, rises = _lines(batch.shape)
    told, limits = np.concatenate([batch.values, sitting, week], axis=1)[:, held], batch.limits[:, places]
    beyond = np.where(rises, told >= limits, told < limits)
    breached = np.zeros((len(batch.at), len(LINES)), np.bool_)
    breached[:, places] = beyond & batch.heard[:, None] & ~np.isnan(batch.values[:, columns])
    return breached
