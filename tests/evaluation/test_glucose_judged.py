"""Tasks G and T: honest chances of a low glucose, and drifts of glucose up and down, on real fingersticks."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss

from risk import drift
from risk.features import NAMES
from risk.memory import GLUCOSE
from risk.training.drift import spoken
from risk.training.glucose import (
    HORIZONS,
    auroc,
    by_chain,
    calibration_error,
    calibration_slope,
    cases,
    features_of,
    logistic,
    oracle,
    oracle_elsewhere,
)
from risk.training.streams import (
    GLUCOSE_FALLS,
    GLUCOSE_RISES,
    every_change,
    glucose_streams,
    judge,
    line_at,
    months,
    read_diaries,
    walk,
)
from tests.evaluation.conftest import DATA, interval
from tests.evaluation.drawing import Figure

pytestmark = [pytest.mark.evaluation, pytest.mark.timeout(3600)]


def within_person(held, score):
    """Mean area under the curve inside one person: can it tell when, or only who?"""
    each = []
    for person in np.unique(held.person):
        own = held.person == person
        if 0 < held.y[own].sum() < own.sum():
            each.append((auroc(held.y[own], score[own]), own.sum()))
    return np.average([a for a, _ in each], weights=[n for _, n in each])


def by_chains(held, score, draws=200):
    """Area under the curve with chains drawn anew."""
    chains = np.unique(held.chain)
    rows = {chain: np.nonzero(held.chain == chain)[0] for chain in chains}
    draw, areas = np.random.default_rng(0), []
    for _ in range(draws):
        some = np.concatenate([rows[chain] for chain in draw.choice(chains, len(chains))])
        areas.append(auroc(held.y[some], score[some]))
    return interval(areas)


def boosting():
    return HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_leaf_nodes=8, random_state=0)


def only(column):
    """One feature alone, as a logistic of its own."""

    class One:
        def fit(self, x, y):
            self.model = LogisticRegression().fit(x[:, [column]], y)
            return self

        def predict_proba(self, x):
            return self.model.predict_proba(x[:, [column]])

    return One


def fitted_on_everybody(held):
    """No honest figure: what is left when the split costs nothing."""
    return logistic().fit(held.x, held.y).predict_proba(held.x)[:, 1]


def one_false_alert_a_week(diaries, held, chance, hours=24):
    """Share of episodes with an alert in the day before, and of alerts that were right, at one wrong alert per person-week."""
    at = {diary.person: np.array(diary.at) for diary in diaries}
    value = {diary.person: np.array(diary.value) for diary in diaries}
    weeks = sum((when[-1] - when[0]) / 604800 for when in at.values())
    episodes = {}
    for person, when in at.items():
        low = when[value[person] < 70]
        episodes[person] = [t for place, t in enumerate(low) if place == 0 or t - low[place - 1] >= 6 * 3600]

    def counted(line):
        right = wrong = caught = total = 0
        for person, starts in episodes.items():
            own = held.person == person
            when, raised, last = held.at[own], [], -(10**12)
            for t, c in zip(when, chance[own], strict=True):
                if c >= line and t - last >= 24 * 3600:
                    raised.append(t)
                    last = t
            hits = [any(t < s <= t + hours * 3600 for s in starts) for t in raised]
            right, wrong = right + sum(hits), wrong + len(hits) - sum(hits)
            caught += sum(any(s - hours * 3600 <= t < s for t in raised) for s in starts)
            total += len(starts)
        return right, wrong, caught, total

    for line in np.unique(np.quantile(chance, np.linspace(0, 1, 201))):
        right, wrong, caught, total = counted(line)
        if wrong / weeks <= 1.0:
            return caught / total, right / max(right + wrong, 1)
    return 0.0, 0.0


def test_chances_of_a_low_glucose(report):
    diaries = read_diaries(DATA / "fingersticks.csv.gz")
    seen = features_of(diaries)
    lines, figure = [], Figure("Told and found: low glucose", "chance told", "share found", (0, 1), (0, 1))
    figure.line([0, 1], [0, 1], "honest", colour=4, dashed=True)
    for place, (name, (hours, least)) in enumerate(HORIZONS.items()):
        held = cases(diaries, seen, hours=hours, least=least)
        made = by_chain(held, logistic)
        scores = {
            "**this forecast** (logistic, 7 features)": made,
            "low blood glucose index, 14 days": by_chain(held, only(NAMES.index("low_risk_14d"))),
            "shrunk share of lows, half-life 14 days": by_chain(held, only(NAMES.index("low_rate_14d"))),
            "boosting, the same features": by_chain(held, boosting),
            "last value alone": -held.last,
            "*cheating: the same forecast, fitted on the people judged*": fitted_on_everybody(held),
            "*oracle: each person's own rate, the days judged left out*": oracle_elsewhere(held, hours=hours),
            "*oracle: each person's own rate, the days judged included*": oracle(held),
        }
        for label, score in scores.items():
            honest = label.startswith(("**", "low blood", "shrunk", "boosting"))
            caught = one_false_alert_a_week(diaries, held, score) if hours == 24 and honest else None
            lines.append(
                f"| {name} | {label} | {auroc(held.y, score):.3f} {by_chains(held, score)} | {within_person(held, score):.2f} | "
                f"{average_precision_score(held.y, score):.2f} | "
                + (
                    f"{brier_score_loss(held.y, score):.3f} | {calibration_slope(held.y, score):.2f} | {calibration_error(held.y, score):.3f} | "
                    if honest
                    else "| | | "
                )
                + (f"{caught[0]:.2f} / {caught[1]:.2f} |" if caught else "|")
            )
        parts = np.array_split(np.argsort(made), 10)
        figure.line(
            [made[p].mean() for p in parts], [held.y[p].mean() for p in parts], f"within {name}", colour=place
        )
        assert calibration_error(held.y, made) <= 0.03
        assert 0.8 <= calibration_slope(held.y, made) <= 1.2
        best = auroc(held.y, oracle(held))
        assert auroc(held.y, made) >= {"24h": 0.72, "7d": 0.78}[name]
        assert auroc(held.y, made) < best, "better than the future: a leak"
    report.say(
        "low glucose",
        "## Chance of a low glucose (task G)",
        "",
        f"{len(diaries)} people in {len({d.chain for d in diaries})} chains, every chain judged by a model that never saw it. Index: a reading of at least 70 mg/dL with ten",
        "readings and three days before it; outcome: a reading below 70 within the time named.",
        "",
        "| within | score | AUROC | inside one person | AUPRC | Brier | slope | calibration error | caught / right at 1 false alert per person-week |",
        "|---|---|---|---|---|---|---|---|---|",
        *lines,
        "",
        "Inside one person nothing does much better than a coin: *who* is at risk is predictable, *when* hardly. So the product shows a tier and a",
        "chance, and promises no warning of the next low.",
        "",
        "**Why the goal of 0.82 for seven days is missed.** It was measured on 51 people, these are 34 of them (the rest are kept aside): the same index readings,",
        "outcome, exclusions and split by chain, but the others are easier to tell apart. The very score that had 0.826 there (shrunk share of lows, no model)",
        "has 0.784 here, the low blood glucose index 0.787 for 0.809, the oracle 0.830 for 0.865. Fitting the forecast on the very people it is judged on",
        "(no honest figure) gives 0.807; a judge who knows each person's whole diary but the days judged does worse than the forecast. Forty further features",
        "(half-lives of 3 to 60 days and the whole diary, lows a day, weeks with a low, time since the last, slots of the day, lower tail, means, highs),",
        "chains weighted alike, and stronger and weaker penalties: nothing ends above 0.791 by chain. The one exception, how long the diary has been kept",
        "(0.795), says something about these diaries and nothing about people, and is left out.",
        "",
        "![Calibration](figures/calibration.svg)",
    )
    figure.write(report.figures / "calibration.svg")


def shifts(streams):
    """In ln(mg/dL): means of three days, of seven, of seven minus the first fourteen days; an exponential mean minus the same."""
    told = []
    for stream in streams:
        day, value = stream.day, np.log(stream.value)
        total = np.concatenate([[0.0], np.cumsum(value)])
        here = np.arange(len(day)) + 1
        three, seven = (
            (total[here] - total[a]) / (here - a)
            for a in (np.searchsorted(day, day - d, side="right") for d in (3, 7))
        )
        own, fading = np.median(value[day < day[0] + 14]), np.empty_like(value)
        mean = value[0]
        for place, one in enumerate(value):
            mean += 0.06 * (one - mean)
            fading[place] = mean
        told.append((three, seven, seven - own, fading - own))
    return told


def likelihood(seen, sign):
    """Mean-shift likelihood ratio: the clearest step of the bank, upwards or downwards."""
    against = drift.bank(GLUCOSE.slots // GLUCOSE.slots_a_day)
    steps = [place for place, (age, share) in enumerate(zip(against.ages, against.now, strict=True))
             if share == 1 and (place == 0 or against.ages[place - 1] != age)]  # fmt: skip
    return [(sign * one[:, steps]).max(axis=1) for one in seen]


def test_drift_of_glucose(report):
    reading, rows = drift.learnt(), []
    weights, alike = (reading.hidden, reading.offset, reading.out), reading.alike["glucose"]
    for file, people in (("fingersticks", "fingersticks"), ("cgm_thinned", "continuous glucose, thinned")):
        still = glucose_streams(read_diaries(DATA / f"{file}.csv.gz"))
        walked, plain = walk(still), shifts(still)
        seen = [spoken(weights, one, alike) for one in walked]
        for way, sign, scenarios in (("up", 1, GLUCOSE_RISES), ("down", -1, GLUCOSE_FALLS)):
            moved = [
                c
                for seed in range(3)
                for c in every_change(still, scenarios, seed=seed, earliest=21.0, latest=75.0)
            ]
            side = 0 if way == "up" else 1
            walked_moved, plain_moved = walk(moved), shifts(moved)
            told = [spoken(weights, one, alike)[side] for one in walked_moved]
            statistics = {"**this scorer**": ([one[side] for one in seen], told)} | {
                name: ([sign * one[k] for one in plain], [sign * one[k] for one in plain_moved])
                for k, name in enumerate(
                    ("3-day mean", "7-day mean", "7-day mean minus own", "exponential mean minus own")
                )
            }
            statistics["mean-shift likelihood ratio, same memory"] = (
                likelihood(walked, sign), likelihood(walked_moved, sign),
            )  # fmt: skip
            found = {}
            for name, (null, changed) in statistics.items():
                verdict = judge(moved, changed, line_at(still, null, 0.5))
                found[name] = verdict.detection
                rows.append(
                    f"| {people} ({len(still)} streams, {months(still):.0f} months) | {way} | {name} | {verdict.detection:.3f} | {verdict.delay:.1f} |"
                )
            assert found["**this scorer**"] >= max(found.values()) - 0.02
    report.say(
        "glucose drift",
        "## Drift of glucose (task T)",
        "",
        "Glucose multiplied by 1.3 to 2.0, or by 0.7 to 0.8, at once or over 14 to 28 days; the line set on the same unchanged streams at 0.5",
        "alerts per patient-month. The reading of the bank never saw a glucose; only its scale was measured, on the fingersticks. Real drifts in the unchanged",
        "streams count as false alerts.",
        "",
        "| people | way | statistic | found | median delay, days |",
        "|---|---|---|---|---|",
        *rows,
    )
