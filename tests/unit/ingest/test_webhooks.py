"""Who a post is from, how much of it is read, and what each answer promises; the door behind it is a fake here."""

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime
from uuid import UUID

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import wire
from ingest.devices import FAMILIES
from ingest.sorting import Sorted, read
from ingest.webhook_service import ROOM, Busy, Lane
from ingest.webhook_web import app
from ingest.webhooks import LARGEST, VENDORS, Scheme, Source, Vendor, authentic, name_of, named, waiting

BODY = b'{"metric":"pulse"}'
SECRET = "s3cret-\u00e4"
PLAIN = "s3cret"  # a header carries no other letters


def source(scheme, *secrets, vendor=Vendor.TENOVI, header="x-key"):
    return Source(
        source_id="cloud-1", vendor=vendor, scheme=scheme, header=header, secrets=secrets or (SECRET,)
    )


def signed(body=BODY, secret=SECRET):
    return hmac.new(secret.encode(), body, hashlib.sha256)


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


GOOD = {
    "the secret in its header": (Scheme.HEADER, {"x-key": SECRET}, None),
    "the secret as a bearer": (Scheme.HEADER, {"x-key": f"Bearer {SECRET}"}, None),
    "user and password": (Scheme.BASIC, {"authorization": basic("cloud-1", SECRET)}, None),
    "a signature in hexadecimal": (Scheme.HMAC, {"x-key": signed().hexdigest()}, None),
    "a signature with its name before it": (Scheme.HMAC, {"x-key": "sha256=" + signed().hexdigest()}, None),
    "a signature in base64": (Scheme.HMAC, {"x-key": base64.b64encode(signed().digest()).decode()}, None),
    "the key in the address": (Scheme.URL, {}, SECRET),
}
BAD = {
    "no header": (Scheme.HEADER, {}, None),
    "another secret": (Scheme.HEADER, {"x-key": "guess"}, None),
    "the secret in the address of a source that wants a header": (Scheme.HEADER, {}, SECRET),
    "the secret in another header": (Scheme.HEADER, {"x-api-key": SECRET}, None),
    "another source's name": (Scheme.BASIC, {"authorization": basic("cloud-2", SECRET)}, None),
    "basic that is not base64": (Scheme.BASIC, {"authorization": "Basic %%"}, None),
    "a signature of another body": (Scheme.HMAC, {"x-key": signed(b"{}").hexdigest()}, None),
    "a signature under another secret": (Scheme.HMAC, {"x-key": signed(secret="x").hexdigest()}, None),
    "no signature": (Scheme.HMAC, {}, None),
    "half a signature": (Scheme.HMAC, {"x-key": signed().hexdigest()[:32]}, None),
    "no key in the address": (Scheme.URL, {}, None),
    "an empty key": (Scheme.URL, {}, ""),
}


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_a_vendor_is_known_by(case):
    scheme, headers, key = case
    assert authentic(source(scheme), headers=headers, key=key, body=BODY)


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_nobody_is_known_by(case):
    scheme, headers, key = case
    assert not authentic(source(scheme), headers=headers, key=key, body=BODY)


def test_while_a_secret_is_changed_both_are_good_and_afterwards_one():
    for scheme, headers in ((Scheme.HEADER, {"x-key": "old"}), (Scheme.HEADER, {"x-key": "new"})):
        assert authentic(source(scheme, "new", "old"), headers=headers, key=None, body=BODY)
    assert not authentic(source(Scheme.HEADER, "new"), headers={"x-key": "old"}, key=None, body=BODY)


@given(said=st.text(max_size=80), key=st.none() | st.text(max_size=80), scheme=st.sampled_from(list(Scheme)))
def test_no_guess_raises_and_none_gets_in(said, key, scheme):
    of = source(scheme, "a secret no text strategy writes: 6f1d0c5e")
    assert not authentic(of, headers={"x-key": said, "authorization": said}, key=key, body=BODY)


def test_every_vendor_has_a_decoder_and_a_way_to_prove_itself():
    assert set(VENDORS) == set(Vendor)
    assert set(Vendor) <= set(FAMILIES)


def test_a_source_never_shows_its_secrets():
    assert SECRET not in repr(source(Scheme.HEADER))


# What a post is called --------------------------------------------------------------------------------------------


def message(vendor, body):
    return named("cloud-1", read("cloud-1", vendor, body)[0])


def test_a_record_with_a_number_of_the_vendors_is_the_same_in_another_body():
    one = b'{"log_id":"L-7","end_time":"2026-03-02T12:30:09Z","metrics":[{"type":"blood_glucose","unit":"mg/dL","value":90}]}'
    again = b'{"data":[' + one.replace(b"{", b'{"sent":2,', 1) + b"]}"
    assert name_of(message("validic", one)) == name_of(message("validic", again))


