"""The room's screens on the real database: what each role may do, and that another practice's people do not exist."""

import csv
import io
import json
import re
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4, uuid5

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from fhir.resources.R4B.bundle import Bundle

from alerts.events import EpisodeMoved, Move, Severity
from ccm_bridge import month_service, month_store, packet, service, store, time_service, time_store, web
from ccm_bridge.careplan import Content, Problem
from ccm_bridge.enrolment import Condition, Program
from ccm_bridge.month import DeviceDay
from ccm_bridge.origins import Measured, Score
from ccm_bridge.service import CcmRoom
from ccm_bridge.tasks import task_id
from deploy import database
from deploy.settings import Secret
from deploy.web import session
from deploy.web.frame import Desk
from deploy.web.site import site
from tests.ccm_people import settle

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # 10:00 in New York
HERE = "http://testserver"
TEN = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)


class Clock:
    now = NOW

    def __call__(self):
        return self.now


class Clinic:
    def __init__(self, people, app, desk, clock):
        self.people, self.app, self.desk, self.clock = people, app, desk, clock

    @asynccontextmanager
    async def browser(self, who):
        """A signed-in browser that sends what a page of ours would send."""
        token, csrf = secrets.token_urlsafe(16), secrets.token_urlsafe(8)
        async with self.desk.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO who.session (token_hash, staff_id, csrf, created_at, seen_at) VALUES (%s, %s, %s, %s, %s)",
                (session.token_hash(token), who.staff_id, csrf, self.clock.now, self.clock.now),
            )
        transport = httpx.ASGITransport(app=self.app)
        headers = {"origin": HERE, "x-csrf-token": csrf}
        async with httpx.AsyncClient(
            transport=transport, base_url=HERE, cookies={"lamplight": token}, headers=headers
        ) as client:
            yield client


CUFF = [NOW.date() - timedelta(days=n) for n in range(25)]


async def cuffs(conn, since, *, until):
    """Every monitored patient measured each day, in this test's clinic."""
    return {
        patient: [DeviceDay(day=day, device_id="cuff", readings=2, first_reading=uuid4()) for day in CUFF]
        for patient in since
    }


@pytest.fixture
async def clinic(fresh_database):
    people = await settle(fresh_database.pipeline, fresh_database.web)
    clock = Clock()
    clock.now = NOW
    async with database.pool(Secret(fresh_database.web)) as pool:
        desk = Desk(pool=pool, clock=clock, rooms=("ccm_bridge",), links=(), secure=False)
        origins = Cuffs()
        app = site(desk, [web.router(desk, days=cuffs, origins=origins)], static=("ccm_bridge",))
        clinic = Clinic(people, app, desk, clock)
        clinic.origins, origins.patient = origins, people.maria
        async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
            await prepare(conn, people)
        yield clinic


