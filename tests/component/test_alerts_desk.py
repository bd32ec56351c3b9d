"""One's own desk: many benign ones at once with a receipt, saved views, filters, last contact, today's summary."""

import asyncio
import re

import pytest

from alerts import page_service
from alerts.escalation import Channel
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.component.test_alerts_pages import Sink
from tests.unit.alerts.test_duty import GOOD
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack

RECEIPTS = "https://messages.example/in"


@pytest.fixture
async def clinic(fresh_database):
    clinic = await a_clinic(fresh_database)
    await clinic.new_patient("lia", "Lia Brandt")
    await clinic.tell(
        clinic.score("09:00", a_finding(tier=Tier.WATCH)),
        clinic.score("09:01", a_finding(tier=Tier.WATCH), patient="jon"),
        clinic.score("09:02", a_finding(tier=Tier.WATCH), patient="lia"),
        clinic.score("09:03", a_finding(Concern.FAST_PULSE, Tier.HIGH), patient="lia"),
    )
    return clinic


def numbers(text: str) -> dict[str, str]:
    """What the page about benign ones would send back, with everything ticked."""
    return dict(re.findall(r'name="(number_[0-9a-f-]+)" value="(\d+)"', text))


async def test_the_benign_are_acknowledged_together_patients_hear_of_it_and_all_of_it_can_be_undone(clinic):
    sink = Sink(fails=1)
    async with a_site(clinic) as site, site.hands("adm") as ada, site.hands("ana") as ana:
        site.now = when("09:05")
        assert (
            await ada.post("/queue/policy", version="1", why="Patients ask", receipts_to=RECEIPTS, **GOOD)
        ).status_code == 303
        page = (await ana.get("/queue/benign")).text
        assert "Maria Lopes" in page and "Jon Berg" in page
        assert "Lia Brandt" not in page  # something worse of hers is open
        site.now = when("09:06")
        done = await ana.post("/queue/benign", every="true", tell="true", **numbers(page))
        assert done.headers["location"] == "/queue/benign?done=2&left=0&told=2"
        for at in ("09:07", "09:08", "09:20"):
            await page_service.tell_patients(clinic.pipeline, {Channel.WEBHOOK: sink}, now=when(at))
        site.now = when("09:21")
        queue = (await ana.get("/queue")).text
        assert "and 1 other," in queue
        (act,) = re.findall(r'name="act_id" value="([0-9a-f-]+)"', queue)
        await ana.post("/queue/undo", act_id=act)
    assert sorted(target for target, _ in sink.taken) == [RECEIPTS] * 2
    assert len(set(sink.keys)) == 2
    told = sink.taken[0][1]
    assert told.text.startswith("Ana Lima of your care team has seen your readings.")
    assert {message.url for _, message in sink.taken} == {
        f"urn:uuid:{clinic.patients[name]}" for name in ("maria", "jon")
    }
    states = dict(
        await clinic.rows("SELECT patient_id, state FROM alerts.episode WHERE concern = 'high_pressure'")
    )
    assert states[clinic.patients["maria"]] == states[clinic.patients["jon"]] == "waiting"


async def test_what_moved_since_the_page_was_shown_is_left_for_a_look_of_its_own(clinic):
    async with a_site(clinic) as site, site.hands("ana") as ana, site.hands("ben") as ben:
        page = (await ana.get("/queue/benign")).text
        await clinic.tell(clinic.score("09:06", a_finding(tier=Tier.CRITICAL)))
        answers = await asyncio.gather(
            *(hand.post("/queue/benign", every="true", **numbers(page)) for hand in (ana, ben))
        )
        assert sorted(answer.headers["location"] for answer in answers) == [
            "/queue/benign?done=0&left=2&told=0",
            "/queue/benign?done=1&left=1&told=0",
        ]
        assert "1 had moved meanwhile" in (await ana.get("/queue/benign?done=1&left=1")).text
    assert await clinic.rows("SELECT count(*) FROM alerts.episode WHERE state = 'handled'") == [(1,)]
    assert await clinic.rows("SELECT count(*) FROM alerts.receipt") == [(0,)]


