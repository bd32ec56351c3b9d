"""What leaves the house: letter, story, report, packet, and the chain back to the bytes."""

import csv
import io
import json
import re

import pytest
from fhir.resources.R4B.bundle import Bundle

from ccm_bridge import (
    packet,
)
from tests.component.ccm_clinic import READING, TASK, entry

pytestmark = pytest.mark.stack


async def test_the_letter_tells_the_month_in_plain_words(clinic):
    people = clinic.people
    async with clinic.browser(people.ana) as ana:
        await ana.post("/entries", data=entry(people))
        page = (await ana.get(f"/month/2026-11/patient/{people.maria}/letter")).text
    for words in (
        "Dear Maria",
        "172 over 96",
        "November 3: Ana Ruiz",
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
