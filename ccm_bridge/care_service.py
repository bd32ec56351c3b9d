"""Enrolment's use cases: eligibility in versions, consent and its end, the plan drafted, signed and handed out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID, uuid4, uuid5
from zoneinfo import ZoneInfo

from ccm_bridge import (
    attestation_store,
    careplan,
    consent_store,
    enrolment_store,
    month_store,
    plan_store,
    store,
    tasks,
)
from ccm_bridge.care_form import PRACTITIONERS_ALONE, Candidates
from ccm_bridge.careplan import Content, Plan
from ccm_bridge.enrolment import PRACTITIONERS, Consent, Enrolment, Program, candidate, consent_of
from ccm_bridge.month import Circumstance
from ccm_bridge.service import Refused, Who, by
from ccm_bridge.store import Connection

ENROLLING = frozenset({"nurse", "coordinator", "physician", "admin"})
DRAFTING = frozenset({"nurse", "coordinator", "physician"})


def _allowed(who: Who, roles: frozenset[str], what: str) -> Refused | None:
    if who.role in roles:
        return None
    words = " or ".join(sorted(roles))
    return Refused(status=403, sentence=f"{what} is for {words}; you are signed in as {who.role}.")


def next_step(enrolled: Enrolment | None, consents: tuple[Consent, ...], plan: Plan | None) -> str:
    """The one thing to do next before this patient's minutes can count; empty when everything stands."""
    if enrolled is None or not enrolled.conditions:
        return "Record the problem list"
    if enrolled.state in ("declined", "ended"):
        return ""
    wanted = enrolled.programs or frozenset({Program.CCM})
    missing = [program for program in sorted(wanted) if consent_of(consents, program) is None]
    steps: list[tuple[bool, str]] = [
        (
            Program.CCM in wanted and not candidate(enrolled.conditions)[0],
            "One condition: look at principal care",
        ),
        (enrolled.significant_risk_documented is None, "Practitioner states the significant risk"),
        (enrolled.payer is None, "Check the payer"),
        (enrolled.initiating_visit is None, "Record the initiating visit"),
        (bool(missing), f"Ask for consent: {', '.join(missing)}"),
        (enrolled.state != "enrolled", "Enrol"),
        (plan is None, "Write the care plan"),
        (plan is not None and plan.signed_at is None, "Practitioner signs the plan"),
        (plan is not None and plan.copy_given_at is None, "Give the patient a copy of the plan"),
        (Program.RPM in wanted and enrolled.rpm_ordered is not True, "Practitioner orders the monitoring"),
        (Program.RPM in wanted and enrolled.rpm_setup_on is None, "Set up the device"),
    ]
    return next((words for open_, words in steps if open_), "")


async def save(
    conn: Connection, who: Who, enrolment_id: UUID, said: Enrolment, *, why: str, now: datetime
) -> Refused | None:
    """Write the next version of what is known. Written once; a version that somebody else wrote first is shown."""
    if refused := _allowed(who, ENROLLING, "Enrolment"):
        return refused
    if not why.strip():
        return Refused(status=422, sentence="Say in a few words what changed.")
    before = (await enrolment_store.enrolments(conn, [said.patient_id])).get(said.patient_id)
    newly = said.significant_risk_documented and not (before and before.significant_risk_documented)
    if newly and (who.credential or "").upper() not in PRACTITIONERS:
        sentence = "The significant risk is the practitioner's statement: they confirm it here."
        return Refused(status=403, sentence=sentence)
    if await enrolment_store.add_enrolment(conn, enrolment_id, said, why=why.strip(), by=by(who, now)):
        return None
    if await enrolment_store.enrolment_exists(conn, enrolment_id):
        return None  # the same request again
    return Refused(
        status=409, sentence="Somebody changed this enrolment meanwhile. Look at it again, then save."
    )


async def consent(
    conn: Connection, who: Who, patient_id: UUID, said: Consent, *, now: datetime
) -> Refused | None:
    if refused := _allowed(who, ENROLLING, "Consent"):
        return refused
    await consent_store.add_consent(conn, patient_id, said, by=by(who, now))
    return None


async def revoke(
    conn: Connection, who: Who, patient_id: UUID, consent_id: UUID, *, reason: str, now: datetime
) -> Refused | None:
    """The patient's word now; effective at the end of this calendar month."""
    if refused := _allowed(who, ENROLLING, "Consent"):
        return refused
    if not reason.strip():
        return Refused(status=422, sentence="Write down what the patient said.")
    given = (await consent_store.consents(conn, [patient_id])).get(patient_id, ())
    if consent_id not in {one.consent_id for one in given}:
        return Refused(status=404, sentence="There is no such consent here.")
    await consent_store.revoke(conn, consent_id, revoked_at=now, reason=reason.strip(), by=by(who, now))
    return None


async def draft(
    conn: Connection,
    who: Who,
    plan_id: UUID,
    patient_id: UUID,
    *,
    version: int,
    content: Content,
    review_on: date,
    now: datetime,
) -> Refused | None:
    """A new version of the plan. Nurses draft and revise; the practitioner's signature puts it in force."""
    if refused := _allowed(who, DRAFTING, "The care plan"):
        return refused
    if await plan_store.add_plan(
        conn, plan_id, patient_id, version=version, content=content, review_on=review_on, by=by(who, now)
    ):
        return None
    if any(one.plan_id == plan_id for one in await plan_store.versions(conn, patient_id)):
        return None
    return Refused(status=409, sentence="Somebody wrote a newer version meanwhile. Look at it first.")


