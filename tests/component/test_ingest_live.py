"""The live path on real Mosquitto, Kafka and PostgreSQL: on the right person, with a reason, and never acknowledged too early."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from ingest import wire
from tests.ingest_home import REFUSED, Home, fingerstick, spoken, utc_now

pytestmark = pytest.mark.stack


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


async def test_a_reading_reaches_kafka_on_its_patient_and_only_then_is_acknowledged_by_name(home):
    sent = fingerstick(home.meter, 47, patient="somebody else") | {}
    sent.pop("patient")
    async with home.listening() as meter, home.speaking() as gateway:
        await gateway.say(sent)
        await gateway.hear(1)
    assert gateway.acked == [UUID(sent["id"])]
    (reading,) = await spoken(home.stack, [home.gateway])
    assert (reading.patient_id, reading.practice_id, reading.glucose) == (home.maria, 1, 47.0)
    assert reading.caused_by == UUID(sent["id"])
    assert b'"glucose":47' in reading.raw
    assert meter.tally.accepted == 1


async def test_every_stranger_is_refused_with_its_own_reason_and_touches_nobodys_chart(home):
    cases = {
        "unknown-device": fingerstick("meter-of-nobody"),
        "other-practice": fingerstick(home.other_meter),
        "unassigned": fingerstick(home.drawer_meter),
        "missing-field": {"id": str(uuid4()), "kind": "glucose", "glucose": 100},
        "wrong-type": fingerstick(home.meter, "3A"),
        "impossible-value": fingerstick(home.meter, 99_999),
    }
    async with home.listening() as meter, home.speaking() as gateway:
        await gateway.say(*cases.values(), b"\xff\x00 not even text")
        await gateway.hear(len(cases) + 1)
    said = {gateway.refused[UUID(message["id"])] for message in cases.values()}
    assert said == set(cases)
    assert gateway.refused[wire.nameless(home.gateway, b"\xff\x00 not even text")] == "not-text"
    assert await spoken(home.stack, [home.gateway]) == []
    refused = await spoken(home.stack, [home.gateway], REFUSED)
    assert {event.practice_id for event in refused} == {1}  # the gateway's practice sees it, nobody else
    assert sum(meter.tally.refused.values()) == len(cases) + 1


async def test_a_device_that_changed_hands_gives_each_reading_to_who_had_it_then(home):
    import psycopg

    handed_over = utc_now() - timedelta(days=2)
    with psycopg.connect(home.fresh.superuser) as conn:
        conn.execute(
            "UPDATE ingest.device_assignment SET period = tstzrange(%s, %s) WHERE device_id = %s",
            (utc_now() - timedelta(days=30), handed_over, home.meter),
        )
        home.give(conn, home.meter, 1, home.nora, since=handed_over + timedelta(hours=1))
    before = fingerstick(home.meter, 101, minutes_ago=3 * 24 * 60)
    between = fingerstick(home.meter, 102, minutes_ago=2 * 24 * 60 - 30)
    after = fingerstick(home.meter, 103)
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(before, between, after)
        await gateway.hear(3)
    readings = await spoken(home.stack, [home.gateway])
    assert {r.glucose: r.patient_id for r in readings} == {101: home.maria, 103: home.nora}
    assert gateway.refused == {UUID(between["id"]): "not-assigned-then"}


async def test_a_poison_message_delays_nobody_behind_it(home):
    good = [fingerstick(home.meter, 100 + n, minutes_ago=10 - n) for n in range(5)]
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(good[0], b"{" * 9_000, b'{"kind":"glucose"', b"", *good[1:])
        await gateway.hear(8)
    assert set(gateway.acked) == {UUID(message["id"]) for message in good}


async def test_five_hundred_refusals_at_once_are_all_answered(home):
    junk = [fingerstick(f"meter-of-nobody-{n}") for n in range(500)]
    async with home.speaking() as gateway:
        window = [gateway.line.tell(wire.readings(home.gateway), msgspec.json.encode(one)) for one in junk]
        async with home.listening() as meter:
            await asyncio.gather(*window)
            await gateway.hear(500)
            assert meter.dropped == 0


async def test_the_same_fact_sent_again_is_acknowledged_again_and_kept_once(home):
    message = fingerstick(home.meter)
    again = message | {"id": str(uuid4())}  # another row of the outbox, the same measurement
    async with home.listening() as meter, home.speaking() as gateway:
        await gateway.say(message, message, again)
        await gateway.hear(2)
        await gateway.say(message)
        await gateway.hear(2)
    assert len(await spoken(home.stack, [home.gateway])) == 1
    assert meter.tally.duplicates >= 2


async def test_an_echo_whole_hours_later_is_kept_with_a_flag(home):
    at = utc_now() - timedelta(hours=7)
    cuff = {"device": home.cuff, "kind": "bp", "systolic": 122, "diastolic": 89}
    first = cuff | {"id": str(uuid4()), "measured_at": at.isoformat()}
    echo = cuff | {"id": str(uuid4()), "measured_at": (at + timedelta(hours=3)).isoformat()}
    other = cuff | {"id": str(uuid4()), "measured_at": (at + timedelta(hours=4, seconds=7)).isoformat()}
    async with home.listening() as meter, home.speaking() as gateway:
        await gateway.say(first, echo, other)
        await gateway.hear(3)
    readings = sorted(await spoken(home.stack, [home.gateway]), key=lambda r: r.effective_at)
    assert [r.flags for r in readings] == [(), ("echo",), ()]
    assert meter.tally.echoes == 1


async def test_a_gateway_that_plays_recorded_days_is_believed_about_its_clock(stack, fresh_database):
    home = Home(stack, fresh_database).furnish(playback=True)
    lived = fingerstick(home.meter, 88, minutes_ago=60 * 24 * 10)
    history = fingerstick(home.meter, 99, minutes_ago=60 * 24 * 400, history=True)
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(lived, history)
        await gateway.hear(2)
    readings = {r.glucose: r for r in await spoken(stack, [home.gateway])}
    assert readings[88].received_at.isoformat() == lived["gateway_time"]
    assert (readings[88].history, readings[99].history) == (False, True)
    assert readings[99].time_confidence != "suspect"


async def test_a_fresh_reading_is_news_even_if_its_gateway_calls_it_history(home):
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(fingerstick(home.meter, 41, history=True))
        await gateway.hear(1)
    (reading,) = await spoken(home.stack, [home.gateway])
    assert not reading.history


async def test_presence_is_written_in_batches_and_the_last_will_says_offline(home):
    async with home.listening() as meter, home.speaking() as gateway:
        beat = wire.Heartbeat(at=utc_now() - timedelta(minutes=16), outbox=3, full=0.25, agent="1.2")
        for _ in range(40):
            gateway.line.tell(wire.heartbeat(home.gateway), wire.msgspec.json.encode(beat), qos=0)
        await gateway.say(wire.Status(online=True, agent="1.2"), what="status")
        await _eventually(
            lambda: (
                home.rows(
                    "SELECT online, outbox_depth, agent FROM ingest.gateway WHERE gateway_id = %s",
                    home.gateway,
                )
                == [(True, 3, "1.2")]
            )
        )
        (error,) = home.rows(
            "SELECT extract(epoch FROM clock_error) FROM ingest.gateway WHERE gateway_id = %s", home.gateway
        )[0]
        assert 950 < error < 975
        await gateway.say(b'{"online":false}', what="status")
        await _eventually(
            lambda: (
                home.rows("SELECT online FROM ingest.gateway WHERE gateway_id = %s", home.gateway)
                == [(False,)]
            )
        )
    assert meter.tally.received >= 42


async def test_two_ingests_do_not_throw_each_other_out(home):
    async with home.listening() as first:
        second = asyncio.create_task(_listen_a_while(home))
        async with home.speaking() as gateway:
            for n in range(20):
                await gateway.say(fingerstick(home.meter, 100 + n, minutes_ago=30 - n))
            await gateway.hear(20)
        assert first.dropped == 0
        assert not second.done()
    took_over = await second
    assert took_over.dropped == 0


async def _listen_a_while(home):
    async with home.listening() as meter:
        return meter


async def _eventually(condition, within_s=10):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.05)
