"""AVA4 and other Dusun-style gateways over MQTT: a list of what was scanned, no unit, no zone.

The gateway writes its own clock, `time` when it sends and `scan_time` when it heard the device; in the field
both have been two years ahead. Both are kept, and the clock doctor decides.
"""

from collections.abc import Mapping
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import (
    Answer,
    Context,
    DeviceEvent,
    EventKind,
    Reason,
    Refusal,
    Said,
    Sent,
    refuse,
)
from ingest.devices.vitals import OfReading, blood_pressure, device_name, event_about, glucose

LARGEST = 64 * 1024
STATUS = {"HB_Msg": EventKind.HEARTBEAT, "reportMsg": EventKind.ONLINE}
MARKERS = {
    "before meal": Context.BEFORE_MEAL, "premeal": Context.BEFORE_MEAL, "pre meal": Context.BEFORE_MEAL,
    "after meal": Context.AFTER_MEAL, "postmeal": Context.AFTER_MEAL, "post meal": Context.AFTER_MEAL,
    "fasting": Context.FASTING, "bedtime": Context.BEDTIME, "before bed": Context.BEDTIME,
}  # fmt: skip
ENVELOPE = {"scan_time", "scan_rssi", "ble_addr", "ble_mac", "mac", "marker", "mode"}


def decode(raw: bytes) -> Answer:
    """A status message, or one reading for each device heard.

    >>> decode(b'{"type":"HB_Msg","mac":"DC:DA:0C:5A:80:64","time":1743963911,"data":{"msg":"Online"}}')
    (DeviceEvent(event='heartbeat'),)
    """
    message = document.read(raw, largest=LARGEST)
    if isinstance(message, Refusal):
        return (message,)
    if not isinstance(message, dict):
        return refuse(Reason.WRONG_TYPE, "the message is not one JSON object")
    status = status_of(message)
    if status is not None:
        return (status,)
    listed = field.inner(field.inner(message, "data"), "value").get("device_list")
    items = field.records(listed if listed is not None else [])
    if isinstance(items, Refusal):
        return (items,)
    return field.answer(reading(item, item, about_gateway(message)) for item in items)


def status_of(message: Mapping[str, Any]) -> DeviceEvent | None:
    """The gateway speaking of itself. Its IMEI is only ever here: data messages name the gateway by its address."""
    kind = message.get("type")
    event = STATUS.get(kind) if isinstance(kind, str) else None
    if event is None:
        return None
    about = about_gateway(message)
    said = {
        "msg": field.sent(field.inner(message, "data"), None, "msg"),
        "imei": field.sent(message, None, "IMEI"),
    }
    about["sent"] = {name: value for name, value in said.items() if value is not None}
    about["gateway_time"] = about.get("gateway_now")
    return DeviceEvent(event=event, **event_about(about))


def about_gateway(message: Mapping[str, Any]) -> OfReading:
    """Which gateway, and what its clock says."""
    name = field.text(message, "mac", "deviceCode")
    about: OfReading = {"gateway_now": field.epoch(message.get("time"))}
    if name is not None:
        about["gateway"] = device_name(name)
    return about


def reading(item: Mapping[str, Any], values: Mapping[str, Any], about: OfReading) -> Said:
    """One device's values. The pulse is `PR` from some cuffs and `pr` from others; a glucose is text or number."""
    name = field.text(item, "ble_addr", "ble_mac", "mac")
    device = device_name(name) if name is not None else None
    about["device"] = device
    about["gateway_time"] = field.epoch(item.get("scan_time")) or about.get("gateway_now")
    written = field.sent(item, "s", "scan_time")
    if written is not None:
        about["sent"] = {"scan_time": written}
    high, low = field.sent(values, None, "bp_high", "sys"), field.sent(values, None, "bp_low", "dia")
    if high is not None or low is not None:
        return blood_pressure(high, low, None, field.sent(values, "/min", "PR", "pr", "pulse"), **about)
    sugar = field.sent(values, None, "blood_glucose")
    if sugar is not None:
        marker = field.text(values, "marker")
        if marker is not None:
            about["context"] = MARKERS.get(marker.lower(), Context.UNSPECIFIED)
            about["sent"] = {**about.get("sent", {}), "context": Sent(marker)}
        return glucose(sugar, **about)
    others = {key for key in values if key not in ENVELOPE}
    if others:
        return field.unsupported(others, device)
    return Refusal(reason=Reason.NOTHING_HERE, detail="a scanned device without a value", device=device)
