"""Vendors' clouds on the real Kafka and PostgreSQL: kept before the 200, on the right person, once; else come again."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psycopg
import pytest

from deploy import bus, database
from deploy.settings import Secret
from ingest.ihealth_cloud import IHealth
from ingest.seal import Seal
from ingest.service import Intake
from ingest.store import Registry
from ingest.stream import Stream
from ingest.webhook_service import Door, Lane, fetch
from ingest.webhook_store import Client, Tokens, Webhooks
from ingest.webhook_web import app
from ingest.webhooks import VENDORS, Scheme, Source, Vendor
from ingest.withings_cloud import Withings
from tests.ingest_home import REFUSED, ROOT, Counting, Home, spoken, utc_now

pytestmark = pytest.mark.stack

KEY = "a key that only the tests have"
SECRET = "sesame"


class Cast(Home):
    """The home of the other tests, with a source for each vendor whose cuff and meter Maria has."""

    def source(self, vendor):
        return f"cloud-{vendor}-{self.mark}"

    @property
    def sources(self):
        return [self.source(vendor) for vendor in Vendor]

    @contextlib.asynccontextmanager
    async def stored(self):
        async with database.pool(Secret(self.fresh.pipeline)) as pool:
            yield Webhooks(pool, Seal([KEY]))

    async def subscribe(self):
        keys = {"redirect_uri": "https://us.example", "sc": "s", "sv_bp": "b", "sv_glucose": "g"}
        ours = Client(client_id="us", client_secret="our secret", more=keys)
        async with self.stored() as stored:
            for vendor, rule in VENDORS.items():
                made = Source(
                    source_id=self.source(vendor),
                    vendor=vendor,
                    scheme=rule.scheme,
                    header=rule.header,
                    secrets=(SECRET,),
                )
                assert await stored.add(made, practice_id=1, client=ours)
        return self

    def call(self, vendor, body):
        """Where and with which proof this vendor posts this body."""
        name, headers = self.source(vendor), {"content-type": "application/json"}
        match VENDORS[vendor].scheme:
            case Scheme.HEADER:
                headers[VENDORS[vendor].header] = SECRET
            case Scheme.BASIC:
                headers["authorization"] = "Basic " + base64.b64encode(f"{name}:{SECRET}".encode()).decode()
            case Scheme.HMAC:
                signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                headers[VENDORS[vendor].header] = f"sha256={signature}"
        key = f"?key={SECRET}" if VENDORS[vendor].scheme is Scheme.URL else ""
        return {"url": f"/hooks/{vendor}/{name}{key}", "content": body, "headers": headers}

    @contextlib.asynccontextmanager
    async def hooks(self, cloud=None):
        """The service in this process, without a socket."""
        meter, stopping = Counting(), asyncio.Event()
        async with database.pool(Secret(self.fresh.pipeline)) as pool:
            stream = Stream(lambda: bus.producer(self.stack.kafka))
            intake = Intake(Registry(pool), stream, clock=utc_now, meter=meter)
            lane = Lane(intake, clock=utc_now, meter=meter)
            stored = Webhooks(pool, Seal([KEY]))
            tasks = [asyncio.create_task(lane.run())]
            ages = Posts()
            if cloud is not None:
                vendor = Vendor.IHEALTH if isinstance(cloud, IHealth) else Vendor.WITHINGS
                fetching = fetch(stored, {vendor: cloud}, lane, clock=utc_now, meter=ages, stopping=stopping)
                tasks.append(asyncio.create_task(fetching))
            transport = httpx.ASGITransport(app=app(Door(stored, lane, clock=utc_now), ages))
            async with httpx.AsyncClient(transport=transport, base_url="http://hooks", timeout=30) as client:
                client.meter, client.posts = meter, ages
                try:
                    yield client
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    await stream.close()

    def told(self, port):
        return {
            "LAMPLIGHT_VENDOR_KEY": KEY,
            "LAMPLIGHT_WEBHOOKS_PORT": str(port),
        }


class Posts:
    def __init__(self):
        self.seen, self.age = [], 0.0

    def post(self, vendor, outcome):
        self.seen.append((str(vendor), outcome))

    def waiting_since(self, seconds):
        self.age = seconds


@pytest.fixture
async def home(stack, fresh_database):
    return await Cast(stack, fresh_database).furnish().subscribe()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def bodies(home, minutes_ago=30):
    """One post of each vendor that posts readings, in its own words, all of the same moment: 131 to 136 over 80."""
    at = (utc_now() - timedelta(minutes=minutes_ago)).replace(microsecond=0)
    zulu, seconds = at.strftime("%Y-%m-%dT%H:%M:%SZ"), int(at.timestamp())
    cuff = home.cuff
    return {
        Vendor.TENOVI: [
            {"metric": "blood_pressure", "hwi_device_id": cuff, "value_1": "131.00", "value_2": "80.00", "timestamp": zulu},
            {"metric": "pulse", "hwi_device_id": cuff, "value_1": "70.00", "value_2": None, "timestamp": zulu},
        ],
        Vendor.SMART_METER: {
            "reading_id": 7, "imei": cuff, "reading_type": "blood_pressure", "date_recorded": zulu,
            "systolic_mmhg": 132, "diastolic_mmhg": 80, "pulse_bpm": 70,
        },
        Vendor.TELLI: {
            "readingType": "BloodPressure", "deviceId": cuff, "time": str(seconds * 1000),
            "data": {"systolic": 133, "diastolic": 80, "pulse": 70, "arrhythmia": 0},
        },
        Vendor.IHEALTH: {
            "BPDataList": [{
                "DataID": "d-1", "MDeviceMac": cuff, "HP": 134, "LP": 80, "HR": 70, "DataSource": "FromDevice",
                "MDate": seconds, "TimeZone": "+0000",
            }],
            "BPUnit": 0,
        },
        Vendor.VALIDIC: {
            "log_id": "l-1", "end_time": zulu, "utc_offset": 0, "source": {"device": {"id": cuff}},
            "metrics": [
                {"type": "systolic", "unit": "mmHg", "value": 135}, {"type": "diastolic", "unit": "mmHg", "value": 80},
            ],
        },
        Vendor.IMPILO: {
            "id": "i-1", "deviceIdentifier": cuff, "systolic": 136, "diastolic": 80, "systolicUnit": "mmHg",
            "readingTimestamp": zulu,
        },
    }  # fmt: skip


def as_bytes(body):
    return json.dumps(body).encode()


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


def fingersticks(home, count):
    at = utc_now() - timedelta(hours=5)
    for n in range(count):
        moment = int((at + timedelta(minutes=n, seconds=n)).timestamp() * 1000)
        body = {
            "readingType": "BloodGlucose",
            "deviceId": home.meter,
            "time": str(moment),
            "data": {"glucose": 90 + n},
        }
        yield home.call(Vendor.TELLI, as_bytes(body))


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


# Withings: notify, then fetch ------------------------------------------------------------------------------------------


class Recorded(BaseHTTPRequestHandler):
    """The vendor's answers as recorded from its documentation: HTTP 200 throughout, the truth in `status`."""

    def do_POST(self):
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        script = self.server.script
        script.asked.append((self.path, form, self.headers.get("authorization")))
        body = json.dumps(script.answer(self.path, form, self.headers.get("authorization"))).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Script:
    """An access token that has run out, a refresh token that works once, and one measure group."""

    def __init__(self, home, at):
        self.asked, self.down, self.refresh, self.access = [], False, "refresh-1", "access-1"
        self.group = {
            "grpid": 12, "attrib": 0, "date": int(at.timestamp()), "category": 1, "deviceid": home.cuff,
            "measures": [
                {"value": 89, "type": 9, "unit": 0}, {"value": 139, "type": 10, "unit": 0},
                {"value": 61, "type": 11, "unit": 0},
            ],
        }  # fmt: skip

    def answer(self, path, form, authorization):
        if self.down:
            return {"status": 601, "body": {}}
        if path == "/v2/oauth2":
            if f"refresh_token={self.refresh}" not in form or "client_secret=our+secret" not in form:
                return {"status": 503, "body": {}}
            self.refresh, self.access = "refresh-2", "access-2"
            return {"status": 0, "body": {"access_token": self.access, "refresh_token": self.refresh}}
        if authorization != f"Bearer {self.access}" or self.access == "access-1":
            return {"status": 401, "body": {}, "error": "invalid_token"}
        return {"status": 0, "body": {"timezone": "America/New_York", "measuregrps": [self.group]}}


