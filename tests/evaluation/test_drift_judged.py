"""Task B: a change of pressure added to unchanged people; how often and how soon it is seen, at a budget of false alerts."""

import csv
import gzip
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from risk import drift
from risk.events import Concern
from risk.memory import PRESSURE
from risk.replay import POSSIBLE, reading_of, replay
from risk.scoring import Model
from risk.training.streams import (
    PRESSURE_CHANGES,
    Stream,
    alerts,
    changed,
    false_rate,
    judge,
    line_at,
    read_pressures,
    walk,
)
from tests.evaluation.conftest import DATA, interval
from tests.evaluation.drawing import Figure

pytestmark = [pytest.mark.evaluation, pytest.mark.timeout(3600)]
ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
FLOOR = {0.25: (0.941, 9.7), 0.5: (0.971, 8.2)}
"""Mean-shift likelihood ratio alone on this very cohort, when the goal was set."""
GOAL = {0.25: (0.95, 9.2), 0.5: (0.975, 7.5)}
NO_CHANGE = "no change (chance)"


@pytest.fixture(scope="module")
def cohort():
    """Null streams (which set the line), test streams (which it is tried on), and the test streams changed."""
    still = read_pressures(DATA / "pressure_streams.csv.gz")
    by_name = {stream.person: stream for stream in still}
    cases, chance = [], []
    with gzip.open(DATA / "pressure_cases.csv.gz", "rt", newline="") as source:
        for row in csv.DictReader(source):
            told = (
                row["scenario"],
                float(row["amplitude_mmhg"]),
                float(row["ramp_days"]),
                float(row["onset_day"]),
            )
            (chance if told[0] == NO_CHANGE else cases).append(changed(by_name[row["stream"]], *told))
    return (
        [s for s in still if s.person.startswith("null")],
        [s for s in still if s.person.startswith("test")],
        cases,
        chance,
    )


def through_the_scorer(streams, values=None):
    """The scores of every stream, each as a patient of its own, by the replay that runs live code."""
    readings, ends = [], [0]
    for place, stream in enumerate(streams):
        told = (
            [{"systolic": v, "diastolic": np.round(v * 0.6)} for v in stream.value]
            if values is None
            else values(stream)
        )
        for day, row in zip(stream.day, told, strict=True):
            at = (ORIGIN + timedelta(days=float(day))).isoformat()
            readings.append(
                reading_of(
                    {"patient_id": str(place), "effective_at": at}
                    | {k: str(np.clip(v, *POSSIBLE[k])) for k, v in row.items()},
                    line=0,
                )
            )
        ends.append(len(readings))
    scored = replay(readings)
    return [scored[a:b] for a, b in pairwise(ends)]


def drift_scores(scored):
    return [np.array([one.drift_score or 0.0 for one in rows]) for rows in scored]


def week_minus_own(stream):
    """The usual way: the mean of the last seven days minus the median of the first fourteen."""
    day, value = stream.day, stream.value
    own = np.median(value[day < day[0] + 14])
    total = np.concatenate([[0.0], np.cumsum(value)])
    first = np.searchsorted(day, day - 7, side="right")
    here = np.arange(len(day)) + 1
    return (total[here] - total[first]) / (here - first) - own


def resampled(cases, told, line, seed=0, draws=200):
    """Detection and delay with people drawn anew."""
    by = {}
    for case, evidence in zip(cases, told, strict=True):
        raised = [at for at in alerts(case.day, evidence, line) if case.onset <= at <= case.window_end]
        inside = (case.day >= case.onset) & (case.day <= case.window_end)
        raised = raised or case.day[inside & (evidence >= line)][:1].tolist()
        by.setdefault(case.scenario, {})[case.person] = raised[0] - case.onset if raised else np.inf
    people = sorted({case.person for case in cases})
    rises = {case.scenario: case.rise for case in cases}
    table = np.array([[by[s].get(p, np.nan) for p in people] for s in by])
    late = np.where(np.isinf(table), np.array([[rises[s] + 15.0] for s in by]), table)
    draw = np.random.default_rng(seed)
    found, delay = [], []
    for _ in range(draws):
        pick = draw.integers(0, len(people), len(people))
        some = table[:, pick]
        found.append(np.mean([np.isfinite(row[~np.isnan(row)]).mean() for row in some]))
        delay.append(np.nanmedian(late[:, pick], axis=1).mean())
    return interval(found), interval(delay)


