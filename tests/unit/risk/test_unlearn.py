"""A reading that was taken back leaves the memory as if it had never been; what was never learnt cannot be unlearnt."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.events import Beyond, Kind, Reading, TimeConfidence, fact_id
from risk.memory import GLUCOSE, PRESSURE, empty
from risk.scoring import score, without

START = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
MARIA = UUID(int=1)


def reading(minutes, kind=Kind.BLOOD_PRESSURE, **said):
    at = START + timedelta(minutes=minutes)
    values = (
        {"systolic": 128.0, "diastolic": 81.0, "pulse": 70.0}
        if kind is Kind.BLOOD_PRESSURE
        else {"glucose": 110.0}
    )
    return Reading(
        event_id=fact_id(minutes, kind, sorted(said.items())), caused_by=UUID(int=9), practice_id=1, patient_id=MARIA,
        device_id="cuff", gateway_id="gw", kind=kind, effective_at=at, received_at=at + timedelta(seconds=5),
        time_rule="device-instant", time_confidence=TimeConfidence.HIGH, utc_offset_minutes=-300, raw=b"",
        **{**values, **said},
    )  # fmt: skip


def learnt(readings, memory=None):
    for one in readings:
        memory, _ = score(memory, one)
    return memory


PRESSURES = st.builds(
    lambda m, s, d, p: reading(m, systolic=s, diastolic=d, pulse=p),
    st.integers(1, 60 * 24 * 40),
    st.integers(80, 220).map(float) | st.none(),
    st.integers(40, 120).map(float),
    st.integers(40, 140).map(float) | st.none(),
)
GLUCOSES = st.builds(
    lambda m, g, b, c: reading(m, Kind.GLUCOSE, glucose=None if b else g, beyond=b, context=c),
    st.integers(1, 60 * 24 * 40),
    st.integers(20, 600).map(float),
    st.sampled_from([None, None, None, Beyond.HI, Beyond.LO]),
    st.sampled_from([None, "before_meal", "after_meal"]),
)


@pytest.mark.parametrize("kind", Kind)
@given(data=st.data())
def test_a_memory_without_a_reading_is_the_memory_that_never_had_it(kind, data):
    some = PRESSURES if kind is Kind.BLOOD_PRESSURE else GLUCOSES
    others = data.draw(st.lists(some, max_size=12, unique_by=lambda one: one.effective_at))
    wrong = data.draw(some.filter(lambda one: one.effective_at not in {o.effective_at for o in others}))
    first, last = reading(0, kind), reading(60 * 24 * 41, kind)
    place = data.draw(st.integers(0, len(others)))
    with_it = learnt([first, *others[:place], wrong, *others[place:], last])
    never = learnt([first, *others, last])
    memory, known = without(with_it, wrong)
    assert known
    assert memory == never


def test_a_reading_of_a_wrong_future_does_not_make_those_of_today_late():
    today = [reading(n * 600) for n in range(5)]
    wrong = reading(60 * 24 * 20, systolic=240.0)
    memory, known = without(learnt([*today, wrong]), wrong)
    assert known
    _, scored = score(memory, reading(60 * 24 * 6, systolic=182.0))
    assert scored.findings  # a dangerous reading of now is heard as one of now
    assert scored.bands[0].level < 140


def test_the_only_reading_taken_back_leaves_somebody_never_seen():
    for kind, shape in ((Kind.BLOOD_PRESSURE, PRESSURE), (Kind.GLUCOSE, GLUCOSE)):
        one = reading(0, kind)
        assert without(learnt([one]), one) == (empty(shape), True)


def test_what_was_never_learnt_changes_nothing_when_it_is_taken_back():
    memory = learnt([reading(n * 600) for n in range(5)])
    suspect = reading(900, flags=("echo",))
    stranger = reading(-60 * 24 * 200, systolic=240.0)
    assert without(memory, suspect) == (memory, False)
    assert without(memory, stranger) == (memory, False)


def test_what_left_the_window_long_ago_stays_in_the_level_it_melted_into():
    old = [reading(n * 60 * 12, systolic=150.0) for n in range(4)]
    later = [reading(60 * 24 * 80 + n * 60 * 12) for n in range(40)]
    memory = learnt([*old, *later])
    assert without(memory, old[0]) == (memory, False)


def test_what_a_person_let_through_late_is_scored_as_known_from_then():
    let_through = replace(reading(0), released_at=START + timedelta(days=4))
    _, scored = score(None, let_through)
    assert scored.received_at == START + timedelta(days=4)
