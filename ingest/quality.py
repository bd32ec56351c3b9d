"""Is this number to be trusted, was it said before, and what belongs together: rules over readings, all pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

from ingest.devices.measurement import Flag, Measurement
from ingest.devices.units import MMOL_IN_MGDL
from ingest.events import Kind, fact_id

SYSTOLIC, DIASTOLIC, PULSE = (50.0, 280.0), (30.0, 200.0), (30.0, 220.0)  # mm[Hg], mm[Hg], /min
PULSE_PRESSURE = 10.0  # mm[Hg]: systolic less diastolic; below it the cuff heard something else
GLUCOSE = (10.0, 1000.0)  # mg/dL
MMOL_LOOKALIKE = 35.0  # mg/dL: below here a value without a unit is far likelier mmol/L
MGDL_LOOKALIKE = 55.0  # mmol/L: no meter shows as much
KPA_LOOKALIKE = (40.0, 27.0)  # mm[Hg]: no living systolic and diastolic are both below
HOUR = timedelta(hours=1)
ECHO_HOURS = 14
SAME_MOMENT = timedelta(minutes=2)
SITTING = timedelta(minutes=30)
CRISIS = (180.0, 120.0)  # mm[Hg], either one: measure again before anything else

TECHNIQUE = frozenset({Flag.MOVEMENT, Flag.CUFF_LOOSE, Flag.BAD_POSITION})
"""How it was measured was wrong: kept and carried, and outvoted within a sitting by a reading without them."""

FAULTS = frozenset(
    {Flag.SENSOR_MALFUNCTION, Flag.SAMPLE_TOO_SMALL, Flag.WRONG_STRIP, Flag.STRIP_PULLED, Flag.SENSOR_FAULT}
)
OWNERLESS = frozenset({Flag.USER_UNKNOWN, Flag.OWNER_AMBIGUOUS})
"""The device or its cloud does not know whose this is: a person decides, and nothing pages or bills until then."""


class Doubt(StrEnum):
    """Why a measurement is put aside for a person instead of being scored."""

    IMPLAUSIBLE_SYSTOLIC = "implausible-systolic"
    IMPLAUSIBLE_DIASTOLIC = "implausible-diastolic"
    IMPLAUSIBLE_GLUCOSE = "implausible-glucose"
    PRESSURES_CROSSED = "pressures-crossed"
    PULSE_PRESSURE_TOO_SMALL = "pulse-pressure-too-small"
    UNIT_CONFUSION = "unit-confusion"
    DEVICE_FAULT = "device-fault"
    NOT_ONE_MEASUREMENT = "not-one-measurement"


class Echo(StrEnum):
    """The same measurement once more, under another time."""

    WHOLE_HOURS = "whole-hours-apart"  # a time zone was applied twice, or not at all
    SAME_MOMENT = "same-moment"  # two paths rounded its time differently


class Seen(NamedTuple):
    """As much of an earlier reading of the same device as it takes to recognise it."""

    reading_id: UUID
    at: datetime
    values: tuple[float | str | None, ...]
    seq: int | None = None


class Taken(NamedTuple):
    """One blood pressure as a sitting needs it."""

    reading_id: UUID
    at: datetime
    systolic: float | None
    diastolic: float | None
    pulse: float | None = None
    flags: tuple[str, ...] = ()


class Sitting(NamedTuple):
    """Readings within thirty minutes, as one: trends use the means, emergencies use `highest`."""

    first: datetime
    last: datetime
    readings: tuple[UUID, ...]
    averaged: int  # how many of them the means are of
    systolic: float | None
    diastolic: float | None
    pulse: float | None
    highest: float | None


def judge(measurement: Measurement) -> tuple[Measurement, tuple[Doubt, ...]]:
    """The measurement with what must be seen beside it, and what speaks against scoring it (empty: nothing).

    HI and LO have no number to doubt and always pass. A pulse out of range is flagged and holds nothing
    back: a pressure is not put aside for its pulse, and a pulse of 28 may be true. A glucose of 28 passes if
    the sender said mg/dL and a whole number, because it may be true; without a unit, or as 5.6, it is mmol/L
    in disguise.
    """
    if measurement.kind is Kind.GLUCOSE:
        found, flags = _of_glucose(measurement)
    else:
        found, flags = _of_pressure(measurement)
    if FAULTS.intersection(measurement.flags):
        found = (*found, Doubt.DEVICE_FAULT)
    if Flag.STATISTIC in measurement.flags:
        found = (*found, Doubt.NOT_ONE_MEASUREMENT)
    if flags:
        measurement = msgspec.structs.replace(measurement, flags=(*measurement.flags, *flags))
    return measurement, found


def _of_glucose(measurement: Measurement) -> tuple[tuple[Doubt, ...], tuple[Flag, ...]]:
    value, sent = measurement.glucose, measurement.sent.get("glucose")
    if value is None or measurement.beyond is not None:
        return (), ()
    unit = sent.unit if sent is not None else None
    if unit is not None and "mol" in unit.lower():
        if value > MGDL_LOOKALIKE * MMOL_IN_MGDL:
            return (Doubt.UNIT_CONFUSION,), ()
    elif value <= MMOL_LOOKALIKE and (unit is None or value != round(value)):
        return (Doubt.UNIT_CONFUSION,), ()
    if not _within(value, GLUCOSE):
        return (Doubt.IMPLAUSIBLE_GLUCOSE,), ()
    return (), (Flag.UNIT_SUSPECT,) if value <= MMOL_LOOKALIKE else ()


def _of_pressure(measurement: Measurement) -> tuple[tuple[Doubt, ...], tuple[Flag, ...]]:
    upper, lower, pulse = measurement.systolic, measurement.diastolic, measurement.pulse
    flags = () if pulse is None or _within(pulse, PULSE) else (Flag.PULSE_IMPLAUSIBLE,)
    if upper is not None and lower is not None:
        if upper <= KPA_LOOKALIKE[0] and lower <= KPA_LOOKALIKE[1]:
            return (Doubt.UNIT_CONFUSION,), flags
        if lower >= upper:
            return (Doubt.PRESSURES_CROSSED,), flags
    found: list[Doubt] = []
    if upper is not None and not _within(upper, SYSTOLIC):
        found.append(Doubt.IMPLAUSIBLE_SYSTOLIC)
    if lower is not None and not _within(lower, DIASTOLIC):
        found.append(Doubt.IMPLAUSIBLE_DIASTOLIC)
    if upper is not None and lower is not None and upper - lower < PULSE_PRESSURE:
        found.append(Doubt.PULSE_PRESSURE_TOO_SMALL)
    return tuple(found), flags


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def values(measurement: Measurement) -> tuple[float | str | None, ...]:
    """The numbers that make a measurement the one it is."""
    if measurement.kind is Kind.GLUCOSE:
        return (measurement.beyond.value if measurement.beyond else measurement.glucose,)
    return (measurement.systolic, measurement.diastolic, measurement.pulse)


def reading_id(device_id: str, measurement: Measurement, *, carrier: UUID) -> UUID:
    """The id of the fact: the same from every gateway, every replay of the device's memory, every resend.

    A device's sequence number alone would not do: 16 bits roll over, and a new battery starts again at 1, so
    that a later reading would be taken for an old one and lost. The fact is therefore sequence number,
    device time and values together. A device that keeps neither count nor clock is known by its gateway's
    time; without that only the message that carried it (`carrier`) can tell one reading from the next.
    """
    clock = measurement.device_time
    moment = clock.isoformat() if clock is not None else measurement.device_time_sent
    if moment is None and measurement.seq is None:
        taken = measurement.gateway_time
        moment = f"gateway {taken.isoformat()}" if taken is not None else f"carrier {carrier}"
    return fact_id(device_id, measurement.kind.value, measurement.seq, moment, *values(measurement))


def echo_of(new: Seen, earlier: Iterable[Seen]) -> tuple[Seen, Echo] | None:
    """The earlier reading this one repeats, if any; one diary had 389 such echoes among 721 rows.

    Same device, same values, and either within two minutes or a whole number of hours apart, to the second,
    up to
    14. Different sequence numbers are different measurements. A single value at minute resolution proves
    nothing: 110 mg/dL at 08:00 and at 12:00 is an ordinary day.
    """
    for old in earlier:
        if old.reading_id == new.reading_id or old.values != new.values:
            continue
        if old.seq is not None and new.seq is not None and old.seq != new.seq:
            continue
        apart = abs(new.at - old.at)
        if apart <= SAME_MOMENT:
            return old, Echo.SAME_MOMENT
        telling = len(new.values) > 1 or new.at.second != 0
        if telling and apart <= ECHO_HOURS * HOUR and apart % HOUR == timedelta(0):
            return old, Echo.WHOLE_HOURS
    return None


def sittings(readings: Iterable[Taken]) -> tuple[Sitting, ...]:
    """Blood pressures grouped: a sitting begins with a reading and takes in the thirty minutes after it.

    The means are of the readings taken properly; only if none was are the others used. The order of arrival
    does not matter. Measurement protocols ask for two readings a minute apart, morning and evening.
    """
    groups: list[list[Taken]] = []
    for reading in sorted(readings, key=lambda one: (one.at, str(one.reading_id))):
        if groups and reading.at - groups[-1][0].at <= SITTING:
            groups[-1].append(reading)
        else:
            groups.append([reading])
    return tuple(_sitting(group) for group in groups)


def _sitting(group: Sequence[Taken]) -> Sitting:
    proper = [one for one in group if not TECHNIQUE.intersection(one.flags)] or list(group)
    uppers = [one.systolic for one in group if one.systolic is not None]
    return Sitting(
        first=group[0].at,
        last=group[-1].at,
        readings=tuple(one.reading_id for one in group),
        averaged=len(proper),
        systolic=_mean([one.systolic for one in proper]),
        diastolic=_mean([one.diastolic for one in proper]),
        pulse=_mean([one.pulse for one in proper]),
        highest=max(uppers, default=None),
    )


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return round(sum(known) / len(known), 1) if known else None


def repeat_after(measurement: Measurement) -> timedelta | None:
    """How long to wait before measuring again: the reading counts at once, and the person is asked to repeat it."""
    upper, lower = measurement.systolic, measurement.diastolic
    if (upper is not None and upper >= CRISIS[0]) or (lower is not None and lower >= CRISIS[1]):
        return timedelta(minutes=5)
    return None
