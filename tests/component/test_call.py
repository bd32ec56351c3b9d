"""A call from the queue: begun with a timer, ended in one motion; both rooms' rows stand together or not at all."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest

from alerts import web as alerts_web
from ccm_bridge import chain, month_service, time_store
from ccm_bridge import web as ccm_web
from ccm_bridge.careplan import Content, Problem
from ccm_bridge.enrolment import Program
from ccm_bridge.service import CcmRoom
from deploy.calls import TimedCalls
from deploy.web.frame import Desk
from deploy.web.site import site
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.unit.alerts.ward import a_finding

pytestmark = pytest.mark.stack

SAID = {
    "code": "contacted",
    "note": "Out of tablets since Friday; her ankles are swollen.",
    "contact": "phone",
    "contact_with": "patient",
    "interactive": "yes",
    "activity": "symptom_review",
    "program": "CCM",
}


@pytest.fixture
async def shop(fresh_database):
    clinic = await a_clinic(fresh_database)
    async with clinic.pipeline() as conn:
        await conn.execute("UPDATE who.staff SET credential = 'RN' WHERE name IN ('Ana Lima', 'Ben Roth')")
    async with a_site(clinic) as opened:
        both = ("alerts", "ccm_bridge")
        desk = Desk(pool=opened.pool, clock=lambda: opened.now, rooms=both, links=(), secure=False)
        rooms = [alerts_web.router(desk, opened.bell, calls=TimedCalls(desk)), ccm_web.router(desk)]
        opened.desk, opened.app = desk, site(desk, rooms, static=both)
        yield opened


async def an_alert(shop):
    score = shop.clinic.score("09:00", a_finding(Concern.HIGH_PRESSURE, Tier.HIGH))
    (told,) = await shop.clinic.tell(score)
    return f"/queue/episode/{told.episode_id}", told.episode_id, score


async def a_call(shop, ana, page, *, beats=8):
    """Begun, and measured for some minutes by its script; the form that the page then offers."""
    timer_id = str(uuid4())
    begun = await ana.post(f"{page}/call?timer_id={timer_id}", program="CCM")
    assert begun.status_code == 303
    for n in range(1, beats + 1):
        shop.now += timedelta(seconds=15)
        await ana.post(f"/timers/{timer_id}/beat", n=str(n), stretch="0", ago="0")
    text = (await ana.get(page)).text
    assert "End the call: settle and log it" in text
    form = text[text.index("/call/end") :]
    return {
        "timer_id": timer_id,
        "seen": re.search(r'name="seen" value="(\d+)"', form)[1],
        **SAID,
    }


async def written(shop):
    """(states of the episodes, entries, states of the timers)"""
    states = await shop.clinic.rows("SELECT state, disposition FROM alerts.episode")
    timers = await shop.clinic.rows("SELECT state FROM ccm.timer")
    async with shop.clinic.pipeline() as conn:
        entries = await time_store.entries(conn, "", ())
    return states, entries, [state for (state,) in timers]


async def test_one_form_ends_the_call_settles_the_alert_and_logs_the_minutes(shop):
    page, episode_id, score = await an_alert(shop)
    async with shop.hands("ana") as ana:
        assert "Start the call and the timer" in (await ana.get(page)).text
        form = await a_call(shop, ana, page)
        ended = await ana.post(f"{page}/call/end", **form)
        assert (ended.status_code, ended.headers["location"]) == (303, "/queue?tab=clinical")
        states, (entry,), timers = await written(shop)
        assert states == [("handled", "contacted")]
        assert timers == ["logged"]
        assert entry.episode_id == episode_id
        assert entry.readings == [score.caused_by]
        assert (entry.source, entry.activity, entry.interactive) == ("timer", "symptom_review", True)
        assert entry.seconds == 120
        assert entry.outcome == ""
        walked = (await ana.get(f"/chain/entry/{entry.entry_id}")).text
        assert "symptom" in walked.lower()
    async with shop.clinic.pipeline() as conn:
        rows = [row async for row in time_store.links(conn, "time_entry", 1)]
    assert chain.verify("time_entry", 1, rows) == []
    assert chain.verify("time_entry", 1, [rows[0] | {"episode_id": uuid4()}])
    assert chain.verify("time_entry", 1, [rows[0] | {"episode_id": None}])


async def test_the_same_form_sent_again_doubles_neither(shop):
    page, _, _ = await an_alert(shop)
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page)
        for _ in range(3):
            again = await ana.post(f"{page}/call/end", **form)
            assert again.status_code == 303
        states, entries, _ = await written(shop)
        assert (len(states), len(entries)) == (1, 1)
        moves = await shop.clinic.rows("SELECT count(*) FROM alerts.transition WHERE move = 'dispositioned'")
        assert moves == [(1,)]


@pytest.mark.parametrize(
    "note", [SAID["note"], "Her pulse: she had run up the stairs."], ids=["same", "another"]
)
async def test_one_call_about_two_alerts_settles_both_and_is_logged_once(shop, note):
    told = shop.clinic.score(
        "09:00", a_finding(Concern.HIGH_PRESSURE, Tier.HIGH), a_finding(Concern.FAST_PULSE, Tier.HIGH)
    )
    first, second = [moved.episode_id for moved in await shop.clinic.tell(told)]
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, f"/queue/episode/{first}")
        other = (await ana.get(f"/queue/episode/{second}")).text
        seen = re.search(r'name="seen" value="(\d+)"', other[other.index("/call/end") :])[1]
        assert (await ana.post(f"/queue/episode/{first}/call/end", **form)).status_code == 303
        for _ in range(2):  # the second time the page was loaded anew
            ended = await ana.post(f"/queue/episode/{second}/call/end", **form | {"seen": seen, "note": note})
            assert ended.status_code == 200
            assert "The minutes of this call were logged before" in ended.text
        assert (await ana.post(f"/queue/episode/{first}/call/end", **form)).status_code == 303
    states, (entry,), timers = await written(shop)
    assert states == [("handled", "contacted")] * 2
    assert (entry.episode_id, timers) == (first, ["logged"])
    moves = await shop.clinic.rows("SELECT count(*) FROM alerts.transition WHERE move = 'dispositioned'")
    assert moves == [(2,)]


REFUSED = [
    ("a note that says nothing", {"note": "ok"}),
    ("no disposition", {"code": ""}),
    ("a program that is none", {"program": "XYZ"}),
    ("a timer that nobody has", {"timer_id": str(uuid4())}),
    ("a time that is not attested", {"start": "2026-01-05T04:10", "end": "2026-01-05T04:12"}),
]


@pytest.mark.parametrize("wrong", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_if_either_is_refused_neither_is_written(shop, wrong):
    page, _, _ = await an_alert(shop)
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page, beats=2)
        before = await shop.clinic.rows("SELECT count(*) FROM alerts.transition")
        refused = await ana.post(f"{page}/call/end", **form | wrong)
        assert refused.status_code == 409
        assert 'role="alert"' in refused.text
        states, entries, timers = await written(shop)
        assert (states, entries, timers) == ([("claimed", None)], [], ["running"])
        assert await shop.clinic.rows("SELECT count(*) FROM alerts.transition") == before
        done = await ana.post(f"{page}/call/end", **form)
        assert done.status_code == 303


async def test_an_alert_that_got_worse_during_the_call_is_looked_at_again_and_no_minute_is_lost(shop):
    page, _, _ = await an_alert(shop)
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page)
        await shop.clinic.tell(shop.clinic.score("09:11", a_finding(Concern.HIGH_PRESSURE, Tier.CRITICAL)))
        refused = await ana.post(f"{page}/call/end", **form)
        assert refused.status_code == 409
        _, entries, timers = await written(shop)
        assert (entries, timers) == ([], ["running"])
        fresh = refused.text[refused.text.index("/call/end") :]
        seen = re.search(r'name="seen" value="(\d+)"', fresh)[1]
        assert (await ana.post(f"{page}/call/end", **form | {"seen": seen})).status_code == 303
        assert len((await written(shop))[1]) == 1


async def test_a_call_that_no_script_measured_is_attested_in_the_same_form(shop):
    page, episode_id, _ = await an_alert(shop)
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page, beats=0)
        shop.now += timedelta(minutes=9)
        local = (shop.now - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M")
        begun = (shop.now - timedelta(hours=5, minutes=8)).strftime("%Y-%m-%dT%H:%M")
        unmeasured = await ana.post(f"{page}/call/end", **form)
        assert unmeasured.status_code == 409
        await ana.post(f"{page}/call/end", **form, start=begun, end=local, attested="yes")
        _, (entry,), _ = await written(shop)
        assert (entry.source, entry.seconds, entry.episode_id) == ("manual", 480, episode_id)


async def test_the_second_nurse_reads_who_calls_and_no_timer_starts(shop):
    page, _, _ = await an_alert(shop)
    async with shop.hands("ana") as ana, shop.hands("ben") as ben:
        await a_call(shop, ana, page, beats=1)
        text = (await ben.get(page)).text
        assert "Ana Lima is on this" in text
        assert "Start the call" not in text
        refused = await ben.post(f"{page}/call", program="CCM")
        assert refused.status_code == 409
    assert len(await shop.clinic.rows("SELECT FROM ccm.timer")) == 1


async def test_who_has_no_clinical_credential_reads_why(shop):
    page, _, _ = await an_alert(shop)
    async with shop.hands("dora") as dora:
        assert "no clinical credential" in (await dora.get(page)).text
        refused = await dora.post(f"{page}/call", program="CCM")
        assert refused.status_code == 409
    states, _, timers = await written(shop)
    assert (states, timers) == ([("waiting", None)], [])


def attested(shop):
    """The four minutes until now, as their form says them."""
    local = shop.now - timedelta(hours=5)
    begun = local - timedelta(minutes=4)
    return {"start": f"{begun:%Y-%m-%dT%H:%M}", "end": f"{local:%Y-%m-%dT%H:%M}", "attested": "yes"}


async def test_a_timer_that_was_thrown_away_is_logged_neither_as_measured_nor_by_hand(shop):
    page, _, _ = await an_alert(shop)
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page)
        shop.now += timedelta(minutes=9)
        await ana.post(f"/timers/{form['timer_id']}/discard")
        for more in ({}, attested(shop)):
            refused = await ana.post(f"{page}/call/end", **form | more)
            assert refused.status_code == 409
            assert "This timer was discarded" in refused.text
    assert await written(shop) == ([("claimed", None)], [], ["discarded"])


async def test_nobody_ends_a_colleagues_call_by_its_timer(shop):
    page, _, _ = await an_alert(shop)
    (told,) = await shop.clinic.tell(
        shop.clinic.score("09:00", a_finding(Concern.HIGH_PRESSURE, Tier.HIGH), patient="jon")
    )
    theirs = f"/queue/episode/{told.episode_id}"
    async with shop.hands("ana") as ana, shop.hands("ben") as ben:
        form = await a_call(shop, ana, page)
        shop.now += timedelta(minutes=9)
        for url in (page, theirs):
            for more in ({}, attested(shop)):
                refused = await ben.post(f"{url}/call/end", **form | more)
                assert refused.status_code == 409
    _, entries, timers = await written(shop)
    assert (entries, timers) == ([], ["running"])


async def test_a_timer_of_one_patient_ends_no_call_with_another(shop):
    page, _, _ = await an_alert(shop)
    (told,) = await shop.clinic.tell(
        shop.clinic.score("09:00", a_finding(Concern.HIGH_PRESSURE, Tier.HIGH), patient="jon")
    )
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page)
        shop.now += timedelta(minutes=9)
        for more in ({}, attested(shop)):
            refused = await ana.post(f"/queue/episode/{told.episode_id}/call/end", **form | more)
            assert refused.status_code == 409
            assert "ran for another patient" in refused.text
    states, entries, timers = await written(shop)
    assert (sorted(state for state, _ in states), entries, timers) == (
        ["claimed", "waiting"],
        [],
        ["running"],
    )


async def test_a_calls_minutes_stand_on_the_task_of_their_alert_under_the_problem_it_is_about(shop):
    """The call is logged before its alert has a task: the disposition asks for one."""
    maria = shop.clinic.patients["maria"]
    nurse, doctor = ((p.staff_id, p.name) for p in (shop.clinic.staff["ana"], shop.clinic.staff["dora"]))
    plan = Content(
        problems=tuple(
            Problem(name=name, icd10=code, outcome="", goal="")
            for name, code in (("Type 2 diabetes", "E11.9"), ("High blood pressure", "I10"))
        )
    )
    score = shop.clinic.score("09:00", a_finding(Concern.HIGH_PRESSURE, Tier.HIGH))
    (opened,) = await shop.clinic.tell(score)
    page = f"/queue/episode/{opened.episode_id}"
    async with shop.clinic.pipeline() as conn:
        await month_service.enrol(
            conn,
            practice_id=1,
            patient_id=maria,
            nurse=nurse,
            practitioner=doctor,
            programs=frozenset({Program.CCM}),
            conditions=[],
            plan=plan,
            visit=(shop.now - timedelta(days=60)).date(),
            consent_at=shop.now - timedelta(days=50),
            plan_at=shop.now - timedelta(days=49),
        )
        await CcmRoom().handle(conn, [opened], now=shop.now)
    async with shop.hands("ana") as ana:
        form = await a_call(shop, ana, page)
        await ana.post(f"{page}/call/end", **form | {"task": "true"})
        async with shop.clinic.pipeline() as conn:
            await CcmRoom().handle(conn, await shop.clinic.outbox(), now=shop.now)
        found = await ana.get(f"/tasks/episode/{opened.episode_id}")
        task = (await ana.get(found.headers["location"])).text
    _, (entry,), _ = await written(shop)
    assert (entry.task_id, entry.problem) == (None, "High blood pressure")
    assert SAID["note"] in task
    assert f'call from <a href="{page}">the alert</a>' in task
    assert 'value="High blood pressure"' in task
    assert f"/chain/entry/{entry.entry_id}" in task
