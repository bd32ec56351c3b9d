"""The alerts screens behind the real frame: every route, with and without JavaScript, for everybody and for nobody."""

import html
import json
import random
import re
from datetime import timedelta
from functools import reduce
from itertools import groupby
from uuid import UUID, uuid4

import pytest

from alerts import report_store
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack

HIGH, CRITICAL, WATCH = Tier.HIGH, Tier.CRITICAL, Tier.WATCH


@pytest.fixture
async def clinic(fresh_database):
    return await a_clinic(fresh_database)


@pytest.fixture
async def shop(clinic):
    async with a_site(clinic) as opened:
        yield opened


async def opened(shop, *, patient="maria", tier=HIGH, at="09:00", concern=Concern.HIGH_PRESSURE) -> UUID:
    """An episode, as the room opens it; its id."""
    clinic = shop.clinic
    (told,) = await clinic.tell(clinic.score(at, a_finding(concern, tier), patient=patient))
    return told.episode_id


def words(answer) -> str:
    """What a reader sees, one space between words."""
    text = re.sub(r"<(svg|script|title|head)\b.*?</\1>", " ", answer.text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&#39;", "'").split())


async def test_the_list_says_who_why_how_long_and_what_next(shop):
    await opened(shop, tier=CRITICAL)
    await opened(shop, patient="jon", tier=WATCH)
    async with shop.hands("ana") as ana:
        page = await ana.get("/queue")
    said = words(page)
    assert page.status_code == 200
    assert "1 patient needs somebody now" in said
    assert said.index("Maria Lopes") < said.index("Jon Berg")  # the worst on top
    for part in ("Critical", "20 min left", "74 y · Mmaria", "High blood pressure", "High pressure, critical.",
                 "128/78 mmHg", "usual 112–144", "Measured 04:00", "Received 04:00 · here 9 min", "1 reading · no contact yet",
                 "Nobody yet", "Claim Maria Lopes"):  # fmt: skip
        assert part in said, part
    assert 'class="spark"' in page.text
    assert "<script>" not in page.text
    assert not re.search(r'\sstyle="|\son\w+="', page.text)  # nothing that the content policy forbids


async def test_several_concerns_of_one_patient_are_one_row_with_the_worst_on_top(shop):
    await opened(shop, tier=WATCH, concern=Concern.FAST_PULSE)
    await opened(shop, tier=HIGH, at="09:05")
    async with shop.hands("ana") as ana:
        page = await ana.get("/queue")
    assert page.text.count('<li class="row ') == 1
    assert "+ Fast pulse, watch" in words(page)


async def test_work_without_javascript_claim_settle_and_back_to_the_list(shop):
    episode = await opened(shop)
    async with shop.hands("ana") as ana:
        claimed = await ana.post(
            f"/queue/patient/{shop.clinic.patients['maria']}/claim", queue="clinical", back="?tab=clinical"
        )
        assert (claimed.status_code, claimed.headers["location"]) == (303, "/queue?tab=clinical")
        page = await ana.get(f"/queue/episode/{episode}")
        assert "You have this until 08:10" in words(page)
        settled = await ana.post(
            f"/queue/episode/{episode}/settle",
            seen="2",
            code="contacted",
            note="Took tablets late.",
            task="true",
            back=str(episode),
        )
        assert (settled.status_code, settled.headers["location"]) == (303, "/queue?tab=clinical")
        said = words(await ana.get("/queue"))
        assert "You settled Maria Lopes, high blood pressure: contacted the patient. Undo" in said
        page = words(await ana.get(f"/queue/episode/{episode}"))
    for part in (
        "Settled by Ana Lima: Contacted the patient Took tablets late.",
        "Claimed by Ana Lima",
        "Opened first time over the line",
        "A care task was created.",
    ):
        assert part in page, part


async def test_who_comes_second_gets_409_and_a_sentence_naming_the_colleague(shop):
    await opened(shop)
    url = f"/queue/patient/{shop.clinic.patients['maria']}/claim"
    async with shop.hands("ana") as ana, shop.hands("ben") as ben:
        await ana.post(url)
        for htmx in (False, True):
            answer = await ben.post(url, htmx=htmx)
            assert answer.status_code == 409
            assert "Ana Lima has this until 08:10. Nothing was changed." in words(answer)
            assert ("<html" in answer.text) is not htmx  # htmx gets the fresh list, others the page


async def test_a_note_is_not_lost_when_the_act_is_refused(shop):
    episode = await opened(shop)
    await shop.clinic.tell(shop.clinic.score("09:05", a_finding(tier=CRITICAL)))
    async with shop.hands("ana") as ana:
        answer = await ana.post(
            f"/queue/episode/{episode}/settle",
            seen="1",
            code="contacted",
            note="She <b>rested</b>.",
            back=str(episode),
        )
    assert answer.status_code == 409
    assert "This changed at 04:05 while your page was open (worsened)." in words(answer)
    assert "She &lt;b&gt;rested&lt;/b&gt;.</textarea>" in answer.text


async def test_what_may_be_undone_is_named_and_so_is_how_much_of_it(shop):
    episode = await opened(shop)
    claim = f"/queue/patient/{shop.clinic.patients['maria']}/claim"
    async with shop.hands("ana") as ana:
        await ana.post(claim)
        for page in ("/queue", f"/queue/episode/{episode}"):
            assert "You claimed Maria Lopes, high blood pressure." in words(await ana.get(page))
        await ana.post(f"/queue/patient/{shop.clinic.patients['maria']}/hand-back")
        await opened(shop, at="09:02", concern=Concern.FAST_PULSE)
        await ana.post(claim)
        assert "You claimed Maria Lopes, 2 concerns." in words(await ana.get("/queue"))


async def test_each_act_on_an_episode_is_told_in_its_story(shop):
    episode = await opened(shop)
    url = f"/queue/episode/{episode}"
    async with shop.hands("ana") as ana, shop.hands("dora") as dora, shop.hands("ben") as ben:
        await ana.post(f"{url}/snooze", seen="1", reason="recheck", minutes="60", back=str(episode))
        shop.now = when("09:20")
        assert "Snoozed until 05:10" in words(await ana.get(url))
        undo = re.search(r'name="act_id" value="([^"]+)"', (await ana.get(url)).text).group(1)
        assert (await ana.post("/queue/undo", act_id=undo, back=str(episode))).status_code == 303
        await ana.post(f"{url}/task", note="Weekly call", back=str(episode))
        await ana.post(f"{url}/escalate", seen="5", note="Change the dose?", back=str(episode))
        assert "Waits for a provider" in words(await ana.get(url))
        assert (
            await ben.post(f"/queue/patient/{shop.clinic.patients['maria']}/claim", back=str(episode))
        ).status_code == 409
        await dora.post(f"/queue/patient/{shop.clinic.patients['maria']}/claim", back=str(episode))
        await ben.post(f"/queue/patient/{shop.clinic.patients['maria']}/take-over", back=str(episode))
        await ben.post(f"/queue/patient/{shop.clinic.patients['maria']}/hand-back", back=str(episode))
        await ben.post(f"{url}/settle", seen="9", code="known", note="", back=str(episode))
        await ben.post(f"{url}/close", seen="10", back=str(episode))
    moves = [m for (m,) in await shop.clinic.rows("SELECT move FROM alerts.transition ORDER BY number")]
    assert moves == [
        "opened",
        "snoozed",
        "woken",
        "task_asked",
        "escalated",
        "claimed",
        "handed_back",
        "claimed",
        "handed_back",
        "dispositioned",
        "closed",
    ]
    assert [e.move for e in await shop.clinic.outbox()] == moves[1:]


async def test_what_was_handled_stays_listed_with_its_end(shop):
    episode = await opened(shop)
    async with shop.hands("ana") as ana:
        await ana.post(f"/queue/episode/{episode}/settle", seen="1", code="noise", note="")
        said = words(await ana.get("/queue"))
    assert "Nobody is waiting" in said
    assert "Resting 1" in said
    assert "Maria Lopes High blood pressure, high Not useful; closes by 12 Jan 04:10" in said


async def test_everything_quiet_is_listed_with_what_ends_it(shop):
    high = await opened(shop)
    watch = await opened(shop, patient="jon", tier=WATCH)
    async with shop.hands("ana") as ana:
        assert "Nothing is silenced." in words(await ana.get("/queue/quiet"))
        await ana.post(f"/queue/episode/{high}/settle", seen="1", code="noise", note="")
        await ana.post(f"/queue/episode/{watch}/snooze", seen="1", reason="recheck", minutes="60")
        await ana.post(
            f"/queue/measuring/{shop.clinic.patients['jon']}/bp",
            every_hours="24",
            until="2026-01-20",
            reason="Holiday",
        )
        said = words(await ana.get("/queue/quiet"))
    for part in (
        "Everything quiet: 3",
        "Jon Berg Mjon Watch High blood pressure Waiting for a repeat reading 04:10 Ana Lima 05:10 , or anything worse",
        (
            "Maria Lopes Mmaria High High blood pressure Not useful 04:10 Ana Lima anything worse; the same again from"
            " 8 Jan 04:10 ; otherwise it closes by 12 Jan 04:10"
        ),
        "Jon Berg , blood pressure, until 21 Jan 00:00 : Holiday Ana Lima, 04:10",
    ):
        assert part in said, part


async def test_the_timeline_has_the_columns_a_chart_draws(shop):
    episode = await opened(shop)
    async with shop.hands("ana") as ana:
        page = (await ana.get(f"/queue/episode/{episode}")).text
    told = json.loads(re.search(r'id="series">(.*?)</script>', page)[1])
    assert (told["quantity"], told["unit"], told["zone"]) == ("systolic", "mmHg", "America/New_York")
    assert (told["value"], told["second"], told["low"], told["high"], told["limits"]) == (
        [128.0],
        [78.0],
        [112.0],
        [144.0],
        [180.0],
    )
    assert told["marks"] == [{"at": told["at"][0] + 2, "said": "Opened", "person": False}]
    async with shop.clinic.web() as conn:
        looked = await (await conn.execute("SELECT page FROM audit.read")).fetchall()
    assert looked == [("/queue/episode/{episode_id}",)]  # one look, one line


async def test_a_shift_leaves_a_clean_story_and_numbers_behind(shop):
    clinic = shop.clinic
    for at, concern in (("08:00", Concern.HIGH_PRESSURE), ("08:10", Concern.FAST_PULSE)):
        await opened(shop, at=at, concern=concern)
    episode = await opened(shop, patient="jon", tier=CRITICAL, at="08:20")
    async with shop.hands("ana") as ana, shop.hands("ben") as ben:
        shop.now = when("08:30")
        await ben.post(f"/queue/patient/{clinic.patients['maria']}/claim")
        shop.now = when("08:40")
        await ana.post(f"/queue/episode/{episode}/settle", seen="1", code="contacted", note="Repeat 142/88.")
        shop.now = when("08:45")  # undone and said again: one call, settled once, as it was said at last
        undo = re.search(r'name="act_id" value="([^"]+)"', (await ana.get("/queue")).text).group(1)
        await ana.post("/queue/undo", act_id=undo)
        await ana.post(f"/queue/episode/{episode}/settle", seen="4", code="technique")
        shop.now = when("09:10")
        handover = words(await ana.get("/queue/handover"))
        burden = words(await ana.get("/queue/burden?days=7"))
        lines = (await ana.get("/queue/burden.csv?days=7")).text.splitlines()
    assert "In somebody's hands 2 Ben Roth 2" in handover
    assert "Jon Berg , high blood pressure: settled, measuring technique by Ana Lima" in handover
    assert "2 · 3" in burden  # two patients, three readings
    assert lines[0].startswith("group,name,calls,came,in_time,minutes_to_come_median")
    assert "severity,critical,1,1,1,20.0,20.0,25.0,25.0,1,1" in lines
    assert "severity,high,2,2,2,20.0,30.0,,,0,0" in lines


PEOPLES = ("claimed", "handed_back", "dispositioned", "escalated", "snoozed")
OURS = ("worsened", "reopened", "eased", "closed")


async def test_what_a_call_came_to_is_what_its_history_says_read_line_by_line(clinic):
    """Random histories; the plain reading of them is the test of the one statement that serves the reports."""
    dice, ana = random.Random(5), clinic.staff["ana"]
    for n in range(25):
        await clinic.new_patient(f"p{n}", f"p{n}")
        await clinic.tell(clinic.score("08:00", a_finding(), patient=f"p{n}"))
    async with clinic.pipeline() as conn:
        rows = await conn.execute("SELECT episode_id, patient_id FROM alerts.episode")
        for episode_id, patient_id in await rows.fetchall():
            for number in range(2, dice.randint(2, 14)):
                by = dice.random() < 0.5
                move = dice.choice(PEOPLES if by else OURS)
                await conn.execute(
                    """INSERT INTO alerts.transition (episode_id, number, practice_id, patient_id, concern, move, before, after,
                              severity, why, reason, at, by, by_name, caused_by, disposition, note, needs_task, since, due_at)
                       VALUES (%s, %s, 1, %s, 'high_pressure', %s, %s, 'waiting', 'high', %s, '', %s, %s, %s, %s, %s, '', false,
                               NULL, NULL)""",
                    (episode_id, number, patient_id, move, dice.choice(["waiting", "handled", "snoozed"]),
                     dice.choice(["again", "worse"]), when("08:30") + timedelta(minutes=number), ana.staff_id if by else None,
                     ana.name if by else None, uuid4(), "noise" if move == "dispositioned" else None),
                )  # fmt: skip
    since, until = when("08:33"), when("08:40")
    async with clinic.web() as conn:
        found = [
            (c.at, c.came_at, c.settled_at) for c in await report_store.calls(conn, since=since, until=until)
        ]
        rows = await conn.execute(
            "SELECT episode_id, move, before, by, at FROM alerts.transition ORDER BY episode_id, number"
        )
        moves = await rows.fetchall()
    plain = []
    for _, group in groupby(moves, key=lambda move: move[0]):
        history = list(group)
        asks = [
            n for n, (_, move, before, by, _) in enumerate(history)
            if by is None
            and (move in ("opened", "reopened") or (move == "worsened" and before in ("handled", "snoozed")))
        ]  # fmt: skip
        for n, end in zip(asks, [*asks[1:], len(history)], strict=True):
            after = history[n + 1 : end]
            came = next((at for _, _, _, by, at in after if by), None)
            settled = [at for _, move, _, _, at in after if move == "dispositioned"]
            if since <= history[n][4] < until:
                plain.append((history[n][4], came, settled[-1] if settled else None))
    last = when("23:00")
    order = lambda call: tuple(at or last for at in call)  # noqa: E731
    assert sorted(found, key=order) == sorted(plain, key=order)
    assert len({came is None for _, came, _ in plain}) == 2


# Roles and borders --------------------------------------------------------------------------------------------------

GETS = [
    "/queue", "/queue?tab=technical", "/queue/measuring", "/queue/burden", "/queue/burden.csv", "/queue/handover",
    "/queue/chain", "/queue/episode/{e}", "/queue/rota", "/queue/policy",
    "/queue/benign", "/queue/today", "/queue/quiet",
]  # fmt: skip
POSTS = {
    "/queue/patient/{p}/claim": {}, "/queue/patient/{p}/take-over": {}, "/queue/patient/{p}/hand-back": {},
    "/queue/episode/{e}/settle": {"seen": "1", "code": "noise"}, "/queue/episode/{e}/escalate": {"seen": "1"},
    "/queue/episode/{e}/snooze": {"seen": "1", "reason": "recheck"}, "/queue/episode/{e}/close": {"seen": "1"},
    "/queue/episode/{e}/task": {}, "/queue/episode/{e}/comment": {"comment_id": str(uuid4()), "said": "x"},
    "/queue/undo": {"act_id": str(uuid4())}, "/queue/episode/{e}/call": {}, "/queue/episode/{e}/call/end": {"seen": "1"},
    "/queue/measuring/{p}/bp": {"every_hours": "24"}, "/queue/chain/{p}/end": {},
    "/queue/chain": {"severity": "critical", "channel": "email", "target": "duty@practice.example"},
    "/queue/benign": {"number_{e}": "1", "every": "true"}, "/queue/policy": {"why": "x"},
    "/queue/rota": {"staff_id": str(uuid4()), "starts": "2026-01-06T09:00", "ends": "2026-01-06T10:00"},
    "/queue/rota/{p}/swap": {"staff_id": str(uuid4())}, "/queue/rota/{p}/end": {},
    "/queue/views": {"name": ""}, "/queue/views/{p}/forget": {}, "/queue/outage/{p}/take": {},
}  # fmt: skip


NAMES = (
    ("/bp", "/{kind}"), ("chain/{p}", "chain/{rung_id}"), ("rota/{p}", "rota/{shift_id}"), ("views/{p}", "views/{view_id}"),
    ("outage/{p}", "outage/{outage_id}"),
)  # fmt: skip


def test_every_route_of_the_room_is_in_these_tables():
    from alerts.web import router

    ours = {
        (route.path.replace("{patient_id}", "{p}").replace("{episode_id}", "{e}"), method)
        for route in router(None, None).routes
        for method in route.methods
    }
    told = (
        {(url.split("?")[0], "GET") for url in GETS}
        | {(reduce(lambda url, name: url.replace(*name), NAMES, url), "POST") for url in POSTS}
        | {("/queue/stream", "GET")}
    )
    assert ours == told


async def test_chris_of_another_practice_sees_nothing_of_ours_on_any_route(shop):
    episode = await opened(shop)
    async with shop.hands("chris") as chris:
        for url in GETS:
            answer = await chris.get(url.format(e=episode))
            assert answer.status_code == (404 if "{e}" in url else 200), url
            for ours in ("Maria", str(episode), "High pressure"):
                assert ours not in answer.text, url


async def test_chris_of_another_practice_changes_nothing_of_ours_on_any_route(shop):
    episode = await opened(shop)
    async with shop.hands("chris") as chris:
        for url, fields in POSTS.items():
            fields = {name.format(e=episode): value for name, value in fields.items()}
            answer = await chris.post(url.format(e=episode, p=shop.clinic.patients["maria"]), **fields)
            if url == "/queue/benign":
                assert answer.headers["location"].endswith("done=0&left=1&told=0")
                continue
            assert answer.status_code == (
                404
                if "{e}" in url or "measuring" in url or "swap" in url or "forget" in url or "outage" in url
                else 403
                if any(plan in url for plan in ("chain", "rota", "policy"))
                else 409
            ), url
            assert "Maria" not in answer.text, url
    await nothing_happened(shop)


async def nothing_happened(shop):
    assert await shop.clinic.rows("SELECT count(*) FROM alerts.transition") == [(1,)]
    assert await shop.clinic.rows("SELECT count(*) FROM alerts.comment") == [(0,)]
    assert await shop.clinic.outbox() == []


async def test_who_came_from_a_part_of_the_list_is_led_back_to_it(shop):
    episode = await opened(shop)
    patient = shop.clinic.patients["maria"]
    async with shop.hands("ana") as ana:
        await ana.post(f"/queue/patient/{patient}/claim")
        listed = (await ana.get("/queue?tab=clinical&show=mine&severity=high")).text
        (address,) = set(re.findall(rf'href="(/queue/episode/{episode}[^"]*)"', listed))
        page = (await ana.get(html.unescape(address))).text
        (back,) = set(re.findall(r'name="back" value="([^"]+)"', page))
        back = html.unescape(back)
        assert back == f"{episode}?tab=clinical&show=mine&severity=high"
        task = await ana.post(f"/queue/episode/{episode}/task", back=back)  # stays on the page
        assert task.headers["location"] == f"/queue/episode/{back}"
        refused = await ana.post(f"/queue/episode/{episode}/settle", seen="3", code="", back=back)
        assert refused.status_code == 409
        assert html.escape(back) in refused.text
        done = await ana.post(f"/queue/episode/{episode}/settle", seen="3", code="noise", back=back)
        assert done.headers["location"] == "/queue?tab=clinical&show=mine&severity=high"
        elsewhere = await ana.post("/queue/undo", act_id=str(uuid4()), back=f"{episode}?tab=//x.example")
        assert "x.example" not in elsewhere.text


HEADINGS = [
    ("ana", "Nothing urgent; 1 waiting", "Nobody is waiting", "Nobody needs you here."),
    ("dora", "Nothing urgent; 1 waiting", "Nobody is waiting", "Nobody needs you here."),
    ("aud", "Nothing urgent; 1 waiting", "Nobody is waiting", "Nobody is waiting."),
    ("eve", "Nobody to ask", "Nobody to ask", "Everybody measures as agreed, or the cause is known."),
    ("adm", "Nothing urgent; 1 to mend", "Nothing to mend", "Nothing needs mending."),
]


@pytest.mark.parametrize(("who", "some", "none", "empty"), HEADINGS, ids=[c[0] for c in HEADINGS])
async def test_each_role_begins_at_its_own_queue_in_the_words_of_its_work(shop, who, some, none, empty):
    async with shop.hands(who) as hands:
        said = words(await hands.get("/queue"))
        assert none in said
        assert empty in said
        assert "Nobody in this part of the list." in words(await hands.get("/queue?show=late"))
        await opened(shop)
        await opened(shop, patient="jon", concern=Concern.SCORE_INCOMPLETE, tier=WATCH)
        assert some in words(await hands.get("/queue"))


@pytest.mark.parametrize("who", ["aud", "adm", "eve"])
async def test_who_may_not_work_the_clinical_queue_is_told_whose_it_is(shop, who):
    episode = await opened(shop)
    async with shop.hands(who) as hands:
        for url, fields in POSTS.items():
            if url.endswith(("/comment", "/bp")) and who == "eve":
                continue  # a coordinator may say something, and agree on measuring
            if any(plan in url for plan in ("chain", "rota", "policy")) and who == "adm":
                continue  # an admin says whom to call, and when
            if "views" in url or ("swap" in url and who == "eve"):
                continue  # one's own desk is one's own
            if "outage" in url and who != "aud":
                continue  # the technical queue is theirs too
            answer = await hands.post(url.format(e=episode, p=shop.clinic.patients["maria"]), **fields)
            assert answer.status_code in ((403,) if url != "/queue/undo" else (403, 409)), url
    await nothing_happened(shop)


async def test_no_act_without_the_token_of_this_session(shop):
    episode = await opened(shop)
    async with shop.hands("ana") as ana:
        ana.csrf = "somebody else's"
        for url, fields in POSTS.items():
            answer = await ana.post(url.format(e=episode, p=shop.clinic.patients["maria"]), **fields)
            assert answer.status_code == 403, url
    await nothing_happened(shop)


async def test_nobody_who_is_not_signed_in_sees_anything(shop):
    episode = await opened(shop)
    async with shop.hands("ana") as ana:
        ana.client.cookies.clear()
        for url in (*GETS, "/queue/stream"):
            assert (await ana.get(url.format(e=episode))).status_code == 303


async def test_the_admin_sees_the_technical_queue_only(shop):
    clinical = await opened(shop)
    technical = await opened(shop, patient="jon", concern=Concern.SCORE_INCOMPLETE, tier=WATCH)
    async with shop.hands("adm") as adm:
        said = words(await adm.get("/queue?tab=clinical"))
        assert "Jon Berg" in said
        assert "Maria" not in said
        assert (await adm.get(f"/queue/episode/{clinical}")).status_code == 403
        assert (await adm.get(f"/queue/episode/{technical}")).status_code == 200
        await adm.post(f"/queue/patient/{shop.clinic.patients['jon']}/claim", queue="technical")
    assert await shop.clinic.rows(
        "SELECT owner_name FROM alerts.episode WHERE concern = 'score_incomplete'"
    ) == [("Ada Mintz",)]


async def test_the_auditor_reads_and_is_offered_nothing_to_do(shop):
    episode = await opened(shop)
    async with shop.hands("aud") as aud:
        page = await aud.get(f"/queue/episode/{episode}")
        queue = await aud.get("/queue")
    assert (page.status_code, queue.status_code) == (200, 200)
    assert re.findall(r'<form method="post" action="(?!/sign-out)([^"]+)"', page.text + queue.text) == []
