"""The Devices pages on the real database: a flood is one line, bytes are shown to who may look, a person says whose it is."""

from datetime import timedelta
from html import unescape
from uuid import uuid4

import psycopg
import pytest

from deploy import database
from deploy.settings import Secret
from ingest import archive
from ingest.replay_store import Orders
from tests.ingest_home import Home, fingerstick, utc_now
from tests.ingest_site import a_site, pressure, refuse

pytestmark = pytest.mark.stack


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


async def test_a_flood_is_one_line_that_says_how_often_and_how_many_are_not_kept(home, monkeypatch):
    monkeypatch.setattr(archive, "KEPT", 100)
    await refuse(home, *(b"{junk %d" % n for n in range(150)))
    async with a_site(home) as site, site.browser("ana") as ana:
        page = (await ana.get("/devices")).text
        assert page.count('<td><a href="/devices/set-aside?') == 1
        assert "not json" in page
        assert "Of 50 more" in page
        kind = (
            await ana.get(f"/devices/set-aside?gateway={home.gateway}&device=&hop=decode&reason=not-json")
        ).text
        assert "150 times" in kind
        assert "100 open" in kind
        assert kind.count(">Look</a>") == 50
        same = {"gateway": home.gateway, "device": "", "hop": "decode", "reason": "not-json"}
        assert (await ana.post("/devices/set-aside/resolve", **same)).status_code == 400  # why?
        assert (await ana.post("/devices/set-aside/resolve", why="a test", **same)).status_code == 303
        assert (
            await ana.post("/devices/set-aside/replay", **same)
        ).status_code == 303  # none is open any more
    assert home.rows("SELECT state, count(*) FROM ingest.refusal GROUP BY state") == [("resolved", 100)]
    assert home.rows("SELECT act, reason, count(*) FROM ingest.handling GROUP BY act, reason") == [
        ("resolved", "a test", 100)
    ]


async def test_a_look_at_the_bytes_is_written_down_once_an_hour_and_the_auditor_may_not(home):
    (refusal,) = await refuse(home, fingerstick("stranger", 133))
    async with a_site(home) as site:
        async with site.browser("ana") as ana:
            for _ in range(2):
                page = await ana.get(f"/devices/set-aside/{refusal}")
            assert '"glucose":133' in unescape(page.text)
            assert "133 mg/dL" in page.text
            assert "Ana looked at it" in page.text
        async with site.browser("otto") as otto:
            assert (await otto.get(f"/devices/set-aside/{refusal}")).status_code == 403
        async with site.browser("chris") as chris:
            assert (await chris.get(f"/devices/set-aside/{refusal}")).status_code == 404
            assert (await chris.post(f"/devices/set-aside/{refusal}/replay")).status_code == 404
    assert home.rows("SELECT act, by FROM ingest.handling") in (
        [("looked", site.ids["ana"])],
        [("looked", site.ids["ana"])] * 2,  # the hour turned meanwhile
    )


async def test_without_the_key_the_page_says_so_and_shows_nothing(home):
    (refusal,) = await refuse(home, fingerstick("stranger", 133))
    async with a_site(home, strongbox=None) as site, site.browser("ana") as ana:
        page = await ana.get(f"/devices/set-aside/{refusal}")
    assert (page.status_code, "the key is not here" in page.text, "133" in page.text) == (200, True, False)


async def test_replay_and_close_are_orders_with_a_name_and_a_reason(home):
    first, second, third = await refuse(home, *(fingerstick("stranger", 100 + n) for n in range(3)))
    async with a_site(home) as site, site.browser("ana") as ana:
        assert (await ana.post(f"/devices/set-aside/{first}/replay")).status_code == 303
        assert (await ana.post(f"/devices/set-aside/{second}/resolve", reason=" ")).status_code == 400
        assert (await ana.post(f"/devices/set-aside/{second}/resolve", reason="a test")).status_code == 303
        assert (await ana.post(f"/devices/set-aside/{second}/resolve", reason="again")).status_code == 409
        kind = {"gateway": home.gateway, "device": "", "hop": "identity", "reason": "unknown-device"}
        assert (await ana.post("/devices/set-aside/replay", **kind)).status_code == 303
    assert dict(home.rows("SELECT event_id, state FROM ingest.refusal")) == {
        first: "replaying",
        second: "resolved",
        third: "replaying",
    }
    assert home.rows("SELECT count(*), count(DISTINCT refusal_id) FROM ingest.replay") == [(2, 2)]
    acts = home.rows("SELECT act, by_name, reason FROM ingest.handling ORDER BY act, reason")
    assert acts == [("replayed", "Ana", ""), ("replayed", "Ana", ""), ("resolved", "Ana", "a test")]