def test_a_record_of_two_sources_is_two_records():
    body = b'{"log_id":"L-7","metrics":[{"type":"blood_glucose","unit":"mg/dL","value":90}]}'
    decoded = read("x", "validic", body)[0]
    assert name_of(named("a", decoded)) != name_of(named("b", decoded))


@given(st.binary(max_size=200), st.sampled_from(list(Vendor)))
def test_whatever_is_posted_has_one_name_and_the_same_one_again(body, vendor):
    first, second = message(vendor, body), message(vendor, body)
    assert isinstance(name_of(first), UUID)
    assert name_of(first) == name_of(second)


def test_a_notification_waits_and_its_repetition_is_the_same_wait():
    body = b"userid=12&appli=4&startdate=1690491576&enddate=1690491663"
    first, second = waiting("c", message("withings", body)), waiting("c", message("withings", body))
    assert first == second
    assert first[0][2:] == ("12", 1690491576, 1690491663)
    assert waiting("c", message("withings", b"userid=12&appli=16")) == []  # not about blood pressure


def test_notices_of_several_people_and_days_wait_each_once_and_what_is_not_ours_does_not():
    def notice(kind, when, who):
        return {"CollectionType": kind, "MDate": when, "UserID": who}

    body = [
        notice("bp", "2026-03-02 07:41:09", "a"),
        notice("glucose", "2026-03-02 19:41:09", "a"),  # of the same day: the same fetch
        notice("bp", "2026-03-03 07:41:09", "a"),
        notice("bp", "2026-03-02 07:41:09", "b"),
        notice("weight", "2026-03-02 07:41:09", "c"),
        notice("bp", "soon", "d"),
    ]
    found = waiting("c", message("ihealth", msgspec.json.encode(body)))
    assert [(one.account, one.since, one.until) for one in found] == [
        ("a", 1771200000, None),
        ("a", 1771286400, None),
        ("b", 1771200000, None),
        ("d", None, None),
    ]


def test_what_brings_its_data_along_waits_for_nothing():
    body = [{"HP": 120, "LP": 80, "UserID": "a"}, {"CollectionType": "bp", "UserID": "a"}]
    assert waiting("c", message("ihealth", msgspec.json.encode(body))) == []


def test_a_notification_with_nonsense_for_seconds_waits_without_them():
    body = b"userid=12&appli=4&startdate=soon&enddate=99999999999999999999"
    assert waiting("c", message("withings", body))[0][3:] == (None, None)


# Over HTTP ------------------------------------------------------------------------------------------------------------


class FakeDoor:
    """Knows one Tenovi source; what it is told to do is in `does`."""

    def __init__(self):
        self.took, self.does = [], None

    async def source(self, source_id, vendor):
        if self.does == "away":
            raise Busy
        known = source(Scheme.HEADER, PLAIN, header="authorization")
        return known if (source_id, vendor) == ("cloud-1", Vendor.TENOVI) else None

    async def take(self, of, body):
        if self.does == "busy":
            raise Busy
        self.took.append(body)
        if self.does == "refuse":
            return wire.No(id=UUID(int=1), reason="not-json", detail="the message is not JSON")
        return None


class Counted:
    def __init__(self):
        self.posts = []

    def post(self, vendor, outcome):
        self.posts.append((vendor, outcome))


@pytest.fixture
async def web():
    door, meter = FakeDoor(), Counted()
    transport = httpx.ASGITransport(app=app(door, meter))
    async with httpx.AsyncClient(transport=transport, base_url="http://hooks") as client:
        client.door, client.meter = door, meter
        client.headers["authorization"] = f"Bearer {PLAIN}"
        yield client


async def test_what_is_kept_is_answered_with_200(web):
    answer = await web.post("/hooks/tenovi/cloud-1", content=BODY)
    assert (answer.status_code, answer.json()) == (200, {"kept": True})
    assert web.door.took == [BODY]
    assert web.meter.posts == [("tenovi", "kept")]
    assert answer.headers["cache-control"] == "no-store"


async def test_what_is_set_aside_is_kept_too_and_the_answer_says_why(web):
    web.door.does = "refuse"
    answer = await web.post("/hooks/tenovi/cloud-1", content=b"\xff")
    assert (answer.status_code, answer.json()) == (200, {"kept": True, "set_aside": "not-json"})
    assert web.meter.posts == [("tenovi", "set-aside")]


@pytest.mark.parametrize("trouble", ["busy", "away"])
async def test_what_is_not_kept_has_to_come_again(web, trouble):
    web.door.does = trouble
    answer = await web.post("/hooks/tenovi/cloud-1", content=BODY)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert web.meter.posts == [("tenovi", "unavailable")]


