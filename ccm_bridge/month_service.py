"""The month's use cases: decide every patient's month, look at one in full, review, sign, lock, amend; enrol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge import (
    attestation_store,
    consent_store,
    enrolment_store,
    month_store,
    plan_store,
    review_store,
)
from ccm_bridge.billing import Decision, Facts, decide
from ccm_bridge.careplan import Content
from ccm_bridge.enrolment import PRACTITIONERS, Condition, Consent, Enrolment, Method, Program, Told
from ccm_bridge.ledger import first_instant, next_month, whole_minutes
from ccm_bridge.month import (
    REPORT_WITHIN,
    Circumstance,
    DeviceDay,
    Known,
    Standing,
    Window,
    because,
    checked,
    dropped,
    facts,
    fingerprint,
    minutes_of,
    short_of,
    standing,
    windows_of,
)
from ccm_bridge.month_store import Around
from ccm_bridge.review_store import Review
from ccm_bridge.service import WORKING, Refused, Who, by
from ccm_bridge.store import By, Connection


class DeviceDays(Protocol):
    """Port: on which of their own dates patients' devices sent readings, from `since` up to and including `until`."""

    async def __call__(
        self, conn: Connection, since: Mapping[UUID, date], *, until: date
    ) -> Mapping[UUID, Sequence[DeviceDay]]: ...


NOT_LOOKED_UP = "Nobody has looked up other billers, stays and hospice for this month yet."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One patient's month, decided."""

    known: Known
    facts: Facts
    decision: Decision
    standing: Standing
    seconds: Mapping[str, int]  # per programme, as logged
    live: bool  # a live two-way contact this month
    window: Window | None  # the device window that holds today, or the month's last
    around: Around
    reviews: Sequence[Review]
    supposing: Decision | None  # what would follow if a person looked the month up and found nothing

    @property
    def minutes(self) -> dict[str, int]:
        return {program: whole_minutes(total) for program, total in self.seconds.items()}

    @property
    def stands(self) -> tuple[str, ...]:
        """Why not, in sentences. A month that nobody looked up says so once, not once per unknown fact."""
        if self.supposing is None:
            return tuple(step.says for step in because(self.decision))
        return (NOT_LOOKED_UP, *(step.says for step in because(self.supposing)))

    @property
    def short(self) -> tuple[str, ...]:
        """Further codes that the month's work does not reach."""
        return tuple(step.says for step in short_of(self.supposing or self.decision))

    @property
    def verdicts(self) -> dict[UUID, list[dict[str, Any]]]:
        """What the rules took from each entry, doubt or remark on; an entry without a verdict counts in full."""
        found: dict[UUID, list[dict[str, Any]]] = {}
        for one in (*self.decision.excluded, *self.decision.remarked):
            found.setdefault(self.known.entries[one.entry].entry_id, []).append(
                {"seconds": one.seconds, "rule": one.rule, "says": one.says, "outcome": str(one.outcome)}
            )
        return found

    @property
    def last(self) -> Review | None:
        return self.reviews[0] if self.reviews else None

    @property
    def step(self) -> str:
        return self.last.step if self.last else "open"

    @property
    def frozen(self) -> Review | None:
        """The review that froze the month: the newest lock or amendment."""
        return next((one for one in self.reviews if one.step in ("locked", "amended")), None)

    @property
    def changed(self) -> bool:
        """Whether the minutes or the codes differ from what was last reviewed."""
        last = self.last
        return last is not None and (
            last.entries_hash != fingerprint(self.known.entries)
            or codes_of(last) != dict(self.decision.codes)
        )


def codes_of(review: Review) -> dict[str, int]:
    """The codes that a review froze."""
    codes: dict[str, int] = msgspec.json.decode(review.decision)["codes"]
    return codes


async def rows(
    conn: Connection,
    *,
    zone: str,
    month: date,
    now: datetime,
    days: DeviceDays | None,
    patients: Sequence[UUID] | None = None,
) -> list[Row]:
    """Every served patient's month, decided now. A handful of queries, however many patients."""
    if patients is None:
        patients = await month_store.served(conn, month)
    known = await month_store.gather(conn, month, patients, zone=zone)
    measured = await _measured(conn, known, month, days)
    civil = ZoneInfo(zone)
    around = await month_store.around(
        conn, patients, first_instant(month, civil), first_instant(next_month(month), civil)
    )
    reviews = await review_store.reviews(conn, month, patients)
    return [
        _row(
            replace(one, device_days=measured.get(patient) if measured is not None else None),
            around[patient],
            reviews.get(patient, ()),
            now=now,
        )
        for patient, one in known.items()
    ]


