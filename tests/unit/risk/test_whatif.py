"""What a change would have done: both ways replayed, nothing invented, and what people said of it."""

import re
from datetime import UTC, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from risk.cli import app
from risk.labels import Label, Said, Tally, by_budget, by_rule
from risk.measures import Plan
from risk.replay import replay
from risk.rules import DEFAULT, LimitRefused
from risk.scoring import Model
from risk.store import Decided
from risk.whatif import compare, raised, readings_of, said_of
from tests.unit.risk.diary import MARIA, START, a_diary, a_reading

NOW = START + timedelta(days=60)
LOWER = Plan(limits=DEFAULT.with_({"systolic-high": 150}))
SPIKES = a_diary([130] * 40 + [156] * 6 + [130] * 30)


def test_the_same_plan_changes_nothing():
    found = compare(SPIKES, Plan(), Plan(), Model())
    assert found.before == found.after and not found.missed and not found.added


def test_a_lower_limit_adds_and_a_higher_misses_the_same_alerts():
    there, back = compare(SPIKES, Plan(), LOWER, Model()), compare(SPIKES, LOWER, Plan(), Model())
    assert there.added == back.missed and there.missed == back.added
    assert any("limit of 150" in one.reason for one in there.added)


def test_alerts_a_week_count_patient_weeks_and_weeks_are_civil():
    found = compare(SPIKES, Plan(), LOWER, Model())
    assert found.weeks == pytest.approx((len(SPIKES) - 1) / 14, abs=0.01)
    assert found.a_week(found.after) == pytest.approx(len(found.after) / found.weeks)
    weeks = found.by_week(ZoneInfo("America/New_York"))
    assert sum(now for _, now, _ in weeks) == len(found.before) and sum(then for *_, then in weeks) == len(
        found.after
    )
    assert all(monday.weekday() == 0 for monday, _, _ in weeks)


def test_days_before_the_span_build_the_baseline_and_raise_nothing():
    since = START + timedelta(days=21.75)
    found = compare(SPIKES, Plan(), LOWER, Model(), since=since)
    assert all(one.at >= since for one in (*found.before, *found.after))
    assert found.weeks < compare(SPIKES, Plan(), LOWER, Model()).weeks


def test_what_an_open_episode_already_tells_is_not_missed():
    """With the lower limit the episode opens earlier and is still open when the higher one is crossed."""
    readings = a_diary([130] * 40 + [153] * 30 + [164] * 10)
    found = compare(readings, Plan(), LOWER, Model())
    assert [one for one in found.before if one.at > found.after[0].at]
    assert [one.concern for one in found.missed if one.concern == "high_pressure"] == []


def test_a_milder_alert_does_not_stand_for_a_critical_one():
    readings = [*a_diary([130] * 20), a_reading(10, systolic=186.0)]
    off = Plan(limits=DEFAULT.with_({"systolic-severe": None}))
    (missed,) = compare(readings, Plan(), off, Model()).missed
    assert missed.tier == "critical"


@given(limit=st.integers(120, 200), budget=st.sampled_from([0.1, 0.25, 1.0]))
def test_every_alert_is_kept_or_missed_and_every_new_one_is_new(limit, budget):
    found = compare(
        SPIKES, Plan(), Plan(limits=DEFAULT.with_({"systolic-high": limit}), budget=budget), Model()
    )
    assert set(found.missed) <= set(found.before) and set(found.added) <= set(found.after)
    assert not set(found.added) & set(found.before)
    assert re.match(rf"{len(found.before)} alerts before, {len(found.after)} after", found.seal)


def test_readings_come_back_from_their_scores_as_they_were_scored():
    zone = ZoneInfo("America/New_York")
    told = [
        a_reading(day / 2, systolic=130.0 + day % 7, flags=("movement",), utc_offset_minutes=-300)
        for day in range(80)
    ]
    scored = replay(told)
    back = readings_of(scored, zones={MARIA: zone}, since=START)
    assert [one.utc_offset_minutes for one in (back[0], back[-1])] == [-300, -300]
    assert [one.drift_score for one in replay(back)] == [one.drift_score for one in scored]
    assert raised(replay(back)) == raised(scored)


def test_days_that_only_teach_are_replayed_silently():
    scored = replay([a_reading(0, systolic=190.0), a_reading(2, systolic=190.0)])
    back = readings_of(scored, zones={MARIA: UTC}, since=START + timedelta(days=1))
    assert [one.history for one in back] == [True, False]


