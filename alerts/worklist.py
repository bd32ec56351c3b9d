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
    patients: dict[UUID, list[Brief]] = {}
    for brief in briefs:
        patients.setdefault(brief.patient_id, []).append(brief)
    return sorted((_place(found, viewer, now=now) for found in patients.values()), key=Place.key)


def _place(found: list[Brief], viewer: Viewer, *, now: datetime) -> Place:
    calls = [b for b in found if _calls(b, viewer, now=now)]
    held = [b for b in found if b.state in _HELD]
    asking = calls or held or found
    worst = asking[0] if len(asking) == 1 else min(asking, key=_worst)
    if not calls:
        mine = any(b.owner == viewer.staff_id for b in held)
        section = Section.YOURS if mine else Section.IN_PROGRESS if held else Section.RESTING
    else:
        section = min((_urgency(b, now=now) for b in calls), key=_ORDER.__getitem__)
    due_at = worst.due_at if len(calls) < 2 else min(b.due_at for b in calls)  # noqa: PLR2004
    mine = any(b.owner == viewer.staff_id for b in held)
    return Place(section, worst.patient_id, worst.episode_id, worst.severity, due_at, mine)


_HELD: Final = frozenset({State.CLAIMED, State.ESCALATED})


def _worst(brief: Brief) -> tuple[int, datetime, int]:
    return -RANK[brief.severity], brief.due_at, brief.episode_id.int


def _urgency(brief: Brief, *, now: datetime) -> Section:
    """Being late moves it up by one, so that what is forgotten rises and a late watch does not drown a critical."""
    section = {Severity.CRITICAL: Section.NOW, Severity.HIGH: Section.NEXT}.get(brief.severity, Section.LATER)
    if brief.due_at > now or section is Section.NOW:
        return section
    return Section.NOW if section is Section.NEXT else Section.NEXT


def _calls(brief: Brief, viewer: Viewer, *, now: datetime) -> bool:
    """Does it ask this viewer to come? An escalation that no provider answered in time asks everybody again."""
    if brief.state is State.ESCALATED:
        return viewer.provider or brief.due_at <= now
    return brief.state is State.WAITING


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
