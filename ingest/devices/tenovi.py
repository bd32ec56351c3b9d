"""Tenovi's measurement webhook: one post per metric, or an array of what was measured at once.

A cuff's pressures and pulse arrive as two metrics that share a time stamp, and two measurements may share
one as well; `filter_params.measurement_index` tells which belong together. The gateway (`hardware_uuid`) is
replaced when it breaks, so the device is `hwi_device_id`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import (
    Absent,
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
from ingest.devices.vitals import OfReading, blood_pressure, device_name, event_about, glucose, number
from ingest.events import Beyond, Kind

MEALS = {
    "pre_prandial": Context.BEFORE_MEAL, "preprandial": Context.BEFORE_MEAL, "before_meal": Context.BEFORE_MEAL,
    "post_prandial": Context.AFTER_MEAL, "postprandial": Context.AFTER_MEAL, "after_meal": Context.AFTER_MEAL,
    "fasting": Context.FASTING, "bedtime": Context.BEDTIME,
}  # fmt: skip
ALERTS = {"sensor_result_above_range": Beyond.HI, "sensor_result_below_range": Beyond.LO}
CONTROL = {"control", "control_solution"}
OTHER_NAMES = {"blood_glucose": "glucose", "heart_rate": "pulse", "battery": "battery_percentage"}


def decode(raw: bytes) -> Answer:
    """Metrics that belong to one measurement become one.

    >>> (said,) = decode(b'[{"metric":"pulse","value_1":"72.00"},'
    ...                  b'{"metric":"blood_pressure","value_1":"128.00","value_2":"82.00"}]')
    >>> said.systolic, said.diastolic, said.pulse
    (128.0, 82.0, 72.0)
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = field.records(message, "results")
    if isinstance(found, Refusal):
        return (found,)
    return field.answer(said for group in _groups(found) for said in _group(group))


