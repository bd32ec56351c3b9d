"""Triage as a table: one line per rule, each with what must happen and why."""

from datetime import timedelta

import pytest

from alerts.episode import State
from alerts.events import Move, Severity
from alerts.triage import Why, decide, fold
from risk.events import Concern, Finding, Tier
from tests.unit.alerts.ward import Ward, a_finding, a_score, when

ROUTINE, WATCH, HIGH, CRITICAL = Tier


def story(*steps):
    """Play cuff readings, people's moves and snoozes in order; returns the ward and the last outcome."""
    ward, last = Ward(), None
    for at, what, *more in steps:
        match what:
            case "calm":
                last = ward.cuff(at)
            case "handled":
                ward.handled(at, *more)
            case "snoozed":
                ward.person(at, Move.SNOOZED, until=when(more[0]))
            case Tier():
                last = ward.cuff(at, what, **(more[0] if more else {}))
            case Move():
                ward.person(at, what)
    return ward, last


CASES = [
    ("a first high opens", [("09:00", HIGH)], Why.FIRST, Move.OPENED, State.WAITING, "high"),
    ("a first critical opens", [("09:00", CRITICAL)], Why.FIRST, Move.OPENED, State.WAITING, "critical"),
    ("the same again joins", [("09:00", HIGH), ("09:05", HIGH)], Why.KNOWN, None, State.WAITING, "high"),
    (
        "worse worsens",
        [("09:00", WATCH), ("09:05", CRITICAL)],
        Why.WORSE,
        Move.WORSENED,
        State.WAITING,
        "critical",
    ),
    (
        "worse worsens what somebody has claimed, and leaves it in their hands",
        [("09:00", WATCH), ("09:02", Move.CLAIMED), ("09:05", HIGH)],
        Why.WORSE,
        Move.WORSENED,
        State.CLAIMED,
        "high",
    ),
    (
        "one milder reading is luck",
        [("09:00", CRITICAL), ("09:05", HIGH)],
        Why.MILDER,
        None,
        State.WAITING,
        "critical",
    ),
    (
        "two milder readings do not ease what nobody has looked at",
        [("09:00", CRITICAL), ("09:05", HIGH), ("09:10", HIGH)],
        Why.LATCHED,
        None,
        State.WAITING,
        "critical",
    ),
    (
        "two milder readings ease what somebody has",
        [("09:00", CRITICAL), ("09:01", Move.CLAIMED), ("09:05", HIGH), ("09:10", HIGH)],
        Why.EASED,
        Move.EASED,
        State.CLAIMED,
        "high",
    ),
    (
        "it eases only to the worse of the two",
        [("09:00", CRITICAL), ("09:01", Move.CLAIMED), ("09:05", HIGH), ("09:10", WATCH)],
        Why.EASED,
        Move.EASED,
        State.CLAIMED,
        "high",
    ),
    (
        "a reading as bad in between starts the count again",
        [("09:00", HIGH), ("09:01", Move.CLAIMED), ("09:05", WATCH), ("09:10", HIGH), ("09:15", WATCH)],
        Why.MILDER,
        None,
        State.CLAIMED,
        "high",
    ),
    (
        "two calm readings ease what somebody has, to a watch",
        [("09:00", CRITICAL), ("09:01", Move.CLAIMED), ("10:00", "calm"), ("11:00", "calm")],
        Why.EASED,
        Move.EASED,
        State.CLAIMED,
        "watch",
    ),
    (
        "a watch closes itself after three calm readings over twelve hours",
        [("09:00", WATCH), ("12:00", "calm"), ("18:00", "calm"), ("1d 00:01", "calm")],
        Why.CALM_CLOSED,
        Move.CLOSED,
        State.CLOSED,
        "watch",
    ),
    (
        "three calm readings in one sitting close nothing",
        [("09:00", WATCH), ("12:00", "calm"), ("12:02", "calm"), ("12:04", "calm")],
        Why.CALM,
        None,
        State.WAITING,
        "watch",
    ),
    (
        "a bad one among the calm starts the count again",
        [("09:00", WATCH), ("12:00", "calm"), ("18:00", "calm"), ("20:00", WATCH), ("1d 01:00", "calm")],
        Why.CALM,
        None,
        State.WAITING,
        "watch",
    ),
    (
        "a high that nobody saw never closes itself",
        [("09:00", HIGH), ("12:00", "calm"), ("18:00", "calm"), ("1d 09:00", "calm"), ("2d 09:00", "calm")],
        Why.CALM_UNSEEN,
        None,
        State.WAITING,
        "high",
    ),
    (
        "a watch that was worse before never closes itself unseen",
        [
            ("09:00", HIGH),
            ("09:01", Move.CLAIMED),
            ("10:00", WATCH),
            ("11:00", WATCH),
            ("11:01", Move.HANDED_BACK),
            ("12:00", "calm"),
            ("18:00", "calm"),
            ("1d 09:00", "calm"),
        ],
        Why.CALM_UNSEEN,
        None,
        State.WAITING,
        "watch",
    ),
    (
        "calm closes nothing in somebody's hands",
        [
            ("09:00", WATCH),
            ("09:01", Move.CLAIMED),
            ("12:00", "calm"),
            ("18:00", "calm"),
            ("1d 09:00", "calm"),
        ],
        Why.CALM_HELD,
        None,
        State.CLAIMED,
        "watch",
    ),
    (
        "what was handled closes when calm",
        [("09:00", HIGH), ("09:30", "handled"), ("12:00", "calm"), ("18:00", "calm"), ("1d 09:31", "calm")],
        Why.CALM_CLOSED,
        Move.CLOSED,
        State.CLOSED,
        "watch",
    ),
    (
        "what was handled does not close before its rest ends",
        [("09:00", HIGH), ("09:30", "handled"), ("10:00", "calm"), ("18:00", "calm"), ("1d 09:00", "calm")],
        Why.CALM,
        None,
        State.HANDLED,
        "watch",
    ),
    (
        "the same a few hours after handling rests",
        [("09:00", HIGH), ("09:30", "handled"), ("15:00", HIGH)],
        Why.RESTING,
        None,
        State.HANDLED,
        "high",
    ),
    (
        "the same a day after handling is back",
        [("09:00", HIGH), ("09:30", "handled"), ("1d 09:31", HIGH)],
        Why.BACK,
        Move.REOPENED,
        State.WAITING,
        "high",
    ),
    (
        "what was found known rests three days",
        [("09:00", HIGH), ("09:30", "handled", "known"), ("2d 09:31", HIGH)],
        Why.RESTING,
        None,
        State.HANDLED,
        "high",
    ),
    (
        "a critical rests only fifteen minutes, whatever was said",
        [("09:00", CRITICAL), ("09:10", "handled", "known"), ("09:26", CRITICAL)],
        Why.BACK,
        Move.REOPENED,
        State.WAITING,
        "critical",
    ),
    (
        "the recheck within fifteen minutes of handling belongs to it",
        [("09:00", CRITICAL), ("09:10", "handled"), ("09:20", CRITICAL)],
        Why.RESTING,
        None,
        State.HANDLED,
        "critical",
    ),
    (
        "worse than what was handled is back at once",
        [("09:00", WATCH), ("09:10", "handled", "noise"), ("09:20", HIGH)],
        Why.WORSE_THAN_HANDLED,
        Move.WORSENED,
        State.WAITING,
        "high",
    ),
    (
        "not worse while snoozed stays snoozed",
        [("09:00", HIGH), ("09:10", "snoozed", "15:00"), ("11:00", HIGH)],
        Why.SNOOZED,
        None,
        State.SNOOZED,
        "high",
    ),
    (
        "worse while snoozed ends the snooze",
        [("09:00", HIGH), ("09:10", "snoozed", "15:00"), ("11:00", CRITICAL)],
        Why.WORSE_THAN_SNOOZED,
        Move.WORSENED,
        State.WAITING,
        "critical",
    ),
    (
        "a snooze that is over counts as over before its timer comes by",
        [("09:00", HIGH), ("09:10", "snoozed", "15:00"), ("15:01", HIGH)],
        Why.SNOOZE_OVER,
        Move.WOKEN,
        State.WAITING,
        "high",
    ),
    (
        "back within three days of closing is the same episode",
        [("09:00", WATCH), ("12:00", "calm"), ("18:00", "calm"), ("1d 00:01", "calm"), ("3d 23:00", HIGH)],
        Why.AGAIN,
        Move.REOPENED,
        State.WAITING,
        "high",
    ),
    (
        "a late one joins what is open and changes nothing",
        [("09:00", WATCH), ("09:30", CRITICAL, {"received": "18:30"})],
        Why.LATE_JOINED,
        None,
        State.WAITING,
        "watch",
    ),
    (
        "a late critical opens a watch, no more",
        [("00:30", CRITICAL, {"received": "09:40"})],
        Why.LATE_NOTE,
        Move.OPENED,
        State.WAITING,
        "watch",
    ),
    (
        "three hours late still pages",
        [("06:30", CRITICAL, {"received": "09:20"})],
        Why.FIRST,
        Move.OPENED,
        State.WAITING,
        "critical",
    ),
    (
        "an earlier reading, not worse, changes nothing",
        [("09:00", HIGH), ("08:00", HIGH, {"received": "09:10"})],
        Why.OVERTAKEN,
        None,
        State.WAITING,
        "high",
    ),
    (
        "an earlier reading that is worse still counts",
        [("09:00", HIGH), ("08:00", CRITICAL, {"received": "09:10"})],
        Why.WORSE,
        Move.WORSENED,
        State.WAITING,
        "critical",
    ),
    (
        "an earlier calm reading calms nothing",
        [("09:00", WATCH), ("12:00", "calm"), ("18:00", "calm"), ("1d 00:01", WATCH), ("20:00", "calm")],
        Why.OVERTAKEN,
        None,
        State.WAITING,
        "watch",
    ),
]