async def test_an_auditor_reads_and_acknowledges_nothing(clinic):
    async with a_site(clinic) as site, site.hands("aud") as auditor:
        page = (await auditor.get("/queue/benign")).text
        assert "<button" not in page.split('id="main"')[1]
        assert (await auditor.post("/queue/benign", every="true", **numbers(page))).status_code == 403


async def test_a_part_of_the_list_is_kept_under_a_name_and_only_for_oneself(clinic):
    async with a_site(clinic) as site, site.hands("ana") as ana, site.hands("ben") as ben:
        narrow = "/queue?tab=clinical&severity=high"
        page = (await ana.get(narrow)).text
        assert ("Lia Brandt" in page, "Maria Lopes" in page) == (True, False)
        kept = await ana.post("/queue/views", name="Highs", query="?tab=clinical&severity=high&evil=1")
        assert kept.headers["location"] == narrow
        again = await ana.post("/queue/views", name="Highs", query="?tab=clinical")
        assert again.status_code == 409
        assert 'href="/queue?tab=clinical&amp;severity=high"' in (await ana.get("/queue")).text
        assert "Highs" not in (await ben.get("/queue")).text
        (view,) = re.findall(r"/queue/views/([0-9a-f-]+)/forget", (await ana.get("/queue")).text)
        assert (await ben.post(f"/queue/views/{view}/forget")).status_code == 404
        assert (await ana.post(f"/queue/views/{view}/forget")).status_code == 303
        assert "Highs" not in (await ana.get("/queue")).text


async def test_filters_of_the_list(clinic):
    async with a_site(clinic) as site:
        site.now = when("14:00")  # the high one is an hour late
        for query, seen in (
            ("show=late", ["Lia Brandt"]),
            ("concern=fast_pulse", ["Lia Brandt"]),
            ("severity=watch", ["Maria Lopes", "Jon Berg"]),
            ("severity=nonsense&concern=nonsense&page=x", ["Lia Brandt", "Maria Lopes", "Jon Berg"]),
        ):
            async with site.hands("ana") as ana:
                page = (await ana.get(f"/queue?{query}")).text
            assert [name for name in ("Lia Brandt", "Maria Lopes", "Jon Berg") if name in page] == seen, query


async def test_the_row_says_when_somebody_last_spoke_with_the_patient_and_the_day_counts_it(clinic):
    async with a_site(clinic) as site, site.hands("ana") as ana:
        site.now = when("09:10")
        assert "no contact yet" in (await ana.get("/queue")).text
        await ana.post(f"/queue/patient/{clinic.patients['maria']}/claim")
        (episode,) = (
            await clinic.rows(
                "SELECT episode_id FROM alerts.episode WHERE patient_id = %s", clinic.patients["maria"]
            )
        )[0]
        await ana.post(f"/queue/episode/{episode}/settle", seen="2", code="contacted", note="Well.")
        await clinic.tell(clinic.score("09:15", a_finding(tier=Tier.HIGH)))
        site.now = when("09:20")
        await ana.post(f"/queue/patient/{clinic.patients['jon']}/claim")
        assert "Last contact 04:10, Ana Lima" in (await ana.get("/queue")).text
        today = (await ana.get("/queue/today")).text
    line = re.search(r"Ana Lima</th>(.*?)</tr>", today, re.DOTALL)[1]
    assert re.findall(r"<td[^>]*>(\d+)</td>", line) == ["1", "2", "1", "1", "0"]


async def test_a_value_beyond_the_meter_is_an_arrow_on_the_line(clinic):
    sugar = {"kind": "glucose", "assessed": (Concern.LOW_GLUCOSE, Concern.HIGH_GLUCOSE), "bands": ()}
    await clinic.new_patient("ida", "Ida Moor")
    await clinic.tell(
        clinic.score("08:00", patient="ida", values={"glucose": 180.0}, **sugar),
        clinic.score(
            "09:00",
            a_finding(Concern.HIGH_GLUCOSE, Tier.CRITICAL),
            patient="ida",
            values={},
            beyond="HI",
            **sugar,
        ),
    )
    async with a_site(clinic) as site, site.hands("ana") as ana:
        page = (await ana.get("/queue")).text
    assert "2 readings, 180 to 180 mg/dL, 1 HI, the last HI." in page
    assert '<path class="dot dot-critical"' in page
