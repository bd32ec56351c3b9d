"""The practice's own audit: each pattern by an example that shows it and one that does not."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from ccm_bridge.selfaudit import Asked, Person, Work, patterns, plain, waits

MONTH = date(2026, 11, 1)
MARIA, NORA = uuid4(), uuid4()


def person(patient_id=MARIA, **changes):
    usual = Person(
        patient_id=patient_id,
        enrolled_on=date(2026, 8, 1),
        initiating_visit=date(2026, 7, 1),
        monitored=True,
        other_biller=False,
        codes={"99490": 1},
        seconds={"CCM": 1500},
    )
    return replace(usual, **changes)


def work(patient_id=MARIA, **changes):
    usual = Work(
        patient_id=patient_id,
        staff_name="Ana",
        month=MONTH,
        day=date(2026, 11, 3),
        program="CCM",
        seconds=1500,
        note="Called about her swollen ankles and the missed refill.",
        manual=False,
    )
    return replace(usual, **changes)


def looked(people, entries, before=None):
    found = patterns(people, entries, month=MONTH, before=before or {})
    return {one.key for one in found if one.look}


CASES = [
    ("an ordinary month shows nothing", [person()], [work()], {}, set()),
    (
        "a device billed that nobody managed",
        [person(codes={"99454": 1})],
        [work()],
        {},
        {"device-without-management"},
    ),
    (
        "a device managed two months ago is managed",
        [person(codes={"99454": 1})],
        [work(), work(program="RPM", month=date(2026, 9, 1), note="other")],
        {},
        set(),
    ),
    ("billed without a visit", [person(initiating_visit=None)], [work()], {}, {"no-prior-visit"}),
    (
        "a visit after enrolment is not before it",
        [person(initiating_visit=date(2026, 9, 1))],
        [work()],
        {},
        {"no-prior-visit"},
    ),
    ("another biller", [person(other_biller=True)], [work()], {}, {"other-biller"}),
    (
        "two supplies of one patient in a month",
        [person(codes={"99445": 1, "99454": 1})],
        [work(program="RPM", note="other")],
        {},
        {"several-device-codes"},
    ),
    (
        "set-up and one supply are one device",
        [person(codes={"99453": 1, "99454": 1})],
        [work(program="RPM", note="other")],
        {},
        set(),
    ),
    (
        "half again as many enrolled",
        [person(uuid4(), enrolled_on=MONTH) for _ in range(6)],
        [],
        {date(2026, 10, 1): 4},
        {"enrolment-spike"},
    ),
    (
        "a few more enrolled is growth",
        [person(uuid4(), enrolled_on=MONTH) for _ in range(5)],
        [],
        {date(2026, 10, 1): 4},
        set(),
    ),
    (
        "minutes that stop at the step",
        [person(seconds={"CCM": 1200}), person(NORA, seconds={"CCM": 1230})],
        [work()],
        {},
        {"exactly-at-a-step"},
    ),
    ("one patient at a step is chance", [person(seconds={"CCM": 1200})], [work()], {}, set()),
    (
        "the same words for two patients",
        [person()],
        [work(), work(NORA, note="called about her swollen ankles, and the missed refill")],
        {},
        {"copied-text"},
    ),
    (
        "the same words a month later",
        [person()],
        [work(), work(month=date(2026, 10, 1))],
        {},
        {"copied-text"},
    ),
    (
        "a short note may repeat",
        [person()],
        [work(note="Refill sent."), work(NORA, note="Refill sent.")],
        {},
        set(),
    ),
    (
        "more than ten hours in a day",
        [person()],
        [
            work(seconds=14_400, note=f"note number {word} of a long long day")
            for word in ("one", "two", "three")
        ],
        {},
        {"long-days"},
    ),
    ("more from memory than measured", [person()], [work(manual=True)], {}, {"by-hand"}),
]


@pytest.mark.parametrize(
    ("people", "entries", "before", "found"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_patterns(people, entries, before, found):
    assert looked(people, entries, before) == found


def test_numbers_and_case_do_not_hide_a_copied_note():
    assert plain("Called 10:15, BP 172/96!") == plain("called 9:00 bp 150/88")


def test_waits_are_told_by_their_middle_and_their_slowest_tenth_and_nothing_open_is_forgotten():
    ten = datetime(2026, 11, 3, 10, 0, tzinfo=UTC)
    due, now = ten + timedelta(hours=4), ten + timedelta(days=2)

    def asked(taken=None, closed=None):
        after = lambda hours: None if hours is None else ten + timedelta(hours=hours)  # noqa: E731
        return Asked(opened_at=ten, due_at=due, taken_at=after(taken), closed_at=after(closed))

    said = waits([asked(0.5, 1), asked(1, 2), asked(2, 30), asked(3), asked()], now=now)
    assert (said.asked, said.finished, said.late, said.overdue) == (5, 3, 1, 2)
    assert said.median_hours == 2.0
    assert said.slow_hours == pytest.approx(24.4)
    assert said.taken_median_hours == 1.5
    nothing = waits([], now=now)
    assert (nothing.asked, nothing.median_hours, nothing.slow_hours, nothing.taken_median_hours) == (
        0,
        None,
        None,
        None,
    )
    assert waits([asked()], now=due).overdue == 0
