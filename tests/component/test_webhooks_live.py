"""Vendors' clouds on the real Kafka and PostgreSQL: kept before the 200, on the right person, once; else come again."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from ingest.webhooks import Vendor
from tests.component.webhook_home import KEY, SECRET, Cast, as_bytes, bodies, fingersticks
from tests.ingest_home import REFUSED, ROOT, spoken

pytestmark = pytest.mark.stack


@pytest.fixture
async def home(stack, fresh_database):
    return await Cast(stack, fresh_database).furnish().subscribe()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


async def test_each_vendors_post_becomes_one_reading_of_the_right_patient_before_its_200(home):
    async with home.hooks() as hooks:
        for vendor, body in bodies(home).items():
            answer = await hooks.post(**home.call(vendor, as_bytes(body)))
            assert (answer.status_code, answer.json()) == (200, {"kept": True}), vendor
            readings = await spoken(home.stack, [home.source(vendor)])  # already there
            assert [(r.patient_id, r.practice_id, r.diastolic) for r in readings] == [(home.maria, 1, 80.0)]
    everything = await spoken(home.stack, home.sources)
    assert sorted(r.systolic for r in everything) == [131, 132, 133, 134, 135, 136]
    assert len({r.effective_at for r in everything}) == 1  # one moment, however each vendor writes it
    assert await spoken(home.stack, home.sources, REFUSED) == []


async def test_the_same_post_again_is_answered_the_same_and_is_no_second_reading(home):
    calls = [home.call(vendor, as_bytes(body)) for vendor, body in bodies(home).items()]
    async with home.hooks() as hooks:
        for call in [*calls, *calls]:
            assert (await hooks.post(**call)).status_code == 200
        assert hooks.meter.tally.duplicates == len(calls)
    async with home.hooks() as restarted:  # remembers nothing: the fact has the same id all the same
        for call in calls:
            assert (await restarted.post(**call)).status_code == 200
    readings = await spoken(home.stack, home.sources)
    assert len({reading.event_id for reading in readings}) == len(calls)


async def test_what_nobody_understands_is_kept_as_a_refusal_before_its_200(home):
    strangers = {
        b"\xff\xfe": "not-text",
        b"{": "not-json",
        b"[]": "nothing-here",
        as_bytes(bodies(home)[Vendor.TELLI] | {"deviceId": "meter-of-nobody"}): "unknown-device",
        as_bytes(bodies(home)[Vendor.TELLI] | {"deviceId": home.other_meter}): "other-practice",
    }
    async with home.hooks() as hooks:
        for body, reason in strangers.items():
            answer = await hooks.post(**home.call(Vendor.TELLI, body))
            assert (answer.status_code, answer.json()) == (200, {"kept": True, "set_aside": reason})
    refused = await spoken(home.stack, [home.source(Vendor.TELLI)], REFUSED)
    assert {(event.raw, event.reason, event.practice_id) for event in refused} == {
        (body, reason, 1) for body, reason in strangers.items()
    }
    assert await spoken(home.stack, home.sources) == []


async def test_without_its_secret_nothing_is_kept_and_nothing_is_told(home):
    async with home.hooks() as hooks:
        for vendor, body in bodies(home).items():
            call = home.call(vendor, as_bytes(body))
            call |= {"headers": {}, "url": call["url"].partition("?")[0]}
            assert (await hooks.post(**call)).status_code == 401
            stolen = home.call(vendor, as_bytes(body))
            stolen["url"] = stolen["url"].replace(home.source(vendor), "cloud-of-nobody")
            assert (await hooks.post(**stolen)).status_code == 401
    assert await spoken(home.stack, [*home.sources, "cloud-of-nobody"]) == []
    assert await spoken(home.stack, [*home.sources, "cloud-of-nobody"], REFUSED) == []


async def test_a_source_reaches_the_devices_of_its_own_practice_only(home):
    body = as_bytes({"readingType": "BloodGlucose", "deviceId": home.other_meter, "data": {"glucose": 110}})
    async with home.hooks() as hooks:
        assert (await hooks.post(**home.call(Vendor.TELLI, body))).json()["set_aside"] == "other-practice"
    assert await spoken(home.stack, home.sources) == []


async def test_events_of_a_device_are_news_and_the_source_is_seen(home):
    body = as_bytes({"type": "Heartbeat", "deviceId": home.cuff, "devdata": {"batt": "3"}})
    async with home.hooks() as hooks:
        assert (await hooks.post(**home.call(Vendor.TELLI, body))).json() == {"kept": True}
        async with asyncio.timeout(15):
            while home.rows("SELECT battery_percent FROM ingest.device WHERE device_id = %s", home.cuff) != [
                (30.0,)
            ]:
                await asyncio.sleep(0.05)
    seen = home.rows("SELECT online FROM ingest.gateway WHERE gateway_id = %s", home.source(Vendor.TELLI))
    assert seen == [(True,)]


async def test_secrets_are_sealed_in_the_database_and_change_without_a_gap(home):
    stored = home.rows("SELECT secret, client FROM ingest.webhook")
    assert all(SECRET.encode() not in bytes(secret) + bytes(client) for secret, client in stored)
    call = home.call(Vendor.TELLI, as_bytes(bodies(home)[Vendor.TELLI]))
    async with home.hooks() as hooks, home.stored() as stored:
        assert await stored.rotate(home.source(Vendor.TELLI), "new")
        fresh = call | {"headers": call["headers"] | {"x-api-key": "new"}}
        assert [(await hooks.post(**one)).status_code for one in (call, fresh)] == [200, 200]
        assert await stored.rotate(home.source(Vendor.TELLI), None)
        assert [(await hooks.post(**one)).status_code for one in (call, fresh)] == [401, 200]


# Kafka away, with the service as a process of its own ------------------------------------------------------------------


@contextlib.contextmanager
def running(home, log):
    port, status = free_port(), free_port()
    process = home.process(
        "deploy.cli", "run", "webhooks", log=log, LAMPLIGHT_STATUS_PORT=str(status), **home.told(port)
    )
    base = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{status}/readyz").status_code == 200:
                    httpx.get(base)
                    break
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield process, base, f"http://127.0.0.1:{status}/metrics/"
    finally:
        process.kill()
        process.wait()


async def test_kafka_killed_in_the_middle_acknowledged_is_there_and_the_rest_is_told_to_come_again(
    home, stack, tmp_path
):
    calls = list(fingersticks(home, 60))
    codes = {}
    with (tmp_path / "log").open("w") as log, running(home, log) as (_, base, metrics):

        def post(n):
            call = calls[n]
            codes[n] = httpx.post(
                base + call["url"], content=call["content"], headers=call["headers"], timeout=30
            ).status_code

        for n in range(20):
            post(n)
        stack.kill("kafka")
        threads = [threading.Thread(target=post, args=(n,)) for n in range(20, 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(stack.restart, "kafka")
        before = dict(codes)
        assert {before[n] for n in range(20)} == {200}
        assert {before[n] for n in range(20, 40)} == {503}
        kept = {n for n, code in before.items() if code == 200}
        end = time.monotonic() + 60
        for n in range(20, 60):  # the vendor comes again, and goes on
            while True:
                await asyncio.to_thread(post, n)
                if codes[n] == 200:
                    break
                assert time.monotonic() < end
        said = await asyncio.to_thread(lambda: httpx.get(metrics).text)
    assert set(codes.values()) == {200}
    readings = await spoken(stack, home.sources)
    there = {round(r.glucose) - 90: r.patient_id for r in readings}
    assert set(there) == set(range(60)) >= kept
    assert set(there.values()) == {home.maria}
    assert len({r.event_id for r in readings}) == 60
    assert 'lamplight_webhook_posts_total{outcome="unavailable",vendor="telli"} ' in said
    assert home.mark not in said  # no source, device or person in a metric
    assert SECRET not in (tmp_path / "log").read_text()


async def test_while_the_database_is_away_nobody_is_told_that_anything_is_kept(home, stack):
    (call,) = fingersticks(home, 1)
    async with home.hooks() as hooks:
        stack.kill("postgres")
        try:
            assert (await hooks.post(**call)).status_code == 503
        finally:
            await asyncio.to_thread(stack.restart, "postgres")
        async with asyncio.timeout(60):
            while (await hooks.post(**call)).status_code != 200:
                await asyncio.sleep(0.2)
    assert len({r.event_id for r in await spoken(stack, home.sources)}) == 1


async def test_a_kill_of_the_service_under_posts_loses_nothing_it_said_200_to(home, stack, tmp_path):
    calls, codes = list(fingersticks(home, 40)), {}
    with (tmp_path / "log").open("w") as log:
        for start in (0, 20):
            with running(home, log) as (process, base, _):
                for n in range(start, start + 20):
                    if n == start + 15:
                        process.kill()
                    with contextlib.suppress(httpx.HTTPError):
                        call = calls[n]
                        codes[n] = (
                            await asyncio.to_thread(
                                httpx.post,
                                base + call["url"],
                                content=call["content"],
                                headers=call["headers"],
                            )
                        ).status_code
    there = {round(r.glucose) - 90 for r in await spoken(stack, home.sources)}
    kept = {n for n, code in codes.items() if code == 200}
    assert len(kept) >= 20
    assert kept <= there


# The command line -----------------------------------------------------------------------------------------------------


def lamplight(home, *words, stdin=""):
    told = {**home.environment(), "LAMPLIGHT_VENDOR_KEY": KEY}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words],
        env=told, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


async def test_a_source_made_on_the_command_line_posts_with_curl_as_printed(home, tmp_path):
    made = lamplight(
        home, "ingest", "webhook", "add", "telli", "--practice", "1", "--source", f"mine-{home.mark}"
    )
    assert made.returncode == 0, made.stderr
    lines = dict(line.split(None, 1) for line in made.stdout.splitlines())
    path, header = lines["POST"].removeprefix("to").strip(), lines["header"]
    body = as_bytes({"readingType": "BloodGlucose", "deviceId": home.meter, "data": {"glucose": 101}})
    with (tmp_path / "log").open("w") as log, running(home, log) as (_, base, _):
        answer = await asyncio.to_thread(
            subprocess.run,
            ["curl", "-sS", "-X", "POST", base + path, "-H", header, "-d", body.decode()],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert json.loads(answer.stdout) == {"kept": True}, answer.stderr
    assert [r.glucose for r in await spoken(home.stack, [f"mine-{home.mark}"])] == [101]
    again = lamplight(
        home, "ingest", "webhook", "add", "telli", "--practice", "1", "--source", f"mine-{home.mark}"
    )
    assert again.returncode == 1
    assert "is taken" in again.stderr
