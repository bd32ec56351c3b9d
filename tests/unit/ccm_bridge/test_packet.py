"""The audit packet binds its pages, carries what was hashed, and its FHIR form is valid R4."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from uuid import uuid4

import pytest
from fhir.resources.R4B.bundle import Bundle

from ccm_bridge import chain, fhir, packet
from ccm_bridge.careplan import Content, Medicine, Plan, Problem, Step
from ccm_bridge.enrolment import Condition, Consent, Enrolment, Method, Program, Told
from ccm_bridge.month import Circumstance, Window
from ccm_bridge.origins import Measured, shown
from ccm_bridge.packet import Evidence, Proof
from ccm_bridge.packet_service import as_fhir

NOW = datetime(2026, 12, 8, 15, tzinfo=UTC)
PATIENT, STAFF = uuid4(), uuid4()
TEN = datetime(2026, 11, 3, 15, tzinfo=UTC)


def ledger(count=3):
    rows, prev = [], chain.genesis("time_entry", 1)
    for seq in range(1, count + 1):
        row = {
            "entry_id": uuid4(),
            "practice_id": 1,
            "seq": seq,
            "staff_id": STAFF,
            "staff_name": "Ana Núñez",
            "credential": "RN",
            "country": "US",
            "patient_id": PATIENT,
            "program": "CCM",
            "start": TEN + timedelta(hours=seq),
            "end": TEN + timedelta(hours=seq, minutes=9),
            "zone": "America/New_York",
            "month": date(2026, 11, 1),
            "task_id": None,
            "timer_id": None,
            "activity": "check_in",
            "note": "Called about “swollen” ankles → refill.",
            "problem": "Hypertension",
            "outcome": "ok",
            "contact": "phone",
            "contact_with": "patient",
            "interactive": True,
            "as_clinical_staff": False,
            "readings": [uuid4()],
            "source": "timer",
            "attestation": "",
            "corrects": None,
            "entered_at": NOW,
            "entered_by": STAFF,
            "prev_hash": prev,
        }
        prev = chain.seal(row)
        rows.append(row | {"hash": prev})
    return rows


def reading(**changes):
    usual = Measured(
        reading_id=uuid4(),
        patient_id=PATIENT,
        caused_by=uuid4(),
        systolic=172.0,
        diastolic=96.0,
        pulse=78.0,
        device_id="cuff-1",
        gateway_id="gw-1",
        effective_at=TEN,
        received_at=TEN,
        device_time="2026-11-03T10:00:00",
        time_rule="gateway",
        flags=(),
        raw=b'{"sys": 172}',
    )
    return replace(usual, **changes)


def evidence(**changes):
    rows = ledger()
    usual = Evidence(
        practice="Elm Street Family Practice",
        zone="America/New_York",
        patient_name="Maria del Carmen Gómez",
        mrn="41001",
        born=date(1948, 5, 1),
        month=date(2026, 11, 1),
        made_at=NOW,
        made_by="Dora (physician)",
        facts={"month": "2026-11"},
        decision={
            "codes": {"99490": 1},
            "held": {},
            "hold": False,
            "lines": [
                {
                    "code": "99490",
                    "units": 1,
                    "date_of_service": "2026-11-03",
                    "allowed": "66.13",
                    "medicare": "52.90",
                    "patient": "13.23",
                }
            ],
            "counted_minutes": {"CCM_STAFF": 27},
            "trace": [
                {
                    "rule": "C1",
                    "outcome": "MET",
                    "says": "2 conditions.",
                    "source": "MAC page",
                    "effective": "2026-01-01",
                    "default": None,
                }
            ],
            "rule_set": "CY2026",
            "price_set": "PFS-2026-JUL",
        },
        frozen=None,
        enrolment=Enrolment(
            patient_id=PATIENT,
            version=1,
            state="enrolled",
            programs=frozenset({Program.CCM, Program.RPM}),
            conditions=(Condition(icd10="I10", name="Hypertension", chronic_months=24),),
            practitioner_name="Dora Patel",
        ),
        consents=(
            Consent(
                consent_id=uuid4(),
                program=Program.CCM,
                accepted=True,
                given_at=TEN,
                method=Method.VERBAL,
                explained=frozenset(Told),
                language="Spanish",
                given_by="the patient",
                explained_by_name="Ana",
            ),
        ),
        plan=Plan(
            plan_id=uuid4(),
            patient_id=PATIENT,
            version=1,
            content=Content(
                problems=(
                    Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 135/85"),
                ),
                medicines=(Medicine(name="Lisinopril", dose="20 mg"),),
                interventions=(Step(what="review readings", who="Ana", when="weekly"),),
            ),
            review_on=date(2027, 11, 1),
            drafted_by_name="Ana",
            drafted_at=TEN,
            signed_by_name="Dora",
            signed_at=TEN,
        ),
        copies=[{"version": 1, "given_to": "the patient", "how": "by post", "given_at": TEN}],
        circumstances=(
            Circumstance(
                circumstance_id=uuid4(),
                kind="stay",
                month=None,
                from_at=TEN,
                until_at=None,
                code="inpatient",
                by_whom=None,
                note="daughter told",
                recorded_by_name="Ana",
                recorded_at=TEN,
            ),
        ),
        entries=rows,
        voids=[{"void_id": uuid4(), "entry_id": rows[2]["entry_id"], "reason": "doubled", "hash": b"\x01"}],
        verdicts={
            rows[1]["entry_id"]: [
                {"seconds": 540, "rule": "C12", "outcome": "EXCLUDE", "says": "was an inpatient"}
            ]
        },
        windows=[Window(start=date(2026, 10, 5), end=date(2026, 11, 3), days=18)],
        readings=[
            reading(),
            reading(systolic=None, diastolic=None, pulse=None, glucose=48.0),
            reading(systolic=None, diastolic=None, pulse=None, beyond="HI", raw=b"\x07\xff\x00"),
        ],
        tasks=[
            {
                "task_id": uuid4(),
                "episode_id": uuid4(),
                "title": "High blood pressure",
                "reason": "172 mm[Hg]",
                "state": "done",
                "severity": "high",
                "owner_name": "Ana",
                "outcome": "seen",
                "opened_at": TEN,
                "due_at": TEN,
            }
        ],
        moves=[],
        letters=[],
        reviews=[{"step": "reviewed", "by_name": "Cora", "at": NOW, "note": ""}],
        proof=Proof(rows={"time_entry": 3, "time_void": 1}, findings=[], anchor=None),
    )
    return replace(usual, **changes)


def test_a_packet_is_whole_and_one_changed_letter_is_noticed():
    plain = packet.packet(evidence())
    assert packet.whole(plain)
    again = json.loads(packet.as_json(plain))
    assert packet.whole(again)
    again["entries"][0]["note"] = again["entries"][0]["note"].replace("Called", "called")
    assert not packet.whole(again)


def test_anybody_can_compute_an_entrys_hash_again_from_the_packet():
    plain = packet.packet(evidence())
    for before, entry in zip([None, *plain["entries"]], plain["entries"], strict=False):
        assert sha256(entry["canonical"].encode()).hexdigest() == entry["hash"]
        if before:
            assert entry["prev_hash"] == before["hash"]


def test_what_does_not_count_says_why():
    counts, excluded, void = packet.packet(evidence())["entries"]
    assert counts["counts"]
    assert not excluded["counts"]
    assert excluded["excluded"][0]["says"] == "was an inpatient"
    assert not void["counts"]
    assert void["void"]["reason"] == "doubled"


def test_the_raw_bytes_travel_with_the_packet():
    plain = packet.packet(evidence())
    assert [bytes.fromhex(one["raw_hex"]) for one in plain["readings"]] == [
        b'{"sys": 172}',
        b'{"sys": 172}',
        b"\x07\xff\x00",
    ]


@pytest.mark.parametrize("frozen", [False, True])
def test_the_pdf_is_drawn_for_locked_and_open_months_and_for_one_without_anything(frozen):
    from ccm_bridge import packet_pdf

    said = evidence()
    if frozen:
        said = replace(said, frozen={"facts": said.facts, "decision": said.decision})
    made = packet_pdf.pdf(packet.packet(said), codes={"99490": "in our words"})
    assert made.startswith(b"%PDF-")
    assert len(made) > 10_000
    bare = replace(
        said,
        enrolment=None,
        consents=(),
        plan=None,
        copies=[],
        circumstances=(),
        entries=[],
        voids=[],
        windows=[],
        readings=[],
        tasks=[],
        reviews=[],
        decision={**said.decision, "lines": [], "trace": [], "counted_minutes": {}},
        frozen=None,
    )
    assert packet_pdf.pdf(packet.packet(bare), codes={}).startswith(b"%PDF-")


def test_a_long_month_flows_over_pages():
    from ccm_bridge import packet_pdf

    said = evidence(entries=ledger(120), verdicts={}, voids=[], readings=[reading() for _ in range(200)])
    assert packet_pdf.pdf(packet.packet(said), codes={}).count(b"/Type /Page\n") > 5


# FHIR


def resources(bundle, kind):
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def test_the_bundle_is_valid_r4():
    bundle = as_fhir(evidence(), PATIENT)
    Bundle.model_validate_json(json.dumps(bundle))
    kinds = {e["resource"]["resourceType"] for e in bundle["entry"]}
    assert kinds == {
        "Patient",
        "Condition",
        "Consent",
        "Goal",
        "CarePlan",
        "Encounter",
        "Observation",
        "Task",
        "Communication",
        "Claim",
    }


def test_every_resource_is_created_only_once_however_often_it_is_sent():
    bundle = as_fhir(evidence(), PATIENT)
    conditions = [e["request"]["ifNoneExist"] for e in bundle["entry"]]
    assert len(set(conditions)) == len(conditions)
    assert all(c.startswith("identifier=urn:lamplight|") for c in conditions)


def test_blood_pressure_is_the_panel_and_glucose_beyond_the_meter_has_no_number():
    panel, glucose, beyond = resources(as_fhir(evidence(), PATIENT), "Observation")
    assert panel["code"]["coding"][0]["code"] == "85354-9"
    assert [c["code"]["coding"][0]["code"] for c in panel["component"]] == ["8480-6", "8462-4", "8867-4"]
    assert panel["component"][0]["valueQuantity"] == {
        "value": 172.0,
        "unit": "mm[Hg]",
        "system": fhir.UCUM,
        "code": "mm[Hg]",
    }
    assert glucose["valueQuantity"]["value"] == 48.0
    assert "valueQuantity" not in beyond
    assert "HI" in beyond["dataAbsentReason"]["text"]


def test_a_claim_is_a_draft_until_the_month_is_locked_and_prints_no_descriptor():
    said = evidence()
    (draft,) = resources(as_fhir(said, PATIENT), "Claim")
    assert draft["status"] == "draft"
    assert draft["item"][0]["productOrService"] == {"coding": [{"system": fhir.CPT, "code": "99490"}]}
    (active,) = resources(
        as_fhir(replace(said, frozen={"facts": {}, "decision": said.decision}), PATIENT), "Claim"
    )
    assert active["status"] == "active"
    none = replace(said, decision={**said.decision, "lines": []})
    assert resources(as_fhir(none, PATIENT), "Claim") == []


def test_a_void_contact_is_not_told():
    assert len(resources(as_fhir(evidence(), PATIENT), "Communication")) == 2


def test_a_refused_consent_and_a_revoked_one_say_so():
    said = evidence().consents[0]
    kinds = [
        fhir.consents(PATIENT, [one], "x")[0]["status"]
        for one in (said, replace(said, accepted=False), replace(said, revoked_at=NOW))
    ]
    assert kinds == ["active", "rejected", "inactive"]


def test_bytes_are_shown_as_text_only_if_they_are_text():
    assert shown(b"pulse 72\n") == "pulse 72\n"
    assert shown(bytes(range(20))) == " ".join(f"{n:02x}" for n in range(16)) + "\n10 11 12 13"


LETTER = {
    "letter_id": uuid4(),
    "given_to": "Lucia Gomez",
    "permission": "by telephone, 3 November 2026",
    "how": "by post",
    "words": "Your November\nYour mornings were high on three days.",
    "grade": Decimal("5.2"),
    "given_at": NOW,
    "recorded_by_name": "Ana Núñez",
}


def test_a_letter_is_in_the_packet_and_a_communication_in_the_words_it_was_given_in():
    said = evidence(letters=[LETTER])
    (told,) = packet.packet(said)["letters"]
    assert (told["given_to"], told["words"]) == ("Lucia Gomez", LETTER["words"])
    assert packet.whole(packet.packet(said))
    (letter,) = [one for one in resources(as_fhir(said, PATIENT), "Communication") if one.get("category")]
    assert letter["payload"] == [{"contentString": LETTER["words"]}]
    assert letter["recipient"] == [{"display": "Lucia Gomez"}]
    assert letter["identifier"][0]["value"] == str(LETTER["letter_id"])
    Bundle.model_validate_json(json.dumps(as_fhir(said, PATIENT), default=str))


def test_minutes_of_a_call_that_was_settled_without_a_task_carry_their_alert_under_the_hash():
    (row,) = ledger(1)
    episode = uuid4()
    named = row | {"episode_id": episode}
    named["hash"] = chain.seal(named)
    (told,) = packet.packet(evidence(entries=[named], voids=[], verdicts={}))["entries"]
    assert str(episode) in told["canonical"]
    assert sha256(told["canonical"].encode()).hexdigest() == told["hash"]
