"""What a silence means: for whom it is work, and that it never becomes nobody's."""

from datetime import timedelta
from uuid import UUID

import pytest

from alerts.absence import LOOK_AGAIN, Expectation, refusal, weigh
from alerts.concerns import Queue
from alerts.episode import State
from alerts.events import Move
from alerts.policy import DEFAULT
from alerts.triage import Why, fold
from tests.unit.alerts.ward import Ward, a_score, when

HUB = "The hub is offline"


def expected(**changes) -> Expectation:
    told = {
        "practice_id": 1,
        "patient_id": UUID(int=1),
        "kind": "bp",
        "every_hours": 72,
        "last_at": when("09:00"),
        "due_at": when("3d 09:00"),
    }
    return Expectation(**(told | changes))


def hear(ward: Ward, at: str, cause=None, **changes):
    """A due expectation is weighed; what moved is kept."""
    silence = weigh(expected(**changes), ward._known(), cause, DEFAULT, now=when(at))
    if silence.transition:
        ward._keep(silence.transition.episode, silence.transition)
    return silence


def test_a_silence_nobody_can_explain_is_a_question_to_the_patient():
    ward = Ward()
    silence = hear(ward, "3d 09:01")
    assert (silence.why, ward.one.queue, ward.one.concern) == (Why.NO_DATA, Queue.ADHERENCE, "no_bp_readings")
    assert ward.one.reason == "No blood-pressure reading for 3 days; at least one every 3 days is expected."
    assert silence.look_again == when("6d 09:01")


def test_while_the_hub_is_offline_nobody_asks_the_patient():
    ward = Ward()
    silence = hear(ward, "3d 09:01", HUB)
    assert (silence.why, ward.one.queue, ward.one.concern) == (
        Why.UNREACHABLE,
        Queue.TECHNICAL,
        "unreachable",
    )
    assert ward.one.reason.startswith("The hub is offline since before the next reading was due")
    assert silence.look_again == when("3d 09:01") + LOOK_AGAIN


def test_when_the_hub_is_back_and_still_nothing_comes_the_patient_is_asked():
    ward = Ward()
    hear(ward, "3d 09:01", HUB)
    assert hear(ward, "3d 10:01", HUB).why is Why.KNOWN
    hear(ward, "3d 11:01")
    assert {e.concern for e in ward.episodes} == {"unreachable", "no_bp_readings"}


def test_a_pause_is_kept_until_it_ends():
    ward = Ward()
    silence = hear(ward, "3d 09:01", paused_until=when("10d 05:00"))
    assert (silence.why, silence.look_again, ward.episodes) == (Why.PAUSED, when("10d 05:00"), [])
    assert hear(ward, "10d 05:00", paused_until=when("10d 05:00")).why is Why.NO_DATA


def test_the_same_silence_told_twice_is_one_episode():
    one, two = Ward(), Ward()
    hear(one, "3d 09:01")
    hear(two, "3d 10:30")
    assert one.one.episode_id == two.one.episode_id
    assert hear(one, "6d 09:01").why is Why.KNOWN
    assert [t.move for t in one.transitions] == [Move.OPENED]


def test_what_was_handled_and_stays_silent_comes_back_after_its_rest():
    ward = Ward()
    hear(ward, "3d 09:01")
    ward.handled("3d 10:00")
    resting = hear(ward, "5d 09:01")
    assert (resting.why, resting.look_again) == (Why.RESTING, when("6d 10:00"))
    back = hear(ward, "6d 10:00")
    assert (back.why, ward.one.state, ward.one.back) == (
        Why.STILL_NO_DATA,
        State.WAITING,
        "Still no reading after it was handled.",
    )


@pytest.mark.parametrize("state", [State.WAITING, State.HANDLED])
def test_a_reading_of_its_kind_answers_it_at_once(state):
    ward = Ward()
    hear(ward, "3d 09:01")
    hear(ward, "3d 09:01", HUB)
    if state is State.HANDLED:
        for episode in list(ward.episodes):
            ward.episodes = [episode]
            ward.handled("3d 09:30")
            episode = ward.one
    told = fold(a_score("3d 10:00", kind="glucose"), ward._known(), DEFAULT, now=when("3d 10:00"))
    assert {o.concern for o in told if o.transition} <= {
        "unreachable"
    }  # glucose does not answer for the cuff
    ward.score(a_score("3d 10:00"))
    assert {e.state for e in ward.episodes} == {State.CLOSED}


def test_a_stale_silence_is_answered_by_a_reading_whatever_its_age():
    """The reading arrived: silence is over, even if it was taken long ago."""
    ward = Ward()
    hear(ward, "3d 09:01")
    ward.score(a_score("1d 09:00", received="3d 09:30"))
    assert ward.one.state is State.CLOSED


ARRANGED = [
    ("another rhythm needs no reason", (24, None, ""), None),
    ("a rhythm that is not offered", (7, None, ""), "Choose how often."),
    (
        "a pause needs a reason",
        (72, when("5d 05:00"), " "),
        "A pause needs a reason: holiday, hospital, device in repair.",
    ),
    (
        "a pause has an end in sight",
        (72, when("61d 05:00"), "holiday"),
        "A pause ends after today and within 60 days.",
    ),
    ("a pause lies ahead", (72, when("00:00"), "holiday"), "A pause ends after today and within 60 days."),
    ("a holiday", (72, when("14d 05:00"), "holiday"), None),
]


@pytest.mark.parametrize(("sentence", "said", "refused"), ARRANGED, ids=[a[0] for a in ARRANGED])
def test_arrangements(sentence, said, refused):
    assert refusal(*said, now=when("09:00")) == refused


def test_a_silence_is_never_weighed_into_the_past():
    for changes in ({}, {"paused_until": when("9d 09:00")}, {"every_hours": 12}):
        for cause in (None, HUB):
            assert hear(Ward(), "3d 09:01", cause, **changes).look_again > when("3d 09:01") + timedelta(
                minutes=30
            )
