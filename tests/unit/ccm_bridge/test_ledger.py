"""Spans, months and sums: nothing is gained or lost by cutting, ordering, overlapping or the clocks going back."""

import itertools
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccm_bridge import ledger
from ccm_bridge.ledger import LONGEST, Span, late, month_of, part_id, span_of, split_at_months, union_seconds

ZONES = (
    "America/New_York",
    "America/Phoenix",
    "America/Los_Angeles",
    "Pacific/Honolulu",
    "Europe/Berlin",
    "Asia/Kathmandu",
)
instants = st.integers(1_735_700_000, 1_861_900_000).map(lambda at: datetime.fromtimestamp(at, UTC))
lengths = st.integers(min_value=1, max_value=int(LONGEST.total_seconds()))
spans = st.builds(lambda at, s: Span(start=at, end=at + timedelta(seconds=s)), instants, lengths)
zones = st.sampled_from(ZONES).map(ZoneInfo)


def month_edges(zone):
    """Spans that lie around the practice's month ends, where the cutting happens."""
    return st.builds(
        lambda y, m, before, s: Span(
            start=ledger.first_instant(date(y, m, 1), zone) - timedelta(seconds=before),
            end=ledger.first_instant(date(y, m, 1), zone) - timedelta(seconds=before) + timedelta(seconds=s),
        ),
        st.integers(2025, 2028),
        st.integers(1, 12),
        st.integers(0, 7200),
        lengths,
    )


@pytest.mark.parametrize("name", ZONES)
@given(data=st.data())
def test_cutting_at_month_ends_keeps_every_second(name, data):
    zone = ZoneInfo(name)
    span = data.draw(st.one_of(spans, month_edges(zone)))
    pieces = split_at_months(span, zone)
    assert sum(piece.span.seconds for piece in pieces) == span.seconds
    assert pieces[0].span.start == span.start
    assert pieces[-1].span.end == span.end
    for piece, after in itertools.pairwise(pieces):
        assert piece.span.end == after.span.start
        assert ledger.next_month(piece.month) == after.month
    for piece in pieces:
        assert month_of(piece.span.start, zone) == piece.month
        assert month_of(piece.span.end - timedelta(seconds=1), zone) == piece.month


@given(span=spans, zone=zones, at=st.floats(min_value=0, max_value=1))
def test_the_sum_does_not_change_when_a_span_is_written_in_two(span, zone, at):
    cut = span.start + timedelta(seconds=int(span.seconds * at))
    parts = [
        Span(start=a, end=b) for a, b in ((span.start, cut), (cut, span.end)) if a < b
    ]  # what two entries instead of one would be
    assert sum(part.seconds for part in parts) == span.seconds
    assert union_seconds(parts) == span.seconds
    together = [p for part in parts for p in split_at_months(part, zone)]
    whole = split_at_months(span, zone)
    for month in {p.month for p in whole}:
        assert sum(p.span.seconds for p in together if p.month == month) == sum(
            p.span.seconds for p in whole if p.month == month
        )


@given(several=st.lists(spans, max_size=12), shuffled=st.randoms())
def test_the_union_does_not_depend_on_order_and_is_never_more_than_the_sum(several, shuffled):
    mixed = list(several)
    shuffled.shuffle(mixed)
    total = union_seconds(several)
    assert union_seconds(mixed) == total == union_seconds(several + several)
    assert total <= sum(span.seconds for span in several)
    assert total >= max((span.seconds for span in several), default=0)


@given(several=st.lists(spans, max_size=6))
def test_the_union_counts_each_second_once(several):
    seconds = set()
    for span in several:
        start = int(span.start.timestamp())
        seconds |= set(range(start, start + span.seconds))
    assert union_seconds(several) == len(seconds)


CLOCK_CHANGES = [
    ("New York falls back", "America/New_York", (2026, 11, 1, 1, 50, 0), (2026, 11, 1, 1, 10, 1), 20),
    ("New York springs forward", "America/New_York", (2026, 3, 8, 1, 50, 0), (2026, 3, 8, 3, 10, 0), 20),
    ("Los Angeles falls back", "America/Los_Angeles", (2026, 11, 1, 0, 55, 0), (2026, 11, 1, 1, 5, 1), 70),
    ("Phoenix does neither", "America/Phoenix", (2026, 11, 1, 1, 50, 0), (2026, 11, 1, 2, 10, 0), 20),
    ("Berlin springs forward", "Europe/Berlin", (2026, 3, 29, 1, 50, 0), (2026, 3, 29, 3, 10, 0), 20),
    (
        "Kathmandu is three quarters off",
        "Asia/Kathmandu",
        (2026, 3, 29, 1, 50, 0),
        (2026, 3, 29, 2, 10, 0),
        20,
    ),
]


@pytest.mark.parametrize(
    ("zone", "start", "end", "minutes"), [c[1:] for c in CLOCK_CHANGES], ids=[c[0] for c in CLOCK_CHANGES]
)
def test_elapsed_time_is_real_time_when_the_clocks_change(zone, start, end, minutes):
    def at(y, mo, d, h, mi, fold):
        return datetime(y, mo, d, h, mi, fold=fold, tzinfo=ZoneInfo(zone))

    assert span_of(at(*start), at(*end)).seconds == minutes * 60


def test_a_fraction_of_a_second_is_cut_off_not_rounded_up():
    ten = datetime(2026, 11, 3, 10, tzinfo=UTC)
    span = span_of(ten + timedelta(microseconds=999_999), ten + timedelta(seconds=59, microseconds=999_999))
    assert span.seconds == 59


WRONG = [
    ("ends before it starts", datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
    ("is empty", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
    (
        "is not UTC",
        datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 1, 1, 5, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    (
        "has fractions",
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize(("start", "end"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_span_that_is_wrong_cannot_be_made(start, end):
    with pytest.raises(ValueError, match="a span"):
        Span(start=start, end=end)


def test_minutes_are_floored_once_for_the_month_and_not_once_per_entry():
    entries = [59, 59, 61, 1]
    assert ledger.whole_minutes(sum(entries)) == 3
    assert sum(ledger.whole_minutes(one) for one in entries) == 1


def test_parts_have_ids_of_their_own_and_the_first_is_the_requests():
    origin = uuid4()
    ids = [part_id(origin, place) for place in range(5)]
    assert ids[0] == origin
    assert len(set(ids)) == 5
    assert ids == [part_id(origin, place) for place in range(5)]


def test_a_practitioners_time_is_their_own_unless_they_say_otherwise():
    said = ledger.Doing(
        patient_id=uuid4(),
        program="CCM",
        activity="check_in",
        note="x",
        problem="x",
        outcome="",
        contact=ledger.Contact.NONE,
        contact_with="",
        interactive=False,
    )
    assert said.as_clinical_staff is False


def test_an_entry_is_late_after_seven_days():
    end = datetime(2026, 11, 3, 10, tzinfo=UTC)
    assert not late(end, end + timedelta(days=7))
    assert late(end, end + timedelta(days=7, seconds=1))