@pytest.mark.parametrize(
    ("sentence", "steps", "why", "move", "state", "severity"), CASES, ids=[c[0] for c in CASES]
)
def test_triage(sentence, steps, why, move, state, severity):
    ward, last = story(*steps)
    assert last.decision.why is why
    assert last.decision.move is move
    assert (ward.one.state, ward.one.severity) == (state, severity)
    assert (ward.transitions[-1].move is move) or move is None
    assert [t.number for t in ward.transitions] == list(range(1, len(ward.transitions) + 1))


QUIET = [
    ("a calm reading opens nothing", a_score("09:00"), Why.NOTHING),
    ("history pages nobody", a_score("09:00", a_finding(tier=CRITICAL), history=True), Why.HISTORY),
    (
        "a doubtful time is shown, not weighed",
        a_score("09:00", a_finding(), time_confidence="suspect"),
        Why.SUSPECT,
    ),
    (
        "a mild one a day late opens nothing",
        a_score("08:00", a_finding(tier=WATCH), received="1d 09:00"),
        Why.STALE,
    ),
    ("a routine finding opens nothing", a_score("09:00", a_finding(tier=ROUTINE)), Why.NOTHING),
]


@pytest.mark.parametrize(("sentence", "scored", "why"), QUIET, ids=[c[0] for c in QUIET])
def test_nothing_opens(sentence, scored, why, ward=None):
    finding = scored.findings[0] if scored.findings else None
    decision = decide(scored, finding, None, Ward().policy, now=scored.received_at)
    assert (decision.why, decision.move) == (why, None)
    assert not [o for o in fold(scored, {}, Ward().policy, now=scored.received_at) if o.episode]


