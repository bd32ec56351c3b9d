"""What is said to be missing: only where it would matter, and in words that say what to do."""

import msgspec
import pytest

from ingest.events import Beyond
from risk.events import Scored, Tier
from risk.replay import replay
from risk.scoring import score
from tests.unit.risk.diary import a_diary, a_reading


def lacking(scored, rule):
    finding = next(finding for finding in scored.findings if finding.rule == rule)
    return [one.said for one in finding.evidence if one.said]


def mornings(levels, **told):
    return [a_reading(day, systolic=float(level), **told) for day, level in enumerate(levels)]


def test_a_first_raised_sitting_lacks_an_own_usual_and_the_sittings_that_could_confirm_it():
    told = replay(a_diary([128, 128, 166], wobble=(0,)))
    assert lacking(told[-1], "systolic-high") == ["only 2 of the 7 days needed"]
    told = replay(a_diary([128, 166], wobble=(0,)))
    assert lacking(told[-1], "systolic-high") == [
        "only 1 of the 7 days needed",
        "only 2 of the 3 sittings that could confirm it",
    ]


def test_an_average_of_mornings_alone_lacks_the_evenings():
    told = replay(mornings([140] * 20))
    assert lacking(told[-1], "systolic-average") == ["no evening readings in 19 days"]


def test_evenings_that_stopped_are_counted_from_the_last_one():
    told = replay([*a_diary([140] * 40), *[a_reading(20 + day, systolic=140.0) for day in range(10)]])
    assert lacking(told[-1], "systolic-average") == ["no evening readings in 9 days"]


def test_a_trend_of_few_readings_lacks_the_week():
    readings = [*a_diary([130] * 80), *[a_reading(40 + 3 * day, systolic=156.0) for day in range(8)]]
    rises = [one for one in replay(readings) if any(f.rule == "drift-systolic-up" for f in one.findings)]
    assert lacking(rises[-1], "drift-systolic-up") == [
        "measured only 3 times in the last 7 days, 6 times needed",
        "no evening readings in 21 days",
    ]


@pytest.mark.parametrize(
    ("context", "said"),
    [(None, ["no meal context with this reading"]), ("fasting", []), ("after_meal", [])],
    ids=["nobody told", "fasting", "after a meal"],
)
def test_a_high_glucose_lacks_its_meal_if_nobody_told(context, said):
    told = replay([a_reading(0, glucose=255.0), a_reading(0.3, glucose=260.0, context=context)])
    assert lacking(told[-1], "glucose-high") == said


@pytest.mark.parametrize(
    "told",
    [
        {"systolic": 190.0},
        {"diastolic": 125.0},
        {"glucose": 50.0},
        {"beyond": Beyond.LO},
        {"beyond": Beyond.HI},
    ],
    ids=lambda told: " ".join(f"{name} {value}" for name, value in told.items()),
)
def test_an_emergency_waits_for_nothing(told):
    _, scored = score(None, a_reading(**told))
    assert scored.tier is Tier.CRITICAL
    assert not any(one.said for finding in scored.findings for one in finding.evidence)


def test_a_well_measured_patient_lacks_nothing():
    told = replay(a_diary([134] * 80 + [156] * 28))
    findings = [finding for one in told[40:] for finding in one.findings]
    assert findings
    assert not any(one.said for finding in findings for one in finding.evidence)


def test_what_is_missing_has_its_number_and_what_was_needed():
    (told,) = replay([a_reading(systolic=165.0)])
    lacks = [one for one in told.findings[0].evidence if one.said]
    assert [(one.value, one.unit, one.comparison, one.against) for one in lacks] == [
        (1, "d", "needed", 7),
        (1, "1", "needed", 3),
    ]
    assert msgspec.json.decode(msgspec.json.encode(told), type=Scored) == told
