"""Borders in time: the rules that split an entry at a month, a consent, a death, an admission, an election.

They return elapsed seconds, so summer time moves nothing, and an entry that crosses a border is cut at it.
"""

from ccm_bridge.billing.civil import day_of, midnight, next_first, second_after, second_of
from ccm_bridge.billing.facts import Entry
from ccm_bridge.billing.scene import ALWAYS, CARE_PROGRAMS, Cut, Scene, doubt, exclude, program_of, remark
from ccm_bridge.billing.spans import EARLIEST, LATEST, Spans, common, span, union, without
from ccm_bridge.billing.words import Reason

UNKNOWN = Reason.UNKNOWN_FACT


def t17_other_month(_: Entry, scene: Scene) -> Cut:
    """Seconds that lie in another month by every clock: split at local midnight of the 1st."""
    inside = union(scene.seconds, scene.patient_month[1])
    return exclude("T17", Reason.OTHER_MONTH, without(ALWAYS, inside), "lies in another month")


def t19_two_calendars(_: Entry, scene: Scene) -> Cut | None:
    """Seconds in this month by the practice's calendar and in another by the patient's, or the reverse."""
    surely, possibly = scene.patient_month
    if surely == possibly == scene.seconds:
        return None
    torn = without(union(scene.seconds, possibly), common(scene.seconds, surely))
    return doubt(
        "T19",
        (Reason.TZ_AMBIGUOUS,),
        torn,
        "the practice's and the patient's calendar put it in different months",
    )


def as_of_after(_: Entry, scene: Scene) -> Cut | None:
    """Seconds later than the question."""
    asked = scene.facts.as_of
    if asked is None:
        return None
    return exclude("1", Reason.AFTER_AS_OF, span(second_of(asked), LATEST), "lies after the time asked about")


def c11_patient_in_the_united_states(_: Entry, scene: Scene) -> Cut:
    away = _stays(scene, abroad=True)
    return exclude("C11", Reason.PATIENT_ABROAD, away, "the patient was outside the United States")


def c4_before_consent(entry: Entry, scene: Scene) -> Cut | None:
    """Care management before the CCM consent, monitoring before the RPM consent."""
    rule, given, _ = _consent(entry, scene)
    if given is None:
        return None
    return exclude(rule, Reason.BEFORE_CONSENT, span(EARLIEST, given), "lies before the patient's consent")


def c4_after_revocation(entry: Entry, scene: Scene) -> Cut | None:
    """A revocation takes effect at the end of its calendar month, as the patient was told."""
    rule, _, revoked = _consent(entry, scene)
    if revoked is None:
        return None
    return exclude(
        rule,
        Reason.AFTER_REVOCATION,
        span(_revocation_takes_effect(revoked, scene), LATEST),
        "consent had ended",
    )


def c4_after_the_patient_said_stop(entry: Entry, scene: Scene) -> Cut | None:
    """Work between the patient's word and the end of the month counts, and somebody should know of it."""
    rule, _, revoked = _consent(entry, scene)
    if revoked is None:
        return None
    return remark(
        rule,
        Reason.AFTER_REVOCATION,
        span(revoked, _revocation_takes_effect(revoked, scene)),
        "the patient had revoked; that takes effect at the end of the month",
    )


def t16_after_death(_: Entry, scene: Scene) -> Cut | None:
    died = scene.facts.died_at
    if not died:
        return None
    return exclude("T16", Reason.AFTER_DEATH, span(second_of(died), LATEST), "lies after the patient's death")


def c12_inpatient(_: Entry, scene: Scene) -> Cut:
    inside = _stays(scene, abroad=False)
    return exclude("C12", Reason.INPATIENT_TIME, inside, "the patient was an inpatient")


def c12_stay_without_a_beginning(_: Entry, scene: Scene) -> Cut | None:
    """A stay of which nobody knows when it began may cover everything before its end."""
    blind = [
        stay
        for stay in scene.facts.stays or ()
        if stay.admitted_at is None and not _outpatient(stay.kind, scene)
    ]
    if not blind:
        return None
    ends = max(LATEST if stay.discharged_at is None else second_after(stay.discharged_at) for stay in blind)
    return doubt(
        "C12", (Reason.INPATIENT_TIME, UNKNOWN), span(EARLIEST, ends), "when a stay began is not known"
    )


def x14_hospice(_: Entry, scene: Scene) -> Cut | None:
    elected = scene.facts.hospice_elected_on
    if not elected:
        return None
    since = span(midnight(elected, scene.zone), LATEST)
    return exclude("X14", Reason.HOSPICE, since, "the patient had elected hospice")


def _consent(entry: Entry, scene: Scene) -> tuple[str, int | None, int | None]:
    """The rule's id, and the seconds in which consent to the entry's program was given and revoked."""
    facts, program = scene.facts, program_of(entry)
    if program == "RPM" and facts.rpm is not None:
        rule, at, revoked_at = "R5", facts.rpm.consent_at, facts.rpm.revoked_at
    elif program in CARE_PROGRAMS and facts.consent is not None:
        rule, at, revoked_at = "C4", facts.consent.at, facts.consent.revoked_at
    else:
        return "C4", None, None
    if at is not None and revoked_at is not None and revoked_at < at:
        revoked_at = None  # which of the two holds is not known: the gate waits for a person
    return (
        rule,
        None if at is None else second_after(at),
        None if revoked_at is None else second_of(revoked_at),
    )


def _revocation_takes_effect(revoked: int, scene: Scene) -> int:
    return midnight(next_first(day_of(revoked, scene.zone)), scene.zone)


def _stays(scene: Scene, *, abroad: bool) -> Spans:
    away = scene.rules.work.stays_abroad
    return union(
        *(
            span(
                second_of(stay.admitted_at),
                LATEST if stay.discharged_at is None else second_after(stay.discharged_at),
            )
            for stay in scene.facts.stays or ()
            if stay.admitted_at is not None
            and ((stay.kind or "").lower() in away) == abroad
            and not _outpatient(stay.kind, scene)
        )
    )


def _outpatient(kind: str | None, scene: Scene) -> bool:
    return (kind or "").lower() in scene.rules.work.outpatient_stays
