"""Frames arrive in hex, base64, JSON or bare; what surrounds a reading is kept, and nothing of it leaks."""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import devices
from ingest.devices import frame
from ingest.devices.measurement import DeviceEvent, Measurement
from ingest.events import Kind

CUFF = bytes.fromhex("1698005E007100EA0703020729094E000000")
METER = bytes.fromhex("129C01EA070302070C0561B011")
MEAL = bytes.fromhex("029C0103")


@given(raw=st.binary(min_size=1, max_size=40))
def test_hex_in_any_spelling_is_the_same_bytes(raw):
    spaced = raw.hex(" ")
    for text in (
        raw.hex(),
        spaced,
        spaced.upper(),
        raw.hex(":"),
        raw.hex("-"),
        raw.hex("_").replace("_", ", 0x"),
    ):
        assert frame.from_hex(text) == raw


@given(raw=st.binary(min_size=1, max_size=40))
def test_base64_in_any_spelling_is_the_same_bytes(raw):
    for text in (
        b64encode(raw).decode(),
        b64encode(raw).decode().rstrip("="),
        urlsafe_b64encode(raw).decode(),
    ):
        assert frame.from_base64(text) == raw


@pytest.mark.parametrize(
    "content",
    [
        CUFF,
        CUFF.hex().encode(),
        CUFF.hex(" ").encode() + b"\n",
        b64encode(CUFF),
        json.dumps({"frame": b64encode(CUFF).decode()}).encode(),
        json.dumps({"payload": CUFF.hex()}).encode(),
        json.dumps({"data": list(CUFF)}).encode(),
        json.dumps(list(CUFF)).encode(),
    ],
    ids=[
        "bytes",
        "hex",
        "spaced hex",
        "base64",
        "JSON base64",
        "JSON hex",
        "JSON numbers",
        "list of numbers",
    ],
)
def test_a_file_with_a_frame_is_understood_however_it_was_saved(content):
    (found,) = frame.unwrapped(content)
    (said,) = devices.decode("ble-blood-pressure", found)
    assert (said.systolic, said.diastolic, said.pulse) == (152, 94, 78)


def test_a_file_with_two_lines_is_a_glucose_and_its_meal():
    found = frame.unwrapped(METER.hex(" ").encode() + b"\n" + MEAL.hex(" ").encode() + b"\n")
    (said,) = devices.decode("ble-glucose", *found)
    assert said.context == "fasting"


def test_a_glucose_and_its_meal_in_one_document():
    document = {"frame": METER.hex(), "context": b64encode(MEAL).decode()}
    (said,) = devices.decode("ble-glucose", *frame.unwrapped(json.dumps(document).encode()))
    assert said.context == "fasting"


@given(content=st.binary(max_size=80))
def test_any_file_is_some_frame(content):
    found = frame.unwrapped(content)
    assert found
    assert all(isinstance(one, bytes) for one in found)


@given(content=st.text(max_size=80))
def test_any_text_is_some_frame(content):
    assert frame.unwrapped(content.encode("utf-8", "surrogatepass"))


def test_the_bytes_the_gateway_got_from_the_device_stay_with_the_reading():
    message = {
        "device": "cuff-7",
        "kind": "frame",
        "family": "ble-blood-pressure",
        "frame": b64encode(CUFF).decode(),
    }
    (said,) = devices.decode("canonical", json.dumps(message).encode())
    assert said.original == CUFF
    message = {"device": "cuff-7", "kind": "bp", "systolic": 152, "raw": b64encode(CUFF).decode()}
    (said,) = devices.decode("canonical", json.dumps(message).encode())
    assert said.original == CUFF


def test_the_envelopes_clock_offset_and_history_reach_a_framed_reading():
    message = {
        "device": "meter-3",
        "kind": "frame",
        "family": "ble-glucose",
        "frame": METER.hex(),
        "gateway_time": "2026-03-02T12:13:00Z",
        "utc_offset_minutes": -300,
        "history": True,
        "flags": ["playback"],
    }
    (said,) = devices.decode("canonical", json.dumps(message).encode())
    assert said.seq == 412
    assert said.device_time.isoformat() == "2026-03-02T07:12:05"
    assert said.gateway_time.isoformat() == "2026-03-02T12:13:00+00:00"
    assert (said.utc_offset_minutes, said.history, said.flags) == (-300, True, ("playback",))


def test_a_byte_order_mark_in_front_of_a_message_means_nothing():
    (said,) = devices.decode("canonical", b'\xef\xbb\xbf{"device":"cuff-7","kind":"bp","systolic":152}')
    assert said.systolic == 152


def test_control_solution_in_a_frame_stays_an_event():
    message = {
        "device": "meter-3",
        "kind": "frame",
        "family": "ble-glucose",
        "frame": "03 A0 01 EA 07 03 02 12 02 00 00 00 6E B0 4A",
        "history": True,
    }
    (said,) = devices.decode("canonical", json.dumps(message).encode())
    assert isinstance(said, DeviceEvent)
    assert said.device == "meter-3"


def test_what_is_printed_of_a_measurement_is_its_kind():
    said = Measurement(
        kind=Kind.BLOOD_PRESSURE, systolic=181.0, device="cuff-7", claimed={"name": "Somebody"}
    )
    assert f"{said!s} {said!r}" == "Measurement(kind='bp') Measurement(kind='bp')"
