"""Sections 3.2 and 6.3: the gates of remote monitoring (R) and its management minutes. Windows: windows.py."""

from datetime import date

from ccm_bridge.billing.care import explain
from ccm_bridge.billing.civil import day_of, last_of, second_of
from ccm_bridge.billing.facts import Rpm
from ccm_bridge.billing.gates import Gate, predicate
from ccm_bridge.billing.ladder import climb
from ccm_bridge.billing.proposal import Proposal, Reading
from ccm_bridge.billing.scene import Scene
from ccm_bridge.billing.tally import EVERYONE, Tally
from ccm_bridge.billing.words import RPM, Family, Finding, Outcome, Reason

MANAGEMENT = frozenset({Family.RPM_MANAGEMENT})
SUPPLY = frozenset({Family.RPM_DEVICE, Family.RPM_SETUP})
UNKNOWN = Reason.UNKNOWN_FACT
NOBODY = Rpm()


def rpm_of(scene: Scene) -> Rpm:
    """What is known of the patient's monitoring; nothing is known of a patient without it."""
    return scene.facts.rpm or NOBODY


def consent_day(scene: Scene) -> date | None:
    at = rpm_of(scene).consent_at
    return None if at is None else day_of(second_of(at), scene.zone)


def day_text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


# Gates -------------------------------------------------------------------------------------------------------


def r0_enrolled(scene: Scene) -> Finding:
    enrolled = rpm_of(scene).enrolled
    says = {
        True: "The patient is enrolled in monitoring.",
        False: "The patient is not enrolled in monitoring.",
        None: "Whether the patient is enrolled in monitoring is not known.",
    }
    return predicate("R0", RPM, enrolled, says[enrolled], Reason.NOT_ENROLLED, enrolled=enrolled)


def r1_established_patient(scene: Scene) -> Finding:
    """A visit with the practice before monitoring began."""
    rpm, visit = rpm_of(scene), scene.facts.initiating_visit
    began = min(
        (day for day in (rpm.setup_on, consent_day(scene), last_of(scene.month)) if day is not None),
    )
    established = rpm.established
    if established is None and visit is not None:
        established = visit <= began
    says = {
        True: "The patient was seen before monitoring began.",
        False: "The patient was not seen before monitoring began.",
        None: "No visit is on record.",
    }[established]
    return predicate(
        "R1",
        RPM,
        established,
        says,
        Reason.NOT_ESTABLISHED,
        visit=day_text(visit),
        monitoring_began=day_text(began),
    )


def r2_condition(scene: Scene) -> Finding:
    """Chronic or acute, one is enough; its name is the written reason."""
    known = True if scene.facts.conditions else None
    says = "A condition is on record." if known else "No condition is on record as the reason for monitoring."
    return predicate("R2", RPM, known, says, UNKNOWN, conditions=len(scene.facts.conditions or ()))


def r3_order(scene: Scene) -> Finding:
    order = rpm_of(scene).order
    says = {
        True: "Monitoring was ordered.",
        False: "Nobody ordered monitoring.",
        None: "No order is on record.",
    }
    return predicate("R3", RPM, order, says[order], Reason.NO_ORDER, order=order)


def r4_device_supply(scene: Scene) -> Finding:
    """A device by the FDA's definition, whose readings arrive by themselves: others make no days of data."""
    rpm = rpm_of(scene)
    return _r4(rpm, SUPPLY, Outcome.BLOCK)


def r4_device_management(scene: Scene) -> Finding:
    """The text excludes the readings; whether there is anything left to manage, a person decides."""
    rpm = rpm_of(scene)
    return _r4(rpm, MANAGEMENT, Outcome.HOLD)