async def _measured(
    conn: Connection, known: Mapping[UUID, Known], month: date, days: DeviceDays | None
) -> dict[UUID, tuple[DeviceDay, ...]] | None:
    if days is None:
        return None
    since = {
        patient: one.enrolment.rpm_setup_on or month
        for patient, one in known.items()
        if one.enrolment and Program.RPM in one.enrolment.programs
    }
    found = await days(conn, since, until=next_month(month)) if since else {}
    return {patient: tuple(found.get(patient, ())) for patient in known}


def _row(known: Known, around: Around, reviews: Sequence[Review], *, now: datetime) -> Row:
    locked = next((one.at for one in reversed(reviews) if one.step == "locked"), None)
    known = replace(known, claimed_at=locked)
    said = facts(known, as_of=now)
    decision = decide(said)
    supposing = None if checked(known) else decide(facts(known, as_of=now, supposing_checked=True))
    counted = [one for one in known.entries if not one.voided]
    today = min(now.astimezone(ZoneInfo(known.patient_zone)).date(), next_month(known.month))
    holding = [w for w in windows_of(known) if w.start <= today]
    return Row(
        known=known,
        facts=said,
        decision=decision,
        standing=standing(decision, known.entries),
        seconds=minutes_of(known.entries),
        live=any(one.interactive for one in counted),
        window=holding[-1] if holding else None,
        around=around,
        reviews=reviews,
        supposing=supposing,
    )


# Review, sign, lock, amend --------------------------------------------------------------------------------


async def check(
    conn: Connection,
    who: Who,
    circumstance_id: UUID,
    *,
    patient_id: UUID,
    month: date,
    note: str,
    now: datetime,
) -> Refused | None:
    """A person looked for other billers, stays, hospice and death in this month, and recorded what there was."""
    if who.role not in WORKING:
        return Refused(
            status=403, sentence=f"The month is checked by the care team; you are signed in as {who.role}."
        )
    await month_store.add_circumstance(
        conn,
        patient_id,
        Circumstance(
            circumstance_id=circumstance_id,
            kind="month_checked",
            month=month,
            from_at=None,
            until_at=None,
            code=None,
            by_whom=None,
            note=note.strip() or "Checked: nothing else found.",
            recorded_by_name=who.name,
            recorded_at=now,
        ),
        by=by(who, now),
    )
    return None


STEP_ROLES = {
    "reviewed": frozenset({"coordinator", "physician"}),  # not the nurses whose minutes it is made of
    "signed": frozenset({"physician"}),
    "locked": frozenset({"physician", "admin"}),
    "amended": frozenset({"physician"}),
}
BEFORE = {
    "reviewed": {"open", "reviewed", "signed"},
    "signed": {"reviewed"},
    "locked": {"signed"},
    "amended": {"locked", "amended"},
}


async def set_step(
    conn: Connection,
    who: Who,
    review_id: UUID,
    row: Row,
    *,
    step: str,
    note: str,
    now: datetime,
) -> Review | Refused:
    """Freeze what a person saw of a month: reviewed, then signed, then locked; a locked month is only amended.

    Signing and locking take what was reviewed: if minutes or codes changed since, it must be reviewed again.
    """
    if any(one.review_id == review_id for one in row.reviews):
        return next(one for one in row.reviews if one.review_id == review_id)
    if refused := _may_step(who, row, step, note, now=now):
        return refused
    said = Review(
        review_id=review_id,
        patient_id=row.known.patient_id,
        month=row.known.month,
        version=(row.last.version if row.last else 0) + 1,
        step=step,
        facts=msgspec.json.encode(row.facts, order="sorted").decode(),
        decision=msgspec.json.encode(row.decision, order="sorted").decode(),
        entries=[one.entry_id for one in row.known.entries],
        entries_hash=fingerprint(row.known.entries),
        rule_set=row.decision.rule_set or "",
        price_set=row.decision.price_set or "",
        note=note.strip(),
        by_staff=who.staff_id,
        by_name=who.name,
        at=now,
    )
    if not await review_store.add_review(conn, said, practice_id=who.practice_id):
        return Refused(status=409, sentence="Somebody else moved this month meanwhile. Look again.")
    if step == "amended" and row.frozen is not None:
        lost = dropped(codes_of(row.frozen), row.decision.codes)
        if lost:
            report_by = now.astimezone(ZoneInfo(row.known.zone)).date() + REPORT_WITHIN
            await review_store.add_overpayment(
                conn,
                said,
                before=codes_of(row.frozen),
                after=dict(row.decision.codes),
                report_by=report_by,
                practice_id=who.practice_id,
            )
    return said


