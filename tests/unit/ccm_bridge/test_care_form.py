"""Forms and imports are read into the room's words or answered with a sentence; no text makes them fail."""

from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccm_bridge import care_form
from ccm_bridge.care_form import Wrong
from ccm_bridge.careplan import Content
from ccm_bridge.enrolment import Condition, Enrolment, Told

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
PATIENT = uuid4()


def eligible(**changes):
    return {
        "icd10_0": "I10",
        "condition_0": "Hypertension",
        "months_0": "24",
        "icd10_1": "e11.9",
        "condition_1": "Diabetes",
        "months_1": "12",
        "state": "enrolled",
        "since": "2026-08-01",
        "program_CCM": "yes",
        "risk": "yes",
        "payer": "original_medicare",
        **changes,
    }


def agreed(**changes):
    return {
        "program": "CCM",
        "method": "verbal",
        "accepted": "yes",
        "given_at": "2026-11-20T09:30",
        "given_by": "the patient",
        **{f"told_{told}": "yes" for told in Told},
        **changes,
    }


def read_consent(form):
    return care_form.consent(form, consent_id=uuid4(), zone="America/New_York", explained_by="Ana", now=NOW)


def test_an_eligibility_form_becomes_the_next_version():
    said = care_form.enrolment(eligible(), patient_id=PATIENT, version=3)
    assert isinstance(said, Enrolment)
    assert said.version == 3
    assert [c.icd10 for c in said.conditions] == ["I10", "E11.9"]
    assert said.significant_risk_documented is True
    assert said.initiating_visit is None  # left empty: unknown, not no


WRONG_ENROLMENTS = [
    ("a code that is none", {"icd10_0": "high blood pressure"}, "not an ICD-10-CM code"),
    ("a code without words", {"condition_0": ""}, "in words"),
    ("months that are no number", {"months_0": "long"}, "how many months"),
    ("months in another script", {"months_0": "٢٤"}, "how many months"),
    ("enrolled in nothing", {"program_CCM": ""}, "at least one programme"),
    ("enrolled since when", {"since": ""}, "since when"),
    ("both kinds of care management", {"program_PCM": "yes"}, "exclude each other"),
    ("no state", {"state": "perhaps"}, "candidate, enrolled"),
]


@pytest.mark.parametrize(
    ("changes", "words"), [w[1:] for w in WRONG_ENROLMENTS], ids=[w[0] for w in WRONG_ENROLMENTS]
)
def test_an_eligibility_form_that_is_wrong_says_how(changes, words):
    answer = care_form.enrolment(eligible(**changes), patient_id=PATIENT, version=1)
    assert isinstance(answer, Wrong)
    assert words in answer.sentence


WRONG_CONSENTS = [
    ("something was not explained", {"told_cost_sharing": ""}, "all four"),
    ("nobody said yes or no", {"accepted": ""}, "accepted or declined"),
    ("it lies ahead", {"given_at": "2026-11-21T09:00"}, "not come yet"),
    ("when is unclear", {"given_at": "yesterday"}, "date and time"),
    ("who is unclear", {"given_by": ""}, "who spoke"),
    ("which programme is unclear", {"program": "XYZ"}, "programme"),
]


@pytest.mark.parametrize(
    ("changes", "words"), [w[1:] for w in WRONG_CONSENTS], ids=[w[0] for w in WRONG_CONSENTS]
)
def test_a_consent_that_is_not_one_says_why(changes, words):
    answer = read_consent(agreed(**changes))
    assert isinstance(answer, Wrong)
    assert words in answer.sentence


def test_a_refusal_needs_no_explanations():
    said = read_consent({**agreed(accepted="no"), "told_cost_sharing": ""})
    assert said.accepted is False


def test_consent_is_an_instant_of_the_practices_clock():
    assert read_consent(agreed()).given_at == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