def _groups(found: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """What was measured at once: same device, same time stamp, same index.

    A metric without an index joins the one measurement of its moment, if there is only one it could belong to.
    """
    moments: dict[tuple[str | None, str | None], dict[str | None, list[dict[str, Any]]]] = {}
    for record in found:
        index = field.text(field.inner(record, "filter_params"), "measurement_index")
        moment = (field.text(record, "hwi_device_id"), field.text(record, "timestamp"))
        moments.setdefault(moment, {}).setdefault(index, []).append(record)
    for measured in moments.values():
        if len(measured) == 2 and None in measured:  # noqa: PLR2004  one index, and records without any
            yield [record for group in measured.values() for record in group]
        else:
            yield from measured.values()


def _group(group: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
    """One blood pressure takes the pulse and the irregular beat of its group; two leave them standing alone."""
    pressures = [record for record in group if _metric(record) == "blood_pressure"]
    pulses = [record for record in group if _metric(record) == "pulse"]
    irregular = [record for record in group if _metric(record) == "irregular_heartbeat"]
    if len(pressures) == 1 and len(pulses) <= 1:
        yield _pressure(pressures[0], pulses[0] if pulses else None, irregular)
        pressures, pulses, irregular = [], [], []
    elif not pressures and len(pulses) == 1:
        yield _pressure(None, pulses[0], irregular)
        pulses, irregular = [], []
    for record in pressures:
        yield _pressure(record, None, irregular)
    for record in pulses:
        yield _pressure(None, record, [])
    if not pressures:
        for record in irregular:
            yield _tested(record) or DeviceEvent(
                event=EventKind.IRREGULAR_PULSE,
                kind=Kind.BLOOD_PRESSURE,
                **event_about(_about(record, (Flag.IRREGULAR_PULSE,))),
            )
    for record in group:
        if _metric(record) not in {"blood_pressure", "pulse", "irregular_heartbeat"}:
            yield _single(record)


def _metric(record: Mapping[str, Any]) -> str | None:
    named = field.text(record, "metric", "metric_name_read_only") or field.text(
        field.inner(record, "measurement_metric"), "name"
    )
    word = _word(named)
    return OTHER_NAMES.get(word, word) if word is not None else None


def _word(text: str | None) -> str | None:
    """A name in one spelling: the two interfaces write `blood_pressure` and `Blood Pressure`."""
    return re.sub(r"[-_ ]+", "_", text.lower()) if text is not None else None


def _about(record: Mapping[str, Any], flags: tuple[str, ...] = ()) -> OfReading:
    about = field.clock(record, "timestamp", utc=True)
    name, gateway = field.text(record, "hwi_device_id"), field.text(record, "hardware_uuid")
    about["device"] = name
    about["gateway"] = device_name(gateway) if gateway is not None else None
    about["flags"] = flags
    hours = number(record.get("timezone_offset"))
    about.update(field.local(hours * 60 if hours is not None else None, flags))
    if record.get("estimated_timestamp") is True:
        field.add_flags(about, (Flag.TIME_ESTIMATED,))
    claimed = field.claims(patient=field.text(record, "patient_id", "patient_external_id"))
    if claimed:
        about["claimed"] = claimed
    return about


def _amount(record: Mapping[str, Any]) -> float:
    said = field.sent(record, None, "value_1", "value")
    return number(said.value) or 0.0 if said is not None else 0.0


def _tested(record: Mapping[str, Any]) -> Refusal | None:
    if not field.yes(record.get("dummy_data")):
        return None
    device = field.text(record, "hwi_device_id")
    return Refusal(reason=Reason.TEST_DATA, detail="the sender calls it dummy data", device=device)


def _pressure(
    pressure: Mapping[str, Any] | None,
    pulse: Mapping[str, Any] | None,
    irregular: Sequence[Mapping[str, Any]],
) -> Said:
    named = pressure if pressure is not None else pulse
    if named is None:
        return Refusal(reason=Reason.NOTHING_HERE, detail="no reading and no event in the message")
    for record in (pressure, pulse):
        test = _tested(record) if record is not None else None
        if test is not None:
            return test
    beats = any(_amount(record) > 0 for record in irregular)
    about = _about(named, (Flag.IRREGULAR_PULSE,) if beats else ())
    upper = lower = None
    if pressure is not None:
        unit = _unit(pressure) or "mm[Hg]"
        upper = field.sent(pressure, unit, "value_1", "value")
        lower = field.sent(pressure, unit, "value_2", "secondary_value")
    rate = field.sent(pulse, "/min", "value_1", "value") if pulse is not None else None
    return blood_pressure(upper, lower, None, rate, **about)


def _single(record: Mapping[str, Any]) -> Said:
    """A glucose, a battery level, or something that is not ours."""
    test = _tested(record)
    if test is not None:
        return test
    metric, about = _metric(record), _about(record)
    value = field.sent(record, _unit(record) or "mg/dL", "value_1", "value")
    if metric == "battery_percentage":
        level = number(value.value) if value is not None else None
        return DeviceEvent(event=EventKind.BATTERY, battery_percent=level, **event_about(about))
    if metric != "glucose":
        if metric is None:
            detail = "`metric` is missing or unreadable"
            return Refusal(reason=Reason.UNKNOWN_KIND, detail=detail, device=about.get("device"))
        return field.unsupported({metric}, about.get("device"))
    params = field.inner(record, "filter_params")
    meal, place = field.text(params, "meal_context"), field.text(params, "measurement_location")
    sent = {name: Sent(said) for name, said in (("context", meal), ("site", place)) if said is not None}
    about["sent"] = sent
    if _word(place) in CONTROL:
        about["sent"] = {**sent, "glucose": value or Sent(None)}
        about["absent"] = {**about.get("absent", {}), "glucose": Absent.NOT_PATIENT_DATA}
        field.add_flags(about, (Flag.CONTROL_SOLUTION,))
        return DeviceEvent(event=EventKind.CONTROL_SOLUTION, kind=Kind.GLUCOSE, **event_about(about))
    if meal is not None:
        about["context"] = MEALS.get(_word(meal) or "", Context.UNSPECIFIED)
    alert = _word(field.text(params, "alert"))
    return glucose(value, beyond=ALERTS.get(alert) if alert is not None else None, **about)


def _unit(record: Mapping[str, Any]) -> str | None:
    """Only the clinical interface names one."""
    return field.text(field.inner(record, "measurement_metric"), "primary_units")
