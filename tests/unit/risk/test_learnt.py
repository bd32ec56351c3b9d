"""What was learnt offline: used only if it is what it says, and the same in training as beside a patient."""

import json
from importlib.resources import files

import numpy as np
import pytest

from risk import drift, forecast
from risk.drift import DriftRefused, Scale
from risk.features import NAMES
from risk.forecast import ForecastRefused
from risk.memory import PRESSURE
from risk.scoring import score
from risk.training.drift import spoken
from risk.training.streams import Stream, alerts, changed, walk
from tests.unit.risk.diary import START, a_reading


def stored(name):
    return json.loads(files("risk").joinpath(f"models/{name}.json").read_text(encoding="utf-8"))


def test_a_reading_of_the_bank_that_was_altered_is_refused():
    content = stored("drift")
    content["offset"][0] += 0.1
    with pytest.raises(DriftRefused, match="does not match its checksum"):
        drift.understood(content)


def test_a_reading_learnt_on_another_bank_is_refused():
    content = stored("drift")
    content["bank"]["ages"] = content["bank"]["ages"][:-1]
    content["checksum"] = drift.checksum(content)
    with pytest.raises(DriftRefused, match="another bank"):
        drift.understood(content)


def test_a_forecast_of_other_features_another_layout_or_altered_is_refused():
    content = stored("glucose")
    for change, said in (
        ({"features": [*NAMES[1:], NAMES[0]]}, "was trained on"),
        ({"layout": 99}, "has layout 99"),
    ):
        other = content | change
        other["checksum"] = drift.checksum(other)
        with pytest.raises(ForecastRefused, match=said):
            forecast.understood(other)
    with pytest.raises(ForecastRefused, match="checksum"):
        forecast.understood(content | {"offset": [0.0, 0.0]})


def test_what_ships_has_its_report_card_beside_it():
    assert stored("drift")["report"]["across_halves"]["0.25"]["detection"]
    assert stored("glucose")["report"]["24h"]["auroc"] >= 0.72


def test_training_sees_what_the_live_scorer_sees():
    draw = np.random.default_rng(3)
    day = np.arange(120) / 2
    stream = Stream(PRESSURE, "p", day, np.round(134 + 8 * draw.standard_normal(120) + (day > 50) * 12))
    reading = drift.learnt()
    up, down = spoken((reading.hidden, reading.offset, reading.out), walk([stream])[0], reading.alike["bp"])
    scales, memory = reading.scales["systolic"], None
    for turn, (at, value) in enumerate(zip(day, stream.value, strict=True)):
        shifted = at - START.hour / 24 - START.minute / 1440  # training counts days from midnight
        memory, scored = score(memory, a_reading(shifted, systolic=float(value), diastolic=None, pulse=None))
        if turn >= drift.SLOTS_TO_SPEAK:
            want = max(
                scales["rise"].months(up[turn : turn + 1])[0] * drift.SHARES["systolic"][0],
                scales["fall"].months(down[turn : turn + 1])[0] * drift.SHARES["systolic"][1],
            )
            assert scored.drift_score == pytest.approx(want, rel=1e-3, abs=1e-3)


def test_a_scale_rises_strictly_and_goes_on_beyond_its_ends():
    scale = Scale((0.0, 1.0, 2.0), (0.0, 1.0, 3.0))
    told = scale.months(np.array([-5.0, 0.0, 0.5, 2.0, 3.0]))
    assert list(told) == sorted(told)
    assert told[-1] == pytest.approx(np.exp(5.0))
    for sides in drift.learnt().scales.values():
        for one in sides.values():
            assert list(one.evidence) == sorted(set(one.evidence))
            assert list(one.log_months) == sorted(set(one.log_months))


@pytest.mark.parametrize("budget", [0, -1, 5])
def test_a_budget_outside_reason_is_refused(budget):
    with pytest.raises(ValueError, match="alert budget"):
        drift.threshold(budget)


def test_alerts_keep_a_weeks_distance_and_the_warm_up():
    day = np.arange(0.0, 30.0)
    assert alerts(day, np.ones(30), 0.5) == [14.0, 21.0, 28.0]


def test_a_change_is_a_ramp_then_a_plateau():
    stream = Stream(PRESSURE, "p", np.arange(0.0, 60.0), np.full(60, 130.0))
    told = changed(stream, "ramp", 10, 10, 20.0)
    assert [told.value[d] for d in (20, 25, 30, 59)] == [130, 135, 140, 140]
