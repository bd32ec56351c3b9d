"""Telli Health's webhooks, version 1 and 2: readings, heartbeats, cleared reminders, answers to settings."""

from collections.abc import Mapping
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import (
    Answer,
    Context,
    DeviceEvent,
    EventKind,
    Flag,
    Reason,
    Refusal,
    Said,
    Sent,
)
from ingest.devices.vitals import OfReading, blood_pressure, event_about, glucose, number

EVENTS = {
    "heartbeat": EventKind.HEARTBEAT,
    "remindercleared": EventKind.REMINDER_CLEARED,
    "settingsresponse": EventKind.SETTINGS,
}
PERIODS = {"before": Context.BEFORE_MEAL, "after": Context.AFTER_MEAL}
FULL, WEAK = 10, 1  # the battery's own scale, 0 to 10


def decode(raw: bytes) -> Answer:
    """One answer per post. Every value may be text; the offsets of the vendor's own examples exist nowhere.

    >>> decode(b'{"type":"ReminderCleared","deviceId":"864581069137614","time":"1721382524000"}')
    (DeviceEvent(event='reminder_cleared'),)
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = field.records(message)
    return (found,) if isinstance(found, Refusal) else field.answer(_said(record) for record in found)


def _said(record: Mapping[str, Any]) -> Said:
    about = _about(record)
    kind = field.text(record, "readingType", "type") or ""
    named = kind.lower()
    event = EVENTS.get(named)
    if event is not None:
        return _event(event, record, about)
    if named == "bloodpressure":
        return _pressure(field.inner(record, "data"), about)
    if named == "bloodglucose":
        return _glucose(field.inner(record, "data"), about)
    if kind:
        return field.unsupported({kind}, about.get("device"))
    return Refusal(
        reason=Reason.MISSING_FIELD,
        detail="neither `readingType` nor `type` is there",
        device=about.get("device"),
    )


def _pressure(data: Mapping[str, Any], about: OfReading) -> Said:
    if field.yes(data.get("arrhythmia")):
        field.add_flags(about, (Flag.IRREGULAR_PULSE,))
    return blood_pressure(
        field.sent(data, "mm[Hg]", "systolic"),
        field.sent(data, "mm[Hg]", "diastolic"),
        None,
        field.sent(data, "/min", "pulse"),
        **about,
    )


def _glucose(data: Mapping[str, Any], about: OfReading) -> Said:
    value = field.sent(data, field.text(data, "unit"), "glucose")
    # The published example of a glucose writes the period under `pulse`.
    period = field.text(data, "readingPeriod", "pulse")
    if period is not None and not period.isdigit():
        about["context"] = PERIODS.get(period.lower(), Context.UNSPECIFIED)
        about["sent"] = {**about.get("sent", {}), "context": Sent(period)}
    return glucose(value, **about)


def _about(record: Mapping[str, Any]) -> OfReading:
    about = field.clock(record, "time")
    about["device"] = field.text(record, "deviceId")
    minutes = number(record.get("tzOffsetMinutes"))
    if minutes is not None:
        about.update(field.local(minutes, about.get("flags", ())))
        about["sent"] = {"utc_offset_minutes": Sent(field.text(record, "tzOffsetMinutes"), "min")}
    if field.yes(record.get("mem")):
        field.add_flags(about, (Flag.PLAYBACK,))
    level = _battery(record)
    if level is not None and level <= WEAK:
        field.add_flags(about, (Flag.BATTERY_LOW,))
    return about


def _battery(record: Mapping[str, Any]) -> float | None:
    """The level from 0 to 10, or None on mains power and where the device does not say."""
    return number(field.inner(record, "devdata").get("batt"))


def _event(event: EventKind, record: Mapping[str, Any], about: OfReading) -> DeviceEvent:
    said = {
        "status": field.sent(record, None, "status"),
        "battery": field.sent(field.inner(record, "devdata"), None, "batt"),
        "signal": field.sent(field.inner(record, "devdata"), None, "r"),
    }
    known = {name: value for name, value in said.items() if value is not None}
    about["sent"] = {**about.get("sent", {}), **known}
    level = _battery(record)
    return DeviceEvent(
        event=event,
        battery_percent=level * 100 / FULL if level is not None and 0 <= level <= FULL else None,
        **event_about(about),
    )
