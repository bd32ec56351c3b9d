"""The burden in numbers: what counts as a call, and that no patients is no rate."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerts.burden import Call, quantile, table, weigh
from alerts.concerns import Queue
from alerts.events import Severity
from alerts.policy import DEFAULT
from tests.unit.alerts.ward import when


def a_call(at="09:00", severity="high", **changes) -> Call:
    told = {"queue": Queue.CLINICAL, "severity": Severity(severity), "rule": "systolic-high", "at": when(at), "again": False,
            "came_at": None, "settled_at": None, "disposition": None}  # fmt: skip
    return Call(**(told | changes))


def weighed(*calls, patients=10, days=30.44):
    since = when("09:00")
    return weigh(
        list(calls),
        patients=patients,
        readings=100,
        since=since,
        until=since + timedelta(days=days),
        policy=DEFAULT,
    )


def test_calls_are_counted_per_patient_month():
    assert weighed(a_call(), a_call(), a_call(queue=Queue.TECHNICAL)).per_month == 0.2
    assert weighed(a_call(), days=15.22).per_month == 0.2


def test_without_patients_there_is_no_rate():
    burden = weighed(patients=0)
    assert (burden.per_month, burden.seen_per_month) == (None, None)
    assert all(share.useful_share is None and share.to_come is None for share in burden.by_severity)


def test_how_soon_somebody_came_and_whether_in_time():
    calls = [a_call(came_at=when(at)) for at in ("09:10", "10:00", "13:00", "13:01")] + [a_call()]
    share = next(s for s in weighed(*calls).by_severity if s.name == "high")
    assert (share.calls, share.came, share.in_time, share.to_come) == (5, 4, 3, (60.0, 241.0))


def test_in_time_is_judged_by_what_was_promised_then():
    calls = [a_call(came_at=when("12:59"), due_at=when(due)) for due in ("10:00", "13:00")]
    share = next(s for s in weighed(*calls).by_severity if s.name == "high")
    assert (share.came, share.in_time) == (2, 1)


def test_of_use_is_a_share_of_what_was_settled():
    calls = [
        a_call(settled_at=when("10:00"), disposition=code)
        for code in ("contacted", "technique", "noise", "known")
    ]
    share = weighed(*calls, a_call()).by_rule[0]
    assert (share.name, share.settled, share.useful, share.useful_share) == ("systolic-high", 4, 2, 0.5)


def test_the_spreadsheet_has_a_line_for_everything_and_nothing_about_one_person():
    lines = table(weighed(a_call(), a_call(rule="pulse-fast", queue=Queue.CLINICAL)))
    assert {len(line) for line in lines} == {11}
    assert [line[:3] for line in lines[1:]] == [
        ("practice", "calls per patient-month", "0.20"), ("practice", "handled by a person per patient-month", "0"),
        ("practice", "back within 72 h", "0"), ("practice", "overdue now", "0"), ("practice", "patient-months", "10"),
        ("severity", "critical", "0"), ("severity", "high", "2"), ("severity", "watch", "0"),
        ("rule", "pulse-fast", "1"), ("rule", "systolic-high", "1"),
        ("queue", "clinical", "2"), ("queue", "adherence", "0"), ("queue", "technical", "0"),
    ]  # fmt: skip


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_one_of_the_values_and_enough_lie_below(values, share):
    values = sorted(values)
    found = quantile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-9
