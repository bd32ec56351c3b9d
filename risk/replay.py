"""A file of readings through the very scorer that runs live: for judging, for what-if, for curiosity. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import msgspec

from ingest.events import Beyond, Kind, Reading, TimeConfidence, fact_id
from risk.events import Finding, Scored, Tier
from risk.measures import NO_PLAN, Plan
from risk.scoring import Model, score_all

KEY = ("patient_id", "effective_at", "kind")
OUTPUT = (*KEY, "tier", "concern", "alert", "drift_score", "p_low_24h", "p_low_7d", "reasons", "p_high_7d")
"""A new column stands last: who reads by place reads on."""
CONTEXTS = {
    "pre_breakfast": "fasting",
    "pre_lunch": "before_meal",
    "pre_supper": "before_meal",
    "pre_snack": "before_meal",
    "post_breakfast": "after_meal",
    "post_lunch": "after_meal",
    "post_supper": "after_meal",
}
BEYOND = {beyond.value: beyond for beyond in Beyond}
POSSIBLE = {"systolic": (50, 280), "diastolic": (30, 200), "pulse": (30, 220), "glucose_mgdl": (10, 1000)}
"""Outside of these ingest makes no reading of a row."""
REFRACTORY = timedelta(days=7)
"""An episode that has been calm this long may open again."""


@dataclass(frozen=True, slots=True)
class NoReading:
    """A row of the file that is not a reading, with what was wrong with it."""

    why: str


def instant(text: str, origin: datetime | None) -> datetime:
    """An ISO instant, or, if there is an `origin`, a day as a number counted from it; without a zone it is taken as UTC.

    >>> instant("2026-01-02T07:30:00", None).isoformat()
    '2026-01-02T07:30:00+00:00'
    >>> instant("1.5", datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    '2026-01-02T12:00:00+00:00'
    """
    if origin is not None and "T" not in text and "-" not in text[1:]:
        return origin + timedelta(days=float(text))
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _number(row: Mapping[str, str | None], name: str) -> float | None:
    text = (row.get(name) or "").strip()
    if not text or text.lower() == "nan":
        return None
    lowest, highest = POSSIBLE[name]
    if not lowest <= (number := float(text)) <= highest:
        raise ValueError(f"{name} cannot be {text}")
    return number


@lru_cache(maxsize=4096)
def _patient(name: str) -> UUID:
    return fact_id("replay", name)


def reading_of(
    row: Mapping[str, str | None], *, line: int, origin: datetime | None = None
) -> Reading | NoReading:
    """One row of the file as the reading that ingest would have made of it, or why it is none.

    >>> reading_of({"patient_id": "a", "effective_at": "2026-01-02", "kind": "glucose", "glucose_mgdl": "3A"}, line=7)
    NoReading(why="line 7: could not convert string to float: '3A'")
    """
    sugar = (row.get("glucose_mgdl") or "").strip()
    beyond = BEYOND.get(sugar.upper().lstrip("0"))
    try:
        at = instant((row.get("effective_at") or "").strip(), origin)
        kind = Kind(row.get("kind") or ("glucose" if sugar else "bp"))
        systolic, diastolic, pulse = (_number(row, name) for name in ("systolic", "diastolic", "pulse"))
        glucose = _number(row, "glucose_mgdl") if beyond is None else None
    except ValueError as error:
        return NoReading(f"line {line}: {error}")
    context = (row.get("context") or "").strip() or None
    flags = tuple(flag for flag in (row.get("flag") or "").split("|") if flag)
    if any(flag.startswith("tz_shadow") for flag in flags):
        flags = (*flags, "echo")
    patient = _patient(row.get("patient_id") or "")
    fact = fact_id("replay", patient, at, kind, systolic, diastolic, pulse, sugar, context, *flags)
    return Reading(
        event_id=fact,
        caused_by=fact,
        practice_id=0,
        patient_id=patient,
        device_id="replay",
        gateway_id="replay",
        kind=kind,
        effective_at=at,
        received_at=at,
        time_rule="file",
        time_confidence=TimeConfidence.HIGH,
        utc_offset_minutes=0,
        systolic=systolic,
        diastolic=diastolic,
        pulse=pulse,
        glucose=glucose,
        beyond=beyond,
        context=CONTEXTS.get(context or "", context),
        flags=flags,
        raw=b"",
    )


def replay(
    readings: Sequence[Reading],
    plan: Plan | Mapping[UUID, Plan] = NO_PLAN,
    model: Model = Model(),  # noqa: B008 - frozen
) -> list[Scored]:
    """Score readings in order of arrival, by one plan or each patient's; a row that repeats an earlier one is its echo."""
    seen: set[UUID] = set()
    told: list[Reading] = []
    for reading in readings:
        told.append(_echo(reading) if reading.event_id in seen else reading)
        seen.add(reading.event_id)
    plans = [plan if isinstance(plan, Plan) else plan[reading.patient_id] for reading in told]
    return score_all({}, told, plans, model)


def _echo(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, flags=(*reading.flags, "echo"))


class Episodes:
    """A plain stand-in for the alerts room: would this score open or worsen an episode?

    One episode per patient and concern, closed by seven days without a finding.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[UUID, str], tuple[datetime, Tier]] = {}

    def opens(self, scored: Scored) -> bool:
        return bool(self.opened(scored))

    def opened(self, scored: Scored) -> tuple[Finding, ...]:
        """The findings of a score that open or worsen an episode, the worst first."""
        raised = []
        for finding in scored.findings:
            key = (scored.patient_id, finding.concern.value)
            known = self._open.get(key)
            stale = known is not None and scored.effective_at - known[0] >= REFRACTORY
            if known is None or stale or finding.tier.rank > known[1].rank:
                raised.append(finding)
                self._open[key] = (scored.effective_at, finding.tier)
            else:
                self._open[key] = (max(known[0], scored.effective_at), known[1])
        return tuple(raised)


def rows(
    told: Sequence[Reading | NoReading], scored: Iterable[Scored], keys: Iterable[Sequence[str]]
) -> Iterator[tuple[str, ...]]:
    """The output rows, one per input row, in its order; a row that was no reading says why."""
    episodes, scores = Episodes(), iter(scored)
    for reading, key in zip(told, keys, strict=True):
        if isinstance(reading, NoReading):
            yield (*key, Tier.ROUTINE.value, "", "0", "", "", "", reading.why, "")
            continue
        one = next(scores)
        yield (
            *key,
            one.tier.value,
            "|".join(finding.concern.value for finding in one.findings),
            "1" if one.findings and episodes.opens(one) else "0",
            *map(_told, (one.drift_score, one.p_low_24h, one.p_low_7d)),
            " ".join(finding.reason for finding in one.findings),
            _told(one.outlook.chance if one.outlook else None),
        )


def _told(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"
