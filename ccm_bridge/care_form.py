"""What enrolment, consent and plan forms say, read into the room's words; what is wrong is a sentence. Pure."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from ccm_bridge.careplan import WATCHES, Content, Medicine, Problem, Step
from ccm_bridge.enrolment import CHRONIC_MONTHS, Condition, Consent, Enrolment, Method, Program, Told
from ccm_bridge.month import Circumstance

Form = Mapping[str, str]
ROWS = 8
"""Rows of a repeated part of a form: more problems than that are for the record system."""

ICD10 = re.compile(r"[A-TV-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")
CODE = re.compile(r"[0-9A-Z][0-9]{3}[0-9A-Z]|[A-Z][0-9]{4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A form that cannot be taken as it is, and why."""

    sentence: str


def day(text: str) -> date | None:
    """A `date` field.

    >>> day("2026-11-03"), day("03.11.2026")
    (datetime.date(2026, 11, 3), None)
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def three(text: str) -> bool | None:
    """Yes, no, or nobody has said.

    >>> three("yes"), three("no"), three("")
    (True, False, None)
    """
    return {"yes": True, "no": False}.get(text)


def conditions(form: Form) -> tuple[Condition, ...] | Wrong:
    """The problem list's rows: code, name, how long it is expected to last."""
    found = []
    for row in range(ROWS):
        code, name = form.get(f"icd10_{row}", "").upper(), form.get(f"condition_{row}", "")
        if not code and not name:
            continue
        if not ICD10.fullmatch(code):
            return Wrong(sentence=f"{code or name!r} is not an ICD-10-CM code, like I10 or E11.9.")
        if not name:
            return Wrong(sentence=f"Name the condition {code} in words.")
        months = form.get(f"months_{row}", "")
        if not months.isascii() or not months.isdigit() or not 1 <= int(months) <= 999:  # noqa: PLR2004
            return Wrong(
                sentence=f"Say for how many months {name} is expected to last; {CHRONIC_MONTHS} or more is chronic."
            )
        found.append(Condition(icd10=code, name=name, chronic_months=int(months)))
    return tuple(found)


def enrolment(form: Form, *, patient_id: UUID, version: int) -> Enrolment | Wrong:
    """The eligibility form. What is left empty is unknown, and the month holds on it."""
    listed = conditions(form)
    if isinstance(listed, Wrong):
        return listed
    programs = frozenset(program for program in Program if form.get(f"program_{program}") == "yes")
    state = form.get("state", "")
    if state not in ("candidate", "enrolled", "declined", "ended"):
        return Wrong(sentence="Say whether the patient is a candidate, enrolled, declined or has ended.")
    if state == "enrolled" and not programs:
        return Wrong(sentence="Choose at least one programme to enrol in.")
    if {Program.CCM, Program.PCM} <= programs:
        return Wrong(sentence="Chronic and principal care management exclude each other: choose one.")
    since = day(form.get("since", ""))
    if state == "enrolled" and since is None:
        return Wrong(sentence="Say since when the patient is enrolled.")
    return Enrolment(
        patient_id=patient_id,
        version=version,
        state=state,
        programs=programs,
        since=since,
        conditions=listed,
        significant_risk_documented=three(form.get("risk", "")),
        payer=form.get("payer", "") or None,
        payer_checked_on=day(form.get("payer_checked_on", "")),
        initiating_visit=day(form.get("initiating_visit", "")),
        practitioner_name=form.get("practitioner", "") or None,
        care_manager_name=form.get("care_manager", "") or None,
        rpm_ordered=three(form.get("rpm_ordered", "")),
        rpm_device_fda_defined=three(form.get("rpm_device", "")),
        rpm_auto_upload=three(form.get("rpm_upload", "")),
        rpm_setup_on=day(form.get("rpm_setup_on", "")),
    )


