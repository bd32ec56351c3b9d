"""Who is around a patient, what the practice attests, and what the patient is given to read, on the real database."""

import json
from uuid import uuid4

import psycopg
import pytest

from ccm_bridge import enrolment_store
from tests.component.ccm_clinic import entry

pytestmark = pytest.mark.stack

PEOPLE = {
    "caregiver_0": "Lucia Gomez", "relation_0": "daughter", "permission_0": "by telephone, 3 November 2026",
    "caregiver_1": "Pablo Gomez", "relation_1": "nephew",
    "provider_0": "Dr. Lund", "provider_role_0": "cardiology", "contact": "phone", "best_time": "mornings",
    "language": "Spanish", "barrier_hearing": "yes", "barrier_transport": "yes", "barrier_note": "speak slowly, van on Tuesdays",
}  # fmt: skip
LETTER = "/month/2026-11/patient/{}/letter"


async def test_caregivers_are_told_only_what_the_patient_allowed(clinic):
    maria = clinic.people.maria
    async with clinic.browser(clinic.people.ana) as ana:
        await ana.post("/entries", data=entry(clinic.people))
        assert "To Lucia" not in (await ana.get(LETTER.format(maria))).text
        assert (await ana.get(LETTER.format(maria) + "?to=0")).status_code == 403
        assert (await ana.post(f"/care/{maria}/people", data={"version": "1", **PEOPLE})).status_code == 303
        page = (await ana.get(f"/care/{maria}")).text
        for words in ("daughter", "by telephone, 3 November 2026", "is told nothing: no permission", "Dr. Lund", "Hearing", "van on Tuesdays"):  # fmt: skip
            assert words in page, words
        to_her = (await ana.get(LETTER.format(maria) + "?to=0")).text
        assert "Dear Lucia," in to_her
        assert "Maria allowed us to write to you." in to_her
        assert "reading level: grade" in to_her
        assert (await ana.get(LETTER.format(maria) + "?to=1")).status_code == 403, (
            "the nephew has no permission"
        )
        printed = await ana.get(LETTER.format(maria) + ".pdf?to=0")
        assert printed.content.startswith(b"%PDF")
        letter_id = str(uuid4())
        for _ in range(2):  # a retried form is one letter
            done = await ana.post(
                LETTER.format(maria), data={"letter_id": letter_id, "to": "0", "how": "by post"}
            )
            assert done.status_code == 303
        assert "to Lucia Gomez (daughter), by post" in (await ana.get(LETTER.format(maria))).text
        assert (await ana.post(LETTER.format(maria), data={"to": "0", "how": ""})).status_code == 422
    async with clinic.people.desk(clinic.people.ana) as conn:
        rows = await (
            await conn.execute("SELECT given_to, permission, words, grade FROM ccm.letter")
        ).fetchall()
        assert len(rows) == 1
        assert rows[0][:2] == ("Lucia Gomez (daughter)", "by telephone, 3 November 2026")
        assert "172 over 96" in rows[0][2]
        assert rows[0][3] < 8
        with pytest.raises(psycopg.errors.Error):
            await conn.execute("UPDATE ccm.letter SET words = 'other'")


async def test_a_change_of_eligibility_keeps_the_people_and_an_old_page_is_refused(clinic):
    maria = clinic.people.maria
    async with clinic.browser(clinic.people.dora) as dora:
        await dora.post(f"/care/{maria}/people", data={"version": "1", **PEOPLE})
        late = await dora.post(f"/care/{maria}/people", data={"version": "1", "caregiver_0": "Somebody else"})
        assert late.status_code == 409
        changed = {
            "version": "2", "state": "enrolled", "since": "2026-09-01", "program_CCM": "yes", "icd10_0": "I10",
            "condition_0": "Hypertension", "months_0": "24", "why": "programme changed",
        }  # fmt: skip
        assert (await dora.post(f"/care/{maria}/enrolment", data=changed)).status_code == 303
    async with clinic.people.desk(clinic.people.dora) as conn:
        enrolled = (await enrolment_store.enrolments(conn, [maria]))[maria]
    assert enrolled.version == 3
    assert [one.name for one in enrolled.profile.caregivers] == ["Lucia Gomez", "Pablo Gomez"]


async def test_an_attestation_that_no_longer_holds_takes_the_months_support_away(clinic):
    maria = clinic.people.maria
    async with clinic.browser(clinic.people.gail) as gail, clinic.browser(clinic.people.ana) as ana:
        await ana.post("/entries", data=entry(clinic.people))
        await ana.post(f"/month/2026-11/patient/{maria}/check", data={})
        assert "99490" in (await ana.get("/month/2026-11/claims.csv")).text
        gone = {
            "kind": "access_24_7",
            "holds": "no",
            "from_day": "2026-11-02",
            "statement": "no on-call since Monday",
        }
        assert (await gail.post("/care/practice", data=gone | {"from_day": "2027-01-01"})).status_code == 422
        assert (await gail.post("/care/practice", data=gone)).status_code == 303
        page = (await gail.get("/care/practice")).text
        assert "attested as no longer held" in page
        assert "no on-call since Monday" in page
        assert "99490" not in (await ana.get("/month/2026-11/claims.csv")).text


async def test_a_problem_list_comes_in_as_fhir_from_a_file(clinic):
    nora = {"resourceType": "Patient", "id": "n", "identifier": [{"value": "MRN-nora"}]}
    listed = [
        {
            "resourceType": "Condition",
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}], "text": name},
            "subject": {"reference": "Patient/n"},
        }
        for code, name in (("I10", "Hypertension"), ("N18.31", "Kidney disease, stage 3a"))
    ]
    bundle = {"resourceType": "Bundle", "entry": [{"resource": each} for each in (nora, *listed)]}
    async with clinic.browser(clinic.people.cora) as cora:
        done = await cora.post("/care/import", data={}, files={"file": ("list.json", json.dumps(bundle))})
        assert done.status_code == 200
        assert "1 problem list taken in, 1 with two or more chronic conditions" in done.text
        page = (await cora.get(f"/care/{clinic.people.nora}")).text
    assert "Kidney disease, stage 3a" in page
    assert "2 chronic conditions" in page


async def test_a_goal_in_numbers_is_linked_to_the_readings_that_follow_it(clinic):
    maria = clinic.people.maria
    plan = {
        "version": "1", "review_on": "2027-11-01", "problem_0": "Hypertension", "problem_icd10_0": "I10", "outcome_0": "controlled",
        "goal_0": "mornings below 130/80", "watch_0": "bp", "numbers_0": "130/80", "days_0": "5",
    }  # fmt: skip
    async with clinic.browser(clinic.people.ana) as ana:
        for wrong in ({"numbers_0": "80/130"}, {"watch_0": ""}, {"days_0": "8"}, {"numbers_0": "about 130"}):
            assert (await ana.post(f"/care/{maria}/plan", data=plan | wrong)).status_code == 422, wrong
        assert (await ana.post(f"/care/{maria}/plan", data=plan)).status_code == 303
        page = (await ana.get(f"/care/{maria}")).text
        assert "followed by blood pressure below 130/80, 5 days a week" in page
        assert f"/patients/{maria}" in page
        copy = await ana.get(f"/care/{maria}/plan/2/copy")
        assert "Measure on 5 days a week." in copy.text
        assert (await ana.get(f"/care/{maria}/plan/2/copy.pdf")).content.startswith(b"%PDF")
        assert (await ana.get(f"/care/{maria}/plan/2/copy.exe")).status_code == 404
