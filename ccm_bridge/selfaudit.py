"""The practice's own patterns, looked for as an auditor would: each with its count, its measure and whom it concerns. Pure.

After the OIG's reports on remote monitoring (OEI-02-23-00260 and -00261) and what payers say they look for.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

SPIKE = 1.5  # enrolments against the month before: the OIG's measure is 150 %
SPIKE_FROM = 5  # enrolments: below, a spike is one busy week
EDGE_S = 59  # seconds above a step that still look like stopping at the step
EDGE_SHARE = 0.2
COPIED_WORDS = 6  # a shorter note says the same thing honestly
LONG_DAY_S = 10 * 3600
HANDS_SHARE = 0.5
MANAGED_MONTHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An entry, as far as a pattern shows in it."""

    patient_id: UUID
    staff_name: str
    month: date
    day: date
    program: str
    seconds: int
    note: str
    manual: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A patient, as far as a pattern shows in them."""

    patient_id: UUID
    enrolled_on: date | None
    initiating_visit: date | None
    monitored: bool
    other_biller: bool
    codes: Mapping[str, int]
    seconds: Mapping[str, int]  # counted, per programme


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Something to look at before somebody else does."""

    key: str
    question: str
    count: int
    measure: str
    look: bool  # whether it is beyond what is ordinary
    patients: tuple[UUID, ...] = ()


SUPPLY_CODES = frozenset({"99445", "99454"})
DEVICE_CODES = SUPPLY_CODES | {"99453"}
STEPS_S = {"CCM": (1200, 2400, 3600), "RPM": (600, 1200, 2400)}


def patterns(
    people: Sequence[Person], work: Sequence[Work], *, month: date, before: Mapping[date, int]
) -> list[Pattern]:
    """Every pattern for a month. `before`: how many were enrolled in each earlier month."""
    return [
        _unmanaged(people, work),
        _strangers(people),
        _spike(people, month, before),
        _other_billers(people),
        _several_devices(people),
        _edges(people),
        _copied(work, month),
        _long_days(work, month),
        _by_hand(work, month),
    ]


def _unmanaged(people: Sequence[Person], work: Sequence[Work]) -> Pattern:
    managed = {one.patient_id for one in work if one.program == "RPM"}
    found = [
        p.patient_id
        for p in people
        if p.monitored and DEVICE_CODES & set(p.codes) and p.patient_id not in managed
    ]
    return Pattern(
        key="device-without-management",
        question="Devices billed, and nobody managed the readings",
        count=len(found),
        measure=f"no monitoring minutes in {MANAGED_MONTHS} months",
        look=bool(found),
        patients=tuple(found),
    )


def _strangers(people: Sequence[Person]) -> Pattern:
    found = [
        p.patient_id
        for p in people
        if p.codes and (p.initiating_visit is None or (p.enrolled_on and p.initiating_visit > p.enrolled_on))
    ]
    return Pattern(
        key="no-prior-visit",
        question="Billed without a visit before enrolment",
        count=len(found),
        measure="of all billed",
        look=bool(found),
        patients=tuple(found),
    )


def _spike(people: Sequence[Person], month: date, before: Mapping[date, int]) -> Pattern:
    now = sum(1 for p in people if p.enrolled_on and p.enrolled_on.replace(day=1) == month)
    last = max((day for day in before if day < month), default=None)
    then = before[last] if last else 0
    return Pattern(
        key="enrolment-spike",
        question="Many more enrolled than the month before",
        count=now,
        measure=f"{then} the month before",
        look=now >= SPIKE_FROM and now >= SPIKE * max(then, 1),
    )


def _other_billers(people: Sequence[Person]) -> Pattern:
    found = [p.patient_id for p in people if p.other_biller]
    return Pattern(
        key="other-biller",
        question="Another practice bills the same patient",
        count=len(found),
        measure="known of",
        look=bool(found),
        patients=tuple(found),
    )


def _several_devices(people: Sequence[Person]) -> Pattern:
    """More than one supply code for a patient in a month: a period is billed once, however many devices."""
    found = [p.patient_id for p in people if sum(p.codes.get(code, 0) for code in SUPPLY_CODES) > 1]
    return Pattern(
        key="several-device-codes",
        question="Several device codes for one patient in a month",
        count=len(found),
        measure="two 30-day periods may end in one month",
        look=bool(found),
        patients=tuple(found),
    )


