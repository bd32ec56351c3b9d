"""What goes out together: nothing is lost, nothing critical waits, and a bad minute is a few mails."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.escalation import Channel, Page
from alerts.events import Severity
from alerts.notification import Notification, Waits, Why, gather, message, together
from tests.unit.alerts.ward import when

WINDOW = timedelta(minutes=2)
ROUND = timedelta(seconds=5)


def a_call(n=1, severity=Severity.HIGH, *, nth=0, first=True, due="09:30"):
    return Page(
        episode_id=UUID(int=n),
        times=1,
        rung_id=UUID(int=0xF),
        nth=nth,
        practice_id=1,
        channel=Channel.EMAIL,
        target="on-call",
        severity=severity,
        due_at=when(due),
        tries=0,
        first=first,
    )


C, H = Severity.CRITICAL, Severity.HIGH
CASES = [
    ("nobody was told anything: at once", [a_call()], None, Why.AT_ONCE),
    ("told long ago: at once", [a_call()], "08:58", Why.AT_ONCE),
    ("told just now: it waits for the next", [a_call()], "08:59", "09:01"),
    ("a new critical never waits", [a_call(severity=C)], "08:59", Why.CRITICAL),
    ("a critical that has called before may join the next", [a_call(severity=C, nth=1, first=False)], "08:59", "09:01"),
    ("a critical takes along what waits", [a_call(1), a_call(2, C)], "08:59", Why.CRITICAL),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "calls", "told", "became"), CASES, ids=[c[0] for c in CASES])
def test_what_becomes_of_calls(sentence, calls, told, became):
    found = gather(calls, told_at=told and when(told), window=WINDOW, now=when("09:00"))
    if isinstance(became, Why):
        assert isinstance(found, Notification)
        assert found.why is became
        assert sorted(call.key for call in found.calls) == sorted(call.key for call in calls)
    else:
        assert found == Waits(when(became))


def test_the_worst_leads_and_gives_its_key_and_a_repetition_keeps_it():
    late, worst = a_call(1, due="09:00"), a_call(2, C, due="09:30")
    found = gather([late, worst], told_at=None, window=WINDOW, now=when("09:00"))
    assert (found.lead, found.key) == (worst, worst.key)
    assert (
        together([late], why=Why.AGAIN, key=found.key).key == worst.key
    )  # somebody came for the worst meanwhile


@given(
    st.lists(
        st.tuples(st.integers(0, 600), st.sampled_from(Severity), st.booleans()), min_size=1, max_size=40
    ),
    st.integers(0, 5),
)
def test_every_call_goes_out_once_in_time_and_quiet_lies_between(came, minutes):
    window, told_at, now = timedelta(minutes=minutes), None, when("09:00")
    calls = [(second, a_call(n, severity, first=first)) for n, (second, severity, first) in enumerate(came)]
    start, gone, mails = now, {}, []
    while len(gone) < len(calls):
        due = [
            call
            for second, call in calls
            if start + timedelta(seconds=second) <= now and call.key not in gone
        ]
        found = gather(due, told_at=told_at, window=window, now=now) if due else None
        if isinstance(found, Notification):
            assert not gone.keys() & {call.key for call in found.calls}
            if told_at is not None and now < told_at + window:
                assert found.why is Why.CRITICAL
                assert any(call.first and call.severity is C for call in found.calls)
            gone |= dict.fromkeys((call.key for call in found.calls), now)
            told_at = now
            mails.append(found)
        assert now <= start + timedelta(seconds=600) + window + ROUND
        now += ROUND
    for second, call in calls:
        waited = gone[call.key] - start - timedelta(seconds=second)
        assert waited < ROUND + (timedelta(0) if call.first and call.severity is C else window)
    assert len(mails) <= len(calls)


def test_it_says_how_many_more_wait_and_nothing_about_anybody():
    said = message(
        together([a_call(1, C), a_call(2, C), a_call(3, C), a_call(3, C, nth=1)], why=Why.AT_ONCE),
        public_url="https://lamplight.example",
        now=when("09:00"),
    )
    assert said.subject == "Lamplight: critical, somebody is needed (and 2 more)"
    assert "2 more alerts wait in Lamplight:\n\nhttps://lamplight.example/queue?tab=clinical\n" in said.text
    assert len(said.joined) == 3


def test_one_alone_says_what_it_always_said():
    said = message(
        together([a_call()], why=Why.AT_ONCE), public_url="https://lamplight.example", now=when("09:00")
    )
    assert said.text == (
        "An episode of severity high waits in the queue.\n\n"
        f"https://lamplight.example/queue/episode/{UUID(int=1)}\n\nIt stops calling when somebody claims it.\n"
    )
