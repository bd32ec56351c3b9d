"""Frames written by the book are read back as they were meant, whatever is and is not in them."""

import struct
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingest import devices
from ingest.devices.measurement import Flag, Measurement

MM, KPA = 1.0, 7.50062
CAPILLARY_FINGER = 0x11
STATUS = {
    Flag.MOVEMENT: 1, Flag.CUFF_LOOSE: 2, Flag.IRREGULAR_PULSE: 4, Flag.PULSE_ABOVE_RANGE: 8, Flag.BAD_POSITION: 32,
}  # fmt: skip
MEALS = {1: "before_meal", 2: "after_meal", 3: "fasting", 4: "unspecified", 5: "bedtime"}


def sfloat(mantissa, exponent=0):
    return struct.pack("<H", (exponent & 0xF) << 12 | mantissa & 0xFFF)


def date_time(moment):
    return struct.pack("<HBBBBB", *moment.timetuple()[:6])


pressures = st.tuples(st.integers(90, 260), st.integers(30, 89), st.integers(40, 200))
moments = st.datetimes(datetime.fromisoformat("2010-01-01"), datetime.fromisoformat("2099-12-31"))
seconds = moments.map(lambda moment: moment.replace(microsecond=0))
statuses = st.sets(st.sampled_from(list(STATUS)))


@given(
    values=pressures,
    in_kpa=st.booleans(),
    moment=st.none() | seconds,
    pulse=st.none() | st.integers(30, 250),
    user=st.none() | st.integers(0, 254),
    status=st.none() | statuses,
)
def test_a_cuffs_frame(values, in_kpa, moment, pulse, user, status):
    present = (moment, pulse, user, status)
    frame = bytes([in_kpa | sum(2 << place for place, one in enumerate(present) if one is not None)])
    frame += b"".join(sfloat(value, -1 if in_kpa else 0) for value in values)
    frame += date_time(moment) if moment is not None else b""
    frame += sfloat(pulse) if pulse is not None else b""
    frame += bytes([user]) if user is not None else b""
    frame += struct.pack("<H", sum(STATUS[flag] for flag in status)) if status is not None else b""
    (said,) = devices.decode("ble-blood-pressure", frame)
    scale = KPA / 10 if in_kpa else MM
    assert (said.systolic, said.diastolic, said.map) == tuple(round(value * scale, 2) for value in values)
    assert (said.device_time, said.pulse) == (moment, pulse)
    assert said.claimed.get("user") == (None if user is None else str(user))
    assert set(said.flags) == (status or set())


@given(
    values=pressures,
    moment=st.none() | seconds,
    pulse=st.none() | st.integers(30, 250),
    user=st.none() | st.integers(0, 254),
    status=st.none() | statuses,
    offset=st.none() | st.sampled_from([-720, -300, 0, 345, 840]),
    since_2000=st.booleans(),
)
def test_an_enhanced_cuffs_frame(values, moment, pulse, user, status, offset, since_2000):
    moment = None if moment is None else min(moment, datetime.fromisoformat("2036-01-01"))
    epoch = datetime.fromisoformat("2000-01-01" if since_2000 else "1900-01-01")
    shown = None if moment is None or offset is None else moment + timedelta(minutes=offset)
    present = (moment, pulse, user, status, shown)
    flags = sum(2 << place for place, one in enumerate(present) if one is not None) | (
        0x40 if since_2000 else 0
    )
    frame = bytes([flags]) + b"".join(sfloat(value) for value in values)
    frame += struct.pack("<I", int((moment - epoch).total_seconds())) if moment is not None else b""
    frame += sfloat(pulse) if pulse is not None else b""
    frame += bytes([user]) if user is not None else b""
    frame += struct.pack("<H", sum(STATUS[flag] for flag in status)) if status is not None else b""
    frame += struct.pack("<I", int((shown - epoch).total_seconds())) if shown is not None else b""
    (said,) = devices.decode("ble-blood-pressure-enhanced", frame)
    assert (said.systolic, said.diastolic, said.map, said.pulse) == (*values, pulse)
    assert said.device_time == (None if moment is None else moment.replace(tzinfo=UTC))
    assert said.utc_offset_minutes == (None if shown is None else offset)
    assert set(said.flags) == (status or set())


@given(
    seq=st.integers(0, 65535),
    moment=seconds,
    offset=st.none() | st.integers(-1440, 1440),
    amount=st.integers(20, 600),
    molar=st.booleans(),
    status=st.none() | st.integers(0, 31),
    carbs=st.booleans(),
    meal=st.none() | st.integers(1, 5),
    tester=st.booleans(),
    exercise=st.booleans(),
    medication=st.booleans(),
    hba1c=st.booleans(),
    extended=st.booleans(),
)
def test_a_meters_frame_and_its_context(
    seq, moment, offset, amount, molar, status, carbs, meal, tester, exercise, medication, hba1c, extended
):
    frame = bytes([0x12 | (offset is not None) | (4 if molar else 0) | (8 if status is not None else 0)])
    frame += struct.pack("<H", seq) + date_time(moment)
    frame += struct.pack("<h", offset) if offset is not None else b""
    frame += sfloat(amount, -4 if molar else -5) + bytes([CAPILLARY_FINGER])
    frame += struct.pack("<H", status) if status is not None else b""
    parts = [carbs, meal is not None, tester, exercise, medication, False, hba1c, extended]
    context = bytes([sum(1 << place for place, there in enumerate(parts) if there)]) + struct.pack("<H", seq)
    context += b"\x00" if extended else b""
    context += b"\x01" + sfloat(40, -3) if carbs else b""
    context += bytes([meal]) if meal is not None else b""
    context += b"\x11" if tester else b""
    context += b"\x84\x03\x32" if exercise else b""
    context += b"\x02" + sfloat(5, -6) if medication else b""
    context += sfloat(65, -1) if hba1c else b""
    (said,) = devices.decode("ble-glucose", frame, context)
    assert isinstance(said, Measurement)
    assert said.glucose == round(amount * (1.801559 if molar else 1.0), 2)
    assert said.seq == seq
    assert said.device_time == moment + timedelta(minutes=offset or 0)
    assert said.context == MEALS.get(meal)