def _edges(people: Sequence[Person]) -> Pattern:
    """Minutes that stop just at a step: work that follows need spreads out, work that follows a code does not."""
    billed = [p for p in people if any(p.seconds.values())]
    found = [
        p.patient_id
        for p in billed
        if any(
            step <= total <= step + EDGE_S
            for program, total in p.seconds.items()
            for step in STEPS_S.get(program, ())
        )
    ]
    share = len(found) / len(billed) if billed else 0.0
    return Pattern(
        key="exactly-at-a-step",
        question="Minutes that stop exactly at a step",
        count=len(found),
        measure=f"{share:.0%} of {len(billed)} with minutes",
        look=len(found) > 1 and share > EDGE_SHARE,
        patients=tuple(found),
    )


def plain(note: str) -> str:
    """A note without what changes by itself: numbers, case, punctuation.

    >>> plain("Called at 10:15; BP 172/96, refill sent.") == plain("called at 9:40, BP 150/88. Refill sent")
    True
    """
    return " ".join("".join(c if c.isalpha() else " " for c in note.lower()).split())


def _copied(work: Sequence[Work], month: date) -> Pattern:
    seen: dict[str, set[tuple[UUID, date]]] = defaultdict(set)
    for one in work:
        words = plain(one.note)
        if len(words.split()) >= COPIED_WORDS:
            seen[words].add((one.patient_id, one.month))
    found = [one.patient_id for one in work if one.month == month and len(seen.get(plain(one.note), ())) > 1]
    return Pattern(
        key="copied-text",
        question="The same words for several patients or months",
        count=len(found),
        measure="entries of this month",
        look=bool(found),
        patients=tuple(dict.fromkeys(found)),
    )


def _long_days(work: Sequence[Work], month: date) -> Pattern:
    days: Counter[tuple[str, date]] = Counter()
    for one in work:
        if one.month == month:
            days[one.staff_name, one.day] += one.seconds
    found = [key for key, seconds in days.items() if seconds > LONG_DAY_S]
    named = ", ".join(sorted({name for name, _ in found}))
    return Pattern(
        key="long-days",
        question="More than ten hours of minutes by one person in a day",
        count=len(found),
        measure=named or "nobody",
        look=bool(found),
    )


def _by_hand(work: Sequence[Work], month: date) -> Pattern:
    mine = [one for one in work if one.month == month]
    total = sum(one.seconds for one in mine)
    hand = sum(one.seconds for one in mine if one.manual)
    share = hand / total if total else 0.0
    return Pattern(
        key="by-hand",
        question="Minutes from memory rather than measured",
        count=len([one for one in mine if one.manual]),
        measure=f"{share:.0%} of the month's time",
        look=share > HANDS_SHARE,
    )


# The report ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One piece of work: when it was asked for, first taken up, finished, and due."""

    opened_at: datetime
    due_at: datetime
    taken_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long work waited: from being asked for until somebody took it up, and until it was finished."""

    asked: int
    finished: int
    median_hours: float | None  # until finished
    slow_hours: float | None  # nine of ten were finished sooner
    taken_median_hours: float | None
    late: int  # finished after they were due
    overdue: int  # not finished, and due


def waits(work: Iterable[Asked], *, now: datetime) -> Waits:
    """Of the month's work. What is not finished has no time to finish yet, and is not left out: `overdue`."""
    listed = list(work)
    done = [(one, one.closed_at) for one in listed if one.closed_at is not None]
    finished = sorted(_hours(closed - one.opened_at) for one, closed in done)
    taken = sorted(_hours(one.taken_at - one.opened_at) for one in listed if one.taken_at is not None)
    return Waits(
        asked=len(listed),
        finished=len(done),
        median_hours=_of_ten(finished, 5),
        slow_hours=_of_ten(finished, 9),
        taken_median_hours=_of_ten(taken, 5),
        late=sum(1 for one, closed in done if closed > one.due_at),
        overdue=sum(1 for one in listed if one.closed_at is None and one.due_at < now),
    )


def _hours(waited: timedelta) -> float:
    return waited.total_seconds() / 3600


def _of_ten(hours: Sequence[float], tenths: int) -> float | None:
    """The hours that so many tenths of the cases do not exceed, half way between neighbours.

    >>> _of_ten([1.0, 2.0], 5), _of_ten([1.0, 2.0, 30.0], 5), _of_ten([], 9)
    (1.5, 2.0, None)
    """
    if not hours:
        return None
    place = (len(hours) - 1) * tenths / 10
    low = int(place)
    high = min(low + 1, len(hours) - 1)
    return hours[low] + (hours[high] - hours[low]) * (place - low)
