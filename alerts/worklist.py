"""Who needs somebody, in which order: one place per patient, the worst on top. Pure, and cheap for ten thousand."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from alerts.concerns import Queue
from alerts.episode import RANK, State
from alerts.events import Severity


class Section(StrEnum):
    """Where a row stands. Position says how urgent it is before any colour does."""

    YOURS = "In your hands"
    NOW = "Now"  # critical, or high and later than promised
    NEXT = "Next"  # high, or a watch later than promised
    LATER = "When you can"
    IN_PROGRESS = "In progress"
    RESTING = "Resting"

    __hash__ = (
        str.__hash__
    )  # Enum's own is a Python call, and ten thousand rows look up by these for every page


CALLING: Final = frozenset({Section.NOW, Section.NEXT, Section.LATER})
_ORDER: Final = {section: place for place, section in enumerate(Section)}


class Brief(NamedTuple):
    """An open episode, as far as ordering asks."""

    episode_id: UUID
    patient_id: UUID
    queue: Queue
    state: State
    severity: Severity
    due_at: datetime
    owner: UUID | None


class Place(NamedTuple):
    """One patient's place in the list, and the episode that put them there."""

    section: Section
    patient_id: UUID
    episode_id: UUID
    severity: Severity
    due_at: datetime
    mine: bool

    def key(self) -> tuple[int, datetime, int]:
        """Section, then severity, then who is due sooner; numbers, because ten thousand are sorted for every page."""
        return _ORDER[self.section] * 4 - RANK[self.severity], self.due_at, self.patient_id.int


class Viewer(NamedTuple):
    """Who looks: a provider is asked where a nurse has asked."""

    staff_id: UUID
    provider: bool


def places(briefs: Iterable[Brief], viewer: Viewer, *, now: datetime) -> list[Place]:
    """One place per patient, in the order to work through."""
    patients: dict[UUID, Brief | list[Brief]] = {}
    for brief in briefs:
        others = patients.get(brief.patient_id)
        if others is None:  # nearly everybody has one open episode: no list for them
            patients[brief.patient_id] = brief
        elif isinstance(others, list):
            others.append(brief)
        else:
            patients[brief.patient_id] = [others, brief]
    found = [
        _place(some, viewer, now=now) if isinstance(some, list) else _only(some, viewer, now=now)
        for some in patients.values()
    ]
    found.sort(key=Place.key)
    return found


def _only(brief: Brief, viewer: Viewer, *, now: datetime) -> Place:
    """The place of a patient with one open episode: what `_place` says, without looking for the worst of one."""
    held = brief.state is State.CLAIMED or brief.state is State.ESCALATED
    mine = held and brief.owner == viewer.staff_id
    if _calls(brief, viewer, now=now):
        section = _urgency(brief, now=now)
    elif held:
        section = Section.YOURS if mine else Section.IN_PROGRESS
    else:
        section = Section.RESTING
    return Place(section, brief.patient_id, brief.episode_id, brief.severity, brief.due_at, mine)


def _place(found: list[Brief], viewer: Viewer, *, now: datetime) -> Place:
    calls = [b for b in found if _calls(b, viewer, now=now)]
    held = [b for b in found if b.state in _HELD]
    worst = min(calls or held or found, key=_worst)
    mine = any(b.owner == viewer.staff_id for b in held)
    if calls:
        section = min((_urgency(b, now=now) for b in calls), key=_ORDER.__getitem__)
        due_at = min(b.due_at for b in calls)
    else:
        section = Section.YOURS if mine else Section.IN_PROGRESS if held else Section.RESTING
        due_at = worst.due_at
    return Place(section, worst.patient_id, worst.episode_id, worst.severity, due_at, mine)


_HELD: Final = frozenset({State.CLAIMED, State.ESCALATED})


def _worst(brief: Brief) -> tuple[int, datetime, int]:
    return -RANK[brief.severity], brief.due_at, brief.episode_id.int


def _urgency(brief: Brief, *, now: datetime) -> Section:
    """Being late moves it up by one, so that what is forgotten rises and a late watch does not drown a critical."""
    if brief.severity is Severity.CRITICAL:
        return Section.NOW
    late = brief.due_at <= now
    if brief.severity is Severity.HIGH:
        return Section.NOW if late else Section.NEXT
    return Section.NEXT if late else Section.LATER


def _calls(brief: Brief, viewer: Viewer, *, now: datetime) -> bool:
    """Does it ask this viewer to come? An escalation that no provider answered in time asks everybody again."""
    if brief.state is State.WAITING:
        return True
    return brief.state is State.ESCALATED and (viewer.provider or brief.due_at <= now)


def waiting(found: Iterable[Place]) -> int:
    """How many patients ask for somebody."""
    return sum(place.section in CALLING for place in found)


def summary(found: Iterable[Place]) -> str:
    """The one sentence at the top of the list."""
    sections = [place.section for place in found]
    now = sections.count(Section.NOW)
    if now:
        return f"{now} {'patient needs' if now == 1 else 'patients need'} somebody now"
    calling = sum(section in CALLING for section in sections)
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
