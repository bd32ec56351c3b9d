"""The limits as a table: each line at its edge, moved, switched off, and refused."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest.events import Beyond, Kind
from risk.events import Concern, Tier
from risk.measures import Plan
from risk.rules import DEFAULT, LINES, LimitRefused, Override, Side, limits_at
from risk.scoring import score
from tests.unit.risk.diary import a_reading

NOW = datetime(2026, 1, 1, tzinfo=UTC)

EDGES = [
    ("a systolic of 180 counts at once", {"systolic": 180.0}, Concern.HIGH_PRESSURE, Tier.CRITICAL),
    ("a systolic of 179 is high, once", {"systolic": 179.0}, Concern.HIGH_PRESSURE, Tier.WATCH),
    ("a systolic of 159 is nothing yet", {"systolic": 159.0}, Concern.HIGH_PRESSURE, None),
    ("a diastolic of 120 counts at once", {"diastolic": 120.0}, Concern.HIGH_PRESSURE, Tier.CRITICAL),
    ("a diastolic of 105 is high, once", {"diastolic": 105.0}, Concern.HIGH_PRESSURE, Tier.WATCH),
    (
        "a systolic of 79 is dangerous",
        {"systolic": 79.0, "diastolic": 55.0},
        Concern.LOW_PRESSURE,
        Tier.CRITICAL,
    ),
    ("a systolic of 89 is low", {"systolic": 89.0, "diastolic": 55.0}, Concern.LOW_PRESSURE, Tier.HIGH),
    ("a systolic of 90 is not", {"systolic": 90.0, "diastolic": 55.0}, Concern.LOW_PRESSURE, None),
    ("a pulse of 131 is an emergency", {"pulse": 131.0}, Concern.FAST_PULSE, Tier.CRITICAL),
    ("a pulse of 130 is watched", {"pulse": 130.0}, Concern.FAST_PULSE, Tier.WATCH),
    ("a pulse of 40 is an emergency", {"pulse": 40.0}, Concern.SLOW_PULSE, Tier.CRITICAL),
    ("a glucose of 53 is level 2", {"glucose": 53.0}, Concern.LOW_GLUCOSE, Tier.CRITICAL),
    ("a glucose of 54 is level 1", {"glucose": 54.0}, Concern.LOW_GLUCOSE, Tier.HIGH),
    ("a glucose of 69 is level 1", {"glucose": 69.0}, Concern.LOW_GLUCOSE, Tier.HIGH),
    ("a glucose of 70 is fine", {"glucose": 70.0}, Concern.LOW_GLUCOSE, None),
    ("a glucose of 250 alone is nothing yet", {"glucose": 250.0}, Concern.HIGH_GLUCOSE, None),
    ("a glucose of 300 is high", {"glucose": 300.0}, Concern.HIGH_GLUCOSE, Tier.HIGH),
    ("a meter's LO is an emergency without a number", {"beyond": "LO"}, Concern.LOW_GLUCOSE, Tier.CRITICAL),
    ("a meter's HI is an emergency without a number", {"beyond": "HI"}, Concern.HIGH_GLUCOSE, Tier.CRITICAL),
]


@pytest.mark.parametrize(
    ("told", "concern", "tier"), [case[1:] for case in EDGES], ids=[case[0] for case in EDGES]
)
def test_each_line_at_its_edge(told, concern, tier):
    if "beyond" in told:
        told = {"beyond": Beyond(told["beyond"])}
    _, scored = score(None, a_reading(**told))
    found = {finding.concern: finding.tier for finding in scored.findings}
    assert found.get(concern) is tier
    assert concern in scored.assessed


def test_a_value_without_a_number_is_shown_without_a_number():
    _, scored = score(None, a_reading(beyond=Beyond.HI))
    assert scored.values == {} and scored.beyond == "HI"


def test_every_line_names_its_source_and_can_be_set_on_both_sides_of_its_default():
    for line in LINES:
        assert line.source, line.rule
        lowest, highest = line.settings
        assert lowest < line.default < highest, line.rule


def test_a_limit_moved_for_a_patient_is_called_theirs():
    plan = Plan(limits=DEFAULT.with_({"systolic-high": 150}))
    _, scored = score(None, a_reading(systolic=152.0), plan)
    assert "your limit of 150" in scored.findings[0].reason


def test_a_line_switched_off_is_silent():
    plan = Plan(limits=DEFAULT.with_({"glucose-very-high": None}))
    _, scored = score(None, a_reading(glucose=310.0), plan)
    assert scored.findings == ()


def test_a_limit_outside_reason_is_refused_with_a_sentence():
    with pytest.raises(LimitRefused, match="can be set from 120 to 200"):
        DEFAULT.with_({"systolic-high": 20})
    with pytest.raises(LimitRefused, match="no limit called"):
        DEFAULT.with_({"systolic-hihg": 150})


def test_the_override_that_holds_is_the_one_that_began_last():
    def moved(value, days, until=None):
        return Override(
            rule="systolic-high",
            value=value,
            author="dr",
            reason="target after stroke",
            valid_from=NOW + timedelta(days=days),
            valid_to=None if until is None else NOW + timedelta(days=until),
        )

    both = [moved(150, 5), moved(140, 0, until=20)]
    assert limits_at(both, NOW - timedelta(days=1)).of("systolic-high") == 160
    assert limits_at(both, NOW).of("systolic-high") == 140
    assert limits_at(both, NOW + timedelta(days=6)).of("systolic-high") == 150


@pytest.mark.parametrize(
    "line",
    [one for one in LINES if one.quantity in ("systolic", "glucose", "pulse")],
    ids=lambda one: one.rule,
)
def test_a_worse_value_is_never_a_milder_finding(line):

    steps = range(20, 400, 3) if line.quantity == "glucose" else range(30, 240, 3)
    steps = steps if line.side is Side.ABOVE else reversed(steps)
    ranks = []
    for value in steps:
        told = {line.quantity: float(value)}
        if line.quantity == "systolic":
            told["diastolic"] = 60.0
        reading = a_reading(**told)
        assert (reading.kind is Kind.GLUCOSE) == (line.quantity == "glucose")
        _, scored = score(None, reading)
        ranks.append(max((f.tier.rank for f in scored.findings if f.concern is line.concern), default=0))
    assert ranks == sorted(ranks)
