"""Our own message, `v1/<gateway>/readings`: one flat JSON object per reading, QoS 1.

The smallest message there is, sent by hand:

    mosquitto_pub -q 1 -t v1/gw-1/readings -m '{"device":"cuff-7","kind":"bp","systolic":152,"diastolic":94}'

Every message may carry

| field | type | meaning |
|---|---|---|
| `device` | text, 1 to 64 printable characters, required | the serial number or hardware address of the cuff or meter |
| `kind` | `bp`, `glucose`, `frame` or `event`, required | what follows |
| `id` | UUID | the gateway's own name for this message; the acknowledgement carries it |
| `seq` | whole number, not negative | the *device's* own count of its measurements, if it keeps one |
| `measured_at` | ISO 8601, with zone or without, or null | the device's clock; without zone: the wall clock of the patient |
| `device_now` | as `measured_at` | the device's clock at `gateway_time`: lets a wrong device clock be put right |
| `gateway_time` | ISO 8601 with zone | the gateway's clock when the device handed the measurement over |
| `sent_at` | ISO 8601 with zone | the gateway's clock when this message was sent |
| `utc_offset_minutes` | whole number | the patient's offset from UTC |
| `flags` | list of text | names from `measurement.Flag` |
| `history` | true or false | recorded before watching began: builds the baseline, pages nobody |
| `raw` | base64 | what the device sent to the gateway, kept for ever with the reading |

and, by kind,

| kind | fields |
|---|---|
| `bp` | `systolic`, `diastolic` (at least one), `map`, `pulse` (/min), `unit`: `mm[Hg]` (default) or `kPa`, `user` |
| `glucose` | `glucose`: a number, `"HI"` or `"LO"`; `unit`: `mg/dL` (default) or `mmol/L`; `context` |
| `frame` | `family`: `ble-blood-pressure`, `ble-blood-pressure-enhanced` or `ble-glucose`; `frame` and, for a meal, `context_frame`: the bytes of the characteristic in base64 or hex |
| `event` | `event`: `battery`, `heartbeat`, `online`, `offline`, `error`, `reminder_cleared`; `battery_percent` |

Anything else is refused with a reason: an unknown field, a number as text, the same key twice, NaN, more
than 16 KB.
"""  # noqa: E501

import re
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from ingest.devices import (
    ble_blood_pressure,
    ble_blood_pressure_enhanced,
    ble_glucose,
    document,
    field,
    frame,
)
from ingest.devices.measurement import (
    Absent,
    Answer,
    Context,
    DeviceEvent,
    EventKind,
    Flag,
    Measurement,
    Reason,
    Refusal,
    Said,
    Sent,
    refuse,
)
from ingest.devices.timestamp import instant, parse_with_offset
from ingest.devices.vitals import OfReading, blood_pressure, device_name, event_about, glucose
from ingest.events import Beyond

LARGEST = 16 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors put one in front; it means nothing
NAME = re.compile(r"[!-~]{1,64}")
KNOWN_FLAGS = {flag.value: flag for flag in Flag}
FRAMES = {
    "ble-blood-pressure": ble_blood_pressure.decode,
    "ble-blood-pressure-enhanced": ble_blood_pressure_enhanced.decode,
}

Name = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,64}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=64)]
Bytes = Annotated[str, msgspec.Meta(max_length=12 * 1024)]
Zoned = Annotated[datetime, msgspec.Meta(tz=True)]


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    device: Name
    id: UUID | None = None
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    measured_at: Text | None = None
    device_now: Text | None = None
    gateway_time: Zoned | None = None
    sent_at: Zoned | None = None
    utc_offset_minutes: int | None = None
    flags: Annotated[tuple[Text, ...], msgspec.Meta(max_length=16)] = ()
    history: bool = False
    raw: Bytes | None = None


class _BloodPressure(_Message, tag="bp", frozen=True, kw_only=True, forbid_unknown_fields=True):
    systolic: float | None = None
    diastolic: float | None = None
    map: float | None = None
    pulse: float | None = None
    unit: Literal["mm[Hg]", "mmHg", "kPa"] | None = None
    user: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None


class _Glucose(_Message, tag="glucose", frozen=True, kw_only=True, forbid_unknown_fields=True):
    glucose: float | Beyond
    unit: Literal["mg/dL", "mmol/L"] | None = None
    context: Context | None = None


