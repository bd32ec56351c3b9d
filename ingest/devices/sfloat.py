"""IEEE 11073 SFLOAT, the 16-bit number of cuffs and meters: both halves signed, five patterns are no number.

Check values: HL7 Personal Health Device implementation guide, page "FLOATs".
"""

from ingest.devices.measurement import Absent

SPECIAL = {
    0x07FF: Absent.NOT_A_NUMBER,
    0x0800: Absent.NOT_AT_THIS_RESOLUTION,
    0x07FE: Absent.POSITIVE_INFINITY,
    0x0802: Absent.NEGATIVE_INFINITY,
    0x0801: Absent.RESERVED,
}


def read(low: int, high: int) -> float | Absent:
    """The number in two bytes, least significant first, or why there is none.

    The exponent is the upper nibble and the mantissa the lower twelve bits, both two's complement. A decoder
    that takes the exponent as excess-8 turns 124 into 0.00000124; one that forgets the patterns reports 2047.

    >>> read(0x14, 0xF0), read(0x02, 0x10), read(0xD2, 0x04), read(0x2E, 0x0B)
    (2.0, 20, 1234, -1234)
    >>> read(0xFF, 0x07), read(0x00, 0x08)
    (<Absent.NOT_A_NUMBER: 'not-a-number'>, <Absent.NOT_AT_THIS_RESOLUTION: 'not-at-this-resolution'>)
    >>> read(0xB6, 0xB0)
    0.00182
    """
    bits = high << 8 | low
    special = SPECIAL.get(bits)
    if special is not None:
        return special
    mantissa = bits & 0x0FFF
    exponent = bits >> 12
    mantissa -= (mantissa & 0x800) << 1
    exponent -= (exponent & 0x8) << 1
    # A division by a power of ten is correctly rounded; multiplying by 10**-5 gives 0.0018200000000000002.
    power: int = 10 ** abs(exponent)
    return mantissa * power if exponent >= 0 else mantissa / power
