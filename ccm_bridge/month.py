"""One patient's month: what the ledger, the consent, the plan and the devices say, put as the reasoner's facts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import UNSET

from ccm_bridge.billing import facts as billing
from ccm_bridge.billing.decision import Decision, Step
from ccm_bridge.billing.facts import Facts
from ccm_bridge.billing.words import Outcome, Reason
from ccm_bridge.careplan import Plan
from ccm_bridge.enrolment import Consent, Enrolment, Program, consent_of
from ccm_bridge.ledger import next_month

WINDOW = timedelta(days=30)
FEW, MANY = 2, 16
"""Days with readings in a 30-day window at which a supply code begins: CY2026 has both, earlier years only the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDay:
    """One date (the patient's own) on which a device sent at least one reading by itself."""

    day: date
    device_id: str
    readings: int
    first_reading: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstance:
    """A fact about the patient's month from outside the ledger."""

    circumstance_id: UUID
    kind: str  # other_service, stay, hospice, death, complex_mdm, complex_elected, month_checked
    month: date | None
    from_at: datetime | None
    until_at: datetime | None
    code: str | None
    by_whom: str | None
    note: str
    recorded_by_name: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """An entry as the month sees it."""

    entry_id: UUID
    staff_id: UUID
    credential: str
    country: str
    program: str
    start: datetime
    seconds: int
    activity: str
    contact: str
    interactive: bool
    as_clinical_staff: bool
    source: str
    corrects: UUID | None
    entered_at: datetime
    voided: bool
    hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that is known about one patient's month."""

    patient_id: UUID
    month: date
    zone: str
    patient_zone: str
    enrolment: Enrolment | None
    consents: tuple[Consent, ...] = ()
    plan: Plan | None = None
    attested: Mapping[str, bool] | None = None  # access_24_7, certified_ehr
    circumstances: tuple[Circumstance, ...] = ()
    entries: tuple[Minute, ...] = ()
    device_days: tuple[DeviceDay, ...] | None = None  # None: nobody could say
    claimed_at: datetime | None = None


def checked(known: Known) -> bool:
    """Whether a person looked, for this month, for other billers, stays, hospice and death."""
    return any(c.kind == "month_checked" and c.month == known.month for c in known.circumstances)


def facts(known: Known, *, as_of: datetime, supposing_checked: bool = False) -> Facts:
    """The reasoner's facts. What nobody recorded is unknown, and the reasoner holds on it.

    Other services, stays, hospice and death are known only once a person has checked the month: an empty list is an
    answer that somebody gave, not one that nobody asked for.
    """
    enrolled = known.enrolment
    sure = supposing_checked or checked(known)
    hospice = next((c.from_at for c in known.circumstances if c.kind == "hospice"), None)
    death = next((c.from_at for c in known.circumstances if c.kind == "death"), None)
    care = Program.PCM if enrolled and Program.PCM in enrolled.programs else Program.CCM
    attested = known.attested or {}
    return Facts(
        month=f"{known.month:%Y-%m}",
        zone=known.zone,
        patient_zone=known.patient_zone,
        payer=enrolled.payer if enrolled else None,
        conditions=_conditions(enrolled),
        significant_risk_documented=enrolled.significant_risk_documented if enrolled else None,
        initiating_visit=enrolled.initiating_visit if enrolled else None,
        ccm_since=enrolled.since if enrolled else None,
        consent=_consent(consent_of(known.consents, care)),
        care_plan=_plan(known.plan, ZoneInfo(known.zone)),
        practice=billing.Practice(
            access_24_7=attested.get("access_24_7"), certified_ehr=attested.get("certified_ehr")
        ),
        rpm=_rpm(known, consent_of(known.consents, Program.RPM)),
        complex=billing.Complex(
            mdm_documented=_said("complex_mdm", known), elected=_said("complex_elected", known)
        ),
        other_services=_services(known) if sure else None,
        stays=_stays(known) if sure else None,
        hospice_elected_on=hospice.astimezone(ZoneInfo(known.patient_zone)).date()
        if hospice
        else (None if sure else UNSET),
        died_at=death or (None if sure else UNSET),
        entries=tuple(_entry(one) for one in known.entries),
        device_windows=_windows(known),
        as_of=as_of,
        claimed_at=known.claimed_at,
    )


def _windows(known: Known) -> tuple[billing.DeviceWindow, ...] | None:
    if known.device_days is None:
        return None
    return tuple(
        billing.DeviceWindow(start=w.start, end=w.end, days_with_data=w.days)
        for w in windows_of(known)
        if w.end >= known.month and w.start < next_month(known.month)
    )


