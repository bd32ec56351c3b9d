"""One task per episode, however often it is told: a table of moves, and any order of repeats."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.events import EpisodeMoved, Move, Severity
from ccm_bridge import tasks
from ccm_bridge.tasks import DUE, MOVES, RANK, State, Task, Why, checklist, decide, task_id

TEN = datetime(2026, 11, 3, 10, tzinfo=UTC)
EPISODE = uuid4()


def told(move, number=2, *, severity=Severity.HIGH, needs=True, minutes=0, reason="172 mm[Hg]"):
    return EpisodeMoved(
        event_id=uuid5(EPISODE, str(number)),
        caused_by=uuid4(),
        practice_id=1,
        patient_id=uuid4(),
        episode_id=EPISODE,
        number=number,
        concern="high_pressure",
        move=move,
        severity=severity,
        reason=reason,
        at=TEN + timedelta(minutes=minutes),
        needs_task=needs,
    )


def standing(**changes):
    usual = Task(
        task_id=task_id(EPISODE),
        state=State.TAKEN,
        severity=Severity.HIGH,
        reason="as it was",
        due_at=TEN + timedelta(hours=20),
        episode_state="open",
        last_number=1,
    )
    return replace(usual, **changes)


CASES = [
    ("an episode that asks for nothing makes no task", told(Move.OPENED, needs=False), None, Why.NO_WORK),
    ("an episode that asks for work makes one", told(Move.DISPOSITIONED), None, Why.MAKE),
    ("even if it is closed already", told(Move.CLOSED), None, Why.MAKE),
    ("told again it is known", told(Move.OPENED, 1), standing(), Why.KNOWN),
    ("an older move is known", told(Move.OPENED, 1), standing(last_number=7), Why.KNOWN),
    ("easing is marked", told(Move.EASED, severity=Severity.WATCH), standing(), Why.MARKED),
    ("closing is marked, the work stays", told(Move.CLOSED), standing(), Why.MARKED),
    ("getting worse makes it sooner", told(Move.WORSENED, severity=Severity.CRITICAL), standing(), Why.WORSE),
    ("reopening makes finished work open again", told(Move.REOPENED), standing(state=State.DONE), Why.AGAIN),
    (
        "a new ask makes cancelled work open again",
        told(Move.TASK_ASKED),
        standing(state=State.CANCELLED),
        Why.AGAIN,
    ),
    ("closing leaves finished work finished", told(Move.CLOSED), standing(state=State.DONE), Why.MARKED),
    (
        "reopening without an ask leaves it",
        told(Move.REOPENED, needs=False),
        standing(state=State.DONE),
        Why.MARKED,
    ),
]


@pytest.mark.parametrize(("event", "task", "why"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_decide(event, task, why):
    decision = decide(event, task)
    assert decision.why is why
    assert (decision.task is None) == (why is Why.NO_WORK)


def test_a_task_is_made_open_due_by_its_severity_and_named_by_its_episode():
    made = decide(told(Move.OPENED, 3, severity=Severity.WATCH), None).task
    assert made == Task(
        task_id=task_id(EPISODE),
        state=State.OPEN,
        severity=Severity.WATCH,
        reason="172 mm[Hg]",
        due_at=TEN + timedelta(hours=48),
        episode_state="open",
        last_number=3,
    )
    assert task_id(EPISODE) != task_id(uuid4())


def test_critical_work_is_due_in_hours_high_within_a_day():
    due = {s: decide(told(Move.OPENED, severity=s), None).task.due_at - TEN for s in Severity}
    assert due == {
        Severity.CRITICAL: timedelta(hours=4),
        Severity.HIGH: timedelta(hours=24),
        Severity.WATCH: timedelta(hours=48),
    }


STANDS = [
    ("opening opens", Move.OPENED, "closed", "open"),
    ("reopening opens", Move.REOPENED, "closed", "open"),
    ("closing closes", Move.CLOSED, "open", "closed"),
    ("a claim leaves it open", Move.CLAIMED, "open", "open"),
    ("a note leaves it closed", Move.TASK_ASKED, "closed", "closed"),
]


@pytest.mark.parametrize(("move", "before", "after"), [s[1:] for s in STANDS], ids=[s[0] for s in STANDS])
def test_the_task_knows_how_its_episode_stands(move, before, after):
    decided = decide(told(move, needs=False), standing(episode_state=before)).task
    assert decided.episode_state == after
    assert decided.last_number == 2


def test_a_task_made_from_a_closed_episode_says_that_it_is_closed():
    assert decide(told(Move.CLOSED), None).task.episode_state == "closed"


def test_work_needed_again_is_open_and_due_anew():
    again = decide(told(Move.REOPENED, severity=Severity.WATCH, minutes=60), standing(state=State.DONE)).task
    assert again.state is State.OPEN
    assert again.severity is Severity.WATCH
    assert again.due_at == TEN + timedelta(hours=1) + DUE[Severity.WATCH]


def test_work_that_goes_on_keeps_its_state():
    assert decide(told(Move.WORSENED, severity=Severity.CRITICAL), standing()).task.state is State.TAKEN


def test_a_worse_episode_is_due_no_later_than_before():
    after = decide(told(Move.WORSENED, severity=Severity.CRITICAL), standing()).task
    assert after.due_at == TEN + DUE[Severity.CRITICAL]
    assert after.severity is Severity.CRITICAL
    kept = decide(told(Move.WORSENED, severity=Severity.CRITICAL), standing(due_at=TEN)).task
    assert kept.due_at == TEN


def test_easing_never_makes_a_task_less_urgent_than_somebody_saw_it():
    after = decide(told(Move.EASED, severity=Severity.WATCH), standing()).task
    assert after.severity is Severity.HIGH
    assert after.due_at == standing().due_at


def test_a_persons_note_on_the_alert_does_not_overwrite_the_clinical_reason():
    assert decide(told(Move.CLAIMED, reason="Ana took it"), standing()).task.reason == "as it was"
    assert decide(told(Move.WORSENED, reason="188 mm[Hg]"), standing()).task.reason == "188 mm[Hg]"


moves = st.lists(
    st.builds(
        lambda move, severity, needs: (move, severity, needs),
        st.sampled_from(list(Move)),
        st.sampled_from(list(Severity)),
        st.booleans(),
    ),
    max_size=12,
)


@given(said=moves, again=st.lists(st.integers(0, 11), max_size=12))
def test_telling_moves_again_changes_nothing(said, again):
    events = [told(m, n, severity=s, needs=k, minutes=n) for n, (m, s, k) in enumerate(said, start=1)]
    once = twice = None
    for event in events:
        once = decide(event, once).task or once
    for event in [*events, *(events[i] for i in again if i < len(events))]:
        decision = decide(event, twice)
        twice = decision.task or twice
    # What may differ: moves from before the task was made, told again after it, are known and change nothing.
    assert once == twice or (once is None) == (twice is None)
    if once is not None:
        assert twice == once
        assert once.task_id == task_id(EPISODE)


@given(said=moves)
def test_urgency_only_grows_while_work_is_open(said):
    task = None
    for number, (move, severity, needs) in enumerate(said, start=1):
        after = decide(told(move, number, severity=severity, needs=needs), task).task
        if task is not None and after is not None and task.state not in tasks.FINISHED:
            assert RANK[after.severity] >= RANK[task.severity]
            assert after.due_at <= task.due_at
        task = after or task


def test_every_concern_has_a_checklist_with_distinct_steps_and_a_safety_net():
    for concern in [*tasks.CONCERNS, "a concern nobody knows yet"]:
        items = checklist(concern)
        assert len({item.key for item in items}) == len(items) >= 3
        assert any(item.key in ("next", "told") for item in items)


def test_every_state_can_be_left():
    assert set(MOVES) == set(State)
    assert all(MOVES.values())


def test_the_reason_is_why_the_patient_needs_it_and_not_what_somebody_did():
    settled = told(Move.DISPOSITIONED, reason="Contacted the patient.")
    known = decide(replace_event(settled, why="Pressure 186/104, above the limit of 180."), None).task
    assert known.reason == "Pressure 186/104, above the limit of 180."
    later = decide(
        replace_event(told(Move.ESCALATED, 3, reason="Escalated to a provider."), why="Pressure 192/110."),
        known,
    ).task
    assert later.reason == "Pressure 192/110."
    assert decide(told(Move.CLAIMED, 4, reason="Claimed."), later).task.reason == "Pressure 192/110."


def replace_event(event, **changes):
    return msgspec.structs.replace(event, **changes)
