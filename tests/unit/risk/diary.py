"""Readings for risk tests: valid in every field that a test does not speak of."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from ingest.events import Kind, Reading, TimeConfidence

START = datetime(2026, 1, 1, 7, 30, tzinfo=UTC)
MARIA = UUID("00000000-0000-4000-8000-00000000a11a")


def a_reading(day=0.0, *, patient=MARIA, **told):
    """One reading `day` days after the start; a cuff unless a glucose is told."""
    at = START + timedelta(days=day)
    kind = Kind.GLUCOSE if {"glucose", "beyond"} & told.keys() else Kind.BLOOD_PRESSURE
    if kind is Kind.BLOOD_PRESSURE:
        told = {"systolic": 130.0, "diastolic": 80.0, "pulse": 70.0} | told
    return Reading(
        **{
            "event_id": uuid4(),
            "caused_by": uuid4(),
            "practice_id": 1,
            "patient_id": patient,
            "device_id": "cuff-7",
            "gateway_id": "home-1",
            "kind": kind,
            "effective_at": at,
            "received_at": at,
            "time_rule": "device",
            "time_confidence": TimeConfidence.HIGH,
            "utc_offset_minutes": 0,
            "raw": b"",
        }
        | told
    )


def a_diary(systolic, *, start=0.0, wobble=(0, 3, -4, 2, -2, 5, -3, -1), **told):
    """Two readings a day, morning and evening, around the given levels."""
    return [
        a_reading(start + place / 2, systolic=float(level + wobble[place % len(wobble)]), **told)
        for place, level in enumerate(systolic)
    ]
