"""Who is around a patient, and what the practice attests: the two short forms, read into the room's words. Pure."""

from datetime import date

from ccm_bridge.care_form import Form, Wrong, day, three
from ccm_bridge.enrolment import BARRIER_WORDS, CONTACT_WORDS, Caregiver, Profile, Provider

PEOPLE = 5
"""Rows of each list: caregivers, other practitioners."""

ATTESTED = {
    "access_24_7": "Patients reach a clinician who has their care plan, day and night",
    "certified_ehr": "Demographics, problems, medicines and allergies are kept in certified technology",
}


def profile(form: Form) -> Profile | Wrong:
    """A caregiver is told something only where the form says how the patient allowed it."""
    caregivers = []
    for row in range(PEOPLE):
        name = form.get(f"caregiver_{row}", "")
        rest = [form.get(f"{field}_{row}", "") for field in ("relation", "caregiver_phone", "permission")]
        if not name:
            if any(rest):
                return Wrong(sentence="Name the caregiver.")
            continue
        caregivers.append(Caregiver(name=name, relation=rest[0], phone=rest[1], permission=rest[2]))
    providers = [
        Provider(
            name=form[f"provider_{row}"],
            role=form.get(f"provider_role_{row}", ""),
            phone=form.get(f"provider_phone_{row}", ""),
        )
        for row in range(PEOPLE)
        if form.get(f"provider_{row}")
    ]
    contact = form.get("contact", "")
    if contact and contact not in CONTACT_WORDS:
        return Wrong(sentence="Choose how the patient likes to be reached.")
    return Profile(
        caregivers=tuple(caregivers),
        providers=tuple(providers),
        language=form.get("language", ""),
        contact=contact,
        best_time=form.get("best_time", ""),
        barriers=tuple(key for key in BARRIER_WORDS if form.get(f"barrier_{key}") == "yes"),
        barrier_note=form.get("barrier_note", ""),
    )


def attestation(form: Form) -> tuple[str, bool, date, str] | Wrong:
    """What is attested, whether it holds, from which day, in which words."""
    kind, holds, since = form.get("kind", ""), three(form.get("holds", "")), day(form.get("from_day", ""))
    if kind not in ATTESTED:
        return Wrong(sentence="Choose what the practice attests.")
    if holds is None:
        return Wrong(sentence="Say whether it holds or no longer holds.")
    if since is None:
        return Wrong(sentence="Say from which day.")
    if not form.get("statement"):
        return Wrong(sentence="Write how it is done: who answers, by which number, with which record.")
    return kind, holds, since, form["statement"]
