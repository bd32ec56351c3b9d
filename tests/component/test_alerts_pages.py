"""Calls when nobody comes: one row per call, at least one delivery, the same key in every repetition, no health data."""

import asyncio
import hashlib
import hmac
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import msgspec
import pytest
from aiosmtpd.controller import Controller

from alerts import page_service, page_store, service
from alerts.escalation import Channel, Message
from alerts.notify import Mail, NotSent, Webhook
from alerts.page_store import Rung
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.unit.alerts.test_duty import GOOD
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack

URL = "https://lamplight.example"


class Sink:
    """A way out that remembers, and sometimes fails or takes the call and then loses its own answer."""

    def __init__(self, *, fails=0, deaf_after=None):
        self.taken, self.fails, self.deaf_after = [], fails, deaf_after

    async def send(self, target, message):
        if self.fails:
            self.fails -= 1
            raise NotSent("ConnectionRefusedError")
        self.taken.append((target, message))
        if self.deaf_after is not None and len(self.taken) > self.deaf_after:
            raise NotSent("TimeoutError")  # it was taken, but we are not told

    @property
    def keys(self):
        return [message.key for _, message in self.taken]

    @property
    def calls(self):
        """Every call that was heard, also those that went out with another."""
        return sorted(key for _, message in self.taken for key in (message.key, *message.joined))


@pytest.fixture
async def clinic(fresh_database):
    return await a_clinic(fresh_database)


async def rung(
    clinic,
    *,
    severity="critical",
    wait=5,
    repeat=15,
    channel="email",
    target="duty@practice.example",
    practice=1,
):
    added = Rung(
        rung_id=uuid4(),
        severity=severity,
        wait_minutes=wait,
        repeat_minutes=repeat,
        channel=channel,
        target=target,
    )
    person = clinic.staff["dora" if practice == 1 else "chris"]
    async with clinic.web(practice) as conn:
        await page_store.add(conn, added, practice_id=practice, by=person.staff_id, at=when("08:00"))
    return added


async def call(clinic, at, sink):
    return await page_service.call(clinic.pipeline, {Channel.EMAIL: sink}, public_url=URL, now=when(at))


async def test_a_critical_that_nobody_claims_calls_and_calls_again_until_somebody_does(clinic):
    await rung(clinic)
    await clinic.tell(
        clinic.score("09:00", a_finding(tier=Tier.CRITICAL)),
        clinic.score("09:00", a_finding(), patient="jon"),
    )
    sink = Sink()
    for at in ("09:04", "09:06", "09:07", "09:19", "09:21", "09:22"):
        await call(clinic, at, sink)
    assert len(sink.taken) == 2  # 09:05 and 09:20; the high one has no rung
    assert len(set(sink.keys)) == 2
    async with clinic.web() as conn:
        await service.claim(conn, clinic.patients["maria"], clinic.act("ana", now=when("09:23")))
    await call(clinic, "09:36", sink)
    assert len(sink.taken) == 2


async def test_four_processes_at_once_make_and_send_every_call_once(clinic):
    await rung(clinic)
    await rung(clinic, target="second@practice.example")
    for n, concern in enumerate((Concern.HIGH_PRESSURE, Concern.FAST_PULSE, Concern.LOW_PRESSURE)):
        await clinic.tell(clinic.score(f"09:0{n}", a_finding(concern, Tier.CRITICAL)))
    sink = Sink()
    await asyncio.gather(*(call(clinic, "09:15", sink) for _ in range(4)))
    assert sink.calls == sorted(set(sink.calls))
    assert len(sink.calls) == 6
    assert len(sink.taken) == 2  # one for each address


async def test_a_call_whose_answer_was_lost_is_repeated_under_the_same_key(clinic):
    await rung(clinic, repeat=None)
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    sink = Sink(deaf_after=0)
    await call(clinic, "09:06", sink)
    sink.deaf_after = None
    await call(clinic, "09:07", sink)
    await call(clinic, "09:30", sink)
    assert len(sink.taken) == 2
    assert len(set(sink.keys)) == 1