@pytest.fixture
def vendor(home):
    script = Script(home, utc_now() - timedelta(minutes=20))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorded)
    server.script = script
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    script.base = f"http://127.0.0.1:{server.server_port}"
    yield script
    server.shutdown()
    thread.join()
    server.server_close()


def notification(home):
    body = b"userid=4711&appli=4&startdate=1690491576&enddate=1690491663"
    call = home.call(Vendor.WITHINGS, body)
    return call | {"headers": {"content-type": "application/x-www-form-urlencoded"}}


async def _until_fetched(home, within_s=30):
    async with asyncio.timeout(within_s):
        while home.rows("SELECT count(*) FROM ingest.webhook_fetch WHERE done_at IS NULL") != [(0,)]:
            await asyncio.sleep(0.05)


async def test_withings_is_answered_at_once_and_its_data_is_fetched_with_new_tokens(home, vendor):
    async with home.stored() as stored:
        assert await stored.connect(
            home.source(Vendor.WITHINGS), "4711", Tokens(access="access-1", refresh="refresh-1")
        )
        async with home.hooks(Withings(vendor.base)) as hooks:
            began = time.monotonic()
            assert (await hooks.post(**notification(home))).json() == {"kept": True}
            assert time.monotonic() - began < 2  # the vendor's own limit
            await _until_fetched(home)
        account = await stored.account(home.source(Vendor.WITHINGS), "4711")
    (reading,) = await spoken(home.stack, home.sources)
    assert (reading.patient_id, reading.systolic, reading.diastolic, reading.pulse) == (
        home.maria,
        139,
        89,
        61,
    )
    assert reading.utc_offset_minutes in (-240, -300)
    assert account.tokens == Tokens(access="access-2", refresh="refresh-2")  # the old ones are void
    assert [path for path, _, _ in vendor.asked] == ["/measure", "/v2/oauth2", "/measure"]
    assert "startdate=1690491576" in vendor.asked[0][1]


