"""`lamplight ingest decode`, as an integrator meets it."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ingest import devices
from ingest.cli import app

CUFF = "16 98 00 5E 00 71 00 EA 07 03 02 07 29 09 4E 00 00 00"
METER, MEAL = "12 9C 01 EA 07 03 02 07 0C 05 61 B0 11", "02 9C 01 03"


def run(*words, stdin=None):
    return CliRunner().invoke(app, ["decode", *words], input=stdin)


def told(*words, stdin=None, code=0):
    done = run(*words, stdin=stdin)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_the_families_are_listed_one_a_line():
    done = run("--list")
    assert done.exit_code == 0
    assert done.stdout.split() == list(devices.FAMILIES)


@pytest.mark.parametrize(
    "spelling", [CUFF, CUFF.replace(" ", ""), CUFF.lower(), "0x" + CUFF.replace(" ", " 0x")]
)
def test_hex_is_read_in_any_spelling(spelling):
    found = told("--family", "ble-blood-pressure", "--hex", spelling)
    assert (found["systolic"], found["diastolic"], found["map"], found["pulse"]) == (152, 94, 113, 78)
    assert found["glucose"] is None
    assert found["device_time"] == "2026-03-02T07:41:09"


def test_numbers_are_plain_and_the_value_as_sent_stands_beside_them():
    found = told("--family", "ble-glucose", "--hex", "03 9C 01 EA 07 03 02 07 0C 05 D4 FE B6 B0 11")
    assert found["glucose"] == 182
    assert found["sent"]["glucose"] == {"value": 0.00182, "unit": "kg/L"}
    assert found["units"]["glucose"] == "mg/dL"


def test_the_second_hex_of_a_glucose_is_its_context():
    assert told("--family", "ble-glucose", "--hex", METER, "--hex", MEAL)["context"] == "fasting"


def test_two_frames_of_a_cuff_are_two_readings():
    found = told("--family", "ble-blood-pressure", "--hex", CUFF, "--hex", "00 78 00 50 00 5D 00")
    assert [one["systolic"] for one in found["readings"]] == [152, 120]


def test_a_file_is_read(tmp_path):
    file = tmp_path / "message.json"
    file.write_text('{"device":"cuff-7","kind":"bp","systolic":152,"diastolic":94}')
    assert told("--family", "canonical", str(file))["systolic"] == 152


def test_standard_input_is_read():
    assert (
        told("--family", "canonical", "-", stdin='{"device":"m","kind":"glucose","glucose":"HI"}')["beyond"]
        == "HI"
    )


def test_a_file_of_raw_bytes_hex_or_base64_is_read(tmp_path):
    from base64 import b64encode

    raw = bytes.fromhex(CUFF)
    for number, content in enumerate((raw, CUFF.encode(), b64encode(raw) + b"\n")):
        file = tmp_path / str(number)
        file.write_bytes(content)
        assert told("--family", "ble-blood-pressure", str(file))["systolic"] == 152


def test_a_refusal_says_why_and_ends_with_three():
    found = told("--family", "ble-blood-pressure", "--hex", "01 02 03 04 05 06", code=3)
    assert (found["type"], found["reason"]) == ("refusal", "truncated")
    assert found["systolic"] is None
    assert found["readings"] == []


def test_an_event_ends_with_zero():
    found = told(
        "--family", "telli", "-", stdin='{"type":"ReminderCleared","deviceId":"1","time":"1772455269000"}'
    )
    assert (found["type"], found["event"]) == ("event", "reminder_cleared")


def test_one_bad_record_does_not_hide_the_good_one():
    stdin = '[{"glucose":142,"deviceId":1},{"glucose":99999,"deviceId":1}]'
    found = told("--family", "impilo", "-", stdin=stdin)
    assert (found["glucose"], found["refusals"][0]["reason"]) == (142, "impossible-value")


def test_every_field_is_there_even_when_it_is_null():
    reading = told("--family", "ble-blood-pressure", "--hex", CUFF)
    refusal = told("--family", "ble-blood-pressure", "--hex", "01", code=3)
    assert set(refusal) == set(reading)
    assert set(reading["readings"][0]) == set(refusal["refusals"][0])


def test_the_instant_is_told_with_its_rule():
    words = ["--family", "ble-blood-pressure", "--hex", CUFF, "--received-at", "2026-03-02T12:45:00Z"]
    found = told(*words, "--zone", "America/New_York")["time"]
    assert found["effective_at"] == "2026-03-02T12:41:09+00:00"
    assert (found["rule"], found["confidence"], found["utc_offset_minutes"]) == ("device-local", "high", -300)


def test_a_person_named_in_the_payload_is_not_printed():
    message = {
        "type": "reportAttribute",
        "mac": "02:00:00:00:CC:01",
        "citiz": "1234567890123",
        "nameEN": "Mr.#Zuleika##Canary",
        "brith": "25220713",
        "data": {"ble_mac": "02:00:00:00:0F:01", "value": {"bp_high": 120, "bp_low": 78, "pr": 71}},
    }
    done = run("--family", "qube-vital", "-", stdin=json.dumps(message))
    assert json.loads(done.stdout)["claimed"] == ["born", "name", "national_id"]
    assert not any(word in done.stdout for word in ("Zuleika", "1234567890123", "1979", "2522"))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--family", "abacus", "--hex", "00"),
        ("--family", "ble-glucose"),
        ("--family", "ble-glucose", "--hex", "0G"),
        ("--family", "ble-glucose", "--hex", "123"),
        ("--family", "ble-glucose", "--hex", METER, "--hex", MEAL, "--hex", MEAL),
        ("--family", "canonical", "no-such-file"),
        ("--family", "canonical", "--hex", "7B7D", "a-file-too"),
        ("--family", "canonical", "--hex", "7B7D", "--zone", "Mars/Olympus"),
        ("--family", "canonical", "--hex", "7B7D", "--received-at", "yesterday"),
        ("--no-such-switch",),
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_two(words):
    assert run(*words).exit_code == 2


def test_the_command_starts_without_the_heavy_libraries():
    code = (
        "import sys, ingest.cli; heavy = {'fastapi', 'numpy', 'sklearn', 'aiokafka', 'psycopg', 'pydantic', 'msgspec'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
