"""Section 3.1, the gates of care management (C) and of principal care management (5.4): one function, one predicate.

A predicate is met, known false (BLOCK), or not known (HOLD). Where evidence is simply not on record (no consent, no
plan, no visit) the finding carries both the missing thing and `UNKNOWN_FACT`: a person may still find it.
"""

from collections.abc import Callable

from ccm_bridge.billing.book import Gates
from ccm_bridge.billing.civil import day_of, last_of, months_before, second_of
from ccm_bridge.billing.facts import Consent
from ccm_bridge.billing.scene import Scene
from ccm_bridge.billing.words import CARE, EVERY, Compared, Family, Finding, Outcome, Reason, counted

Gate = Callable[[Scene], Finding | None]
CCM = frozenset({Family.CCM})
PCM = frozenset({Family.PCM})
UNKNOWN = Reason.UNKNOWN_FACT


def predicate(
    rule: str,
    concerns: frozenset[Family],
    known: bool | None,  # noqa: FBT001 the three-valued truth itself
    says: str,
    reason: Reason,
    **compared: Compared,
) -> Finding:
    """A finding from a truth value: true is met, false blocks for the reason, unknown holds."""
    outcome = {True: Outcome.MET, False: Outcome.BLOCK, None: Outcome.HOLD}[known]
    reasons = {True: (), False: (reason,), None: tuple(dict.fromkeys((reason, UNKNOWN)))}[known]
    return Finding(
        rule=rule,
        outcome=outcome,
        says=says,
        concerns=concerns,
        reasons=reasons,
        compared=compared,
    )


def c13_original_medicare(scene: Scene) -> Finding:
    """Other payers have rules of their own, which nobody has loaded: hold."""
    wanted = scene.rules.gates.payer
    ours = scene.facts.payer is not None and scene.facts.payer.strip().lower() == wanted
    says = "The payer is Original Medicare." if ours else "The payer is not known to be Original Medicare."
    return predicate(
        "C13", EVERY, ours or None, says, Reason.OTHER_PAYER, payer=scene.facts.payer, wanted=wanted
    )


def c1_two_chronic_conditions(scene: Scene) -> Finding:
    """Two different conditions, each expected to last. A code that is listed twice is one condition."""
    gates, conditions = scene.rules.gates, scene.facts.conditions
    lasting: set[str] = set()
    perhaps: set[str] = set()
    unnamed = 0
    for each in conditions or ():
        short = each.chronic_months is not None and each.chronic_months < gates.chronic_months
        if short:
            continue
        if each.icd10 is None:
            unnamed += 1
            continue
        (perhaps if each.chronic_months is None else lasting).add(each.icd10.upper().replace(".", "").strip())
    most = len(lasting | perhaps) + unnamed
    enough: bool | None = len(lasting) >= gates.conditions
    if not enough and (conditions is None or most >= gates.conditions):
        enough = None
    return predicate(
        "C1",
        CCM,
        enough,
        f"{counted(len(lasting), 'chronic condition')} of {gates.chronic_months} months or more on record.",
        Reason.ONE_CONDITION,
        conditions=len(lasting),
        possible=None if conditions is None else most,
        needed=gates.conditions,
        months=gates.chronic_months,
    )


def c2_significant_risk(scene: Scene) -> Finding:
    stated = scene.facts.significant_risk_documented
    return predicate(
        "C2",
        CCM,
        stated,
        f"The practitioner's statement of significant risk is {_said(stated)}.",
        Reason.NO_RISK_STATEMENT,
        documented=stated,
    )


def c3_initiating_visit(scene: Scene) -> Finding:
    """A visit within the year before care management began; while enrolled it may grow old, with a warning."""
    facts, months = scene.facts, scene.rules.gates.visit_months
    visit, since = facts.initiating_visit, facts.ccm_since
    compared: dict[str, Compared] = {
        "visit": _day(visit),
        "ccm_since": _day(since),
        "months": months,
    }
    if visit is None or since is None:
        says = "The initiating visit, or the day care management began, is not on record."
        return predicate("C3", CCM, None, says, Reason.NO_INITIATING_VISIT, **compared)
    if not months_before(since, months) <= visit <= since:
        says = f"No visit lies within the {months} months before care management began."
        return predicate("C3", CCM, known=False, says=says, reason=Reason.NO_INITIATING_VISIT, **compared)
    if visit < months_before(last_of(scene.month), months):
        return Finding(
            rule="C3",
            outcome=Outcome.WARN,
            says=f"The initiating visit is more than {months} months old; no rule asks for another.",
            concerns=CCM,
            reasons=(Reason.VISIT_OLD,),
            compared=compared,
        )
    says = "An initiating visit precedes care management by no more than a year."
    return predicate("C3", CCM, known=True, says=says, reason=Reason.NO_INITIATING_VISIT, **compared)


