"""A reading and what is remembered of its patient become a score and a new memory: pure, and the same live and replayed.

One formulation serves one reading and five hundred: arrays over the batch for everything numeric, plain Python only
for readings that have something to say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

import numpy as np

from ingest.events import Beyond, Kind, Reading, TimeConfidence, fact_id
from risk import baseline, drift, rules
from risk.baseline import PEOPLE
from risk.events import Band, Concern, Finding, Scored, Tier
from risk.findings import Facts, Habit, Trend, findings
from risk.forecast import Forecast
from risk.memory import (
    GLUCOSE,
    SHAPES,
    SITTING,
    Block,
    Bools,
    Floats,
    Ints,
    Shape,
    empty,
    learn,
    look_back,
    pack,
    seconds,
    tally,
    unpack,
)
from risk.rules import DEFAULT, LINES, Basis, Limits, Side

NEVER_SCORED = frozenset({"echo", "control_solution"})
"""Not a measurement of the patient at that time: shown, never judged and never learnt."""
CAUTIONS = ("movement", "cuff_loose", "irregular_pulse")
SETTLED_DAYS = 14
"""Days between the first slot and the first trend: a trend against a week of acquaintance is a guess."""
DRIFT_EASES_AT = 0.5
"""Share of the threshold under which a trend counts as calm; between, it is neither found nor calm."""
NO_RESET = -(2**31)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What people decided about one patient: limits, alert budget, and since when the baseline counts."""

    limits: Limits = DEFAULT
    budget: float = 0.25  # false trend alerts per patient-month
    baseline_from: datetime | None = None  # a clinician said: a new normal starts here


NO_PLAN = Plan()


@dataclass(frozen=True)
class Model:
    """What is loaded once: the glucose forecast, if one is there and fits."""

    forecast: Forecast | None = None

    @property
    def version(self) -> str:
        return f"{drift.learnt().version}+{self.forecast.version if self.forecast else 'none'}"


def score(
    memory: bytes | None, reading: Reading, plan: Plan = NO_PLAN, model: Model = Model()
) -> tuple[bytes, Scored]:
    """Score one reading; the batch form with one row."""
    memories, scored = score_batch([memory], [reading], [plan], model)
    return memories[0], scored[0]


def score_all(
    memories: dict[tuple[UUID, Kind], bytes], readings: Sequence[Reading], plans: Sequence[Plan], model: Model
) -> list[Scored]:
    """Score readings in their order of arrival, several of one patient included, renewing `memories`.

    Patients do not touch each other, so the first readings of everybody are one batch, the second ones the next.
    """
    turns: dict[tuple[UUID, Kind], int] = {}
    turn_of = []
    for reading in readings:
        key = (reading.patient_id, reading.kind)
        turns[key] = turns.get(key, -1) + 1
        turn_of.append((turns[key], reading.kind.value))
    scored: list[Scored | None] = [None] * len(readings)
    order = sorted(range(len(readings)), key=turn_of.__getitem__)
    for _, group in groupby(order, key=turn_of.__getitem__):
        rows = list(group)
        batch = [readings[row] for row in rows]
        keys = [(reading.patient_id, reading.kind) for reading in batch]
        known = [memories.get(key) for key in keys]
        fresh, said = score_batch(known, batch, [plans[row] for row in rows], model)
        memories.update(zip(keys, fresh, strict=True))
        for row, one in zip(rows, said, strict=True):
            scored[row] = one
    return [one for one in scored if one is not None]


def score_batch(
    memories: Sequence[bytes | None], readings: Sequence[Reading], plans: Sequence[Plan], model: Model
) -> tuple[list[bytes], list[Scored]]:
    """Score readings of one kind, each of another patient. Order matters:

    1. The reading is put into its place in the memory (unless it must not be learnt).
    2. Level, spread and trend are read off the window up to the reading's own slot: a late reading is judged by
       what was true then, and what comes after it is judged anew when it comes.
    3. Values, sittings and weeks are held against the limits; only rows with something to say are put into words.
    """
    shape = SHAPES[readings[0].kind]
    block = unpack([empty(shape) if memory is None else memory for memory in memories], shape)
    batch = _Batch.of(shape, block, readings, plans)
    numbers = _numbers(block, shape, batch, model)
    return pack(block), [
        _scored(row, reading, plans[row], batch, numbers, model) for row, reading in enumerate(readings)
    ]


