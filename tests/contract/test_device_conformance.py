"""Every vector of the conformance pack, against our decoders."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest import devices, understood
from ingest.devices.measurement import Absent, EventKind, Flag, Reason

PACK = Path(__file__).parent / "devices"
RECEIVED = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
FILES = sorted(PACK.glob("*.json"))
VECTORS = [
    pytest.param(pack["family"], vector, id=f"{pack['family']}: {vector['name']}")
    for pack in (json.loads(file.read_text()) for file in FILES)
    for vector in pack["vectors"]
]


def payloads(vector):
    if "hex" in vector:
        first = bytes.fromhex(vector["hex"])
    elif "json" in vector:
        first = json.dumps(vector["json"], separators=(",", ":"), ensure_ascii=False).encode()
    else:
        first = vector["text"].encode()
    return (first, bytes.fromhex(vector["context"])) if "context" in vector else (first,)


def agree(expected, found, where):
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert name in found, f"{where}.{name} is missing"
            agree(value, found[name], f"{where}.{name}")
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        assert len(found) == len(expected), where
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            agree(one, other, f"{where}[{place}]")
    elif isinstance(expected, list):
        assert sorted(found) == sorted(expected), where
    elif isinstance(expected, float | int) and not isinstance(expected, bool):
        assert found == pytest.approx(expected, abs=0.01), where
    else:
        assert found == expected, where


@pytest.mark.parametrize(("family", "vector"), VECTORS)
def test_a_vector_means_what_the_pack_says(family, vector):
    answer = devices.decode(family, *payloads(vector))
    told = understood.report(answer, family=family, received_at=RECEIVED, zone=UTC)
    agree(vector["expect"], told, vector["name"])


def test_every_family_has_its_file():
    assert {file.stem for file in FILES} == set(devices.FAMILIES)


def test_every_word_a_decoder_may_say_is_said_by_some_vector_or_listed_here():
    """A reason or an event no vector shows is one an integrator cannot look up."""
    told = [
        understood.report(
            devices.decode(p.values[0], *payloads(p.values[1])), family="", received_at=RECEIVED, zone=UTC
        )
        for p in VECTORS
    ]
    entries = [one for report in told for kind in ("readings", "events", "refusals") for one in report[kind]]
    said = {one["reason"] for one in entries} | {one["event"] for one in entries}
    said |= {flag for one in entries for flag in one["flags"]}
    said |= {why for one in entries for why in one["absent"].values()}
    elsewhere = {Reason.TOO_MANY, Reason.UNKNOWN_FAMILY}  # too long for a vector; no family to file it under
    words = {word.value for enum in (Reason, EventKind, Flag, Absent) for word in enum}
    assert words - said - {word.value for word in elsewhere} == set()
