"""A reading is taken back: nobody is called to what rested on it alone, and what is left says what it is."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from alerts.concerns import Queue
from alerts.episode import Episode, State, Transition
from alerts.events import Move, Severity
from alerts.retraction import Counted, withdraw
from risk.events import Evidence, Retracted, Tier

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WRONG, OTHER, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)
TAKEN = Retracted(
    event_id=UUID(int=50), caused_by=UUID(int=51), practice_id=1, patient_id=UUID(int=9), reading_id=WRONG,
    reason="her husband's", by_name="Ana", at=NOW,
)  # fmt: skip


def an_episode(state=State.WAITING, severity=Severity.CRITICAL, readings=(WRONG,), told=WRONG):
    held = state is State.CLAIMED
    return Episode(
        episode_id=UUID(int=7), practice_id=1, patient_id=UUID(int=9), concern="high_pressure", queue=Queue.CLINICAL,
        state=state, severity=severity, peak=severity, number=4, opened_at=NOW, since=NOW, due_at=NOW, first_reading=WRONG,
        reason="192/124 mm[Hg]", rule="systolic-crisis", told_reading=told, told_effective_at=NOW, told_received_at=NOW,
        newest_at=NOW, readings=readings, count=len(readings), owner=UUID(int=8) if held else None,
        owner_name="Ben" if held else None, until=NOW + timedelta(hours=1) if state not in (State.WAITING, State.ESCALATED) else None,
        closed_at=NOW if state is State.CLOSED else None,
    )  # fmt: skip


def counted(reading, tier, minutes=0):
    said = Evidence(quantity="systolic", value=152, unit="mm[Hg]", window="this reading", comparison="limit")
    at = NOW - timedelta(minutes=minutes)
    return Counted(
        reading_id=reading, effective_at=at, received_at=at, tier=tier, reason=f"{tier} of {reading.int}", rule="r", evidence=(said,)
    )  # fmt: skip


@pytest.mark.parametrize("state", [State.WAITING, State.HANDLED, State.SNOOZED])
def test_what_rested_on_it_alone_and_nobody_has_in_hand_closes(state):
    made = withdraw(an_episode(state), TAKEN, [], now=NOW)
    assert isinstance(made, Transition)
    assert (made.move, made.episode.state, made.episode.closed_at) == (Move.CLOSED, State.CLOSED, NOW)
    assert made.cause.reason == "A reading behind this was withdrawn by Ana."
    assert "husband" not in made.event().reason  # a person's words are health data


@pytest.mark.parametrize("state", [State.CLAIMED, State.ESCALATED])
def test_what_somebody_has_in_hand_stays_with_them_as_a_watch_that_says_why(state):
    made = withdraw(an_episode(state), TAKEN, [], now=NOW)
    assert (made.move, made.episode.state, made.episode.severity) == (Move.EASED, state, Severity.WATCH)
    assert "withdrawn" in made.episode.reason


def test_what_is_left_decides_how_severe_it_is_and_what_it_says():
    left = [counted(OTHER, Tier.WATCH), counted(THIRD, Tier.HIGH, 30)]
    made = withdraw(an_episode(readings=(THIRD, OTHER, WRONG)), TAKEN, left, now=NOW)
    assert (made.move, made.episode.severity, made.episode.state) == (
        Move.EASED,
        Severity.HIGH,
        State.WAITING,
    )
    assert (made.episode.told_reading, made.episode.reason) == (THIRD, "high of 3")
    assert (made.episode.readings, made.episode.count) == ((THIRD, OTHER), 2)


def test_what_is_left_never_makes_it_worse_than_it_was():
    known = an_episode(severity=Severity.WATCH, readings=(OTHER, WRONG))
    made = withdraw(known, TAKEN, [counted(OTHER, Tier.CRITICAL)], now=NOW)
    assert made.episode.severity is Severity.WATCH


def test_one_of_many_only_shortens_the_evidence():
    known = an_episode(readings=(WRONG, OTHER), told=OTHER)
    became = withdraw(known, TAKEN, [counted(OTHER, Tier.CRITICAL)], now=NOW)
    assert became == msgspec.structs.replace(known, readings=(OTHER,), count=1)


def test_an_episode_that_never_rested_on_it_or_is_over_is_left_alone():
    assert withdraw(an_episode(readings=(OTHER,), told=OTHER), TAKEN, [], now=NOW) is None
    assert withdraw(an_episode(State.CLOSED), TAKEN, [], now=NOW) is None
