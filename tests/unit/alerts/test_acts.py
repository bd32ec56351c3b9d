"""What people may do, and the sentence they read when they may not."""

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from alerts import acts
from alerts.acts import Act, Last, Person
from alerts.dispositions import DISPOSITIONS
from alerts.episode import Episode, NotPossible, State
from alerts.events import Move, Severity
from alerts.policy import DEFAULT
from risk.events import Tier
from tests.unit.alerts.ward import ANA, BEN, Ward, when


def an_act(who=ANA, role="nurse", at="09:10") -> Act:
    name = {ANA: "Ana Lima", BEN: "Ben Roth"}[who]
    person = Person(staff_id=who, name=name, role=role, zone="America/New_York")
    return Act(act_id=uuid4(), person=person, policy=DEFAULT, now=when(at))


def an_episode(state=State.WAITING, tier=Tier.HIGH, owner=None, **changes) -> Episode:
    ward = Ward()
    ward.cuff("09:00", tier)
    held = {
        "owner": owner,
        "owner_name": {ANA: "Ana Lima", BEN: "Ben Roth"}.get(owner),
        "until": when("13:00") if owner else None,
    }
    return msgspec.structs.replace(ward.one, state=state, **(held | changes))


MINE, THEIRS = {"state": State.CLAIMED, "owner": ANA}, {"state": State.CLAIMED, "owner": BEN}
REFUSED = [
    ("claim what a colleague has", lambda a: acts.claim(a, [an_episode(**THEIRS)]), "Ben Roth has this until 08:00. Nothing was changed."),
    ("claim what one has", lambda a: acts.claim(a, [an_episode(**MINE)]), "You already have this patient."),
    ("claim what waits for a provider", lambda a: acts.claim(a, [an_episode(State.ESCALATED)]), "This waits for a provider. Take it back first to go on with it yourself."),
    ("claim where nothing waits", lambda a: acts.claim(a, []), "Nothing of this patient waits any more."),
    ("hand back what a colleague has", lambda a: acts.hand_back(a, [an_episode(**THEIRS)]), "Ben Roth has this until 08:00. Nothing was changed."),
    ("hand back what nobody has", lambda a: acts.hand_back(a, [an_episode()]), "You do not have this, so you cannot hand it back."),
    ("take over what nobody has", lambda a: acts.take_over(a, [an_episode()]), "There is nothing here to do that to."),
    ("settle what a colleague has", lambda a: settle(a, an_episode(**THEIRS)), "Ben Roth has this until 08:00. Nothing was changed."),
    ("settle without saying what it was", lambda a: settle(a, an_episode(**MINE), code=""), "Choose what it was."),
    ("settle without the note it needs", lambda a: settle(a, an_episode(**MINE), code="emergency", note=" "), "Sent to emergency care needs a note: what was said and done."),
    ("settle what is settled", lambda a: settle(a, an_episode(State.HANDLED)), "This episode is handled: a disposition is not possible now."),
    ("snooze something critical", lambda a: acts.snooze(a, an_episode(tier=Tier.CRITICAL), reason="recheck", minutes=60), "Something critical cannot be snoozed: settle it, escalate it or hand it back."),
    ("snooze without a reason", lambda a: acts.snooze(a, an_episode(), reason="tired", minutes=60), "Choose why it may rest."),
    ("snooze without an end in sight", lambda a: acts.snooze(a, an_episode(), reason="recheck", minutes=1441), "A snooze ends within 24 hours."),
    ("snooze into the past", lambda a: acts.snooze(a, an_episode(), reason="recheck", minutes=0), "A snooze ends within 24 hours."),
    ("escalate what a colleague has", lambda a: acts.escalate(a, an_episode(**THEIRS), ""), "Ben Roth has this until 08:00. Nothing was changed."),
    ("close what nobody handled", lambda a: acts.close_now(a, an_episode()), "This episode is waiting: closing it is for Lamplight itself, on a reading or a timer, to do."),
    ("ask twice for a task", lambda a: acts.ask_task(a, an_episode(needs_task=True), ""), "A care task was already asked for."),
]  # fmt: skip


def settle(act, episode, code="noise", note="", *, close=False):
    return acts.settle(act, episode, code=code, note=note, needs_task=False, close=close)


@pytest.mark.parametrize(("what", "do", "sentence"), REFUSED, ids=[f"one cannot {r[0]}" for r in REFUSED])
def test_refused(what, do, sentence):
    assert do(an_act()) == NotPossible(sentence)


def test_a_claim_takes_everything_that_waits_and_leaves_what_a_colleague_has():
    waiting, theirs = an_episode(), an_episode(**THEIRS)
    (made,) = acts.claim(an_act(), [waiting, theirs])
    assert (made.episode.episode_id, made.episode.owner, made.episode.until) == (
        waiting.episode_id,
        ANA,
        when("13:10"),
    )


def test_a_claim_never_makes_an_episode_younger_or_due_later():
    before = an_episode()
    (made,) = acts.claim(an_act(at="09:30"), [before])
    (back,) = acts.hand_back(an_act(at="10:30"), [made.episode])
    assert (back.episode.since, back.episode.due_at) == (before.since, before.due_at)


