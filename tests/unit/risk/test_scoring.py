"""What a score promises the next room, and what replay promises us."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import Beyond, TimeConfidence
from risk.events import Concern, Scored, Tier
from risk.measures import NO_PLAN, Plan
from risk.replay import replay
from risk.scoring import Model, score, score_all
from risk.store import packaged_model
from tests.unit.risk.diary import a_diary, a_reading

MODEL = packaged_model()


def walk(readings, plan=NO_PLAN):
    memory, told = None, []
    for reading in readings:
        memory, scored = score(memory, reading, plan)
        told.append(scored)
    return memory, told


@st.composite
def diaries(draw):
    cuffs = draw(
        st.lists(
            st.tuples(st.integers(0, 90 * 24), st.integers(80, 210), st.integers(45, 70)),
            min_size=1,
            max_size=30,
        )
    )
    contexts = st.sampled_from([None, "fasting", "after_meal", "after_meal"])
    sticks = draw(st.lists(st.tuples(st.integers(0, 90 * 24), st.integers(20, 500), contexts), max_size=20))
    return [a_reading(h / 24, systolic=float(s), diastolic=float(d)) for h, s, d in cuffs] + [
        a_reading(h / 24, glucose=float(g), context=told) for h, g, told in sticks
    ]


@settings(max_examples=25, deadline=None)
@given(diaries(), st.data())
def test_the_score_of_a_prefix_never_changes(readings, data):
    cut = data.draw(st.integers(1, len(readings)))
    assert replay(readings[:cut]) == replay(readings)[:cut]


@settings(max_examples=25, deadline=None)
@given(diaries())
def test_one_by_one_and_all_at_once_are_the_same(readings):
    at_once = {}
    together = score_all(at_once, readings, [NO_PLAN] * len(readings), Model())
    held, alone = {}, []
    for reading in readings:
        key = (reading.patient_id, reading.kind)
        held[key], scored = score(held.get(key), reading)
        alone.append(scored)
    assert together == alone
    assert at_once == held


@settings(max_examples=25, deadline=None)
@given(st.lists(diaries(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_score_is_the_same_in_whatever_company(people, chance):
    readings = [
        msgspec.structs.replace(reading, patient_id=UUID(int=person))
        for person, diary in enumerate(people)
        for reading in diary
    ]
    chance.shuffle(readings)
    at_once, in_parts, told, rest = {}, {}, [], readings
    together = score_all(at_once, readings, [NO_PLAN] * len(readings), MODEL)
    while rest:
        part, rest = rest[: (many := chance.choice((1, 1, 2, 7, 40)))], rest[many:]
        told += score_all(in_parts, part, [NO_PLAN] * len(part), MODEL)
    assert told == together
    assert in_parts == at_once


@settings(max_examples=15, deadline=None)
@given(diaries(), st.data())
def test_a_crash_at_any_point_changes_nothing(readings, data):
    cut = data.draw(st.integers(0, len(readings)))
    straight, broken = {}, {}
    whole = score_all(straight, readings, [NO_PLAN] * len(readings), Model())
    first = score_all(broken, readings[:cut], [NO_PLAN] * cut, Model())
    restored = {key: bytes(bytearray(memory)) for key, memory in broken.items()}
    rest = score_all(restored, readings[cut:], [NO_PLAN] * (len(readings) - cut), Model())
    assert first + rest == whole
    assert restored == straight


@settings(max_examples=15, deadline=None)
@given(diaries())
def test_a_repeated_row_is_an_echo_and_teaches_nothing(readings):
    doubled = [copy for reading in readings for copy in (reading, reading)]
    told = replay(doubled)
    assert told[::2] == replay(readings)
    assert all(one.tier is Tier.ROUTINE and one.findings == () for one in told[1::2])


def test_a_sitting_says_nothing_of_a_number_that_this_reading_lacks():
    high = [a_reading(minutes / 1440, systolic=192.0, diastolic=61.0) for minutes in (0, 5)]
    _, told = walk([*high, a_reading(10 / 1440, systolic=None, diastolic=40.0)])
    assert told[1].findings
    assert not [f for f in told[2].findings if "systolic" in f.reason.lower()]


def test_every_reading_has_one_score_and_the_score_names_it():
    readings = [a_reading(0), a_reading(0.5), a_reading(0.6, glucose=100.0)]
    told = replay(readings)
    assert [one.caused_by for one in told] == [reading.event_id for reading in readings]
    assert len({one.event_id for one in told}) == 3
    assert replay(readings) == told, "the same fact has the same id"


@pytest.mark.parametrize(
    "told",
    [{"time_confidence": TimeConfidence.SUSPECT}, {"flags": ("echo",)}, {"flags": ("control_solution",)}],
    ids=["suspect time", "echo", "control solution"],
)
def test_what_is_not_the_patient_now_is_stored_never_judged_never_learnt(told):
    memory, _ = score(None, a_reading(0))
    after, scored = score(memory, a_reading(0.1, systolic=210.0, **told))
    assert after == memory
    assert (scored.tier, scored.findings, scored.assessed) == (Tier.ROUTINE, (), ())
    assert scored.values["systolic"] == 210.0


def test_history_builds_the_baseline_and_pages_nobody():
    memory, told = walk(a_diary([190] * 30, history=True))
    assert all(one.findings == () and one.assessed == () for one in told)
    _, live = score(memory, a_reading(15, systolic=190.0))
    assert live.bands[0].days == 16 and abs(live.bands[0].level - 190) < 4 and not live.bands[0].learning


def test_a_late_emergency_is_found_and_a_late_calm_calms_nothing():
    memory, _ = walk(a_diary([130] * 20))
    _, late_high = score(memory, a_reading(3.1, systolic=195.0))
    assert late_high.findings[0].concern is Concern.HIGH_PRESSURE
    assert late_high.assessed == (Concern.HIGH_PRESSURE,)
    _, late_calm = score(memory, a_reading(3.1, systolic=130.0))
    assert late_calm.assessed == ()


def test_a_late_reading_is_judged_by_what_was_true_then():
    readings = a_diary([130] * 30 + [165] * 30)
    late = readings.pop(29)
    in_time = sorted([*readings, late], key=lambda r: r.effective_at)
    _, ordered = walk(in_time)
    _, out_of_order = walk([*readings, late])
    want = next(one for one in ordered if one.caused_by == late.event_id)
    assert out_of_order[-1].bands == want.bands
    assert out_of_order[-1].drift_score == want.drift_score


def test_readings_of_half_an_hour_are_one_sitting():
    memory, first = score(None, a_reading(0, systolic=168.0))
    assert first.findings[0].rule == "systolic-high"
    _, second = score(memory, a_reading(2 / 1440, systolic=148.0))
    assert second.findings == (), "the mean of the two is 158"


def test_three_of_the_last_six_sittings_confirm():
    _, told = walk(a_diary([150, 165, 166, 167], wobble=(0,)))
    assert [one.tier for one in told] == [Tier.ROUTINE, Tier.WATCH, Tier.WATCH, Tier.HIGH]
    assert "three of the last four above the limit of 160" in told[-1].findings[0].reason


def test_a_second_very_high_glucose_within_a_day_is_critical():
    _, told = walk([a_reading(0, glucose=320.0), a_reading(0.4, glucose=330.0), a_reading(3, glucose=310.0)])
    assert [one.tier for one in told] == [Tier.HIGH, Tier.CRITICAL, Tier.HIGH]


def test_a_second_high_glucose_within_a_day_is_watched():
    _, told = walk([a_reading(0, glucose=255.0), a_reading(0.3, glucose=260.0), a_reading(2, glucose=260.0)])
    assert [one.tier for one in told] == [Tier.ROUTINE, Tier.WATCH, Tier.ROUTINE]


def test_a_rise_is_found_and_said_in_one_sentence_with_its_numbers():
    _, told = walk(a_diary([134] * 80 + [152] * 24))
    found = [one for one in told if any(f.concern is Concern.PRESSURE_DRIFT_UP for f in one.findings)]
    assert found and told.index(found[0]) >= 80
    reason = next(f for f in found[-1].findings if f.concern is Concern.PRESSURE_DRIFT_UP)
    assert "usual 13" in reason.reason and "risen by" in reason.reason
    for evidence in reason.evidence:
        assert evidence.unit and evidence.window and evidence.comparison


def test_a_fall_is_found_too():
    _, told = walk(a_diary([134] * 80 + [110] * 24))
    assert any(f.concern is Concern.PRESSURE_DRIFT_DOWN for one in told for f in one.findings)


def test_the_usual_does_not_learn_a_deterioration():
    _, told = walk(a_diary([134] * 80 + [156] * 28))
    assert abs(told[-1].bands[0].level - 134) < 5


def test_a_level_is_learnt_at_last():
    _, told = walk(a_diary([134] * 80 + [150] * 300))
    assert abs(told[-1].bands[0].level - 150) < 4


def test_the_first_days_say_that_they_are_learning():
    _, told = walk(a_diary([150] * 20))
    assert [one.bands[0].learning for one in told[:12]] == [True] * 12
    assert told[0].bands[0].level < 150 < told[-1].bands[0].level + 3, "shrunk to the population at first"
    assert not told[-1].bands[0].learning


def test_the_absolute_level_plays_no_part_in_the_trend():
    low, high = walk(a_diary([110] * 60 + [120] * 10))[1], walk(a_diary([150] * 60 + [160] * 10))[1]
    assert [one.drift_score or 0 for one in low] == pytest.approx(
        [one.drift_score or 0 for one in high], rel=1e-6, abs=2e-4
    )


def test_a_smaller_budget_never_speaks_more():
    readings = a_diary([134] * 80 + [146] * 20)
    spoken = []
    for budget in (0.1, 0.25, 0.5, 1.0):
        _, told = walk(readings, Plan(budget=budget))
        spoken.append(sum(1 for one in told if any("DRIFT" in f.concern.name for f in one.findings)))
    assert spoken == sorted(spoken)


def test_a_gross_error_starts_no_trend():
    readings = a_diary([134] * 80)
    readings[70] = msgspec.structs.replace(readings[70], systolic=200.0)
    _, told = walk(readings)
    assert not any("DRIFT" in f.concern.name for one in told for f in one.findings)


def test_a_missing_value_is_no_error():
    _, scored = score(None, a_reading(systolic=130.0, diastolic=None, pulse=None))
    assert [band.quantity for band in scored.bands] == ["systolic"]
    assert Concern.FAST_PULSE not in scored.assessed


def test_the_patients_own_clock_decides_morning():
    _, scored = score(None, a_reading(systolic=170.0, utc_offset_minutes=-12 * 60))
    assert scored.findings[0].reason.startswith("Evening systolic 170")


def test_a_score_travels_as_json():
    for one in replay([*a_diary([134] * 60 + [156] * 20), a_reading(41, beyond=Beyond.LO)]):
        assert msgspec.json.decode(msgspec.json.encode(one), type=Scored) == one


def test_device_flags_worth_hearing_stand_in_the_sentence():
    _, scored = score(None, a_reading(systolic=190.0, flags=("movement",)))
    assert "the device reported movement" in scored.findings[0].reason


def test_a_baseline_that_begins_later_than_the_reading_is_not_yet():
    from risk.store import Decided

    start = a_reading(5).effective_at
    decided = Decided([], [(1, a_reading().patient_id, start, None)])
    assert decided.plan(1, a_reading().patient_id, start - timedelta(days=1)).baseline_from is None
    assert decided.plan(1, a_reading().patient_id, start + timedelta(days=1)).baseline_from == start