def test_history_and_doubtful_times_leave_an_open_episode_as_it_was():
    for changes in ({"history": True}, {"time_confidence": "suspect"}):
        ward = Ward()
        ward.cuff("09:00", WATCH)
        before = ward.one
        ward.cuff("09:30", CRITICAL, **changes)
        ward.cuff("1d 09:30", **changes)
        assert ward.one == before


def test_three_days_after_closing_it_is_a_new_episode():
    ward = Ward()
    for at, tier in [
        ("09:00", WATCH),
        ("12:00", None),
        ("18:00", None),
        ("1d 00:01", None),
        ("4d 00:02", WATCH),
    ]:
        ward.cuff(at, tier)
    first, second = sorted(ward.episodes, key=lambda e: e.opened_at)
    assert (first.state, second.state) == (State.CLOSED, State.WAITING)
    assert first.episode_id != second.episode_id


def test_each_concern_has_its_own_episode():
    ward = Ward()
    ward.score(a_score("09:00", a_finding(), a_finding(Concern.FAST_PULSE, WATCH)))
    assert {(e.concern, e.severity) for e in ward.episodes} == {
        ("high_pressure", "high"),
        ("fast_pulse", "watch"),
    }


def test_two_findings_about_one_concern_are_one_and_the_worse():
    ward = Ward()
    ward.score(a_score("09:00", a_finding(tier=WATCH), a_finding(tier=CRITICAL)))
    assert (ward.one.severity, ward.one.count) == (Severity.CRITICAL, 1)


