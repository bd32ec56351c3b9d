"""A trained model on its way: in the shadow first, then live, by a command that shows both report cards. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from risk import drift, forecast
from risk.scoring import Model


class Kind(StrEnum):
    DRIFT = "drift"
    GLUCOSE = "glucose"


class CandidateRefused(ValueError):
    """A file that is no model, or one that cannot go where it was sent, with the sentence to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One trained model as it was written, proven to be what it says."""

    kind: Kind
    version: str
    content: str
    report: dict[str, Any]

    @classmethod
    def read(cls, content: str) -> "Candidate":
        """A stored model, if it was trained on what runs here and nobody altered it; else CandidateRefused."""
        try:
            told = json.loads(content)
            kind = Kind.DRIFT if "bank" in told else Kind.GLUCOSE
            (drift.understood if kind is Kind.DRIFT else forecast.understood)(told)
            return cls(kind=kind, version=told["version"], content=content, report=told["report"])
        except (drift.DriftRefused, forecast.ForecastRefused) as refused:
            raise CandidateRefused(f"{refused}.") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CandidateRefused(f"This is no trained model ({type(error).__name__}).") from None


def model_of(shipped: Model, candidates: Mapping[Kind, Candidate]) -> Model:
    """The model that ships, with these in their places."""
    reading, chances = candidates.get(Kind.DRIFT), candidates.get(Kind.GLUCOSE)
    return Model(
        forecast=shipped.forecast if chances is None else forecast.understood(json.loads(chances.content)),
        reading=shipped.reading if reading is None else drift.understood(json.loads(reading.content)),
    )


def shipped(kind: Kind) -> Candidate:
    """What the product came with."""
    return Candidate.read(drift.stored() if kind is Kind.DRIFT else forecast.stored())


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """How the shadow's word compares with the live one's, over the readings that both scored."""

    readings: int
    patients: int
    both_loud: int  # trend statistic over the line of a budget of 0.25
    live_alone: int
    shadow_alone: int
    chance_differs: float | None  # mean absolute difference of the chance within a day


def comparison(live: Candidate, shadow: Candidate, beside: Beside) -> Iterator[str]:
    """The lines that whoever promotes a model reads first: report card against report card, then word against word."""
    yield f"live {live.version}, in the shadow {shadow.version}"
    theirs = dict(_flat(live.report))
    ours = dict(_flat(shadow.report))
    for name in [*theirs, *(name for name in ours if name not in theirs)]:
        mark = "  " if theirs.get(name) == ours.get(name) else "* "
        yield f"  {mark}{name}: {theirs.get(name, '-')} | {ours.get(name, '-')}"
    yield f"scored beside each other: {beside.readings} readings of {beside.patients} patients"
    yield (
        f"  trend over the line: both {beside.both_loud}, live alone {beside.live_alone}, shadow alone {beside.shadow_alone}"
    )
    if beside.chance_differs is not None:
        yield f"  chance of a low within a day differs by {beside.chance_differs:.3f} on average"


def _flat(report: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    for name, value in report.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}, ")
        else:
            yield f"{under}{name}", str(value)
