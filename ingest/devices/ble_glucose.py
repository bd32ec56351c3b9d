"""Bluetooth Glucose Measurement (0x2A18) with its Context (0x2A34): what every standard meter notifies."""

from datetime import timedelta
from typing import NamedTuple

from ingest.devices import sfloat
from ingest.devices.ble_blood_pressure import LONGEST, read_date
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
    refuse,
)
from ingest.devices.vitals import OfReading, event_about, glucose
from ingest.events import Beyond, Kind

TIME_OFFSET, CONCENTRATION, MOLAR, STATUS, CONTEXT_FOLLOWS = 0x01, 0x02, 0x04, 0x08, 0x10
SHORTEST = 10  # flags, sequence number, base time
OVERRUN, UNDERRUN = 0x7FFF, -0x8000
CONTROL_TYPE, CONTROL_SITE = 10, 4
TOO_HIGH, TOO_LOW, TIME_FAULT = 1 << 5, 1 << 6, 1 << 11

SAMPLES = {
    1: "capillary whole blood", 2: "capillary plasma", 3: "venous whole blood", 4: "venous plasma",
    5: "arterial whole blood", 6: "arterial plasma", 7: "undetermined whole blood", 8: "undetermined plasma",
    9: "interstitial fluid", 10: "control solution",
}  # fmt: skip
NOT_CAPILLARY = {3, 4, 5, 6, 9}
SITES = {1: "finger", 2: "alternate site", 3: "earlobe", 4: "control solution", 15: "not available"}
STATUS_FLAGS = (
    (1 << 0, Flag.BATTERY_LOW),
    (1 << 1, Flag.SENSOR_MALFUNCTION),
    (1 << 2, Flag.SAMPLE_TOO_SMALL),
    (1 << 3, Flag.STRIP_INSERTION),
    (1 << 4, Flag.WRONG_STRIP),
    (1 << 7, Flag.TOO_HOT),
    (1 << 8, Flag.TOO_COLD),
    (1 << 9, Flag.STRIP_PULLED),
    (1 << 10, Flag.SENSOR_FAULT),
    (TIME_FAULT, Flag.TIME_FAULT),
)
MEALS = {
    1: Context.BEFORE_MEAL,
    2: Context.AFTER_MEAL,
    3: Context.FASTING,
    4: Context.UNSPECIFIED,  # casual: a snack or a drink
    5: Context.BEDTIME,
}
MEALS_SENT = {1: "preprandial", 2: "postprandial", 3: "fasting", 4: "casual", 5: "bedtime"}


class Meal(NamedTuple):
    """What the context frame says about the measurement with the same sequence number."""

    seq: int
    meal: int | None


def decode(raw: bytes, context: bytes = b"") -> Answer:
    """One notification and, if it came, the context notification that belongs to it.

    >>> (said,) = decode(bytes.fromhex("039C01EA070302070C05D4FEB6B011"))
    >>> said.glucose, said.seq, said.device_time.isoformat()
    (182.0, 412, '2026-03-02T02:12:05')
    """
    wrong = _length_problem(raw)
    if wrong is not None:
        return wrong
    flags = raw[0]
    about: OfReading = {"seq": raw[1] | raw[2] << 8}
    at = SHORTEST
    about.update(read_date(raw[3:SHORTEST]))
    if flags & TIME_OFFSET:
        _shift(int.from_bytes(raw[at : at + 2], "little", signed=True), about)
        at += 2
    value = Sent(None, "mol/L" if flags & MOLAR else "kg/L")
    sample = site = None
    if flags & CONCENTRATION:
        value = Sent(sfloat.read(raw[at], raw[at + 1]), value.unit)
        sample, site = raw[at + 2] & 0x0F, raw[at + 2] >> 4
        at += 3
    status = 0
    if flags & STATUS:
        status = raw[at] | raw[at + 1] << 8
        at += 2
    _describe(status, sample, site, about)
    if len(raw) > at:
        about["flags"] = (*about.get("flags", ()), Flag.TRAILING_BYTES)
    if context:
        _add_context(context, about)
    return (_reading(value, status, sample, site, about),)


def _length_problem(raw: bytes) -> Answer | None:
    if not raw:
        return refuse(Reason.EMPTY, "the frame is empty")
    if len(raw) > LONGEST:
        return refuse(Reason.TOO_LARGE, f"a Bluetooth attribute has at most {LONGEST} bytes")
    flags = raw[0]
    needed = (
        SHORTEST
        + (2 if flags & TIME_OFFSET else 0)
        + (3 if flags & CONCENTRATION else 0)
        + (2 if flags & STATUS else 0)
    )
    if len(raw) < needed:
        return refuse(Reason.TRUNCATED, f"the flags promise {needed} bytes and {len(raw)} are there")
    return None