async def test_a_notification_outlives_the_process_that_answered_it(home, vendor):
    async with home.stored() as stored:
        await stored.connect(home.source(Vendor.WITHINGS), "4711", Tokens(access="", refresh="refresh-1"))
        async with home.hooks() as hooks:  # a service that dies before it fetched anything
            assert (await hooks.post(**notification(home))).status_code == 200
        async with home.hooks(Withings(vendor.base)):
            await _until_fetched(home)
    assert len(await spoken(home.stack, home.sources)) == 1


async def test_a_vendor_in_trouble_is_asked_again_later_and_the_age_of_what_waits_is_told(home, vendor):
    vendor.down = True
    async with home.stored() as stored:
        await stored.connect(
            home.source(Vendor.WITHINGS), "4711", Tokens(access="access-2", refresh="refresh-1")
        )
        async with home.hooks(Withings(vendor.base)) as hooks:
            assert (await hooks.post(**notification(home))).status_code == 200
            async with asyncio.timeout(20):
                while home.rows("SELECT trouble FROM ingest.webhook_fetch") != [("status-601",)]:
                    await asyncio.sleep(0.05)
                while hooks.posts.age == 0.0:
                    await asyncio.sleep(0.05)
            ((tries, wait),) = home.rows(
                "SELECT tries, extract(epoch FROM due_at - now())::int FROM ingest.webhook_fetch"
            )
            assert (tries, 40 < wait <= 61) == (1, True)
            vendor.down, vendor.access = False, "access-2"
            with psycopg.connect(home.fresh.pipeline) as conn:
                conn.execute("UPDATE ingest.webhook_fetch SET due_at = now()")
            await _until_fetched(home)
    assert len(await spoken(home.stack, home.sources)) == 1


# iHealth: notify, then fetch -------------------------------------------------------------------------------------------


