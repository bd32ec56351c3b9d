"""The facts of one patient and one calendar month, as the reasoner weighs them.

Every field may be unknown, and unknown is `None`: the reasoner then holds, and never bills. Three fields have a
`None` that is an answer (no hospice, no death, no revocation); for the first two a key that is absent, `UNSET`, is
the unknown. Instants carry an offset. Fields below a "beyond" comment are weighed when given; a case that says
nothing about them is decided without them, because the practice settles them elsewhere or they did not happen.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

Instant = Annotated[datetime, Meta(tz=True)]
Month = Annotated[str, Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]
"""Written 2026-11."""
LONGEST_ENTRY = 86_400
"""Seconds. No entry is longer than a day; an entry of unknown length may be this long."""


class Billed(StrEnum):
    """Who bills a service, seen from this practice."""

    SAME_PRACTICE = "same_practice"
    OTHER_PRACTICE = "other_practice"


class FamilyPolicy(StrEnum):
    """Which family the practice elects where staff minutes and a practitioner's own minutes would both do."""

    STAFF = "staff"
    PERSONAL = "personal"


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    icd10: str | None = None
    chronic_months: int | None = None  # expected duration


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    at: Instant | None = None
    method: str | None = None  # verbal or written
    explained: tuple[str, ...] | None = None
    revoked_at: Instant | None = None  # None: not revoked
    # beyond
    accepted: bool = True  # a refusal is recorded too


class CarePlan(msgspec.Struct, frozen=True, kw_only=True):
    version: int | None = None
    signed_at: date | None = None
    copy_given_at: date | None = None


class Practice(msgspec.Struct, frozen=True, kw_only=True):
    access_24_7: bool | None = None
    certified_ehr: bool | None = None
    # beyond
    family_policy: FamilyPolicy | None = None
    biller_credential: str | None = None


class Rpm(msgspec.Struct, frozen=True, kw_only=True):
    enrolled: bool | None = None
    order: bool | None = None
    consent_at: Instant | None = None
    device_fda_defined: bool | None = None
    auto_upload: bool | None = None
    setup_on: date | None = None
    # beyond
    revoked_at: Instant | None = None
    established: bool | None = None  # says more than the initiating visit, where both are known
    setup_billed: bool | None = None  # 99453 already reported for this episode of care
    global_surgery: bool = False  # the patient is in a global surgical period that may be this biller's


class Complex(msgspec.Struct, frozen=True, kw_only=True):
    mdm_documented: bool | None = None  # the practitioner's own moderate or high decision-making of the month
    elected: bool | None = None  # by the practitioner


class Pcm(msgspec.Struct, frozen=True, kw_only=True):
    """The gate of principal care management as a whole: one high-risk disease, three months, plan, consent."""

    gate_documented: bool | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service known to be billed for this patient."""

    code: str | None = None
    by: str | None = None  # a `Billed`; anything else is unknown
    month: Month | None = None
    # beyond
    on: date | None = None


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """Time in a facility, or abroad. No discharge yet: still there."""

    kind: str | None = None
    admitted_at: Instant | None = None
    discharged_at: Instant | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of one person's work. `program` is where the person logged it."""

    staff: str | None = None
    credential: str | None = None
    program: str | None = None
    start: Instant | None = None
    seconds: Annotated[int, Meta(ge=0, le=LONGEST_ENTRY)] | None = None
    country: str | None = None
    contact: str | None = None
    interactive: bool | None = None
    source: str | None = None
    also_program: str | None = None
    as_clinical_staff: bool | None = None
    # beyond
    id: str | None = None
    corrects: str | None = None  # the id of the entry that this one replaces
    voided: bool = False
    on: date | None = None  # the day of an entry that has a duration but no start
    activity: str | None = None
    patients: Annotated[int, Meta(ge=1)] = 1  # served at the same time, this one included
    separate_from_visit: bool = False  # attested
    recorded_at: Instant | None = None


class DeviceWindow(msgspec.Struct, frozen=True, kw_only=True):
    start: date | None = None
    end: date | None = None  # the last day, included
    days_with_data: Annotated[int, Meta(ge=0, le=31)] | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one patient and one month."""

    month: Month | None = None
    zone: str | None = None  # the practice's: it decides the month
    patient_zone: str | None = None
    payer: str | None = None
    conditions: tuple[Condition, ...] | None = None
    significant_risk_documented: bool | None = None
    initiating_visit: date | None = None
    ccm_since: date | None = None
    consent: Consent | None = None
    care_plan: CarePlan | None = None
    practice: Practice | None = None
    rpm: Rpm | None = None
    complex: Complex | None = None
    other_services: tuple[Service, ...] | None = None
    stays: tuple[Stay, ...] | None = None
    hospice_elected_on: date | UnsetType | None = UNSET
    died_at: Instant | UnsetType | None = UNSET
    entries: tuple[Entry, ...] | None = None
    device_windows: tuple[DeviceWindow, ...] | None = None
    as_of: Instant | None = None  # None: the month and every window have closed
    # beyond
    pcm: Pcm | None = None
    access_model: bool = False  # aligned to an ACCESS participant of which the biller is part
    claimed_at: Instant | None = None
    unread: tuple[str, ...] = ()  # keys that the reader met and does not know
