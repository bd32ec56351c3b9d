"""What every entry of a month is weighed against, and what a rule may do to its seconds."""

from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge.billing.book import Rules
from ccm_bridge.billing.civil import month_span, month_spans
from ccm_bridge.billing.facts import Entry, Facts
from ccm_bridge.billing.spans import EARLIEST, LATEST, Spans, span
from ccm_bridge.billing.words import Outcome, Reason

ALWAYS: Spans = span(EARLIEST, LATEST)
CARE_PROGRAMS = ("CCM", "PCM")
PROGRAMS = (*CARE_PROGRAMS, "RPM")


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What all entries of the month are weighed against."""

    facts: Facts
    rules: Rules
    zone: ZoneInfo
    month: str
    seconds: Spans  # of the month in the practice's zone
    patient_month: tuple[Spans, Spans]  # in the patient's: surely, possibly


def scene_of(facts: Facts, rules: Rules, zone: ZoneInfo, month: str) -> Scene:
    """The month in both calendars; where the patient's zone is unknown, every zone on Earth is possible."""
    patient_zone = None if facts.patient_zone is None else ZoneInfo(facts.patient_zone)
    return Scene(
        facts=facts,
        rules=rules,
        zone=zone,
        month=month,
        seconds=month_span(month, zone),
        patient_month=month_spans(month, patient_zone),
    )


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that one rule takes (EXCLUDE), doubts (HOLD) or remarks on (WARN)."""

    rule: str
    outcome: Outcome
    reasons: tuple[Reason, ...]
    spans: Spans
    says: str


def exclude(rule: str, reason: Reason, spans: Spans, says: str) -> Cut:
    return Cut(rule=rule, outcome=Outcome.EXCLUDE, reasons=(reason,), spans=spans, says=says)


def doubt(rule: str, reasons: tuple[Reason, ...], spans: Spans, says: str) -> Cut:
    return Cut(rule=rule, outcome=Outcome.HOLD, reasons=reasons, spans=spans, says=says)


def remark(rule: str, reason: Reason, spans: Spans, says: str) -> Cut:
    return Cut(rule=rule, outcome=Outcome.WARN, reasons=(reason,), spans=spans, says=says)


def program_of(entry: Entry) -> str | None:
    return None if entry.program is None else entry.program.strip().upper()
