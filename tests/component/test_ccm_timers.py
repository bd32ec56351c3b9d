"""Timers and entries on their screens: measured, by hand, once."""

from datetime import timedelta
from uuid import uuid4

import pytest

from ccm_bridge import (
    store,
    time_store,
)
from tests.component.ccm_clinic import NOW, TASK, entry

pytestmark = pytest.mark.stack


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
