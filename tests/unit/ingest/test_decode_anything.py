"""Whatever arrives, every decoder answers: a value or a reason, never an exception, never a number no body has."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import devices, quality, understood
from ingest.devices import ble_glucose
from ingest.devices.measurement import DeviceEvent, Measurement, Refusal
from ingest.events import Kind

NOW = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
PACK = Path(__file__).parents[2] / "contract" / "devices"
DOCUMENTS = {
    pack["family"]: [vector["json"] for vector in pack["vectors"] if "json" in vector]
    for pack in (json.loads(file.read_text()) for file in sorted(PACK.glob("*.json")))
}
FRAMES = ["ble-blood-pressure", "ble-blood-pressure-enhanced", "ble-glucose"]
JSON_FAMILIES = [name for name in devices.FAMILIES if name not in FRAMES]
CANARY = "Zuleika-Canary"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [0, -1, 1e308, 10**30, "128.00", "HI", "lo", "", "2026-03-02T07:41:09Z", "1721382524000", "-200"]
    ),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
busy = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(answer):
    """What holds of every answer of every decoder."""
    assert isinstance(answer, tuple)
    assert answer
    for said in answer:
        assert isinstance(said, Measurement | DeviceEvent | Refusal)
        msgspec.json.encode(said)
        if isinstance(said, Measurement):
            check_numbers(said)
    told = understood.report(answer, family="any", received_at=NOW, zone=UTC)
    json.dumps(told, allow_nan=False)


def check_numbers(said):
    for name in ("systolic", "diastolic", "map", "pulse"):
        value = getattr(said, name)
        assert value is None or (math.isfinite(value) and 0 < value <= 400)
    assert said.glucose is None or (math.isfinite(said.glucose) and 0 < said.glucose <= 2000)
    assert said.glucose is None or said.beyond is None
    if said.kind is Kind.GLUCOSE:
        assert said.glucose is not None or said.beyond is not None
        assert said.systolic is said.diastolic is said.pulse is None
    else:
        assert (said.systolic, said.diastolic, said.pulse) != (None, None, None)
        assert said.glucose is said.beyond is None
    quality.judge(said)


def as_bytes(document):
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("family", devices.FAMILIES)
@given(raw=st.binary(max_size=64))
@busy
def test_any_bytes_get_an_answer(family, raw):
    check(devices.decode(family, raw))


@pytest.mark.parametrize("family", FRAMES)
@given(flags=st.integers(0, 255), rest=st.binary(min_size=6, max_size=30))
@busy
def test_any_frame_gets_an_answer(family, flags, rest):
    check(devices.decode(family, bytes([flags]) + rest))


@given(raw=st.binary(min_size=10, max_size=20), context=st.binary(max_size=20))
@busy
def test_any_context_frame_gets_an_answer(raw, context):
    check(ble_glucose.decode(raw, context))


@pytest.mark.parametrize("family", JSON_FAMILIES)
@given(document=anything)
@busy
def test_any_json_gets_an_answer(family, document):
    check(devices.decode(family, as_bytes(document)))


@pytest.mark.parametrize("family", JSON_FAMILIES)
@given(data=st.data())
@busy
def test_a_true_message_with_anything_put_into_it_gets_an_answer(family, data):
    """The nastiest messages are almost right: one or two nodes of a real one are swapped for anything."""
    document = data.draw(st.sampled_from(DOCUMENTS[family]))
    for _ in range(data.draw(st.integers(1, 3))):
        document = swapped(document, data)
    check(devices.decode(family, as_bytes(document)))


def swapped(node, data):
    if not isinstance(node, dict | list) or not node or data.draw(st.integers(0, 5)) == 0:
        return data.draw(anything)
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = data.draw(st.sampled_from(keys))
    copy = dict(node) if isinstance(node, dict) else list(node)
    if data.draw(st.integers(0, 9)) == 0:
        del copy[key]
    else:
        copy[key] = swapped(node[key], data)
    return copy


@pytest.mark.parametrize("family", JSON_FAMILIES)
def test_no_refusal_and_no_repr_repeats_what_a_message_said(family):
    """Details are logged and shown: a name in the payload must not travel in them."""
    for document in DOCUMENTS[family]:
        answer = devices.decode(family, as_bytes(marked(document)))
        for said in answer:
            assert CANARY not in repr(said) or isinstance(said, Refusal)
            if isinstance(said, Refusal):
                assert CANARY not in said.detail


def marked(node):
    if isinstance(node, dict):
        return {key: marked(value) for key, value in node.items()}
    if isinstance(node, list):
        return [marked(value) for value in node]
    return CANARY if isinstance(node, str) and node not in {"bp", "glucose", "frame", "event"} else node


@pytest.mark.parametrize("family", JSON_FAMILIES)
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"[" * 100_000, "too-deep"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "too-deep"),
        (b'{"a":1,"a":2}', "duplicate-key"),
        (b'{"a":NaN}', "not-a-number"),
        (b'{"a":1e999}', "number-too-large"),
        (b'{"a":' + b"9" * 500 + b"}", "number-too-large"),
        (b'{"a":"\xff"}', "not-text"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"a":', "not-json"),
        (b'{"a":"' + b"x" * (1 << 21) + b'"}', "too-large"),
    ],
    ids=[
        "brackets",
        "nesting",
        "duplicate",
        "NaN",
        "1e999",
        "500 digits",
        "bytes",
        "empty",
        "blank",
        "cut",
        "2 MB",
    ],
)
def test_hostile_json_is_refused_with_the_reason(family, raw, reason):
    (said,) = devices.decode(family, raw)
    found = said.reason.value
    # Our own messages are small: what is long is refused for its length before it is read.
    assert found == reason or (found == "too-large" and len(raw) > 16 * 1024)


@pytest.mark.parametrize("family", JSON_FAMILIES)
def test_a_lone_surrogate_in_a_string_is_no_accident(family):
    check(devices.decode(family, rb'{"device":"\ud800","kind":"bp","imei":"\ud800","mac":"\ud800"}'))


def test_too_many_records_are_refused_at_once():
    raw = as_bytes([{"metric": "pulse", "value_1": "1"}] * 2001)
    (said,) = devices.decode("tenovi", raw)
    assert said.reason.value == "too-many-readings"


def test_a_family_nobody_wrote_is_a_refusal():
    (said,) = devices.decode("abacus", b"1")
    assert said.reason.value == "unknown-family"


def test_only_a_glucose_takes_a_second_frame():
    (said,) = devices.decode("canonical", b"{}", b"{}")
    assert said.reason.value == "too-many-readings"
