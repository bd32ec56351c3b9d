"""What a practice promises and who answers: service time, the policy's form, shifts and swaps."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.escalation import refusal as chain_refusal
from alerts.events import Severity
from alerts.hours import Hours, Open
from alerts.policy import Policy
from alerts.policy_form import changes, policy_of
from alerts.rota import Shift, gaps, on_call, refusal, swapped
from tests.unit.alerts.ward import ANA, BEN, when

CHICAGO = "America/Chicago"
WEEK = (Open(time(8), time(17)),) * 5 + (None, None)
HOURS = Hours(zone=CHICAGO, week=WEEK, holidays=(date(2026, 1, 1),))


def local(text: str) -> datetime:
    from zoneinfo import ZoneInfo

    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(CHICAGO)).astimezone(UTC)


SERVICE = [
    ("within the day it is plain time", "2026-01-05T09:00", 4, "2026-01-05T13:00"),
    ("at night the clock starts in the morning", "2026-01-05T22:00", 4, "2026-01-06T12:00"),
    ("before opening it starts at opening", "2026-01-05T06:00", 4, "2026-01-05T12:00"),
    ("what does not fit goes on the next morning", "2026-01-05T16:00", 4, "2026-01-06T11:00"),
    ("Friday afternoon goes on on Monday", "2026-01-02T16:00", 4, "2026-01-05T11:00"),
    ("a holiday is not worked", "2025-12-31T16:00", 4, "2026-01-02T11:00"),
    ("closing time is still today", "2026-01-05T13:00", 4, "2026-01-05T17:00"),
    ("the day the clocks change loses no service", "2026-03-06T16:00", 4, "2026-03-09T11:00"),
]


@pytest.mark.parametrize(("sentence", "since", "hours", "due"), SERVICE, ids=[c[0] for c in SERVICE])
def test_service_time(sentence, since, hours, due):
    assert HOURS.after(local(since), timedelta(hours=hours)) == local(due)


@given(st.integers(0, 365 * 24 * 60), st.integers(1, 60 * 24 * 7))
def test_a_promise_is_never_sooner_than_its_length_and_ends_in_service(later, minutes):
    since, span = when("00:00") + timedelta(minutes=later), timedelta(minutes=minutes)
    due = HOURS.after(since, span)
    assert due >= since + span
    assert HOURS.is_open(due - timedelta(seconds=1))


def test_a_practice_that_never_opens_is_treated_as_always_open():
    shut = Hours(zone=CHICAGO, week=(None,) * 7)
    assert shut.after(when("09:00"), timedelta(hours=1)) == when("10:00")


def test_critical_is_promised_at_any_hour_and_the_rest_in_service():
    policy = Policy(hours=HOURS)
    night = local("2026-01-05T22:00")
    assert policy.due(night, Severity.CRITICAL) == night + timedelta(minutes=30)
    assert policy.due(night, Severity.HIGH) == local("2026-01-06T12:00")
    assert policy.provider_due(night, Severity.HIGH) == local("2026-01-06T12:00")


GOOD = {
    f"{group}_{severity}": minutes
    for group in ("targets", "escalated")
    for severity, minutes in (("critical", "20"), ("high", "240"), ("watch", "1440"))
} | {
    "opens_0": "08:00",
    "closes_0": "17:00",
    "holidays": "2026-12-25, 2026-07-04",
    "always_critical": "true",
    "calls_gather": "1",
}
WRONG = [
    ("nothing as target", {"targets_high": ""}, "a number of minutes"),
    ("a word as target", {"targets_high": "soon"}, "a number of minutes"),
    ("critical later than high", {"targets_critical": "300"}, "critical before high"),
    ("half a day", {"closes_0": ""}, "Monday: write both"),
    ("service that ends before it begins", {"closes_0": "07:00"}, "Monday: service ends after"),
    ("a holiday that is no day", {"holidays": "Christmas"}, "A holiday is a date"),
    ("never open", {"opens_0": "", "closes_0": ""}, "Open on one day"),
    ("an emergency that waits", {"always_critical": ""}, "an emergency does not wait"),
    ("calls that gather for an hour", {"calls_gather": "60"}, "Calls gather for 0 to 5 minutes"),
]


@pytest.mark.parametrize(("sentence", "change", "words"), WRONG, ids=[c[0] for c in WRONG])
def test_a_policy_that_cannot_be(sentence, change, words):
    assert words in policy_of(GOOD | change, Policy(), zone=CHICAGO)


def test_a_policy_that_can_be_survives_the_database():
    policy = policy_of(GOOD, Policy(), zone=CHICAGO)
    assert policy.targets.of(Severity.CRITICAL) == timedelta(minutes=20)
    assert policy.hours.holidays == (date(2026, 7, 4), date(2026, 12, 25))
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy
    assert changes(Policy(), policy) == [
        "critical: somebody has claimed it within 20 min (was 30 min)",
        "critical: a provider has taken it within 20 min (was 30 min)",
        "service hours: Mon 08:00–17:00, Tue–Sun closed (were always)",
        "holiday added: 2026-07-04",
        "holiday added: 2026-12-25",
        "calls gather for 1 min (was 2 min)",
    ]
    assert changes(policy, policy) == []


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.text(max_size=12)))
def test_whatever_is_typed_is_a_policy_or_a_sentence(typed):
    assert isinstance(policy_of(GOOD | typed, Policy(), zone=CHICAGO), Policy | str)


def a_shift(starts="09:00", ends="17:00", who=ANA, name="Ana Lima", n=1):
    return Shift(
        shift_id=UUID(int=n), staff_id=who, staff_name=name, starts_at=when(starts), ends_at=when(ends)
    )


def test_a_shift_includes_its_first_instant_and_not_its_last():
    shifts = [a_shift(), a_shift("17:00", "1d 09:00", BEN, "Ben Roth", 2)]
    assert [on_call(shifts, when(at)).staff_name for at in ("09:00", "16:59", "17:00")] == [
        "Ana Lima",
        "Ana Lima",
        "Ben Roth",
    ]
    assert on_call(shifts, when("08:59")) is None


def swap(shift, starts="09:00", ends="17:00", *, to=BEN, at="08:00"):
    return swapped(shift, to=to, to_name="Ben Roth", starts_at=when(starts), ends_at=when(ends),
                   act_id=UUID(int=9), by_name="Ana Lima", now=when(at))  # fmt: skip


SWAPS = [
    ("the whole of it", ("09:00", "17:00"), "08:00", [("Ben Roth", "09:00", "17:00")]),
    ("its end", ("15:00", "17:00"), "08:00", [("Ana Lima", "09:00", "15:00"), ("Ben Roth", "15:00", "17:00")]),
    ("its middle", ("12:00", "13:00"), "08:00",
     [("Ana Lima", "09:00", "12:00"), ("Ben Roth", "12:00", "13:00"), ("Ana Lima", "13:00", "17:00")]),
    ("what is left of it", ("09:00", "17:00"), "11:30", [("Ana Lima", "09:00", "11:30"), ("Ben Roth", "11:30", "17:00")]),
    ("no more than there is", ("06:00", "23:00"), "08:00", [("Ben Roth", "09:00", "17:00")]),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "part", "at", "makes"), SWAPS, ids=[c[0] for c in SWAPS])
def test_a_swap_covers(sentence, part, at, makes):
    made = swap(a_shift(), *part, at=at)
    assert [(s.staff_name, s.starts_at, s.ends_at) for s in made] == [
        (name, when(a), when(b)) for name, a, b in makes
    ]
    assert len({s.shift_id for s in made}) == len(made)
    assert gaps(made, since=when("09:00"), until=when("17:00")) == []


def test_a_swap_that_cannot_be():
    assert swap(a_shift(), to=ANA) == "Ben Roth has this shift already."
    assert swap(a_shift(), at="18:00") == "This shift is over."
    assert "at least a part" in swap(a_shift(), "18:00", "19:00")


def test_a_shift_that_cannot_be():
    assert refusal(None, when("10:00"), now=when("08:00")) == "Say from when until when."
    assert refusal(when("10:00"), when("10:00"), now=when("08:00")) == "A shift ends after it begins."
    assert refusal(when("06:00"), when("07:00"), now=when("08:00")) == "This shift is over already."
    assert "at most" in refusal(when("08:00"), when("15d 08:00"), now=when("08:00"))


def test_people_are_called_by_mail_only():
    assert chain_refusal("email", "on-call", 0, None) is None
    assert chain_refusal("email", "role:physician", 0, 15) is None
    assert "by e-mail" in chain_refusal("webhook", "on-call", 0, None)
    assert "e-mail address" in chain_refusal("email", "role:owner", 0, None)
