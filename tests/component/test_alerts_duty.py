"""Promises and the rota on the real database and through the pages: versions, swaps, calls to whoever is on call."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from alerts import page_service, rota_store
from alerts.escalation import Channel
from alerts.rota import Shift
from deploy.people import Staff
from risk.events import Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.component.test_alerts_pages import URL, Sink, rung
from tests.unit.alerts.test_duty import GOOD
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack


@pytest.fixture
async def clinic(fresh_database):
    return await a_clinic(fresh_database)


async def test_a_changed_policy_is_used_for_what_comes_and_moves_no_promise_that_was_made(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    async with a_site(clinic) as site, site.hands("adm") as ada, site.hands("ana") as ana:
        assert (await ana.post("/queue/policy", version="1", why="I want to", **GOOD)).status_code == 403
        refused = await ada.post("/queue/policy", version="1", **GOOD)
        assert "Say why" in refused.text
        done = await ada.post(
            "/queue/policy", version="1", why="The board decided", **GOOD | {"targets_high": "60"}
        )
        assert done.status_code == 303
        late = await ada.post("/queue/policy", version="1", why="Me too", **GOOD)
        assert "Somebody else changed the policy" in late.text
        page = (await ana.get("/queue/policy")).text
    assert "The board decided" in page
    assert "high: somebody has claimed it within 60 min (was 4 h)" in page
    await clinic.tell(clinic.score("14:00", a_finding(), patient="jon"))
    await clinic.tell(clinic.score("14:00", a_finding(), patient="oto"))  # another practice: another policy
    due = dict(await clinic.rows("SELECT patient_id, due_at - since FROM alerts.episode"))
    assert due == {
        clinic.patients["maria"]: timedelta(hours=4),
        clinic.patients["jon"]: timedelta(hours=1),  # Monday, 09:00 in New York
        clinic.patients["oto"]: timedelta(hours=4),
    }


async def test_two_changes_at_once_are_two_versions_or_one_refusal(clinic):
    async with a_site(clinic) as site, site.hands("adm") as ada, site.hands("dora") as dora:
        answers = await asyncio.gather(
            *(
                hand.post("/queue/policy", version="1", why="At once", **GOOD | {"targets_high": minutes})
                for hand, minutes in ((ada, "60"), (dora, "90"))
            )
        )
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert await clinic.rows("SELECT count(*) FROM alerts.policy_version") == [(1,)]


async def put_on(clinic, name, starts, ends):
    person = clinic.staff[name]
    shift = Shift(shift_id=uuid4(), staff_id=person.staff_id, staff_name=person.name, starts_at=when(starts),
                  ends_at=when(ends), added_by_name="Dora Weiss")  # fmt: skip
    async with clinic.web() as conn:
        done = await rota_store.add(
            conn, [shift], practice_id=1, by=clinic.staff["dora"].staff_id, at=when("08:00")
        )
    return shift, done


async def test_a_call_goes_to_whoever_is_on_call_then_also_after_a_swap(clinic):
    await rung(clinic, target="on-call", wait=5, repeat=60)
    shift, _ = await put_on(clinic, "ana", "09:00", "17:00")
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    sink = Sink()

    async def call(at):
        return await page_service.call(
            clinic.pipeline, {Channel.EMAIL: sink}, public_url=URL, now=when(at), people=Staff()
        )

    await call("09:06")
    async with a_site(clinic) as site, site.hands("ben") as ben, site.hands("aud") as auditor:
        assert (
            await auditor.post(
                f"/queue/rota/{shift.shift_id}/swap", staff_id=str(clinic.staff["ben"].staff_id)
            )
        ).status_code == 403
        swapped = await ben.post(
            f"/queue/rota/{shift.shift_id}/swap", staff_id=str(clinic.staff["ben"].staff_id)
        )
        assert swapped.status_code == 303
        page = (await ben.get("/queue/rota")).text
        assert "Ben Roth is on call until" in page
        assert "On call: <strong>Ben Roth</strong>" in (await ben.get("/queue/handover")).text
    await call("10:06")
    assert [target for target, _ in sink.taken] == ["ana@example.org", "ben@example.org"]


async def test_whoever_comes_on_call_is_told_at_once_also_within_the_window_of_who_was(clinic):
    await rung(clinic, severity="high", target="on-call", wait=0, repeat=None)
    await put_on(clinic, "ana", "09:00", "10:00")
    await put_on(clinic, "ben", "10:00", "11:00")
    sink = Sink()
    for at, patient in (("09:59", "maria"), ("10:00", "jon")):
        await clinic.tell(clinic.score("09:50", a_finding(), patient=patient))
        await page_service.call(
            clinic.pipeline, {Channel.EMAIL: sink}, public_url=URL, now=when(at), people=Staff()
        )
    assert [target for target, _ in sink.taken] == ["ana@example.org", "ben@example.org"]


async def test_a_call_into_a_gap_is_a_failing_channel_that_everybody_sees(clinic):
    await rung(clinic, target="on-call", repeat=None)
    await rung(clinic, target="role:physician", repeat=None)
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    sink = Sink()
    for at in ("09:06", "09:08", "09:12", "09:20"):
        await page_service.call(
            clinic.pipeline, {Channel.EMAIL: sink}, public_url=URL, now=when(at), people=Staff()
        )
    assert [target for target, _ in sink.taken] == ["dora@example.org"]
    async with a_site(clinic) as site, site.hands("ana") as ana:
        site.now = when("09:21")
        assert "Calls by e-mail do not get out: nobody is on call." in (await ana.get("/queue")).text


async def test_one_person_is_on_call_at_a_time_whoever_writes(clinic):
    _, first = await put_on(clinic, "ana", "09:00", "17:00")
    _, second = await put_on(clinic, "ben", "16:00", "20:00")
    assert (first, second) == (True, False)
    async with a_site(clinic) as site, site.hands("adm") as ada, site.hands("chris") as chris:
        taken = await ada.post(
            "/queue/rota",
            staff_id=str(clinic.staff["ben"].staff_id),
            starts="2026-01-05T10:00",
            ends="2026-01-05T14:00",
        )
        assert "Somebody is on call at that time already" in taken.text
        assert "Ana Lima" not in (await chris.get("/queue/rota")).text