def test_a_practices_limit_leaves_alone_who_has_an_own():
    own, other = MARIA, uuid4()
    held = Decided([(1, own, "systolic-high", 150.0, "a", "r", START, None)], [])
    then = held.changed(practice=1, patient=None, what="systolic-high", value=140.0, at=NOW)
    assert [then.plan(1, one, NOW).limits.of("systolic-high") for one in (own, other)] == [150.0, 140.0]
    assert held.plan(1, other, NOW).limits.of("systolic-high") == 160.0  # the question changed nothing


def test_a_patients_own_change_is_theirs_alone():
    then = Decided([], []).changed(practice=1, patient=MARIA, what="budget", value=0.5, at=NOW)
    assert (then.plan(1, MARIA, NOW).budget, then.plan(1, uuid4(), NOW).budget) == (0.5, 0.25)


@pytest.mark.parametrize("value", [0.0, -1.0, 5.0, float("nan"), None])
def test_a_budget_beyond_the_scale_is_refused(value):
    with pytest.raises(LimitRefused, match="at most 4"):
        Decided([], []).changed(practice=1, patient=None, what="budget", value=value, at=NOW)


def test_a_late_reading_is_judged_by_the_baseline_that_held_then():
    first, second = START + timedelta(days=5), START + timedelta(days=20)
    held = Decided([], [(1, MARIA, first, None), (1, MARIA, second, None)])
    started = [held.plan(1, MARIA, START + timedelta(days=day)).baseline_from for day in (1, 10, 30)]
    assert started == [None, first, second]


def a_label(said, *, day=0, concern="high_pressure", rule="systolic-high", drift=None, patient=MARIA):
    return Label(
        patient_id=patient,
        concern=concern,
        rule=rule,
        at=START + timedelta(days=day),
        said=said,
        drift_score=drift,
    )


def test_what_people_said_is_found_beside_the_alert_it_was_said_of():
    (one,) = compare([*a_diary([130] * 20), a_reading(10, systolic=186.0)], Plan(), Plan(), Model()).before
    labels = [
        a_label(Said.NOISE, day=2),
        a_label(Said.USEFUL, day=9),
        a_label(Said.KNOWN, day=10, patient=uuid4()),
    ]
    assert said_of([one], labels) == Tally.of([Said.USEFUL])
    assert said_of([one], []).total == 0


def test_labels_count_by_rule_the_most_settled_first():
    labels = [a_label(Said.NOISE), a_label(Said.USEFUL), a_label(Said.USEFUL, rule="glucose-low")]
    assert [(rule, tally.sentence(), tally.useful_share) for rule, tally in by_rule(labels)] == [
        ("systolic-high", "1 useful, 1 noise", 0.5),
        ("glucose-low", "1 useful", 1.0),
    ]


def test_a_budget_is_judged_only_by_trends_that_were_raised():
    labels = [a_label(Said.NOISE, drift=4.5), a_label(Said.USEFUL, drift=12.0), a_label(Said.NOISE)]
    told = [(budget, tally.sentence()) for budget, tally in by_budget(labels, 0.25)]
    assert told == [(0.05, ""), (0.1, "1 useful"), (0.25, "1 useful, 1 noise")]
    assert by_budget([a_label(Said.NOISE)], 0.25) == []


HEADER = "patient_id,effective_at,kind,systolic,diastolic\n"


def test_the_command_says_what_would_change(tmp_path):
    file = tmp_path / "in.csv"
    file.write_text(
        HEADER + "".join(f"a,{one.effective_at.isoformat()},bp,{one.systolic},80\n" for one in SPIKES)
    )
    result = CliRunner().invoke(
        app, ["what-if", str(file), "--set", "systolic-high=150"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    for part in (
        "patients 1, patient-weeks 5.4",
        "alerts per patient-week: now",
        "week of 2026-01-",
        "would be new: 1",
        "limit of 150",
    ):
        assert part in result.output, result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "systolic-high=999"], "can be set from 120 to 200"),
        (["--set", "nonsense=1"], "Choose which limit"),
        ([], "nothing to try"),
        (["--budget", "9"], "at most 4"),
    ],
    ids=["beyond", "unknown", "nothing", "budget"],
)
def test_the_command_refuses_what_cannot_be_set(tmp_path, options, said):
    file = tmp_path / "in.csv"
    file.write_text(HEADER + "a,2026-01-01,bp,130,80\n")
    result = CliRunner().invoke(app, ["what-if", str(file), *options])
    assert result.exit_code == 2
    assert said in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())
