"""What was set aside: its bytes are sealed, it comes to the door again as it came, and nothing it does stops those behind it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import replay, wire
from ingest.devices import FAMILIES
from ingest.events import Reading
from ingest.identity import Assignment, Decided, Device, Gateway
from ingest.recent import Recent
from ingest.replay import FAILED, READING, UNREADABLE, Became, Order
from ingest.set_aside import Held, claim, measured, shown, value
from ingest.sorting import Known, read, sort
from ingest.strongbox import Strongbox

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=4)
MARIA, NORA = UUID(int=1), UUID(int=2)
CUFF = Device(1, [Assignment(MARIA, NOW - timedelta(days=900), None, "UTC")], True)
KNOWN = Known({"gw": Gateway(1)}, {"cuff": CUFF})
BOX = Strongbox(["a key of enough characters"])


# -- sealed ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.uuids())
def test_what_was_sealed_opens_to_the_same_bytes_and_shows_none_of_them(raw, about):
    key_id, sealed = BOX.close(raw, about)
    assert BOX.open(key_id, sealed, about) == raw
    assert len(raw) < 4 or raw not in sealed
    assert BOX.close(raw, about)[1] != sealed


@given(st.binary(min_size=1, max_size=60), st.data())
def test_sealed_bytes_that_were_changed_or_moved_to_another_row_do_not_open(raw, data):
    about = uuid4()
    key_id, sealed = BOX.close(raw, about)
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
    assert BOX.open(key_id, changed, about) is None
    assert BOX.open(key_id, sealed, uuid4()) is None
    assert BOX.open(key_id, sealed[:5], about) is None


def test_an_old_key_opens_what_it_sealed_while_the_new_one_seals():
    both = Strongbox(["the newest key, long enough", "a key of enough characters"])
    old_id, sealed = BOX.close(b"x", MARIA)
    new_id, _ = both.close(b"x", MARIA)
    assert both.open(old_id, sealed, MARIA) == b"x"
    assert new_id != old_id
    assert BOX.open(new_id, both.close(b"x", MARIA)[1], MARIA) is None


@pytest.mark.parametrize(
    "keys", [[], ["short"], ["a key of enough characters", ""]], ids=["none", "short", "empty"]
)
def test_a_key_that_somebody_could_guess_is_refused(keys):
    with pytest.raises(ValueError, match="20 characters"):
        Strongbox(keys)


# -- again -----------------------------------------------------------------------------------------------------------


class Orders:
    def __init__(self, *orders):
        self.orders, self.said = list(orders), {}

    async def waiting(self):
        return list(self.orders)

    async def done(self, served, *, now):
        for order, became in served:
            self.orders.remove(order)
            self.said[order.refusal_id] = became


class Door:
    """The real sorting, with a registry and a log in memory."""

    def __init__(self, known=KNOWN):
        self.known, self.recent, self.log = known, Recent(), []

    async def look_up(self, messages, now):
        return self.known

    async def settle(self, messages, known, now):
        found = sort(messages, known, self.recent, now)
        self.log += [*found.readings, *found.refused]
        for device, seen in found.seen:
            self.recent.accept(device, seen)
        return found


def order(payload, **more):
    raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    refusal_id = uuid4()
    key_id, sealed = BOX.close(raw, refusal_id)
    said = {
        "replay_id": uuid4(), "refusal_id": refusal_id, "gateway_id": "gw", "place": "readings", "part": 0,
        "received_at": NOW, "clock_error_s": None, "key_id": key_id, "raw": sealed, "asked_at": LATER, "decided": None,
    }  # fmt: skip
    return Order(**{**said, **more})


def pressure(**more):
    return {"id": str(uuid4()), "device": "cuff", "kind": "bp", "systolic": 150, "diastolic": 90, **more}


async def serve(orders, door, box=BOX):
    failures = []
    await replay.serve(orders, door, box, lambda: LATER, failures.append)
    return failures


async def test_what_comes_again_flows_with_its_first_receipt_and_its_bytes():
    payload = pressure()
    one = order(payload)
    orders, door = Orders(one), Door()
    assert await serve(orders, door) == []
    (reading,) = door.log
    assert isinstance(reading, Reading)
    assert (reading.received_at, reading.released_at) == (NOW, LATER)
    assert reading.raw == msgspec.json.encode(payload)
    assert orders.said == {one.refusal_id: Became(READING, reading.event_id)}


async def test_what_a_vendors_cloud_named_itself_keeps_that_name():
    anonymous = msgspec.json.encode({k: v for k, v in pressure().items() if k != "id"})
    named, (door, again) = uuid4(), (Door(), Door())
    await serve(Orders(order(anonymous, caused_by=named)), door)
    await serve(Orders(order(anonymous)), again)
    assert (door.log[0].caused_by, again.log[0].caused_by) == (named, wire.nameless("gw", anonymous))
    assert door.log[0].event_id != again.log[0].event_id  # without clock and count, the message is its name


async def test_replaying_twice_makes_one_reading_and_says_so_twice():
    payload = pressure()
    one = order(payload)
    door = Door()
    first, second = Orders(one), Orders(one._replace(replay_id=uuid4(), asked_at=LATER + timedelta(days=1)))
    await serve(first, door)
    await serve(second, door)
    assert len(door.log) == 1
    assert first.said == second.said


async def test_a_person_decides_whose_it_is_whatever_the_device_says():
    one = order(pressure(user=255), decided=Decided(1, NORA, "America/Chicago"))
    door = Door()
    await serve(Orders(one), door)
    assert [reading.patient_id for reading in door.log] == [NORA]


async def test_what_is_wrong_still_says_why_and_those_behind_are_served():
    good = order(pressure())
    lost = order(pressure(), key_id="another")
    still = order(pressure(device="stranger"))
    implausible = order(pressure(systolic=290), decided=Decided(1, NORA, "UTC"))
    orders, door = Orders(lost, still, implausible, good), Door()
    await serve(orders, door)
    assert [orders.said[one.refusal_id].answer for one in (lost, still, implausible, good)] == [
        UNREADABLE,
        "unknown-device",
        "implausible-systolic",
        READING,
    ]


async def test_a_door_that_raises_on_one_does_not_keep_the_others_waiting():
    class Broken(Door):
        async def settle(self, messages, known, now):
            if messages[0].again.refusal_id == bad.refusal_id:
                raise RuntimeError
            return await super().settle(messages, known, now)

    bad, good = order(pressure()), order(pressure())
    orders = Orders(bad, good)
    failures = await serve(orders, Broken())
    assert len(failures) == 1
    assert (orders.said[bad.refusal_id].answer, orders.said[good.refusal_id].answer) == (FAILED, READING)


@given(
    st.binary(max_size=120),
    st.sampled_from(["readings", "hello", "", *(f"readings/{name}" for name in FAMILIES)]),
    st.integers(0, 3),
)
def test_any_bytes_from_any_place_can_come_again(raw, place, part):
    one = order(raw, place=place, part=part, key_id=None, raw=raw)
    message = replay.brought(one, None)
    found = sort([message], KNOWN, Recent(), LATER)
    assert isinstance(replay.became(found, one.refusal_id), Became)


# -- shown to people -------------------------------------------------------------------------------------------------


def held(raw, **more):
    said = {
        "refusal_id": uuid4(), "practice_id": 1, "gateway_id": "gw", "device_id": "cuff", "kind_device": "cuff",
        "hop": "identity", "reason": "owner-unknown", "detail": "d", "received_at": NOW, "place": "readings", "part": 0,
        "key_id": None, "raw": raw, "state": "open", "tries": 1, "answer": None, "reading_id": None, "settled_at": None,
    }  # fmt: skip
    return Held(**{**said, **more})


def test_a_person_who_must_decide_sees_the_value_and_whom_the_message_names():
    raw = msgspec.json.encode(pressure(user=2))
    said = measured(held(raw), raw)
    assert (value(said), claim(said)) == ("150/90 mm[Hg]", "user 2")


@given(
    st.binary(max_size=80), st.sampled_from([None, "readings", *(f"readings/{name}" for name in FAMILIES)])
)
def test_any_bytes_can_be_shown(raw, place):
    said = measured(held(raw, place=place), raw)
    assert isinstance(value(said) + claim(said), str)
    _, text = shown(raw)
    assert "\x00" not in text


def test_what_waits_for_a_decision_is_told_apart_from_what_is_wrong():
    assert held(b"", reason="shared-device").in_lane
    assert not held(b"", reason="unknown-device").in_lane
    assert not held(b"", hop="quality", reason="implausible-systolic").in_lane


def test_a_reading_from_before_the_gateways_name_was_read_comes_from_the_canonical_place():
    raw, _ = msgspec.json.encode(pressure()), None
    assert measured(held(raw, place=None), raw) == read("gw", "canonical", raw)[0].said[0]
