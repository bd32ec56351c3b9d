"""Refused and replayed on the real stack: sealed where it lies, once however often it comes again, and a flood crowds nobody out."""

import asyncio
import contextlib
import json
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

from ingest import lane_service
from ingest import set_aside_store as store
from ingest.dead_letters_cli import app
from ingest.set_aside import By
from tests.ingest_home import REFUSED, STRONGBOX, Home, fingerstick, spoken, utc_now

pytestmark = pytest.mark.stack

KEY = "the key of these tests' homes"
NURSE = By(None, "Ana")
COUNT = "SELECT count(*) FROM ingest.refusal WHERE gateway_id = %s"  # the log is shared by the tests of a run


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


@contextlib.asynccontextmanager
async def archiving(home):
    """The archive, in a process of its own."""
    process = home.process("deploy.cli", "run", "archive")
    try:
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


async def eventually(home, query, *args, is_true=bool, within_s=40):
    async with asyncio.timeout(within_s):
        while True:
            rows = home.rows(query, *args)
            if rows and is_true(rows[0][0]):
                return rows[0][0]
            await asyncio.sleep(0.1)


async def lamplight(home, *words):
    """The command line, as somebody types it."""
    env = {"LAMPLIGHT_DATABASE": home.fresh.pipeline, "LAMPLIGHT_REFUSAL_KEY": KEY}
    return await asyncio.to_thread(CliRunner().invoke, app, [str(word) for word in words], env=env)


async def test_a_refusal_is_sealed_shown_replayed_and_makes_one_reading_however_often(home):
    new = f"new-{home.mark}"
    sent = fingerstick(new, 133, minutes_ago=7)
    junk = b"\xff not even text"
    async with archiving(home), home.listening(), home.speaking() as gateway:
        await gateway.say(sent, junk)
        await gateway.hear(2)
        await eventually(home, COUNT, home.gateway, is_true=lambda n: n == 2)

        (in_log,) = [one for one in await spoken(home.stack, [home.gateway], REFUSED) if one.device_id == new]
        ((refusal, kept, key_id, received_at),) = home.rows(
            "SELECT event_id, raw, key_id, received_at FROM ingest.refusal WHERE device_id = %s", new
        )
        for sealed in (in_log.raw, bytes(kept)):  # neither the log nor the table holds it open
            assert b"133" not in sealed
            assert new.encode() not in sealed
        assert b'"glucose":133' in STRONGBOX.open(key_id, bytes(kept), refusal)

        listed = await lamplight(home, "list", "--json")
        rows = [
            row for row in map(json.loads, listed.stdout.splitlines()) if row["gateway_id"] == home.gateway
        ]
        kinds = {row["reason"]: row for row in rows}
        assert {reason: (row["times"], row["open"]) for reason, row in kinds.items()} == {
            "unknown-device": (1, 1),
            "not-text": (1, 1),
        }
        shown = await lamplight(home, "show", refusal, "--by", "Ana")
        assert '"glucose":133' in shown.stdout
        again = await lamplight(home, "replay", refusal, "--by", "Ana")
        assert (again.exit_code, "unknown device" in again.stdout) == (3, True)

        with psycopg.connect(home.fresh.pipeline) as conn:
            conn.execute(
                "INSERT INTO ingest.device (device_id, practice_id, family) VALUES (%s, 1, 'canonical')",
                (new,),
            )
            home.give(conn, new, 1, home.maria)
        for _ in range(2):
            done = await lamplight(home, "replay", refusal, "--by", "Ana")
            assert (done.exit_code, "became a reading" in done.stdout) == (0, True), done.stdout
        closed = await lamplight(
            home, "resolve", kinds["not-text"]["newest"], "--reason", "a test of the cable"
        )
        assert closed.exit_code == 0
        await eventually(home, "SELECT count(*) FROM ingest.reading WHERE device_id = %s", new)

    (reading,) = await spoken(home.stack, [home.gateway])
    assert (reading.patient_id, reading.glucose, reading.received_at) == (home.maria, 133.0, received_at)
    assert (reading.caused_by, reading.time_confidence) == (UUID(sent["id"]), "high")
    assert reading.released_at > received_at
    assert home.rows("SELECT count(*) FROM ingest.reading WHERE device_id = %s", new) == [(1,)]
    assert home.rows("SELECT state, tries, reading_id FROM ingest.refusal WHERE event_id = %s", refusal) == [
        ("released", 4, reading.event_id)
    ]
    acts = home.rows("SELECT act, by_name FROM ingest.handling WHERE about = %s ORDER BY at", refusal)
    assert acts == [(act, "Ana (command line)") for act in ("looked", "replayed", "replayed", "replayed")]
    assert home.rows(
        "SELECT state FROM ingest.refusal WHERE reason = 'not-text' AND gateway_id = %s", home.gateway
    ) == [("resolved",)]


