"""SFLOAT is read exactly as the personal health device guide says: 65,536 patterns, five of them no number."""

from fractions import Fraction

import pytest

from ingest import devices
from ingest.devices import sfloat
from ingest.devices.measurement import Absent, Measurement

TABLE = [
    (0x0002, 2),
    (0xF014, 2.0),
    (0xE0C8, 2.00),
    (0x1002, 20),
    (0x2002, 200),
    (0x00C8, 200),
    (0x04D2, 1234),
    (0x0B2E, -1234),
]


def read(bits):
    return sfloat.read(bits & 0xFF, bits >> 8)


@pytest.mark.parametrize(("bits", "value"), TABLE, ids=[f"{bits:04X}" for bits, _ in TABLE])
def test_the_guides_own_table(bits, value):
    assert read(bits) == value


def test_five_patterns_are_no_number():
    assert {bits: read(bits) for bits in range(1 << 16) if isinstance(read(bits), Absent)} == {
        0x07FF: Absent.NOT_A_NUMBER,
        0x0800: Absent.NOT_AT_THIS_RESOLUTION,
        0x07FE: Absent.POSITIVE_INFINITY,
        0x0802: Absent.NEGATIVE_INFINITY,
        0x0801: Absent.RESERVED,
    }


def test_every_other_pattern_is_the_nearest_float_to_the_exact_value():
    for bits in range(1 << 16):
        value = read(bits)
        if isinstance(value, Absent):
            continue
        mantissa, exponent = bits & 0xFFF, bits >> 12
        mantissa = mantissa - 4096 if mantissa >= 2048 else mantissa
        exponent = exponent - 16 if exponent >= 8 else exponent
        assert value == float(Fraction(mantissa) * Fraction(10) ** exponent)


def test_no_pattern_makes_a_cuff_report_2047():
    for bits in range(1 << 16):
        frame = bytes([0, bits & 0xFF, bits >> 8, 80, 0, 93, 0])
        for said in devices.decode("ble-blood-pressure", frame):
            if isinstance(said, Measurement) and said.systolic is not None:
                assert 0 < said.systolic <= 400