def _r4(rpm: Rpm, concerns: frozenset[Family], unmet: Outcome) -> Finding:
    reasons: list[Reason] = []
    if rpm.device_fda_defined is False:
        reasons.append(Reason.DEVICE_NOT_QUALIFYING)
    if rpm.auto_upload is False:
        reasons.append(Reason.MANUAL_READING)
    outcome, says = unmet, "Readings do not qualify: a medical device must send them by itself."
    if not reasons:
        known = rpm.device_fda_defined is not None and rpm.auto_upload is not None
        outcome = Outcome.MET if known else Outcome.HOLD
        says = (
            "A medical device sends its readings by itself."
            if known
            else "The device is not fully described."
        )
        reasons = [] if known else [UNKNOWN]
    return Finding(
        rule="R4",
        outcome=outcome,
        says=says,
        concerns=concerns,
        reasons=tuple(reasons),
        compared={"device_fda_defined": rpm.device_fda_defined, "auto_upload": rpm.auto_upload},
    )


def r5_consent(scene: Scene) -> Finding:
    """A consent of its own; the one to care management is not taken for it."""
    at, revoked = rpm_of(scene).consent_at, rpm_of(scene).revoked_at
    known: bool | None = None if at is None or (revoked is not None and revoked < at) else True
    if known and at is not None and second_of(at) >= scene.seconds[-1][1]:
        known = False
    says = {
        True: "Consent to monitoring is on record.",
        False: "Consent to monitoring was given after the month.",
        None: "No standing consent to monitoring is on record.",
    }[known]
    return predicate("R5", RPM, known, says, Reason.NO_CONSENT, at=None if at is None else at.isoformat())


def r6_setup_known(scene: Scene) -> Finding:
    """Windows begin after set-up; without its day none can be placed."""
    setup = rpm_of(scene).setup_on
    known = None if setup is None else True
    says = "The day of set-up is on record." if known else "The day of set-up is not known."
    return predicate("R6", SUPPLY, known, says, UNKNOWN, setup_on=day_text(setup))


def r9_global_surgery(scene: Scene) -> Finding | None:
    if not rpm_of(scene).global_surgery:
        return None
    says = "The patient is in a global surgical period: monitoring must be apart from it."
    return predicate("R9", RPM, None, says, Reason.GLOBAL_PERIOD)


RPM_GATES: tuple[Gate, ...] = (
    r0_enrolled,
    r1_established_patient,
    r2_condition,
    r3_order,
    r4_device_supply,
    r4_device_management,
    r5_consent,
    r6_setup_known,
    r9_global_surgery,
)


def live_contact(scene: Scene, tally: Tally) -> Finding:
    """6.3: at least one real-time two-way conversation in the month, within the minutes that count."""
    not_live = scene.rules.work.not_live
    heard: bool | None = False
    talks = 0
    for share in tally.shares:
        if "RPM" not in share.programs or (share.entry.contact or "").lower() in not_live:
            continue
        if share.entry.interactive is False:
            continue
        if share.entry.interactive and (share.sure or share.loose_sure):
            heard, talks = True, talks + 1
        elif heard is False and (share.sure or share.doubt or share.loose_sure or share.loose_doubt):
            heard = None
    says = {
        True: "There was live contact with the patient.",
        False: "There was no live contact: texts, portals and voicemail do not count.",
        None: "Whether any contact was live is not known.",
    }[heard]
    return predicate("6.3", MANAGEMENT, heard, says, Reason.NO_INTERACTIVE, conversations=talks, needed=1)


def propose_management(scene: Scene, tally: Tally) -> Proposal:
    """99470, or 99457 and 99458, by the calendar month."""
    ladder = scene.rules.ladders.rpm
    sure, possible = (
        Reading(codes=stand.codes, held=stand.held, findings=explain("6.3", ladder, stand))
        for stand in (
            climb(ladder, tally.minutes(("RPM",), EVERYONE, possible=reading)) for reading in (False, True)
        )
    )
    return Proposal(
        family=Family.RPM_MANAGEMENT, sure=sure, possible=possible, on=tally.last_day(("RPM",), scene.zone)
    )
