"""What patients read: the copy of the plan and the letter, to them and to whom they allowed to know; and its reading level."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccm_bridge import large_print
from ccm_bridge.careplan import Content, Medicine, Plan, Problem, Step
from ccm_bridge.enrolment import Caregiver, Enrolment, Profile
from ccm_bridge.plain import EMERGENCY, Told, grade, letter, plan_copy

ZONE = ZoneInfo("America/New_York")
AT = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)
DAUGHTER = Caregiver(name="Lucia Gomez", relation="daughter", permission="by telephone, 3 November 2026")
CONTENT = Content(
    problems=(
        Problem(
            name="High blood pressure",
            icd10="I10",
            outcome="fewer high mornings",
            goal="mornings below 130 over 80",
            measured_by="your cuff, before breakfast",
            symptoms="call us the same day if your feet swell",
            watch="bp",
            below=(130, 80),
            days_a_week=7,
        ),
    ),
    medicines=(Medicine(name="Lisinopril", dose="20 mg each morning", purpose="blood pressure"),),
    interventions=(Step(what="Call about your readings", who="Ana", when="every week"),),
    preferences="You want to stay at home",
)
PLAN = Plan(
    plan_id=uuid4(), patient_id=uuid4(), version=2, content=CONTENT, review_on=date(2027, 11, 3), drafted_by_name="Ana",
    drafted_at=AT, signed_by_name="Dora Patel", signed_at=AT,
)  # fmt: skip
ENROLLED = Enrolment(
    patient_id=PLAN.patient_id, version=1, state="enrolled", programs=frozenset(), care_manager_name="Ana Ruiz",
    practitioner_name="Dora Patel", profile=Profile(caregivers=(DAUGHTER,)),
)  # fmt: skip
TOLD = Told(
    month=date(2026, 11, 1), measured_days=12, pressure=(148, 84, 24), glucose=None,
    talks=[{"start": AT, "staff_name": "Ana Ruiz", "contact_with": "the patient"}, {"start": AT, "staff_name": "Dora Patel", "contact_with": "Dr. Lund"}],
    outcomes=["The pharmacy brings the tablets today"], plan=PLAN, changed=["Furosemide 20 mg for swelling"],
)  # fmt: skip


def words_of(sheet):
    return "\n".join(block.text for block in sheet.blocks)


def test_the_copy_says_the_goal_how_often_to_measure_and_whom_to_call():
    sheet = plan_copy(PLAN, ENROLLED, name="Maria Gomez", practice="Elm Street", zone=ZONE)
    words = words_of(sheet)
    assert (
        "Your goal is: mornings below 130 over 80. You measure: your cuff, before breakfast. Measure every day."
        in words
    )
    assert "Call Ana Ruiz at Elm Street, day or night." in words
    assert EMERGENCY in words
    assert "signed by Dora Patel on November 3, 2026" in sheet.under


def test_the_letter_speaks_to_the_patient_and_about_the_patient_to_the_daughter():
    to_her = letter(TOLD, ENROLLED, name="Maria Gomez", practice="Elm Street", zone=ZONE)
    to_daughter = letter(TOLD, ENROLLED, name="Maria Gomez", practice="Elm Street", zone=ZONE, to=DAUGHTER)
    assert "Dear Maria," in words_of(to_her)
    assert "You measured on 12 days." in words_of(to_her)
    assert "Dear Lucia," in words_of(to_daughter)
    assert "Maria allowed us to write to you." in words_of(to_daughter)
    assert "Maria's blood pressure was 148 over 84." in words_of(to_daughter)
    assert " you " not in words_of(to_daughter).partition("Measuring")[2].partition("The goals")[0].lower()
    for sheet in (to_her, to_daughter):
        assert "November 3: Ana Ruiz called." in words_of(sheet)
        assert "November 3: Dora Patel talked with Dr. Lund." in words_of(sheet)
        assert "Furosemide 20 mg for swelling." in words_of(sheet)


def test_our_own_sentences_are_read_by_a_pupil_of_the_sixth_grade():
    empty = Told(
        month=date(2026, 11, 1), measured_days=12, pressure=(148, 84, 24), glucose=(90, 181), talks=(), outcomes=(), plan=None, changed=()
    )  # fmt: skip
    bare = Content(problems=(Problem(name="x", icd10="I10", outcome="", goal="below 130 over 80"),))
    plan = Plan(
        plan_id=uuid4(), patient_id=uuid4(), version=1, content=bare, review_on=date(2027, 1, 1), drafted_by_name="", drafted_at=AT
    )  # fmt: skip
    assert letter(empty, None, name="Maria Gomez", practice="Elm Street", zone=ZONE).grade <= 6
    assert plan_copy(plan, None, name="Maria Gomez", practice="Elm Street", zone=ZONE).grade <= 6


SUGARS = [
    ("a range with its unit", (33, 374), "Your blood sugar went from 33 to 374 mg/dL."),
    ("one value with its unit", (120, 120), "Your blood sugar was 120 mg/dL."),
]


@pytest.mark.parametrize(("glucose", "said"), [row[1:] for row in SUGARS], ids=[row[0] for row in SUGARS])
def test_a_sugar_is_told_as(glucose, said):
    told = replace(TOLD, glucose=glucose)
    assert said in words_of(letter(told, ENROLLED, name="Maria Gomez", practice="Elm Street", zone=ZONE))


def test_nothing_measured_and_nothing_said_is_left_out():
    quiet = Told(
        month=date(2026, 11, 1), measured_days=0, pressure=None, glucose=None, talks=(), outcomes=(), plan=None, changed=()
    )  # fmt: skip
    words = words_of(letter(quiet, None, name="Maria Gomez", practice="Elm Street", zone=ZONE))
    assert "Measuring" not in words
    assert "We talked" not in words
    assert EMERGENCY in words


@given(st.text(), st.text(alphabet="aeiou bcd.!?", max_size=60))
def test_any_text_has_a_grade(anything, like_words):
    assert grade(anything) >= 0
    assert grade(like_words) >= 0


@pytest.mark.parametrize("to", [None, DAUGHTER], ids=["to the patient", "to the daughter"])
def test_a_sheet_prints_in_large_type_with_any_name(to):
    sheet = letter(TOLD, ENROLLED, name="Łucja Ñandú", practice="Elm Street", zone=ZONE, to=to)
    made = large_print.pdf(sheet, made_at=AT)
    assert made.startswith(b"%PDF")
    assert len(made) < 200_000
    assert min(large_print.SIZES.values()) >= 18
