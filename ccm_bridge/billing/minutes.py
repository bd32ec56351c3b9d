"""Section 4, what time counts: each rule names the seconds of one entry that it takes away, or puts in doubt.

Seconds are counted, excluded, or in doubt. Codes rest on counted seconds alone; doubt holds a month only where it
would change a code. Here are the rules about the person and the work; the borders in time are in borders.py.
"""

from collections.abc import Callable
from datetime import timedelta

from ccm_bridge.billing.book import among
from ccm_bridge.billing.borders import (
    as_of_after,
    c4_after_revocation,
    c4_after_the_patient_said_stop,
    c4_before_consent,
    c11_patient_in_the_united_states,
    c12_inpatient,
    c12_stay_without_a_beginning,
    t16_after_death,
    t17_other_month,
    t19_two_calendars,
    x14_hospice,
)
from ccm_bridge.billing.civil import day_span, second_of
from ccm_bridge.billing.facts import LONGEST_ENTRY, Billed, Entry, Service
from ccm_bridge.billing.scene import (
    ALWAYS,
    CARE_PROGRAMS,
    PROGRAMS,
    Cut,
    Scene,
    doubt,
    exclude,
    program_of,
    remark,
)
from ccm_bridge.billing.spans import LATEST, Spans, common, span, union, without
from ccm_bridge.billing.words import Reason

UNKNOWN = Reason.UNKNOWN_FACT
DAY = timedelta(days=1) // timedelta(seconds=1)


# Who worked, and where ---------------------------------------------------------------------------------------


def t4_clinical(entry: Entry, scene: Scene) -> Cut | None:
    """Only clinical staff and practitioners make minutes."""
    people = scene.rules.people
    credential = (entry.credential or "").strip().upper()
    if credential in people.practitioners | people.clinical_staff:
        return None
    if credential in people.non_clinical:
        return exclude("T4", Reason.NON_CLINICAL, ALWAYS, f"{credential} is not clinical staff")
    return doubt("T4", (UNKNOWN,), ALWAYS, "whether the person is clinical staff is not known")


def c11_staff_in_the_united_states(entry: Entry, scene: Scene) -> Cut | None:
    if entry.country is None:
        return doubt("C11", (UNKNOWN,), ALWAYS, "where the person sat is not known")
    if entry.country.strip().upper() in scene.rules.people.united_states:
        return None
    return exclude("C11", Reason.NON_US_STAFF, ALWAYS, "the person sat outside the United States")


# What the work was -------------------------------------------------------------------------------------------


def t7_shared_with_other_patients(entry: Entry, _: Scene) -> Cut | None:
    """One person on several patients at once: this patient's equal share counts, the rest does not."""
    if entry.patients == 1 or entry.seconds is None:
        return None
    if entry.start is None:
        return doubt(
            "T7", (Reason.MULTI_PATIENT_SPLIT,), ALWAYS, "shared time without a start cannot be split"
        )
    share = second_of(entry.start) + entry.seconds // entry.patients
    return exclude(
        "T7", Reason.MULTI_PATIENT_SPLIT, span(share, LATEST), f"split among {entry.patients} patients"
    )


def t8_two_tags(entry: Entry, _: Scene) -> Cut | None:
    """Minutes tagged for two programs count in neither: whoever assigns them to one writes a correction (T20)."""
    second = (entry.also_program or "").strip().upper()
    if not second or second == program_of(entry):
        return None
    says = f"tagged {program_of(entry)} and {second}, until it is assigned to one"
    return exclude("T8", Reason.DUAL_PROGRAM, ALWAYS, says)


def t8_no_tag(entry: Entry, _: Scene) -> Cut | None:
    if entry.program is not None:
        return None
    return doubt("T8", (UNKNOWN,), ALWAYS, "the program is not known")


def t8_another_program(entry: Entry, _: Scene) -> Cut | None:
    """Minutes of a program whose codes are not decided here: they stand in the log, and claim their seconds."""
    program = program_of(entry)
    if program is None or program in PROGRAMS:
        return None
    says = f"was logged for {program}, which is not decided here"
    return remark("T8", Reason.NOT_CARE_MANAGEMENT, ALWAYS, says)


def t9_face_to_face(entry: Entry, scene: Scene) -> Cut | None:
    """Visits are not care-management time; staff in person only where attested as separate from a visit."""
    work = scene.rules.work
    if (entry.activity or "").lower() in work.visit_activities:
        return exclude("T9", Reason.VISIT_TIME, ALWAYS, "is part of a visit")
    if (entry.contact or "").lower() not in work.face_to_face:
        return None
    if (entry.credential or "").strip().upper() in scene.rules.people.practitioners:
        return exclude("T9", Reason.VISIT_TIME, ALWAYS, "is face to face with the practitioner")
    if program_of(entry) in CARE_PROGRAMS and not entry.separate_from_visit:
        return exclude(
            "T10", Reason.VISIT_TIME, ALWAYS, "is in person, not attested as separate from a visit"
        )
    return None


