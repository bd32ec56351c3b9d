"""Series of unchanged people, the same with a change added, and how often a statistic is right or wrong about them."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from risk import baseline, drift, meals
from risk.baseline import PEOPLE
from risk.drift import Scale
from risk.measures import NO_RESET, stored_form
from risk.memory import GLUCOSE, PRESSURE, Bools, Floats, Past, Shape, blank, learn, look_back

WARM_UP = 14.0
REFRACTORY = 7.0
MONTH = 30.4
DAY = 86400
LONGEST, SHORTEST = 120.0, 45.0
"""Days of a glucose stream: a longer diary is cut, a shorter one is not watched."""
PRESSURE_CHANGES: tuple[tuple[str, float, float], ...] = (
    ("ramp +10/14d", 10, 14),
    ("ramp +15/7d", 15, 7),
    ("ramp +15/14d", 15, 14),
    ("ramp +15/28d", 15, 28),
    ("ramp +20/14d", 20, 14),
    ("ramp +25/28d", 25, 28),
    ("step +10", 10, 0),
    ("step +15", 15, 0),
    ("step +20", 20, 0),
)
"""Name, mm[Hg] added, days until it has arrived."""
GLUCOSE_RISES = (
    ("x1.3", 1.3, 0),
    ("x1.3/14d", 1.3, 14),
    ("x1.5/14d", 1.5, 14),
    ("x1.5/28d", 1.5, 28),
    ("x2.0/14d", 2.0, 14),
)
GLUCOSE_FALLS = (("x0.7", 0.7, 0), ("x0.7/14d", 0.7, 14), ("x0.8/14d", 0.8, 14), ("x0.7/28d", 0.7, 28))
"""Name, factor, days until it has arrived."""
RATES = (4.0, 2.0, 1.0, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.015)
"""False alerts per patient-month at which a scale is measured."""
EVENTS_LEAST = 5
"""False alerts that a rate must rest on to be measured."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One person's readings over some months; `onset` and `rise` if a change was added."""

    shape: Shape
    person: str
    day: Floats
    value: Floats
    scenario: str = ""
    onset: float = np.inf
    rise: float = 0.0
    after_meal: Bools | None = None  # told to be so; None: no reading tells

    @property
    def window_end(self) -> float:
        """Fourteen days after the change has arrived: later is too late to count."""
        return self.onset + self.rise + 14.0

    @property
    def settled(self) -> Bools:
        """Rows after the warm-up."""
        known: Bools = np.greater_equal(self.day - self.day[0], WARM_UP)
        return known


@dataclass(frozen=True, slots=True)
class Diary:
    """One person's fingersticks; people of one chain may be the same person under several numbers."""

    person: str
    chain: str
    at: list[int]  # unix seconds of the local clock
    value: list[float]
    after_meal: list[bool]  # told to be so


def read_pressures(file: Path) -> list[Stream]:
    """The unchanged streams of a cohort file (stream, day, systolic)."""
    held: dict[str, list[tuple[float, float]]] = {}
    with gzip.open(file, "rt", newline="") as source:
        for row in csv.DictReader(source):
            held.setdefault(row["stream"], []).append((float(row["day"]), float(row["systolic"])))
    return [
        Stream(PRESSURE, name, np.array([day for day, _ in rows]), np.array([value for _, value in rows]))
        for name, rows in sorted(held.items())
    ]


def read_diaries(file: Path) -> list[Diary]:
    """Fingersticks (group_id, patient_id, ts, glucose_mgdl, raw_value, context), rising; HI and LO beyond the range."""
    held: dict[tuple[str, str], list[tuple[int, float, bool]]] = {}
    with gzip.open(file, "rt", newline="") as source:
        for row in csv.DictReader(source):
            raw = row["raw_value"].upper()
            value = 601.0 if raw.endswith("HI") else 19.0 if raw.endswith("LO") else None
            if value is None and not row["glucose_mgdl"]:
                continue
            at = int(datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC).timestamp())
            told = float(row["glucose_mgdl"]) if value is None else value
            fed = (row.get("context") or "").startswith("post_")
            held.setdefault((row["patient_id"], row["group_id"]), []).append((at, told, fed))
    return [
        Diary(
            person,
            chain,
            [at for at, _, _ in rows],
            [value for _, value, _ in rows],
            [fed for *_, fed in rows],
        )
        for (person, chain), rows in sorted((who, sorted(told)) for who, told in held.items())
    ]


