"""Withings: a form-encoded notification that data waits, and the measure groups fetched after it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from ingest.devices import document, field
from ingest.devices.measurement import (
    Answer,
    DeviceEvent,
    EventKind,
    Flag,
    Reason,
    Refusal,
    Said,
    Sent,
    refuse,
)
from ingest.devices.vitals import OfReading, blood_pressure, number

DIASTOLIC, SYSTOLIC, PULSE = 9, 10, 11
BLOOD_PRESSURE_APPLI = "4"
MEASURED, GOAL = 1, 2
OTHERS = {1: "weight", 6: "bmi", 54: "spo2", 71: "temperature", 73: "temperature", 12: "temperature"}
ATTRIBUTION = {
    1: (Flag.OWNER_AMBIGUOUS,),  # several people of the household could be meant
    2: (Flag.MANUAL,),
    4: (Flag.MANUAL,),
    5: (Flag.AVERAGE,),
}
LONGEST_FORM = 4096


def decode(raw: bytes) -> Answer:
    """A notification is an event; every measure group is an answer. A goal is not a measurement.

    >>> decode(b"userid=1&appli=4&startdate=1690491576&enddate=1690491663")
    (DeviceEvent(event='data_waiting'),)
    """
    form = raw.strip()
    if b"=" in form[:64] and not form.startswith((b"{", b"[")):
        return _notification(form)
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    if not isinstance(message, dict):
        return refuse(Reason.WRONG_TYPE, "the message is not one JSON object")
    status = message.get("status", 0)
    if status != 0:
        # HTTP said 200; an expired token is only told here.
        return refuse(Reason.VENDOR_ERROR, "the vendor answered with an error status instead of measures")
    body = message.get("body")
    groups = field.records(body if isinstance(body, dict) else message, "measuregrps")
    if isinstance(groups, Refusal):
        return (groups,)
    zone = field.text(body if isinstance(body, dict) else message, "timezone")
    return field.answer(_group(group, zone) for group in groups if "measures" in group)


def _notification(raw: bytes) -> Answer:
    if len(raw) > LONGEST_FORM:
        return refuse(Reason.TOO_LARGE, f"a notification is never longer than {LONGEST_FORM} bytes")
    try:
        form = parse_qs(raw.decode("ascii"), max_num_fields=16)
    except ValueError:
        return refuse(Reason.NOT_TEXT, "the notification is not form-encoded text")
    told = {name: values[0] for name, values in form.items()}
    if "userid" not in told or "appli" not in told:
        return refuse(Reason.MISSING_FIELD, "a notification needs `userid` and `appli`")
    if told["appli"] != BLOOD_PRESSURE_APPLI:
        return refuse(Reason.UNSUPPORTED_KIND, "the notification is not about blood pressure")
    sent: dict[str, Sent] = {
        name: Sent(told[name][:32], "s") for name in ("startdate", "enddate") if name in told
    }
    account = field.claims(account=field.text(told, "userid"))
    return (DeviceEvent(event=EventKind.DATA_WAITING, sent=sent, claimed=account),)


def _group(group: Mapping[str, Any], zone: str | None) -> Said:
    device = field.text(group, "deviceid", "hash_deviceid")
    if field.whole(group.get("category", MEASURED)) == GOAL:
        return Refusal(reason=Reason.GOAL, detail="a goal somebody set, not a measurement", device=device)
    about = field.clock(group, "date")
    about["device"] = device
    about["flags"] = _flags(group.get("attrib"))
    about["sent"] = {"record": Sent(field.text(group, "grpid"))}
    at = about.get("device_time")
    if at is not None and at.tzinfo is not None and zone is not None:
        about.update(_offset(at, zone))
    values: dict[int, Sent] = {}
    others: set[str] = set()
    for measure in field.pairs(group, "measures"):
        kind = field.whole(measure.get("type"))
        if kind in {DIASTOLIC, SYSTOLIC, PULSE}:
            values[kind] = Sent(_scaled(measure), "/min" if kind == PULSE else "mm[Hg]")
        else:
            others.add(OTHERS.get(kind, "") if kind is not None else "")
    if not values:
        return field.unsupported(others, device)
    return blood_pressure(values.get(SYSTOLIC), values.get(DIASTOLIC), None, values.get(PULSE), **about)


def _flags(attribution: object) -> tuple[str, ...]:
    code = field.whole(attribution)
    return ATTRIBUTION.get(code, ()) if code is not None else ()


def _scaled(measure: Mapping[str, Any]) -> float | str | None:
    """Value times ten to the power of `unit`.

    >>> _scaled({"value": 1205, "unit": -1}), _scaled({"value": 12, "unit": 1}), _scaled({"value": 1, "unit": 999})
    (120.5, 120.0, '1e999')
    """
    value, power = number(measure.get("value")), field.whole(measure.get("unit", 0))
    if value is None or power is None:
        return None
    if abs(power) > 20:  # noqa: PLR2004  no quantity of a body is that large or small
        return f"{value:g}e{'-' if power < 0 else ''}999"
    scale: int = 10 ** abs(power)
    return value * scale if power >= 0 else value / scale


def _offset(at: datetime, zone: str) -> OfReading:
    """The patient's offset at that moment, from the account's zone name."""
    try:
        offset = at.astimezone(ZoneInfo(zone)).utcoffset()
    except (KeyError, ValueError, OSError):
        return {}
    return {} if offset is None else field.local(offset / timedelta(minutes=1))