def consent(  # noqa: PLR0911 - each refusal is its own sentence
    form: Form, *, consent_id: UUID, zone: str, explained_by: str, now: datetime
) -> Consent | Wrong:
    """The consent form: every notice explained, or it is not consent; a refusal needs none of it."""
    if form.get("program") not in set(Program):
        return Wrong(sentence="Choose the programme the patient speaks about.")
    if form.get("method") not in set(Method):
        return Wrong(sentence="Say whether the patient spoke or wrote.")
    accepted = three(form.get("accepted", ""))
    if accepted is None:
        return Wrong(sentence="Say whether the patient accepted or declined.")
    said = frozenset(told for told in Told if form.get(f"told_{told}") == "yes")
    if accepted and len(said) < len(Told):
        return Wrong(sentence="Consent needs all four things explained. Explain the missing ones first.")
    try:
        at = datetime.fromisoformat(form.get("given_at", "")).replace(tzinfo=ZoneInfo(zone))
    except ValueError:
        return Wrong(sentence="Say when, as date and time.")
    if at > now:
        return Wrong(sentence="This time has not come yet.")
    if not form.get("given_by"):
        return Wrong(sentence="Say who spoke: the patient, or who speaks for them and why.")
    return Consent(
        consent_id=consent_id,
        program=Program(form["program"]),
        accepted=accepted,
        given_at=at.astimezone(ZoneInfo("UTC")),
        method=Method(form["method"]),
        explained=said,
        language=form.get("language", "") or "English",
        given_by=form["given_by"],
        explained_by_name=explained_by,
    )


Pair = tuple[int, int]


def goal_numbers(form: Form, row: int, name: str) -> tuple[str, Pair | None, Pair | None, int | None] | Wrong:
    """The goal as numbers, linked to the readings that follow it, and on how many days a week they are asked for."""
    watch, days = form.get(f"watch_{row}", ""), form.get(f"days_{row}", "")
    if watch and watch not in WATCHES:
        return Wrong(sentence=f"Choose what {name} is followed by.")
    if days and (days not in "1234567" or len(days) != 1):
        return Wrong(sentence=f"{name}: measure on one to seven days a week.")
    found = re.findall(r"[0-9]+", form.get(f"numbers_{row}", ""))
    if form.get(f"numbers_{row}") and (len(found) != 2 or any(len(each) > 3 for each in found)):  # noqa: PLR2004
        return Wrong(sentence=f"{name}: write the goal's numbers like 130/80, or 80-130 for glucose.")
    if found and not watch:
        return Wrong(sentence=f"{name}: say which readings the numbers {'/'.join(found)} are of.")
    pair = (int(found[0]), int(found[1])) if found else None
    ordered = pair is None or (pair[0] > pair[1]) == (watch == "bp")
    if not ordered:
        return Wrong(sentence=f"{name}: pressures are written 130/80, a glucose range 80-130.")
    return (
        watch,
        pair if watch == "bp" else None,
        pair if watch == "glucose" else None,
        int(days) if days else None,
    )


def plan(form: Form) -> Content | Wrong:
    """The plan form. A problem has a name, a code, an outcome and a goal that can be measured."""
    problems = []
    for row in range(ROWS):
        name, code = form.get(f"problem_{row}", ""), form.get(f"problem_icd10_{row}", "").upper()
        if not name and not code:
            continue
        if not name or not ICD10.fullmatch(code):
            return Wrong(sentence=f"{name or code!r} needs a name and an ICD-10-CM code.")
        goal, outcome = form.get(f"goal_{row}", ""), form.get(f"outcome_{row}", "")
        if not goal or not outcome:
            return Wrong(sentence=f"{name} needs an expected outcome and a goal that can be measured.")
        numbers = goal_numbers(form, row, name)
        if isinstance(numbers, Wrong):
            return numbers
        watch, below, between, days = numbers
        problems.append(
            Problem(
                name=name,
                icd10=code,
                outcome=outcome,
                goal=goal,
                measured_by=form.get(f"measured_by_{row}", ""),
                symptoms=form.get(f"symptoms_{row}", ""),
                watch=watch,
                below=below,
                between=between,
                days_a_week=days,
            )
        )
    if not problems:
        return Wrong(sentence="A plan has at least one problem.")
    return Content(
        problems=tuple(problems),
        medicines=tuple(
            Medicine(
                name=form[f"medicine_{row}"],
                dose=form.get(f"dose_{row}", ""),
                purpose=form.get(f"purpose_{row}", ""),
            )
            for row in range(ROWS)
            if form.get(f"medicine_{row}")
        ),
        allergies=form.get("allergies", ""),
        reconciled_on=day(form.get("reconciled_on", "")),
        interventions=tuple(
            Step(
                what=form[f"step_{row}"],
                who=form.get(f"step_who_{row}", ""),
                when=form.get(f"step_when_{row}", ""),
            )
            for row in range(ROWS)
            if form.get(f"step_{row}")
        ),
        function=form.get("function", ""),
        surroundings=form.get("surroundings", ""),
        caregivers=form.get("caregivers", ""),
        community=form.get("community", ""),
        preferences=form.get("preferences", ""),
    )