def glucose_streams(diaries: Sequence[Diary]) -> list[Stream]:
    """Diaries cut into streams of 45 to 120 days."""
    made = []
    for diary in diaries:
        day, value, fed = np.array(diary.at) / DAY, np.array(diary.value), np.array(diary.after_meal)
        start = day[0]
        while start < day[-1] - SHORTEST:
            inside = (day >= start) & (day < start + LONGEST)
            if np.ptp(day[inside]) >= SHORTEST:
                since = day[inside] - np.floor(day[inside][0])
                made.append(Stream(GLUCOSE, diary.person, since, value[inside], after_meal=fed[inside]))
            start += LONGEST
    return made


def changed(stream: Stream, scenario: str, size: float, rise: float, onset: float) -> Stream:
    """The stream with a change: mm[Hg] added, or mg/dL multiplied."""
    since = stream.day - onset
    arrived = np.clip(since / rise, 0, 1) if rise else (since >= 0) * 1.0
    if stream.shape is GLUCOSE:
        value = np.clip(stream.value * np.exp(np.log(size) * arrived), 19.0, 601.0)
    else:
        value = np.round(stream.value + size * arrived)
    return Stream(
        stream.shape, stream.person, stream.day, value, scenario, onset, rise, after_meal=stream.after_meal
    )


def every_change(
    streams: Sequence[Stream],
    scenarios: Sequence[tuple[str, float, float]],
    *,
    seed: int,
    earliest: float,
    latest: float,
) -> list[Stream]:
    """Every stream with every change that fits into it once, beginning at a drawn day."""
    draw = np.random.default_rng(seed)
    made = []
    for stream in streams:
        for scenario, size, rise in scenarios:
            last = min(stream.day[-1] - rise - 14.0, latest)
            if last > earliest:
                made.append(changed(stream, scenario, size, rise, float(draw.uniform(earliest, last))))
    return made


