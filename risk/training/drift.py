"""Learning to read the bank of changes: on unchanged people and the same people changed, judged across a split."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from risk import drift
from risk.baseline import PEOPLE
from risk.drift import Learnt, Scale
from risk.memory import Floats
from risk.training.streams import (
    PRESSURE_CHANGES,
    Stream,
    every_change,
    false_rate,
    glucose_streams,
    judge,
    line_at,
    measure_scale,
    months,
    read_diaries,
    read_pressures,
    walk,
)

LEARN_FROM, LEARN_TO = 1.5, 21.0
"""Days after the onset from which changed rows are learnt: later ones are no news."""
ROWS_A_CASE = 8
UNITS, MEMBERS, ROUNDS, PENALTY = 32, 4, 100, 0.1
"""Several small learners from different beginnings, averaged: steadier than one."""
Weights = tuple[Floats, Floats, Floats]


def alike(streams: Sequence[Stream], seen: Sequence[Floats]) -> Floats:
    """Variance of each change's z in unchanged people: what neighbouring readings being alike does to it."""
    many = seen[0].shape[1] - len(drift.SIZE_AGES) - 2
    z = np.concatenate([rows[stream.settled, :many] for stream, rows in zip(streams, seen, strict=True)])
    variance: Floats = np.maximum(np.mean(z**2, axis=0), 1.0).round(4)
    return variance


def corrected(seen: Floats, variance: Floats) -> Floats:
    """Features as the reading sees them: z by its spread in unchanged people; the plain distance left off."""
    whole = seen[:, :-1].copy()
    many = len(variance)
    whole[:, :many] /= np.sqrt(variance)
    whole[:, :-1] = np.clip(whole[:, :-1], -drift.MOST, drift.MOST)
    return whole


