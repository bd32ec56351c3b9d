"""What a nurse reads of next week's pressure and of what is missing: on a patient's page, in the list, on an episode's page."""

import re

import pytest

from risk.replay import replay
from tests.component.alerts_clinic import a_clinic, a_site
from tests.component.risk_ward import a_ward, cuff, stick
from tests.component.test_alerts_web import words
from tests.component.test_risk_browser import at_work, kept
from tests.unit.risk.diary import a_reading

pytestmark = pytest.mark.stack
PEOPLE = {
    "hana": ("Hana Highish", lambda: cuff(lambda left: 139, seed=1)),
    "stan": ("Stan Stable", lambda: cuff(lambda left: 118, seed=7)),
    "anna": ("Anna Acquainted", lambda: cuff(lambda left: 133, seed=8, days=4)),
    "mona": ("Mona Mornings", lambda: mornings()),
    "gina": ("Gina Glucose", lambda: stick(lambda left: 136, seed=9)),
}


def mornings():
    """Both half-days until nine days ago, then mornings alone."""
    return [(left, told) for left, told in cuff(lambda left: 141, seed=2) if left > 9 or left % 1]


@pytest.fixture
async def ward(fresh_database):
    async with a_ward(fresh_database, PEOPLE) as opened:
        yield opened


async def test_a_patients_page_tells_how_likely_a_high_week_is_or_why_it_does_not(ward):
    said = {}
    async with ward.hands("ana") as ana:
        for name, patient in ward.clinic.patients.items():
            said[name] = words(await ana.get(f"/patients/{patient}"))
        everybody = words(await ana.get("/patients"))
    assert (
        "likely that next week's home average is at or above 135/85; from 64 days measured, last seven days' average 1"
        in said["hana"]
    )
    assert "1% likely that next week's home average" in said["stan"]
    assert "No chance is told of next week's home average: only 4 of the 7 days needed." in said["anna"]
    assert "next week's home average" not in said["gina"]
    assert everybody.count("likely over the limit next week.") == 2  # Hana and Mona


async def test_what_is_missing_stands_beside_the_reason_only_where_something_is(ward):
    async with ward.hands("ana") as ana:
        mona = words(await ana.get(f"/patients/{ward.clinic.patients['mona']}"))
        hana = words(await ana.get(f"/patients/{ward.clinic.patients['hana']}"))
    assert re.search(
        r"Missing: no evening readings in [89] days\. Clears: A seven-day average below 135\.", mona
    )
    assert "Clears: A seven-day average below 135." in hana and "Missing" not in hana


@pytest.mark.browser
@pytest.mark.parametrize("width", [1360, 390], ids=["a desk", "a telephone"])
async def test_both_fit_a_telephone(ward, width):
    async with at_work(ward, width=width) as page:
        for name in ("hana", "mona", "anna"):
            assert (await page.goto(f"/patients/{ward.clinic.patients[name]}")).ok
            await kept(page, f"outlook-{name}-{width}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_an_episode_says_what_is_missing_as_its_score_did(fresh_database):
    clinic = await a_clinic(fresh_database)
    maria = clinic.patients["maria"]
    _, raised = replay(
        [a_reading(0, patient=maria, systolic=128.0), a_reading(0.5, patient=maria, systolic=166.0)]
    )
    async with a_site(clinic) as shop:
        (told,) = await clinic.tell(raised)
        async with shop.hands("ana") as ana:
            page = words(await ana.get(f"/queue/episode/{told.episode_id}"))
    lacks = "Missing: only 1 of the 7 days needed; only 2 of the 3 sittings that could confirm it."
    assert f"{lacks} Clears with: A sitting below 160." in page
    assert page.count("of the 7 days needed") == 1
