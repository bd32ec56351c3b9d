"""Who may be served by which programme, and what they were told and agreed to. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge.ledger import first_instant, month_of, next_month


class Program(StrEnum):
    CCM = "CCM"  # chronic care management: two or more chronic conditions
    RPM = "RPM"  # remote physiologic monitoring
    PCM = "PCM"  # principal care management: one complex condition


class Method(StrEnum):
    VERBAL = "verbal"
    WRITTEN = "written"


class Told(StrEnum):
    """What must be explained before a patient can consent to care management (CMS)."""

    AVAILABILITY = "availability"
    COST_SHARING = "cost_sharing"
    ONE_PRACTITIONER = "one_practitioner"
    RIGHT_TO_STOP = "right_to_stop"


TOLD_WORDS: dict[Told, str] = {
    Told.AVAILABILITY: "The service exists, what it is, and that help is there day and night",
    Told.COST_SHARING: "Medicare's deductible and 20 % share apply; a supplement may pay it",
    Told.ONE_PRACTITIONER: "Only one practitioner can give and be paid for it in a month",
    Told.RIGHT_TO_STOP: "It can be stopped at any time, with effect at the end of the month",
}

PAYERS = {
    "original_medicare": "Original Medicare",
    "medicare_advantage": "Medicare Advantage",
    "medicaid": "Medicaid",
    "commercial": "Commercial",
    "other": "Other",
}

PRACTITIONERS = frozenset({"MD", "DO", "NP", "PA", "CNS", "CNM"})
"""Who may bill care management, and sign a plan and a month."""

CLINICAL = PRACTITIONERS | {"RN", "LPN", "LVN", "MA", "CMA", "PHARMD"}
"""Credentials whose work is clinical; nobody else's minutes count, so nobody else can log them."""

CHRONIC_MONTHS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of the problem list."""

    icd10: str
    name: str
    chronic_months: int  # expected to last at least this long


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a patient said about one programme. Immutable; a revocation is a row of its own."""

    consent_id: UUID
    program: Program
    accepted: bool
    given_at: datetime
    method: Method
    explained: frozenset[Told]
    language: str
    given_by: str
    explained_by_name: str
    revoked_at: datetime | None = None


class Caregiver(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who helps the patient. What they may be told is the patient's word, and is recorded as such."""

    name: str
    relation: str = ""
    phone: str = ""
    permission: str = ""  # how and when the patient allowed it; empty: they are told nothing

    @property
    def may_be_told(self) -> bool:
        return bool(self.permission)


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """Another practitioner, pharmacy or service in the patient's care."""

    name: str
    role: str = ""
    phone: str = ""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Who is around the patient, how to reach them, and what gets in the way."""

    caregivers: tuple[Caregiver, ...] = ()
    providers: tuple[Provider, ...] = ()
    language: str = ""
    contact: str = ""  # a key of `CONTACT_WORDS`
    best_time: str = ""
    barriers: tuple[str, ...] = ()  # keys of `BARRIER_WORDS`
    barrier_note: str = ""  # what helps


CONTACT_WORDS = {"phone": "By telephone", "video": "By video", "message": "By message", "letter": "By letter"}
BARRIER_WORDS = {
    "transport": "Transport",
    "language": "Language",
    "hearing": "Hearing",
    "sight": "Sight",
    "reading": "Reading",
    "memory": "Memory",
    "cost": "Cost",
    "internet": "No internet or telephone of their own",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """The latest version of what is known about a patient's programmes. None: nobody has said."""

    patient_id: UUID
    version: int
    state: str  # candidate, enrolled, declined, ended
    programs: frozenset[Program]
    since: date | None = None
    conditions: tuple[Condition, ...] = ()
    significant_risk_documented: bool | None = None
    payer: str | None = None
    payer_checked_on: date | None = None
    initiating_visit: date | None = None
    practitioner_name: str | None = None
    care_manager_name: str | None = None
    rpm_ordered: bool | None = None
    rpm_device_fda_defined: bool | None = None
    rpm_auto_upload: bool | None = None
    rpm_setup_on: date | None = None
    profile: Profile = Profile()  # noqa: RUF009 - frozen


def chronic(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """The conditions that make a person a candidate: expected to last twelve months or longer."""
    return tuple(condition for condition in conditions if condition.chronic_months >= CHRONIC_MONTHS)


def candidate(conditions: Sequence[Condition]) -> tuple[bool, str]:
    """Whether a problem list makes somebody a candidate for CCM, and the sentence a clinician reads.

    There is no closed list of diagnoses, so the list proposes and a clinician confirms the significant risk.

    >>> one = Condition(icd10="I10", name="Hypertension", chronic_months=12)
    >>> candidate([one])
    (False, 'One chronic condition (Hypertension): CCM needs two; principal care management may fit.')
    """
    named = chronic(conditions)
    words = ", ".join(condition.name for condition in named)
    if len(named) >= 2:  # noqa: PLR2004 - the rule says two or more
        return True, f"{len(named)} chronic conditions ({words}): a clinician confirms the significant risk."
    if named:
        return False, f"One chronic condition ({words}): CCM needs two; principal care management may fit."
    return False, "No condition expected to last twelve months is on the problem list."


def consent_of(consents: Iterable[Consent], program: Program) -> Consent | None:
    """The consent that counts: the latest word on this programme, if it was a yes."""
    said = sorted((c for c in consents if c.program is program), key=lambda c: c.given_at)
    return said[-1] if said and said[-1].accepted else None


def ends_at(consent: Consent, zone: ZoneInfo) -> datetime | None:
    """When a revoked consent stops: at the end of the calendar month in which the patient said so."""
    if consent.revoked_at is None:
        return None
    return first_instant(next_month(month_of(consent.revoked_at, zone)), zone)


def missing_words(explained: Iterable[Told]) -> tuple[str, ...]:
    """What was not explained, in the words to say it with."""
    said = frozenset(explained)
    return tuple(words for told, words in TOLD_WORDS.items() if told not in said)
