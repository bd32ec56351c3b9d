"""A person takes a reading back, or says what it should have been: new facts, decided here. Pure."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from ingest import quality, set_aside
from ingest.devices.measurement import Measurement
from ingest.events import Kind, Reading, TimeConfidence, Withdrawn, fact_id
from ingest.set_aside import By, words

CORRECTED: Final = "corrected"
"""Flag: a person said that this is what it should have been."""
BY_A_PERSON: Final = "by-a-person"
"""Time rule: a person said when it was."""
SHOWN: Final = ("systolic", "diastolic", "pulse", "glucose", "beyond")
VALUES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.BLOOD_PRESSURE: ("systolic", "diastolic", "pulse"),
    Kind.GLUCOSE: ("glucose",),
}


class Change(NamedTuple):
    """What it should have been; None: as it is."""

    values: Mapping[str, float] = {}
    effective_at: datetime | None = None
    patient_id: UUID | None = None


class Facts(NamedTuple):
    """What is to be said: the withdrawal, and what stands in its place."""

    withdrawn: Withdrawn
    corrected: Reading | None = None


def withdraw(
    reading: Reading, *, by: By, reason: str, now: datetime, superseded_by: UUID | None = None
) -> Withdrawn:
    """The reading taken back. Its id is computed from the reading: it is withdrawn once, however often it is said."""
    return Withdrawn(
        event_id=fact_id("withdrawn", reading.event_id),
        caused_by=fact_id("handling", reading.event_id, by.staff_id or by.name, now.isoformat()),
        practice_id=reading.practice_id,
        patient_id=reading.patient_id,
        reading=reading,
        superseded_by=superseded_by,
        reason=reason,
        by=by.staff_id,
        by_name=by.name,
        at=now,
    )


def correct(reading: Reading, change: Change, *, by: By, reason: str, now: datetime) -> Facts | str:
    """The reading taken back and another in its place; or why that cannot be, in a sentence.

    The new one keeps the device, the bytes, the message and the time of receipt of the old one; from `now` on
    anybody could know of it, so what is days old is no news.
    """
    foreign = set(change.values) - set(VALUES[reading.kind])
    if foreign:
        return f"A {'glucose' if reading.kind is Kind.GLUCOSE else 'blood pressure'} has no {', '.join(sorted(foreign))}."
    endless = sorted(name for name, said in change.values.items() if not math.isfinite(said))
    if endless:
        return f"What stands for {', '.join(endless)} is not a number."
    if change.effective_at is not None and change.effective_at > now:
        return "That time has not come yet."
    made: dict[str, Any] = dict(change.values)
    if "glucose" in made:
        made["beyond"] = None
    if change.effective_at is not None and change.effective_at != reading.effective_at:
        made |= {
            "effective_at": change.effective_at,
            "time_rule": BY_A_PERSON,
            "time_confidence": TimeConfidence.HIGH,
        }
    if change.patient_id is not None:
        made["patient_id"] = change.patient_id
    if all(getattr(reading, name) == value for name, value in made.items()):
        return "That is what it says already."
    flags = tuple(dict.fromkeys((*reading.flags, CORRECTED)))
    fresh = msgspec.structs.replace(
        reading,
        event_id=fact_id("corrected", reading.event_id, sorted((k, str(v)) for k, v in made.items())),
        released_at=now,
        supersedes=reading.event_id,
        flags=flags,
        **made,
    )
    doubts = _doubts(fresh)
    if doubts:
        return f"These numbers cannot be a measurement of a person: {', '.join(map(words, doubts))}."
    taken_back = withdraw(reading, by=by, reason=reason, now=now, superseded_by=fresh.event_id)
    return Facts(taken_back, fresh)


def value(reading: Reading | Mapping[str, Any]) -> str:
    """The value with its units.

    >>> value({"systolic": 172.0, "diastolic": 96.0, "pulse": None, "glucose": None, "beyond": None})
    '172/96 mm[Hg]'
    """
    said = {name: reading[name] if isinstance(reading, Mapping) else getattr(reading, name) for name in SHOWN}
    kind = Kind.GLUCOSE if said["glucose"] is not None or said["beyond"] is not None else Kind.BLOOD_PRESSURE
    return set_aside.value(Measurement(kind=kind, **said))


def _doubts(reading: Reading) -> tuple[str, ...]:
    """What quality says of the numbers, as at the door; the unit is known here."""
    said = Measurement(
        kind=reading.kind,
        systolic=reading.systolic,
        diastolic=reading.diastolic,
        pulse=reading.pulse,
        glucose=reading.glucose,
        beyond=reading.beyond,
    )
    _, doubts = quality.judge(said)
    low = reading.glucose is not None and reading.glucose >= quality.GLUCOSE[0]
    return tuple(doubt for doubt in doubts if not (doubt is quality.Doubt.UNIT_CONFUSION and low))
