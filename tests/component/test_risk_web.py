"""The risk screens behind the real frame: buckets with reasons, one patient's weeks, and nothing saved unseen."""

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from fastapi.responses import HTMLResponse

from alerts import acts, service
from ingest.events import Withdrawn
from risk import standing_store
from risk.population import Bucket
from risk.service import RiskRoom
from tests.component.risk_ward import NOW, PEOPLE, a_ward, readings
from tests.component.test_alerts_web import words

pytestmark = pytest.mark.stack


@pytest.fixture
async def ward(fresh_database):
    async with a_ward(fresh_database) as opened:
        yield opened


def fields(page):
    """The hidden fields of the page's save form."""
    form = re.search(r'<form method="post" action="[^"]*/decide".*?</form>', page.text, re.DOTALL).group()
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))


async def test_everybody_stands_in_one_named_bucket_with_the_reason(ward):
    async with ward.hands("ana") as ana:
        page = await ana.get("/patients")
    said = words(page)
    assert page.status_code == 200
    sections = re.split(r"<section", page.text)[1:]
    found = {
        re.search(r'id="bucket-(\w+)"', section).group(1): re.findall(
            r"<strong>(\w+ \w+)</strong></a>", section
        )
        for section in sections
    }
    assert (
        "Rosa Rising" in found["rising"]
        and "Fred Falling" in found["falling"]
        and "Lena Low" in found["lows"]
    )
    assert found["outside"] == ["Otto Over"] and found["variable"] == ["Vera Variable"]
    assert "Nora Nodata" in found["silent"]  # and those who never measured
    assert {"Stan Stable", "Anna Acquainted", "Gina Glucose"} <= set(found["stable"])
    for bucket in Bucket:
        assert bucket.value in said
    for part in (
        "Systolic has risen by",
        "usual",
        "Nothing measured for 1",
        "learning, 4 d",
        "mmHg",
        "Nothing measured in three months",
    ):
        assert part in said, part
    assert "<script>" not in page.text and not re.search(r'\sstyle="|\son\w+="', page.text)


async def test_where_somebody_stands_is_kept_and_follows_every_word_about_them(ward):
    stan, room = ward.clinic.patients["stan"], RiskRoom()
    (high,) = readings(stan, [(0.35, {"systolic": 190.0, "diastolic": 96.0})])
    taken_back = Withdrawn(
        event_id=uuid4(), caused_by=uuid4(), practice_id=1, patient_id=stan, reading=high, reason="not hers",
        by_name="Ana", at=NOW,
    )  # fmt: skip
    unscored = msgspec.structs.replace(high, event_id=uuid4())

    async def stands():
        async with ward.hands("ana") as ana:
            return words(await ana.get("/patients?find=Stan+Stable"))

    assert "Inside the own normal" in await stands()
    kept = await ward.clinic.rows("SELECT patient_id, said FROM risk.standing ORDER BY 1")
    assert len(kept) == len(PEOPLE) and "Inside the own normal" in await stands()
    assert await ward.clinic.rows("SELECT patient_id, said FROM risk.standing ORDER BY 1") == kept
    async with ward.clinic.pipeline() as conn:
        await room.handle(conn, [high], now=NOW)
    assert "emergency limit of 180" in await stands()
    async with ward.clinic.pipeline() as conn:
        await room.handle(conn, [taken_back], now=NOW)
    assert "Inside the own normal" in await stands()
    async with ward.clinic.pipeline() as conn:
        await room.park(conn, unscored, reason="tried", now=NOW)
    assert "could not be scored" in await stands()


async def test_a_crowd_is_read_in_turns_and_nobody_stands_where_nobody_looked(ward, monkeypatch):
    monkeypatch.setattr("risk.pages_web.TOLD_AT_ONCE", 2)
    async with ward.hands("ana") as ana:
        first, then = words(await ana.get("/patients")), words(await ana.get("/patients"))
    assert "7 people have measured since" in first and "have measured since" not in then
    assert all(name in then for name, _ in PEOPLE.values())
    monkeypatch.setattr("risk.pages_web.ROWS_OF_ONE_BUCKET", 2)
    async with ward.hands("ana") as ana:
        page, last = (
            await ana.get("/patients?bucket=stable"),
            await ana.get("/patients?bucket=stable&start=2"),
        )
    assert "1 to 2 of 3" in words(page) and "start=2" in page.text
    assert "3 to 3 of 3" in words(last) and "Previous" in words(last) and "Next" not in words(last)