PLAN = Content(
    problems=(Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 135/85"),)
)


async def prepare(conn, people):
    """Maria is enrolled, consented and planned, and her pressure drifts up; Oto lives in the other practice."""
    for practice, nurse, doctor, patient in (
        (1, people.ana, people.dora, people.maria),
        (2, people.chris, people.chris, people.oto),
    ):
        await month_service.attest_practice(
            conn,
            practice_id=practice,
            staff=(nurse.staff_id, nurse.name),
            from_day=TEN.date() - timedelta(days=400),
            now=TEN,
        )
        await month_service.enrol(
            conn,
            practice_id=practice,
            patient_id=patient,
            nurse=(nurse.staff_id, nurse.name),
            practitioner=(doctor.staff_id, doctor.name),
            programs=frozenset({Program.CCM, Program.RPM}),
            conditions=[
                Condition(icd10="I10", name="Hypertension", chronic_months=24),
                Condition(icd10="I50.9", name="Heart failure", chronic_months=24),
            ],
            plan=PLAN,
            visit=(TEN - timedelta(days=60)).date(),
            consent_at=TEN - timedelta(days=50),
            plan_at=TEN - timedelta(days=49),
        )
    async with conn.transaction():
        await CcmRoom().handle(conn, told(people), now=NOW)


EPISODE = uuid5(uuid4(), "episode")
READING = uuid5(EPISODE, "reading 0")


class Cuffs:
    """The rooms to the left, as the chain's page meets them."""

    patient = None

    async def scores(self, conn, ids):
        return {
            one: Score(
                score_id=one,
                reading_id=READING,
                effective_at=NOW,
                tier="high",
                reasons=("Rising for three mornings.",),
                rules=("BP-DRIFT",),
                model_version="m1",
                rules_version="r1",
            )
            for one in ids
        }

    async def readings(self, conn, ids):
        return {
            one: Measured(
                reading_id=one,
                patient_id=self.patient,
                caused_by=uuid5(one, "message"),
                systolic=172.0,
                diastolic=96.0,
                device_id="cuff-1",
                gateway_id="gw-1",
                effective_at=NOW,
                received_at=NOW,
                device_time=None,
                time_rule="gateway",
                flags=(),
                raw=b'{"sys": 172}',
            )
            for one in ids
            if self.patient
        }

    async def of_patient(self, conn, patient_id, *, start, end):
        return list((await self.readings(conn, [READING])).values())


def told(people):
    def move(number, what, *, needs=False, reason="Mornings rose three days in a row.", by=None):
        return EpisodeMoved(
            event_id=uuid5(EPISODE, str(number)),
            caused_by=uuid5(EPISODE, f"score {number}"),
            practice_id=1,
            patient_id=people.maria,
            episode_id=EPISODE,
            number=number,
            concern="pressure_drift_up",
            move=what,
            severity=Severity.HIGH,
            reason=reason,
            at=NOW - timedelta(hours=10 - number),
            by=by,
            needs_task=needs,
            readings=tuple(uuid5(EPISODE, f"reading {n}") for n in range(number)),
        )

    return [
        move(1, Move.OPENED),
        move(2, Move.CLAIMED, by=people.ana.staff_id),
        move(3, Move.DISPOSITIONED, needs=True, reason="Out of tablets.", by=people.ana.staff_id),
    ]


TASK = task_id(EPISODE)


def entry(people, **changes):
    return {
        "entry_id": str(uuid4()),
        "patient_id": str(people.maria),
        "task_id": str(TASK),
        "start": "2026-11-03T10:00",
        "end": "2026-11-03T10:22",
        "program": "CCM",
        "activity": "check_in",
        "contact": "phone",
        "contact_with": "patient",
        "interactive": "yes",
        "note": "Called about the missed refill; she has tablets again.",
        "outcome": "Delivered",
        "attested": "yes",
        "back": f"/tasks/{TASK}",
        **changes,
    }


# The pump's room


async def test_an_episode_told_many_times_is_one_task_with_all_its_moves(clinic, fresh_database):
    people = clinic.people
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        for _ in range(3):
            async with conn.transaction():
                await CcmRoom().handle(conn, told(people), now=NOW)
    async with people.desk(people.ana) as conn:
        work = await store.worklist(conn)
        moves = await store.told(conn, [EPISODE])
    assert [w.task_id for w in work] == [TASK]
    assert [m.number for m in moves] == [1, 2, 3]
    assert work[0].reason == "Out of tablets."


async def test_a_move_that_cannot_be_served_becomes_a_task_that_says_so(clinic, fresh_database):
    people = clinic.people
    other = uuid4()
    lost = EpisodeMoved(
        event_id=uuid4(),
        caused_by=uuid4(),
        practice_id=1,
        patient_id=people.nora,
        episode_id=other,
        number=1,
        concern="high_pressure",
        move=Move.OPENED,
        severity=Severity.CRITICAL,
        reason="x",
        at=NOW,
    )
    unknown = EpisodeMoved(
        **{name: getattr(lost, name) for name in lost.__struct_fields__}
        | {"patient_id": uuid4(), "episode_id": uuid4()}
    )
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
        await CcmRoom().park(conn, lost, reason="ValueError in tasks", now=NOW)
        await CcmRoom().park(conn, unknown, reason="ValueError in tasks", now=NOW)
    async with people.desk(people.ana) as conn:
        made = await store.task(conn, task_id(other))
    assert made.severity == "critical"
    assert "look at the alert" in made.reason


# What people see and do


async def test_the_worklist_and_the_task_show_why(clinic):
    async with clinic.browser(clinic.people.ana) as ana:
        listed = (await ana.get("/tasks")).text
        shown = (await ana.get(f"/tasks/{TASK}")).text
        moved = await ana.get(f"/tasks/episode/{EPISODE}")
    assert "Maria Gomez" in listed
    assert "Out of tablets." in listed
    assert "Mornings rose three days in a row." in shown
    assert str(uuid5(EPISODE, "reading 0")) in shown
    assert moved.headers["location"] == f"/tasks/{TASK}"


async def test_a_task_is_taken_ticked_escalated_answered_and_finished(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana, clinic.browser(people.dora) as dora:

        async def move(browser, what, **more):
            return await browser.post(
                f"/tasks/{TASK}/moves", data={"move": what, "move_id": str(uuid4()), **more}
            )

        assert (await move(ana, "take")).status_code == 303
        assert (await ana.post(f"/tasks/{TASK}/steps/reached", data={"done": "yes"})).status_code == 303
        assert (await move(ana, "escalate", note="May she double the dose?")).status_code == 303
        assert (await move(ana, "answer", note="yes")).status_code == 403
        assert (await move(dora, "answer", note="No: see her tomorrow.")).status_code == 303
        assert (await move(ana, "done")).status_code == 422
        assert (await move(ana, "done", note="Seen, tablets again.")).status_code == 303
        late = await move(ana, "take")
    assert late.status_code == 409
    assert "done" in late.text
    async with people.desk(people.ana) as conn:
        work = await store.task(conn, TASK)
        moves = [m["move"] for m in await store.moves(conn, TASK)]
    assert (work.state, work.owner_name, work.steps_done) == ("done", "Ana Ruiz", 1)
    assert moves == ["take", "escalate", "answer", "done"]


async def test_two_nurses_take_one_task_and_one_wins(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana, clinic.browser(people.ben) as ben:
        first = await ana.post(f"/tasks/{TASK}/moves", data={"move": "take", "move_id": str(uuid4())})
        second = await ben.post(f"/tasks/{TASK}/moves", data={"move": "take", "move_id": str(uuid4())})
    assert (first.status_code, second.status_code) == (303, 409)
    assert "taken by Ana Ruiz" in second.text


async def test_a_form_sent_twice_does_its_work_once(clinic):
    people = clinic.people
    form = entry(people)
    move = {"move": "note", "note": "Daughter called back.", "move_id": str(uuid4())}
    async with clinic.browser(people.ana) as ana:
        for _ in range(2):
            assert (await ana.post("/entries", data=form)).status_code == 303
            assert (await ana.post(f"/tasks/{TASK}/moves", data=move)).status_code == 303
    async with people.desk(people.ana) as conn:
        assert len(await time_store.of_task(conn, TASK)) == 1
        assert len(await store.moves(conn, TASK)) == 1


async def test_an_overlap_is_answered_with_a_sentence_and_the_entry(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        answer = await ana.post(
            "/entries", data=entry(people, start="2026-11-03T10:10", end="2026-11-03T10:40")
        )
    assert answer.status_code == 409
    assert "You logged 03 Nov 10:00 to 10:22 already" in answer.text
    assert "Show the entry that stands in the way" in answer.text


async def test_a_timer_runs_without_javascript_and_is_confirmed_by_hand(clinic):
    people = clinic.people
    timer_id = str(uuid4())
    async with clinic.browser(people.ana) as ana:
        started = await ana.post(
            "/timers",
            data={"timer_id": timer_id, "task_id": str(TASK), "program": "CCM", "activity": "check_in"},
        )
        assert started.headers["location"] == f"/tasks/{TASK}#timer"
        clinic.clock.now = NOW + timedelta(minutes=12)
        assert "runs without a script" in (await ana.get(f"/tasks/{TASK}")).text
        await ana.post(f"/timers/{timer_id}/stop", data={})
        page = (await ana.get(f"/tasks/{TASK}")).text
        assert "Confirm the minutes by hand" in page
        form = entry(people, start="2026-11-20T10:00", end="2026-11-20T10:12")
        logged = await ana.post(f"/timers/{timer_id}/log", data=form)
        assert logged.status_code == 303
        assert (await ana.get("/timers/mine")).json() is None
    async with people.desk(people.ana) as conn:
        (one,) = await time_store.of_task(conn, TASK)
    assert (one.source, one.seconds, len(one.readings)) == ("manual", 720, 3)


async def test_a_timer_with_its_script_beats_and_is_logged_as_measured(clinic):
    people = clinic.people
    timer_id = str(uuid4())
    accepts = {"accept": "application/json"}
    async with clinic.browser(people.ana) as ana:
        await ana.post(
            "/timers",
            data={"timer_id": timer_id, "task_id": str(TASK), "program": "RPM", "activity": "data_review"},
        )
        for n in range(1, 5):
            clinic.clock.now = NOW + timedelta(seconds=15 * n)
            beat = await ana.post(f"/timers/{timer_id}/beat", data={"n": n, "stretch": 0}, headers=accepts)
            assert beat.json() == {"state": "running", "last_n": n}
        assert (await ana.get("/timers/mine")).json()["seconds"] == 60
        assert (
            await ana.post(f"/timers/{timer_id}/beat", data={"n": "x"}, headers=accepts)
        ).status_code == 422
        await ana.post(f"/timers/{timer_id}/stop", data={})
        short = await ana.post(
            f"/timers/{timer_id}/log", data={**entry(people), "note": "call"} | {"start": ""}
        )
        assert short.status_code == 422
        form = {k: v for k, v in entry(people, program="RPM").items() if k not in ("start", "end")}
        assert (await ana.post(f"/timers/{timer_id}/log", data=form)).status_code == 303
    async with people.desk(people.ana) as conn:
        (one,) = await time_store.of_task(conn, TASK)
    assert (one.source, one.seconds) == ("timer", 60)


async def test_a_page_that_beats_slower_than_another_learns_how_far_the_other_is(clinic):
    """A hidden page is slowed down; once the fast one is closed, its old numbers would be taken for the same beats."""
    people = clinic.people
    timer_id = str(uuid4())
    accepts = {"accept": "application/json"}
    async with clinic.browser(people.ana) as ana:
        await ana.post(
            "/timers",
            data={"timer_id": timer_id, "task_id": str(TASK), "program": "RPM", "activity": "data_review"},
        )
        for n in range(1, 41):  # the page in front
            clinic.clock.now = NOW + timedelta(seconds=15 * n)
            await ana.post(f"/timers/{timer_id}/beat", data={"n": n, "stretch": 0}, headers=accepts)
        slow = 3  # the page behind it comes to the front
        for n in range(41, 81):
            clinic.clock.now = NOW + timedelta(seconds=15 * n)
            answer = await ana.post(
                f"/timers/{timer_id}/beat", data={"n": slow + 1, "stretch": 0}, headers=accepts
            )
            slow = max(slow + 1, answer.json()["last_n"])
        assert (await ana.get("/timers/mine")).json()["seconds"] == 15 * 80


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
        steps = (await month_store.reviews(conn, TEN.date().replace(day=1), [people.maria]))[people.maria]
    assert [one.step for one in reversed(steps)] == [
        "reviewed",
        "signed",
        "reviewed",
        "signed",
        "locked",
        "amended",
    ]


# Roles and practices

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


async def test_the_letter_tells_the_month_in_plain_words(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        page = (await ana.get(f"/month/2026-11/patient/{people.maria}/letter")).text
    for words in (
        "Dear Maria",
        "172 over 96",
        "03 November: Ana Ruiz",
        "Delivered",
        "below 135/85",
        "call 911",
    ):
        assert words in page, words
    assert "99490" not in page


async def test_the_story_tells_the_month_in_the_order_of_time_with_the_way_to_each_row(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        await ana.post(
            f"/tasks/{TASK}/moves", data={"move": "escalate", "note": "Ankles swollen. More diuretic?"}
        )
        page = (await ana.get(f"/month/2026-11/patient/{people.maria}/story")).text
        text = (await ana.get(f"/month/2026-11/patient/{people.maria}/story.txt")).text
    (one,) = re.findall(r'href="/chain/entry/([0-9a-f-]+)"', page)
    assert f"/chain/reading/{READING}" in page
    order = ["Mornings rose three days in a row.", "172/96", "Ankles swollen. More diuretic?"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "22:00 CCM" in text
    assert one


async def test_what_the_plans_ask_for_is_made_once(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana, clinic.browser(people.hugo) as hugo:
        plan = {
            "version": "1",
            "problem_0": "Hypertension",
            "problem_icd10_0": "I10",
            "outcome_0": "controlled",
            "goal_0": "below 135/85",
            "medicine_0": "Lisinopril",
            "dose_0": "20 mg",
            "step_0": "check-in call",
            "step_who_0": "Ana",
            "step_when_0": "every month",
            "step_1": "measure",
            "step_who_1": "patient",
            "step_when_1": "every day",
            "review_on": "2026-11-25",
        }
        assert (await ana.post(f"/care/{people.maria}/plan", data=plan)).status_code == 303
        async with clinic.browser(people.dora) as dora:
            signing = re.search(
                r"/plan/([0-9a-f-]{36})/sign", (await dora.get(f"/care/{people.maria}")).text
            ).group(1)
            await dora.post(f"/care/{people.maria}/plan/{signing}/sign")
        clinic.clock.now = NOW + timedelta(minutes=1)
        assert (await hugo.post("/tasks/monthly")).status_code == 403
        for _ in range(2):
            assert (await ana.post("/tasks/monthly")).status_code == 303
    async with people.desk(people.ana) as conn:
        titles = sorted(one.title for one in await store.worklist(conn) if one.kind == "monthly")
    assert titles == ["Check-in call", "Reconcile medicines", "Review the care plan"]


async def test_the_report_adds_up_what_the_month_supports(clinic):
    people = clinic.people
    async with clinic.browser(people.gail) as gail, clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        await ana.post(f"/month/2026-11/patient/{people.maria}/check", data={})
        shown = (await gail.get("/month/2026-11/report")).text
        sheet = await gail.get("/month/2026-11/report.csv")
    assert "report-2026-11.csv" in sheet.headers["content-disposition"]
    rows = {(row["subject"], row["measure"]): row["value"] for row in csv.DictReader(io.StringIO(sheet.text))}
    assert rows["enrolment", "enrolled"] == "1"
    assert (rows["units", "99490"], rows["allowed USD", "99490"]) == ("1", "66.13")
    assert rows["revenue USD", "Medicare's share"] == "52.90"
    assert rows["revenue USD", "patients' share"] == "13.23"
    assert rows["comparison USD", "official year of 200 patients"] == "158712.00"
    assert rows["engagement", "with a live conversation"] == "1"
    assert rows["response", "tasks asked for"] == "1"
    assert "Maria" not in sheet.text
    assert "99490" in shown
    assert "$62.16" in shown
    assert "matches no official rate" in shown
    assert "Minutes from memory rather than measured" in shown


async def test_the_chain_walks_back_to_the_bytes_and_forward_again(clinic):
    people = clinic.people
    form = entry(people)
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=form)
        await ana.post(f"/month/2026-11/patient/{people.maria}/check", data={})
        back = (await ana.get(f"/chain/entry/{form['entry_id']}")).text
        forward = (await ana.get(f"/chain/reading/{READING}")).text
    for word in (
        "22:00",
        "Out of tablets.",
        "Rising for three mornings",
        "172/96 mm[Hg]",
        "{&#34;sys&#34;: 172}",
        "99490",
    ):
        assert word in back, word
    assert f"/chain/entry/{form['entry_id']}" in forward
    assert f"/tasks/{TASK}" in forward


async def test_the_packet_holds_what_the_month_rests_on_in_three_forms(clinic):
    people = clinic.people
    path = f"/month/2026-11/patient/{people.maria}"
    async with clinic.browser(people.hugo) as hugo, clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        await ana.post(f"{path}/check", data={})
        plain = (await hugo.get(f"{path}/packet.json")).json()
        pdf = await hugo.get(f"{path}/packet.pdf")
        bundle = (await hugo.get(f"{path}/packet.fhir")).json()
        assert (await hugo.get(f"{path}/packet.doc")).status_code == 404
    assert packet.whole(plain)
    assert plain["decision"]["codes"]["99490"] == 1
    assert plain["entries"][0]["counts"]
    assert plain["chain"] == {
        "findings": [],
        "newest_anchor": None,
        "rows_verified": {"month_review": 0, "time_entry": 1, "time_void": 0},
    }
    assert plain["readings"][0]["raw_hex"] == b'{"sys": 172}'.hex()
    assert [one["move"] for one in plain["episode_moves"]] == ["opened", "claimed", "dispositioned"]
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    Bundle.model_validate_json(json.dumps(bundle))


async def test_pages_hold_no_inline_script_or_style(clinic):
    people = clinic.people
    async with clinic.browser(people.dora) as dora:
        for path in ("/tasks", f"/tasks/{TASK}", "/month/2026-11", f"/month/2026-11/patient/{people.maria}"):
            page = (await dora.get(path)).text
            assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|<style", page), path


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


async def test_two_people_ticking_at_once_both_find_their_ticks(clinic):
    import asyncio

    people = clinic.people

    async def tick(who, key):
        async with people.desk(who) as conn:
            return await service.tick(conn, who, TASK, key, done=True, now=NOW)

    keys = ["reached", "symptoms", "technique", "repeat", "medicines", "told", "next"]
    await asyncio.gather(
        *(tick(who, key) for key, who in zip(keys, [people.ana, people.ben] * 4, strict=False))
    )
    async with people.desk(people.ana) as conn:
        assert (await store.task(conn, TASK)).steps_done == len(keys)


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
