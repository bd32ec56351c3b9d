"""Open mHealth 4.0 blood-pressure and blood-glucose, bare or as a data point with its header."""

from collections.abc import Mapping
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import Answer, Context, Flag, Reason, Refusal, Said, Sent
from ingest.devices.vitals import OfReading, blood_pressure, glucose

MEALS = {
    "fasting": Context.FASTING,
    "not fasting": Context.UNSPECIFIED,
    "2 hours postprandial": Context.AFTER_MEAL,
}
SLEEP = {"before sleeping": Context.BEDTIME, "during sleep": Context.OVERNIGHT}
CAPILLARY = {"capillary blood", "whole blood", "plasma", "serum"}


def decode(raw: bytes) -> Answer:
    """One answer per body; a body may hold a blood pressure or a blood glucose.

    >>> (said,) = decode(b'{"blood_glucose":{"value":95,"unit":"mg/dL"},"temporal_relationship_to_meal":"fasting",'
    ...                  b'"effective_time_frame":{"date_time":"2026-03-02T07:25:00-05:00"}}')
    >>> said.glucose, said.context.value, said.utc_offset_minutes
    (95.0, 'fasting', -300)
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = field.records(message)
    return (found,) if isinstance(found, Refusal) else field.answer(_said(point) for point in found)


def _said(point: Mapping[str, Any]) -> Said:
    body = point["body"] if isinstance(point.get("body"), dict) else point
    about = _about(body, field.inner(point, "header"))
    upper, lower = body.get("systolic_blood_pressure"), body.get("diastolic_blood_pressure")
    if upper is not None or lower is not None:
        return blood_pressure(
            _value(upper), _value(lower), _value(body.get("mean_arterial_pressure")), None, **about
        )
    if body.get("blood_glucose") is not None:
        return _glucose(body, about)
    if body.get("heart_rate") is not None:
        rate = _value(body["heart_rate"])
        return blood_pressure(
            None, None, None, Sent(rate.value, "/min") if rate is not None else None, **about
        )
    others = {name for name in body if isinstance(body[name], dict)}
    others -= {"effective_time_frame", "header", "body"}
    if others:
        return field.unsupported(others, about.get("device"))
    return Refusal(reason=Reason.NOTHING_HERE, detail="no blood pressure and no glucose in the body")


def _value(quantity: object) -> Sent | None:
    if quantity is None:
        return None
    if not isinstance(quantity, dict):
        return field.sent({"value": quantity}, None, "value")
    return field.sent(quantity, field.text(quantity, "unit"), "value") or Sent(None)


def _glucose(body: Mapping[str, Any], about: OfReading) -> Said:
    meal = field.text(body, "temporal_relationship_to_meal")
    sleep = field.text(body, "temporal_relationship_to_sleep")
    if meal is not None:
        about["context"] = _meal(meal)
    elif sleep is not None and sleep in SLEEP:
        about["context"] = SLEEP[sleep]
    source = field.text(body, "specimen_source", "blood_specimen_type")
    said = {"context": meal or sleep, "sample": source}
    sent = {name: Sent(word) for name, word in said.items() if word is not None}
    about["sent"] = {**about.get("sent", {}), **sent}
    if source is not None and source.lower() not in CAPILLARY:
        field.add_flags(about, (Flag.NOT_CAPILLARY,))
    return glucose(_value(body["blood_glucose"]), **about)


def _meal(words: str) -> Context:
    """`before breakfast`, `after meal` and the rest of the vocabulary.

    >>> [_meal(words).value for words in ("fasting", "before breakfast", "2 hours postprandial", "not fasting")]
    ['fasting', 'before_meal', 'after_meal', 'unspecified']
    """
    if words in MEALS:
        return MEALS[words]
    if words.startswith("before"):
        return Context.BEFORE_MEAL
    return Context.AFTER_MEAL if words.startswith("after") else Context.UNSPECIFIED


def _about(body: Mapping[str, Any], header: Mapping[str, Any]) -> OfReading:
    frame = field.inner(body, "effective_time_frame")
    about = field.clock(frame, "date_time")
    if not about:
        about = field.clock(field.inner(frame, "time_interval"), "start_date_time", "end_date_time")
    provenance = field.inner(header, "acquisition_provenance")
    about["device"] = field.text(provenance, "source_device_id", "device_id") or field.text(
        header, "device_id"
    )
    flags: list[Flag] = []
    if "self-reported" in {field.text(header, "modality"), field.text(provenance, "modality")}:
        flags.append(Flag.MANUAL)
    statistic = field.text(body, "descriptive_statistic")
    if statistic is not None:
        flags.append(Flag.AVERAGE if statistic in {"average", "mean"} else Flag.STATISTIC)
    field.add_flags(about, flags)
    said = {
        "record": field.text(header, "id", "uuid"),
        "posture": field.text(body, "body_posture"),
        "site": field.text(body, "measurement_location"),
        "statistic": statistic,
    }
    about["sent"] = {name: Sent(word) for name, word in said.items() if word is not None}
    claimed = field.claims(account=field.text(header, "user_id"))
    if claimed:
        about["claimed"] = claimed
    return about