class RecordedPages(BaseHTTPRequestHandler):
    """iHealth's answers as its documentation shows them: GET, HTTP 200 throughout, the truth in `ErrorCode`."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        self.server.script.asked.append((path, asked))
        body = json.dumps(self.server.script.answer(path, asked)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Pages:
    """An access token that has run out, two pages of pressures and one of glucoses; no record names a device."""

    def __init__(self, at):
        self.asked, self.access = [], "access-1"
        wall = int((at - timedelta(hours=5)).timestamp())  # the patient's clock, written as if it were UTC
        self.pressures = [
            {
                "DataID": f"p{n}",
                "HP": 140 + n,
                "LP": 90,
                "HR": 70,
                "MDate": wall - 600 * n,
                "TimeZone": "-0500",
            }
            for n in range(2)
        ]
        self.sugars = [{"DataID": "g1", "BG": 6.1, "MDate": wall - 3600, "TimeZone": "-0500"}]

    def answer(self, path, asked):
        if asked["client_secret"] != "our secret" or asked["redirect_uri"] != "https://us.example":
            return {"Error": "client_secret_mismatch", "ErrorCode": 1002}
        if path == "/OAuthv2/userauthorization/":
            if (asked["refresh_token"], asked["UserID"]) != ("refresh-1", "ihealth-user"):
                return {"Error": "invalid", "ErrorCode": 5001}
            self.access = "access-2"
            return {"AccessToken": "access-2", "RefreshToken": "refresh-2", "UserID": "ihealth-user"}
        if asked["access_token"] != "access-2":
            return {"Error": "unauthorized_token", "ErrorCode": 2002}
        number = int(asked["page_index"])
        if path == "/user/ihealth-user/bp.json/":
            assert asked["sv"] == "b"
            more = "https://elsewhere/page=2" if number == 1 else ""
            return {"BPDataList": self.pressures[number - 1 : number], "BPUnit": 0, "NextPageUrl": more}
        assert (path, asked["sv"]) == ("/user/ihealth-user/glucose.json/", "g")
        return {"BGDataList": self.sugars, "BGUnit": 1, "NextPageUrl": ""}


async def test_ihealth_says_that_data_waits_and_every_page_of_it_is_fetched_for_the_accounts_patient(home):
    at = utc_now() - timedelta(minutes=30)
    pages = Pages(at)
    server = ThreadingHTTPServer(("127.0.0.1", 0), RecordedPages)
    server.script = pages
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with psycopg.connect(home.fresh.pipeline) as conn:  # the account stands for the device
        conn.execute(
            "INSERT INTO ingest.device (device_id, practice_id, family) VALUES ('ihealth-user', 1, 'ihealth')"
        )
        home.give(conn, "ihealth-user", 1, home.maria)
    notice = [
        {
            "CollectionType": kind,
            "MDate": f"{at:%Y-%m-%d %H:%M:%S}",
            "UserID": "ihealth-user",
            "SubscriptionId": "s",
        }
        for kind in ("bp", "weight", "glucose")
    ]
    try:
        async with home.stored() as stored:
            source = home.source(Vendor.IHEALTH)
            assert await stored.connect(
                source, "ihealth-user", Tokens(access="access-1", refresh="refresh-1")
            )
            async with home.hooks(IHealth(f"http://127.0.0.1:{server.server_port}")) as hooks:
                for _ in range(2):  # vendors repeat themselves
                    said = await hooks.post(**home.call(Vendor.IHEALTH, json.dumps(notice).encode()))
                    assert said.json() == {"kept": True}
                    await _until_fetched(home)
            account = await stored.account(source, "ihealth-user")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    told = await spoken(home.stack, home.sources)
    assert sorted((r.systolic or 0.0, r.glucose or 0.0) for r in told) == [
        (0.0, 109.9),
        (140.0, 0.0),
        (141.0, 0.0),
    ]
    assert {(r.patient_id, r.device_id, r.utc_offset_minutes) for r in told} == {
        (home.maria, "ihealth-user", -300)
    }
    assert max(r.effective_at for r in told) == at.replace(microsecond=0)
    assert account.tokens == Tokens(access="access-2", refresh="refresh-2")
    assert home.rows("SELECT count(*) FROM ingest.webhook_fetch") == [(1,)]  # one account, one day: one fetch
    since = {asked["start_time"] for path, asked in pages.asked if path.startswith("/user/")}
    assert [at.timestamp() - 16 * 86_400 < int(one) < at.timestamp() - 13 * 86_400 for one in since] == [True]


@contextlib.contextmanager
def ihealth(script):
    server = ThreadingHTTPServer(("127.0.0.1", 0), RecordedPages)
    server.script = script
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield IHealth(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class ManyPages(Pages):
    """Seven pages of fifty pressures: more than a turn, and far more than a message may hold."""

    def answer(self, path, asked):
        if path != "/user/ihealth-user/bp.json/" or asked["access_token"] != "access-2":
            return super().answer(path, asked)
        page = int(asked["page_index"])
        like = self.pressures[0] | {"Note": "n" * 400}
        records = [
            like | {"DataID": f"m{n}", "MDate": like["MDate"] - 600 * n}
            for n in range(50 * page - 50, 50 * page)
        ]
        return {"BPDataList": records, "BPUnit": 0, "NextPageUrl": "https://elsewhere" if page < 7 else ""}


async def test_more_pages_than_a_turn_holds_are_all_readings_each_with_its_own_record(home):
    at = utc_now() - timedelta(minutes=30)
    pages = ManyPages(at)
    with psycopg.connect(home.fresh.pipeline) as conn:
        conn.execute(
            "INSERT INTO ingest.device (device_id, practice_id, family) VALUES ('ihealth-user', 1, 'ihealth')"
        )
        home.give(conn, "ihealth-user", 1, home.maria)
    notice = [{"CollectionType": "bp", "MDate": f"{at:%Y-%m-%d %H:%M:%S}", "UserID": "ihealth-user"}]
    with ihealth(pages) as cloud:
        async with home.stored() as stored, home.hooks(cloud) as hooks:
            source = home.source(Vendor.IHEALTH)
            await stored.connect(source, "ihealth-user", Tokens(access="access-1", refresh="refresh-1"))
            said = await hooks.post(**home.call(Vendor.IHEALTH, json.dumps(notice).encode()))
            assert said.json() == {"kept": True}
            await _until_fetched(home)
    told = await spoken(home.stack, home.sources)
    assert len({r.event_id for r in told if r.systolic}) == 350
    assert len([r for r in told if r.glucose]) == 1
    assert max(len(r.raw) for r in told) < 1_000
    assert await spoken(home.stack, home.sources, REFUSED) == []
    numbers = [int(asked["page_index"]) for path, asked in pages.asked if path.endswith("/bp.json/")]
    assert numbers == [1, *range(1, 8)]  # the first with the token that was over, then each once
    assert home.rows("SELECT tries, reached, trouble FROM ingest.webhook_fetch") == [(0, "", None)]


class HugeRecord(Pages):
    """A record beside the good ones that, with its bytes written out, is more than Kafka takes."""

    def answer(self, path, asked):
        page = super().answer(path, asked)
        for record in page.get("BPDataList", ())[:1]:
            page["BPDataList"] = [record, record | {"DataID": "huge", "Note": "n" * 900_000}]
        return page


async def test_a_record_too_large_for_kafka_is_set_aside_cut_and_nobody_waits_behind_it(home):
    at = utc_now() - timedelta(minutes=30)
    with psycopg.connect(home.fresh.pipeline) as conn:
        conn.execute(
            "INSERT INTO ingest.device (device_id, practice_id, family) VALUES ('ihealth-user', 1, 'ihealth')"
        )
        home.give(conn, "ihealth-user", 1, home.maria)
    notice = [{"CollectionType": "bp", "MDate": f"{at:%Y-%m-%d %H:%M:%S}", "UserID": "ihealth-user"}]
    (call,) = fingersticks(home, 1)
    with ihealth(HugeRecord(at)) as cloud:
        async with home.stored() as stored, home.hooks(cloud) as hooks:
            source = home.source(Vendor.IHEALTH)
            await stored.connect(source, "ihealth-user", Tokens(access="access-1", refresh="refresh-1"))
            await hooks.post(**home.call(Vendor.IHEALTH, json.dumps(notice).encode()))
            await _until_fetched(home)
            assert (await hooks.post(**call)).status_code == 200  # another vendor's, through the same lane
    told = await spoken(home.stack, home.sources)
    assert sorted(r.systolic for r in told if r.systolic) == [140.0, 141.0]
    refused = await spoken(home.stack, home.sources, REFUSED)
    assert {(one.reason, len(one.raw)) for one in refused} == {("too-large", 65_537)}
    assert "are kept" in refused[0].detail


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
