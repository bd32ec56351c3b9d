"""Validic Inform: measurements of many makers in one shape, UTC with an offset beside it."""

from collections.abc import Mapping
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import Answer, Context, Flag, Reason, Refusal, Said, Sent
from ingest.devices.vitals import OfReading, blood_pressure, glucose, number

MEALS = {
    "before": Context.BEFORE_MEAL,
    "after": Context.AFTER_MEAL,
    "fasting": Context.FASTING,
    "bedtime": Context.BEDTIME,
    "random": Context.UNSPECIFIED,
}
PULSES = ("pulse", "heart_rate", "resting_heart_rate")


def decode(raw: bytes) -> Answer:
    """One answer per record; a record with pressures and a glucose gives two.

    >>> (said,) = decode(b'{"end_time":"2026-03-02T12:30:09Z","utc_offset":-72000,'
    ...                  b'"metrics":[{"type":"blood_glucose","unit":"mg/dL","value":90.0}]}')
    >>> said.glucose, said.utc_offset_minutes, *said.flags
    (90.0, None, <Flag.OFFSET_INSANE: 'offset_insane'>)
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = field.records(message, "data", "measurements")
    if isinstance(found, Refusal):
        return (found,)
    return field.answer(said for record in found for said in _said(record))


def _said(record: Mapping[str, Any]) -> list[Said]:
    about = _about(record)
    if record.get("deleted_at") is not None:
        return [
            Refusal(reason=Reason.WITHDRAWN, detail="the source has deleted it", device=about.get("device"))
        ]
    metrics: dict[str, dict[str, Any]] = {}
    for metric in field.pairs(record, "metrics"):
        kind = field.text(metric, "type")
        if kind is not None:
            metrics.setdefault(kind.lower(), metric)
    if any(field.text(metric, "origin") == "manual" for metric in metrics.values()):
        field.add_flags(about, (Flag.MANUAL,))
    said: list[Said] = []
    pulse = next((metrics[name] for name in PULSES if name in metrics), None)
    alone = pulse is not None and not {"spo2", "blood_glucose"} & metrics.keys()
    if "systolic" in metrics or "diastolic" in metrics or alone:
        said.append(
            blood_pressure(
                _value(metrics.get("systolic")),
                _value(metrics.get("diastolic")),
                _value(metrics.get("mean_arterial_pressure")),
                field.sent(pulse, "/min", "value") if pulse is not None else None,
                **about,
            )
        )
    if "blood_glucose" in metrics:
        said.append(_glucose(_value(metrics["blood_glucose"]), record, about))
    if not said and metrics:
        return [field.unsupported(metrics, about.get("device"))]
    return said


def _value(metric: Mapping[str, Any] | None) -> Sent | None:
    return None if metric is None else field.sent(metric, field.text(metric, "unit"), "value")


def _glucose(value: Sent | None, record: Mapping[str, Any], about: OfReading) -> Said:
    for note in field.pairs(record, "user_notes"):
        meal = field.text(note, "value")
        if note.get("type") == "relationship_to_meal" and meal is not None:
            about["context"] = MEALS.get(meal.lower(), Context.UNSPECIFIED)
            about["sent"] = {**about.get("sent", {}), "context": Sent(meal)}
    return glucose(value, **about)


def _about(record: Mapping[str, Any]) -> OfReading:
    about = field.clock(record, "end_time", "start_time", utc=True)
    device = field.inner(field.inner(record, "source"), "device")
    about["device"] = field.text(device, "id")
    seconds = number(record.get("utc_offset"))
    if seconds is not None:
        about.update(field.local(seconds / 60))
        about["sent"] = {"utc_offset": Sent(seconds, "s")}
    log = field.text(record, "log_id", "id")
    if log is not None:
        about["sent"] = {**about.get("sent", {}), "record": Sent(log)}
    claimed = field.claims(account=field.text(field.inner(record, "user"), "uid", "user_id"))
    if claimed:
        about["claimed"] = claimed
    return about
