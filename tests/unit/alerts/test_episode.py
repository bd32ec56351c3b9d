"""The table of moves, and what holds after any sequence of readings and people."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.dispositions import DISPOSITIONS
from alerts.episode import (
    MOVES,
    NEEDS_SOMEBODY,
    QUIET,
    Actor,
    Cause,
    NotPossible,
    State,
    Transition,
    begin,
    step,
)
from alerts.events import EpisodeMoved, Move, episode_id, move_id
from risk.events import Concern, Tier
from tests.unit.alerts.ward import ANA, DAY, Ward, a_finding, a_score, as_bytes, when

LAMP = None


def an_episode(state: State = State.WAITING):
    ward = Ward()
    ward.cuff("09:00", Tier.HIGH)
    return msgspec.structs.replace(ward.one, state=state)


def cause(by: UUID | None = ANA, **changes) -> Cause:
    return Cause(
        **({"at": when("09:30"), "why": "test", "reason": "Because.", "event": uuid4(), "by": by} | changes)
    )


def test_every_state_can_be_reached_and_left_and_every_move_has_a_place():
    assert {after for after, _ in MOVES.values()} == set(State)
    assert {before for before, _ in MOVES} == {None, *State}
    assert {move for _, move in MOVES} == set(Move)


def test_nothing_rests_for_ever_every_quiet_state_has_a_way_back_that_needs_no_person():
    for state in QUIET:
        back = {
            m
            for (s, m), (after, actor) in MOVES.items()
            if s is state and after is State.WAITING and actor is not Actor.PERSON
        }
        assert back, f"{state} has no way back"


def test_a_person_can_take_every_episode_that_needs_somebody():
    for state in NEEDS_SOMEBODY:
        assert MOVES[state, Move.CLAIMED] == (State.CLAIMED, Actor.PERSON)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("by", [LAMP, ANA], ids=["by Lamplight", "by a person"])
def test_a_move_is_made_exactly_as_the_table_says(state, move, by):
    before = an_episode(state)
    made = step(before, move, cause(by))
    row = MOVES.get((state, move))
    allowed = row is not None and (row[1] is Actor.EITHER or (row[1] is Actor.PERSON) == (by is not None))
    if not allowed:
        assert isinstance(made, NotPossible)
        assert state.value in made.sentence
        return
    assert isinstance(made, Transition)
    assert (made.number, made.before, made.episode.state) == (before.number + 1, state, row[0])
    assert made.episode.number == made.number


def test_an_episode_can_only_begin_waiting_and_with_number_one():
    with pytest.raises(ValueError, match="begins claimed, number 1; waiting, 1 wanted"):
        begin(an_episode(State.CLAIMED), cause(LAMP))


def test_the_next_room_hears_everything_but_the_note_and_the_names():
    made = step(
        an_episode(),
        Move.DISPOSITIONED,
        cause(by_name="Ana Lima", note="Daughter called", disposition="known"),
    )
    told = made.event()
    assert isinstance(told, EpisodeMoved)
    assert (told.number, told.move, told.by, told.disposition) == (2, Move.DISPOSITIONED, ANA, "known")
    (line,) = as_bytes([told])
    assert b"Daughter" not in line
    assert b"Ana Lima" not in line


def test_a_task_once_asked_for_stays_asked_for():
    made = step(an_episode(), Move.TASK_ASKED, cause(needs_task=True))
    later = step(made.episode, Move.CLAIMED, cause())
    assert made.event().needs_task
    assert later.episode.needs_task
    assert not later.event().needs_task  # the next room is asked once


def test_ids_are_computed_from_the_fact():
    assert episode_id(UUID(int=1), "x", UUID(int=2)) == episode_id(UUID(int=1), "x", UUID(int=2))
    assert episode_id(UUID(int=1), "x", UUID(int=2)) != episode_id(UUID(int=1), "y", UUID(int=2))
    assert len({move_id(UUID(int=1), n) for n in range(1, 100)}) == 99


# Whatever happens ------------------------------------------------------------------------------------------

CONCERNS = (Concern.HIGH_PRESSURE, Concern.FAST_PULSE, Concern.SCORE_INCOMPLETE)
readings = st.tuples(
    st.just("reading"),
    st.integers(-40, 400),  # minutes since the last one was taken: sometimes out of order
    st.sampled_from([0, 0, 0, 30, 5 * 60, 30 * 60]),  # minutes late
    st.lists(st.tuples(st.sampled_from(CONCERNS), st.sampled_from(list(Tier))), max_size=2),
    st.sampled_from(["high", "high", "low", "suspect"]),
    st.booleans() | st.just(False),
)
people = st.tuples(
    st.just("person"), st.integers(0, 10), st.sampled_from(list(Move)), st.sampled_from(sorted(DISPOSITIONS))
)


def play(days) -> Ward:
    """Readings and people in the order drawn; a person acts on one of the episodes with any move at all."""
    ward, taken, now = Ward(), DAY + timedelta(hours=9), DAY + timedelta(hours=9)
    for n, (kind, *what) in enumerate(days):
        if kind == "reading":
            minutes, late, found, confidence, history = what
            taken += timedelta(minutes=minutes)
            now = max(now, taken) + timedelta(minutes=late)
            scored = a_score(
                "09:00",
                *(a_finding(c, t) for c, t in found),
                reading=UUID(int=n + 1),
                time_confidence=confidence,
                history=history,
            )
            ward.score(
                msgspec.structs.replace(scored, effective_at=taken, received_at=max(now, taken)), now=now
            )
        else:
            which, move, code = what
            if ward.episodes:
                act(ward, which, move, code, now)
    return ward


def act(ward: Ward, which: int, move: Move, code: str, now: datetime) -> None:
    episode = sorted(ward.episodes, key=lambda e: e.episode_id)[which % len(ward.episodes)]
    changes = {"closed_at": now} if move is Move.CLOSED else {}
    if move is Move.DISPOSITIONED:
        changes = {"disposition": code, "handled_at": now, "handled_severity": episode.severity}
    elif move is Move.SNOOZED:
        changes = {"until": now + timedelta(hours=2)}
    made = step(episode, move, cause(at=now), **changes)
    if isinstance(made, Transition):
        ward._keep(made.episode, made)


@settings(max_examples=150, deadline=None)
@given(st.lists(readings | people, max_size=40))
def test_whatever_happens_the_story_is_legal(days):
    ward = play(days)
    stories: dict[UUID, list[Transition]] = {}
    for transition in ward.transitions:
        stories.setdefault(transition.episode.episode_id, []).append(transition)
    for story in stories.values():
        assert [t.number for t in story] == list(range(1, len(story) + 1))  # contiguous from 1
        state = None
        for t in story:
            assert t.before is state
            after, actor = MOVES[t.before, t.move]
            assert t.episode.state is after
            assert actor is Actor.EITHER or (actor is Actor.PERSON) == (t.cause.by is not None)
            state = after
        assert ward_episode(ward, story).state is state
    still_open = [(e.patient_id, e.concern) for e in ward.episodes if e.state is not State.CLOSED]
    assert len(still_open) == len(set(still_open))  # at most one open per concern


@settings(max_examples=60, deadline=None)
@given(st.lists(readings | people, max_size=25))
def test_a_replay_tells_the_same_story_with_the_same_ids(days):
    first, second = play(days), play(days)
    assert [e.episode_id for e in first.episodes] == [e.episode_id for e in second.episodes]
    assert [t.event().event_id for t in first.transitions] == [t.event().event_id for t in second.transitions]


@settings(max_examples=100, deadline=None)
@given(st.lists(readings, max_size=25))
def test_without_people_nothing_that_was_high_ever_goes_quiet(days):
    for episode in play(days).episodes:
        if episode.peak in ("high", "critical"):
            assert episode.state is State.WAITING


def ward_episode(ward: Ward, story: list[Transition]):
    (episode,) = (e for e in ward.episodes if e.episode_id == story[0].episode.episode_id)
    return episode
