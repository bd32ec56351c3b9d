"""Late truth, from the reading to the queue: told in its own time, what follows judged anew, nothing stale pages anybody."""

import random
from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.events import Severity
from alerts.policy import DEFAULT
from alerts.triage import fold
from risk.events import Tier
from risk.measures import NO_PLAN as PLAN
from risk.scoring import Model, score, score_all
from tests.unit.risk.diary import MARIA, a_diary, a_reading


def arriving(readings, *, late):
    """The same readings, each known only `late` after it was taken."""
    return [msgspec.structs.replace(one, received_at=one.effective_at + late) for one in readings]


def heard(readings):
    """The memory after them, their scores, and the episodes they leave, in order of arrival."""
    memories, known, told = {}, {}, []
    for reading in readings:
        (scored,) = score_all(memories, [reading], [PLAN], Model())
        told.append(scored)
        for outcome in fold(scored, known, DEFAULT, now=reading.received_at):
            if outcome.episode is not None:
                known[outcome.concern] = outcome.episode
    return memories, told, known


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_after_a_late_day_the_next_reading_says_what_it_would_have_said_anyway(
    chance: random.Random, missing
):
    readings = a_diary([132] * 40 + [150] * 12)
    held_back = sorted(chance.sample(range(20, 50), missing))
    late = [readings[n] for n in held_back]
    in_time = [one for n, one in enumerate(readings) if n not in held_back]
    last = a_reading(27, systolic=152.0)
    as_it_was, _, _ = heard(readings)
    afterwards, _, _ = heard([*in_time, *late])
    assert as_it_was == afterwards
    (key,) = as_it_was
    assert score(as_it_was[key], last)[1].drift_score == score(afterwards[key], last)[1].drift_score


def test_a_week_that_comes_at_once_recounts_the_trend_in_its_own_time_and_pages_nobody():
    """A hub was offline while a patient rose and fell back: the story is whole, and old news."""
    calm = a_diary([132] * 60)
    rise = a_diary([162] * 14, start=30.0)
    back = a_diary([132] * 6, start=37.0)
    _, told, _ = heard([*calm, *rise, *back])
    assert any(
        "drift" in finding.rule for one in told for finding in one.findings
    )  # in time it would have been said
    _, told, episodes = heard([*calm, *back, *arriving(rise, late=timedelta(days=9))])
    stale = told[-len(rise) :]
    assert not any("drift" in finding.rule for one in stale for finding in one.findings)
    assert not any(one.assessed and not one.findings for one in stale)  # and an old reading calms nothing
    assert {episode.severity for episode in episodes.values()} <= {Severity.WATCH}


def test_a_stale_emergency_is_a_note_and_a_late_one_of_the_same_hours_still_pages():
    calm = a_diary([132] * 40)
    for late, tier in ((timedelta(days=2), Severity.WATCH), (timedelta(hours=1), Severity.CRITICAL)):
        emergency = arriving([a_reading(20.2, systolic=196.0, patient=MARIA)], late=late)
        _, told, episodes = heard([*calm, *emergency])
        assert told[-1].findings[0].tier is Tier.CRITICAL
        assert [episode.severity for episode in episodes.values()] == [tier]