@pytest.mark.parametrize("path", ["tenovi/cloud-2", "telli/cloud-1", "tenovi/..%2f..", "tenovi/' OR 1=1"])
async def test_an_unknown_source_is_told_what_a_wrong_secret_is_told(web, path):
    unknown = await web.post(f"/hooks/{path}", content=BODY)
    wrong = await web.post("/hooks/tenovi/cloud-1", content=BODY, headers={"authorization": "Bearer guess"})
    if "%2f" not in path:  # which is another address altogether
        assert (unknown.status_code, unknown.json()) == (wrong.status_code, wrong.json())
    assert wrong.status_code == 401
    assert web.door.took == []


async def test_a_vendor_nobody_knows_is_no_address(web):
    assert (await web.post("/hooks/acme/cloud-1", content=BODY)).status_code == 404
    assert web.door.took == []


async def test_more_than_any_reading_needs_is_not_read(web):
    answer = await web.post("/hooks/tenovi/cloud-1", content=b"x" * (LARGEST + 1))
    assert answer.status_code == 413
    assert web.meter.posts == [("tenovi", "too-large")]
    assert (await web.post("/hooks/tenovi/cloud-1", content=b"x" * LARGEST)).status_code == 200


async def test_a_body_without_a_length_is_cut_off_as_it_comes(web):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1024
            yield b"x" * 1024
            await asyncio.sleep(0)

    answer = await web.post("/hooks/tenovi/cloud-1", content=endless())
    assert answer.status_code == 413
    assert sent <= LARGEST + 4096


async def test_a_vendor_that_looks_before_it_subscribes_finds_the_address(web):
    for method in ("GET", "HEAD"):
        answer = await web.request(method, "/hooks/withings/whoever")
        assert (answer.status_code, answer.content) == (200, b"")


async def test_there_is_nothing_else_here(web):
    for path in ("/", "/docs", "/openapi.json", "/hooks", "/metrics"):
        assert (await web.get(path)).status_code == 404


async def test_the_answer_never_repeats_what_was_sent(web):
    answer = await web.post("/hooks/acme-<script>/cloud-1?key=sesame", content=b"canary-4711")
    assert b"canary-4711" not in answer.content
    assert b"sesame" not in answer.content


# The lane to the door ---------------------------------------------------------------------------------------------------


class StuckIntake:
    """A door that opens only when told to; while it is shut everybody behind waits. `unkept` is too large for Kafka."""

    def __init__(self, unkept=b""):
        self.open, self.served, self.unkept = asyncio.Event(), [], unkept

    async def look_up(self, messages, now):
        return None

    async def settle(self, messages, known, now):
        await self.open.wait()
        self.served.append([message.raw for message in messages])
        kept = tuple(name_of(message) for message in messages if message.raw != self.unkept)
        return Sorted(answers={messages[0].gateway_id: wire.Answer(acked=kept)})

    def heard(self, gateway_id, now):
        pass

    async def note_now_and_then(self):
        await asyncio.Event().wait()


class Uncounted:
    def batch(self, tally):
        pass


async def test_posts_that_come_meanwhile_are_the_next_batch_and_beyond_the_room_they_must_come_again():
    intake = StuckIntake()
    lane = Lane(intake, clock=lambda: datetime(2026, 3, 2, tzinfo=UTC), meter=Uncounted())
    serving = asyncio.create_task(lane.run())
    posts = [message("telli", str(n).encode()) for n in range(ROOM + 2)]
    waiting_ones = [asyncio.create_task(lane.keep(posts[0]))]
    for _ in range(10):  # until the first is at the door
        await asyncio.sleep(0)
    assert not lane._waiting
    waiting_ones += [asyncio.create_task(lane.keep(one)) for one in posts[1:-1]]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await lane.keep(posts[-1])
    intake.open.set()
    assert await asyncio.gather(*waiting_ones) == [None] * (ROOM + 1)
    assert [raw for batch in intake.served for raw in batch] == [one.raw for one in posts[:-1]]
    assert len(intake.served) <= 2 + (ROOM + 1) // 100
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_what_kafka_does_not_take_must_come_again_and_those_behind_it_are_kept():
    intake = StuckIntake(unkept=b"1")
    intake.open.set()
    lane = Lane(intake, clock=lambda: datetime(2026, 3, 2, tzinfo=UTC), meter=Uncounted())
    serving = asyncio.create_task(lane.run())
    large, kept = (asyncio.create_task(lane.keep(message("telli", body))) for body in (b"1", b"2"))
    assert await kept is None
    with pytest.raises(Busy):
        await large
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_who_stops_waiting_does_not_stop_the_door():
    intake = StuckIntake()
    lane = Lane(intake, clock=lambda: datetime(2026, 3, 2, tzinfo=UTC), meter=Uncounted())
    serving = asyncio.create_task(lane.run())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lane.keep(message("telli", b"1"))
    intake.open.set()
    assert await lane.keep(message("telli", b"2")) is None
    assert intake.served == [[b"1"], [b"2"]]
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
