"""What alerts says: every move of every episode, so that the next room can make work of it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

ALERTS = "alerts.v1"


class Severity(StrEnum):
    WATCH = "watch"
    HIGH = "high"
    CRITICAL = "critical"


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