async def sign(
    conn: Connection, who: Who, patient_id: UUID, plan_id: UUID, *, now: datetime
) -> Refused | None:
    if refused := _allowed(who, frozenset({"physician"}), "Signing"):
        return refused
    if (who.credential or "").upper() not in PRACTITIONERS:
        return Refused(status=403, sentence="A plan is signed by the billing practitioner.")
    if plan_id not in {one.plan_id for one in await plan_store.versions(conn, patient_id)}:
        return Refused(status=404, sentence="There is no such plan here.")
    await plan_store.sign_plan(conn, plan_id, by=by(who, now))
    return None


async def hand_out(
    conn: Connection,
    who: Who,
    patient_id: UUID,
    plan_id: UUID,
    copy_id: UUID,
    *,
    to: str,
    how: str,
    now: datetime,
) -> Refused | None:
    if refused := _allowed(who, DRAFTING, "Giving a copy"):
        return refused
    if not to.strip() or not how.strip():
        return Refused(status=422, sentence="Say who got the copy, and how.")
    found = {one.plan_id: one for one in await plan_store.versions(conn, patient_id)}.get(plan_id)
    if found is None:
        return Refused(status=404, sentence="There is no such plan here.")
    if found.signed_at is None:
        return Refused(status=409, sentence="The plan is not signed yet: give the copy of a signed plan.")
    await plan_store.give_copy(conn, copy_id, plan_id, to=to.strip(), how=how.strip(), by=by(who, now))
    return None


async def note(
    conn: Connection, who: Who, patient_id: UUID, said: Circumstance, *, now: datetime
) -> Refused | None:
    if refused := _allowed(who, ENROLLING, "Such a fact"):
        return refused
    if said.kind in PRACTITIONERS_ALONE and (who.credential or "").upper() not in PRACTITIONERS:
        return Refused(status=403, sentence="The practitioner documents their own decision-making.")
    await month_store.add_circumstance(conn, patient_id, said, by=by(who, now))
    return None


async def withdraw(
    conn: Connection, who: Who, patient_id: UUID, circumstance_id: UUID, *, why: str, now: datetime
) -> Refused | None:
    """Said in error: the earlier row stays, and no longer holds."""
    if refused := _allowed(who, ENROLLING, "Such a fact"):
        return refused
    if not why.strip():
        return Refused(status=422, sentence="Say why it was wrong.")
    standing = (await month_store.circumstances(conn, [patient_id])).get(patient_id, ())
    wrong = next((one for one in standing if one.circumstance_id == circumstance_id), None)
    if wrong is None:
        return Refused(status=404, sentence="There is no such fact here.")
    undone = replace(
        wrong, circumstance_id=uuid4(), note=why.strip(), recorded_by_name=who.name, recorded_at=now
    )
    await month_store.add_circumstance(conn, patient_id, undone, by=by(who, now), withdraws=circumstance_id)
    return None


ATTESTING = frozenset({"physician", "admin"})


async def attest(
    conn: Connection,
    who: Who,
    attestation_id: UUID,
    *,
    kind: str,
    holds: bool,
    from_day: date,
    statement: str,
    today: date,
    now: datetime,
) -> Refused | None:
    """What the practice attests from a day on; a day to come is a promise and no attestation."""
    if refused := _allowed(who, ATTESTING, "An attestation"):
        return refused
    if from_day > today:
        return Refused(status=422, sentence="Attest what holds today: this day has not come.")
    await attestation_store.attest(
        conn,
        attestation_id,
        kind=kind,
        holds=holds,
        from_day=from_day,
        statement=statement.strip(),
        by=by(who, now),
    )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import made of a problem list."""

    candidates: int
    changed: int
    unknown: tuple[str, ...]  # record numbers that are nobody's here
    wrong: tuple[str, ...]


async def take_in(
    conn: Connection, who: Who, said: Candidates, patients: Mapping[str, UUID], *, now: datetime
) -> Imported | Refused:
    """Problem lists become candidates, or the next version of what is known. It enrols nobody."""
    if refused := _allowed(who, ENROLLING, "The import"):
        return refused
    known = await enrolment_store.enrolments(conn, list(patients.values()))
    candidates = changed = 0
    for mrn, listed in said.by_mrn.items():
        patient_id = patients.get(mrn)
        if patient_id is None:
            continue
        before = known.get(patient_id)
        if before is not None and set(before.conditions) == set(listed):
            continue
        after = (
            replace(before, version=before.version + 1, conditions=listed)
            if before
            else Enrolment(
                patient_id=patient_id, version=1, state="candidate", programs=frozenset(), conditions=listed
            )
        )
        await enrolment_store.add_enrolment(
            conn, uuid4(), after, why="problem list imported", by=by(who, now)
        )
        changed += 1
        candidates += candidate(listed)[0]
    return Imported(
        candidates=candidates,
        changed=changed,
        unknown=tuple(mrn for mrn in said.by_mrn if mrn not in patients),
        wrong=tuple(said.wrong),
    )


async def make_months_work(conn: Connection, who: Who, *, month: date, now: datetime) -> int | Refused:
    """Tasks that the plans of everybody enrolled ask for this month; made once, however often it is asked for."""
    if refused := _allowed(who, DRAFTING, "The month's work"):
        return refused
    known = await enrolment_store.enrolments(conn)
    enrolled = [patient for patient, one in known.items() if one.state == "enrolled"]
    made = 0
    for patient, plan in (await plan_store.plans(conn, enrolled, before=now)).items():
        for ask in careplan.asks(plan, month=month):
            due = datetime(ask.due.year, ask.due.month, ask.due.day, 17, tzinfo=ZoneInfo(who.zone))
            made += await store.add_task(
                conn,
                uuid5(patient, f"{month:%Y-%m} {ask.key}"),
                patient_id=patient,
                kind="monthly",
                title=ask.title,
                reason=ask.reason,
                severity="watch",
                items=tasks.checklist(""),
                due_at=due,
                by=by(who, now),
            )
    return made
