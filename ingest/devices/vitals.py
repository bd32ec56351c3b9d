"""From values as sent to a measurement: conversion, what counts as absent, what is impossible."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict, Unpack
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
DECIMAL = re.compile(r"\s*[+-]?\d{1,15}(?:\.\d{1,15})?\s*", re.ASCII)


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

    1. Absent is what the sender says is absent: a reserved number, null, zero. A message that has none of the
       fields at all is refused: it says nothing.
    2. A systolic or diastolic no cuff can show refuses the whole message: its bytes are not to be trusted.
    3. An impossible mean or pulse is dropped with its reason and the pressures stay: a crisis is not
       lost to a damaged pulse.
    """
    sent = dict(about.get("sent", ()))
    absent: dict[str, Absent] = {}
    found: list[float | None] = []
    for name, said, table, most, main in (
        ("systolic", systolic, units.PRESSURE, MOST_PRESSURE, True),
        ("diastolic", diastolic, units.PRESSURE, MOST_PRESSURE, True),
        ("map", mean, units.PRESSURE, MOST_PRESSURE, False),
        ("pulse", pulse, units.RATE, MOST_PULSE, False),
    ):
        if said is None:
            found.append(None)
            continue
        sent[name] = said
        amount = _amount(said, table, most)
        if isinstance(amount, float):
            found.append(amount)
            continue
        if isinstance(amount, Reason):
            if main or amount is Reason.UNKNOWN_UNIT:
                return _refusal(amount, f"{name} {COMPLAINTS[amount]}", about)
            amount = Absent.NOT_A_NUMBER
        if main and amount is Absent.IMPOSSIBLE:
            return _refusal(Reason.IMPOSSIBLE_VALUE, f"{name} is a number no cuff can show", about)
        found.append(None)
        absent[name] = amount
    upper, lower, middle, rate = found
    about["sent"] = sent
    if absent:
        about["absent"] = {**about.get("absent", {}), **absent}
    if upper is None or lower is None:
        if upper is lower is rate is None:
            return _no_reading(Kind.BLOOD_PRESSURE, about)
        flag = Flag.PULSE_ONLY if upper is lower else Flag.INCOMPLETE
        about["flags"] = (*about.get("flags", ()), flag)
    return Measurement(
        kind=Kind.BLOOD_PRESSURE, systolic=upper, diastolic=lower, map=middle, pulse=rate, **about
    )


def glucose(value: Sent | None, *, beyond: Beyond | None = None, **about: Unpack[OfReading]) -> Said:
    """A glucose from what was sent; HI and LO are emergencies without a number, and stay so."""
    if value is None and beyond is None:
        return _no_reading(Kind.GLUCOSE, about)
    value = value or Sent(None)
    about["sent"] = {**about.get("sent", {}), "glucose": value}
    if beyond is None and isinstance(value.value, str):
        beyond = beyond_range(value.value)
    if beyond is not None:
        why = Absent.ABOVE_RANGE if beyond is Beyond.HI else Absent.BELOW_RANGE
        about["absent"] = {**about.get("absent", {}), "glucose": why}
        return Measurement(kind=Kind.GLUCOSE, beyond=beyond, **about)
    amount = _amount(value, units.GLUCOSE, MOST_GLUCOSE)
    if isinstance(amount, Reason):
        return _refusal(amount, f"glucose {COMPLAINTS[amount]}", about)
    if amount is Absent.IMPOSSIBLE:
        return _refusal(Reason.IMPOSSIBLE_VALUE, "glucose is a number no meter can show", about)
    if isinstance(amount, Absent):
        about["absent"] = {**about.get("absent", {}), "glucose": amount}
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
VALUES = {"systolic", "diastolic", "map", "pulse", "glucose"}
WORDS_FOR_NOTHING = {"", "-", "--", "---", "n/a", "na", "nan", "null", "none", "err", "error"}


COMPLAINTS = {Reason.WRONG_TYPE: "is not a number", Reason.UNKNOWN_UNIT: "has a unit we do not know"}


def _amount(said: Sent, table: dict[str, float], most: float) -> float | Absent | Reason:
    """The number in our unit, why it is absent, or why it cannot be read."""
    scale = 1.0 if said.unit is None else units.factor(table, said.unit)
    if scale is None:
        return Reason.UNKNOWN_UNIT
    value = said.value
    amount = value if type(value) is float else number(value)
    if amount is None:
        return _why_no_number(value)
    if amount == 0:
        return Absent.ZERO
    amount = round(amount * scale, units.PLACES)
    return amount if 0 < amount <= most else Absent.IMPOSSIBLE


def _why_no_number(value: object) -> Absent | Reason:
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


def _no_reading(kind: Kind, about: OfReading) -> Said:
    if not VALUES & about.get("sent", {}).keys():
        return _refusal(Reason.MISSING_FIELD, "no value of a measurement is there", about)
    return DeviceEvent(event=EventKind.NO_READING, kind=kind, **event_about(about))


def _refusal(reason: Reason, detail: str, about: OfReading) -> Refusal:
    return Refusal(
        reason=reason, detail=detail, device=about.get("device"), message_id=about.get("message_id")
    )
