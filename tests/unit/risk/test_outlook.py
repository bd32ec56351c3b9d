"""How likely next week's average home pressure is over the limit: what it says, what it refuses, what it rests on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.measures import NO_PLAN, Plan
from risk.outlook import LEAST, MOST, below, either, sentence
from risk.rules import DEFAULT
from risk.scoring import score
from tests.unit.risk.diary import a_diary, a_reading


def last(readings, plan=NO_PLAN):
    memory = None
    for reading in readings:
        memory, scored = score(memory, reading, plan)
    return scored


def chance(level, *, days=20, plan=NO_PLAN, **told):
    return last(a_diary([level] * days * 2, **told), plan).outlook.chance


def test_one_sentence_says_how_likely_against_what_and_from_what():
    told = last(a_diary([138] * 24, diastolic=84.0)).outlook
    assert sentence(told) == (
        f"{told.chance:.0%} likely that next week's home average is at or above 135/85; "
        "from 12 days measured, last seven days' average 138/84."
    )


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        pytest.param(a_diary([140] * 8), "only 4 of the 7 days needed", id="still learning"),
        pytest.param(
            [*a_diary([140] * 40), a_reading(40)],
            "measured only once in the last 7 days, 6 times needed",
            id="no recent readings",
        ),
    ],
)
def test_without_enough_data_no_chance_is_told_and_the_reason_is(readings, said):
    told = last(readings).outlook
    assert told.chance is None
    assert sentence(told) == f"No chance is told of next week's home average: {said}."
    assert [one.said for one in told.missing] == [said]


def test_a_baseline_begun_anew_is_learnt_anew():
    plan = Plan(baseline_from=a_reading(18).effective_at)
    assert last(a_diary([140] * 40), plan).outlook.chance is None


def test_the_limit_is_the_one_that_applies_to_the_patient():
    own = Plan(limits=DEFAULT.with_({"systolic-average": 145, "diastolic-average": 90}))
    assert chance(140, plan=own) < 0.5 < chance(140)
    assert "at or above your limit of 145/90" in sentence(last(a_diary([140] * 40), own).outlook)


def test_a_limit_switched_off_is_not_asked_about():
    one = Plan(limits=DEFAULT.with_({"systolic-average": None}))
    assert "at or above your limit of diastolic 85;" in sentence(last(a_diary([160] * 40), one).outlook)
    assert chance(160, plan=one) < 0.5
    none = Plan(limits=DEFAULT.with_({"systolic-average": None, "diastolic-average": None}))
    assert last(a_diary([160] * 40), none).outlook is None


def test_either_pressure_alone_may_be_the_high_one():
    assert chance(120, diastolic=95.0) > 0.9
    assert chance(150, diastolic=70.0) > 0.9
    assert chance(120, diastolic=70.0) < 0.1


def test_a_cuff_without_a_diastolic_is_held_against_the_systolic_limit():
    told = last(a_diary([150] * 40, diastolic=None)).outlook
    assert told.chance > 0.9
    assert sentence(told).endswith("last seven days' average systolic 150.")


def test_nothing_is_said_beyond_one_and_ninety_nine_percent():
    assert (chance(90), chance(190)) == (LEAST, MOST)


def test_a_lasting_rise_is_followed_within_days():
    calm = a_diary([126] * 60, diastolic=75.0)
    said = [
        last([*calm, *a_diary([150] * 2 * days, start=30, diastolic=75.0)]).outlook.chance
        for days in (1, 3, 7)
    ]
    assert said == sorted(said)
    assert said[0] < 0.2 < 0.5 < said[-1]


def test_glucose_has_none():
    assert last([a_reading(day / 2, glucose=120.0) for day in range(40)]).outlook is None


def test_a_reading_that_is_never_scored_has_none():
    readings = a_diary([140] * 40)
    assert last([*readings, a_reading(20, flags=("echo",))]).outlook is None


@given(st.floats(100, 170), st.floats(0.5, 40))
def test_a_higher_pressure_is_never_less_likely_to_stay_high(level, more):
    assert chance(level, days=10) <= chance(level + more, days=10) + 1e-4


@given(st.lists(st.tuples(st.floats(-12, 12), st.floats(-12, 12)), min_size=1, max_size=20))
def test_either_is_at_least_each_and_at_most_both_together(pairs):
    beyond = np.array(pairs)
    each, both = below(beyond), either(beyond)
    assert np.all(both >= each.max(axis=1) - 2e-3)
    assert np.all(both <= np.minimum(each.sum(axis=1), 1) + 2e-3)
