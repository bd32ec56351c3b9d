"""The block of bytes: order does not matter inside the window, nothing grows, and another layout is refused."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.memory import GLUCOSE, PRESSURE, MemoryRefused, empty, unpack
from risk.scoring import score
from tests.unit.risk.diary import a_diary, a_reading

minutes = st.integers(0, 40 * 24 * 60)


def remember(readings):
    memory = None
    for reading in readings:
        memory, _ = score(memory, reading)
    return memory


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(minutes, st.integers(90, 200)), min_size=1, max_size=24, unique_by=lambda r: r[0]),
    st.randoms(),
)
def test_the_order_of_arrival_does_not_matter_inside_the_window(told, chance):
    readings = [a_reading(minute / 1440, systolic=float(value)) for minute, value in told]
    shuffled = list(readings)
    chance.shuffle(shuffled)
    assert remember(readings) == remember(shuffled)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(minutes, st.integers(25, 500), st.sampled_from([None, "after_meal"])),
        min_size=1,
        max_size=24,
        unique_by=lambda r: r[0],
    ),
    st.randoms(),
)
def test_the_order_of_fingersticks_does_not_matter_inside_the_window(told, chance):
    readings = [a_reading(minute / 1440, glucose=float(value), context=said) for minute, value, said in told]
    shuffled = list(readings)
    chance.shuffle(shuffled)
    assert remember(readings) == remember(shuffled)


def test_a_memory_stays_below_four_kilobytes_however_long_it_grows():
    assert len(remember(a_diary([130] * 300))) == len(empty(PRESSURE)) <= 2048
    assert len(empty(GLUCOSE)) <= 4096


def test_what_left_the_window_lives_on_in_the_anchor():
    memory = remember(a_diary([130] * 300))
    block = unpack([memory], PRESSURE)
    assert abs(float(block["anchor"][0][0]) - 130) < 2
    assert float(block["trust"][0][0]) == 40.0


def test_an_absence_longer_than_the_window_empties_it_but_not_the_anchor():
    memory = remember([*a_diary([130] * 20), a_reading(400, systolic=150.0)])
    block = unpack([memory], PRESSURE)
    assert int((block["count"][0][:, 0] > 0).sum()) == 1
    assert abs(float(block["anchor"][0][0]) - 130) < 2


def test_a_reading_older_than_the_window_changes_nothing_that_is_summed():
    memory = remember(a_diary([130] * 10, start=100.0))
    after, scored = score(memory, a_reading(0, systolic=190.0))
    assert unpack([after], PRESSURE)["total"].tobytes() == unpack([memory], PRESSURE)["total"].tobytes()
    assert scored.findings, "it still counts as the emergency it was"


def test_a_memory_of_another_layout_is_refused():
    with pytest.raises(MemoryRefused, match="layout"):
        score(b"\x07" + empty(PRESSURE)[1:], a_reading())
    with pytest.raises(MemoryRefused, match="bytes"):
        score(empty(PRESSURE)[:-1], a_reading())


def test_a_clinicians_word_makes_the_baseline_begin_anew():
    from risk.measures import Plan

    memory, usual = None, None
    for reading in a_diary([130] * 40):
        memory, usual = score(memory, reading)
    began = a_reading(20).effective_at
    for reading in a_diary([150] * 20, start=20.0):
        memory, usual = score(memory, reading, Plan(baseline_from=began - timedelta(hours=1)))
    assert abs(usual.bands[0].level - 150) < 4
    assert usual.bands[0].days == 10


def test_many_readings_of_one_hour_fit():
    memory = remember([a_reading(n / 1440, systolic=279.0) for n in range(40)])
    block = unpack([memory], PRESSURE)
    assert int(block["count"].max()) == 14
    assert int(block["total"].max()) == 14 * 279 * 16