def t11_day_of_a_visit(entry: Entry, scene: Scene) -> Cut | None:
    """The day of a practitioner's visit: RPM time is out, care management waits for an attestation."""
    days = union(*(day_span(each.on, scene.zone) for each in _visits(scene) if each.on is not None))
    if not days:
        return None
    if program_of(entry) == "RPM":
        return exclude("T11", Reason.E_M_DAY, days, "is on the day of a visit")
    if entry.separate_from_visit:
        return None
    return doubt("T11", (Reason.E_M_DAY,), days, "is on the day of a visit, not attested as separate")


def t11_visit_without_a_day(entry: Entry, scene: Scene) -> Cut | None:
    """A visit of which only the month is known is worth a look: the entry may lie on its day."""
    undated = [each for each in _visits(scene) if each.on is None and each.month in (scene.month, None)]
    if not undated or entry.separate_from_visit:
        return None
    return remark("T11", Reason.E_M_DAY, ALWAYS, "may be on the day of a visit, which is not on record")


def _visits(scene: Scene) -> list[Service]:
    """Visits that this practice billed, or may have billed."""
    return [
        service
        for service in scene.facts.other_services or ()
        if service.by != Billed.OTHER_PRACTICE and among(service.code, scene.rules.work.visit_codes)
    ]


def t13_not_care_management(entry: Entry, scene: Scene) -> Cut | None:
    """Prior authorization, the obtaining of consent, G0506 work."""
    if (entry.activity or "").lower() not in scene.rules.work.other_activities:
        return None
    return exclude("T13", Reason.NOT_CARE_MANAGEMENT, ALWAYS, "is not monthly care-management time")


def t14_automated(entry: Entry, scene: Scene) -> Cut | None:
    kinds = {(entry.source or "").lower(), (entry.activity or "").lower()}
    if not kinds & scene.rules.work.automated_sources:
        return None
    return exclude("T14", Reason.AUTOMATED, ALWAYS, "was not a person's work")


# How it was recorded -----------------------------------------------------------------------------------------


def t20_replaced(entry: Entry, scene: Scene) -> Cut | None:
    """A voided or corrected entry stays in the log and counts no more."""
    replaced = {other.corrects for other in scene.facts.entries or () if other.corrects is not None}
    if not entry.voided and entry.id not in replaced:
        return None
    return exclude("T20", Reason.VOIDED, ALWAYS, "was voided or corrected")


def t20_late(entry: Entry, scene: Scene) -> Cut | None:
    """Late is worth a look; later than the claim is a person's decision."""
    if entry.recorded_at is None:
        return None
    claimed = scene.facts.claimed_at
    if claimed is not None and entry.recorded_at > claimed:
        return doubt("T20", (Reason.LATE_ENTRY,), ALWAYS, "was recorded after the claim")
    done = None if entry.start is None else second_of(entry.start) + (entry.seconds or 0)
    latest = scene.seconds[-1][1]
    if done is not None:
        latest = min(latest, done + scene.rules.gates.late_entry_days * DAY)
    if second_of(entry.recorded_at) <= latest:
        return None
    return remark("T20", Reason.LATE_ENTRY, ALWAYS, "was recorded late")


def t21_unknown_length(entry: Entry, _: Scene) -> Cut | None:
    if entry.seconds is not None:
        return None
    return doubt("T21", (Reason.INCOMPLETE_ENTRY, UNKNOWN), ALWAYS, "how long it took is not known")


TIME_RULES: tuple[Callable[[Entry, Scene], Cut | None], ...] = (
    t19_two_calendars,
    as_of_after,
    t4_clinical,
    c11_staff_in_the_united_states,
    c11_patient_in_the_united_states,
    c4_before_consent,
    c4_after_revocation,
    c4_after_the_patient_said_stop,
    t16_after_death,
    c12_inpatient,
    c12_stay_without_a_beginning,
    x14_hospice,
    t7_shared_with_other_patients,
    t8_two_tags,
    t8_no_tag,
    t8_another_program,
    t9_face_to_face,
    t11_day_of_a_visit,
    t11_visit_without_a_day,
    t13_not_care_management,
    t14_automated,
    t20_replaced,
    t20_late,
    t21_unknown_length,
)


def where(entry: Entry, scene: Scene) -> Spans:
    """The seconds an entry takes; without a start, those it may lie in: its day, or the month."""
    if entry.start is not None:
        start = second_of(entry.start)
        return span(start, start + (LONGEST_ENTRY if entry.seconds is None else entry.seconds))
    return scene.seconds if entry.on is None else day_span(entry.on, scene.zone)


def cuts_of(entry: Entry, scene: Scene) -> tuple[Spans, list[Cut]]:
    """An entry's seconds that may belong to this month, and what every rule says of them."""
    elsewhere = t17_other_month(entry, scene)
    whole = where(entry, scene)
    here = without(whole, elsewhere.spans)
    said = [elsewhere] if here != whole else []
    for rule in TIME_RULES:
        cut = rule(entry, scene)
        if cut is not None and common(here, cut.spans):
            said.append(cut)
    return here, said
