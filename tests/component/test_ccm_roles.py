"""What each role may do, and that another practice's people do not exist."""

import re
from uuid import uuid4, uuid5

import pytest
from fastapi import FastAPI

from ccm_bridge import (
    store,
    time_service,
    time_store,
    web,
)
from tests.component.ccm_clinic import EPISODE, NOW, TASK, entry

pytestmark = pytest.mark.stack

MATRIX = [
    # what, method, path, form; then the status for nurse, coordinator without credential, admin, auditor
    ("see tasks", "GET", "/tasks", {}, 200, 200, 200, 200),
    ("see the month", "GET", "/month/2026-11", {}, 200, 200, 200, 200),
    ("export claim lines", "GET", "/month/2026-11/claims.csv", {}, 200, 200, 200, 200),
    ("read the report", "GET", "/month/2026-11/report", {}, 200, 200, 200, 200),
    ("take the report away", "GET", "/month/2026-11/report.csv", {}, 200, 200, 200, 200),
    ("take a task", "POST", "/tasks/{task}/moves", {"move": "take"}, 303, 303, 403, 403),
    ("tick a step", "POST", "/tasks/{task}/steps/reached", {"done": "yes"}, 303, 303, 403, 403),
    ("log minutes", "POST", "/entries", "entry", 303, 403, 403, 403),
    ("start a timer", "POST", "/timers", "timer", 303, 403, 403, 403),
    ("check a month", "POST", "/month/2026-11/patient/{maria}/check", {}, 303, 303, 403, 403),
    ("see what the practice attests", "GET", "/care/practice", {}, 200, 200, 200, 200),
    (
        "attest for the practice",
        "POST",
        "/care/practice",
        {"kind": "access_24_7", "holds": "yes", "from_day": "2026-11-01", "statement": "the on-call nurse"},
        403,
        403,
        303,
        403,
    ),
    ("name who is around", "POST", "/care/{maria}/people", {"caregiver_0": "Lucia"}, 303, 303, 303, 403),
    (
        "record a letter",
        "POST",
        "/month/2026-11/patient/{maria}/letter",
        {"to": "patient", "how": "by post"},
        303,
        303,
        403,
        403,
    ),
    (
        "review a month",
        "POST",
        "/month/2026-11/patient/{maria}/step",
        {"step": "reviewed"},
        403,  # not by the nurses whose minutes it is made of
        303,
        403,
        403,
    ),
    ("sign a month", "POST", "/month/2026-11/patient/{maria}/step", {"step": "signed"}, 403, 403, 403, 403),
    ("lock a month", "POST", "/month/2026-11/patient/{maria}/step", {"step": "locked"}, 403, 403, 409, 403),
]


@pytest.mark.parametrize("row", MATRIX, ids=[row[0] for row in MATRIX])
async def test_each_role_may_do_what_is_theirs(clinic, row):
    people = clinic.people
    _, method, path, form, *wanted = row
    data = (
        {
            "entry": entry(people),
            "timer": {
                "timer_id": str(uuid4()),
                "task_id": str(TASK),
                "program": "CCM",
                "activity": "check_in",
            },
        }.get(form, form)
        if isinstance(form, str)
        else form
    )
    for who, status in zip((people.ana, people.fred, people.gail, people.hugo), wanted, strict=True):
        fresh = {
            k: str(uuid4()) if k.endswith("_id") and k in ("entry_id", "timer_id") else v
            for k, v in data.items()
        }
        async with clinic.browser(who) as browser:
            answer = await browser.request(
                method, path.format(task=TASK, maria=people.maria), data=fresh or None
            )
        assert answer.status_code == status, f"{who.role}: {answer.status_code}, {sentence_of(answer)}"
        if status == 303 and path.endswith("moves"):
            async with clinic.browser(who) as browser:
                await browser.post(path.format(task=TASK), data={"move": "hand_back", "note": "x"})


def sentence_of(answer):
    found = re.search(r'role="alert">([^<]*)', answer.text)
    return found.group(1) if found else ""