async def test_of_two_pages_at_once_one_reads_the_rest(ward, monkeypatch):
    tell_anew, page = standing_store.tell_anew, ward.desk.page
    told, made = [], asyncio.Barrier(2)

    class Held(HTMLResponse):
        """A page that goes out, and whose rest is told, only when the other page is made too."""

        async def __call__(self, *args):
            await made.wait()
            await super().__call__(*args)

    async def recorded(conn, practice, stale, *, now):
        told.extend(stale)
        return await tell_anew(conn, practice, stale, now=now)

    monkeypatch.setattr("risk.pages_web.TOLD_AT_ONCE", 0)
    monkeypatch.setattr(standing_store, "tell_anew", recorded)
    monkeypatch.setattr(ward.desk, "page", lambda *args, **context: Held(page(*args, **context).body))
    async with ward.hands("ana") as ana:
        pages = await asyncio.gather(ana.get("/patients"), ana.get("/patients"))
    assert [one.status_code for one in pages] == [200, 200]
    assert sorted(told) == sorted(ward.clinic.patients[key] for key in PEOPLE)


async def test_what_an_earlier_version_kept_in_another_shape_is_told_anew_and_kept(ward):
    async with ward.hands("ana") as ana:
        before = words(await ana.get("/patients"))
        kept = await ward.clinic.rows("SELECT patient_id, told FROM risk.standing ORDER BY 1")
        async with ward.clinic.pipeline() as conn:
            await conn.execute("UPDATE risk.standing SET told = %s", (b'{"latest":"of an older shape"}',))
        assert words(await ana.get("/patients")) == before
    assert await ward.clinic.rows("SELECT patient_id, told FROM risk.standing ORDER BY 1") == kept


async def test_one_bucket_or_one_name_can_be_asked_for(ward):
    async with ward.hands("ana") as ana:
        rising = words(await ana.get("/patients?bucket=rising"))
        found = words(await ana.get("/patients?find=stan"))
        nobody = words(await ana.get("/patients?find=zzz"))
    assert "Rosa Rising" in rising and "Stan Stable" not in rising
    assert "Stan Stable" in found and "Rosa Rising" not in found
    assert "Nobody here is called" in nobody


async def test_a_patients_page_shows_weeks_band_drift_and_alerts(ward):
    async with ward.hands("ana") as ana:
        page = await ana.get(f"/patients/{ward.clinic.patients['rosa']}")
    said = words(page)
    assert page.status_code == 200
    for part in ("Rising fast.", "Systolic, mmHg", "Diastolic, mmHg", "Pulse, per minute", "Drift of pressure", "Alerts of these 90 days",
                 "Alert budget for trends: 0.25", "AHA/ACC 2025"):  # fmt: skip
        assert part in said, part
    assert (
        page.text.count('class="band"') == 3 and 'class="drift"' in page.text and 'class="alert"' in page.text
    )


async def test_a_glucose_after_a_meal_stands_beside_the_own_glucose_after_meals(ward):
    async with ward.hands("ana") as ana:
        page = await ana.get(f"/patients/{ward.clinic.patients['gina']}")
    newest = max(
        (one for one in ward.scored if one.patient_id == ward.clinic.patients["gina"]),
        key=lambda one: one.effective_at,
    )
    (band,) = newest.bands
    assert band.when in {"after meals", "before meals"}
    assert f"glucose {band.when} usually {band.level:.0f}" in page.text
    assert "dashed the one after meals" in page.text and page.text.count('class="after-meals"') == 1
    assert ", after a meal</title>" in page.text


async def test_another_practices_patient_does_not_exist(ward):
    url = f"/patients/{ward.clinic.patients['rosa']}"
    async with ward.hands("chris") as chris:
        theirs, none, all_ = (
            await chris.get(url),
            await chris.get(f"/patients/{uuid4()}"),
            await chris.get("/patients"),
        )
        refused = await chris.post(
            f"{url}/decide", decision_id=str(uuid4()), what="baseline", reason="mine now"
        )
    assert (theirs.status_code, words(theirs)) == (none.status_code, words(none)) == (404, words(none))
    assert refused.status_code == 404
    assert "Rosa" not in all_.text and "Oto Novak" in all_.text
    assert await ward.clinic.rows("SELECT 1 FROM risk.decision") == []