def walk(streams: Sequence[Stream]) -> list[Floats]:
    """What the bank sees at every reading of every stream, by the memory that runs live: features, then plain distance."""
    shape = streams[0].shape
    people, against = PEOPLE[shape.quantities[0]], drift.bank(shape.slots // shape.slots_a_day)
    block = blank(shape, len(streams))
    seen: list[list[Floats]] = [[] for _ in streams]
    for turn in range(max(len(stream.day) for stream in streams)):
        rows = np.array([row for row, stream in enumerate(streams) if turn < len(stream.day)])
        at = np.array([int(streams[row].day[turn] * DAY) for row in rows]) + DAY * 20_000
        values = np.full((len(rows), len(shape.quantities)), np.nan)
        values[:, 0] = [streams[row].value[turn] for row in rows]
        slot = (at - shape.starts_at * 3600) // shape.seconds
        part, never = block[rows], np.full(len(rows), NO_RESET)
        fed = [(of := streams[row].after_meal) is not None and bool(of[turn]) for row in rows]
        stored, tallies = stored_form(shape, values, np.array(fed))
        learn(
            part,
            shape,
            slot=slot,
            at=at,
            values=values,
            stored=stored,
            tallies=tallies,
            reset=never,
        )
        block[rows] = part
        past = _first_quantity(look_back(part, shape, slot, never), len(shape.quantities))
        if shape is GLUCOSE:
            past = meals.without(past, meals.heard(past, shape))
        robust = baseline.settle(past, people, shape.slots_a_day)
        trust = past.trust * drift.ANCHOR_SHARE
        held = drift.hold(robust, np.where(trust > 0, past.anchor - robust.centre, 0.0), trust, against)
        raw = drift.features(held, robust, against, np.ones(against.shapes.shape[1]), people, most=np.inf)
        distance = drift.plain(robust, shape.slots_a_day, people)
        for row, one, plain in zip(rows, raw, distance, strict=True):
            seen[row].append(np.append(one, plain).astype(np.float32))
    return [np.array(rows, np.float64) for rows in seen]


def _first_quantity(past: Past, many: int) -> Past:
    return Past(
        mean=past.mean[::many],
        count=past.count[::many],
        there=past.there[::many],
        anchor=past.anchor[::many],
        trust=past.trust[::many],
        tallies=past.tallies,
    )


def alerts(day: Floats, evidence: Floats, line: float) -> list[float]:
    """Days on which an alert would be raised: warm-up first, then at most one in seven days."""
    raised: list[float] = []
    for at in day[(evidence >= line) & (day - day[0] >= WARM_UP)].tolist():
        if not raised or at - raised[-1] >= REFRACTORY:
            raised.append(at)
    return raised


def months(streams: Sequence[Stream]) -> float:
    """Patient-months under watch."""
    return float(sum((stream.day[-1] - stream.day[0] - WARM_UP) / MONTH for stream in streams))


def false_rate(streams: Sequence[Stream], evidence: Sequence[Floats], line: float) -> float:
    """Alerts per patient-month on unchanged streams."""
    return sum(len(alerts(s.day, e, line)) for s, e in zip(streams, evidence, strict=True)) / months(streams)


def line_at(streams: Sequence[Stream], evidence: Sequence[Floats], rate: float) -> float:
    """The lowest evidence at which unchanged streams stay within a rate of alerts."""
    levels: Floats = np.unique(np.concatenate(evidence))
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (middle + 1, high) if false_rate(streams, evidence, levels[middle]) > rate else (low, middle)
        )
    return float(levels[high])


def measure_scale(streams: Sequence[Stream], evidence: Sequence[Floats]) -> Scale:
    """Months between chance alerts at a ladder of evidence, rising strictly."""
    points: list[tuple[float, float]] = []
    for rate in RATES:
        line = line_at(streams, evidence, rate)
        if rate * months(streams) >= EVENTS_LEAST and (not points or line > points[-1][0] + 1e-3):
            points.append((round(line, 5), round(float(-np.log(rate)), 5)))
    return Scale(tuple(x for x, _ in points), tuple(y for _, y in points))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a statistic did at one line: shares and days by scenario, and their means."""

    detection: float
    delay: float  # mean over scenarios of the median; a miss counts the window and a day
    by_scenario: dict[str, tuple[float, float]]


def judge(cases: Sequence[Stream], evidence: Sequence[Floats], line: float) -> Verdict:
    """Detection and delay of the changed streams at one line.

    An alert inside the window counts; where one shortly before the onset masks it, the first crossing inside does.
    """
    delays: dict[str, list[float]] = {}
    rises = {case.scenario: case.rise for case in cases}
    for case, told in zip(cases, evidence, strict=True):
        raised = [at for at in alerts(case.day, told, line) if case.onset <= at <= case.window_end]
        inside = (case.day >= case.onset) & (case.day <= case.window_end)
        raised = raised or case.day[inside & (told >= line)][:1].tolist()
        delays.setdefault(case.scenario, []).append(raised[0] - case.onset if raised else np.inf)
    by = {}
    for scenario, found in delays.items():
        late = np.where(np.isfinite(found), found, rises[scenario] + 15.0)
        by[scenario] = (float(np.isfinite(found).mean()), float(np.median(late)))
    return Verdict(
        detection=float(np.mean([share for share, _ in by.values()])),
        delay=float(np.mean([days for _, days in by.values()])),
        by_scenario=by,
    )
