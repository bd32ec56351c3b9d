"""What alerts says: every move of every episode, so that the next room can make work of it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

import msgspec

ALERTS = "alerts.v1"
FACTS = UUID("6f1d0c5e-52f4-5b1c-9c36-1a4c6a4c9d10")
"""Namespace of every computed id: an episode and its moves have the same ids in every replay."""


class Severity(StrEnum):
    WATCH = "watch"
    HIGH = "high"
    CRITICAL = "critical"

    __hash__ = str.__hash__  # Enum's own is a Python call; ranks are looked up for every row of a long list


class Move(StrEnum):
    OPENED = "opened"
    WORSENED = "worsened"
    EASED = "eased"
    REOPENED = "reopened"
    CLAIMED = "claimed"
    HANDED_BACK = "handed_back"
    ESCALATED = "escalated"
    DISPOSITIONED = "dispositioned"
    CLOSED = "closed"
    TASK_ASKED = "task_asked"  # the state stays; `needs_task` says what should follow
    SNOOZED = "snoozed"  # quiet for a while, with a reason, an end and a condition that ends it early
    WOKEN = "woken"  # back from a snooze


class EpisodeMoved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="episode_moved"):
    """One transition of one episode. Number counts from 1 within the episode."""

    event_id: UUID  # fact_id(episode_id, number)
    caused_by: UUID  # the score, or the person's action, that moved it
    practice_id: int
    patient_id: UUID
    episode_id: UUID
    number: int
    concern: str
    move: Move
    severity: Severity
    reason: str  # the finding's sentence, or why a person moved it
    at: datetime
    by: UUID | None = None  # staff, when a person moved it
    disposition: str | None = None  # coded
    needs_task: bool = False  # care-management work should follow
    readings: tuple[UUID, ...] = ()  # the evidence so far
    why: str = ""  # why the episode is there: its finding's sentence, also when a person moved it


def episode_id(patient_id: UUID, concern: str, first_reading: UUID) -> UUID:
    """The id of the episode that this reading began; a replay of the log begins the same one."""
    return uuid5(FACTS, "\x1f".join(("episode", str(patient_id), concern, str(first_reading))))


def move_id(episode: UUID, number: int) -> UUID:
    """The id of an episode's n-th transition.

    >>> a = UUID(int=1)
    >>> move_id(a, 1) == move_id(a, 1), move_id(a, 1) == move_id(a, 2)
    (True, False)
    """
    return uuid5(FACTS, "\x1f".join((str(episode), str(number))))
