"""The order of the list: position says how urgent a row is before any colour does."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.concerns import Queue
from alerts.episode import RANK, State
from alerts.events import Severity
from alerts.worklist import Brief, Section, Viewer, places, summary
from tests.unit.alerts.ward import ANA, BEN, when

NOW = when("12:00")
NURSE, PROVIDER = Viewer(ANA, provider=False), Viewer(ANA, provider=True)
W, C, E, H, S = State.WAITING, State.CLAIMED, State.ESCALATED, State.HANDLED, State.SNOOZED
MARIA, JON = UUID(int=1), UUID(int=2)


def brief(state=W, severity="high", *, due=60, owner=None, patient=MARIA, n=1):
    """An open episode due in so many minutes."""
    return Brief(
        UUID(int=n), patient, Queue.CLINICAL, state, Severity(severity), NOW + timedelta(minutes=due), owner
    )


SECTIONS = [
    ("a critical is now", [brief(severity="critical")], NURSE, Section.NOW),
    ("a high is next", [brief()], NURSE, Section.NEXT),
    ("a watch can wait", [brief(severity="watch")], NURSE, Section.LATER),
    ("a late high is now", [brief(due=-1)], NURSE, Section.NOW),
    ("due this minute is late", [brief(due=0)], NURSE, Section.NOW),
    ("a late watch is next, and does not drown a critical", [brief(severity="watch", due=-9999)], NURSE, Section.NEXT),
    ("what one holds oneself stands on top", [brief(C, owner=ANA)], NURSE, Section.YOURS),
    ("what a colleague holds is in progress", [brief(C, owner=BEN)], NURSE, Section.IN_PROGRESS),
    ("an escalation waits for a provider", [brief(E)], NURSE, Section.IN_PROGRESS),
    ("an escalation asks the provider", [brief(E)], PROVIDER, Section.NEXT),
    ("an escalation nobody answered asks everybody again", [brief(E, due=-5)], NURSE, Section.NOW),
    ("handled rests", [brief(H, severity="critical", due=-99)], NURSE, Section.RESTING),
    ("snoozed rests", [brief(S)], NURSE, Section.RESTING),
    ("something new of a patient in somebody's hands still asks", [brief(C, owner=BEN), brief(severity="critical", n=2)], NURSE, Section.NOW),
    ("a watch that is new does not hide a critical that is held", [brief(C, "critical", owner=BEN), brief(H, n=2)], NURSE, Section.IN_PROGRESS),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "briefs", "viewer", "section"), SECTIONS, ids=[s[0] for s in SECTIONS])
def test_section(sentence, briefs, viewer, section):
    (place,) = places(briefs, viewer, now=NOW)
    assert place.section is section


def test_within_a_section_the_worse_comes_first_and_then_who_is_due_sooner():
    late_high = brief(due=-30, n=3, patient=UUID(int=3))
    soon = brief(severity="critical", due=5, n=1)
    later = brief(severity="critical", due=20, n=2, patient=JON)
    assert [p.episode_id.int for p in places([late_high, later, soon], NURSE, now=NOW)] == [1, 2, 3]


def test_the_sentence_at_the_top():
    told = [([brief(severity="critical")], "1 patient needs somebody now"), ([brief()], "Nothing urgent; 1 waiting"),
            ([brief(H)], "Nobody is waiting"), ([], "Nobody is waiting"),
            ([brief(due=-1), brief(due=-1, n=2, patient=JON)], "2 patients need somebody now")]  # fmt: skip
    for briefs, sentence in told:
        assert summary(places(briefs, NURSE, now=NOW)) == sentence


a_brief = st.builds(
    brief,
    st.sampled_from([W, C, E, H, S]),
    st.sampled_from(list(Severity)),
    due=st.integers(-5000, 5000),
    owner=st.sampled_from([None, ANA, BEN]),
    patient=st.sampled_from([UUID(int=n) for n in range(1, 6)]),
    n=st.integers(1, 10_000),
)


@given(st.lists(a_brief, max_size=30, unique_by=lambda b: b.episode_id), st.sampled_from([NURSE, PROVIDER]))
def test_one_row_per_patient_and_nothing_that_waits_is_lost_below_what_does_not(briefs, viewer):
    found = places(briefs, viewer, now=NOW)
    assert sorted(p.patient_id for p in found) == sorted({b.patient_id for b in briefs})
    where = {p.patient_id: p for p in found}
    for b in briefs:
        if b.state is W:
            place = where[b.patient_id]
            assert place.section in (Section.NOW, Section.NEXT, Section.LATER)
            assert RANK[place.severity] >= RANK[b.severity]
    assert (
        places(reversed(briefs), viewer, now=NOW) == found
    )  # the order of rows in the database does not matter


@given(
    st.sampled_from(sorted(State)),
    st.sampled_from(sorted(Severity)),
    st.integers(-90, 90),
    st.sampled_from([None, ANA, BEN]),
    st.sampled_from([NURSE, PROVIDER]),
)
def test_one_open_episode_stands_where_it_would_stand_beside_a_second_of_the_same_kind(
    state, severity, due, owner, viewer
):
    one, same = (brief(state, severity, due=due, owner=owner, n=n) for n in (1, 2))
    assert places([one], viewer, now=NOW) == places([one, same], viewer, now=NOW)