async def test_for_another_practice_nothing_of_ours_exists(clinic):
    """Chris tries every route with our ids: nothing is found, nothing is told, nothing is changed."""
    people = clinic.people
    timer_id = uuid4()
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        await ana.post(
            "/timers",
            data={"timer_id": str(timer_id), "task_id": str(TASK), "program": "CCM", "activity": "check_in"},
        )
    async with people.desk(people.ana) as conn:
        (one,) = await time_store.of_task(conn, TASK)
    theirs = entry(people, entry_id=str(uuid4()))
    tries = [
        ("GET", "/tasks", {}, 200),
        ("GET", f"/tasks/{TASK}", {}, 404),
        ("GET", f"/tasks/episode/{EPISODE}", {}, 404),
        ("POST", "/tasks", {"task_id": str(uuid4()), "patient_id": str(people.maria), "title": "x"}, 422),
        ("POST", f"/tasks/{TASK}/moves", {"move": "take"}, 404),
        ("POST", f"/tasks/{TASK}/steps/reached", {"done": "yes"}, 404),
        ("GET", "/timers/mine", {}, 200),
        ("GET", f"/timers/{timer_id}", {}, 404),
        ("POST", "/timers", {"timer_id": str(uuid4()), "task_id": str(TASK), "program": "CCM"}, 404),
        (
            "POST",
            "/timers",
            {"timer_id": str(uuid4()), "patient_id": str(people.maria), "program": "CCM"},
            404,
        ),
        ("POST", f"/timers/{timer_id}/beat", {"n": "1", "stretch": "0"}, 404),
        *[
            ("POST", f"/timers/{timer_id}/{turn}", {}, 404)
            for turn in ("pause", "resume", "stop", "discard", "log")
        ],
        ("POST", "/entries", theirs, 404),
        ("POST", "/entries", {**theirs, "patient_id": str(people.oto)}, 404),
        ("POST", f"/entries/{one.entry_id}/void", {"reason": "mine now"}, 404),
        ("GET", "/month", {}, 303),
        ("GET", "/month/2026-11", {}, 200),
        ("GET", "/month/2026-11/claims.csv", {}, 200),
        ("GET", "/month/2026-11/report", {}, 200),
        ("GET", "/month/2026-11/report.csv", {}, 200),
        ("GET", f"/month/2026-11/patient/{people.maria}", {}, 404),
        ("POST", f"/month/2026-11/patient/{people.maria}/check", {}, 404),
        ("POST", f"/month/2026-11/patient/{people.maria}/step", {"step": "reviewed"}, 404),
        *[
            ("GET", f"/month/2026-11/patient/{people.maria}/packet.{form}", {}, 404)
            for form in ("pdf", "json", "fhir")
        ],
        ("GET", f"/month/2026-11/patient/{people.maria}/letter", {}, 404),
        ("GET", f"/month/2026-11/patient/{people.maria}/letter.pdf", {}, 404),
        ("GET", f"/month/2026-11/patient/{people.maria}/story", {}, 404),
        ("GET", f"/month/2026-11/patient/{people.maria}/story.txt", {}, 404),
        ("POST", f"/month/2026-11/patient/{people.maria}/letter", {"to": "patient", "how": "x"}, 404),
        ("GET", "/care/practice", {}, 200),
        ("POST", "/care/practice", {"kind": "access_24_7"}, 422),
        ("POST", f"/care/{people.maria}/people", {"caregiver_0": "Chris"}, 404),
        ("POST", "/tasks/monthly", {}, 303),
        ("GET", "/care", {}, 200),
        ("POST", "/care/import", {"csv": "mrn,icd10,name\nMRN-maria,I10,x"}, 200),
        ("GET", f"/care/{people.maria}", {}, 404),
        ("POST", f"/care/{people.maria}/enrolment", {}, 404),
        ("POST", f"/care/{people.maria}/consent", {}, 404),
        ("POST", f"/care/{people.maria}/consent/{uuid4()}/revoke", {}, 404),
        ("POST", f"/care/{people.maria}/plan", {}, 404),
        ("POST", f"/care/{people.maria}/plan/{uuid5(people.maria, 'plan 1')}/sign", {}, 404),
        ("POST", f"/care/{people.maria}/plan/{uuid5(people.maria, 'plan 1')}/copies", {}, 404),
        ("GET", f"/care/{people.maria}/plan/1/copy", {}, 404),
        ("POST", f"/care/{people.maria}/facts", {}, 404),
        ("POST", f"/care/{people.maria}/facts/{uuid4()}/withdraw", {}, 404),
        ("GET", f"/chain/entry/{one.entry_id}", {}, 404),
        ("GET", f"/chain/reading/{uuid5(EPISODE, 'reading 0')}", {}, 404),
    ]
    app = FastAPI()
    app.include_router(web.router(clinic.desk))
    listed = {(path, verb.upper()) for path, verbs in app.openapi()["paths"].items() for verb in verbs}
    assert len(listed) > 15
    tried = set()
    clinic.origins.patient = None  # row-level security shows Chris no reading of ours
    async with clinic.browser(people.chris) as chris:
        for method, path, form, status in tries:
            answer = await chris.request(method, path, data=form or None)
            assert answer.status_code == status, f"{method} {path}: {answer.status_code}"
            assert "Maria" not in answer.text
            assert "MRN-maria" not in answer.text or "Not a patient here: MRN-maria" in answer.text
            assert "Out of tablets" not in answer.text
            tried |= {(r, m) for r, m in listed if m == method and _matches(r, path)}
    assert listed - tried == set(), "a route is not in this test's list"
    async with people.desk(people.ana) as conn:
        assert (await store.task(conn, TASK)).state == "open"
        assert (await time_store.entry(conn, one.entry_id)).voided_at is None
        assert (await time_store.timer(conn, timer_id, staff_id=people.ana.staff_id)).state == "running"


def _matches(route, path):
    return re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", route), path) is not None


async def test_pages_hold_no_inline_script_or_style(clinic):
    people = clinic.people
    async with clinic.browser(people.dora) as dora:
        for path in ("/tasks", f"/tasks/{TASK}", "/month/2026-11", f"/month/2026-11/patient/{people.maria}"):
            page = (await dora.get(path)).text
            assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|<style", page), path


async def test_a_clinician_of_no_working_role_gets_the_reason(clinic):
    people = clinic.people
    async with people.desk(people.hugo) as conn:
        answer = await time_service.start(
            conn,
            people.hugo,
            uuid4(),
            patient_id=people.maria,
            task_id=None,
            program="CCM",
            activity="check_in",
            now=NOW,
        )
    assert "auditor" in answer.sentence
