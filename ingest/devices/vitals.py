"""From values as sent to a measurement: conversion, what counts as absent, what is impossible."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypedDict, Unpack
from uuid import UUID

from ingest.devices import units
from ingest.devices.measurement import (
    Absent,
    Context,
    DeviceEvent,
    EventKind,
    Flag,
    Measurement,
    Reason,
    Refusal,
    Said,
    Sent,
)
from ingest.events import Beyond, Kind

MOST_PRESSURE = 400.0  # mm[Hg]: above what any cuff inflates to; 2047 is a NaN someone read as a number
MOST_PULSE = 400.0  # /min
MOST_GLUCOSE = 2000.0  # mg/dL: meters stop at 600, the highest survivor on record is near 2650 in hospital
DECIMAL = re.compile(r"\s*[+-]?\d{1,15}(?:\.\d{1,15})?\s*")


class About(TypedDict, total=False):
    """Everything around the numbers, common to measurements and events."""

    flags: tuple[str, ...]
    sent: Mapping[str, Sent]
    absent: Mapping[str, Absent]
    device: str | None
    gateway: str | None
    message_id: UUID | None
    seq: int | None
    device_time: datetime | None
    device_time_sent: str | None
    gateway_time: datetime | None
    gateway_now: datetime | None
    utc_offset_minutes: int | None
    claimed: Mapping[str, str]
    original: bytes | None


class OfReading(About, total=False):
    """What only a measurement has."""

    context: Context | None
    history: bool
    device_now: datetime | None


def number(value: object) -> float | None:
    """A finite number, or text that is one; None for everything else (booleans are not numbers).

    >>> number("128.00"), number(97), number("HI"), number(True), number("1e999")
    (128.0, 97.0, None, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e15 else None  # noqa: PLR2004  also refuses NaN and huge ints
    if isinstance(value, str) and DECIMAL.fullmatch(value):
        return float(value)
    return None


def blood_pressure(
    systolic: Sent | None,
    diastolic: Sent | None,
    mean: Sent | None = None,
    pulse: Sent | None = None,
    **about: Unpack[OfReading],
) -> Said:
    """A blood pressure from what was sent; a device that measured nothing is an event, not a reading.

    1. Absent is what the sender says is absent: a reserved number, null, zero.
    2. A systolic or diastolic no cuff can show refuses the whole message: its bytes are not to be trusted.
    3. An impossible mean or pulse is dropped with its reason and the pressures stay: a crisis is not
       lost to a damaged pulse.
    """
    sent: dict[str, Sent] = {}
    absent: dict[str, Absent] = {}
    values: dict[str, float | None] = {}
    for name, said in (("systolic", systolic), ("diastolic", diastolic), ("map", mean), ("pulse", pulse)):
        if said is None:
            values[name] = None
            continue
        sent[name] = said
        most, scale = (MOST_PULSE, 1.0) if name == "pulse" else (
            MOST_PRESSURE, units.factor(units.PRESSURE, said.unit)
        )  # fmt: skip
        if scale is None:
            return _refusal(Reason.UNKNOWN_UNIT, f"{name} has a unit of pressure we do not know", about)
        value, why = _canonical(said, scale, most)
        if why is Reason.WRONG_TYPE:
            return _refusal(Reason.WRONG_TYPE, f"{name} is not a number", about)
        if why is Absent.IMPOSSIBLE and name in {"systolic", "diastolic"}:
            return _refusal(Reason.IMPOSSIBLE_VALUE, f"{name} is a number no cuff can show", about)
        values[name] = value
        if why is not None:
            absent[name] = why
    flags = about.get("flags", ())
    upper, lower = values["systolic"], values["diastolic"]
    about["sent"] = {**about.get("sent", {}), **sent}
    about["absent"] = {**about.get("absent", {}), **absent}
    if upper is None and lower is None and values["pulse"] is None:
        return _no_reading(Kind.BLOOD_PRESSURE, about)
    if upper is None and lower is None:
        about["flags"] = (*flags, Flag.PULSE_ONLY)
    elif upper is None or lower is None:
        about["flags"] = (*flags, Flag.INCOMPLETE)
    return Measurement(kind=Kind.BLOOD_PRESSURE, **values, **about)  # type: ignore[arg-type]


def glucose(value: Sent, *, beyond: Beyond | None = None, **about: Unpack[OfReading]) -> Said:
    """A glucose from what was sent; HI and LO are emergencies without a number, and stay so."""
    about["sent"] = {**about.get("sent", {}), "glucose": value}
    if beyond is None and isinstance(value.value, str):
        beyond = beyond_range(value.value)
    if beyond is not None:
        why = Absent.ABOVE_RANGE if beyond is Beyond.HI else Absent.BELOW_RANGE
        about["absent"] = {**about.get("absent", {}), "glucose": why}
        return Measurement(kind=Kind.GLUCOSE, beyond=beyond, **about)
    scale = units.factor(units.GLUCOSE, value.unit)
    if scale is None:
        return _refusal(Reason.UNKNOWN_UNIT, "glucose has a unit we do not know", about)
    amount, missing = _canonical(value, scale, MOST_GLUCOSE)
    if missing is Reason.WRONG_TYPE:
        return _refusal(Reason.WRONG_TYPE, "glucose is not a number", about)
    if missing is Absent.IMPOSSIBLE:
        return _refusal(Reason.IMPOSSIBLE_VALUE, "glucose is a number no meter can show", about)
    if missing is not None:
        about["absent"] = {**about.get("absent", {}), "glucose": missing}
        return _no_reading(Kind.GLUCOSE, about)
    return Measurement(kind=Kind.GLUCOSE, glucose=amount, **about)


def beyond_range(text: str) -> Beyond | None:
    """HI or LO in the spellings meters and clouds use.

    >>> beyond_range("Hi"), beyond_range("LOW"), beyond_range("108")
    (<Beyond.HI: 'HI'>, <Beyond.LO: 'LO'>, None)
    """
    word = text.strip().lower()
    if word in {"hi", "high", "above range", "above_range", "over"}:
        return Beyond.HI
    if word in {"lo", "low", "below range", "below_range", "under"}:
        return Beyond.LO
    return None


def device_name(text: str) -> str:
    """A hardware address in one spelling (12 lower-case hex digits); any other name untouched.

    >>> device_name("D6:16:F9:64:16:22"), device_name("cuff-7")
    ('d616f9641622', 'cuff-7')
    """
    if len(text) == 17 and text[2] in ":-":  # noqa: PLR2004  AA:BB:CC:DD:EE:FF
        bare = text.replace(text[2], "")
    elif len(text) == 12:  # noqa: PLR2004  AABBCCDDEEFF
        bare = text
    else:
        return text
    return bare.lower() if HARDWARE.fullmatch(bare) else text


HARDWARE = re.compile(r"[0-9A-Fa-f]{12}")
WORDS_FOR_NOTHING = {"", "-", "--", "---", "n/a", "na", "nan", "null", "none", "err", "error"}


def _canonical(
    said: Sent, scale: float, most: float
) -> tuple[float | None, Absent | Literal[Reason.WRONG_TYPE] | None]:
    """The number in our unit, or why there is none."""
    amount = number(said.value)
    if amount is None:
        return None, _why_no_number(said.value)
    if amount == 0:
        return None, Absent.ZERO
    amount = round(amount * scale, units.PLACES)
    return (amount, None) if 0 < amount <= most else (None, Absent.IMPOSSIBLE)


def _why_no_number(value: object) -> Absent | Literal[Reason.WRONG_TYPE]:
    if value is None:
        return Absent.EMPTY
    if isinstance(value, Absent):
        return value
    if isinstance(value, str):
        return Absent.NOT_A_NUMBER if value.strip().lower() in WORDS_FOR_NOTHING else Reason.WRONG_TYPE
    return Reason.WRONG_TYPE if isinstance(value, bool) else Absent.IMPOSSIBLE


def event_about(about: OfReading) -> About:
    """What an event keeps of what surrounds a measurement."""
    return {k: v for k, v in about.items() if k in About.__annotations__}  # type: ignore[return-value]


def _no_reading(kind: Kind, about: OfReading) -> DeviceEvent:
    return DeviceEvent(event=EventKind.NO_READING, kind=kind, **event_about(about))


def _refusal(reason: Reason, detail: str, about: OfReading) -> Refusal:
    return Refusal(
        reason=reason, detail=detail, device=about.get("device"), message_id=about.get("message_id")
    )
