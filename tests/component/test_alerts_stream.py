"""The live stream: a hint at every move, replayed from the database, never over the border."""

import asyncio
import json

import psycopg
import pytest

from alerts import stream_web
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.unit.alerts.ward import a_finding

pytestmark = pytest.mark.stack


@pytest.fixture
async def shop(fresh_database):
    async with a_site(await a_clinic(fresh_database)) as opened:
        opened.superuser = fresh_database.superuser
        yield opened


class Line:
    """One open stream, read straight from the generator that serves it; the frame's guard is not in between."""

    def __init__(self, shop, name, since=0):
        who = shop.clinic.staff[name]
        self.request = type(
            "Request", (), {"method": "GET", "path_params": {}, "state": type("State", (), {})()}
        )()
        self.request.state.who = type(
            "Who",
            (),
            {"staff_id": who.staff_id, "role": who.role, "practice_id": 2 if name == "chris" else 1},
        )()
        self.told = stream_web.stream(shop.desk, shop.bell, self.request, since).body_iterator

    async def __aenter__(self):
        assert (await anext(self.told)).event == "ping"  # the line is open and listening
        return self

    async def __aexit__(self, *_):
        await self.told.aclose()

    async def hears(self, n=1):
        async with asyncio.timeout(20):
            events = [await anext(self.told) for _ in range(n)]
        return [json.loads(event.data) | {"id": event.id} for event in events]


async def opens(shop, at, concern=Concern.HIGH_PRESSURE, tier=Tier.HIGH, patient="maria"):
    return await shop.clinic.tell(shop.clinic.score(at, a_finding(concern, tier), patient=patient))


async def test_a_move_is_heard_at_once_and_only_what_is_newly_critical_is_read_out(shop):
    async with Line(shop, "ana") as line:
        await opens(shop, "09:00")
        (high,) = await line.hears()
        await opens(shop, "09:05", tier=Tier.CRITICAL)
        (critical,) = await line.hears()
    assert (high["move"], high["severity"], "say" in high) == ("opened", "high", False)
    assert (critical["move"], critical["say"]) == ("worsened", "Critical: Maria Lopes, high blood pressure.")
    assert int(critical["id"]) == critical["seq"] > high["seq"]


async def test_after_a_lost_connection_everything_since_is_told_again(shop):
    async with Line(shop, "ana") as line:
        await opens(shop, "09:00")
        (first,) = await line.hears()
    await opens(shop, "09:05", patient="jon")
    await opens(shop, "09:06", Concern.FAST_PULSE, patient="jon")
    async with Line(shop, "ana", since=first["seq"]) as line:
        heard = {told["seq"] for told in await line.hears(2)}
    assert min(heard - {first["seq"]}) > first["seq"]


async def test_a_number_drawn_early_and_committed_late_is_still_told(shop):
    """Sequence numbers are drawn before commits: 9 may appear after 10 was told."""
    await opens(shop, "09:00")
    slow = shop.clinic.pipeline()
    conn = await slow.__aenter__()
    await shop.clinic.room.handle(
        conn, [shop.clinic.score("09:01", a_finding(), patient="jon")], now=shop.now
    )
    await opens(shop, "09:02", Concern.FAST_PULSE)
    async with Line(shop, "ana") as line:
        early = [told["seq"] for told in await line.hears(2)]
        await slow.__aexit__(None, None, None)
        (late,) = await line.hears()
    assert early == [1, 3]
    assert late["seq"] == 2
    assert late["id"] == "3"  # a browser that comes back does not go back


async def test_another_practice_hears_nothing_of_ours(shop):
    async with Line(shop, "ana") as ana, Line(shop, "chris") as chris:
        await opens(shop, "09:00", tier=Tier.CRITICAL)
        await opens(shop, "09:01", patient="oto")
        (ours,) = await ana.hears()
        (theirs,) = await chris.hears()
    assert ours["patient"] == str(shop.clinic.patients["maria"])
    assert theirs["patient"] == str(shop.clinic.patients["oto"])
    assert (shop.bell.heard[1] >= 1, shop.bell.heard[2] >= 1) == (True, True)


async def test_an_admin_hears_of_technical_episodes_only(shop):
    async with Line(shop, "adm") as line:
        await opens(shop, "09:00", tier=Tier.CRITICAL)
        await opens(shop, "09:01", Concern.SCORE_INCOMPLETE, Tier.WATCH)
        (heard,) = await line.hears()
    assert heard["severity"] == "watch"


async def test_a_person_cannot_open_lines_without_end(shop):
    lines = [Line(shop, "ana") for _ in range(stream_web.EACH)]
    for line in lines:
        await line.__aenter__()
    async with shop.hands("ana") as ana:
        assert (await ana.get("/queue/stream")).status_code == 429
    for line in lines:
        await line.__aexit__()
    async with Line(shop, "ana"):
        pass


async def test_the_bell_rings_again_after_its_connection_was_lost(shop):
    await opens(shop, "09:00")
    async with Line(shop, "ana", since=1) as line:
        await line.hears()  # the last seconds are told again: a hint too many harms nobody
        async with await psycopg.AsyncConnection.connect(shop.superuser, autocommit=True) as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
        await opens(shop, "09:05", tier=Tier.CRITICAL)
        (heard,) = await line.hears()
    assert heard["move"] == "worsened"
