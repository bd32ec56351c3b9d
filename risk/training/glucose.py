"""Training the chances of a low glucose, and the measures by which they are judged: by chain, never by row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from risk.drift import checksum
from risk.features import NAMES, glucose_features
from risk.forecast import DAYS_LEAST, LAYOUT, READINGS_LEAST
from risk.measures import NO_RESET, stored_form
from risk.memory import GLUCOSE, Bools, Floats, blank, learn, look_back
from risk.training.streams import Diary, read_diaries

LOW = 70.0
HOUR = 3600
HORIZONS = {"24h": (24, 1), "7d": (168, 7)}
"""Hours ahead, and readings there must be inside for the outcome to count as known."""
PENALTY = 0.01


class Classifier(Protocol):
    """What of scikit-learn is used here."""

    def fit(self, x: Floats, y: Bools) -> Any: ...
    def predict_proba(self, x: Floats) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Cases:
    """Index readings with their features and what followed."""

    x: Floats
    y: Bools
    person: npt.NDArray[np.str_]
    chain: npt.NDArray[np.str_]
    last: Floats
    at: npt.NDArray[np.int64]


def features_of(diaries: Sequence[Diary]) -> list[Floats]:
    """Features at every reading of every diary, by the memory that runs live."""
    block = blank(GLUCOSE, len(diaries))
    seen: list[list[Floats]] = [[] for _ in diaries]
    for turn in range(max(len(diary.at) for diary in diaries)):
        rows = np.array([row for row, diary in enumerate(diaries) if turn < len(diary.at)])
        at = np.array([diaries[row].at[turn] for row in rows])
        values = np.array([[diaries[row].value[turn]] for row in rows])
        fed = np.array([diaries[row].after_meal[turn] for row in rows])
        slot, never = (at - GLUCOSE.starts_at * HOUR) // GLUCOSE.seconds, np.full(len(rows), NO_RESET)
        stored, tallies = stored_form(GLUCOSE, values, fed)
        part = block[rows]
        learn(
            part,
            GLUCOSE,
            slot=slot,
            at=at,
            values=values,
            stored=stored,
            tallies=tallies,
            reset=never,
        )
        block[rows] = part
        past = look_back(part, GLUCOSE, slot, never)
        told = glucose_features(part, GLUCOSE, at=at, past=past)
        for row, one in zip(rows, told, strict=True):
            seen[row].append(one)
    return [np.array(rows) for rows in seen]


def cases(diaries: Sequence[Diary], seen: Sequence[Floats], *, hours: int, least: int) -> Cases:
    """Every reading of at least 70 with enough before it, and whether a lower one follows within so many hours.

    Where the diary ends too early or too few readings follow, the outcome is unknown and the reading is left out.
    """
    x, y, person, chain, last, when = [], [], [], [], [], []
    for diary, told in zip(diaries, seen, strict=True):
        at, value = np.array(diary.at), np.array(diary.value)
        for index in range(READINGS_LEAST, len(at)):
            if value[index] < LOW or at[index] - at[0] < DAYS_LEAST * 24 * HOUR:
                continue
            ahead = (at > at[index]) & (at <= at[index] + hours * HOUR)
            if at[-1] < at[index] + (hours - 6) * HOUR or ahead.sum() < least:
                continue
            x.append(told[index])
            y.append(bool((value[ahead] < LOW).any()))
            person.append(diary.person)
            chain.append(diary.chain)
            last.append(value[index])
            when.append(at[index])
    return Cases(np.array(x), np.array(y), np.array(person), np.array(chain), np.array(last), np.array(when))


def by_chain(held: Cases, make: Callable[[], Classifier], x: Floats | None = None) -> Floats:
    """Chances for every case from a model that never saw its chain."""
    told = held.x if x is None else x
    chance = np.zeros(len(held.y))
    for chain in np.unique(held.chain):
        out = held.chain == chain
        chance[out] = make().fit(told[~out], held.y[~out]).predict_proba(told[out])[:, 1]
    return chance


def logistic() -> Classifier:
    """The model shipped."""
    model: Classifier = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY))
    return model


def auroc(y: Bools, score: Floats) -> float:
    """Area under the receiver operating characteristic."""
    return float(roc_auc_score(y, score))


def calibration_error(y: Bools, chance: Floats, bins: int = 10) -> float:
    """Mean gap between told and found over bins of equally many cases."""
    order = np.array_split(np.argsort(chance), bins)
    return float(sum(abs(y[part].mean() - chance[part].mean()) * len(part) for part in order) / len(y))


def calibration_slope(y: Bools, chance: Floats) -> float:
    """1 when told odds are as spread as found odds; below, the model is too sure."""
    odds = np.log(chance / (1 - chance))[:, None]
    return float(LogisticRegression(C=1e6).fit(odds, y).coef_[0, 0])


def oracle(held: Cases) -> Floats:
    """Each person's own rate over the whole series: uses the future, and nobody can order people better."""
    rate = {person: held.y[held.person == person].mean() for person in np.unique(held.person)}
    return np.array([rate[person] for person in held.person])


def oracle_elsewhere(held: Cases, *, hours: int) -> Floats:
    """Each person's own rate over their other cases, those whose outcome overlaps left out; shrunk by two to everybody's."""
    chance = np.empty(len(held.y))
    for person in np.unique(held.person):
        own = np.nonzero(held.person == person)[0]
        apart = np.abs(held.at[own][:, None] - held.at[own]) > hours * HOUR
        chance[own] = (apart @ (held.y[own] * 1.0) + 2 * held.y.mean()) / (apart.sum(axis=1) + 2)
    return chance


def train(fingersticks: Path, *, version: str) -> dict[str, Any]:
    """The content of `models/glucose.json`: weights on everybody, the report card across chains."""
    diaries = read_diaries(fingersticks)
    seen = features_of(diaries)
    card: dict[str, Any] = {"people": len(diaries), "chains": len({diary.chain for diary in diaries})}
    every = np.concatenate(seen)
    centre, scale = every.mean(axis=0), every.std(axis=0)
    weights, offset = [], []
    for name, (hours, least) in HORIZONS.items():
        held = cases(diaries, seen, hours=hours, least=least)
        chance = by_chain(held, logistic)
        card[name] = {
            "cases": len(held.y),
            "prevalence": round(float(held.y.mean()), 3),
            "auroc": round(auroc(held.y, chance), 3),
            "oracle_auroc": round(auroc(held.y, oracle(held)), 3),
            "calibration_error": round(calibration_error(held.y, chance), 4),
            "calibration_slope": round(calibration_slope(held.y, chance), 3),
        }
        whole = LogisticRegression(C=PENALTY).fit((held.x - centre) / scale, held.y)
        weights.append(whole.coef_[0])
        offset.append(whole.intercept_[0])
    content: dict[str, Any] = {
        "version": version,
        "layout": LAYOUT,
        "features": list(NAMES),
        "centre": centre.round(6).tolist(),
        "scale": scale.round(6).tolist(),
        "weights": np.array(weights).T.round(6).tolist(),
        "offset": np.array(offset).round(6).tolist(),
        "report": card,
    }
    content["checksum"] = checksum(content)
    return content
