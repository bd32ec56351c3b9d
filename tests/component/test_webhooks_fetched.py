"""What a vendor's cloud only announces is fetched: at once answered, page by page, with new tokens, on the real Kafka and PostgreSQL."""

import asyncio
import contextlib
import json
import threading
import time
import urllib.parse
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest

from ingest.ihealth_cloud import IHealth
from ingest.webhook_store import Tokens
from ingest.webhooks import Vendor
from ingest.withings_cloud import Withings
from tests.component.webhook_home import Cast, fingersticks
from tests.ingest_home import REFUSED, spoken, utc_now

pytestmark = pytest.mark.stack


@pytest.fixture
async def home(stack, fresh_database):
    return await Cast(stack, fresh_database).furnish().subscribe()


class Cloud(BaseHTTPRequestHandler):
    """A vendor that says HTTP 200 whatever it means."""

    def say(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Recorded(Cloud):
    """The vendor's answers as recorded from its documentation: the truth is in `status`."""

    def do_POST(self):
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        asked = self.path, form, self.headers.get("authorization")
        self.server.script.asked.append(asked)
        self.say(self.server.script.answer(*asked))


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


class RecordedPages(Cloud):
    """iHealth's answers as its documentation shows them: GET, and the truth is in `ErrorCode`."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        asked = path, dict(urllib.parse.parse_qsl(query))
        self.server.script.asked.append(asked)
        self.say(self.server.script.answer(*asked))


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