async def test_a_limit_is_saved_only_after_its_replay_was_seen(ward):
    url = f"/patients/{ward.clinic.patients['otto']}"
    async with ward.hands("ana") as ana:
        blind = await ana.post(
            f"{url}/decide", decision_id=str(uuid4()), what="systolic-high", value="150", reason="x"
        )
        assert blind.status_code == 409
        assert "Look at the replay below first" in words(blind)
        assert await ward.clinic.rows("SELECT 1 FROM risk.limit_override") == []
        seen = await ana.get(f"{url}?what=systolic-high&value=175&until=2026-05-31")
        said = words(seen)
        assert "would have been missed" in said and "Would have been missed: " in said and "Week of" in said
        saved = await ana.post(f"{url}/decide", **{**fields(seen), "reason": "known white coat"})
        assert (saved.status_code, saved.headers["location"]) == (303, url)
        page = words(await ana.get(url))
    assert "Systolic above 175 mmHg moved" in page
    assert "Systolic high 175 , Ana Lima: known white coat Shown before: " in page
    ((rule, value, reason, valid_to, shown),) = await ward.clinic.rows(
        "SELECT rule, value, reason, valid_to, shown FROM risk.limit_override"
    )
    assert (rule, value, reason) == ("systolic-high", 175.0, "known white coat")
    assert valid_to.isoformat() == "2026-06-01T04:00:00+00:00"  # the end of that day in New York
    assert re.match(r"\d+ alerts before, \d+ after, \d+ missed, \d+ new; 1 patients", shown)


async def test_a_form_sent_twice_is_one_decision_and_a_newer_limit_ends_the_older(ward):
    url = f"/patients/{ward.clinic.patients['stan']}"
    async with ward.hands("ana") as ana:
        form = fields(await ana.get(f"{url}?what=systolic-high&value=150"))
        for _ in range(2):
            await ana.post(f"{url}/decide", **{**form, "reason": "after stroke"})
        ward.now = NOW + timedelta(minutes=10)
        form = fields(await ana.get(f"{url}?what=systolic-high&value=155"))
        await ana.post(f"{url}/decide", **{**form, "reason": "too many"})
    rows = await ward.clinic.rows(
        "SELECT value, valid_from, valid_to FROM risk.limit_override ORDER BY valid_from"
    )
    assert [(value, to) for value, _, to in rows] == [(150.0, rows[1][1]), (155.0, None)]


async def test_a_change_that_readings_have_overtaken_is_shown_anew_and_not_saved(ward):
    patient = ward.clinic.patients["stan"]
    async with ward.hands("ana") as ana:
        form = fields(await ana.get(f"/patients/{patient}?what=systolic-high&value=150"))
        async with ward.clinic.pipeline() as conn:
            new = list(readings(patient, [(0.34, {"systolic": 170.0, "diastolic": 90.0, "pulse": 70.0})]))
            assert new
            await RiskRoom().handle(conn, new, now=NOW)
        answer = await ana.post(f"/patients/{patient}/decide", **{**form, "reason": "after stroke"})
    assert answer.status_code == 409
    assert await ward.clinic.rows("SELECT 1 FROM risk.limit_override") == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("what=systolic-high&value=1500", "can be set from 120 to 200 mm[Hg], not to 1500"),
        ("what=systolic-high&value=15o", "15o is not a number."),
        ("what=budget&value=9", "more than 0 and at most 4"),
        ("what=budget&value=nan", "more than 0 and at most 4"),
        ("what=nonsense&value=1", "Choose which limit"),
        ("what=systolic-high&value=150&until=soon", "soon is not a date"),
    ],
    ids=[
        "a typing error",
        "a letter",
        "a budget beyond the scale",
        "not a number at all",
        "no such limit",
        "no date",
    ],
)
async def test_what_cannot_be_set_is_refused_in_words(ward, query, sentence):
    async with ward.hands("ana") as ana:
        answer = await ana.get(f"/patients/{ward.clinic.patients['stan']}?{query}")
    assert answer.status_code == 422
    assert sentence in words(answer)