def test_drift_of_systolic_pressure(cohort, report):
    null, test, cases, chance = cohort
    told = drift_scores(through_the_scorer([*null, *test, *cases, *chance]))
    a, b, c = len(null), len(null) + len(test), len(null) + len(test) + len(cases)
    own = [week_minus_own(stream) for stream in [*null, *test, *cases]]
    against = drift.bank(PRESSURE.slots // PRESSURE.slots_a_day)
    steps = [
        place
        for place, share in enumerate(against.now)
        if place == 0 or against.ages[place] != against.ages[place - 1]
        if share == 1
    ]
    glr = [seen[:, steps].max(axis=1) for seen in walk([*null, *test, *cases])]
    rows, curves = [], {}
    for name, evidence in (
        ("**this scorer**", told),
        ("mean-shift likelihood ratio, same memory", glr),
        ("7-day mean minus own first 14 days", own),
    ):
        for budget in (0.25, 0.5):
            line = line_at(null, evidence[:a], budget)
            verdict, obtained = (
                judge(cases, evidence[b : b + len(cases)], line),
                false_rate(test, evidence[a:b], line),
            )
            found, late = resampled(cases, evidence[b : b + len(cases)], line)
            by = verdict.by_scenario
            rows.append(
                f"| {name} | {budget:g} | {verdict.detection:.3f} {found} | {verdict.delay:.1f} {late} | {by['ramp +10/14d'][0]:.2f} | "
                f"{by['step +10'][0]:.2f} | {obtained:.2f} |"
            )
            if evidence is told:
                goal = GOAL[budget]
                assert verdict.detection >= goal[0] and verdict.delay <= goal[1], verdict
                assert 0.6 * budget <= obtained <= 1.4 * budget
                if budget == 0.25:
                    assert by["ramp +10/14d"][0] >= 0.88
        curves[name] = [
            (
                budget,
                judge(cases, evidence[b : b + len(cases)], line_at(null, evidence[:a], budget)).detection,
            )
            for budget in (0.1, 0.18, 0.25, 0.35, 0.5, 0.75, 1.0)
        ]
    rows += [
        f"| the floor when the goal was set | {budget:g} | {d:.3f} | {days:.1f} | | | |"
        for budget, (d, days) in FLOOR.items()
    ]
    by_chance = [
        np.mean(
            [
                any(s.onset <= at <= s.window_end for at in alerts(s.day, e, line_at(null, told[:a], budget)))
                for s, e in zip(chance, told[c:], strict=True)
            ]
        )
        for budget in (0.25, 0.5)
    ]
    shipped = [
        false_rate(streams, told[start : start + len(streams)], drift.threshold(0.25))
        for streams, start in ((null, 0), (test, a))
    ]
    halves = drift.card()["across_halves"]
    report.say(
        "drift",
        "## Drift of systolic pressure (task B)",
        "",
        f"{len(null)} unchanged streams set the line, {len(test)} others are judged, {len(cases)} of them with a change added (nine scenarios, +10 to",
        "+25 mmHg at once or over 7 to 28 days). An alert counts from the onset until 14 days after the change has arrived; a miss counts as",
        "the window and a day. The score judged is the one that pages: it spends part of its budget on falls and on diastolic pressure.",
        "",
        "| statistic | false alerts per patient-month | detection, mean of nine | median delay, days | +10 over 14 d | step +10 | obtained on other people |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"By chance an unchanged person raises an alert in an equally long window in {by_chance[0]:.0%} (0.25) and {by_chance[1]:.0%} (0.5) of cases. With the",
        f"*shipped* line for 0.25 (a drift score of 4) the unchanged streams obtain {shipped[0]:.2f} and {shipped[1]:.2f}.",
        "",
        "The reading of the bank was learnt on these 400 streams, so the honest figures for a rise alone are those across halves, learnt on one",
        "half of the people and judged on the other:",
        "",
        *(
            f"- at {budget}: detection {' and '.join(map(str, card['detection']))}, delay {' and '.join(map(str, card['delay_days']))} days, "
            f"obtained with the line of the other half {' and '.join(map(str, card['obtained_with_the_line_of_the_other_half']))}"
            for budget, card in halves.items()
        ),
        "",
        "![Detection against false alerts](figures/detection.svg)",
        "",
        "One of the changed people as a nurse would see them, and the statistic behind the alert:",
        "",
        "![One person: readings, own band, alert](figures/person.svg)",
        "![The drift score of the same days](figures/person_drift.svg)",
    )
    figure = Figure(
        "Changes found, by the false alerts allowed",
        "false alerts per patient-month",
        "share found",
        (0, 1),
        (0.75, 1.0),
    )
    for place, (name, points) in enumerate(curves.items()):
        figure.line(*zip(*points, strict=True), name.strip("*"), colour=place)
    figure.write(report.figures / "detection.svg")
    _timeline(cases, report)


def _timeline(cases, report):
    """One changed person as a nurse would see them."""
    case = next(one for one in cases if one.scenario == "ramp +15/14d")
    (scored,) = through_the_scorer([case])
    bands = [one.bands[0] for one in scored]
    figure = Figure(
        f"One person, {case.scenario} from day {case.onset:.0f}", "day", "systolic, mmHg", (0, 120), (90, 190)
    )
    figure.band(case.day, np.array([band.low for band in bands]), np.array([band.high for band in bands]))
    figure.line(case.day, [band.level for band in bands], "own usual", colour=0)
    figure.dots(case.day, case.value)
    figure.mark(case.onset, "change begins", colour=4)
    score = np.array([one.drift_score or 0.0 for one in scored])
    line = drift.threshold(0.25)
    strip = Figure(
        "Its drift score, on a scale of tens", "day", "10 to the power of", (0, 120), (-2, 3), height=210
    )
    strip.line(case.day, np.log10(np.clip(score, 1e-2, 1e3)), "months between chance alerts")
    strip.line((0, 120), (np.log10(line),) * 2, f"speaks from {line:g}", colour=1, dashed=True)
    for at in alerts(case.day, score, line)[:1]:
        figure.mark(at, "alert", row=1)
        strip.mark(at, "alert")
    figure.write(report.figures / "person.svg")
    strip.write(report.figures / "person_drift.svg")


SIDES = {
    "systolic falls": (
        Concern.PRESSURE_DRIFT_DOWN,
        lambda still, change: {"systolic": still - change, "diastolic": np.round(0.6 * still)},
    ),
    "diastolic rises alone": (
        Concern.PRESSURE_DRIFT_UP,
        lambda still, change: {"systolic": still, "diastolic": np.round(0.6 * (still + change))},
    ),
    "diastolic falls alone": (
        Concern.PRESSURE_DRIFT_DOWN,
        lambda still, change: {"systolic": still, "diastolic": np.round(0.6 * (still - change))},
    ),
    "pulse falls": (
        Concern.PULSE_DRIFT,
        lambda still, change: {
            "systolic": still,
            "diastolic": np.round(0.6 * still),
            "pulse": np.round(0.55 * (still - change)),
        },
    ),
    "pulse rises": (
        Concern.PULSE_DRIFT,
        lambda still, change: {
            "systolic": still,
            "diastolic": np.round(0.6 * still),
            "pulse": np.round(0.55 * (still + change)),
        },
    ),
}


def test_falls_diastolic_and_pulse(cohort, report):
    _, test, _, _ = cohort
    rows = []
    draw = np.random.default_rng(11)
    people = test[::4]
    for name, (concern, values) in SIDES.items():
        cases, untouched = [], []
        for stream in people:
            for scenario, size, rise in PRESSURE_CHANGES[2:9:2]:
                cases.append(changed(stream, scenario, size, rise, float(draw.uniform(30, 75))))
            untouched.append(Stream(PRESSURE, stream.person, stream.day, stream.value))
        still = {stream.person: stream.value for stream in people}

        def told(stream, still=still, values=values):
            before = still[stream.person]
            return [values(s, c) for s, c in zip(before, stream.value - before, strict=True)]

        def spoke(streams, told=told, concern=concern):
            return [
                np.array([float(any(f.concern is concern for f in one.findings)) for one in rows])
                for rows in through_the_scorer(streams, told)
            ]

        verdict, wrong = judge(cases, spoke(cases), 0.5), false_rate(untouched, spoke(untouched), 0.5)
        shown = ", ".join(f"{s} {d:.2f}" for s, (d, _) in verdict.by_scenario.items())
        rows.append(f"| {name} | {verdict.detection:.2f} | {verdict.delay:.1f} | {wrong:.2f} | {shown} |")
    report.say(
        "other drifts",
        "## Falls, diastolic pressure and pulse",
        "",
        f"No published table covers these. {len(people)} people, as they page: with the shipped line for a budget of 0.25, of which a fall gets",
        f"{drift.SHARES['systolic'][1]:.0%} and diastolic {drift.SHARES['diastolic'][0]:.0%} each way; pulse has a budget of its own, half of it for rises. There is no open home series of",
        "diastolic pressure and pulse long enough, so their noise is the systolic one scaled by 0.6 and 0.55, and the change added is scaled alike.",
        "",
        "| what | found | median delay, days | alerts per patient-month unchanged | by scenario |",
        "|---|---|---|---|---|",
        *rows,
    )
    assert Model().forecast is None