def _conditions(enrolled: Enrolment | None) -> tuple[billing.Condition, ...] | None:
    if enrolled is None:
        return None
    return tuple(
        billing.Condition(icd10=c.icd10, chronic_months=c.chronic_months) for c in enrolled.conditions
    )


def _consent(consent: Consent | None) -> billing.Consent | None:
    if consent is None:
        return None
    return billing.Consent(
        at=consent.given_at,
        method=str(consent.method),
        explained=tuple(sorted(str(told) for told in consent.explained)),
        revoked_at=consent.revoked_at,
        accepted=consent.accepted,
    )


def _plan(plan: Plan | None, zone: ZoneInfo) -> billing.CarePlan | None:
    if plan is None:
        return None
    return billing.CarePlan(
        version=plan.version,
        signed_at=plan.signed_at.astimezone(zone).date() if plan.signed_at else None,
        copy_given_at=plan.copy_given_at.astimezone(zone).date() if plan.copy_given_at else None,
    )


def _rpm(known: Known, consent: Consent | None) -> billing.Rpm:
    enrolled = known.enrolment
    if enrolled is None:
        return billing.Rpm()
    if Program.RPM not in enrolled.programs:
        return billing.Rpm(enrolled=False)
    return billing.Rpm(
        enrolled=True,
        order=enrolled.rpm_ordered,
        consent_at=consent.given_at if consent else None,
        device_fda_defined=enrolled.rpm_device_fda_defined,
        auto_upload=enrolled.rpm_auto_upload,
        setup_on=enrolled.rpm_setup_on,
        revoked_at=consent.revoked_at if consent else None,
        setup_billed=_setup_billed(known),
    )


def _setup_billed(known: Known) -> bool | None:
    """Not yet, where the first window since set-up ends in this month; else unsaid.

    It may begin some days after set-up, with the first reading. Where thirty days lie between, an earlier window may
    have closed before its readings came to us.
    """
    setup = known.enrolment.rpm_setup_on if known.enrolment else None
    first = next(iter(windows_of(known)), None)
    if setup is None or first is None or first.start - setup >= WINDOW:
        return None
    return False if known.month <= first.end < next_month(known.month) else None


def _said(kind: str, known: Known) -> bool:
    """Complex decision-making and its election are said by the practitioner for a month, or they did not happen."""
    return any(c.kind == kind and c.month == known.month for c in known.circumstances)


def _services(known: Known) -> tuple[billing.Service, ...]:
    return tuple(
        billing.Service(
            code=c.code or "",
            by=c.by_whom,
            month=f"{c.month:%Y-%m}" if c.month else None,
            on=c.from_at.astimezone(ZoneInfo(known.zone)).date() if c.from_at else None,
        )
        for c in known.circumstances
        if c.kind == "other_service"
    )


def _stays(known: Known) -> tuple[billing.Stay, ...]:
    return tuple(
        billing.Stay(kind=c.code, admitted_at=c.from_at, discharged_at=c.until_at)
        for c in known.circumstances
        if c.kind == "stay"
    )


def _entry(one: Minute) -> billing.Entry:
    return billing.Entry(
        id=str(one.entry_id),
        staff=str(one.staff_id),
        credential=one.credential,
        program=one.program,
        start=one.start,
        seconds=one.seconds,
        country=one.country,
        contact=one.contact,
        interactive=one.interactive,
        as_clinical_staff=one.as_clinical_staff,
        source=one.source,
        activity=one.activity,
        corrects=str(one.corrects) if one.corrects else None,
        voided=one.voided,
        recorded_at=one.entered_at,
    )


# Device days -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Thirty days in a row, and on how many of them readings came."""

    start: date
    end: date  # the last day, included
    days: int

    def reachable(self, wanted: int, today: date, *, measured_today: bool) -> bool:
        """Whether `wanted` days can still be reached before the window closes.

        >>> w = Window(start=date(2026, 11, 5), end=date(2026, 12, 4), days=9)
        >>> w.reachable(16, date(2026, 11, 27), measured_today=True)
        True
        >>> w.reachable(16, date(2026, 11, 28), measured_today=True)
        False
        """
        left = (self.end - max(today, self.start)).days + (0 if measured_today else 1)
        return self.days + max(0, left) >= wanted