async def test_without_a_reason_nothing_is_saved_and_what_was_typed_stays(ward):
    url = f"/patients/{ward.clinic.patients['stan']}"
    async with ward.hands("ana") as ana:
        form = fields(await ana.get(f"{url}?what=budget&value=0.5"))
        answer = await ana.post(f"{url}/decide", **{**form, "reason": "  "})
    assert answer.status_code == 422
    assert "Say why" in words(answer) and 'value="0.5"' in answer.text


@pytest.mark.parametrize("name", ["aud", "eve", "adm"])
async def test_who_may_look_may_not_decide(ward, name):
    url = f"/patients/{ward.clinic.patients['stan']}"
    async with ward.hands(name) as hands:
        page = await hands.get(f"{url}?what=systolic-high&value=150")
        answer = await hands.post(f"{url}/decide", decision_id=str(uuid4()), what="baseline", reason="no")
    assert page.status_code == 200 and "Save from now on" not in page.text
    assert answer.status_code == 403


async def test_a_new_normal_is_a_decision_with_its_reason(ward):
    url = f"/patients/{ward.clinic.patients['rosa']}"
    async with ward.hands("ana") as ana:
        saved = await ana.post(
            f"{url}/decide", decision_id=str(uuid4()), what="baseline", reason="new tablets since Monday"
        )
        page = words(await ana.get(url))
    assert saved.status_code == 303
    assert "A new normal begins , Ana Lima: new tablets since Monday" in page


async def test_the_practices_own_limits_are_a_physicians_and_replayed_over_its_patients(ward):
    async with ward.hands("ana") as ana, ward.hands("dora") as dora:
        looked = await ana.get("/patients/practice?what=systolic-high&value=130")
        refused = await ana.post(
            "/patients/practice/decide",
            decision_id=str(uuid4()),
            what="systolic-high",
            value="130",
            reason="x",
        )
        form = fields(await dora.get("/patients/practice?what=systolic-high&value=130"))
        saved = await dora.post("/patients/practice/decide", **{**form, "reason": "our protocol"})
        page = words(await dora.get("/patients/practice"))
    assert (
        "Would be new" in words(looked)
        and "Stan Stable" in words(looked)
        and "Save from now on" not in looked.text
    )
    assert (refused.status_code, saved.status_code) == (403, 303)
    assert "Systolic above 130 mmHg moved" in page and "Dora Weiss: our protocol" in page


async def test_what_nurses_said_of_alerts_stands_beside_a_limit_and_a_budget(ward):
    """An alert that was settled as noise, one as useful; an undone word counts for nobody."""
    clinic, otto = ward.clinic, ward.clinic.patients["otto"]
    over = next(
        one
        for one in ward.scored
        if one.patient_id == otto and any(f.rule == "systolic-high" for f in one.findings)
    )
    rise = next(
        one for one in ward.scored if one.patient_id == clinic.patients["rosa"]
        and any(finding.rule == "drift-systolic-up" for finding in one.findings)
    )  # fmt: skip
    (opened,) = {move.episode_id for move in await clinic.tell(over, now=NOW)}
    trends = {move.concern: move.episode_id for move in await clinic.tell(rise, now=NOW)}

    async def settle(episode, code):
        act = clinic.act(now=NOW)
        async with clinic.web() as conn:
            await service.on_episode(
                conn,
                episode,
                act,
                lambda e: acts.settle(act, e, code=code, note="", needs_task=False, close=False),
            )
        return act.act_id

    async with clinic.web() as conn:
        wrong = await settle(opened, "self_care")
        await service.undo(conn, wrong, clinic.act(now=NOW))
    await settle(opened, "noise")
    await settle(trends["pressure_drift_up"], "technique")
    async with ward.hands("dora") as dora:
        page = words(await dora.get("/patients/practice"))
        what_if = words(await dora.get(f"/patients/{otto}?what=systolic-high&value=190"))
    assert "systolic-high 1 0 % 1 noise" in page
    assert "drift-systolic-up 1 0 % 1 technique" in page
    assert "0.25 1 0 % 1 technique" in page  # the budget that raised it keeps it
    assert "of those that would be missed 1 noise" in what_if