def _may_step(who: Who, row: Row, step: str, note: str, *, now: datetime) -> Refused | None:  # noqa: PLR0911
    if step not in STEP_ROLES:
        return Refused(status=422, sentence="A month is reviewed, signed, locked or amended.")
    if who.role not in STEP_ROLES[step]:
        roles = " or ".join(sorted(STEP_ROLES[step]))
        return Refused(
            status=403, sentence=f"A month is {step} by a {roles}; you are signed in as {who.role}."
        )
    if step == "signed" and (who.credential or "").upper() not in PRACTITIONERS:
        return Refused(status=403, sentence="The month is signed by the billing practitioner.")
    if row.step not in BEFORE[step]:
        return Refused(status=409, sentence=f"This month is {row.step}: it cannot be {step} now.")
    if step in ("signed", "locked") and row.changed:
        return Refused(
            status=409, sentence="Minutes or codes changed since the review. Review the month again."
        )
    if step == "locked" and now < first_instant(next_month(row.known.month), ZoneInfo(row.known.zone)):
        return Refused(status=409, sentence="The month is not over. It is locked when it has ended.")
    if step == "amended" and not note.strip():
        return Refused(status=422, sentence="Say why the locked month is amended.")
    return None


# Enrolment, in one motion ---------------------------------------------------------------------------------


async def enrol(
    conn: Connection,
    *,
    practice_id: int,
    patient_id: UUID,
    nurse: tuple[UUID, str],
    practitioner: tuple[UUID, str],
    programs: frozenset[Program],
    conditions: Sequence[Condition],
    plan: Content,
    visit: date,
    consent_at: datetime,
    plan_at: datetime,
    payer: str = "original_medicare",
    language: str = "English",
    method: Method = Method.VERBAL,
) -> None:
    """Everything that must stand before a minute counts: eligibility, consent to each programme, a signed plan, a copy.

    For demonstrations, imports and tests. Ids follow from the patient, so enrolling twice enrols once. The initiating
    visit precedes the consent, the consent precedes the plan.
    """
    if not visit <= consent_at.date() <= plan_at.date():
        raise ValueError(f"enrolment of {patient_id}: visit, consent and plan must follow each other")
    at_consent = By(practice_id=practice_id, staff_id=nurse[0], name=nurse[1], at=consent_at)
    at_plan = By(practice_id=practice_id, staff_id=nurse[0], name=nurse[1], at=plan_at)
    signs = By(practice_id=practice_id, staff_id=practitioner[0], name=practitioner[1], at=plan_at)
    for program in sorted(programs):
        await consent_store.add_consent(
            conn,
            patient_id,
            Consent(
                consent_id=uuid5(patient_id, f"consent {program}"),
                program=program,
                accepted=True,
                given_at=consent_at,
                method=method,
                explained=frozenset(Told),
                language=language,
                given_by="the patient",
                explained_by_name=nurse[1],
            ),
            by=at_consent,
        )
    rpm = Program.RPM in programs
    await enrolment_store.add_enrolment(
        conn,
        uuid5(patient_id, "enrolment 1"),
        Enrolment(
            patient_id=patient_id,
            version=1,
            state="enrolled",
            programs=programs,
            since=consent_at.date(),
            conditions=tuple(conditions),
            significant_risk_documented=True,
            payer=payer,
            payer_checked_on=visit,
            initiating_visit=visit,
            practitioner_name=practitioner[1],
            care_manager_name=nurse[1],
            rpm_ordered=True if rpm else None,
            rpm_device_fda_defined=True if rpm else None,
            rpm_auto_upload=True if rpm else None,
            rpm_setup_on=consent_at.date() if rpm else None,
        ),
        why="enrolled",
        by=at_consent,
    )
    plan_id = uuid5(patient_id, "plan 1")
    await plan_store.add_plan(
        conn,
        plan_id,
        patient_id,
        version=1,
        content=plan,
        review_on=a_year_after(plan_at.date()),
        by=at_plan,
    )
    await plan_store.sign_plan(conn, plan_id, by=signs)
    await plan_store.give_copy(
        conn, uuid5(patient_id, "copy 1"), plan_id, to="the patient", how="printed, large type", by=at_plan
    )


async def attest_practice(
    conn: Connection, *, practice_id: int, staff: tuple[UUID, str], from_day: date, now: datetime
) -> None:
    """The practice's two standing attestations; once, however often it is asked for."""
    said = By(practice_id=practice_id, staff_id=staff[0], name=staff[1], at=now)
    for kind, statement in (
        ("access_24_7", "Patients reach a clinician with access to their plan day and night."),
        (
            "certified_ehr",
            "Demographics, problems, medicines and allergies are kept in certified technology.",
        ),
    ):
        await attestation_store.attest(
            conn,
            uuid5(staff[0], f"{kind} {from_day}"),
            kind=kind,
            holds=True,
            from_day=from_day,
            statement=statement,
            by=said,
        )


def a_year_after(day: date) -> date:
    """When a plan is to be reviewed, unless somebody says sooner."""
    return day.replace(year=day.year + 1, day=min(day.day, 28))


def frozen_decision(review: Review) -> dict[str, Any]:
    """The decision that a review froze, as data."""
    decision: dict[str, Any] = msgspec.json.decode(review.decision)
    return decision