class _Frame(_Message, tag="frame", frozen=True, kw_only=True, forbid_unknown_fields=True):
    family: Literal["ble-blood-pressure", "ble-blood-pressure-enhanced", "ble-glucose"]
    frame: Bytes
    context_frame: Bytes | None = None


class _Event(_Message, tag="event", frozen=True, kw_only=True, forbid_unknown_fields=True):
    event: Literal["battery", "heartbeat", "online", "offline", "error", "reminder_cleared"]
    battery_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None


MESSAGES = (_BloodPressure, _Glucose, _Frame, _Event)
"""The four kinds of message, for whoever documents them."""

DECODER = msgspec.json.Decoder(_BloodPressure | _Glucose | _Frame | _Event)
KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(raw: bytes) -> Answer:
    """One message, one answer.

    >>> decode(b'{"device":"cuff-7","kind":"bp","systolic":152,"diastolic":94}')
    (Measurement(kind='bp'),)
    """
    if len(raw) > LARGEST:
        return refuse(Reason.TOO_LARGE, f"the message is longer than {LARGEST} bytes")
    raw = raw.removeprefix(BYTE_ORDER_MARK)
    try:
        message = DECODER.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as no:
        return (_why(raw, str(no)),)
    if _may_repeat_a_key(raw):
        strict = document.read(raw, largest=LARGEST)
        if isinstance(strict, Refusal):
            return (strict,)
    return _frame(message) if isinstance(message, _Frame) else (_said(message),)


def _said(message: "_BloodPressure | _Glucose | _Event") -> Said:
    if isinstance(message, _BloodPressure):
        return _blood_pressure(message)
    return _glucose(message) if isinstance(message, _Glucose) else _event(message)


def _may_repeat_a_key(raw: bytes) -> bool:
    """False only if no key can occur twice; the parser would silently keep the last of two.

    With no backslash and no white space before a colon, every key of a flat object ends in the two bytes
    `":`, so as many of those as distinct keys means no repetition. Anything else is read again, strictly.
    """
    spaced = len(raw.split(None, 1)) > 1
    if b"\\" in raw or (spaced and (b" :" in raw or b"\t:" in raw or b"\n:" in raw or b"\r:" in raw)):
        return True
    return raw.count(b'":') != len(KEYS.decode(raw))


def _about(message: _Message) -> OfReading:
    about: OfReading = {"device": device_name(message.device), "message_id": message.id, "seq": message.seq}
    _add_times(message, about)
    if message.flags:
        about["flags"] = (*_flags(message.flags), *about.get("flags", ()))
    if message.history:
        about["history"] = True
    if message.raw is not None:
        about["original"] = frame.from_base64(message.raw)
    return about


def _add_times(message: _Message, about: OfReading) -> None:
    if message.measured_at is not None:
        about["device_time_sent"] = message.measured_at
        wall, offset = parse_with_offset(message.measured_at)
        about["device_time"] = at = instant(wall, offset)
        if at is None:
            about["absent"] = {"device_time": Absent.INVALID_DATE if wall is None else Absent.OFFSET_INSANE}
        elif offset:  # a written zero is UTC, which says nothing about where the patient lives
            about["utc_offset_minutes"] = offset
    if message.device_now is not None:
        about["device_now"] = instant(*parse_with_offset(message.device_now))
    if message.gateway_time is not None:
        about["gateway_time"] = _in_utc(message.gateway_time)
    if message.sent_at is not None:
        about["gateway_now"] = _in_utc(message.sent_at)
    if message.utc_offset_minutes is not None:
        about.update(field.local(message.utc_offset_minutes))


def _in_utc(moment: datetime) -> datetime | None:
    """None at the very edge of the calendar, where an offset leads out of it."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def _flags(names: tuple[str, ...]) -> tuple[str, ...]:
    """Only flags we know: what people are shown is never a gateway's free text."""
    return tuple(dict.fromkeys(KNOWN_FLAGS.get(name, Flag.FLAGGED_BY_SENDER) for name in names))


