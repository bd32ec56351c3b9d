"""Who stands where, and why: every bucket, the order in it, and what it takes to leave it."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.events import Beyond
from risk.events import Tier
from risk.population import Bucket, Told, ranked, standing, told
from risk.replay import replay
from risk.store import packaged_model
from tests.unit.risk.diary import MARIA, START, a_diary, a_reading

MODEL = packaged_model()


def stands(readings, *, later=0.1):
    now = readings[-1].effective_at + timedelta(days=later)
    return standing(MARIA, told(replay(readings, model=MODEL)[-48:]), now=now)


def rise(step=16):
    return a_diary([132] * 80 + [132 + step] * 24)


@pytest.mark.parametrize(
    ("readings", "bucket", "said"),
    [
        (rise(), Bucket.RISING, "Systolic has risen by"),
        (rise(-26), Bucket.FALLING, "Systolic has fallen by"),
        ([*a_diary([128] * 60), a_reading(30, systolic=84.0)], Bucket.LOWS, "below the limit of 90"),
        ([*a_diary([128] * 60), a_reading(30, systolic=184.0)], Bucket.OUTSIDE, "emergency limit of 180"),
        (a_diary([128] * 60, wobble=(0, 22, -20, 17, -19, 21, -3, -16)), Bucket.VARIABLE, "swings by"),
        (a_diary([128] * 60), Bucket.STABLE, "Inside the own normal: systolic usually 1"),
        ([*a_diary([128] * 60), a_reading(29.6, systolic=128.0, flags=("echo",))], Bucket.STABLE, "Inside the own normal"),
        (a_diary([128] * 5), Bucket.STABLE, "still learning, 3 days so far"),
        ([a_reading(day / 3, glucose=v) for day, v in enumerate([140.0, 160.0, 120.0] * 20 + [66.0, 62.0])],
         Bucket.LOWS, "2 in seven days."),
    ],
    ids=["a rise", "a fall", "a low", "an emergency", "a wide swing", "nothing", "an echo last", "hardly known", "two low sugars"],
)  # fmt: skip
def test_everybody_stands_in_the_bucket_of_what_changed(readings, bucket, said):
    found = stands(readings)
    assert found.bucket is bucket, found
    assert said in found.reason


def test_a_week_likely_over_the_limit_is_kept_for_the_row_and_an_unlikely_one_is_not():
    high, fine = stands(a_diary([140] * 60)), stands(a_diary([118] * 60, diastolic=70.0))
    assert high.bucket is fine.bucket is Bucket.STABLE
    assert high.latest.high_week > 0.9
    assert fine.latest.high_week is None


def test_silence_comes_before_everything_and_says_what_was_true_before():
    found = stands(rise(), later=9)
    assert found.bucket is Bucket.SILENT
    assert found.reason.startswith("Nothing measured for 9 days. Before that: Systolic has risen")
    assert Bucket.RISING in found.also


def test_what_is_kept_of_somebody_stands_them_where_their_scores_did():
    for readings in (rise(), a_diary([128] * 5), [a_reading(0, beyond=Beyond.LO)]):
        of = told(replay(readings, model=MODEL)[-48:])
        now = readings[-1].effective_at + timedelta(hours=1)
        kept = msgspec.json.decode(msgspec.json.encode(of), type=Told)
        assert standing(MARIA, kept, now=now) == standing(MARIA, of, now=now)


def test_who_was_silent_for_three_months_is_as_good_as_never_measured():
    found = stands(rise(), later=91)
    assert (found.bucket, found.reason, found.latest) == (
        Bucket.SILENT,
        "Nothing measured in three months.",
        None,
    )


def test_somebody_who_never_measured_is_among_the_silent():
    found = standing(MARIA, told([]), now=START)
    assert (found.bucket, found.latest) == (Bucket.SILENT, None)


def test_the_worst_tier_wins_and_the_rest_is_named():
    found = stands([*rise(), a_reading(52, systolic=184.0)])
    assert (found.bucket, found.tier) == (Bucket.OUTSIDE, Tier.CRITICAL)
    assert Bucket.RISING in found.also


def test_a_trend_that_calmed_leaves_the_bucket():
    scores = replay(rise(), model=MODEL)
    loud = next(one for one in reversed(scores) if any("drift" in f.rule for f in one.findings))
    trend = next(f for f in loud.findings if "drift" in f.rule)
    calm = msgspec.structs.replace(
        loud, effective_at=loud.effective_at + timedelta(hours=12), findings=(), assessed=(trend.concern,), bands=()
    )  # fmt: skip
    found = standing(MARIA, told([loud, calm]), now=calm.effective_at)
    assert found.bucket is Bucket.STABLE


def test_in_a_bucket_the_worst_tier_and_then_the_clearest_stand_first():
    strong, weak = stands(rise(30)), stands(rise(14))
    ((_, rows), *rest) = ranked([weak, strong])
    assert [row.weight for row in rows] == sorted((strong.weight, weak.weight), reverse=True)
    assert [bucket for bucket, _ in rest] == list(Bucket)[1:]  # the empty ones are named too


@given(st.lists(st.floats(60, 240), min_size=1, max_size=40), st.floats(0, 30))
def test_whatever_was_measured_everybody_stands_somewhere_with_a_reason(values, later):
    readings = [a_reading(day / 2, systolic=round(value)) for day, value in enumerate(values)]
    found = stands(readings, later=later)
    assert found.bucket in Bucket and found.reason.endswith((".", ")."))
    assert (found.bucket is Bucket.SILENT) == (later >= 7)