def test_what_cannot_be_scored_goes_to_the_technical_queue_and_is_answered_by_any_score():
    ward = Ward()
    ward.score(a_score("09:00", a_finding(Concern.SCORE_INCOMPLETE, WATCH), time_confidence="suspect"))
    assert (ward.one.queue, ward.one.state) == ("technical", State.WAITING)
    ward.score(a_score("09:05"))
    assert ward.one.state is State.CLOSED


def test_the_due_time_comes_from_receipt_and_may_only_get_shorter():
    ward = Ward()
    ward.cuff("09:00", WATCH)
    assert ward.one.due_at == when("1d 09:00") + timedelta(seconds=2)
    ward.cuff("09:30", CRITICAL)
    assert ward.one.due_at == when("10:00") + timedelta(seconds=2)
    ward.person("09:40", Move.CLAIMED)
    ward.cuff("09:50", WATCH)
    ward.cuff("09:55", WATCH)
    assert (ward.one.severity, ward.one.due_at) == ("watch", when("10:00") + timedelta(seconds=2))


def test_what_we_missed_while_we_were_away_still_pages_and_is_already_overdue():
    ward = Ward()
    ward.score(a_score("09:00", a_finding(tier=CRITICAL)), now=when("1d 15:00"))
    assert ward.one.severity == "critical"
    assert ward.one.due_at < ward.now


def test_what_was_measured_three_days_ago_and_arrives_now_is_a_note_that_is_due_from_now():
    ward = Ward()
    ward.cuff("09:00", CRITICAL, received="3d 09:00")
    assert (ward.one.severity, ward.transitions[-1].cause.why) == ("watch", "late_note")
    assert ward.one.due_at == when("4d 09:00") + timedelta(seconds=2)
    assert ward.one.told_effective_at == when("09:00")
    assert ward.one.reason.startswith("Late, 3 d: ")


def test_a_played_day_is_due_from_now_because_its_receipt_lies_in_the_diarys_time():
    ward = Ward()
    ward.score(a_score("09:00", a_finding(tier=CRITICAL), flags=("played",)), now=when("14d 09:00"))
    assert (ward.one.since, ward.one.due_at) == (when("14d 09:00"), when("14d 09:30"))
    assert ward.one.told_effective_at == when("09:00")
    ward.handled("14d 09:10")
    ward.score(a_score("5d 09:00", a_finding(tier=CRITICAL), flags=("played",)), now=when("14d 10:00"))
    ward.score(a_score("15d 09:00", a_finding(tier=CRITICAL), flags=("played",)), now=when("15d 09:05"))
    assert (ward.one.times, ward.one.since, ward.one.due_at) == (2, when("15d 09:05"), when("15d 09:35"))


def test_a_late_reading_says_so_in_its_reason():
    ward = Ward()
    ward.cuff("00:30", CRITICAL, received="09:40")
    assert ward.one.reason.startswith("Late, 9 h: ")


def test_what_comes_back_says_why():
    ward = Ward()
    ward.cuff("09:00", HIGH)
    ward.handled("09:30")
    ward.cuff("1d 10:00", HIGH)
    assert (ward.one.back, ward.one.times, ward.one.owner) == (
        "Still over the line after it was handled.",
        2,
        None,
    )


def test_the_finding_shown_is_the_one_that_set_the_severity():
    ward = Ward()
    ward.cuff("09:00", CRITICAL)
    ward.cuff("09:05", HIGH)
    assert ward.one.reason == "High pressure, critical."
    assert ward.one.count == 2


def test_the_evidence_carried_along_is_bounded():
    ward = Ward()
    for minute in range(60):
        ward.cuff(f"09:{minute:02}", HIGH)
    assert (ward.one.count, len(ward.one.readings)) == (60, 50)


def test_an_unknown_tier_of_a_later_version_is_not_swallowed():
    unknown = Finding(concern=Concern.HIGH_PRESSURE, tier="purple", reason="?", rule="?")
    with pytest.raises((ValueError, AttributeError)):
        decide(a_score("09:00", a_finding()), unknown, None, Ward().policy, now=when("09:00"))
