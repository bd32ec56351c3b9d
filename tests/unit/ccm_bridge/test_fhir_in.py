"""Problem lists as FHIR: what becomes a candidate's condition, what is left out, and what is said to be wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccm_bridge.enrolment import Condition
from ccm_bridge.fhir_in import candidates

ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"


def patient(own="p1", mrn="41001", **more):
    typed = {"type": {"coding": [{"code": "MR"}]}, "value": mrn}
    return {
        "resourceType": "Patient",
        "id": own,
        "identifier": [{"type": {"coding": [{"code": "SS"}]}, "value": "1"}, typed],
    } | more


def condition(code="I10", of="Patient/p1", **more):
    return {
        "resourceType": "Condition",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}, {"system": ICD10, "code": code, "display": "Hypertension"}]},
        "subject": {"reference": of},
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "category": [{"coding": [{"code": "problem-list-item"}]}],
    } | more  # fmt: skip


def bundle(*resources, urls=()):
    entries = [{"resource": each} for each in resources]
    for entry, url in zip(entries, urls, strict=False):
        entry["fullUrl"] = url
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})


HYPERTENSION = Condition(icd10="I10", name="Hypertension", chronic_months=12)


def test_a_bundle_gives_each_patients_conditions_by_record_number():
    said = candidates(
        bundle(
            patient(), patient("p2", "41002"), condition(), condition("E119", text="x"), condition(of="p2")
        )
    )
    assert said.wrong == ()
    assert said.by_mrn["41001"] == (
        HYPERTENSION,
        Condition(icd10="E11.9", name="Hypertension", chronic_months=12),
    )
    assert said.by_mrn["41002"] == (HYPERTENSION,)


def test_lines_of_json_are_read_like_a_bundle_in_any_order():
    said = candidates("\n".join(json.dumps(each) for each in (condition(), patient())))
    assert said.by_mrn == {"41001": (HYPERTENSION,)}


def test_references_by_url_are_followed():
    url = "urn:uuid:6c0b4c9e-0000-4000-8000-000000000001"
    said = candidates(bundle(patient(own="other"), condition(of=url), urls=(url,)))
    assert said.by_mrn == {"41001": (HYPERTENSION,)}


LEFT_OUT = [
    ("resolved", {"clinicalStatus": {"coding": [{"code": "resolved"}]}}),
    ("refuted", {"verificationStatus": {"coding": [{"code": "refuted"}]}}),
    ("a mistake", {"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}),
    ("of one encounter", {"category": [{"coding": [{"code": "encounter-diagnosis"}]}]}),
    ("over", {"abatementDateTime": "2026-01-01"}),
]


@pytest.mark.parametrize("more", [row[1] for row in LEFT_OUT], ids=[row[0] for row in LEFT_OUT])
def test_a_condition_that_does_not_last_is_left_out(more):
    said = candidates(bundle(patient(), condition(**more)))
    assert said.by_mrn == {}
    assert said.wrong == ()


WRONG = [
    ("of nobody here", bundle(condition()), "entry 1: a Condition of a patient who is not in the file"),
    (
        "no code of ours",
        bundle(patient(), condition("nonsense")),
        "entry 2: a Condition without an ICD-10-CM code",
    ),
    ("nobody", bundle({"resourceType": "Patient", "id": "p1"}), "entry 1: a Patient without an identifier"),
    ("half a file", '{"resourceType":\n', "line 1: not JSON"),
    ("no resource", "{}", "the file: not a FHIR resource"),
    ("a list of numbers", "[1, 2]", "resource 1: not a FHIR resource"),
]


@pytest.mark.parametrize(("text", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_cannot_be_used_is_said_by_its_place(text, says):
    said = candidates(text)
    assert said.by_mrn == {}
    assert says in said.wrong


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["resourceType", "entry", "resource", "identifier", "type", "coding", "code", "subject", "reference", "value", "system"]),
        inner | st.sampled_from(["Bundle", "Patient", "Condition", ICD10, "I10"]),
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(ANY)
def test_any_json_is_answered_and_never_raises(said):
    candidates(json.dumps({"resourceType": "Bundle", "entry": [{"resource": said}, said]}))
    candidates(json.dumps(said))
