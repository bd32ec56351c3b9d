"""Silence on the real database: timers are rows, each is weighed once, and what was agreed is kept."""

import asyncio

import pytest

from alerts import service
from alerts.service import NobodyKnows, hear_silence
from deploy.homes import Hubs
from risk.events import Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack


class Offline:
    """Homes whose hubs are known to be offline."""

    def __init__(self, *patients):
        self.patients = patients

    async def unreachable(self, conn, patients, *, now):
        return {p: "The hub is offline" for p in patients if p in self.patients}


@pytest.fixture
async def clinic(fresh_database):
    return await a_clinic(fresh_database)


async def hear(clinic, at, homes=None):
    async with clinic.pipeline() as conn:
        return await hear_silence(conn, homes or NobodyKnows(), now=when(at))


async def states(clinic):
    return await clinic.rows("SELECT concern, queue, state, times FROM alerts.episode ORDER BY concern")


async def test_three_days_of_silence_become_work_and_a_reading_ends_it(clinic):
    await clinic.tell(clinic.score("09:00"))
    assert await hear(clinic, "3d 08:59") == 0
    assert await hear(clinic, "3d 09:01") == 1
    assert await states(clinic) == [("no_bp_readings", "adherence", "waiting", 1)]
    assert [e.move for e in await clinic.outbox()] == ["opened"]
    (closed,) = await clinic.tell(clinic.score("3d 10:00"))
    assert (closed.concern, closed.move) == ("no_bp_readings", "closed")
    assert await hear(clinic, "4d 09:00") == 0


async def test_history_expects_nothing(clinic):
    await clinic.tell(clinic.score("09:00", history=True))
    assert await hear(clinic, "9d 09:00") == 0


async def test_an_old_reading_that_arrives_late_does_not_turn_the_clock_back(clinic):
    await clinic.tell(clinic.score("2d 09:00"))
    await clinic.tell(clinic.score("08:00", received="08:01"))
    assert await hear(clinic, "4d 09:00") == 0


async def test_a_hub_that_is_offline_is_technical_work_and_the_patient_is_left_in_peace(clinic):
    await clinic.tell(clinic.score("09:00"), clinic.score("09:00", patient="jon"))
    await hear(clinic, "3d 09:01", Offline(clinic.patients["maria"]))
    assert await states(clinic) == [
        ("no_bp_readings", "adherence", "waiting", 1),
        ("unreachable", "technical", "waiting", 1),
    ]


async def test_four_sweeps_at_once_weigh_every_silence_once(clinic):
    await clinic.tell(*(clinic.score("09:00", patient=p) for p in ("maria", "jon", "oto")))
    assert sum(await asyncio.gather(*(hear(clinic, "3d 09:01") for _ in range(4)))) == 3
    assert await clinic.rows("SELECT count(*) FROM alerts.transition") == [(3,)]


async def test_a_sweep_that_is_killed_before_its_commit_leaves_no_trace_and_the_next_does_it(clinic):
    await clinic.tell(clinic.score("09:00"))
    with pytest.raises(ConnectionAbortedError):
        async with clinic.pipeline() as conn:
            assert await hear_silence(conn, NobodyKnows(), now=when("3d 09:01")) == 1
            raise ConnectionAbortedError
    assert await states(clinic) == []
    assert await hear(clinic, "3d 09:02") == 1


