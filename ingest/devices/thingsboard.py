"""ThingsBoard telemetry: the gateway API's map of devices to time series, or the device API's bare values."""

import re
from collections.abc import Iterator, Mapping
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
    refuse,
)
from ingest.devices.vitals import OfReading, blood_pressure, device_name, event_about, glucose, number

WORDS = {
    "systolic": {
        "systolic", "sys", "sbp", "bphigh", "bpsys", "bpsystolic", "systolicbp", "systolicpressure",
        "systolicbloodpressure", "bloodpressuresystolic", "systolicmmhg",
    },
    "diastolic": {
        "diastolic", "dia", "dbp", "bplow", "bpdia", "bpdiastolic", "diastolicbp", "diastolicpressure",
        "diastolicbloodpressure", "bloodpressurediastolic", "diastolicmmhg",
    },
    "map": {"map", "mean", "meanarterialpressure", "meanpressure"},
    "pulse": {"pulse", "pr", "hr", "heartrate", "pulserate", "bpm", "bppulse", "pulsebpm", "heartratebpm"},
    "glucose": {
        "glucose", "bloodglucose", "bg", "bloodsugar", "glucosemgdl", "bloodglucosemgdl", "glucosemmoll",
        "bloodglucosemmoll",
    },
    "unit": {"unit", "units"},
    "pressure_unit": {"bpunit", "pressureunit"},
    "glucose_unit": {"glucoseunit", "bgunit", "bloodglucoseunit"},
    "context": {"context", "meal", "marker", "mealcontext"},
    "battery": {"battery", "batterylevel", "batterypercentage", "batterypercent"},
    "irregular": {"irregular", "irregularpulse", "irregularheartbeat", "arrhythmia", "ihb"},
}  # fmt: skip
MEANING = {word: meaning for meaning, words in WORDS.items() for word in words}
MILLISECONDS = 1e11
NAMED_UNIT = {
    "glucosemgdl": "mg/dL",
    "bloodglucosemgdl": "mg/dL",
    "glucosemmoll": "mmol/L",
    "bloodglucosemmoll": "mmol/L",
}


def decode(raw: bytes) -> Answer:
    """One answer for each time stamp of each device; the names of the values are the installer's choice.

    >>> (said,) = decode(b'{"Device A":[{"ts":1772437269000,"values":{"systolic":152,"diastolic":94}}]}')
    >>> said.device, said.systolic, said.device_time.isoformat()
    ('Device A', 152.0, '2026-03-02T07:41:09+00:00')
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    entries = list(_entries(message))
    if len(entries) > field.MOST_RECORDS:
        return refuse(Reason.TOO_MANY, f"more than {field.MOST_RECORDS} records in one message")
    return field.answer(said for device, entry in entries for said in _said(device, entry))


def _entries(message: Any) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Every entry with the device it belongs to; the device API names none, its credentials do."""
    if isinstance(message, list):
        for entry in message:
            if isinstance(entry, dict):
                yield None, entry
        return
    if not isinstance(message, dict):
        return
    if "values" not in message and any(isinstance(value, list | dict) for value in message.values()):
        for name, series in message.items():
            device = field.text({"name": name}, "name")
            for entry in series if isinstance(series, list) else (series,):
                if isinstance(entry, dict):
                    yield device_name(device) if device is not None else None, entry
        return
    yield None, message


def _said(device: str | None, entry: Mapping[str, Any]) -> Iterator[Said]:
    given = entry.get("values")
    values = given if isinstance(given, dict) else entry
    found: dict[str, Sent] = {}
    others: set[str] = set()
    for name, value in values.items():
        word = re.sub(r"[^a-z]", "", name.lower())
        meaning = MEANING.get(word)
        if meaning is None:
            if name not in {"ts", "values"}:
                others.add(name)
            continue
        said = field.sent({"value": value}, NAMED_UNIT.get(word), "value")
        if said is not None:
            found.setdefault(meaning, said)
    understood = list(_understood(found, others, _about(device, entry)))
    if understood:
        yield from understood
    elif others or found:
        yield field.unsupported(others | found.keys(), device)


def _understood(found: Mapping[str, Sent], others: set[str], about: OfReading) -> Iterator[Said]:
    """A pulse alone is a cuff's that lost its pressures; beside an oxygen saturation it is an oximeter's."""
    of_cuff = "pulse" in found and "glucose" not in found and "spo2" not in {name.lower() for name in others}
    if "systolic" in found or "diastolic" in found or of_cuff:
        yield _blood_pressure(found, about.copy())
    if "glucose" in found:
        yield _glucose(found, about.copy())
    level = number(found["battery"].value) if "battery" in found else None
    if level is not None:
        yield DeviceEvent(event=EventKind.BATTERY, battery_percent=level, **event_about(about))


def _about(device: str | None, entry: Mapping[str, Any]) -> OfReading:
    about: OfReading = {"device": device}
    stamp = number(entry.get("ts")) if "ts" in entry else None
    about.update(field.clock(entry, "ts"))
    if stamp is not None and stamp < MILLISECONDS:
        # The API wants milliseconds; read as such this would be early 1970, so the sender meant seconds.
        about["flags"] = (Flag.TIME_ESTIMATED,)
    return about


def _unit(found: Mapping[str, Sent], *names: str) -> str | None:
    for name in names:
        if name in found and isinstance(found[name].value, str):
            return str(found[name].value)
    return None


def _blood_pressure(found: Mapping[str, Sent], about: OfReading) -> Said:
    unit = _unit(found, "pressure_unit") or (None if "glucose" in found else _unit(found, "unit"))
    if "irregular" in found and field.yes(found["irregular"].value):
        field.add_flags(about, (Flag.IRREGULAR_PULSE,))
    upper, lower, mean = (
        Sent(found[name].value, unit) if name in found else None for name in ("systolic", "diastolic", "map")
    )
    pulse = Sent(found["pulse"].value, "/min") if "pulse" in found else None
    return blood_pressure(upper, lower, mean, pulse, **about)


def _glucose(found: Mapping[str, Sent], about: OfReading) -> Said:
    said = found["glucose"]
    shared = None if "systolic" in found else _unit(found, "unit")
    unit = said.unit or _unit(found, "glucose_unit") or shared
    context = found.get("context")
    if context is not None and isinstance(context.value, str):
        word = context.value.strip().lower().replace("_", " ")
        about["context"] = {
            "fasting": Context.FASTING, "before meal": Context.BEFORE_MEAL, "after meal": Context.AFTER_MEAL,
            "bedtime": Context.BEDTIME, "overnight": Context.OVERNIGHT,
        }.get(word, Context.UNSPECIFIED)  # fmt: skip
        about["sent"] = {**about.get("sent", {}), "context": Sent(context.value[: field.LONGEST_TEXT])}
    return glucose(Sent(said.value, unit), **about)
