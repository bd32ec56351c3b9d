"""Vendors' clouds over a real socket: every page of any size, one message for each record, and no answer that raises."""

import json
import threading
import urllib.parse
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest

from ingest import webhook_service
from ingest.ihealth_cloud import MOST_PAGES, IHealth
from ingest.sorting import read
from ingest.store import Away
from ingest.verdict import LARGEST
from ingest.webhook_service import Renewed
from ingest.webhook_store import Account, Client, Tokens, Turn
from ingest.webhooks import Vendor, Waiting
from ingest.withings_cloud import Withings

MORE = {"redirect_uri": "https://us.example", "sc": "s", "sv_bp": "b", "sv_glucose": "g"}


def account(vendor, access="access-1"):
    ours = Client(client_id="us", client_secret="secret", more=MORE)
    return Account("cloud-1", "4711", vendor, ours, Tokens(access=access, refresh="refresh-1"))


class Vendors(BaseHTTPRequestHandler):
    """Answers with what the script says: (HTTP code, body), or bytes as they go over the line."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("content-length") or 0)
        asked = dict(urllib.parse.parse_qsl(query or self.rfile.read(length).decode()))
        answer = self.server.script(path, asked, self.headers.get("authorization"))
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
            return
        code, said = answer
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def cloud():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vendors)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def serve(script):
        server.script = script
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def lists(pages):
    """iHealth with so many pages of each list, fifty records on each, a page of more than twenty kilobytes."""

    def script(path, asked, _):
        number = int(asked["page_index"])
        more = {"NextPageUrl": "https://elsewhere" if number < pages else ""}
        note = "n" * 400
        several = [(number - 1) * 50 + n for n in range(50)]
        if path.endswith("/bp.json/"):
            records = [
                {"DataID": f"p{n}", "HP": 120, "LP": 80, "MDate": 1_700_000_000 + n, "Note": note}
                for n in several
            ]
            return 200, {"BPDataList": records, "BPUnit": 0} | more
        records = [{"DataID": f"g{n}", "BG": 6.10, "MDate": 1_700_000_000 + n, "Note": note} for n in several]
        return 200, {"BGDataList": records, "BGUnit": 1} | more

    return script


async def all_turns(vendor, of, most=30):
    turns, reached = [], ""
    while not turns or (reached and len(turns) < most):
        turns.append(await vendor.measures(of, since=None, until=None, reached=reached))
        assert turns[-1].trouble == ""
        reached = turns[-1].reached
    return turns


async def test_three_pages_of_each_list_are_three_hundred_records_each_a_message_of_its_own(cloud):
    turns = await all_turns(IHealth(cloud(lists(3))), account(Vendor.IHEALTH))
    records = [record for turn in turns for record in turn.records]
    assert sum(map(len, records)) > LARGEST  # together they were refused
    messages = [read("cloud-1", "ihealth", record)[0] for record in records]
    assert [len(message.said) for message in messages] == [1] * 300
    names = [message.said[0].sent["record"].value for message in messages]
    assert len(set(names)) == 300
    assert max(map(len, records)) < 1_000  # and the raw of a reading is its record
    assert json.loads(records[-1]) == {
        "BGDataList": [json.loads(records[-1])["BGDataList"][0]],
        "BGUnit": 1,
    }


async def test_what_one_turn_does_not_reach_the_next_goes_on_with(cloud):
    turns = await all_turns(IHealth(cloud(lists(21))), account(Vendor.IHEALTH))
    assert [len(turn.records) for turn in turns] == [50 * MOST_PAGES] * 8 + [100]
    assert [turn.reached for turn in turns[:5]] == ["bp:6", "bp:11", "bp:16", "bp:21", "glucose:5"]
    assert len({record for turn in turns for record in turn.records}) == 2 * 21 * 50


async def test_trouble_on_the_way_keeps_what_came_and_says_where_to_go_on(cloud):
    whole = lists(4)

    def script(path, asked, authorization):
        return (503, b"busy") if asked["page_index"] == "3" else whole(path, asked, authorization)

    told = await IHealth(cloud(script)).measures(account(Vendor.IHEALTH), since=None, until=None)
    assert (len(told.records), told.trouble, told.reached) == (100, "code-http-503", "bp:3")


async def test_a_vendor_that_says_for_ever_that_there_is_more_is_in_trouble(cloud):
    told = await IHealth(cloud(lists(10**6))).measures(
        account(Vendor.IHEALTH), since=None, until=None, reached="bp:999"
    )
    assert (len(told.records), told.trouble, told.reached) == (100, "code-too-many-pages", "bp:1001")


async def test_withings_gives_group_by_group_and_goes_on_where_it_says_that_more_waits(cloud):
    def script(path, asked, _):
        first = int(asked.get("offset", 0))
        groups = [
            {"grpid": first + n, "deviceid": "cuff", "date": 1_700_000_000, "category": 1, "note": "n" * 400,
             "measures": [{"value": 80, "type": 9, "unit": 0}, {"value": 120, "type": 10, "unit": 0}]}
            for n in range(200)
        ]  # fmt: skip
        more = {"more": 1, "offset": 200} if first == 0 else {"more": 0, "offset": 0}
        return 200, {"status": 0, "body": {"timezone": "America/New_York", "measuregrps": groups} | more}

    turns = await all_turns(Withings(cloud(script)), account(Vendor.WITHINGS))
    assert [(len(turn.records), turn.reached) for turn in turns] == [(200, "200"), (200, "")]
    said = [read("cloud-1", "withings", record)[0].said for turn in turns for record in turn.records]
    assert {(len(one), one[0].systolic, one[0].utc_offset_minutes) for one in said} == {(1, 120.0, -300)}
    assert len({one[0].sent["record"].value for one in said}) == 400


BROKEN = {
    "a line that is no HTTP": b"what?\r\n\r\n",
    "a body shorter than it says": b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{",
    "nothing at all": b"",
    "a redirect to no address": b"HTTP/1.1 302 Found\r\nlocation: http://[x\r\ncontent-length: 0\r\n\r\n",
    "an error that breaks off": b"HTTP/1.1 500 No\r\ncontent-length: 999\r\n\r\n{",
    "HTML": (200, b"<html>"),
    "a list": (200, b"[]"),
    "not text": (200, b"\xff\xfe"),
    "an error page": (502, b"<html>"),
    "a good page under an error": (500, {"status": 0, "BPDataList": []}),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("vendor", [IHealth, Withings])
async def test_whatever_a_vendor_answers_is_trouble_and_no_exception(cloud, vendor, answer):
    of = account(Vendor.IHEALTH if vendor is IHealth else Vendor.WITHINGS)
    told = await vendor(cloud(lambda *_: answer)).measures(of, since=None, until=None)
    assert (told.records, told.tokens) == ((), None)
    assert told.trouble


@pytest.mark.parametrize(
    "refusal", [(401, {"ErrorCode": 2002, "status": 401}), (401, b"<html>")], ids=["with its code", "without"]
)
@pytest.mark.parametrize("vendor", [IHealth, Withings])
async def test_a_token_refused_as_an_http_error_is_renewed(cloud, vendor, refusal):
    pages = lists(1)

    def script(path, asked, authorization):
        if "refresh_token" in asked.values() or asked.get("grant_type") == "refresh_token":
            new = {"access_token": "access-2", "refresh_token": "refresh-2"}
            return 200, {"AccessToken": "access-2", "RefreshToken": "refresh-2", "status": 0, "body": new}
        if "access-2" not in (asked.get("access_token"), (authorization or "").removeprefix("Bearer ")):
            return refusal
        if vendor is Withings:
            return 200, {"status": 0, "body": {"measuregrps": [{"grpid": 1, "measures": []}]}}
        return pages(path, asked, authorization)

    of = account(Vendor.IHEALTH if vendor is IHealth else Vendor.WITHINGS)
    told = await vendor(cloud(script)).measures(of, since=None, until=None)
    assert (told.tokens, told.trouble) == (Tokens(access="access-2", refresh="refresh-2"), "")
    assert len(told.records) == (100 if vendor is IHealth else 1)


class Flickering:
    """A database that is away three times when new tokens are to be remembered."""

    def __init__(self):
        self.away, self.known, self.done = 3, None, []

    async def account(self, source_id, name):
        return account(Vendor.IHEALTH)

    async def connect(self, source_id, name, tokens):
        if self.away:
            self.away -= 1
            raise Away("OperationalError")
        self.known = tokens
        return True

    async def fetched(self, turn, *, now):
        self.done.append(turn)
        return True


class Renewing:
    async def measures(self, of, *, since, until, reached=""):
        return Renewed((), Tokens(access="access-2", refresh="refresh-2"))


async def test_new_tokens_outlive_a_database_that_is_away_for_a_moment(monkeypatch):
    monkeypatch.setattr(webhook_service, "FETCH_EVERY_S", 0.001)
    now = datetime(2026, 3, 2, tzinfo=UTC)
    stored, turn = Flickering(), Turn(Waiting(UUID(int=1), "cloud-1", "4711", None, None), now, "")
    clouds = {Vendor.IHEALTH: Renewing()}
    await webhook_service._fetch_one(stored, clouds, None, turn, clock=lambda: now)
    assert stored.known == Tokens(access="access-2", refresh="refresh-2")
    assert stored.done == [turn]