KINDS = {
    "other_service": "Another service was billed",
    "stay": "Hospital or nursing facility stay",
    "hospice": "Hospice elected",
    "death": "Died",
    "complex_mdm": "Moderate or high decision-making documented this month",
    "complex_elected": "Complex care management elected for this month",
}
PRACTITIONERS_ALONE = frozenset({"complex_mdm", "complex_elected"})


def circumstance(  # noqa: PLR0911 - each refusal is its own sentence
    form: Form, *, circumstance_id: UUID, zone: str, by_name: str, now: datetime
) -> Circumstance | Wrong:
    """A fact from outside the ledger: what, when, from whom it is known."""
    kind, note = form.get("kind", ""), form.get("note", "")
    if kind not in KINDS:
        return Wrong(sentence="Choose what happened.")
    if not note:
        return Wrong(sentence="Say how it is known.")
    month, start, end = (day(form.get(name, "")) for name in ("month", "from_day", "until_day"))
    if form.get("month") and month is None:
        month = day(f"{form['month']}-01")
    code, whom = form.get("code", "").upper(), form.get("by_whom", "")
    if kind == "other_service" and (not CODE.fullmatch(code) or month is None):
        return Wrong(sentence="Name the code, like G0181, and the month.")
    if kind == "other_service" and whom not in ("same_practice", "other_practice"):
        return Wrong(sentence="Say whether this practice or another billed it.")
    if kind in ("stay", "hospice", "death") and start is None:
        return Wrong(sentence="Give the day it began.")
    if kind in PRACTITIONERS_ALONE and month is None:
        return Wrong(sentence="Name the month.")
    if end is not None and start is not None and end < start:
        return Wrong(sentence="The end lies before the beginning.")
    if kind == "stay":
        code = form.get("stay", "inpatient")
    civil = ZoneInfo(zone)
    return Circumstance(
        circumstance_id=circumstance_id,
        kind=kind,
        month=month.replace(day=1) if month else None,
        from_at=datetime(start.year, start.month, start.day, tzinfo=civil) if start else None,
        until_at=datetime(end.year, end.month, end.day, tzinfo=civil) + timedelta(days=1) if end else None,
        code=code or None,
        by_whom=whom or None,
        note=note,
        recorded_by_name=by_name,
        recorded_at=now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """An imported problem list: conditions per medical record number, and the lines that could not be read."""

    by_mrn: Mapping[str, tuple[Condition, ...]]
    wrong: Sequence[str]


def problem_list(text: str) -> Candidates:
    r"""A problem list as CSV with the columns mrn, icd10, name and chronic_months (empty: twelve).

    >>> problem_list("mrn,icd10,name,chronic_months\n77,I10,Hypertension,\n77,nonsense,x,").wrong
    ('line 3: NONSENSE is not an ICD-10-CM code',)
    """
    found: dict[str, dict[str, Condition]] = {}
    wrong = []
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=None))
    try:
        columns = {(name or "").strip().lower() for name in reader.fieldnames or ()}
        if not {"mrn", "icd10", "name"} <= columns:
            return Candidates(by_mrn={}, wrong=("line 1: the columns mrn, icd10 and name are needed",))
        for row in reader:
            line = reader.line_num
            cells = {
                (key or "").strip().lower(): (value or "").strip()
                for key, value in row.items()
                if isinstance(value, str)
            }
            code, months = (
                cells.get("icd10", "").upper(),
                cells.get("chronic_months", "") or str(CHRONIC_MONTHS),
            )
            if not cells.get("mrn"):
                wrong.append(f"line {line}: no medical record number")
            elif not ICD10.fullmatch(code):
                wrong.append(f"line {line}: {code[:12] or 'nothing'} is not an ICD-10-CM code")
            elif not (months.isascii() and months.isdigit() and 1 <= int(months[:4]) <= 999):  # noqa: PLR2004
                wrong.append(f"line {line}: chronic_months is a number of months")
            else:
                known = found.setdefault(cells["mrn"], {})
                known[code] = Condition(
                    icd10=code, name=cells.get("name", "") or code, chronic_months=int(months[:4])
                )
    except csv.Error as error:
        wrong.append(f"line {reader.line_num}: {error}")
    return Candidates(by_mrn={mrn: tuple(known.values()) for mrn, known in found.items()}, wrong=tuple(wrong))
