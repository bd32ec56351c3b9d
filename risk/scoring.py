"""A reading and what is remembered of its patient become a score and a new memory: pure, and the same live and replayed.

One formulation serves one reading and five hundred: arrays over the batch for everything numeric (`measures`), plain
Python only to write the scores down, and words only for readings that have something to say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np

from ingest.events import Kind, Reading, fact_id
from risk import baseline, drift, meals, missing, outlook, rules
from risk.events import Band, Concern, Finding, Outlook, Scored, Tier
from risk.findings import LABELS, UNITS, Facts, Habit, Trend, findings
from risk.forecast import Forecast
from risk.measures import DRIFT_EASES_AT, NO_PLAN, Batch, Measures, Plan, measure, take_in, take_out
from risk.memory import GLUCOSE, PRESSURE, SHAPES, Block, Bools, Floats, Shape, empty, pack, unpack
from risk.rules import LINES, Basis

CAUTIONS = ("movement", "cuff_loose", "irregular_pulse")
PRESSURE_TRENDS = (Concern.PRESSURE_DRIFT_UP, Concern.PRESSURE_DRIFT_DOWN)
TRENDS: dict[str, tuple[Concern, Concern]] = {
    "systolic": PRESSURE_TRENDS,
    "diastolic": PRESSURE_TRENDS,
    "pulse": (Concern.PULSE_DRIFT, Concern.PULSE_DRIFT),
    "glucose": (Concern.GLUCOSE_DRIFT, Concern.GLUCOSE_DRIFT),
}
"""The concern of a rise and of a fall."""


@dataclass(frozen=True)
class Model:
    """What is loaded once: how the bank of changes is read, and the glucose forecast, if one is there and fits."""

    forecast: Forecast | None = None
    reading: drift.Learnt = field(default_factory=drift.learnt)

    @property
    def version(self) -> str:
        glucose = self.forecast.version if self.forecast else "none"
        return f"{self.reading.version}+{glucose}+{baseline.VERSION}+{outlook.VERSION}"


def score(
    memory: bytes | None,
    reading: Reading,
    plan: Plan = NO_PLAN,
    model: Model = Model(),
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
    turn_of: list[tuple[int, str]] = []
    for reading in readings:
        key = (reading.patient_id, reading.kind)
        turn = turns.get(key, 0)
        turns[key] = turn + 1
        turn_of.append((turn, reading.kind.value))
    scored: dict[int, Scored] = {}
    for _, group in groupby(sorted(zip(turn_of, range(len(readings)), strict=True)), key=itemgetter(0)):
        rows = [row for _, row in group]
        batch = [readings[row] for row in rows]
        keys = [(reading.patient_id, reading.kind) for reading in batch]
        fresh, said = score_batch(
            [memories.get(key) for key in keys], batch, [plans[row] for row in rows], model
        )
        memories.update(zip(keys, fresh, strict=True))
        scored.update(zip(rows, said, strict=True))
    return [scored[row] for row in range(len(readings))]


def without(memory: bytes, reading: Reading) -> tuple[bytes, bool]:
    """The memory as if the reading had not been, and whether it was there."""
    shape = SHAPES[reading.kind]
    block = unpack([memory], shape)
    known = take_out(block, shape, reading)
    return pack(block)[0], known


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
    batch = take_in(block, shape, readings, plans)
    sheet = _Sheet.of(block, batch, measure(block, batch, model.reading), model)
    return pack(block), [
        sheet.scored(row, reading, plan)
        for row, (reading, plan) in enumerate(zip(readings, plans, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The measures of a batch as plain Python lists, from which the scores are written row by row."""

    block: Block
    batch: Batch
    measures: Measures
    model: Model
    version: str
    heard: list[bool]
    late: list[bool]
    values: list[list[float]]
    speaks: list[bool]  # a limit or a trend has something to say
    loud: list[list[bool]]  # per trend concern of the kind: over the practice's line
    settled: list[list[bool]]  # over the line, or well under it
    bands: tuple[list[list[Any]], ...]
    meals: list[int]
    drift_score: list[float]
    chances: tuple[list[float | None], list[float | None]] | None
    high: list[float]  # chance of a high week; of glucose none

    @classmethod
    def of(cls, block: Block, batch: Batch, measures: Measures, model: Model) -> "_Sheet":
        columns, starts = _trend_columns(batch.shape)
        rows = len(batch.at)
        told = (measures.heard * measures.speaks[:, :, None]).reshape(rows, -1)
        said = np.maximum.reduceat(told[:, columns], starts, axis=1)
        known = np.logical_or.reduceat(measures.speaks.repeat(2, axis=1)[:, columns], starts, axis=1)
        line = batch.line[:, None]
        over = said >= line
        loud = known & over & ~batch.late[:, None]
        settled = known & (over | (said < line * DRIFT_EASES_AT))
        speaks: Bools = np.logical_or.reduce(measures.breached, axis=1)
        speaks |= np.logical_or.reduce(loud, axis=1)
        if "systolic" in batch.shape.quantities:
            speaks |= batch.heard & (measures.sitting[:, 0] < rules.FALL_BELOW)
        edges = np.array([measures.level, measures.low, measures.high]).transpose(1, 2, 0).round(1)
        return cls(
            block=block,
            batch=batch,
            measures=measures,
            model=model,
            version=model.version,
            heard=batch.heard.tolist(),
            late=batch.late.tolist(),
            values=batch.values.tolist(),
            speaks=speaks.tolist(),
            loud=loud.tolist(),
            settled=settled.tolist(),
            bands=(edges.tolist(), measures.days.tolist(), measures.learning.tolist()),
            meals=measures.meals.tolist(),
            drift_score=measures.drift_score.round(4).tolist(),
            chances=_chances(block, batch, measures, model),
            high=outlook.chances(measures.robust, batch.limits).round(4).tolist()
            if batch.shape is PRESSURE
            else [],
        )

    def scored(self, row: int, reading: Reading, plan: Plan) -> Scored:
        """The score of one reading."""
        names, heard = self.batch.shape.quantities, self.heard[row]
        values = {name: value for name, value in zip(names, self.values[row], strict=True) if value == value}  # noqa: PLR0124 - NaN
        found: tuple[Finding, ...] = ()
        assessed: tuple[Concern, ...] = ()
        if heard and not reading.history:
            if self.speaks[row] or reading.beyond is not None:
                found = findings(self._facts(row, reading, values, plan))
            if self.late[row]:  # an old reading may raise a concern; it cannot calm one
                assessed = tuple(finding.concern for finding in found)
            else:
                assessed = _assessed(tuple(values), tuple(self.settled[row]))
        drift_score = self.drift_score[row]
        return Scored(
            event_id=fact_id("scored", reading.event_id, self.version, rules.VERSION),
            caused_by=reading.event_id,
            practice_id=reading.practice_id,
            patient_id=reading.patient_id,
            kind=reading.kind.value,
            effective_at=reading.effective_at,
            received_at=reading.known_at,
            time_confidence=reading.time_confidence.value,
            values=values if reading.beyond is None else {},
            beyond=None if reading.beyond is None else reading.beyond.value,
            context=reading.context,
            flags=reading.flags,
            history=reading.history,
            tier=found[0].tier if found else Tier.ROUTINE,
            findings=found,
            assessed=assessed,
            bands=self._bands(row, reading, values) if heard else (),
            drift_score=drift_score if heard and drift_score > 0 else None,
            p_low_24h=self.chances[0][row] if self.chances is not None and heard else None,
            p_low_7d=self.chances[1][row] if self.chances is not None and heard else None,
            outlook=self._outlook(row, plan) if self.high and heard else None,
            model_version=self.version,
            rules_version=rules.VERSION,
        )

    def _outlook(self, row: int, plan: Plan) -> Outlook | None:
        measures = self.measures
        return outlook.outlook(
            self.high[row],
            days=int(measures.days[row, 0]),
            times=int(measures.times[row, 0]),
            week=measures.week[row].tolist(),
            limits=plan.limits,
        )

    def _bands(self, row: int, reading: Reading, values: dict[str, float]) -> tuple[Band, ...]:
        when = self._when(row, reading)
        names, (edges, days, learning) = self.batch.shape.quantities, (column[row] for column in self.bands)
        return tuple(
            [
                Band(quantity=name, level=level, low=low, high=high, when=when, days=many, learning=new)
                for name, (level, low, high), many, new in zip(names, edges, days, learning, strict=True)
                if name in values
            ]
        )

    def _when(self, row: int, reading: Reading) -> str:
        return meals.when(reading.context, self.meals[row]) if self.batch.shape is GLUCOSE else ""

    def _facts(self, row: int, reading: Reading, values: dict[str, float], plan: Plan) -> Facts:
        shape, measures = self.batch.shape, self.measures
        places = np.nonzero(measures.breached[row])[0].tolist()
        trends = self._trends(row) if any(self.loud[row]) else ()
        numbers = () if reading.beyond is not None else shape.quantities
        return Facts(
            at=int(self.batch.at[row]),
            held={
                Basis.READING: values if numbers else {},
                Basis.TWICE: values if numbers else {},
                Basis.SITTING: {
                    q: float(measures.sitting[row, p]) for p, q in enumerate(numbers) if q in values
                },
                Basis.WEEK: {q: float(measures.week[row, p]) for p, q in enumerate(numbers)},
            },
            habits={
                name: Habit(
                    level=float(measures.level[row, q]),
                    spread=float(measures.spread[row, q]),
                    learning=bool(measures.learning[row, q]),
                    when=self._when(row, reading),
                    unit=LABELS[UNITS[name]],
                )
                for q, name in enumerate(shape.quantities)
                if measures.days[row, q] > 1
            },
            slot=shape.slot_name(int(self.batch.slot[row])),
            limits=plan.limits,
            breached=tuple(LINES[place] for place in places) if numbers else (),
            recent=_recent(self.block, row, shape)
            if trends or any(LINES[p].basis is not Basis.WEEK for p in places)
            else (),
            trends=trends,
            lacks={
                name: missing.lacks(
                    measures.past.there[row * len(shape.quantities) + q],
                    shape,
                    int(self.batch.slot[row]),
                    measured=int(measures.days[row, q]),
                    times=int(measures.times[row, q]),
                    context=reading.context,
                )
                for q, name in enumerate(shape.quantities)
            },
            beyond=None if reading.beyond is None else reading.beyond.value,
            cautions=tuple(flag for flag in CAUTIONS if flag in reading.flags),
        )

    def _trends(self, row: int) -> tuple[Trend, ...]:
        measures, line = self.measures, float(self.batch.line[row])
        apart = measures.apart
        return tuple(
            Trend(
                concern=concern,
                quantity=name,
                rises=side == 0,
                habit=Habit(
                    level=float(apart.level[row, q]),
                    spread=float(apart.spread[row, q]),
                    learning=bool(apart.learning[row, q]),
                    unit=LABELS[UNITS[name]],
                ),
                change=float(measures.change[row, q]),
                days=float(measures.age[row, q]),
                now=float(measures.now[row, q]),
                score=float(measures.heard[row, q, side]),
                line=line,
            )
            for q, name in enumerate(self.batch.shape.quantities)
            for side, concern in enumerate(TRENDS[name])
            if measures.speaks[row, q] and measures.heard[row, q, side] >= line
        )


