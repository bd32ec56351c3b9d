"""From a problem list to a counted minute: candidate, consent, plan, signature, copy; and what only some may do."""

import re
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from ccm_bridge import enrolment_store, plan_store
from ccm_bridge.enrolment import Told
from tests.ccm_people import settle
from tests.component.ccm_clinic import NOW, entry

pytestmark = pytest.mark.stack


def eligible(**changes):
    return {
        "version": "1",
        "icd10_0": "I10",
        "condition_0": "Hypertension",
        "months_0": "24",
        "icd10_1": "I50.9",
        "condition_1": "Heart failure",
        "months_1": "24",
        "state": "enrolled",
        "since": "2026-11-02",
        "program_CCM": "yes",
        "risk": "yes",
        "payer": "original_medicare",
        "payer_checked_on": "2026-11-01",
        "initiating_visit": "2026-10-20",
        "practitioner": "Dora Patel",
        "why": "enrolled after the visit",
        **changes,
    }


CONSENT = {
    "program": "CCM",
    "method": "verbal",
    "accepted": "yes",
    "given_at": "2026-11-02T09:00",
    "given_by": "the patient",
    **{f"told_{told}": "yes" for told in Told},
}
PLAN = {
    "version": "0",
    "problem_0": "Hypertension",
    "problem_icd10_0": "I10",
    "outcome_0": "controlled",
    "goal_0": "mornings below 135/85",
    "review_on": "2027-11-02",
}


async def test_from_a_problem_list_to_a_counted_minute(clinic):
    people = clinic.people
    path = f"/care/{people.nora}"
    async with clinic.browser(people.cora) as cora, clinic.browser(people.dora) as dora:
        taken = await cora.post(
            "/care/import",
            data={
                "csv": "mrn,icd10,name,chronic_months\nMRN-nora,I10,Hypertension,24\nMRN-nora,I50.9,Heart failure,24\nX9,I10,y,"
            },
        )
        assert "1 with two or more chronic conditions" in taken.text
        assert "Not a patient here: X9" in taken.text
        assert "Practitioner states the significant risk" in (await cora.get("/care")).text

        refused = await cora.post(f"{path}/enrolment", data=eligible())
        assert refused.status_code == 403  # the risk is the practitioner's statement
        assert (await dora.post(f"{path}/enrolment", data=eligible())).status_code == 303
        stale = await dora.post(f"{path}/enrolment", data=eligible(why="again"))
        assert stale.status_code == 409
        assert (
            await cora.post(f"{path}/consent", data={**CONSENT, "told_right_to_stop": ""})
        ).status_code == 422
        assert (await cora.post(f"{path}/consent", data=CONSENT)).status_code == 303
        assert (await cora.post(f"{path}/plan", data=PLAN)).status_code == 303
        page = (await cora.get(path)).text
        assert "waits for the practitioner" in page
        plan = re.search(r"/plan/([0-9a-f-]{36})/sign", (await dora.get(path)).text).group(1)
        assert (await cora.post(f"{path}/plan/{plan}/sign")).status_code == 403
        early = await cora.post(f"{path}/plan/{plan}/copies", data={"to": "the patient", "how": "by post"})
        assert early.status_code == 409
        assert (await dora.post(f"{path}/plan/{plan}/sign")).status_code == 303
        assert (
            await cora.post(f"{path}/plan/{plan}/copies", data={"to": "the patient", "how": "by post"})
        ).status_code == 303
        assert "everything stands" in (await cora.get(path)).text

        form = entry(people, patient_id=str(people.nora), start="2026-11-04T10:00", end="2026-11-04T10:25")
        del form["task_id"]
        assert (await cora.post("/entries", data=form)).status_code == 303
        await cora.post(f"/month/2026-11/patient/{people.nora}/check", data={})
        month = (await cora.get(f"/month/2026-11/patient/{people.nora}")).text
        assert "99490" in month
        copy = (await cora.get(f"{path}/plan/1/copy")).text
        assert "mornings below 135/85" in copy
        assert "911" in copy