@dataclass(frozen=True, slots=True)
class _Batch:
    """The batch as arrays, learnt."""

    shape: Shape
    at: Ints
    slot: Ints
    reset: Ints
    values: Floats
    heard: Bools  # judged and learnt
    late: Bools
    limits: Floats  # (rows, lines)

    @classmethod
    def of(cls, shape: Shape, block: Block, readings: Sequence[Reading], plans: Sequence[Plan]) -> "_Batch":
        at = np.array([seconds(reading.effective_at) for reading in readings], np.int64)
        offsets = np.array([reading.utc_offset_minutes or 0 for reading in readings], np.int64)
        slot = (at + offsets * 60 - shape.starts_at * 3600) // shape.seconds
        reset = np.array(
            [
                NO_RESET
                if p.baseline_from is None
                else shape.slot_of(seconds(p.baseline_from), r.utc_offset_minutes)
                for p, r in zip(plans, readings, strict=True)
            ],
            np.int64,
        )
        values = np.array(
            [[_value(reading, quantity) for quantity in shape.quantities] for reading in readings]
        )
        heard = np.array(
            [
                r.time_confidence is not TimeConfidence.SUSPECT and NEVER_SCORED.isdisjoint(r.flags)
                for r in readings
            ]
        )
        heard &= ~np.isnan(values).all(axis=1)
        late = heard & (at < block["latest"])
        stored, tallies = _stored(shape, values)
        learn(
            block,
            shape,
            slot=slot,
            at=at,
            values=values,
            stored=stored,
            tallies=tallies,
            where=heard,
            reset=reset,
        )
        return cls(
            shape, at, slot, reset, values, heard, late, np.array([plan.limits.values for plan in plans])
        )


def _value(reading: Reading, quantity: str) -> float:
    if quantity == "glucose" and reading.beyond is not None:
        return BEYOND[reading.beyond]
    value: float | None = getattr(reading, quantity)
    return np.nan if value is None else value


BEYOND = {Beyond.LO: 19.0, Beyond.HI: 601.0}
"""What a meter's LO and HI are remembered as: just outside the range of 20-600 mg/dL."""


