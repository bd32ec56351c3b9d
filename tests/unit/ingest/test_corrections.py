"""Taking a reading back, or saying what it should have been: new facts with ids of their own, and never a number nobody has."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.corrections import CORRECTED, Change, Facts, correct, value, withdraw
from ingest.events import Beyond, Kind, Reading, TimeConfidence, Told, Withdrawn
from ingest.set_aside import By

NOW = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
THEN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ANA = By(UUID(int=5), "Ana")
READING = Reading(
    event_id=UUID(int=1), caused_by=UUID(int=2), practice_id=1, patient_id=UUID(int=3), device_id="cuff", gateway_id="gw",
    kind=Kind.BLOOD_PRESSURE, effective_at=THEN, received_at=THEN + timedelta(minutes=1), time_rule="device-instant",
    time_confidence=TimeConfidence.HIGH, systolic=192.0, diastolic=96.0, pulse=70.0, flags=("movement",), raw=b"as it came",
)  # fmt: skip
SWEET = msgspec.structs.replace(
    READING, kind=Kind.GLUCOSE, systolic=None, diastolic=None, pulse=None, beyond=Beyond.HI
)


def corrected(change, reading=READING):
    return correct(reading, change, by=ANA, reason="misread", now=NOW)


def test_a_withdrawal_carries_the_whole_reading_and_has_one_id_however_often_it_is_said():
    first = withdraw(READING, by=ANA, reason="the cat", now=NOW)
    second = withdraw(READING, by=By(None, "Ben"), reason="again", now=NOW + timedelta(days=1))
    assert first.event_id == second.event_id
    assert (first.reading, first.patient_id, first.by, first.superseded_by) == (
        READING,
        UUID(int=3),
        ANA.staff_id,
        None,
    )


def test_a_correction_keeps_bytes_message_and_receipt_and_is_known_from_now():
    facts = corrected(Change({"systolic": 129.0}))
    assert isinstance(facts, Facts)
    new = facts.corrected
    assert (new.systolic, new.diastolic, new.raw, new.caused_by) == (
        129.0,
        96.0,
        READING.raw,
        READING.caused_by,
    )
    assert (new.effective_at, new.received_at, new.known_at) == (THEN, READING.received_at, NOW)
    assert (new.supersedes, facts.withdrawn.superseded_by) == (READING.event_id, new.event_id)
    assert new.flags == ("movement", CORRECTED)
    assert new.event_id != READING.event_id


def test_the_same_correction_is_the_same_fact_and_another_is_another():
    one, same = corrected(Change({"systolic": 129.0})), corrected(Change({"systolic": 129.0}))
    other = corrected(Change({"systolic": 130.0}))
    assert one.corrected.event_id == same.corrected.event_id != other.corrected.event_id


def test_a_time_that_a_person_says_is_believed_and_named():
    new = corrected(Change(effective_at=THEN - timedelta(hours=12))).corrected
    assert (new.time_rule, new.time_confidence) == ("by-a-person", TimeConfidence.HIGH)
    assert new.effective_at == THEN - timedelta(hours=12)


def test_a_reading_of_somebody_else_is_taken_from_one_and_given_to_the_other():
    nora = uuid4()
    facts = corrected(Change(patient_id=nora))
    assert (facts.withdrawn.patient_id, facts.corrected.patient_id) == (READING.patient_id, nora)


def test_a_number_in_place_of_hi_is_a_number():
    new = corrected(Change({"glucose": 402.0}), SWEET).corrected
    assert (new.glucose, new.beyond) == (402.0, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(Change(), "says already", id="nothing changes"),
        pytest.param(Change({"systolic": 192.0}), "says already", id="the same number"),
        pytest.param(Change({"glucose": 110.0}), "has no glucose", id="another kind's number"),
        pytest.param(Change({"systolic": 400.0}), "implausible systolic", id="a number nobody has"),
        pytest.param(Change({"pulse": float("inf")}), "pulse is not a number", id="a pulse without end"),
        pytest.param(
            Change({"pulse": float("nan")}), "pulse is not a number", id="a pulse that is no number"
        ),
        pytest.param(Change({"diastolic": 195.0}), "pressures crossed", id="diastolic above systolic"),
        pytest.param(Change(effective_at=NOW + timedelta(minutes=1)), "not come yet", id="a time to come"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(change, words):
    assert words in corrected(change)


@given(
    st.dictionaries(st.sampled_from(["systolic", "diastolic", "pulse"]), st.floats(), max_size=3),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_any_correction_is_either_refused_in_words_or_travels_and_comes_back_the_same(values, at):
    said = corrected(Change(values, at))
    if isinstance(said, str):
        return
    for fact in said:
        assert msgspec.json.decode(msgspec.json.encode(fact), type=Told) == fact
    assert isinstance(said.withdrawn, Withdrawn)
    assert value(said.corrected)
