"""Bluetooth Enhanced Blood Pressure Measurement (0x2B34): the cuff's frame with instants in UTC seconds."""

from datetime import UTC, datetime, timedelta

from ingest.devices.ble_blood_pressure import (
    PRESSURES,
    TIME,
    describe,
    length_problem,
    pressures,
    read_tail,
)
from ingest.devices.measurement import Absent, Answer, Flag
from ingest.devices.timestamp import is_sane_offset
from ingest.devices.vitals import OfReading, blood_pressure

USER_FACING, SINCE_2000 = 0x20, 0x40
UNKNOWN = {0, 0xFFFFFFFF}


def decode(raw: bytes) -> Answer:
    """One indication, one answer: the time stamp is UTC, the user-facing time is what the display showed.

    >>> (said,) = decode(bytes.fromhex("46820050006000" "e9413831" "4800"))
    >>> said.systolic, said.pulse, said.device_time.isoformat()
    (130.0, 72.0, '2026-03-02T12:41:13+00:00')
    """
    flags = raw[0] if raw else 0
    wrong = length_problem(raw, time_bytes=4, after=4 if flags & USER_FACING else 0)
    if wrong is not None:
        return wrong
    epoch = datetime(2000 if flags & SINCE_2000 else 1900, 1, 1, tzinfo=UTC)
    at = PRESSURES
    instant = None
    about: OfReading = {}
    if flags & TIME:
        instant = _seconds(raw, at)
        at += 4
    # Bit 6 means the epoch here, so the byte-order repair that takes it for a Beurer cuff must not see it.
    tail = read_tail(bytes([flags & ~SINCE_2000]) + raw[1 : len(raw) - (4 if flags & USER_FACING else 0)], at)
    shown = None
    end = tail.end
    if flags & USER_FACING:
        shown = _seconds(raw, end)
        end += 4
    describe(raw, tail, about)
    if len(raw) > end:
        about["flags"] = (*about.get("flags", ()), Flag.TRAILING_BYTES)
    if flags & (TIME | USER_FACING):
        _time(instant, shown, epoch, about)
    return (blood_pressure(*pressures(raw), tail.pulse, **about),)


def _seconds(raw: bytes, at: int) -> int | None:
    seconds = int.from_bytes(raw[at : at + 4], "little")
    return None if seconds in UNKNOWN else seconds


def _time(instant: int | None, shown: int | None, epoch: datetime, about: OfReading) -> None:
    wall = None if shown is None else (epoch + timedelta(seconds=shown)).replace(tzinfo=None)
    if instant is not None:
        about["device_time"] = utc = epoch + timedelta(seconds=instant)
        about["device_time_sent"] = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        if shown is not None:
            minutes = round((shown - instant) / 60)
            if is_sane_offset(minutes):
                about["utc_offset_minutes"] = minutes
            else:
                about["flags"] = (*about.get("flags", ()), Flag.OFFSET_INSANE)
    elif wall is not None:
        about["device_time"] = wall
        about["device_time_sent"] = wall.isoformat()
    else:
        about["absent"] = {"device_time": Absent.UNKNOWN_DATE}