def _stored(shape: Shape, values: Floats) -> tuple[Floats, dict[str, Floats]]:
    if shape is not GLUCOSE:
        return values, {}
    glucose = np.clip(values, 10.0, 1000.0)
    low_side = np.minimum(1.509 * (np.log(glucose) ** 1.084 - 5.381), 0.0)  # Kovatchev's symmetric scale
    tallies = {
        "low": (glucose < 70.0).astype(float),  # noqa: PLR2004 - ADA level 1
        "very_low": (glucose < 54.0).astype(float),  # noqa: PLR2004 - ADA level 2
        "low_risk": np.rint(np.nan_to_num(10.0 * low_side**2) * 32.0),
    }
    return np.log(glucose), {name: amount[:, 0] for name, amount in tallies.items()}


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What the window says about one quantity, per row, in the unit a person reads."""

    level: Floats
    spread: Floats
    low: Floats
    high: Floats
    days: Ints
    learning: Bools
    rise: Floats  # months between chance alerts
    fall: Floats
    change: Floats
    age: Floats
    now: Floats
    week: Floats  # NaN with fewer than six slots in seven days
    speaks: Bools  # enough acquaintance for a trend


@dataclass(frozen=True, slots=True)
class _Numbers:
    quantities: dict[str, _Quantity]
    sitting: Floats  # (rows, quantities)
    drift_score: Floats
    talks: Bools  # this row has something to say
    p_low_24h: Floats
    p_low_7d: Floats
    block: Block

    def recent(self, row: int, shape: Shape) -> list[tuple[int, dict[str, float]]]:
        """The last readings with their instants, rising."""
        one = self.block[row]
        return [
            (int(at), {q: int(v) / 16.0 for q, v in zip(shape.quantities, held, strict=True) if v})
            for at, held in zip(one["recent_at"], one["recent"], strict=True)
            if at
        ]


def _numbers(block: Block, shape: Shape, batch: _Batch, model: Model) -> _Numbers:
    quantities = {
        name: _quantity(block, shape, batch, place, name) for place, name in enumerate(shape.quantities)
    }
    sitting = _sitting(block, batch)
    talks = np.zeros(len(batch.at), np.bool_)
    for place, line in enumerate(LINES):
        if line.quantity not in shape.quantities:
            continue
        column = shape.quantities.index(line.quantity)
        value = {Basis.READING: batch.values, Basis.SITTING: sitting}.get(line.basis)
        held = quantities[line.quantity].week if value is None else value[:, column]
        limit = batch.limits[:, place]
        talks |= held >= limit if line.side is Side.ABOVE else held < limit
    drift_score = drift.combined({name: (q.rise, q.fall) for name, q in quantities.items()})
    none = np.full(len(batch.at), np.nan)
    p_day, p_week = none, none
    if shape is GLUCOSE and model.forecast is not None:
        window = {name: tally(block, shape, name, batch.slot, batch.reset) for name in shape.tallies}
        past = look_back(block, shape, 0, batch.slot, batch.reset)
        p_day, p_week = model.forecast.chances(past.count, past.mean * past.count, window)
    return _Numbers(quantities, sitting, drift_score, talks & batch.heard, p_day, p_week, block)


def _quantity(block: Block, shape: Shape, batch: _Batch, place: int, name: str) -> _Quantity:
    people = PEOPLE[name]
    past = look_back(block, shape, place, batch.slot, batch.reset)
    robust = baseline.settle(past, people, shape.slots_a_day)
    trust = past.trust * drift.ANCHOR_SHARE
    found = drift.shift(
        robust, np.where(trust > 0, past.anchor - robust.centre, 0.0), trust, shape.slots_a_day, people
    )
    days = (robust.weight.reshape(len(batch.at), -1, shape.slots_a_day) > 0).any(axis=2).sum(axis=1)
    usual = baseline.usual(found.level + robust.centre, found.precision, robust.spread, days, people)
    week = past.count[:, -7 * shape.slots_a_day :] > 0
    many = week.sum(axis=1)
    mean = (past.mean[:, -7 * shape.slots_a_day :] * week).sum(axis=1) / np.maximum(many, 1)
    since = batch.slot - np.maximum(block["first"], batch.reset)
    scales = drift.learnt().scales[name]
    speaks = batch.heard & (robust.seen >= drift.SLOTS_TO_SPEAK)
    level, now = usual.level + robust.rhythm, usual.level + found.change
    low, high = level - 2 * usual.spread, level + 2 * usual.spread
    spread, change = usual.spread, found.change
    if shape is GLUCOSE:  # back from ln to mg/dL
        level, low, high, now = np.exp(level), np.exp(low), np.exp(high), np.exp(now)
        spread = level * usual.spread
        change = now - np.exp(usual.level)
    return _Quantity(
        level=level,
        spread=spread,
        low=low,
        high=high,
        days=days,
        learning=usual.learning,
        rise=np.where(speaks, scales["rise"].months(found.rise), 0.0),
        fall=np.where(speaks, scales["fall"].months(found.fall), 0.0),
        change=change,
        age=found.age,
        now=now,
        week=np.where(many >= 6, mean, np.nan),  # noqa: PLR2004 - half of the half-days, as home protocols ask
        speaks=speaks & (since >= SETTLED_DAYS * shape.slots_a_day),
    )


def _sitting(block: Block, batch: _Batch) -> Floats:
    gap = batch.at[:, None] - block["recent_at"]
    near = ((gap >= 0) & (gap < SITTING))[:, :, None] & (block["recent"] > 0)
    many = near.sum(axis=1)
    mean = (block["recent"] / 16.0 * near).sum(axis=1) / np.maximum(many, 1)
    return np.where(many > 0, mean, batch.values)


SPOKEN: dict[str, tuple[Concern, ...]] = {
    "systolic": (Concern.HIGH_PRESSURE, Concern.LOW_PRESSURE),
    "diastolic": (Concern.HIGH_PRESSURE, Concern.LOW_PRESSURE),
    "pulse": (Concern.FAST_PULSE, Concern.SLOW_PULSE),
    "glucose": (Concern.LOW_GLUCOSE, Concern.HIGH_GLUCOSE),
}
TRENDS: dict[str, tuple[Concern, Concern]] = {
    "systolic": (Concern.PRESSURE_DRIFT_UP, Concern.PRESSURE_DRIFT_DOWN),
    "diastolic": (Concern.PRESSURE_DRIFT_UP, Concern.PRESSURE_DRIFT_DOWN),
    "pulse": (Concern.PULSE_DRIFT, Concern.PULSE_DRIFT),
    "glucose": (Concern.GLUCOSE_DRIFT, Concern.GLUCOSE_DRIFT),
}


def _scored(row: int, reading: Reading, plan: Plan, batch: _Batch, numbers: _Numbers, model: Model) -> Scored:
    heard, late = bool(batch.heard[row]), bool(batch.late[row])
    values = {
        q: float(v)
        for q, v in zip(batch.shape.quantities, batch.values[row], strict=True)
        if not math.isnan(v)
    }
    trends: list[Trend] = []
    calm: dict[Concern, None] = {}
    judged = heard and not reading.history
    if judged:
        for quantity in values:
            calm.update(dict.fromkeys(SPOKEN[quantity]))
        if not late:
            trends = _trends(row, plan, numbers, calm)
    found: tuple[Finding, ...] = ()
    if judged and (trends or numbers.talks[row] or reading.beyond is not None or _fell(row, numbers)):
        found = findings(_facts(row, reading, values, plan, batch, numbers, tuple(trends)))
    if late:  # an old reading may raise a concern; it cannot calm one
        calm = dict.fromkeys(finding.concern for finding in found)
    shown = {} if reading.beyond is not None else values
    return Scored(
        event_id=fact_id("scored", reading.event_id, model.version, rules.VERSION),
        caused_by=reading.event_id,
        practice_id=reading.practice_id,
        patient_id=reading.patient_id,
        kind=reading.kind.value,
        effective_at=reading.effective_at,
        received_at=reading.received_at,
        time_confidence=reading.time_confidence.value,
        values=shown,
        beyond=None if reading.beyond is None else reading.beyond.value,
        context=reading.context,
        flags=reading.flags,
        history=reading.history,
        tier=found[0].tier if found else Tier.ROUTINE,
        findings=found,
        assessed=tuple(calm),
        bands=_bands(row, values, numbers) if heard else (),
        drift_score=round(float(numbers.drift_score[row]), 4)
        if heard and numbers.drift_score[row] > 0
        else None,
        p_low_24h=_chance(numbers.p_low_24h[row], heard=heard),
        p_low_7d=_chance(numbers.p_low_7d[row], heard=heard),
        model_version=model.version,
        rules_version=rules.VERSION,
    )


def _chance(value: float, *, heard: bool) -> float | None:
    return round(float(value), 4) if heard and not math.isnan(value) else None


def _fell(row: int, numbers: _Numbers) -> bool:
    pressure = numbers.quantities.get("systolic")
    return pressure is not None and bool(numbers.sitting[row, 0] < rules.FALL_BELOW)


def _trends(row: int, plan: Plan, numbers: _Numbers, calm: dict[Concern, None]) -> list[Trend]:
    """The trends that cross the practice's budget; concerns well under it are marked calm."""
    line, trends = drift.threshold(plan.budget), []
    loudest: dict[Concern, float] = {}
    for name, quantity in numbers.quantities.items():
        if not quantity.speaks[row]:
            continue
        for concern, months, share in zip(
            TRENDS[name], (quantity.rise[row], quantity.fall[row]), drift.SHARES[name], strict=True
        ):
            heard = float(months * share)
            loudest[concern] = max(loudest.get(concern, 0.0), heard)
            if heard >= line:
                trends.append(
                    Trend(
                        concern=concern,
                        quantity=name,
                        change=float(quantity.change[row]),
                        days=float(quantity.age[row]),
                        now=float(quantity.now[row]),
                        score=heard,
                        line=line,
                    )
                )
    calm.update(
        dict.fromkeys(c for c, heard in loudest.items() if heard >= line or heard < line * DRIFT_EASES_AT)
    )
    return trends


