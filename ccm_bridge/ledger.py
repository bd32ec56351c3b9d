"""The minutes: spans of work, the months they belong to, their sums, and the entry that keeps them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

LONGEST = timedelta(hours=4)
"""No single stretch of care-management work is longer; a longer span is a forgotten stop button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Elapsed time from `start` up to, not including, `end`: UTC, whole seconds, never empty.

    Whole seconds make the sum of a split span equal to the span itself.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for instant in (self.start, self.end):
            if instant.utcoffset() != timedelta(0) or instant.microsecond:
                raise ValueError(f"a span holds whole UTC seconds, not {instant.isoformat()}")
        if self.end <= self.start:
            raise ValueError(
                f"a span ends after it starts: {self.start.isoformat()} to {self.end.isoformat()}"
            )

    @property
    def seconds(self) -> int:
        """UTC elapsed seconds: the wall clock's summer-time jumps are not in it.

        >>> new_york = ZoneInfo("America/New_York")
        >>> before = datetime(2026, 11, 1, 1, 50, tzinfo=new_york)          # EDT
        >>> after = datetime(2026, 11, 1, 1, 10, fold=1, tzinfo=new_york)   # EST, the second 01:10
        >>> span_of(before, after).seconds // 60
        20
        """
        return int((self.end - self.start).total_seconds())


def span_of(start: datetime, end: datetime) -> Span:
    """A span from two aware instants: UTC first (zone-aware subtraction lies at DST), fractions cut."""
    return Span(
        start=start.astimezone(UTC).replace(microsecond=0), end=end.astimezone(UTC).replace(microsecond=0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The part of a span that lies in one calendar month of the practice's zone."""

    span: Span
    month: date  # its first day


def month_of(instant: datetime, zone: ZoneInfo) -> date:
    """The month an instant belongs to, in the practice's civil time.

    >>> month_of(datetime(2026, 11, 1, 3, 55, tzinfo=UTC), ZoneInfo("America/New_York"))
    datetime.date(2026, 10, 1)
    """
    return instant.astimezone(zone).date().replace(day=1)


def next_month(month: date) -> date:
    """The first day of the month after.

    >>> next_month(date(2026, 12, 1))
    datetime.date(2027, 1, 1)
    """
    return (month + timedelta(days=31)).replace(day=1)


def first_instant(month: date, zone: ZoneInfo) -> datetime:
    """When a month begins: local midnight of the 1st, as UTC."""
    return datetime(month.year, month.month, 1, tzinfo=zone).astimezone(UTC)


def split_at_months(span: Span, zone: ZoneInfo) -> tuple[Piece, ...]:
    """Cut a span at local midnight of each 1st, because minutes do not carry over from month to month.

    >>> over = span_of(datetime(2026, 11, 1, 3, 50, tzinfo=UTC), datetime(2026, 11, 1, 4, 15, tzinfo=UTC))
    >>> [(str(p.month), p.span.seconds // 60) for p in split_at_months(over, ZoneInfo("America/New_York"))]
    [('2026-10-01', 10), ('2026-11-01', 15)]
    """
    pieces = []
    start = span.start
    while start < span.end:
        month = month_of(start, zone)
        edge = first_instant(next_month(month), zone)
        end = min(span.end, edge)
        pieces.append(Piece(span=Span(start=start, end=end), month=month))
        start = end
    return tuple(pieces)


def whole_minutes(seconds: int) -> int:
    """Seconds of a whole month to minutes, floored once: there is no rounding up and no midpoint rule.

    >>> whole_minutes(19 * 60 + 59), whole_minutes(1200)
    (19, 20)
    """
    return seconds // 60


def union_seconds(spans: Iterable[Span]) -> int:
    """Seconds covered by at least one span: two people on one patient at once count once.

    >>> at = lambda m: datetime(2026, 11, 3, 10, m, tzinfo=UTC)
    >>> union_seconds([span_of(at(0), at(15)), span_of(at(5), at(20))]) // 60
    20
    """
    total, reached = 0, None
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        start = span.start if reached is None else max(span.start, reached)
        if span.end > start:
            total += int((span.end - start).total_seconds())
            reached = span.end
    return total


# The entry ---------------------------------------------------------------------------------------------


class Source(StrEnum):
    TIMER = "timer"  # measured by beats
    MANUAL = "manual"  # remembered and attested: weaker evidence


class Contact(StrEnum):
    NONE = "none"
    PHONE = "phone"
    VIDEO = "video"
    IN_PERSON = "in_person"
    MESSAGE = "message"


LIVE = frozenset({Contact.PHONE, Contact.VIDEO, Contact.IN_PERSON})

ACTIVITIES: dict[str, str] = {
    "check_in": "Check-in with the patient",
    "symptom_review": "Symptoms or readings reviewed with the patient",
    "data_review": "Readings and trends reviewed",
    "medicines": "Medicines reconciled, refill arranged",
    "coordination": "Coordination with another practice, pharmacy or service",
    "care_plan": "Care plan written, reviewed or revised",
    "education": "Education for the condition",
    "caregiver": "Talk with a caregiver",
    "transition": "Follow-up after hospital or emergency visit",
    "referral": "Referral, appointment or community service arranged",
    "documentation": "Clinical documentation of this work",
}
"""What the minutes were for, in our own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What a stretch of work was: everything about an entry but when and who."""

    patient_id: UUID
    program: str
    activity: str
    note: str
    problem: str
    outcome: str
    contact: Contact
    contact_with: str
    interactive: bool
    as_clinical_staff: bool = False
    task_id: UUID | None = None
    episode_id: UUID | None = None  # the alert it acted on, where no task stands between
    readings: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the ledger before it has its place in the chain."""

    entry_id: UUID
    practice_id: int
    staff_id: UUID
    staff_name: str
    credential: str
    country: str
    span: Span
    zone: str
    month: date
    doing: Doing
    timer_id: UUID | None
    source: Source
    attestation: str
    corrects: UUID | None
    entered_at: datetime
    entered_by: UUID


LATE = timedelta(days=7)
"""An entry written later than this after the work is marked: memory fades."""


def late(end: datetime, entered_at: datetime) -> bool:
    """True if the entry was written long after the work it tells of."""
    return entered_at - end > LATE


def part_id(origin: UUID, place: int) -> UUID:
    """The id of one part of what a request (or a timer) logs: sent again it is the same row, not a second one."""
    return origin if place == 0 else uuid5(origin, str(place))
