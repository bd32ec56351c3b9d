"""Tasks on their screens: what an episode asks for, who takes it, what became of it."""

import re
from datetime import timedelta
from uuid import uuid4, uuid5

import psycopg
import pytest

from alerts.events import EpisodeMoved, Move, Severity
from ccm_bridge import (
    service,
    store,
)
from ccm_bridge.service import CcmRoom
from ccm_bridge.tasks import task_id
from tests.component.ccm_clinic import EPISODE, NOW, TASK, told

pytestmark = pytest.mark.stack


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
        assert (await move(ana, "acknowledge")).status_code == 403
        inbox = words_of(await dora.get("/tasks?show=escalated"))
        assert "Ana Ruiz asks: May she double the dose?" in inbox
        assert "not seen yet" in inbox
        seen = await move(dora, "acknowledge", back="/tasks?show=escalated")
        assert seen.headers["location"] == "/tasks?show=escalated"
        inbox = words_of(await ana.get("/tasks?show=escalated"))
        assert "seen by Dora Patel" in inbox
        assert "Waits for the practitioner, seen by Dora Patel" in words_of(await ana.get(f"/tasks/{TASK}"))
        assert (await move(dora, "answer", note="No: see her tomorrow.")).status_code == 303
        assert (await move(ana, "done")).status_code == 422
        assert (await move(ana, "done", note="Seen, tablets again.")).status_code == 303
        late = await move(ana, "take")
        gone = await move(dora, "acknowledge")
    assert late.status_code == 409
    assert "done" in late.text
    assert gone.status_code == 409
    async with people.desk(people.ana) as conn:
        work = await store.task(conn, TASK)
        moves = [m["move"] for m in await store.moves(conn, TASK)]
    assert (work.state, work.owner_name, work.steps_done) == ("done", "Ana Ruiz", 1)
    assert moves == ["take", "escalate", "acknowledge", "answer", "done"]


def words_of(answer):
    """What a reader sees, one space between words."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


async def test_two_nurses_take_one_task_and_one_wins(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana, clinic.browser(people.ben) as ben:
        first = await ana.post(f"/tasks/{TASK}/moves", data={"move": "take", "move_id": str(uuid4())})
        second = await ben.post(f"/tasks/{TASK}/moves", data={"move": "take", "move_id": str(uuid4())})
    assert (first.status_code, second.status_code) == (303, 409)
    assert "taken by Ana Ruiz" in second.text


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