def _shift(minutes: int, about: OfReading) -> None:
    """User-facing time is base time plus a *signed* offset; it follows the display, not a time zone."""
    base = about.get("device_time")
    sent = {"base_time": Sent(about.get("device_time_sent")), "time_offset_minutes": Sent(minutes, "min")}
    about["sent"] = {**about.get("sent", {}), **sent}
    if minutes in {OVERRUN, UNDERRUN}:
        about["device_time"] = None
        about["absent"] = {"device_time": Absent.OFFSET_OVERRUN}
    elif base is not None:
        try:
            about["device_time"] = shown = base + timedelta(minutes=minutes)
        except OverflowError:
            about["device_time"] = None
            about["absent"] = {"device_time": Absent.INVALID_DATE}
        else:
            about["device_time_sent"] = shown.isoformat()


def _describe(status: int, sample: int | None, site: int | None, about: OfReading) -> None:
    flags: list[str] = [flag for bit, flag in STATUS_FLAGS if status & bit]
    sent = dict(about.get("sent", {}))
    if sample is not None:
        sent["sample"] = Sent(SAMPLES.get(sample, "reserved"))
        if sample in NOT_CAPILLARY:
            flags.append(Flag.NOT_CAPILLARY)
    if site is not None:
        sent["site"] = Sent(SITES.get(site, "reserved"))
    if status & TIME_FAULT:
        about["device_time"] = None
        about["absent"] = {"device_time": Absent.TIME_FAULT}
    about["sent"] = sent
    about["flags"] = tuple(flags)


def _reading(value: Sent, status: int, sample: int | None, site: int | None, about: OfReading) -> Said:
    """Control solution tests the meter; a range bit or an infinity is an emergency without a number."""
    if sample == CONTROL_TYPE or site == CONTROL_SITE:
        about["sent"] = {**about.get("sent", {}), "glucose": value}
        about["absent"] = {**about.get("absent", {}), "glucose": Absent.NOT_PATIENT_DATA}
        about["flags"] = (*about.get("flags", ()), Flag.CONTROL_SOLUTION)
        return DeviceEvent(event=EventKind.CONTROL_SOLUTION, kind=Kind.GLUCOSE, **event_about(about))
    high = bool(status & TOO_HIGH) or value.value is Absent.POSITIVE_INFINITY
    low = bool(status & TOO_LOW) or value.value is Absent.NEGATIVE_INFINITY
    if high and low:
        return Refusal(
            reason=Reason.CONTRADICTION, detail="the frame says both above and below the meter's range"
        )
    beyond = Beyond.HI if high else Beyond.LO if low else None
    return glucose(value, beyond=beyond, **about)


def _add_context(frame: bytes, about: OfReading) -> None:
    said = read_context(frame)
    if said is None:
        about["absent"] = {**about.get("absent", {}), "context": Absent.NOT_A_NUMBER}
    elif said.seq != about.get("seq"):
        about["flags"] = (*about.get("flags", ()), Flag.CONTEXT_MISMATCHED)
    elif said.meal is not None:
        about["context"] = MEALS.get(said.meal, Context.UNSPECIFIED)
        about["sent"] = {**about.get("sent", {}), "context": Sent(MEALS_SENT.get(said.meal, "reserved"))}


def read_context(frame: bytes) -> Meal | None:
    """Sequence number and meal of a context frame, or None if it is shorter than its flags say.

    >>> read_context(bytes.fromhex("029C0103"))
    Meal(seq=412, meal=3)
    """
    if len(frame) < 3 or len(frame) > LONGEST:  # noqa: PLR2004  flags and sequence number
        return None
    flags = frame[0]
    at = 3 + (1 if flags & 0x80 else 0) + (3 if flags & 0x01 else 0)
    meal = None
    if flags & 0x02:
        meal = frame[at] if at < len(frame) else None
        at += 1
    at += (1 if flags & 0x04 else 0) + (3 if flags & 0x08 else 0) + (3 if flags & 0x10 else 0)
    at += 2 if flags & 0x40 else 0
    return Meal(frame[1] | frame[2] << 8, meal) if at <= len(frame) else None
