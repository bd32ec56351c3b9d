"""Who needs somebody, in which order: one place per patient, the worst on top. Words and counts; the order is SQL's."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
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


class Words(NamedTuple):
    """What the top of a queue says: to one and to several who need somebody now, who wait, and to nobody."""

    one: str
    several: str
    some: str
    none: str
    empty: str


WORDS: Final = {
    Queue.CLINICAL: Words(
        one="patient needs somebody now",
        several="patients need somebody now",
        some="waiting",
        none="Nobody is waiting",
        empty="Nobody needs you here.",
    ),
    Queue.ADHERENCE: Words(
        one="patient to ask now",
        several="patients to ask now",
        some="to ask",
        none="Nobody to ask",
        empty="Everybody measures as agreed, or the cause is known.",
    ),
    Queue.TECHNICAL: Words(
        one="thing to mend now",
        several="things to mend now",
        some="to mend",
        none="Nothing to mend",
        empty="Nothing needs mending.",
    ),
}


def summary(tallies: Iterable[Tally], queue: Queue, *, besides: int = 0) -> str:
    """The one sentence at the top of a queue, in the words of its work. `besides`: what is urgent and about no patient.

    >>> one = Tally(Queue.CLINICAL, Section.NOW, Severity.CRITICAL, patients=1, chosen=1)
    >>> three = one._replace(section=Section.NEXT, patients=3)
    >>> summary([one], Queue.CLINICAL), summary([three], Queue.CLINICAL), summary([], Queue.CLINICAL)
    ('1 patient needs somebody now', 'Nothing urgent; 3 waiting', 'Nobody is waiting')
    >>> summary([three], Queue.TECHNICAL), summary([], Queue.TECHNICAL), summary([], Queue.TECHNICAL, besides=1)
    ('Nothing urgent; 3 to mend', 'Nothing to mend', '1 thing to mend now')
    """
    tallies, words = list(tallies), WORDS[queue]
    now = sum(tally.patients for tally in tallies if tally.section is Section.NOW) + besides
    if now:
        return f"{now} {words.one if now == 1 else words.several}"
    calling = waiting(tallies)
    return f"Nothing urgent; {calling} {words.some}" if calling else words.none


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