async def test_a_holiday_is_agreed_by_a_person_with_a_reason_and_an_end(clinic):
    await clinic.tell(clinic.score("09:00"), clinic.score("09:00", patient="oto"))
    async with a_site(clinic) as shop:
        url = f"/queue/measuring/{clinic.patients['maria']}/bp"
        async with shop.hands("eve") as eve, shop.hands("aud") as aud, shop.hands("chris") as chris:
            page = await eve.get("/queue/measuring")
            assert "Maria Lopes" in page.text
            assert "Oto Novak" not in page.text
            refused = await eve.post(url, every_hours="72", until="2026-01-20")
            assert (refused.status_code, "A pause needs a reason" in refused.text) == (409, True)
            assert (await eve.post(url, every_hours="72", until="someday", reason="x")).status_code == 409
            assert (await aud.post(url, every_hours="24")).status_code == 403
            assert (await chris.post(url, every_hours="24")).status_code == 404
            assert (
                await eve.post(url, every_hours="24", until="2026-01-20", reason="Visits her sister")
            ).status_code == 303
            assert "Visits her sister" in (await eve.get("/queue/measuring")).text
    assert await hear(clinic, "15d 23:00") == 1  # the other practice's patient
    assert await hear(clinic, "16d 05:01") == 1  # the 20th ended in New York
    kept = await clinic.rows("SELECT every_hours, reason, by_name, paused_until FROM alerts.arrangement")
    assert kept == [(24, "Visits her sister", "Eve Holm", when("16d 05:00"))]


async def test_the_timers_wait_until_what_piled_up_has_arrived(clinic):
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    act = clinic.act("ana", now=when("09:01"))
    async with clinic.web() as conn:
        await service.claim(conn, clinic.patients["maria"], act)
    stopping = asyncio.Event()
    keeping = asyncio.create_task(
        service.keep_time(clinic.pipeline, lambda: when("4d 09:00"), stopping, every_s=0.02, settle_s=3600)
    )
    async with asyncio.timeout(20):
        while (await states(clinic))[0][2] != "waiting":
            await asyncio.sleep(0.05)
    assert [s[0] for s in await states(clinic)] == [
        "high_pressure"
    ]  # the lease ended; silence was not heard yet
    stopping.set()
    await keeping


async def test_the_hub_that_carried_the_newest_reading_says_whether_anything_can_arrive(clinic):
    """The port as the product fills it, from what ingest keeps about its hubs."""
    maria, jon = clinic.patients["maria"], clinic.patients["jon"]
    async with clinic.pipeline() as conn:
        for hub, online, seen in (("old", False, "00:00"), ("new", True, "09:00"), ("dead", True, "08:00")):
            await conn.execute(
                "INSERT INTO ingest.gateway (gateway_id, practice_id, online, last_seen) VALUES (%s, 1, %s, %s)",
                (hub, online, when(seen)),
            )
        for patient, hub, at in ((maria, "old", "01:00"), (maria, "new", "02:00"), (jon, "dead", "02:00")):
            await conn.execute(
                """INSERT INTO ingest.reading (event_id, caused_by, practice_id, patient_id, device_id, gateway_id, kind,
                          effective_at, received_at, time_rule, time_confidence, flags, history, raw)
                   VALUES (gen_random_uuid(), gen_random_uuid(), 1, %s, 'd', %s, 'bp', %s, %s, 'x', 'high', '{}', false, '')""",
                (patient, hub, when(at), when(at)),
            )
        asked = [maria, jon, clinic.patients["oto"]]
        assert await Hubs().unreachable(conn, asked, now=when("09:01")) == {
            jon: "The hub gives no sign of life"
        }
        await conn.execute("UPDATE ingest.gateway SET online = false WHERE gateway_id = 'new'")
        assert (await Hubs().unreachable(conn, asked, now=when("09:01")))[maria] == "The hub is offline"
        await conn.execute("UPDATE ingest.gateway SET online = true")
        await conn.execute(
            "INSERT INTO ingest.device (device_id, practice_id, family, battery_percent) VALUES ('d', 1, 'canonical', 3)"
        )
        assert (await Hubs().unreachable(conn, asked, now=when("09:01")))[
            maria
        ] == "The battery of the device is flat"
        await conn.execute("UPDATE ingest.device SET battery_percent = 80")
        assert maria not in await Hubs().unreachable(conn, asked, now=when("09:01"))
        await conn.execute("UPDATE ingest.gateway SET clock_error = '-3 hours' WHERE gateway_id = 'new'")
        assert (await Hubs().unreachable(conn, asked, now=when("09:01")))[
            maria
        ] == "The clock of the hub is wrong"