def test_taking_over_is_said_in_two_steps_so_that_the_record_is_plain():
    made = acts.take_over(an_act(), [an_episode(**THEIRS)])
    assert [(t.move, t.episode.owner_name) for t in made] == [
        (Move.HANDED_BACK, None),
        (Move.CLAIMED, "Ana Lima"),
    ]


def test_an_escalation_starts_the_clock_for_the_provider_who_alone_may_take_it():
    (asked,) = acts.escalate(an_act(at="11:00"), an_episode(**MINE), "Dose?")
    assert (asked.episode.state, asked.episode.owner, asked.episode.due_at) == (
        State.ESCALATED,
        None,
        when("15:00"),
    )
    (taken,) = acts.claim(an_act(BEN, "physician"), [asked.episode])
    assert taken.episode.owner == BEN


@pytest.mark.parametrize("code", DISPOSITIONS)
def test_every_disposition_rests_with_an_end(code):
    (made,) = settle(an_act(), an_episode(), code, "note")
    assert made.episode.state is State.HANDLED
    assert made.episode.until >= when("7d 09:10")
    assert made.episode.until >= when("09:10") + DEFAULT.rests(code, Severity.HIGH)
    assert made.cause.reason == f"{DISPOSITIONS[code].label}."


def test_settling_and_closing_is_one_act():
    made = settle(an_act(), an_episode(**MINE), close=True)
    assert [t.move for t in made] == [Move.DISPOSITIONED, Move.CLOSED]
    assert len({t.cause.event for t in made}) == 1
    assert made[-1].episode.closed_at == when("09:10")


def last(move, *, by=ANA, at="09:05", why="x", before=State.CLAIMED) -> Last:
    return Last(number=2, move=move, before=before, at=when(at), by=by, caused_by=uuid4(), why=why)


W, C = State.WAITING, State.CLAIMED
UNDONE = [
    ("a claim goes back to everybody", W, C, Move.CLAIMED, W),
    ("a hand-back comes back", C, W, Move.HANDED_BACK, C),
    ("an escalation comes back into one's hands", C, State.ESCALATED, Move.ESCALATED, C),
    ("a disposition comes back into one's hands", C, State.HANDLED, Move.DISPOSITIONED, C),
    ("a close comes back into one's hands", State.HANDLED, State.CLOSED, Move.CLOSED, C),
    ("a snooze comes back into one's hands", C, State.SNOOZED, Move.SNOOZED, C),
    ("what nobody had and was escalated waits again", W, State.ESCALATED, Move.ESCALATED, W),
    ("what nobody had and was settled at a glance waits again", W, State.HANDLED, Move.DISPOSITIONED, W),
    ("what nobody had and was snoozed waits again", W, State.SNOOZED, Move.SNOOZED, W),
]


@pytest.mark.parametrize(("sentence", "before", "state", "move", "after"), UNDONE, ids=[u[0] for u in UNDONE])
def test_undo(sentence, before, state, move, after):
    episode = an_episode(state, owner=ANA if state is State.CLAIMED else None)
    made = acts.undo(an_act(), [(episode, last(move, before=before))])
    assert made[-1].episode.state is after
    assert (made[-1].episode.owner == ANA) is (after is State.CLAIMED)
    assert [t.number for t in made] == list(range(episode.number + 1, episode.number + 1 + len(made)))


NOT_UNDONE = [
    ("a colleague's act", last(Move.CLAIMED, by=BEN), "There is nothing of yours to undo here."),
    ("what a reading did", last(Move.WORSENED, by=None), "There is nothing of yours to undo here."),
    ("an undo", last(Move.CLAIMED, why="undo"), "There is nothing of yours to undo here."),
    ("a task asked for", last(Move.TASK_ASKED), "There is nothing of yours to undo here."),
    ("yesterday's act, by the practice's clock", last(Move.CLAIMED, at="04:30"), "Only what you did today can be undone."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "before", "sentence"), NOT_UNDONE, ids=[f"one cannot undo {u[0]}" for u in NOT_UNDONE]
)
def test_not_undone(what, before, sentence):
    assert acts.undo(an_act(), [(an_episode(**MINE), before)]) == NotPossible(sentence)


def test_after_midnight_utc_it_is_still_today_in_new_york():
    before = last(Move.CLAIMED, at="23:30")
    made = acts.undo(an_act(at="1d 02:00"), [(an_episode(**MINE), before)])
    assert [t.move for t in made] == [Move.HANDED_BACK]


def test_ones_own_move_since_the_page_was_made_is_no_surprise():
    episode = an_episode()
    assert acts.moved_meanwhile(an_act(), episode, 0, last(Move.CLAIMED)) is None
    assert isinstance(acts.moved_meanwhile(an_act(), episode, 0, last(Move.CLAIMED, by=BEN)), NotPossible)


def test_the_end_of_every_snooze_is_when_it_was_said():
    (made,) = acts.snooze(an_act(), an_episode(**MINE), reason="unreached", minutes=90)
    assert (made.episode.until, made.cause.reason) == (
        when("09:10") + timedelta(minutes=90),
        "Snoozed: could not reach the patient yet.",
    )


def test_an_instant_is_said_with_its_day_unless_that_is_known():
    act, yesterday = an_act(at="1d 09:10"), when("08:00")
    assert [act.clock(when("1d 08:00")), act.clock(yesterday), act.clock(yesterday, when("07:50"))] == [
        "03:00",
        "5 Jan 03:00",
        "03:00",
    ]