async def test_a_process_that_dies_while_sending_is_followed_by_another_after_its_lease(clinic):
    await rung(clinic, repeat=None)
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    async with clinic.pipeline() as conn:  # made and leased, then killed
        await page_store.make(conn, now=when("09:06"))
        (leased,) = await page_service.due(conn, now=when("09:06"))
    sink = Sink()
    assert await call(clinic, "09:06", sink) == (0, 0)
    assert await call(clinic, "09:08", sink) == (1, 0)
    assert sink.keys == [leased.key]


async def test_twenty_at_once_are_one_mail_that_says_so_and_each_calls_until_it_is_claimed(clinic):
    await rung(clinic, wait=0)
    for n in range(20):
        await clinic.new_patient(f"p{n}", f"Patient {n}")
    await clinic.tell(
        *(clinic.score("09:00", a_finding(tier=Tier.CRITICAL), patient=f"p{n}") for n in range(20))
    )
    sink = Sink()
    await call(clinic, "09:01", sink)
    ((_, mail),) = sink.taken
    assert "19 more alerts wait in Lamplight" in mail.text
    await clinic.tell(clinic.score("09:01", a_finding(tier=Tier.CRITICAL), patient="maria"))
    await call(clinic, "09:02", sink)  # a new critical waits for nobody's window
    assert len(sink.taken) == 2
    async with clinic.web() as conn:
        await service.claim(conn, clinic.patients["p7"], clinic.act("ana", now=when("09:03")))
    for at in ("09:15", "09:16", "09:17", "09:18"):
        await call(clinic, at, sink)
    counts = [1 + len(message.joined) for _, message in sink.taken]
    assert counts == [
        20,
        1,
        19,
        1,
    ]  # without the one somebody came for; the last two minutes after the others
    whys = await clinic.rows("SELECT why, count(*) FROM alerts.page GROUP BY 1 ORDER BY 1")
    assert whys == [("at_once", 3), ("critical", 1), ("joined", 37)]
    async with a_site(clinic) as shop, shop.hands("dora") as dora:
        page = (await dora.get("/queue/chain")).text
        assert 'data-th="Sent">41 <span class="muted">in 4 notifications' in page
        assert "with 18 more" in page
        assert "joined another call" in page


async def test_what_comes_within_the_window_joins_the_next_one_unless_somebody_came(clinic):
    await rung(clinic, severity="high", wait=0, repeat=None)
    await rung(clinic, severity="high", wait=0, repeat=None, target="other@practice.example")
    await clinic.tell(clinic.score("09:00", a_finding(), patient="maria"))
    sink = Sink()
    await call(clinic, "09:01", sink)
    for name in ("p1", "p2", "p3"):
        await clinic.new_patient(name, name)
    await clinic.tell(clinic.score("09:01", a_finding(), patient="jon"))
    await clinic.tell(*(clinic.score("09:01", a_finding(), patient=name) for name in ("p1", "p2", "p3")))
    assert await call(clinic, "09:02", sink) == (0, 0)
    async with a_site(clinic) as shop, shop.hands("dora") as dora:
        assert "waits for the next notification" in (await dora.get("/queue/chain")).text
    async with clinic.web() as conn:
        await service.claim(conn, clinic.patients["jon"], clinic.act("ana", now=when("09:02")))
    assert await call(clinic, "09:03", sink) == (2, 0)
    assert [len(message.joined) for _, message in sink.taken] == [0, 0, 2, 2]


async def test_a_notification_that_did_not_get_out_is_repeated_under_its_key_without_what_was_claimed(clinic):
    await rung(clinic, wait=0, repeat=None)
    await clinic.tell(
        clinic.score("09:00", a_finding(tier=Tier.CRITICAL)),
        clinic.score("09:00", a_finding(tier=Tier.CRITICAL), patient="jon"),
    )
    sink = Sink(deaf_after=0)
    assert await call(clinic, "09:01", sink) == (0, 1)
    lead = sink.keys[0].split(":")[0]
    ((patient,),) = await clinic.rows("SELECT patient_id FROM alerts.episode WHERE episode_id = %s", lead)
    async with clinic.web() as conn:
        await service.claim(conn, patient, clinic.act("ana", now=when("09:01")))
    sink.deaf_after = None
    assert await call(clinic, "09:02", sink) == (1, 0)
    assert sink.keys == [sink.keys[0]] * 2
    assert [len(message.joined) for _, message in sink.taken] == [1, 0]
    assert lead not in sink.taken[1][1].text
    assert await clinic.rows("SELECT given_up, sent_at IS NOT NULL FROM alerts.page ORDER BY 1") == [
        (False, True),
        (True, False),
    ]