def test_a_plan_needs_a_goal_that_can_be_measured():
    form = {"problem_0": "Hypertension", "problem_icd10_0": "I10", "outcome_0": "controlled"}
    assert "goal" in care_form.plan(form).sentence
    content = care_form.plan(form | {"goal_0": "below 135/85", "medicine_1": "Lisinopril", "dose_1": "20 mg"})
    assert isinstance(content, Content)
    assert content.medicines[0].name == "Lisinopril"
    assert "at least one problem" in care_form.plan({}).sentence


FACTS = [
    ("another biller needs a month", {"kind": "other_service", "code": "G0181", "month": ""}, "the month"),
    (
        "another biller needs a code",
        {"kind": "other_service", "code": "home", "month": "2026-11"},
        "the code",
    ),
    (
        "somebody billed it",
        {"kind": "other_service", "code": "G0181", "month": "2026-11"},
        "this practice or another",
    ),
    ("a stay begins", {"kind": "stay"}, "the day it began"),
    (
        "a stay ends after it begins",
        {"kind": "stay", "from_day": "2026-11-05", "until_day": "2026-11-01"},
        "before",
    ),
    ("how it is known", {"kind": "death", "note": ""}, "how it is known"),
]


@pytest.mark.parametrize(("changes", "words"), [f[1:] for f in FACTS], ids=[f[0] for f in FACTS])
def test_a_fact_from_outside_that_is_incomplete_says_how(changes, words):
    answer = care_form.circumstance(
        {"note": "told by the daughter", **changes},
        circumstance_id=uuid4(),
        zone="America/New_York",
        by_name="Ana",
        now=NOW,
    )
    assert isinstance(answer, Wrong)
    assert words in answer.sentence


def test_a_stay_lasts_through_its_last_day():
    said = care_form.circumstance(
        {"kind": "stay", "note": "told", "from_day": "2026-11-03", "until_day": "2026-11-05", "stay": "snf"},
        circumstance_id=uuid4(),
        zone="America/New_York",
        by_name="Ana",
        now=NOW,
    )
    assert said.code == "snf"
    assert said.until_at.date() == date(2026, 11, 6)


def test_a_problem_list_becomes_candidates_and_its_bad_lines_are_named():
    found = care_form.problem_list(
        "\ufeffMRN,ICD10,Name,Chronic_Months\n41,I10,Hypertension,\n41,E11.9,Diabetes,36\n42,I10,Hypertension,6\n,I10,x,\n43,zzz,y,"
    )
    assert found.by_mrn["41"] == (
        Condition(icd10="I10", name="Hypertension", chronic_months=12),
        Condition(icd10="E11.9", name="Diabetes", chronic_months=36),
    )
    assert set(found.by_mrn) == {"41", "42"}
    assert [words.split(":")[0] for words in found.wrong] == ["line 5", "line 6"]


def test_a_problem_list_without_its_columns_says_which_it_needs():
    assert "mrn, icd10 and name" in care_form.problem_list("a,b\n1,2").wrong[0]


text = st.text(max_size=30)
keys = st.sampled_from(
    [
        *eligible(),
        *agreed(),
        "kind",
        "note",
        "code",
        "month",
        "from_day",
        "until_day",
        "by_whom",
        "problem_0",
        "problem_icd10_0",
        "goal_0",
        "outcome_0",
        "medicine_0",
        "step_0",
        "months_7",
        "icd10_7",
        "rpm_setup_on",
    ]
)
forms = st.dictionaries(
    keys, st.one_of(text, st.sampled_from(["yes", "no", "I10", "2026-11-03", "stay", "CCM", "verbal"]))
)


@given(form=forms)
def test_no_form_makes_a_reader_fail(form):
    care_form.enrolment(form, patient_id=PATIENT, version=1)
    read_consent(form)
    care_form.plan(form)
    care_form.circumstance(form, circumstance_id=uuid4(), zone="America/New_York", by_name="Ana", now=NOW)


@given(sheet=st.one_of(text, st.text(alphabet='mrn,icd10name"\n\r 0I.', max_size=200)))
def test_no_text_makes_the_import_fail(sheet):
    care_form.problem_list(sheet)
    care_form.problem_list("mrn,icd10,name\n" + sheet)
