"""Proposals: codes for one family, read twice, and what both readings agree on."""

from collections.abc import Mapping
from datetime import date

import msgspec

from ccm_bridge.billing.words import Family, Finding

Codes = Mapping[str, int]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The codes that follow if so many minutes, or days, are taken as true."""

    codes: Codes = {}
    held: Codes = {}  # further units or codes that only a person may release
    findings: tuple[Finding, ...] = ()


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a family would bill by what is sure, and by all that is possible.

    Only what both readings agree on is proposed: a doubt that turns 99490 into 99487 leaves neither of them sure.
    """

    family: Family
    sure: Reading
    possible: Reading
    on: date | None  # date of service

    @property
    def codes(self) -> dict[str, int]:
        return agreed(self.sure.codes, self.possible.codes)

    @property
    def held(self) -> dict[str, int]:
        """What a person's decision may add: the fullest reading, less what is proposed."""
        return less(added(self.possible.codes, self.possible.held), self.codes)

    @property
    def in_doubt(self) -> bool:
        """Whether a person must decide."""
        return bool(self.held) or self.sure.codes != self.possible.codes


def agreed(one: Codes, other: Codes) -> dict[str, int]:
    """Codes and units that both hold.

    >>> agreed({"99490": 1, "99439": 1}, {"99490": 1, "99439": 2})
    {'99490': 1, '99439': 1}
    >>> agreed({"99470": 1}, {"99457": 1})
    {}
    """
    return {code: min(units, other[code]) for code, units in one.items() if code in other}


def added(*several: Codes) -> dict[str, int]:
    """Units of several code sets, together.

    >>> added({"99454": 1}, {"99454": 1, "99453": 1})
    {'99454': 2, '99453': 1}
    """
    total: dict[str, int] = {}
    for codes in several:
        for code, units in codes.items():
            total[code] = total.get(code, 0) + units
    return total


def less(one: Codes, other: Codes) -> dict[str, int]:
    """Units of the first that the second does not hold.

    >>> less({"99490": 1, "99439": 2}, {"99490": 1, "99439": 1})
    {'99439': 1}
    """
    left = {code: units - other.get(code, 0) for code, units in one.items()}
    return {code: units for code, units in left.items() if units > 0}
