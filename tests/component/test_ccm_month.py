"""The month on its screens: what is supported, reviewed, signed, locked, amended."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from ccm_bridge import (
    month_service,
    review_store,
    time_store,
)
from ccm_bridge.enrolment import Program
from tests.component.ccm_clinic import PLAN, TASK, TEN, entry

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("month", ["0001-01", "1999-12", "9999-12", "2026-13"])
async def test_a_month_outside_the_calendar_of_care_is_no_page(clinic, month):
    async with clinic.browser(clinic.people.ana) as ana:
        assert (await ana.get(f"/month/{month}")).status_code == 404


async def test_the_month_says_what_is_supported_and_why_not(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        unchecked = (await ana.get("/month/2026-11")).text
        await ana.post(f"/month/2026-11/patient/{people.maria}/check", data={"note": "looked up"})
        checked = (await ana.get("/month/2026-11")).text
        whole = (await ana.get(f"/month/2026-11/patient/{people.maria}")).text
        sheet = (await ana.get("/month/2026-11/claims.csv")).text
    assert "Nobody has looked up other billers" in unchecked
    assert "Nobody has looked up" not in checked
    assert "99490" in checked
    assert "Supported so far" in checked
    assert "reading" in whole
    assert "C4" in whole
    lines = [line.split(",") for line in sheet.splitlines()]
    assert [line[3:5] for line in lines[1:] if line[3] == "99490"] == [["99490", "1"]]
    assert all(line[0].startswith("draft") for line in lines[1:])
    assert "Maria" not in sheet


async def test_a_month_is_reviewed_signed_locked_and_only_amended(clinic):
    people = clinic.people
    path = f"/month/2026-11/patient/{people.maria}"

    async def step(browser, what, **more):
        return await browser.post(f"{path}/step", data={"step": what, "review_id": str(uuid4()), **more})

    async with clinic.browser(people.cora) as cora, clinic.browser(people.dora) as dora:
        await cora.post("/entries", data=entry(people))
        await cora.post(f"{path}/check", data={})
        assert (await step(cora, "signed")).status_code == 403
        assert (await step(dora, "signed")).status_code == 409
        assert (await step(cora, "reviewed")).status_code == 303
        assert (await step(dora, "signed")).status_code == 303
        assert "month is not over" in (await step(dora, "locked")).text
    clinic.clock.now = datetime(2026, 12, 8, 15, tzinfo=UTC)
    async with clinic.browser(people.cora) as cora, clinic.browser(people.dora) as dora:
        changed = await step(dora, "locked")
        assert "changed since the review" in changed.text  # the device window has closed meanwhile
        await step(cora, "reviewed")
        await step(dora, "signed")
        assert (await step(dora, "locked")).status_code == 303
        locked = (await cora.get("/month/2026-11/claims.csv")).text
        async with people.desk(people.cora) as conn:
            (one,) = await time_store.of_task(conn, TASK)
        gone = await cora.post(f"/entries/{one.entry_id}/void", data={"reason": "was another patient"})
        assert gone.status_code == 303
        assert (await cora.get("/month/2026-11/claims.csv")).text == locked
        assert "changed since" in (await cora.get("/month/2026-11")).text
        assert (await step(dora, "amended")).status_code == 422
        assert (await step(dora, "amended", note="entry was another patient's")).status_code == 303
        page = (await dora.get(path)).text
        amended = (await cora.get("/month/2026-11/claims.csv")).text
    assert "99490" in locked
    assert "99490" not in amended
    assert "06 February 2027" in page  # sixty days after it was found
    async with people.desk(people.dora) as conn:
        steps = (await review_store.reviews(conn, TEN.date().replace(day=1), [people.maria]))[people.maria]
    assert [one.step for one in reversed(steps)] == [
        "reviewed",
        "signed",
        "reviewed",
        "signed",
        "locked",
        "amended",
    ]


async def test_mark_reviewed_and_next_goes_on_by_name_and_at_the_end_to_the_month(clinic):
    people = clinic.people
    nora = {"patient_id": str(people.nora), "start": "2026-11-03T09:00", "end": "2026-11-03T09:20"}
    async with clinic.browser(people.cora) as cora:
        assert (await cora.post("/entries", data=entry(people))).status_code == 303
        assert (await cora.post("/entries", data=entry(people, task_id="", **nora))).status_code == 303
        gone = []
        for patient in (people.nora, people.maria):
            said = {"step": "reviewed", "review_id": str(uuid4()), "next": "yes"}
            answer = await cora.post(f"/month/2026-11/patient/{patient}/step", data=said)
            gone.append(answer.headers["location"])
    assert gone == [f"/month/2026-11/patient/{people.maria}", "/month/2026-11"]


async def test_a_patient_who_is_enrolled_twice_is_enrolled_once(clinic, fresh_database):
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        people = clinic.people
        await conn.execute("SELECT 1")
        await prepare_again(conn, people)
        rows = await (
            await conn.execute("SELECT count(*) FROM ccm.enrolment WHERE patient_id = %s", (people.maria,))
        ).fetchone()
    assert rows == (1,)


async def prepare_again(conn, people):
    await month_service.enrol(
        conn,
        practice_id=1,
        patient_id=people.maria,
        nurse=(people.ana.staff_id, people.ana.name),
        practitioner=(people.dora.staff_id, people.dora.name),
        programs=frozenset({Program.CCM, Program.RPM}),
        conditions=[],
        plan=PLAN,
        visit=(TEN - timedelta(days=60)).date(),
        consent_at=TEN - timedelta(days=50),
        plan_at=TEN - timedelta(days=49),
    )
