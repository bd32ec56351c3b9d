"""Who needs somebody, in which order: one place per patient, the worst on top. Words and counts; the order is SQL's."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from alerts.concerns import Queue
from alerts.events import Severity


class Section(StrEnum):
    """Where a row stands, top to bottom. Position says how urgent it is before any colour does."""

    YOURS = "In your hands"
    NOW = "Now"  # critical, or high and later than promised
    NEXT = "Next"  # high, or a watch later than promised
    LATER = "When you can"
    IN_PROGRESS = "In progress"
    RESTING = "Resting"


CALLING = frozenset({Section.NOW, Section.NEXT, Section.LATER})


class Place(NamedTuple):
    """One patient's place in a queue, and the episode that put them there."""

    section: Section
    patient_id: UUID
    episode_id: UUID
    severity: Severity
    due_at: datetime
    mine: bool


class Tally(NamedTuple):
    """How many patients stand in one section of one queue with one severity: all, and those that a view chooses."""

    queue: Queue
    section: Section
    severity: Severity
    patients: int
    chosen: int


class Viewer(NamedTuple):
    """Who looks: a provider is asked where a nurse has asked."""

    staff_id: UUID
    provider: bool


def waiting(tallies: Iterable[Tally]) -> int:
    """How many patients ask for somebody."""
    return sum(tally.patients for tally in tallies if tally.section in CALLING)


def summary(tallies: Iterable[Tally]) -> str:
    """The one sentence at the top of the list.

    >>> one = Tally(Queue.CLINICAL, Section.NOW, Severity.CRITICAL, patients=1, chosen=1)
    >>> summary([one]), summary([one._replace(section=Section.NEXT, patients=3)]), summary([])
    ('1 patient needs somebody now', 'Nothing urgent; 3 waiting', 'Nobody is waiting')
    """
    tallies = list(tallies)
    now = sum(tally.patients for tally in tallies if tally.section is Section.NOW)
    if now:
        return f"{now} {'patient needs' if now == 1 else 'patients need'} somebody now"
    calling = waiting(tallies)
    return f"Nothing urgent; {calling} waiting" if calling else "Nobody is waiting"


def time_left(due_at: datetime, now: datetime) -> str:
    """How long until somebody should have come, in the one unit a glance needs.

    >>> from datetime import UTC, timedelta
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> [time_left(noon + timedelta(minutes=m), noon) for m in (1500, 150, 12, 0, -25, -3000)]
    ['25 h left', '2 h left', '12 min left', 'due now', '25 min late', '2 d late']
    """
    minutes = int(abs((due_at - now).total_seconds()) // 60)
    if minutes == 0:
        return "due now"
    span = _span(minutes)
    return f"{span} left" if due_at > now else f"{span} late"


def _span(minutes: int) -> str:
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"  # noqa: PLR2004 - two days


def age(since: datetime, now: datetime) -> str:
    """How long it has been in the queue.

    >>> from datetime import UTC, timedelta
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> age(noon - timedelta(seconds=20), noon), age(noon - timedelta(hours=30), noon)
    ('just now', '30 h')
    """
    minutes = int((now - since).total_seconds() // 60)
    return _span(minutes) if minutes > 0 else "just now"