def spoken(weights: Weights, seen: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Evidence for a rise and for a fall at every reading of a stream."""
    reading = Learnt("in training", {}, *weights, {})
    rise, fall = reading.both(corrected(seen, variance))
    return rise + seen[:, -1], fall - seen[:, -1]


def teach(streams: Sequence[Stream], seen: Sequence[Floats], variance: Floats, *, seed: int) -> Weights:
    """Hidden weights, offsets and output weights of a reading learnt on these streams."""
    draw = np.random.default_rng(seed)
    rows, changes = [], []
    for stream, told in zip(streams, seen, strict=True):
        use = np.nonzero(stream.settled)[0]
        if stream.scenario:
            since = stream.day[use] - stream.onset
            use = use[(since >= LEARN_FROM) & (since <= min(LEARN_TO, stream.rise + 14.0))]
            use = draw.choice(use, min(ROWS_A_CASE, len(use)), replace=False)
        rows.append(corrected(told[use], variance))
        changes.append(np.full(len(use), bool(stream.scenario)))
    x, y = np.concatenate(rows), np.concatenate(changes)
    order = draw.permutation(len(y))
    learners = [
        MLPClassifier(
            (UNITS,),
            alpha=PENALTY,
            max_iter=ROUNDS,
            early_stopping=True,
            learning_rate_init=3e-3,
            batch_size=1024,
            random_state=seed + member,
        ).fit(x[order], y[order])
        for member in range(MEMBERS)
    ]
    # Their mean log odds is one wider layer; one more unit, always on, carries the mean intercept.
    hidden = np.concatenate([*(m.coefs_[0] for m in learners), np.zeros((x.shape[1], 1))], axis=1)
    offset = np.concatenate([*(m.intercepts_[0] for m in learners), [1.0]])
    intercept = np.mean([m.intercepts_[1][0] for m in learners])
    out = np.concatenate([*(m.coefs_[1][:, 0] / MEMBERS for m in learners), [intercept]])
    return hidden.round(5), offset.round(5), out.round(5)


def train(pressures: Path, fingersticks: Path, *, version: str, seed: int = 7) -> dict[str, Any]:
    """The content of `models/drift.json`: the reading, its scales and its report card.

    1. Learn on one half of the people, speak about the other, both ways: the report card and the scale come from that.
    2. Learn on everybody: that is the reading shipped. Its scale is measured on the people it learnt from, which
       flatters it; by how much is known from the halves (a line set where it learnt, tried where it did not), and
       taken off.
    3. Glucose uses the same reading, which never saw a glucose; only its scale is measured, on fingersticks.
    """
    still = read_pressures(pressures)
    moved = every_change(still, PRESSURE_CHANGES, seed=seed, earliest=30.0, latest=75.0)
    seen_still, seen_moved = walk(still), walk(moved)
    variance = alike(still, seen_still)
    half = {stream.person: place % 2 for place, stream in enumerate(still)}
    ups: dict[int, list[Floats]] = {}
    card: dict[str, dict[str, list[float]]] = {}
    flattered: list[float] = []
    for side in (0, 1):
        own, others = _part(1 - side, half, still, seen_still), _part(side, half, still, seen_still)
        own_cases, other_cases = (
            _part(1 - side, half, moved, seen_moved),
            _part(side, half, moved, seen_moved),
        )
        weights = teach([*own[0], *own_cases[0]], [*own[1], *own_cases[1]], variance, seed=seed)
        told = [spoken(weights, seen, variance) for seen in others[1]]
        ups[side] = [up for up, _ in told]
        own_told = [spoken(weights, seen, variance)[0] for seen in own[1]]
        flattered.append(false_rate(others[0], ups[side], line_at(own[0], own_told, 0.25)) / 0.25)
        cases = [spoken(weights, seen, variance)[0] for seen in other_cases[1]]
        for budget in (0.25, 0.5):
            line = line_at(others[0], ups[side], budget)
            verdict = judge(other_cases[0], cases, line)
            told_card = card.setdefault(str(budget), {"detection": [], "delay_days": []})
            told_card["detection"].append(round(verdict.detection, 4))
            told_card["delay_days"].append(round(verdict.delay, 2))
    for rate, told_card in card.items():
        halves = [_part(side, half, still, seen_still)[0] for side in (0, 1)]
        lines = [line_at(halves[side], ups[side], float(rate)) for side in (0, 1)]
        told_card["obtained_with_the_line_of_the_other_half"] = [
            round(false_rate(halves[side], ups[side], lines[1 - side]), 3) for side in (0, 1)
        ]
    weights = teach([*still, *moved], [*seen_still, *seen_moved], variance, seed=seed)
    told = [spoken(weights, seen, variance) for seen in seen_still]
    optimism = float(np.log(np.mean(flattered)))
    pressure = {
        "rise": _stored(measure_scale(still, [up for up, _ in told]), optimism),
        "fall": _stored(measure_scale(still, [down for _, down in told]), optimism),
    }
    sticks = glucose_streams(read_diaries(fingersticks))
    seen = walk(sticks)
    sugar = alike(sticks, seen)
    told = [spoken(weights, one, sugar) for one in seen]
    content: dict[str, Any] = {
        "version": version,
        "bank": drift.described(),
        "people": {quantity: _told(quantity) for quantity in PEOPLE},
        "alike": {"bp": variance.tolist(), "glucose": sugar.tolist()},
        "hidden": weights[0].tolist(),
        "offset": weights[1].tolist(),
        "out": weights[2].tolist(),
        "scales": {
            **dict.fromkeys(("systolic", "diastolic", "pulse"), pressure),
            "glucose": {
                "rise": _stored(measure_scale(sticks, [up for up, _ in told])),
                "fall": _stored(measure_scale(sticks, [down for _, down in told])),
            },
        },
        "report": {
            "pressure": f"{len(still)} unchanged streams, {months(still):.0f} patient-months; {len(moved)} changed",
            "across_halves": card,
            "false_alerts_where_it_did_not_learn_to_where_it_did": [round(f, 3) for f in flattered],
            "glucose": f"{len({s.person for s in sticks})} people, {months(sticks):.0f} patient-months",
            "carried_over": "diastolic and pulse use the systolic scale, in their own spreads",
            "seed": seed,
        },
    }
    content["checksum"] = drift.checksum(content)
    return content


def _part(
    side: int, half: dict[str, int], streams: Sequence[Stream], seen: Sequence[Floats]
) -> tuple[list[Stream], list[Floats]]:
    kept = [place for place, stream in enumerate(streams) if half[stream.person] == side]
    return [streams[place] for place in kept], [seen[place] for place in kept]


def _stored(scale: Scale, optimism: float = 0.0) -> dict[str, list[float]]:
    return {
        "evidence": list(scale.evidence),
        "log_months": [round(y - optimism, 5) for y in scale.log_months],
    }


def _told(quantity: str) -> dict[str, float]:
    people = PEOPLE[quantity]
    return {"spread": float(people.spread), "trust": float(people.trust), "plain": float(people.plain)}


def write(content: dict[str, Any], file: Path) -> None:
    """One line per entry, so that a change is a readable diff."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
    file.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