def _blood_pressure(message: _BloodPressure) -> Said:
    if message.systolic is None and message.diastolic is None and message.pulse is None:
        return Refusal(
            reason=Reason.MISSING_FIELD,
            detail="a bp needs `systolic` or `diastolic`",
            device=message.device,
            message_id=message.id,
        )
    about = _about(message)
    if message.user == ble_blood_pressure.USER_UNKNOWN:
        about["flags"] = (*about.get("flags", ()), Flag.USER_UNKNOWN)
    elif message.user is not None:
        about["claimed"] = {"user": str(message.user)}
    unit = message.unit
    return blood_pressure(
        None if message.systolic is None else Sent(message.systolic, unit),
        None if message.diastolic is None else Sent(message.diastolic, unit),
        None if message.map is None else Sent(message.map, unit),
        None if message.pulse is None else Sent(message.pulse, "/min"),
        **about,
    )


def _glucose(message: _Glucose) -> Said:
    about = _about(message)
    if message.context is not None:
        about["context"] = message.context
    value = message.glucose
    if isinstance(value, Beyond):
        return glucose(Sent(value.value, message.unit), beyond=value, **about)
    return glucose(Sent(value, message.unit), **about)


def _event(message: _Event) -> Said:
    about = event_about(_about(message))
    return DeviceEvent(event=EventKind(message.event), battery_percent=message.battery_percent, **about)


def _frame(message: _Frame) -> Answer:
    """The characteristic decides what was measured; the envelope adds device, gateway's clock and history."""
    found = frame.from_text(message.frame)
    context = frame.from_text(message.context_frame) if message.context_frame else b""
    if found is None or context is None:
        return refuse(
            Reason.BAD_ENCODING,
            "a frame is neither hex nor base64",
            device=message.device,
            message_id=message.id,
        )
    is_glucose = message.family == "ble-glucose"
    said = ble_glucose.decode(found, context) if is_glucose else FRAMES[message.family](found)
    return tuple(_enveloped(one, _about(message), found) for one in said)


def _enveloped(said: Said, about: OfReading, found: bytes) -> Said:
    if isinstance(said, Refusal):
        return msgspec.structs.replace(said, device=about.get("device"), message_id=about.get("message_id"))
    wraps = about if isinstance(said, Measurement) else event_about(about)
    added = {k: v for k, v in wraps.items() if k not in {"flags", "absent"} and v is not None}
    added["flags"] = (*said.flags, *about.get("flags", ()))
    added["absent"] = {**about.get("absent", {}), **said.absent}
    return msgspec.structs.replace(said, **{"original": found, **added})


def _why(raw: bytes, said: str) -> Refusal:
    """The precise reason, without a value from the message in it.

    The strict reader goes first: a key twice or a NaN is named as such. Then the schema's own complaint is
    turned into our words; only names of our own fields are repeated.
    """
    strict = document.read(raw, largest=LARGEST)
    if isinstance(strict, Refusal):
        return strict
    if not isinstance(strict, dict):
        return Refusal(reason=Reason.WRONG_TYPE, detail="the message is not one JSON object")
    device = strict.get("device")
    known = device_name(device) if isinstance(device, str) and NAME.fullmatch(device) else None
    reason, detail = _complaint(said)
    return Refusal(reason=reason, detail=detail, device=known, message_id=_uuid(strict.get("id")))


COMPLAINTS = (
    (r"missing required field `([a-z_]{1,32})`", Reason.MISSING_FIELD, "`{}` is missing"),
    (r"unknown field `([a-z_]{1,32})`", Reason.UNKNOWN_FIELD, "`{}` is not a field of this kind of message"),
    (r"(unknown field)", Reason.UNKNOWN_FIELD, "a field of the message is not known"),
    (r"at `\$\.(kind)`", Reason.UNKNOWN_KIND, "`{}` is none of bp, glucose, frame, event"),
    (
        r"out of range.*at `\$\.([a-z_]{1,32})",
        Reason.NUMBER_TOO_LARGE,
        "`{}` is larger or smaller than it can be",
    ),
    (
        r"Expected `(?:int|float)` [<>]=.*at `\$\.([a-z_]{1,32})",
        Reason.NUMBER_TOO_LARGE,
        "`{}` is larger or smaller than it can be",
    ),
    (r"at `\$\.(unit)`", Reason.UNKNOWN_UNIT, "`{}` is not one of this kind of message"),
    (r"at `\$\.([a-z_]{1,32})", Reason.WRONG_TYPE, "`{}` does not have the type or form it must have"),
)


def _complaint(said: str) -> tuple[Reason, str]:
    for pattern, reason, detail in COMPLAINTS:
        found = re.search(pattern, said)
        if found is not None:
            return reason, detail.format(found[1])
    return Reason.WRONG_TYPE, "a field does not have the type or form it must have"


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
