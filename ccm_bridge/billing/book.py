"""The rule book: effective-dated rules, prices, conflicts and sources, read from the data files in `years/`.

A key that is misspelt in a data file is refused, not ignored.
"""

import re
import tomllib
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import Any

import msgspec

from ccm_bridge.billing.civil import first_of, last_of
from ccm_bridge.billing.words import Family, Outcome, Reason

CENT = Decimal("0.01")


class _Dated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    effective_from: date
    effective_to: date
    source: str

    def covers(self, month: str) -> bool:
        """Whether the set is in force for the whole of a month."""
        return self.effective_from <= first_of(month) and last_of(month) <= self.effective_to


class Gates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    conditions: int
    chronic_months: int
    visit_months: int
    consent_months: int
    consent_methods: frozenset[str]
    consent_notices: frozenset[str]
    payer: str
    late_entry_days: int


class People(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    practitioners: frozenset[str]
    clinical_staff: frozenset[str]
    non_clinical: frozenset[str]
    united_states: frozenset[str]


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    not_live: frozenset[str]
    no_contact: frozenset[str]
    face_to_face: frozenset[str]
    automated_sources: frozenset[str]
    visit_activities: frozenset[str]
    other_activities: frozenset[str]
    outpatient_stays: frozenset[str]
    stays_abroad: frozenset[str]
    visit_codes: tuple[str, ...]


class Rung(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code, and the minutes that reach it."""

    code: str
    minutes: int


class Ladder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A first rung at its minutes, then one unit for each further full step."""

    code: str
    minutes: int
    add_on: str
    step: int
    cap: int | None = None
    warn_above: int | None = None
    hold_above: int | None = None
    short: Rung | None = None


class Ladders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ccm_staff: Ladder
    ccm_complex: Ladder
    ccm_personal: Ladder
    pcm_staff: Ladder
    pcm_personal: Ladder
    rpm: Ladder


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    days: int


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    window_days: int
    setup_code: str
    setup_days: int
    tiers: tuple[Tier, ...]  # by rising days


class Rules(_Dated, frozen=True, kw_only=True, forbid_unknown_fields=True):
    gates: Gates
    people: People
    work: Work
    ladders: Ladders
    device: Device


class Prices(_Dated, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """National amounts, from value units and a conversion factor, or as published."""

    patient_share: Decimal
    conversion_factor: Decimal | None = None
    units: dict[str, Decimal] = {}
    amounts: dict[str, Decimal] = {}

    def allowed(self, code: str) -> Decimal | None:
        """What Medicare allows for one unit, or None where no official amount is known."""
        if self.conversion_factor is not None and code in self.units:
            return cents(self.units[code] * self.conversion_factor)
        return self.amounts.get(code)


class Conflict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rule: str
    codes: tuple[str, ...]
    by: str
    concerns: frozenset[Family]
    outcome: Outcome
    says: str
    reason: Reason | None = None
    since: date = date.min
    until: date = date.max

    def covers(self, month: str) -> bool:
        return self.since <= first_of(month) and last_of(month) <= self.until


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source: str
    since: date | None = None
    default: str | None = None


class Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the reasoner knows that is not a fact of a patient."""

    rules: tuple[Rules, ...]
    prices: tuple[Prices, ...]
    conflicts: tuple[Conflict, ...]
    sources: dict[str, Source]

    def rules_of(self, month: str) -> Rules | None:
        return next((rules for rules in self.rules if rules.covers(month)), None)

    def prices_of(self, month: str) -> Prices | None:
        return next((prices for prices in self.prices if prices.covers(month)), None)


def cents(amount: Decimal) -> Decimal:
    """Rounded to the cent, half up.

    >>> cents(Decimal("1.98") * Decimal("33.4009"))
    Decimal('66.13')
    """
    return amount.quantize(CENT, ROUND_HALF_UP)


def is_code(code: str | None) -> bool:
    """Whether a text has the form of a CPT or HCPCS code, with or without modifiers.

    >>> is_code("99490"), is_code("g0181"), is_code("0002F"), is_code("99490-95"), is_code("home health"), is_code(None)
    (True, True, True, True, False, False)
    """
    return code is not None and re.match(r"\s*(\d{5}|\d{4}[A-Z]|[A-Z]\d{4})(?!\w)", code.upper()) is not None


def among(code: str | None, ranges: tuple[str, ...]) -> bool:
    """Whether a code lies in one of the ranges, ends included; a modifier after the code does not matter.

    >>> among("90960", ("90951-90970",)), among("G0182", ("G0181-G0182",)), among("99490-95", ("99490",))
    (True, True, True)
    >>> among("G0960", ("90951-90970",)), among("9095", ("90951-90970",))
    (False, False)
    """
    found = re.match(r"\s*([A-Z]?\d+)(?!\w)", (code or "").upper())
    if found is None:
        return False
    bare = found[1]
    for each in ranges:
        low, _, high = each.partition("-")
        if len(bare) == len(low) and low <= bare <= (high or low):
            return True
    return False


def read_book(folder: Traversable) -> Book:
    """The book in a folder of TOML files. Overlapping years are refused: a month has one rule set, one price set."""
    tables: dict[str, list[dict[str, Any]]] = {"rules": [], "prices": []}
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        kind = file.name.partition("-")[0]
        if kind in tables and file.name.endswith(".toml"):
            tables[kind].append(tomllib.loads(file.read_text(encoding="utf-8")))
    shared = {
        name: tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
        for name in ("conflicts", "sources")
    }
    book = msgspec.convert(
        {**tables, "conflicts": shared["conflicts"]["conflicts"], "sources": _by_rule(shared["sources"])},
        Book,
    )
    nameless = {row.rule for row in book.conflicts} - set(book.sources)
    if nameless:
        raise ValueError(f"conflicts without a source: {', '.join(sorted(nameless))}")
    for sets in (book.rules, book.prices):
        _refuse_overlap(sets)
    return book


def _by_rule(table: dict[str, Any]) -> dict[str, Any]:
    return {**table["sections"], **{rule: source for rule, source in table.items() if rule != "sections"}}


def _refuse_overlap(sets: tuple[_Dated, ...]) -> None:
    in_order = sorted(sets, key=lambda each: each.effective_from)
    for before, after in pairwise(in_order):
        if after.effective_from <= before.effective_to:
            raise ValueError(f"{before.id} and {after.id} are both in force on {after.effective_from}")


@cache
def shipped() -> Book:
    """The book that comes with Lamplight."""
    return read_book(resources.files("ccm_bridge.billing.years"))