async def test_a_person_says_whose_it_is_out_of_candidates_or_by_record_number_or_nobodys(home):
    with psycopg.connect(home.fresh.pipeline) as conn:
        conn.execute(
            "UPDATE who.patient SET name = 'Maria Lopez', mrn = 'M-1' WHERE patient_id = %s", (home.maria,)
        )
        conn.execute(
            "UPDATE who.patient SET name = 'Nora Field', mrn = 'M-2' WHERE patient_id = %s", (home.nora,)
        )
    his, hers, cats, drawer = await refuse(
        home,
        pressure(home.cuff, 191, 122, user=255),
        pressure(home.cuff, 131, 82, user=255),
        pressure(home.cuff, 101, 62, user=255),
        fingerstick(home.drawer_meter, 97),
    )
    (stranger,) = await refuse(home, fingerstick("stranger"))
    async with a_site(home) as site, site.browser("ana") as ana:
        assert "4 readings wait for a decision" in (await ana.get("/devices")).text
        page = (await ana.get("/devices/whose")).text
        for told in ("191/122 mm[Hg], pulse 71 /min", "97 mg/dL", "Maria Lopez", "has this device"):
            assert told in page
        assert "Nora Field" not in page  # she neither has it nor measures through that gateway
        decide = "/devices/whose"
        assert (await ana.post(decide, whose=str(home.maria))).status_code == 400
        assert (await ana.post(decide, id=str(his))).status_code == 400
        assert (await ana.post(decide, id=str(cats), whose="nobody")).status_code == 400  # needs a reason
        assert (await ana.post(decide, id=str(stranger), whose=str(home.maria))).status_code == 400
        assert (
            await ana.post(decide, id=str(his), whose=str(home.oto))
        ).status_code == 400  # another practice's
        assert (await ana.post(decide, id=str(his), whose="number", mrn="M-999")).status_code == 400
        assert (await ana.post(decide, id=str(his), whose=str(home.maria))).status_code == 303
        assert (
            await ana.post(decide, id=[str(hers), str(drawer)], whose="number", mrn="M-2")
        ).status_code == 303
        assert (await ana.post(decide, id=str(cats), whose="nobody", reason="the cat")).status_code == 303
        assert (await ana.post(decide, id=str(his), whose=str(home.nora))).status_code == 409
        async with site.browser("chris") as chris:
            assert (await chris.post(decide, id=str(his), whose="nobody", reason="x")).status_code == 404
    assert dict(home.rows("SELECT refusal_id, patient_id FROM ingest.replay")) == {
        his: home.maria,
        hers: home.nora,
        drawer: home.nora,
    }
    assert home.rows(
        "SELECT act, reason FROM ingest.handling WHERE about = %s AND act <> 'looked'", cats
    ) == [("nobody", "the cat")]


async def test_a_device_becomes_shared_and_one_persons_again(home):
    async with a_site(home) as site, site.browser("ana") as ana:
        for word, state in (("yes", True), ("yes", True), ("no", False)):
            assert (await ana.post(f"/devices/of/{home.cuff}/shared", shared=word)).status_code == 303
            assert home.rows("SELECT shared FROM ingest.device WHERE device_id = %s", home.cuff) == [(state,)]
        await ana.post(f"/devices/of/{home.other_meter}/shared", shared="yes")
    assert home.rows("SELECT device_id FROM ingest.device WHERE shared") == []
    assert home.rows("SELECT act, device_id FROM ingest.handling ORDER BY at") == [
        ("shared", home.cuff),
        ("unshared", home.cuff),
    ]


async def test_a_clock_that_was_never_set_is_said_in_words(home):
    with psycopg.connect(home.fresh.pipeline) as conn:
        for gateway, error in ((home.gateway, "63930921459.7 seconds"), ("gw-slow", "4 minutes")):
            conn.execute(
                """INSERT INTO ingest.gateway (gateway_id, practice_id, clock_error, online, last_seen)
                   VALUES (%s, 1, %s, true, %s) ON CONFLICT (gateway_id) DO UPDATE SET clock_error = excluded.clock_error""",
                (gateway, error, utc_now() - timedelta(seconds=5)),
            )
    async with a_site(home) as site, site.browser("ana") as ana:
        page = (await ana.get("/devices")).text
    assert "not set" in page
    assert "4 min slow" in page
    assert "63930921459" not in page


@pytest.mark.parametrize("url", ["/devices/set-aside/{}", "/devices/set-aside/{}/nothing"])
async def test_what_is_not_there_is_a_page_that_says_so(home, url):
    async with a_site(home) as site, site.browser("ana") as ana:
        assert (await ana.get(url.format(uuid4()))).status_code == 404


async def test_what_is_left_is_counted_for_whoever_watches(home):
    at = utc_now() - timedelta(hours=2)
    await refuse(home, fingerstick("stranger"), b"junk")
    await refuse(home, pressure(home.cuff, 120, 80, user=255), at=at)
    await refuse(home, pressure(home.cuff, 121, 81, user=255))
    async with database.pool(Secret(home.fresh.pipeline)) as pool:
        assert await Orders(pool).left() == (2, 2, at)
    async with a_site(home) as site, site.browser("ana") as ana:
        for refusal, _ in home.rows("SELECT event_id, 1 FROM ingest.refusal WHERE reason = 'owner-unknown'"):
            await ana.post("/devices/whose", id=str(refusal), whose="nobody", reason="a visitor")
    async with database.pool(Secret(home.fresh.pipeline)) as pool:
        assert await Orders(pool).left() == (2, 0, None)