async def test_a_practice_says_how_long_calls_gather(clinic):
    async with a_site(clinic) as shop, shop.hands("adm") as ada:
        told = await ada.post("/queue/policy", version="1", why="Less", **GOOD | {"calls_gather": "5"})
        assert told.status_code == 303
        assert 'value="5" selected' in (await ada.get("/queue/policy")).text
    await rung(clinic, severity="high", wait=0, repeat=None)
    sink = Sink()
    await clinic.tell(clinic.score("09:00", a_finding()))
    assert await call(clinic, "09:10", sink) == (1, 0)
    await clinic.tell(clinic.score("09:10", a_finding(), patient="jon"))
    assert await call(clinic, "09:14", sink) == (0, 0)
    assert await call(clinic, "09:15", sink) == (1, 0)


async def test_a_way_that_fails_is_tried_again_and_everybody_is_told(clinic):
    added = await rung(clinic, repeat=None)
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    sink = Sink(fails=3)
    async with a_site(clinic) as shop, shop.hands("ana") as ana:
        for at in ("09:06", "09:07", "09:08"):
            assert await call(clinic, at, sink) == (0, 1)
        assert (
            "Calls by e-mail do not get out: nothing answers at its address."
            in (await ana.get("/queue")).text
        )
        technical = (await ana.get("/queue?tab=technical")).text
        assert "Since 04:08. 1 call waits and is tried again and again." in technical
        assert re.search(r"Technical <span class=\"count\">1<", technical)
        (outage,) = re.findall(r"/queue/outage/([0-9a-f-]+)/take", technical)
        async with shop.hands("ben") as ben:
            unowned = f"/queue/outage/{outage}/take"
            assert (await ana.post(unowned)).status_code == 303
            assert (await ana.post(unowned)).status_code == 303  # the same form again
            second = await ben.post(unowned)
            assert second.status_code == 409
            assert "Ana Lima is on this by now. Nothing was changed." in second.text
            (owner,) = re.findall(r'name="owner" value="([0-9a-f-]+)"', second.text)
            assert (await ben.post(unowned, owner=owner)).status_code == 303  # openly, from who is named
            assert "Ben Roth is on it" in (await ana.get("/queue?tab=technical")).text
            assert (await ana.post(unowned, owner=owner)).status_code == 409
            assert (await ana.post(unowned, owner=str(clinic.staff["ben"].staff_id))).status_code == 303
        technical = (await ana.get("/queue?tab=technical")).text
        assert "Ana Lima is on it" in technical
        assert re.search(r"Technical <span class=\"count\">0<", technical)
        assert "1 cannot be sent" in (await ana.get("/queue/chain")).text
        assert await call(clinic, "09:20", sink) == (1, 0)
        assert "do not get out" not in (await ana.get("/queue")).text
        over = "Calls by e-mail did not get out from 04:08 to 04:20 (nothing answers at its address), until a call got out."
        assert over in (await ana.get("/queue?tab=technical")).text
        assert (await ana.post(f"/queue/outage/{outage}/take")).status_code == 404
    async with a_site(clinic) as shop, shop.hands("chris") as chris:
        assert "did not get out" not in (await chris.get("/queue?tab=technical")).text
    assert await clinic.rows("SELECT rung_id, tries, failure FROM alerts.page") == [(added.rung_id, 4, None)]


async def test_after_a_long_outage_one_call_goes_out_and_not_forty(clinic):
    await rung(clinic)
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    sink = Sink()
    await call(clinic, "19:06", sink)
    await call(clinic, "19:21", sink)
    assert [m.text.count("This is call 42.") for _, m in sink.taken] == [
        0,
        1,
    ]  # nobody has had a first one before