def windows(days: Iterable[date], *, setup_on: date | None, until: date) -> tuple[Window, ...]:
    """Consecutive 30-day windows from the first day with readings after setup, up to the one that holds `until`.

    The code says "each 30 days", so a window is thirty days and not a calendar month.

    >>> some = [date(2026, 11, 5) + timedelta(days=d) for d in range(0, 40, 2)]
    >>> [(str(w.start), str(w.end), w.days) for w in windows(some, setup_on=None, until=date(2026, 12, 31))]
    [('2026-11-05', '2026-12-04', 15), ('2026-12-05', '2027-01-03', 5)]
    """
    counted = sorted({day for day in days if setup_on is None or day >= setup_on})
    if not counted:
        return ()
    found = []
    start = counted[0]
    while start <= until:
        end = start + WINDOW - timedelta(days=1)
        found.append(Window(start=start, end=end, days=sum(1 for day in counted if start <= day <= end)))
        start += WINDOW
    return tuple(found)


def windows_of(known: Known) -> tuple[Window, ...]:
    """The windows of a patient under monitoring, up to the month's end."""
    if known.enrolment is None or Program.RPM not in known.enrolment.programs or not known.device_days:
        return ()
    until = next_month(known.month) - timedelta(days=1)
    return windows((one.day for one in known.device_days), setup_on=known.enrolment.rpm_setup_on, until=until)


def minutes_of(entries: Sequence[Minute]) -> dict[str, int]:
    """Seconds per programme that stand in the ledger, before any rule: voids left out."""
    totals: dict[str, int] = {}
    for one in entries:
        if not one.voided:
            totals[one.program] = totals.get(one.program, 0) + one.seconds
    return totals


# The row a reviewer reads ---------------------------------------------------------------------------------


class Standing(StrEnum):
    """Where a patient's month stands, the most urgent for a reviewer first."""

    NEEDS = "needs"  # something is not known or must be decided by a person
    READY = "ready"  # codes are supported, nothing is open
    UNDER = "under"  # nothing stands against it; the minutes or days are not there (yet)
    NOT_BILLABLE = "not billable"  # a rule says no
    QUIET = "quiet"  # nothing was done this month


STANDING_WORDS = {
    Standing.NEEDS: "Needs something",
    Standing.READY: "Ready",
    Standing.UNDER: "Below the step",
    Standing.NOT_BILLABLE: "Not billable",
    Standing.QUIET: "No work yet",
}

_ONLY_SHORT = frozenset({Reason.UNDER_THRESHOLD, Reason.OPEN_WINDOW, Reason.CAP_REACHED, Reason.NO_MDM})


def standing(decision: Decision, entries: Sequence[Minute]) -> Standing:
    """One word for a decision. Held beats supported: what waits for a person is seen first."""
    if decision.hold:
        return Standing.NEEDS
    if decision.codes:
        return Standing.READY
    if any(step.outcome is Outcome.BLOCK and not _ONLY_SHORT & set(step.reasons) for step in decision.trace):
        return Standing.NOT_BILLABLE
    return Standing.UNDER if any(not one.voided for one in entries) else Standing.QUIET


def because(decision: Decision) -> tuple[Step, ...]:
    """The steps that stand in the way: first what a person must settle, then what a rule forbids.

    Minutes or days that are merely not there are no obstacle and not among them (see `short_of`): nobody is to be
    called for minutes.
    """
    asked = [step for step in decision.trace if step.outcome is Outcome.HOLD and step.reasons]
    barred = [step for step in decision.trace if step.outcome is Outcome.BLOCK]
    seen: dict[str, Step] = {}
    for step in (*asked, *barred):
        if not (step.reasons and set(step.reasons) <= _ONLY_SHORT):
            seen.setdefault(step.says, step)
    return tuple(seen.values())


def short_of(decision: Decision) -> tuple[Step, ...]:
    """The steps that say which further codes the work of the month does not reach."""
    seen: dict[str, Step] = {}
    for step in decision.trace:
        if step.reasons and set(step.reasons) <= _ONLY_SHORT:
            seen.setdefault(step.says, step)
    return tuple(seen.values())


def fingerprint(entries: Iterable[Minute]) -> bytes:
    """One hash for the minutes a reviewer saw: their own hashes, and which of them were void."""
    seen = sorted((one.hash, one.voided) for one in entries)
    return sha256(b"".join(own + bytes([void]) for own, void in seen)).digest()


REPORT_WITHIN = timedelta(days=60)
"""An overpayment is reported and returned within sixty days of being identified (42 CFR 401.305)."""


def dropped(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Units that were supported and are no longer: what was paid for and must be looked at.

    >>> dropped({"99490": 1, "99439": 2}, {"99490": 1, "99439": 1})
    {'99439': 1}
    """
    lost = {code: units - after.get(code, 0) for code, units in before.items()}
    return {code: units for code, units in lost.items() if units > 0}
