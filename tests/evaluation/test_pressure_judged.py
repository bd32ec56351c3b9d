"""The chance that next week's average home pressure is at or above the limit: honest, and better than last week's average?"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from risk.measures import WEEK_LEAST
from risk.memory import PRESSURE, seconds
from risk.outlook import PAIR, RULES
from risk.replay import NoReading, reading_of, replay
from risk.rules import LINE
from risk.training.glucose import auroc, calibration_error, calibration_slope
from risk.training.streams import PRESSURE_CHANGES, changed, read_pressures
from tests.evaluation.conftest import DATA, interval
from tests.evaluation.drawing import Figure
from tests.evaluation.test_operations_judged import cuffs

pytestmark = [pytest.mark.evaluation, pytest.mark.timeout(3600)]
ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = [LINE[rule].default for rule in RULES]
WEEK = 7 * PRESSURE.slots_a_day
NEAR = 10.0
"""mm[Hg] between last week's average and the limit within which the answer is open."""


@dataclass(frozen=True)
class Weeks:
    """Readings with a chance told and enough measured in the week after them."""

    person: np.ndarray
    chance: np.ndarray
    over: np.ndarray  # last week's average above the limit, of the pressure that is further up, mm[Hg]
    y: np.ndarray
    since: np.ndarray  # days since the change began, of people in whom one was added

    def where(self, rows):
        return Weeks(*(getattr(self, field.name)[rows] for field in fields(self)))


def half_days(scored):
    """Rows of half-day, mean systolic, mean diastolic; NaN where the cuff told none."""
    held = {}
    for one in scored:
        told = [one.values.get(name, np.nan) for name in PAIR]
        held.setdefault(PRESSURE.slot_of(seconds(one.effective_at), 0), []).append(told)
    return np.array([[slot, *np.mean(told, axis=0)] for slot, told in sorted(held.items())])


def weeks(readings, onsets=None):
    """Every chance with what came: the mean of the half-days of the next seven days, as many measured as the rule asks.

    Second, the share of readings with a known next week for which no chance was told.
    """
    told, refused = [], 0
    scored = [one for one in replay(readings) if one.outlook is not None]
    for person, some in groupby(sorted(scored, key=lambda one: one.patient_id), lambda one: one.patient_id):
        own = list(some)
        means = half_days(own)
        for one in own:
            slot = PRESSURE.slot_of(seconds(one.effective_at), 0)
            ahead = means[(means[:, 0] > slot) & (means[:, 0] <= slot + WEEK)]
            if means[-1, 0] < slot + WEEK - 1 or len(ahead) < WEEK_LEAST:
                continue
            if one.outlook.chance is None:
                refused += 1
                continue
            over = max(mean - one.outlook.limit[name] for name, mean in one.outlook.average.items())
            came = bool((ahead[:, 1:].mean(axis=0) >= LIMITS).any())
            day = (one.effective_at - ORIGIN) / timedelta(days=1)
            told.append(
                (str(person), one.outlook.chance, over, came, day - (onsets or {}).get(person, np.inf))
            )
    return Weeks(*(np.array(column) for column in zip(*told, strict=True))), refused / (refused + len(told))


def readings_of(streams):
    """The streams as readings, and when each one's change began."""
    told, onsets = [], {}
    for place, stream in enumerate(streams):
        for day, value in zip(stream.day.tolist(), stream.value.tolist(), strict=True):
            at = (ORIGIN + timedelta(days=day)).isoformat()
            row = {"patient_id": str(place), "effective_at": at, "systolic": str(np.clip(value, 50, 280))}
            told.append(reading_of(row, line=0))
        onsets[told[-1].patient_id] = stream.onset
    return told, onsets


def one_change_each(streams, *, seed):
    """A rise or a fall of every person, at once or over weeks, beginning at a drawn day."""
    draw = np.random.default_rng(seed)
    kinds = [(name, way * size, rise) for name, size, rise in PRESSURE_CHANGES for way in (1, -1)]
    return [
        changed(stream, *kinds[draw.integers(len(kinds))], float(draw.uniform(21, 75))) for stream in streams
    ]


def by_people(held, chance, measure, draws=200):
    """A measure with people drawn anew."""
    people, where = np.unique(held.person, return_inverse=True)
    rows = [np.nonzero(where == person)[0] for person in range(len(people))]
    draw = np.random.default_rng(0)
    told = []
    for _ in range(draws):
        some = np.concatenate([rows[person] for person in draw.integers(0, len(people), len(people))])
        if held.y[some].any() and not held.y[some].all():
            told.append(measure(held.y[some], chance[some]))
    return interval(told)


def brier(y, chance):
    return float(np.mean((chance - y) ** 2))


