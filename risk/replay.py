"""A file of readings through the very scorer that runs live: for judging, for what-if, for curiosity. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from ingest.events import Beyond, Kind, Reading, TimeConfidence, fact_id
from risk.events import Scored, Tier
from risk.measures import NO_PLAN, Plan
from risk.scoring import Model, score_all

KEY = ("patient_id", "effective_at", "kind")
OUTPUT = (*KEY, "tier", "concern", "alert", "drift_score", "p_low_24h", "p_low_7d", "reasons")
CONTEXTS = {
    "pre_breakfast": "fasting",
    "pre_lunch": "before_meal",
    "pre_supper": "before_meal",
    "pre_snack": "before_meal",
    "post_breakfast": "after_meal",
    "post_lunch": "after_meal",
    "post_supper": "after_meal",
}
REFRACTORY = timedelta(days=7)
"""An episode that has been calm this long may open again."""


class RowRefused(ValueError):
    """A line of the file that is not a reading, with its number and what was wanted."""


def instant(text: str, origin: datetime | None) -> datetime:
    """An ISO instant, or a day as a number counted from `origin`; without a zone it is taken as UTC.

    >>> instant("2026-01-02T07:30:00", None).isoformat()
    '2026-01-02T07:30:00+00:00'
    >>> instant("1.5", datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    '2026-01-02T12:00:00+00:00'
    """
    if origin is not None:
        return origin + timedelta(days=float(text))
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _number(row: Mapping[str, str | None], name: str) -> float | None:
    text = (row.get(name) or "").strip()
    return float(text) if text else None


def reading_of(row: Mapping[str, str | None], *, line: int, origin: datetime | None = None) -> Reading:
    """One row of the file as the reading that ingest would have made of it."""
    try:
        at = instant((row.get("effective_at") or "").strip(), origin)
        kind = Kind((row.get("kind") or "bp").strip())
        glucose = (row.get("glucose_mgdl") or "").strip()
        beyond = next((b for b in Beyond if glucose.upper().lstrip("0") == b.value), None)
        numbers = {name: _number(row, name) for name in ("systolic", "diastolic", "pulse")}
        sugar = None if beyond or not glucose else float(glucose)
    except ValueError as error:
        raise RowRefused(f"line {line}: {error}") from None
    offset = None if at.utcoffset() is None else 0
    context = (row.get("context") or "").strip() or None
    patient = row.get("patient_id") or ""
    flags = tuple(flag for flag in (row.get("flag") or "").split("|") if flag)
    if any(flag.startswith("tz_shadow") for flag in flags):
        flags = (*flags, "echo")
    return Reading(
        event_id=fact_id(
            "replay", patient, at.isoformat(), kind, *numbers.values(), glucose, context, *flags
        ),
        caused_by=fact_id("replay", line),
        practice_id=0,
        patient_id=fact_id("replay", patient),
        device_id="replay",
        gateway_id="replay",
        kind=kind,
        effective_at=at,
        received_at=at,
        time_rule="file",
        time_confidence=TimeConfidence.HIGH,
        utc_offset_minutes=offset,
        glucose=sugar,
        beyond=beyond,
        context=CONTEXTS.get(context or "", context),
        flags=flags,
        raw=b"",
        systolic=numbers["systolic"],
        diastolic=numbers["diastolic"],
        pulse=numbers["pulse"],
    )


def replay(readings: Sequence[Reading], plan: Plan = NO_PLAN, model: Model = Model()) -> list[Scored]:  # noqa: B008 - frozen
    """Score a file's readings in their order of arrival; a row that repeats an earlier one is scored as its echo."""
    seen: set[UUID] = set()
    told: list[Reading] = []
    for reading in readings:
        told.append(_echo(reading) if reading.event_id in seen else reading)
        seen.add(reading.event_id)
    return score_all({}, told, [plan] * len(told), model)


def _echo(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, flags=(*reading.flags, "echo"))


class Episodes:
    """A plain stand-in for the alerts room: would this score open or worsen an episode?

    One episode per patient and concern, closed by seven days without a finding.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[UUID, str], tuple[datetime, Tier]] = {}

    def opens(self, scored: Scored) -> bool:
        raised = False
        for finding in scored.findings:
            key = (scored.patient_id, finding.concern.value)
            known = self._open.get(key)
            stale = known is not None and scored.effective_at - known[0] >= REFRACTORY
            if known is None or stale or finding.tier.rank > known[1].rank:
                raised = True
                self._open[key] = (scored.effective_at, finding.tier)
            else:
                self._open[key] = (max(known[0], scored.effective_at), known[1])
        return raised


def rows(scored: Iterable[Scored], keys: Iterable[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """The output rows, one per input row, in its order."""
    episodes = Episodes()
    for one, key in zip(scored, keys, strict=True):
        yield (
            *key,
            one.tier.value,
            "|".join(finding.concern.value for finding in one.findings),
            "1" if episodes.opens(one) else "0",
            "" if one.drift_score is None else f"{one.drift_score:.4f}",
            "" if one.p_low_24h is None else f"{one.p_low_24h:.4f}",
            "" if one.p_low_7d is None else f"{one.p_low_7d:.4f}",
            " ".join(finding.reason for finding in one.findings),
        )
