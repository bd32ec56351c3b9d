"""Beats become stretches of work: at most one beat is lost, silence proves nothing, order and doubles change nothing."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccm_bridge.ledger import LONGEST
from ccm_bridge.timer import EVERY, LATEST, SILENCE, Beat, worked

TEN = datetime(2026, 11, 3, 10, tzinfo=UTC)


def beats(*seconds, stretch=0, first=0):
    return [Beat(n=first + n, stretch=stretch, at=TEN + timedelta(seconds=s)) for n, s in enumerate(seconds)]


CASES = [
    ("no beats prove nothing", [], 0, 0),
    ("one beat proves nothing", beats(0), 0, 0),
    ("beats every 15 s prove what lies between", beats(0, 15, 30, 45), 45, 0),
    ("a slowed page's beats every minute still count", beats(0, 60, 120), 120, 0),
    ("a silence of 90 s counts", beats(0, 90), 90, 0),
    ("a silence of 91 s does not", beats(0, 91), 0, 91),
    ("a laptop that slept counts before and after", beats(0, 15, 3600, 3615), 30, 3585),
    ("a pause is not counted", beats(0, 15) + beats(600, 615, stretch=1, first=9), 30, 0),
    ("fractions are cut off", beats(0.9, 15.1), 15, 0),
    ("less than a second proves nothing", beats(0.1, 0.9), 0, 0),
]


@pytest.mark.parametrize(("said", "seconds", "silent"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_worked(said, seconds, silent):
    found = worked(said)
    assert found.seconds == seconds
    assert found.silent_seconds == silent


EDGES = [
    ("a silence of just the limit breaks nothing", beats(0, 90, 180), 1),
    ("just the longest is one span", beats(*(60 * n for n in range(241))), 1),
    ("a minute more is two", beats(*(60 * n for n in range(242))), 2),
    (
        "a silence of the limit at the longest span's end is no silence",
        beats(*(90 * n for n in range(162))),
        2,
    ),
    ("a pause makes two of one", beats(0, 15) + beats(15, 30, stretch=1, first=5), 2),
]


@pytest.mark.parametrize(("said", "spans"), [e[1:] for e in EDGES], ids=[e[0] for e in EDGES])
def test_how_many_spans(said, spans):
    found = worked(said)
    assert len(found.spans) == spans
    assert found.silent_seconds == 0


some_beats = st.lists(
    st.builds(
        lambda n, stretch, s: Beat(n=n, stretch=stretch, at=TEN + timedelta(seconds=s)),
        st.integers(0, 400),
        st.integers(0, 3),
        st.floats(0, 40_000, allow_nan=False),
    ),
    max_size=60,
)


@given(said=some_beats, dice=st.randoms())
def test_doubled_and_disordered_beats_change_nothing(said, dice):
    mixed = said + said[: len(said) // 2]
    dice.shuffle(mixed)
    assert worked(mixed) == worked(said)


@given(said=some_beats)
def test_spans_are_in_order_do_not_overlap_and_are_never_too_long(said):
    spans = worked(said).spans
    for one, after in itertools.pairwise(spans):
        assert one.end <= after.start
    assert all(span.end - span.start <= LONGEST for span in spans)
    if said:
        first, last = min(b.at for b in said), max(b.at for b in said)
        assert sum(span.seconds for span in spans) <= (last - first).total_seconds() + 1


@given(count=st.integers(1, 400), crash=st.floats(0, 14.99, allow_nan=False))
def test_a_crash_loses_less_than_one_beat(count, crash):
    """A timer that beat `count` times and died `crash` seconds later offers all but the last moments."""
    said = beats(*(15 * n for n in range(count + 1)))
    really = 15 * count + crash
    assert 0 <= really - worked(said).seconds <= EVERY.total_seconds()


def test_work_longer_than_an_entry_may_be_is_cut_without_losing_a_second():
    said = beats(*(60 * n for n in range(60 * 9)))
    found = worked(said)
    assert found.seconds == 60 * (60 * 9 - 1)
    assert len(found.spans) == 3


def test_a_queued_beat_is_believed_for_five_minutes_and_no_entry_is_longer_than_four_hours():
    assert timedelta(minutes=5) == LATEST
    assert timedelta(hours=4) == LONGEST


def test_silence_is_longer_than_the_slowest_browser_beats():
    assert timedelta(minutes=1) < SILENCE < timedelta(minutes=2)


def test_a_browser_says_every_fifteen_seconds_that_work_goes_on():
    assert timedelta(seconds=15) == EVERY


def test_beats_within_one_second_prove_nothing_and_over_its_edge_one_second():
    at = datetime(2026, 11, 3, 15, 0, 0, 900_000, tzinfo=UTC)
    same = [Beat(n=0, stretch=0, at=at), Beat(n=1, stretch=0, at=at + timedelta(microseconds=99_999))]
    over = [Beat(n=0, stretch=0, at=at), Beat(n=1, stretch=0, at=at + timedelta(microseconds=100_000))]
    assert (worked(same).seconds, worked(over).seconds) == (0, 1)
