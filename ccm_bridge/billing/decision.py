"""What the reasoner answers: codes, holds, reasons, priced lines, and a trace that an auditor can walk."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

import msgspec

from ccm_bridge.billing.book import Book, Prices, Rules, cents
from ccm_bridge.billing.tally import Weighed
from ccm_bridge.billing.words import Compared, Family, Finding, Outcome, Reason


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the trace: a rule, what it found, the numbers it compared, and where it comes from."""

    rule: str
    outcome: Outcome
    says: str
    concerns: tuple[Family, ...]  # the families it speaks of; none: the month, or one entry
    reasons: tuple[Reason, ...]
    compared: Mapping[str, Compared]
    source: str
    effective: date | None  # since when the rule, or else its rule set, holds
    default: str | None  # the conservative choice, where the text leaves room


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One code on one date of service. Amounts are None where no official price is known."""

    code: str
    units: int
    date_of_service: date | None
    allowed: Decimal | None
    medicare: Decimal | None
    patient: Decimal | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one patient and one month.

    `codes` rests on facts known to be true. `held` is what a person's decision may add. `hold` says that a person
    must decide something; codes that stand beside a hold do not depend on it. `standing` says of each family with
    work in it whether its gates are met, hold, or block.
    """

    month: str | None
    codes: Mapping[str, int]
    held: Mapping[str, int]
    hold: bool
    reasons: tuple[Reason, ...]
    standing: Mapping[Family, Outcome]
    counted_minutes: Mapping[str, int]
    counted_seconds: Mapping[str, int]
    lines: tuple[Line, ...]
    excluded: tuple[Weighed, ...]  # seconds that do not count, or are in doubt
    remarked: tuple[Weighed, ...]  # seconds that count, and are worth a look
    trace: tuple[Step, ...]
    rule_set: str | None
    price_set: str | None


def step_of(finding: Finding, book: Book, rules: Rules | None) -> Step:
    """A finding with its source and its date."""
    origin = book.sources[finding.rule]
    since = origin.since
    if since is None and rules is not None:
        since = rules.effective_from
    return Step(
        rule=finding.rule,
        outcome=finding.outcome,
        says=finding.says,
        concerns=tuple(family for family in Family if family in finding.concerns),
        reasons=finding.reasons,
        compared=finding.compared,
        source=origin.source,
        effective=since,
        default=origin.default,
    )


def priced(code: str, units: int, on: date | None, prices: Prices | None) -> Line:
    """A line with what Medicare allows, what it pays and what the patient owes: each rounded once, per line.

    The patient's share is a fifth of what is allowed, after the deductible; Medicare's share is the rest.
    """
    one = None if prices is None else prices.allowed(code)
    if prices is None or one is None:
        return Line(code=code, units=units, date_of_service=on, allowed=None, medicare=None, patient=None)
    allowed = units * one
    patient = cents(allowed * prices.patient_share)
    return Line(
        code=code,
        units=units,
        date_of_service=on,
        allowed=allowed,
        medicare=allowed - patient,
        patient=patient,
    )


def reasons_of(findings: Iterable[Finding]) -> tuple[Reason, ...]:
    """Every reason that was given, once, in the order of the vocabulary."""
    given = {reason for finding in findings for reason in finding.reasons}
    return tuple(reason for reason in Reason if reason in given)