async def test_another_practice_is_neither_called_nor_shown(clinic):
    await rung(clinic, practice=2, target="theirs@other.example")
    await clinic.tell(clinic.score("09:00", a_finding(tier=Tier.CRITICAL)))
    sink = Sink()
    await call(clinic, "09:30", sink)
    assert sink.taken == []
    async with a_site(clinic) as shop, shop.hands("dora") as dora, shop.hands("chris") as chris:
        assert "theirs@other.example" not in (await dora.get("/queue/chain")).text
        assert "theirs@other.example" in (await chris.get("/queue/chain")).text


async def test_the_chain_is_changed_by_those_who_may_and_only_to_what_makes_sense(clinic):
    good = {
        "severity": "critical",
        "wait_minutes": "15",
        "repeat_minutes": "15",
        "channel": "email",
        "target": "duty@practice.example",
    }
    async with a_site(clinic) as shop, shop.hands("ana") as ana, shop.hands("adm") as adm:
        assert (await ana.post("/queue/chain", **good)).status_code == 403
        for wrong in (
            {"target": "a, b"},
            {"channel": "pigeon"},
            {"channel": "webhook", "target": "http://x.example"},
            {"severity": "purple"},
        ):
            assert (await adm.post("/queue/chain", **(good | wrong))).status_code == 409
        assert (await adm.post("/queue/chain", **good)).status_code == 303
        ((rung_id,),) = await clinic.rows("SELECT rung_id FROM alerts.rung")
        assert (await ana.post(f"/queue/chain/{rung_id}/end")).status_code == 403
        assert (await adm.post(f"/queue/chain/{rung_id}/end")).status_code == 303
        assert (await adm.post(f"/queue/chain/{rung_id}/end")).status_code == 404


# The ways out, real ones --------------------------------------------------------------------------------------------

SENT = Message(
    key="e:1:r:0",
    severity="critical",
    subject="Lamplight: critical",
    text=f"Look.\n\n{URL}/queue/episode/e\n",
    url=URL,
)


async def test_mail_reaches_a_real_smtp_server_and_has_its_key_as_message_id():
    class Inbox:
        def __init__(self):
            self.got = []

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the library's name
            self.got.append(envelope)
            return "250 taken"

    inbox = Inbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        await Mail(f"127.0.0.1:{port}", sender="lamplight@practice.example").send(
            "duty@practice.example", SENT
        )
    finally:
        server.stop()
    (got,) = inbox.got
    text = got.content.decode()
    assert got.rcpt_tos == ["duty@practice.example"]
    assert "Message-ID: <e.1.r.0@lamplight>" in text
    assert URL in text


async def test_mail_that_nobody_takes_says_what_went_wrong_and_nothing_else():
    with pytest.raises(NotSent, match="ConnectionRefusedError"):
        await Mail("127.0.0.1:9", sender="x@y.example").send("duty@practice.example", SENT)


@contextmanager
def a_pager(status=200):
    class Answers(BaseHTTPRequestHandler):
        got = []  # noqa: RUF012 - one list per pager

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.got.append((dict(self.headers), body))
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_): ...

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/page", Answers.got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_webhook_is_signed_and_carries_its_key():
    with a_pager() as (target, got):
        await Webhook(secret=b"shared").send(target, SENT)
    ((headers, body),) = got
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["idempotency-key"] == "e:1:r:0"
    assert headers["lamplight-signature"] == "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert msgspec.json.decode(body, type=Message) == SENT


@pytest.mark.parametrize("status", [302, 404, 503])
async def test_a_webhook_that_does_not_take_it_has_not_taken_it(status):
    with a_pager(status) as (target, got), pytest.raises(NotSent, match="HTTPError"):
        await Webhook(secret=b"shared").send(target, SENT)
    assert len(got) == 1  # a redirect is not followed


async def test_no_call_says_who_or_what(clinic):
    await rung(clinic)
    await clinic.tell(
        clinic.score("09:00", a_finding(tier=Tier.CRITICAL, reason="Systolic 186, Maria fainted."))
    )
    sink = Sink()
    await call(clinic, "09:40", sink)
    ((_, message),) = sink.taken
    said = msgspec.json.encode(message).decode()
    for secret in ("Maria", "Lopes", "186", "pressure", str(clinic.patients["maria"]), "Practice"):
        assert secret not in said
    assert "Nobody has come in time." in said