def c4_consent(scene: Scene) -> Finding:
    """Dated, verbal or written, with all four notices. Minutes before it are taken out one by one (minutes.py)."""
    consent, gates = scene.facts.consent, scene.rules.gates
    if consent is None or consent.at is None:
        return predicate("C4", CARE, None, "No consent is on record.", Reason.NO_CONSENT, at=None)
    at = consent.at.isoformat()
    if wrong := _what_consent_breaks(consent, scene):
        return predicate("C4", CARE, known=False, says=wrong, reason=Reason.NO_CONSENT, at=at)
    lacks = _what_consent_lacks(consent, gates)
    if lacks:
        return predicate("C4", CARE, known=None, says=lacks, reason=Reason.NO_CONSENT, at=at)
    if day_of(second_of(consent.at), scene.zone) < months_before(last_of(scene.month), gates.consent_months):
        return Finding(
            rule="C4",
            outcome=Outcome.WARN,
            says=f"The consent is more than {gates.consent_months} months old; it need not be renewed.",
            concerns=CARE,
            reasons=(Reason.CONSENT_OLD,),
            compared={"at": at, "months": gates.consent_months},
        )
    says = f"Consent was given ({consent.method}), with every notice explained."
    return predicate("C4", CARE, known=True, says=says, reason=Reason.NO_CONSENT, at=at)


def _what_consent_breaks(consent: Consent, scene: Scene) -> str | None:
    """Why a consent is known to be none for this month, in a sentence; None where nothing is known against it."""
    if not consent.accepted:
        return "The patient declined."
    wanted = scene.rules.gates.consent_notices
    if consent.explained is not None and (missing := wanted - set(consent.explained)):
        return f"Consent without what must be explained: {', '.join(sorted(missing))}."
    if consent.at is not None and second_of(consent.at) >= scene.seconds[-1][1]:
        return "Consent was given after the month."
    return None


def _what_consent_lacks(consent: Consent, gates: Gates) -> str | None:
    """What nobody recorded of a consent, in a sentence; None where nothing is missing."""
    if consent.at and consent.revoked_at and consent.revoked_at < consent.at:
        return "The revocation is older than the consent: which one holds is not known."
    if (consent.method or "").lower() not in gates.consent_methods:
        return "Whether consent was verbal or written is not on record."
    return "What was explained is not on record." if consent.explained is None else None


def c5_care_plan(scene: Scene) -> Finding:
    """A signed plan by the end of the month."""
    plan, last = scene.facts.care_plan, last_of(scene.month)
    signed = None if plan is None or plan.version is None or plan.version < 1 else plan.signed_at
    compared: dict[str, Compared] = {"signed": _day(signed), "month_ends": _day(last)}
    if signed is None:
        return predicate(
            "C5", CCM, None, "No signed care plan is on record.", Reason.NO_CARE_PLAN, **compared
        )
    if signed > last:
        says = "The care plan was signed after the month."
        return predicate("C5", CCM, known=False, says=says, reason=Reason.NO_CARE_PLAN, **compared)
    return predicate(
        "C5", CCM, known=True, says="A signed care plan is on record.", reason=Reason.NO_CARE_PLAN, **compared
    )


def c5_copy_given(scene: Scene) -> Finding:
    """The patient or caregiver has a copy of the plan, by the end of the month."""
    plan, last = scene.facts.care_plan, last_of(scene.month)
    given = None if plan is None else plan.copy_given_at
    in_time = True if given is not None and given <= last else None
    says = (
        "A copy of the care plan was given." if in_time else "No copy of the care plan is on record as given."
    )
    return predicate(
        "C5", CCM, in_time, says, Reason.PLAN_COPY_MISSING, given=_day(given), month_ends=_day(last)
    )


