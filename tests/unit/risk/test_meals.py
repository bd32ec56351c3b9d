"""A reading after a meal is held against the patient's own readings after meals; one that tells nothing, as it always was."""

from math import exp

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import meals
from risk.events import Concern
from risk.memory import GLUCOSE, KNEW_NO_MEALS, MemoryRefused, empty, unpack
from risk.population import told
from risk.replay import replay
from risk.scoring import score
from tests.unit.risk.diary import a_reading

WOBBLE = (0, 6, -7, 3, -5, 9, -4, -2)


def a_stick(day, glucose, context=None):
    return a_reading(day, glucose=float(glucose), **({} if context is None else {"context": context}))


def a_month(before=120, after=185, *, start=0, days=40, context=("before_meal", "after_meal")):
    """Every other day before supper, every other day after it, and fasting each morning."""
    for day in range(start, start + days):
        swing = WOBBLE[day % len(WOBBLE)]
        yield a_stick(day, before + swing, "fasting")
        fed = day % 2
        yield a_stick(day + 0.5, (after if fed else before) + swing, context[fed])


def heard(readings, memory=None):
    scored = None
    for reading in readings:
        memory, scored = score(memory, reading)
    return memory, scored


def test_a_reading_after_a_meal_is_held_against_the_own_readings_after_meals():
    memory, _ = heard(a_month())
    _, fed = score(memory, a_stick(40.5, 190, "after_meal"))
    _, fasting = score(memory, a_stick(40.5, 190, "before_meal"))
    assert (fed.bands[0].when, fasting.bands[0].when) == ("after meals", "before meals")
    assert fed.bands[0].level == pytest.approx(180, abs=8)
    assert fasting.bands[0].level == pytest.approx(122, abs=6)
    assert not fed.bands[0].learning
    assert "glucose after meals usually 1" in told([fed]).calm


def test_the_sentence_says_which_readings_it_compares_with():
    memory, _ = heard(a_month(after=240))
    _, fed = score(memory, a_stick(41.5, 310, "after_meal"))
    assert "usual after meals 2" in fed.findings[0].reason
    _, low = score(memory, a_stick(41.5, 60, "fasting"))
    assert "usual before meals 1" in low.findings[0].reason


def test_nobody_who_begins_to_measure_after_meals_is_said_to_rise():
    calm = [
        a_stick(day + part, 120 + WOBBLE[(2 * day) % 8], "before_meal")
        for day in range(40)
        for part in (0, 0.5)
    ]
    scores = replay([*calm, *a_month(after=150, start=40, days=14)])
    bare = replay([*calm, *a_month(after=150, start=40, days=14, context=(None, None))])
    assert scores[-1].drift_score < bare[-1].drift_score
    assert not any(f.concern is Concern.GLUCOSE_DRIFT for one in scores for f in one.findings)


def test_a_rise_before_and_after_meals_is_found_and_held_against_the_usual_apart_from_meals():
    scores = replay([*a_month(), *a_month(180, 270, start=40, days=20)])
    drifts = [(one, f) for one in scores for f in one.findings if f.concern is Concern.GLUCOSE_DRIFT]
    fed = [f.reason for one, f in drifts if one.context == "after_meal"]
    assert fed and all("usual 1" in reason and "usual after" not in reason for reason in fed)


def test_few_readings_after_meals_are_still_being_learnt():
    memory, first = heard(
        [*a_month(days=21, context=("before_meal", "before_meal")), a_stick(21.5, 150, "after_meal")]
    )
    assert (first.bands[0].learning, first.bands[0].days) == (True, 1)
    assert not score(memory, a_stick(22, 120, "fasting"))[1].bands[0].learning


def test_with_nothing_known_a_meal_adds_what_it_adds_to_others():
    memory, before = heard([a_stick(day, 120) for day in range(20)])
    _, after = score(memory, a_stick(20, 120, "after_meal"))
    assert 1.1 < after.bands[0].level / before.bands[0].level < exp(meals.ADDS), (
        "its own value speaks already"
    )


def test_who_never_told_of_a_meal_is_judged_as_ever():
    """The words of a context that is no meal's end change nothing at all."""
    bare = [a_stick(day / 3, 110 + 7 * (day % 9)) for day in range(120)]
    said = [
        msgspec.structs.replace(one, context=word)
        for one, word in zip(bare, ["fasting", "bedtime", "unspecified"] * 40, strict=True)
    ]
    assert [(one.bands, one.drift_score) for one in replay(bare)] == [
        (one.bands, one.drift_score) for one in replay(said)
    ]


def test_the_level_of_days_that_left_the_window_is_one_apart_from_meals():
    memory, _ = heard(a_month(days=200))
    block = unpack([memory], GLUCOSE)
    assert exp(float(block["anchor"][0][0])) == pytest.approx(120, abs=3)


def as_it_was(memory):
    """The memory as the version before wrote it."""
    layout, size = KNEW_NO_MEALS
    return bytes([layout]) + memory[1:size]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 70 * 24), st.integers(20, 500)), min_size=1, max_size=30))
def test_a_memory_from_before_meals_were_known_goes_on_as_if_none_had_been_told(readings):
    memory, _ = heard(a_stick(hour / 24, glucose) for hour, glucose in readings)
    later = a_stick(71, 150, "after_meal")
    assert score(as_it_was(memory), later)[0] == score(memory, later)[0]
    assert score(as_it_was(memory), later)[1].bands == score(memory, later)[1].bands


def test_an_old_memory_of_a_wrong_size_is_still_refused():
    with pytest.raises(MemoryRefused, match="layout 01"):
        score(as_it_was(empty(GLUCOSE))[:-1], a_stick(0, 120))
    with pytest.raises(MemoryRefused, match="0 bytes"):
        score(b"", a_stick(0, 120))


def test_a_patient_costs_less_than_four_kilobytes(capsys):
    with capsys.disabled():
        print(f"\n{len(empty(GLUCOSE))} bytes a patient with a meter")
    assert len(empty(GLUCOSE)) <= 4096
