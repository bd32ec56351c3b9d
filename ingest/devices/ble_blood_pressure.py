"""Bluetooth Blood Pressure Measurement (0x2A35): what every standard cuff indicates after a measurement."""

from datetime import datetime
from typing import NamedTuple

from ingest.devices import sfloat
from ingest.devices.measurement import Absent, Answer, Flag, Reason, Sent, refuse
from ingest.devices.timestamp import wall_text
from ingest.devices.vitals import OfReading, blood_pressure

KPA, TIME, PULSE, USER, STATUS = 0x01, 0x02, 0x04, 0x08, 0x10
LONGEST = 512  # bytes: the longest attribute Bluetooth allows
PRESSURES = 7  # flags and three SFLOATs
USER_UNKNOWN = 255
RESTING = range(25, 251)  # /min: pulses a heart can have

STATUS_FLAGS = (
    (0x01, Flag.MOVEMENT),
    (0x02, Flag.CUFF_LOOSE),
    (0x04, Flag.IRREGULAR_PULSE),
    (0x20, Flag.BAD_POSITION),
)
PULSE_RANGE = {0x08: Flag.PULSE_ABOVE_RANGE, 0x10: Flag.PULSE_BELOW_RANGE}


class Tail(NamedTuple):
    """What follows the pressures, in the order the profile puts it."""

    pulse: Sent | None
    user: int | None
    status: int
    end: int
    mixed: bool = False  # multi-byte fields of the tail were most significant byte first


def decode(raw: bytes) -> Answer:
    """One indication, one answer.

    >>> (said,) = decode(bytes.fromhex("167C0056006100E807060F11111B33000000"))
    >>> said.systolic, said.diastolic, said.map, said.pulse, said.device_time_sent
    (124.0, 86.0, 97.0, 51.0, '2024-06-15T17:17:27')
    """
    wrong = length_problem(raw, time_bytes=7, after=0)
    if wrong is not None:
        return wrong
    about: OfReading = {}
    at = PRESSURES
    if raw[0] & TIME:
        about.update(read_date(raw[at : at + 7]))
        at += 7
    tail = read_tail(raw, at)
    describe(raw, tail, about)
    if len(raw) > tail.end:
        about["flags"] = (*about.get("flags", ()), Flag.TRAILING_BYTES)
    return (blood_pressure(*pressures(raw), tail.pulse, **about),)


def length_problem(raw: bytes, *, time_bytes: int, after: int) -> Answer | None:
    """Why the frame cannot be what its flags say, or None. `after` counts bytes behind the standard tail."""
    if not raw:
        return refuse(Reason.EMPTY, "the frame is empty")
    if len(raw) > LONGEST:
        return refuse(Reason.TOO_LARGE, f"a Bluetooth attribute has at most {LONGEST} bytes")
    flags = raw[0]
    needed = (
        PRESSURES
        + (time_bytes if flags & TIME else 0)
        + (2 if flags & PULSE else 0)
        + (1 if flags & USER else 0)
        + (2 if flags & STATUS else 0)
        + after
    )
    if len(raw) < needed:
        return refuse(Reason.TRUNCATED, f"the flags promise {needed} bytes and {len(raw)} are there")
    return None


def pressures(raw: bytes) -> tuple[Sent, Sent, Sent]:
    """Systolic, diastolic and mean as sent."""
    unit = "kPa" if raw[0] & KPA else "mm[Hg]"
    return (
        Sent(sfloat.read(raw[1], raw[2]), unit),
        Sent(sfloat.read(raw[3], raw[4]), unit),
        Sent(sfloat.read(raw[5], raw[6]), unit),
    )


def read_date(seven: bytes) -> OfReading:
    """The profile's Date Time: a wall clock without a zone, zeros where the device does not know."""
    year = seven[0] | seven[1] << 8
    month, day, hour, minute, second = seven[2:]
    text = wall_text(year, month, day, (hour, minute, second))
    about: OfReading = {"device_time_sent": text}
    if 0 in {year, month, day}:
        about["absent"] = {"device_time": Absent.UNKNOWN_DATE}
        return about
    try:
        about["device_time"] = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  it has no zone
    except ValueError:
        about["absent"] = {"device_time": Absent.INVALID_DATE}
    return about


def read_tail(raw: bytes, at: int) -> Tail:
    """Pulse, user and status, with one cuff family's fault undone.

    Beurer's BM85 writes its pressures as the profile says, then pulse and status most significant byte first
    with a user byte between them that the flags do not announce. Such a frame is one byte longer than its
    flags say, or sets the reserved bit 6; its pulse makes sense only when read the other way round.
    """
    flags = raw[0]
    standard = _tail(raw, at, user=bool(flags & USER), mixed=False)
    unannounced = not flags & USER and len(raw) == standard.end + 1
    if not flags & PULSE or not (unannounced or flags & 0x40) or _is_pulse(standard.pulse):
        return standard
    other = _tail(raw, at, user=bool(flags & USER) or unannounced, mixed=True)
    return other if _is_pulse(other.pulse) else standard


def _tail(raw: bytes, at: int, *, user: bool, mixed: bool) -> Tail:
    flags = raw[0]
    pulse = None
    if flags & PULSE:
        low, high = (raw[at + 1], raw[at]) if mixed else (raw[at], raw[at + 1])
        pulse = Sent(sfloat.read(low, high), "/min")
        at += 2
    owner = None
    if user:
        owner = raw[at]
        at += 1
    status = 0
    if flags & STATUS:
        status = int.from_bytes(raw[at : at + 2], "big" if mixed else "little")
        at += 2
    return Tail(pulse, owner, status, at, mixed)


def _is_pulse(sent: Sent | None) -> bool:
    """A pulse, or one of the patterns that say there is none."""
    value = sent.value if sent is not None else None
    return isinstance(value, Absent) or (
        isinstance(value, int | float) and RESTING.start <= value < RESTING.stop
    )


def describe(raw: bytes, tail: Tail, about: OfReading) -> None:
    """Status bits become flags; the user is a claim, and 255 is nobody."""
    flags: list[str] = [flag for bit, flag in STATUS_FLAGS if tail.status & bit]
    in_range = PULSE_RANGE.get(tail.status & 0x18)
    if in_range is not None:
        flags.append(in_range)
    if tail.mixed:
        flags.append(Flag.BYTE_ORDER_MIXED)
    if tail.user == USER_UNKNOWN:
        flags.append(Flag.USER_UNKNOWN)
    elif tail.user is not None:
        about["claimed"] = {"user": str(tail.user)}
    if any(sfloat.read(raw[i], raw[i + 1]) is Absent.POSITIVE_INFINITY for i in (1, 3)):
        flags.append(Flag.ABOVE_RANGE)
    if any(sfloat.read(raw[i], raw[i + 1]) is Absent.NEGATIVE_INFINITY for i in (1, 3)):
        flags.append(Flag.BELOW_RANGE)
    about["flags"] = tuple(flags)