def rival(train):
    """The strongest plain answer: last week's average, with odds learnt on other people."""
    odds = LogisticRegression().fit(train.over[:, None], train.y)
    return lambda held: odds.predict_proba(held.over[:, None])[:, 1]


def told_of(held):
    return f"{len(np.unique(held.person))} people, {len(held.y):,} readings, {held.y.mean():.0%} followed by a high week"


def test_chance_of_a_high_week(report):
    still = read_pressures(DATA / "pressure_streams.csv.gz")
    others = [stream for stream in still if stream.person.startswith("null")]
    people = [stream for stream in still if stream.person.startswith("test")]
    train, _ = weeks(readings_of(others)[0])
    calm, refused = weeks(readings_of(people)[0])
    moved, _ = weeks(*readings_of(one_change_each(people, seed=0)))
    diaries, refused_there = weeks([one for one in cuffs() if not isinstance(one, NoReading)])
    near = calm.where(np.abs(calm.over) < NEAR)
    learnt, share = rival(train), float(train.y.mean())
    lines, of = [], {}
    for name, held in (
        ("unchanged", calm),
        (f"— last week within {NEAR:g} of the limit", near),
        ("changed by 10 to 25", moved),
        ("— in the five weeks after it began", moved.where((moved.since >= 0) & (moved.since < 5 * 7))),
        ("real diaries", diaries),
    ):
        for label, chance in (
            ("**this chance**", held.chance),
            ("last week's average, its odds learnt on the 200 others", learnt(held)),
            ("last week's average over the limit, yes or no", (held.over >= 0) * 1.0),
            ("everybody's share", np.full(len(held.y), share)),
        ):
            graded = len(np.unique(chance)) > 2
            area = (
                f"{auroc(held.y, chance):.3f} {by_people(held, chance, auroc)}" if label[0] != "e" else "0.5"
            )
            slope = f"{calibration_slope(held.y, chance):.2f}" if graded else ""
            error = f"{calibration_error(held.y, chance):.3f}" if graded else ""
            of[name, label] = brier(held.y, chance)
            lines.append(
                f"| {name} | {label} | {area} | {of[name, label]:.3f} {by_people(held, chance, brier)} | {slope} | {error} |"
            )
        assert of[name, "**this chance**"] < of[name, "last week's average over the limit, yes or no"]
    for held in (calm, moved):
        assert auroc(held.y, held.chance) >= 0.96
        assert 0.8 <= calibration_slope(held.y, held.chance) <= 1.2
        assert calibration_error(held.y, held.chance) <= 0.03
    assert brier(calm.y, calm.chance) < 0.9 * brier(calm.y, learnt(calm))
    assert auroc(near.y, near.chance) >= max(0.86, auroc(near.y, learnt(near)))
    figure = Figure("Told and found: high week", "chance told", "share found", (0, 1), (0, 1))
    figure.line([0, 1], [0, 1], "honest", colour=4, dashed=True)
    for colour, (label, held) in enumerate(
        (("unchanged", calm), ("unchanged, near", near), ("changed", moved))
    ):
        parts = np.array_split(np.argsort(held.chance, kind="stable"), 10)
        told, found = ([column[part].mean() for part in parts] for column in (held.chance, held.y))
        figure.line(told, found, label, colour=colour)
    report.say(
        "high pressure",
        "## Chance of a high week",
        "",
        "Told with every reading: how likely the average of the next seven days, as the rule measures it (half-days, six at least), is at or above the",
        "limit. A closed form (`risk/outlook.py`); its two constants were chosen on 200 streams that are not judged here. Judged are 200 others, each as it",
        "is and with one rise or fall, and the real diaries of both pressures; every reading counts whose next week is known.",
        "",
        *(
            f"- {name}: {told_of(held)}"
            for name, held in (("unchanged", calm), ("changed", moved), ("real diaries", diaries))
        ),
        f"- no chance, for less than seven days or six half-days measured: {refused:.0%} of readings (diaries: {refused_there:.0%})",
        "",
        "| people | score | AUROC | Brier | slope | calibration error |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
        "Among all people most of this is *who*: somebody far from the limit stays there. Near it, where the answer is open, the chance knows clearly more",
        "than last week's average, because it weighs more than a week and knows how far this person strays; in the weeks after a change it knows no more.",
        "**Two real diaries are no proof**: sixteen weeks of two people, both within ten of the limit, whose readings share their outcomes. There it is no",
        "better than everybody's share and surer than it should be. Real people may wander more than the streams do; longer open diaries were not found.",
        "",
        "![Told and found](figures/calibration_pressure.svg)",
    )
    figure.write(report.figures / "calibration_pressure.svg")
