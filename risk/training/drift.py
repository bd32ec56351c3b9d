"""Learning to read the bank of changes, and measuring how often it is wrong about unchanged people.

Null streams are unchanged people; the same streams with a ramp or step added are changed ones. Everything is measured
across a split by stream: what was learnt on one half speaks about the other.
"""

import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from risk import baseline, drift
from risk.baseline import PEOPLE
from risk.drift import Learnt, Scale
from risk.memory import DTYPES, LAYOUT, PRESSURE, Bools, Floats, Past, learn, look_back

WARM_UP = 14.0
REFRACTORY = 7.0
MONTH = 30.4
SCENARIOS: tuple[tuple[str, float, float], ...] = (
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
LEARN_FROM, LEARN_TO = 1.5, 21.0
"""Days after the onset from which changed rows are learnt: later ones are no news."""
ROWS_A_CASE = 8
UNITS = 48
EXPECTED_A_MONTH = (4.0, 2.0, 1.0, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.015)
"""False alerts per patient-month at which the scale is measured."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One person's session means over some months; `onset` and `rise` if a change was added."""

    name: str
    person: str
    day: Floats
    value: Floats
    scenario: str = ""
    onset: float = np.inf
    rise: float = 0.0

    @property
    def window_end(self) -> float:
        """Fourteen days after the change has arrived: later is too late to count."""
        return self.onset + self.rise + 14.0


def read_streams(file: Path) -> list[Stream]:
    """The unchanged streams of a cohort file (stream, day, systolic)."""
    held: dict[str, list[tuple[float, float]]] = {}
    with gzip.open(file, "rt", newline="") as source:
        for row in csv.DictReader(source):
            held.setdefault(row["stream"], []).append((float(row["day"]), float(row["systolic"])))
    return [
        Stream(name, name, np.array([d for d, _ in rows]), np.array([v for _, v in rows]))
        for name, rows in sorted(held.items())
    ]


def changed(streams: Sequence[Stream], *, seed: int, sign: float = 1.0) -> list[Stream]:
    """Every stream with every scenario added once, beginning between day 30 and 75."""
    draw = np.random.default_rng(seed)
    made = []
    for stream in streams:
        for scenario, amplitude, rise in SCENARIOS:
            onset = float(draw.uniform(30, 75))
            since = stream.day - onset
            arrived = np.clip(since / rise, 0, 1) if rise else (since >= 0) * 1.0
            value = np.round(stream.value + sign * amplitude * arrived)
            made.append(
                Stream(f"{stream.name} {scenario}", stream.person, stream.day, value, scenario, onset, rise)
            )
    return made


def walk(streams: Sequence[Stream]) -> list[Floats]:
    """The features of every reading of every stream, by the memory and the bank that run live."""
    people, against = PEOPLE["systolic"], drift.bank(PRESSURE.slots, PRESSURE.slots_a_day)
    block = np.zeros(len(streams), DTYPES[PRESSURE.kind])
    block["layout"] = LAYOUT
    seen: list[list[Floats]] = [[] for _ in streams]
    for turn in range(max(len(stream.day) for stream in streams)):
        rows = np.array([row for row, stream in enumerate(streams) if turn < len(stream.day)])
        at = np.array([int(streams[row].day[turn] * 86400) for row in rows]) + 86400 * 20_000
        values = np.full((len(rows), 3), np.nan)
        values[:, 0] = [streams[row].value[turn] for row in rows]
        slot = (at - PRESSURE.starts_at * 3600) // PRESSURE.seconds
        part, never = block[rows], np.full(len(rows), -(2**31))
        learn(
            part,
            PRESSURE,
            slot=slot,
            at=at,
            values=values,
            stored=values,
            tallies={},
            where=np.ones(len(rows), bool),
            reset=never,
        )
        block[rows] = part
        past = _only_systolic(look_back(part, PRESSURE, slot, never))
        robust = baseline.settle(past, people, PRESSURE.slots_a_day)
        trust = past.trust * drift.ANCHOR_SHARE
        held = drift.hold(robust, np.where(trust > 0, past.anchor - robust.centre, 0.0), trust, against)
        raw = drift.features(held, robust, against, np.ones(against.shapes.shape[1]), people)
        for row, one in zip(rows, raw.astype(np.float32), strict=True):
            seen[row].append(one)
    return [np.array(rows) for rows in seen]


def _only_systolic(past: Past) -> Past:
    return Past(past.mean[::3], past.count[::3], past.there[::3], past.anchor[::3], past.trust[::3])


def _settled(stream: Stream) -> Bools:
    known: Bools = np.greater_equal(stream.day - stream.day[0], WARM_UP)
    return known


def alike(streams: Sequence[Stream], seen: Sequence[Floats]) -> Floats:
    """Variance of each change's z in unchanged people."""
    many = seen[0].shape[1] - len(drift.SIZE_AGES) - 1
    z = np.concatenate([rows[_settled(stream), :many] for stream, rows in zip(streams, seen, strict=True)])
    variance: Floats = np.maximum(np.mean(z.astype(np.float64) ** 2, axis=0), 1.0)
    return variance


def corrected(seen: Floats, variance: Floats) -> Floats:
    """Features as the reading sees them: z by its spread in unchanged people."""
    whole = seen.astype(np.float64)
    whole[:, : len(variance)] /= np.sqrt(variance)
    return whole


def teach(
    streams: Sequence[Stream], seen: Sequence[Floats], variance: Floats, *, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Hidden weights, offsets and output weights of a reading learnt on these streams."""
    draw = np.random.default_rng(seed)
    rows, changes = [], []
    for stream, told in zip(streams, seen, strict=True):
        use = np.nonzero(_settled(stream))[0]
        if stream.scenario:
            since = stream.day[use] - stream.onset
            use = use[(since >= LEARN_FROM) & (since <= min(LEARN_TO, stream.rise + 14.0))]
            use = draw.choice(use, min(ROWS_A_CASE, len(use)), replace=False)
        rows.append(corrected(told[use], variance))
        changes.append(np.full(len(use), bool(stream.scenario)))
    x, y = np.concatenate(rows), np.concatenate(changes)
    order = draw.permutation(len(y))
    model = MLPClassifier(
        (UNITS,),
        alpha=0.1,
        max_iter=40,
        early_stopping=True,
        learning_rate_init=3e-3,
        batch_size=1024,
        random_state=seed,
    ).fit(x[order], y[order])
    return model.coefs_[0], model.intercepts_[0], model.coefs_[1][:, 0]


def alerts(day: Floats, evidence: Floats, line: float) -> list[float]:
    """Days on which an alert would be raised: warm-up first, then at most one in seven days."""
    raised: list[float] = []
    for at, one in zip(day, evidence, strict=True):
        if at - day[0] >= WARM_UP and one >= line and (not raised or at - raised[-1] >= REFRACTORY):
            raised.append(float(at))
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
    for rate in EXPECTED_A_MONTH:
        line = line_at(streams, evidence, rate)
        if not points or line > points[-1][0] + 1e-3:
            points.append((round(line, 5), round(float(-np.log(rate)), 5)))
    return Scale(tuple(x for x, _ in points), tuple(y for _, y in points))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a statistic did at one budget."""

    detection: float
    delay: float  # mean over scenarios of the median, in days; a miss counts the window and a day
    chance: float
    obtained: float
    by_scenario: dict[str, tuple[float, float]]


def judge(cases: Sequence[Stream], evidence: Sequence[Floats], line: float, *, obtained: float) -> Verdict:
    """Detection and delay of the changed streams at one line."""
    delays: dict[str, list[float]] = {}
    for case, told in zip(cases, evidence, strict=True):
        inside = (case.day >= case.onset) & (case.day <= case.window_end)
        raised = [at for at in alerts(case.day, told, line) if case.onset <= at <= case.window_end]
        raised = raised or list(case.day[inside & (told >= line)][:1])
        delays.setdefault(case.scenario, []).append(raised[0] - case.onset if raised else np.inf)
    by = {}
    for scenario, _, rise in SCENARIOS:
        found = np.array(delays.get(scenario, [np.inf]))
        by[scenario] = (
            float(np.isfinite(found).mean()),
            float(np.median(np.where(np.isfinite(found), found, rise + 15.0))),
        )
    return Verdict(
        detection=float(np.mean([d for d, _ in by.values()])),
        delay=float(np.mean([d for _, d in by.values()])),
        chance=float("nan"),
        obtained=obtained,
        by_scenario=by,
    )


def train(cohort: Path, *, version: str, seed: int = 7) -> dict[str, Any]:
    """The content of `models/drift.json`: the reading, its scale and its report card.

    1. Learn on one half of the people, speak about the other, both ways: the report card and the scale come from that.
    2. Learn on everybody: that is the reading shipped, on the scale measured across the halves (evidence is a log
       odds in both; measuring the shipped reading on those it learnt from would flatter it).
    """
    still = read_streams(cohort / "streams.csv.gz")
    moved = changed(still, seed=seed)
    seen_still, seen_moved = walk(still), walk(moved)
    variance = alike(still, seen_still)
    half = {stream.person: place % 2 for place, stream in enumerate(still)}

    def part(
        side: int, streams: Sequence[Stream], seen: Sequence[Floats]
    ) -> tuple[list[Stream], list[Floats]]:
        kept = [place for place, stream in enumerate(streams) if half[stream.person] == side]
        return [streams[p] for p in kept], [seen[p] for p in kept]

    across: list[Floats] = [np.empty(0)] * len(still)
    across_fall: list[Floats] = [np.empty(0)] * len(still)
    across_moved: list[Floats] = [np.empty(0)] * len(moved)
    for side in (0, 1):
        taught_on, told = part(1 - side, still, seen_still)
        more, more_told = part(1 - side, moved, seen_moved)
        learnt = _learnt(teach([*taught_on, *more], [*told, *more_told], variance, seed=seed), variance)
        for place, stream in enumerate(still):
            if half[stream.person] == side:
                across[place], across_fall[place] = _both(learnt, seen_still[place], variance)
        for place, stream in enumerate(moved):
            if half[stream.person] == side:
                across_moved[place] = _both(learnt, seen_moved[place], variance)[0]
    hidden, offset, out = teach([*still, *moved], [*seen_still, *seen_moved], variance, seed=seed)
    card = {}
    for budget in (0.25, 0.5):
        rate, verdicts = [], []
        for side in (0, 1):
            here, told = part(side, still, across)
            there, told_there = part(1 - side, still, across)
            line = line_at(here, told, budget)
            cases, told_cases = part(1 - side, moved, across_moved)
            rate.append(false_rate(there, told_there, line))
            verdicts.append(judge(cases, told_cases, line, obtained=rate[-1]))
        card[str(budget)] = {
            "detection": round(float(np.mean([v.detection for v in verdicts])), 4),
            "delay_days": round(float(np.mean([v.delay for v in verdicts])), 2),
            "obtained": [round(r, 3) for r in rate],
        }
    scales = {"rise": measure_scale(still, across), "fall": measure_scale(still, across_fall)}
    stored = {
        side: {"evidence": list(s.evidence), "log_months": list(s.log_months)} for side, s in scales.items()
    }
    content: dict[str, Any] = {
        "version": version,
        "bank": drift.described(),
        "alike": [round(float(v), 4) for v in variance],
        "hidden": np.round(hidden, 5).tolist(),
        "offset": np.round(offset, 5).tolist(),
        "out": np.round(out, 5).tolist(),
        "scales": dict.fromkeys(("systolic", "diastolic", "pulse", "glucose"), stored),
        "report": {
            "learnt_on": f"{len(still)} streams, {months(still):.0f} patient-months; {len(moved)} with a change added",
            "across_halves": card,
            "carried_over": "diastolic, pulse and glucose use the systolic scale in their own spreads",
            "seed": seed,
        },
    }
    content["checksum"] = drift.checksum(content)
    return content


def _learnt(weights: tuple[Floats, Floats, Floats], variance: Floats) -> Learnt:
    hidden, offset, out = weights
    return Learnt("in training", variance, hidden, offset, out, {})


def _both(learnt: Learnt, seen: Floats, variance: Floats) -> tuple[Floats, Floats]:
    told = corrected(seen, variance)
    mirror = np.ones(told.shape[1])
    mirror[:-1] = -1.0
    return learnt.read(told), learnt.read(told * mirror)


def write(content: dict[str, Any], file: Path) -> None:
    """One line per array, so that a change is a readable diff."""
    file.write_text(json.dumps(content, indent=None, separators=(", ", ": ")) + "\n", encoding="utf-8")