async def test_a_flood_is_one_line_all_of_it_comes_again_at_one_word_and_the_honest_home_beside_it_loses_nothing(
    home,
):
    flood, new = 2_000, f"new-{home.mark}"
    poured = [fingerstick(new, 90 + n % 90, minutes_ago=1 + n / 60) for n in range(flood)]
    honest = [fingerstick(home.meter, 100 + n, minutes_ago=60 - n) for n in range(40)]
    kept = "SELECT coalesce(sum(kept), 0) FROM ingest.refusal_tally WHERE gateway_id = %s"
    async with archiving(home), home.listening() as meter:
        async with home.speaking(home.other_gateway) as hostile, home.speaking() as good:
            pouring = [
                hostile.line.tell(f"v1/{home.other_gateway}/readings", msgspec.json.encode(one))
                for one in poured
            ]
            await good.say(*honest)
            await good.hear(len(honest))
            await asyncio.gather(*pouring)
            await hostile.hear(flood)
        await eventually(home, kept, home.other_gateway, is_true=lambda n: n == flood)
        listed = await lamplight(home, "list")
        assert listed.stdout.count(home.other_gateway) == 1
        newest = next(line for line in listed.stdout.splitlines() if home.other_gateway in line).split()[-1]
        with psycopg.connect(home.fresh.pipeline) as conn:
            conn.execute(
                "INSERT INTO ingest.device (device_id, practice_id, family) VALUES (%s, 2, 'canonical')",
                (new,),
            )
            home.give(conn, new, 2, home.oto)
        for _ in range(2):
            done = await lamplight(home, "replay", newest, "--alike", "--wait", 60)
            assert done.exit_code == 0, done.stdout
            assert done.stdout.endswith(("\n2,000  became a reading\n", "\n1  became a reading\n"))
        await eventually(
            home,
            "SELECT count(*) FROM ingest.reading WHERE device_id = %s",
            new,
            is_true=lambda n: n == flood,
        )
    assert set(good.acked) == {UUID(one["id"]) for one in honest}
    assert len(await spoken(home.stack, [home.gateway])) == len(honest)
    assert len(await spoken(home.stack, [home.other_gateway])) == flood  # once each, however often ordered
    assert home.rows("SELECT act, count(*) FROM ingest.handling GROUP BY act") == [("replayed", flood + 1)]
    assert meter.dropped == 0


