"""The gateway agent against real ingest: a diary arrives whole, and the command line does what it says."""

import asyncio
import subprocess
import sys
import time

import msgspec
import pytest

from ingest import wire
from ingest.gateway import cast
from ingest.gateway.outbox import Outbox
from ingest.gateway.performance import gateway, perform
from tests.ingest_home import REFUSED, ROOT, Home, fingerstick, spoken, utc_now

pytestmark = pytest.mark.stack


async def until_settled(outbox, of=None, within_s=60):
    async with asyncio.timeout(within_s):
        while outbox.depth or (of is not None and sum(outbox.counts()) < of):
            await asyncio.sleep(0.02)


async def test_a_diary_is_played_whole_and_its_dirt_ends_as_refusals_and_flags(
    stack, fresh_database, tmp_path
):
    home = Home(stack, fresh_database).furnish(playback=True)
    dirty = next(role for role in cast.roles() if role.diary == "aim94-67.tsv")
    echoing = next(role for role in cast.roles() if role.diary == "welltory-295e.csv")
    parts = [
        dirty.part()._replace(device_id=home.meter, ahead_days=-1),
        echoing.part()._replace(device_id=home.cuff, ahead_days=-1),
    ]
    whole = sum(len(part.entries) for part in parts)
    stopping = asyncio.Event()
    async with home.listening() as meter:
        playing = asyncio.create_task(
            perform(
                home.gateway,
                tmp_path / "outbox",
                home.broker(home.gateway),
                parts,
                live_days=21,
                seconds_per_day=0.05,
                clock=utc_now,
                stopping=stopping,
            )
        )
        async with asyncio.timeout(90):
            while meter.tally.accepted + meter.tally.duplicates + sum(meter.tally.refused.values()) < whole:
                await asyncio.sleep(0.05)
        stopping.set()
        await playing
    readings = await spoken(stack, [home.gateway])
    refused = await spoken(stack, [home.gateway], REFUSED)
    assert len({reading.event_id for reading in readings}) == len(readings)
    assert {reading.patient_id for reading in readings} == {home.maria}
    assert sum("echo" in reading.flags for reading in readings) == 11
    undated = [reading for reading in readings if reading.time_rule in {"gateway-time", "undated-history"}]
    assert {reading.device_time[-5:] for reading in undated} == {"56:35", "88:00"}
    assert {no.hop for no in refused} <= {"decode", "quality", "device"}
    assert {
        reading.time_confidence for reading in readings if not reading.history and reading not in undated
    } <= {"high", "low"}
    with Outbox(tmp_path / "outbox") as outbox:
        assert outbox.counts()[1] == len(refused)


async def test_readings_taken_in_while_nobody_listens_arrive_when_somebody_does(
    stack, fresh_database, tmp_path
):
    home = Home(stack, fresh_database).furnish()
    stopping = asyncio.Event()
    async with gateway(
        home.gateway, tmp_path / "o", home.broker(home.gateway), clock=utc_now, stopping=stopping
    ) as (agent, outbox):
        sent = [fingerstick(home.meter, 100 + n, minutes_ago=90 - n) for n in range(60)]
        agent.put([(wire.UUID(one["id"]), msgspec.json.encode(one)) for one in sent])
        await asyncio.sleep(0)
        assert outbox.depth == 60
        async with home.listening():
            await until_settled(outbox, within_s=30)
    assert len(await spoken(stack, [home.gateway])) == 60


def test_the_command_line_sends_what_it_is_given_and_says_what_became_of_it(stack, fresh_database, tmp_path):
    home = Home(stack, fresh_database).furnish()
    credential = home.credential(home.gateway)
    ingest = home.process("deploy.cli", "run", "ingest")
    try:
        lines = [msgspec.json.encode(fingerstick(home.meter, 90 + n, minutes_ago=9 - n)) for n in range(5)]
        lines += [b"not json at all", msgspec.json.encode(fingerstick("meter-of-nobody"))]
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "deploy.cli",
                    "gateway",
                    "run",
                    "--id",
                    home.gateway,
                    "--outbox",
                    tmp_path / "o",
                ),
                *(
                    "--broker",
                    stack.mqtt,
                    "--ca",
                    credential.ca,
                    "--cert",
                    credential.cert,
                    "--key",
                    credential.key,
                ),
            ],
            input=b"\n".join(lines),
            capture_output=True,
            cwd=ROOT,
            timeout=60,
            check=True,
        )
        state, end = (
            "SELECT online, outbox_depth FROM ingest.gateway WHERE gateway_id = %s",
            time.monotonic() + 20,
        )
        while home.rows(state, home.gateway) != [
            (False, 0)
        ]:  # its true last state, not that of its last beat
            assert time.monotonic() < end, home.rows(state, home.gateway)
            time.sleep(0.05)
    finally:
        ingest.terminate()
        assert ingest.wait(20) == 0
    told = done.stderr.decode().strip().splitlines()[-1]
    assert told == "5 acknowledged, 2 refused (not-json, unknown-device), 0 unanswered"
