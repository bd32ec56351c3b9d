"""Impilo: one reading per post, two time-zone offsets, two meal booleans that may contradict each other."""

from collections.abc import Mapping
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import Answer, Context, Flag, Refusal, Said, Sent
from ingest.devices.timestamp import is_sane_offset
from ingest.devices.vitals import OfReading, blood_pressure, glucose, number


def decode(raw: bytes) -> Answer:
    """One answer per post.

    >>> (said,) = decode(b'{"glucose":142,"glucoseUnit":"mgdl","beforeMeal":true,"afterMeal":true}')
    >>> said.glucose, said.context.value, *said.flags
    (142.0, 'unspecified', <Flag.CONTEXT_CONTRADICTORY: 'context_contradictory'>)
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = field.records(message, "data", "readings")
    return (found,) if isinstance(found, Refusal) else field.answer(_said(record) for record in found)


def _said(record: Mapping[str, Any]) -> Said:
    about = _about(record)
    if "systolic" in record or "diastolic" in record:
        return blood_pressure(
            field.sent(record, field.text(record, "systolicUnit"), "systolic"),
            field.sent(record, field.text(record, "diastolicUnit", "systolicUnit"), "diastolic"),
            None,
            field.sent(record, "/min", "heartRate"),
            **about,
        )
    value = field.sent(record, field.text(record, "glucoseUnit"), "glucose")
    if value is not None:
        about.update(_meal(record, about))
        return glucose(value, **about)
    others = {name for name in record if name in {"weight", "heartRate", "spo2", "temperature", "steps"}}
    return field.unsupported(others, about.get("device"))


def _meal(record: Mapping[str, Any], about: OfReading) -> OfReading:
    before, after = field.yes(record.get("beforeMeal")), field.yes(record.get("afterMeal"))
    if before and after:
        return {
            "context": Context.UNSPECIFIED,
            "flags": (*about.get("flags", ()), Flag.CONTEXT_CONTRADICTORY),
        }
    if before or after:
        return {"context": Context.BEFORE_MEAL if before else Context.AFTER_MEAL}
    return {}


def _about(record: Mapping[str, Any]) -> OfReading:
    about = field.clock(record, "readingTimestamp", utc=True)
    device = record.get("device")
    inside = device if isinstance(device, dict) else {}
    about["device"] = field.text(record, "deviceIdentifier", "deviceId") or field.text(
        inside, "deviceIdentifier", "identifier", "serialNumber", "id"
    )
    offsets = [number(record.get(name)) for name in ("deviceTimeZoneOffset", "patientTimeZoneOffset")]
    told = [seconds / 60 for seconds in offsets if seconds is not None]
    if told:
        about.update(field.local(next((minutes for minutes in told if is_sane_offset(minutes)), told[0])))
    if field.yes(record.get("manual")):
        field.add_flags(about, (Flag.MANUAL,))
    number_of = field.text(record, "id")
    if number_of is not None:
        about["sent"] = {"record": Sent(number_of)}
    patient = field.text(record, "patientId") or field.text(field.inner(record, "patient"), "id")
    claimed = field.claims(patient=patient)
    if claimed:
        about["claimed"] = claimed
    return about