@cache
def _trend_columns(shape: Shape) -> tuple[list[int], list[int]]:
    """Which columns of (quantities, sides) speak about each trend concern of the kind, and where each concern begins."""
    columns: dict[Concern, list[int]] = {}
    for q, name in enumerate(shape.quantities):
        for side, concern in enumerate(TRENDS[name]):
            columns.setdefault(concern, []).append(2 * q + side)
    ends = list(accumulate(map(len, columns.values()), initial=0))
    return [column for some in columns.values() for column in some], ends[:-1]


@cache
def _assessed(present: tuple[str, ...], settled: tuple[bool, ...]) -> tuple[Concern, ...]:
    """The concerns that a reading with these quantities could speak about."""
    if "glucose" in present:
        limits: tuple[Concern, ...] = (Concern.LOW_GLUCOSE, Concern.HIGH_GLUCOSE)
        trends: tuple[Concern, ...] = (Concern.GLUCOSE_DRIFT,)
    else:
        limits, trends = (), (*PRESSURE_TRENDS, Concern.PULSE_DRIFT)
        if "systolic" in present or "diastolic" in present:
            limits += (Concern.HIGH_PRESSURE, Concern.LOW_PRESSURE)
        if "pulse" in present:
            limits += (Concern.FAST_PULSE, Concern.SLOW_PULSE)
    return limits + tuple(concern for concern, known in zip(trends, settled, strict=True) if known)


def _recent(block: Block, row: int, shape: Shape) -> tuple[tuple[int, dict[str, float]], ...]:
    """The last readings with their instants, rising."""
    times, held = block["recent_at"][row].tolist(), (block["recent"][row] / 16.0).tolist()
    return tuple(
        (at, {name: value for name, value in zip(shape.quantities, values, strict=True) if value})
        for at, values in zip(times, held, strict=True)
        if at
    )


def _chances(
    block: Block, batch: Batch, measures: Measures, model: Model
) -> tuple[list[float | None], list[float | None]] | None:
    if model.forecast is None or batch.shape is not GLUCOSE:
        return None
    day, week = model.forecast.chances(block, batch.slot, batch.reset, batch.at, measures.past)
    return _opinions(day), _opinions(week)


def _opinions(chance: Floats) -> list[float | None]:
    return [None if math.isnan(one) else one for one in chance.round(4).tolist()]