async def test_a_revoked_consent_ends_with_the_month_and_a_fact_can_be_withdrawn(clinic):
    people = clinic.people
    path = f"/care/{people.maria}"
    async with clinic.browser(people.ana) as ana:
        page = (await ana.get(path)).text
        consent = re.search(r"/consent/([0-9a-f-]{36})/revoke", page).group(1)
        assert (await ana.post(f"{path}/consent/{consent}/revoke", data={})).status_code == 422
        assert (
            await ana.post(f"{path}/consent/{consent}/revoke", data={"reason": "too many calls"})
        ).status_code == 303
        assert "ends 01 Dec 2026" in (await ana.get(path)).text
        stay = {
            "kind": "stay",
            "from_day": "2026-11-02",
            "until_day": "2026-11-05",
            "note": "daughter",
            "stay": "inpatient",
        }
        assert (await ana.post(f"{path}/facts", data=stay)).status_code == 303
        assert (
            await ana.post(f"{path}/facts", data={"kind": "complex_mdm", "month": "2026-11", "note": "x"})
        ).status_code == 403
        await ana.post("/entries", data=entry(people))
        month = f"/month/2026-11/patient/{people.maria}"
        await ana.post(f"{month}/check", data={})
        assert "22:00 not counted" in (await ana.get(month)).text  # she was in hospital on the 3rd
        fact = re.search(r"/facts/([0-9a-f-]{36})/withdraw", (await ana.get(path)).text).group(1)
        assert (
            await ana.post(f"{path}/facts/{fact}/withdraw", data={"why": "another patient"})
        ).status_code == 303
        assert "22:00 not counted" not in (await ana.get(month)).text


async def test_a_revised_plan_shows_what_changed_and_the_signed_one_holds_until_signed(clinic):
    people = clinic.people
    path = f"/care/{people.maria}"
    async with clinic.browser(people.ana) as ana, clinic.browser(people.dora) as dora:
        tighter = {**PLAN, "version": "1", "goal_0": "mornings below 130/80"}
        assert (await ana.post(f"{path}/plan", data=tighter)).status_code == 303
        page = (await ana.get(path)).text
        assert "below 135/85" in page  # struck out
        assert "below 130/80" in page
        async with people.desk(people.ana) as conn:
            held = (await plan_store.plans(conn, [people.maria], before=NOW + timedelta(days=1)))[
                people.maria
            ]
        assert held.version == 1
        plan = re.search(r"/plan/([0-9a-f-]{36})/sign", (await dora.get(path)).text).group(1)
        await dora.post(f"{path}/plan/{plan}/sign")
        async with people.desk(people.ana) as conn:
            held = (await plan_store.plans(conn, [people.maria], before=NOW + timedelta(days=1)))[
                people.maria
            ]
        assert held.version == 2


@pytest.mark.parametrize(("name", "status"), [("hugo", 403), ("fred", 303), ("gail", 303)])
async def test_consent_is_recorded_by_who_enrols(clinic, name, status):
    people = clinic.people
    async with clinic.browser(getattr(people, name)) as browser:
        answer = await browser.post(f"/care/{people.nora}/consent", data=CONSENT)
    assert answer.status_code == status


async def test_rows_that_a_claim_rests_on_cannot_be_changed(fresh_database):
    await settle(fresh_database.pipeline, fresh_database.web)
    tables = [
        "enrolment",
        "consent",
        "consent_revocation",
        "care_plan",
        "care_plan_signature",
        "care_plan_copy",
    ]
    tables += [
        "attestation",
        "circumstance",
        "episode_move",
        "task_move",
        "timer_beat",
        "timer_stop",
        "anchor",
    ]
    for dsn in (fresh_database.web, fresh_database.pipeline):
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            for table in tables:
                for attempt in (
                    f"DELETE FROM ccm.{table}",
                    f"TRUNCATE ccm.{table} CASCADE",
                    f"UPDATE ccm.{table} SET practice_id = 1",
                ):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        await conn.execute(attempt)


async def test_a_form_sent_twice_writes_one_version(clinic):
    people = clinic.people
    form = eligible(version="1", enrolment_id=str(uuid4()))
    async with clinic.browser(people.dora) as dora:
        first = await dora.post(f"/care/{people.maria}/enrolment", data=form)
        again = await dora.post(f"/care/{people.maria}/enrolment", data=form)
    assert (first.status_code, again.status_code) == (303, 303)
    async with people.desk(people.ana) as conn:
        assert len(await enrolment_store.enrolment_versions(conn, people.maria)) == 2