def c6_access(scene: Scene) -> Finding:
    attested = None if scene.facts.practice is None else scene.facts.practice.access_24_7
    says = f"The practice's attestation of 24/7 access is {_said(attested)}."
    return predicate("C6", CCM, attested, says, Reason.NO_24_7_ACCESS, attested=attested)


def c7_certified_record(scene: Scene) -> Finding:
    attested = None if scene.facts.practice is None else scene.facts.practice.certified_ehr
    says = f"The practice's attestation of a certified record system is {_said(attested)}."
    return predicate("C7", CCM, attested, says, Reason.NO_CERTIFIED_EHR, attested=attested)


def c8_billing_practitioner(scene: Scene) -> Finding | None:
    """Weighed where the facts name who bills."""
    credential = None if scene.facts.practice is None else scene.facts.practice.biller_credential
    if credential is None:
        return None
    fit = credential.strip().upper() in scene.rules.people.practitioners
    says = f"The credential of who bills is {credential}."
    return predicate("C8", CARE, fit, says, Reason.NO_BILLING_PRACTITIONER, credential=credential)


def x13_access_model(scene: Scene) -> Finding | None:
    if not scene.facts.access_model:
        return None
    says = "The patient is aligned to an ACCESS participant of which the biller is part: no other claims."
    return predicate("X13", EVERY, known=False, says=says, reason=Reason.ACCESS_MODEL)


def x14_hospice(scene: Scene) -> Finding:
    """An election in the month or before it holds the whole month; the minutes after it are out (minutes.py)."""
    elected = scene.facts.hospice_elected_on
    last = last_of(scene.month)
    if elected and elected <= last:
        return Finding(
            rule="X14",
            outcome=Outcome.HOLD,
            says="The patient has elected hospice: a person decides the month.",
            concerns=EVERY,
            reasons=(Reason.HOSPICE,),
            compared={"elected": _day(elected)},
        )
    known = True if elected is None or elected else None
    says = (
        "No hospice election by the end of the month."
        if known
        else "Whether hospice was elected is not known."
    )
    return predicate("X14", EVERY, known, says, UNKNOWN)


def t16_death(scene: Scene) -> Finding:
    """A death in the month asks for a look; codes earned before it stand."""
    died = scene.facts.died_at
    if died and second_of(died) < scene.seconds[-1][1]:
        return Finding(
            rule="T16",
            outcome=Outcome.WARN,
            says="The patient has died: review the month; no date of service may follow.",
            concerns=EVERY,
            reasons=(Reason.AFTER_DEATH,),
            compared={"died": died.isoformat()},
        )
    known = True if died is None or died else None
    says = (
        "The patient was alive through the month." if known else "Whether the patient is alive is not known."
    )
    return predicate("T16", EVERY, known, says, UNKNOWN)


def c12_stays_known(scene: Scene) -> Finding:
    known = True if scene.facts.stays is not None else None
    says = "Stays in hospitals and nursing facilities are on record." if known else "Stays are not known."
    return predicate("C12", EVERY, known, says, UNKNOWN)


def pcm_gate(scene: Scene) -> Finding:
    """5.4: one high-risk disease of three months, its plan, consent. The practice documents the gate as a whole."""
    documented = None if scene.facts.pcm is None else scene.facts.pcm.gate_documented
    says = f"The gate of principal care management is {_said(documented)}."
    return predicate("5.4", PCM, documented, says, Reason.PCM_UNPROVEN, documented=documented)


EVERYONES_GATES: tuple[Gate, ...] = (
    c13_original_medicare,
    x13_access_model,
    x14_hospice,
    t16_death,
    c12_stays_known,
)
CCM_GATES: tuple[Gate, ...] = (
    c1_two_chronic_conditions,
    c2_significant_risk,
    c3_initiating_visit,
    c4_consent,
    c5_care_plan,
    c5_copy_given,
    c6_access,
    c7_certified_record,
    c8_billing_practitioner,
)
PCM_GATES: tuple[Gate, ...] = (pcm_gate, c4_consent, c8_billing_practitioner)


def _day(day: object) -> str | None:
    return None if day is None else str(day)


def _said(stated: bool | None) -> str:  # noqa: FBT001
    return {True: "on record", False: "on record as missing", None: "not known"}[stated]