async def test_whose_reading_it_is_a_person_decides_and_until_then_it_is_nobodys(home):
    unknown = {
        "id": str(uuid4()),
        "device": home.cuff,
        "kind": "bp",
        "systolic": 191,
        "diastolic": 122,
        "user": 255,
    }
    stray = unknown | {"id": str(uuid4()), "systolic": 120, "diastolic": 70}
    drawer = fingerstick(home.drawer_meter, 99)
    async with archiving(home), home.listening(), home.speaking() as gateway:
        await gateway.say(unknown, stray, drawer)
        await gateway.hear(3)
        await eventually(home, COUNT, home.gateway, is_true=lambda n: n == 3)
        assert await spoken(home.stack, [home.gateway]) == []
        async with await store.connect(home.fresh.web) as conn, conn.transaction():
            await conn.execute("SELECT set_config('app.practice_id', '1', true)")
            found, total = await store.lane(conn)
            waiting = [one for one in found if one.gateway_id == home.gateway]
            assert total >= len(waiting) == 3
            assert {one.reason for one in waiting} == {"owner-unknown", "unassigned"}
            by_device = {one.device_id: one for one in waiting if one.device_id == home.drawer_meter}
            cuffs = [one for one in waiting if one.device_id == home.cuff]
            raws = {one.refusal_id: store.opened(one, STRONGBOX) for one in cuffs}
            high = next(one for one in cuffs if b"191" in raws[one.refusal_id])
            low = next(one for one in cuffs if one is not high)
            now = utc_now()
            decided = await store.ask_again(conn, high.refusal_id, by=NURSE, now=now, patient_id=home.nora)
            assert decided is not None
            assert (
                await store.ask_again(conn, high.refusal_id, by=NURSE, now=now, patient_id=home.maria) is None
            )
            assert await store.resolve(
                conn, low.refusal_id, by=NURSE, now=now, reason="the cat", act="nobody"
            )
        await eventually(home, "SELECT count(*) FROM ingest.reading WHERE device_id = %s", home.cuff)
        assert by_device[home.drawer_meter].state == "open"
    (reading,) = await spoken(home.stack, [home.gateway])
    assert (reading.patient_id, reading.systolic) == (home.nora, 191.0)
    assert (reading.received_at, reading.raw) == (high.received_at, raws[high.refusal_id])
    assert "owner_decided" in reading.flags
    assert home.rows("SELECT act, by_name, patient_id, reason FROM ingest.handling ORDER BY act") == [
        ("decided", "Ana", home.nora, ""),
        ("nobody", "Ana", None, "the cat"),
    ]


async def test_a_stale_page_decides_nothing_over_again_once_the_reading_went_out(home):
    stray = {
        "id": str(uuid4()),
        "device": home.cuff,
        "kind": "bp",
        "systolic": 187,
        "diastolic": 117,
        "user": 255,
    }
    state = "SELECT count(*) FROM ingest.refusal WHERE gateway_id = %s AND state = 'released'"
    async with archiving(home), home.listening(), home.speaking() as gateway:
        await gateway.say(stray)
        await gateway.hear(1)
        await eventually(home, COUNT, home.gateway)
        ((refusal,),) = home.rows("SELECT event_id FROM ingest.refusal WHERE gateway_id = %s", home.gateway)

        async def decide(patient):
            async with await store.connect(home.fresh.web) as conn, conn.transaction():
                await conn.execute("SELECT set_config('app.practice_id', '1', true)")
                return await lane_service.decide(conn, [refusal], patient, reason="", by=NURSE, now=utc_now())

        assert await decide(home.nora) is None
        await eventually(home, state, home.gateway)
        assert await decide(home.maria) is lane_service.Trouble.DECIDED
        assert home.rows(state, home.gateway) == [(1,)]
        assert home.rows("SELECT count(*) FROM ingest.replay WHERE refusal_id = %s", refusal) == [(1,)]
    assert [one.patient_id for one in await spoken(home.stack, [home.gateway])] == [home.nora]


async def test_another_practice_neither_sees_nor_touches_what_was_set_aside(home):
    async with archiving(home), home.listening(), home.speaking() as gateway:
        await gateway.say(fingerstick(home.drawer_meter))
        await gateway.hear(1)
        await eventually(home, COUNT, home.gateway)
    ((refusal,),) = home.rows("SELECT event_id FROM ingest.refusal WHERE gateway_id = %s", home.gateway)
    async with await store.connect(home.fresh.web) as conn, conn.transaction():
        await conn.execute("SELECT set_config('app.practice_id', '2', true)")
        lane, _ = await store.lane(conn)
        assert home.gateway not in {one.gateway_id for one in lane}
        assert home.gateway not in {row["gateway_id"] for row in await store.kinds(conn)}
        assert await store.held(conn, refusal) is None
        assert await store.ask_again(conn, refusal, by=NURSE, now=utc_now()) is None
        assert not await store.resolve(conn, refusal, by=NURSE, now=utc_now(), reason="x")