def _facts(
    row: int,
    reading: Reading,
    values: dict[str, float],
    plan: Plan,
    batch: _Batch,
    numbers: _Numbers,
    trends: tuple[Trend, ...],
) -> Facts:
    quantities = numbers.quantities
    return Facts(
        at=int(batch.at[row]),
        values={} if reading.beyond is not None else values,
        sitting={}
        if reading.beyond is not None
        else {q: float(numbers.sitting[row, p]) for p, q in enumerate(batch.shape.quantities) if q in values},
        week={q: float(quantities[q].week[row]) for q in values if not math.isnan(quantities[q].week[row])},
        habits={
            name: Habit(
                level=float(q.level[row]), spread=float(q.spread[row]), learning=bool(q.learning[row])
            )
            for name, q in quantities.items()
            if q.days[row] > 1
        },
        slot=batch.shape.slot_name(int(batch.slot[row])),
        limits=plan.limits,
        recent=numbers.recent(row, batch.shape),
        trends=trends,
        beyond=None if reading.beyond is None else reading.beyond.value,
        cautions=tuple(flag for flag in CAUTIONS if flag in reading.flags),
    )


def _bands(row: int, values: dict[str, float], numbers: _Numbers) -> tuple[Band, ...]:
    return tuple(
        Band(
            quantity=name,
            level=round(float(q.level[row]), 1),
            low=round(float(q.low[row]), 1),
            high=round(float(q.high[row]), 1),
            days=int(q.days[row]),
            learning=bool(q.learning[row]),
        )
        for name, q in numbers.quantities.items()
        if name in values
    )
