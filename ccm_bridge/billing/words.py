"""The reasoner's words: families of codes, outcomes, reason codes, and the finding that every rule returns."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Family(StrEnum):
    """Codes that pass or fall together: what a gate or a conflict opens and closes."""

    CCM = "CCM"
    PCM = "PCM"
    RPM_MANAGEMENT = "RPM_MANAGEMENT"
    RPM_DEVICE = "RPM_DEVICE"
    RPM_SETUP = "RPM_SETUP"


FAMILY_WORDS = {
    Family.CCM: "Chronic care management",
    Family.PCM: "Principal care management",
    Family.RPM_MANAGEMENT: "The management of the monitoring",
    Family.RPM_DEVICE: "The device's supply",
    Family.RPM_SETUP: "The device's set-up",
}

CARE = frozenset({Family.CCM, Family.PCM})
RPM = frozenset({Family.RPM_MANAGEMENT, Family.RPM_DEVICE, Family.RPM_SETUP})
EVERY = CARE | RPM


class Outcome(StrEnum):
    """What one rule does to what it weighs."""

    MET = "MET"  # known true
    WARN = "WARN"  # known true, and worth a look
    EXCLUDE = "EXCLUDE"  # these seconds or days do not count; they stay in the log
    HOLD = "HOLD"  # not known, or a person must choose: nothing is billed on it
    BLOCK = "BLOCK"  # known false


def counted(count: int, what: str) -> str:
    """So many of something, as people say it.

    >>> counted(1, "minute"), counted(0, "day"), counted(20, "minute")
    ('1 minute', '0 days', '20 minutes')
    """
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


class Reason(StrEnum):
    """Why a code, a second or a day is not (yet) billable."""

    UNDER_THRESHOLD = "UNDER_THRESHOLD"
    CAP_REACHED = "CAP_REACHED"
    NO_MDM = "NO_MDM"
    NOT_ELECTED = "NOT_ELECTED"
    FAMILY_CHOICE = "FAMILY_CHOICE"

    OVERLAP = "OVERLAP"
    NON_CLINICAL = "NON_CLINICAL"
    NON_US_STAFF = "NON_US_STAFF"
    PATIENT_ABROAD = "PATIENT_ABROAD"
    BEFORE_CONSENT = "BEFORE_CONSENT"
    AFTER_REVOCATION = "AFTER_REVOCATION"
    AFTER_DEATH = "AFTER_DEATH"
    INPATIENT_TIME = "INPATIENT_TIME"
    DUAL_PROGRAM = "DUAL_PROGRAM"
    MULTI_PATIENT_SPLIT = "MULTI_PATIENT_SPLIT"
    E_M_DAY = "E_M_DAY"
    VISIT_TIME = "VISIT_TIME"
    NOT_CARE_MANAGEMENT = "NOT_CARE_MANAGEMENT"
    AUTOMATED = "AUTOMATED"
    VOIDED = "VOIDED"
    OTHER_MONTH = "OTHER_MONTH"
    AFTER_AS_OF = "AFTER_AS_OF"
    TZ_AMBIGUOUS = "TZ_AMBIGUOUS"
    INCOMPLETE_ENTRY = "INCOMPLETE_ENTRY"
    LATE_ENTRY = "LATE_ENTRY"
    NO_CONTACT = "NO_CONTACT"

    ONE_CONDITION = "ONE_CONDITION"
    NO_RISK_STATEMENT = "NO_RISK_STATEMENT"
    NO_INITIATING_VISIT = "NO_INITIATING_VISIT"
    VISIT_OLD = "VISIT_OLD"
    NO_CONSENT = "NO_CONSENT"
    CONSENT_OLD = "CONSENT_OLD"
    NO_CARE_PLAN = "NO_CARE_PLAN"
    PLAN_COPY_MISSING = "PLAN_COPY_MISSING"
    PLAN_NOT_REVISED = "PLAN_NOT_REVISED"
    NO_24_7_ACCESS = "NO_24_7_ACCESS"
    NO_CERTIFIED_EHR = "NO_CERTIFIED_EHR"
    NO_BILLING_PRACTITIONER = "NO_BILLING_PRACTITIONER"
    OTHER_PAYER = "OTHER_PAYER"
    PCM_UNPROVEN = "PCM_UNPROVEN"

    NOT_ENROLLED = "NOT_ENROLLED"
    NOT_ESTABLISHED = "NOT_ESTABLISHED"
    NO_ORDER = "NO_ORDER"
    DEVICE_NOT_QUALIFYING = "DEVICE_NOT_QUALIFYING"
    MANUAL_READING = "MANUAL_READING"
    NO_INTERACTIVE = "NO_INTERACTIVE"
    OPEN_WINDOW = "OPEN_WINDOW"
    WINDOW_UNCLEAR = "WINDOW_UNCLEAR"

    OTHER_PRACTITIONER = "OTHER_PRACTITIONER"
    APCM_MONTH = "APCM_MONTH"
    CPO_G0181 = "CPO_G0181"  # care plan oversight: G0181 (home health) and G0182 (hospice) alike
    ESRD_MONTH = "ESRD_MONTH"
    PCM_MONTH = "PCM_MONTH"
    OTHER_SERVICE = "OTHER_SERVICE"
    RTM_CONFLICT = "RTM_CONFLICT"
    GLOBAL_PERIOD = "GLOBAL_PERIOD"
    HOSPICE = "HOSPICE"
    ACCESS_MODEL = "ACCESS_MODEL"

    UNKNOWN_FACT = "UNKNOWN_FACT"
    UNREAD_FACT = "UNREAD_FACT"
    RULESET_MISSING = "RULESET_MISSING"


Compared = int | str | bool | None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule found: a line of the trace. `concerns` names the families that a HOLD or BLOCK closes.

    A HOLD that concerns no family asks a person to look, and withholds nothing that is already proved.
    """

    rule: str
    outcome: Outcome
    says: str
    concerns: frozenset[Family] = frozenset()
    reasons: tuple[Reason, ...] = ()
    compared: Mapping[str, Compared] = {}
