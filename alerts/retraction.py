"""A reading was taken back: what becomes of the episodes that rest on it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from alerts import episode as ep
from alerts.episode import RANK, Cause, Episode, State, Transition
from alerts.events import Move, Severity
from risk.events import Evidence, Retracted, Tier

WHY: Final = "withdrawn"
"""The named reason, as `triage.Why` names the others."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A reading that still counts in an episode, with what was said about it."""

    reading_id: UUID
    effective_at: datetime
    received_at: datetime
    tier: Tier
    reason: str
    rule: str
    evidence: tuple[Evidence, ...]


def withdraw(
    known: Episode, retracted: Retracted, left: Sequence[Counted], *, now: datetime
) -> Episode | Transition | None:
    """The episode without the reading: moved, changed in place, or None: it never rested on it.

    `left` is what still counts, without the reading.

    1. Nothing is left: nobody is to be called to it. It closes; what a person has in hand or asked a provider about
       stays with them, as a watch that says why, and they end it.
    2. What is left is milder, or the sentence shown was about the reading: the episode eases to the worst that is
       left and shows that.
    3. Otherwise only the evidence is one reading shorter.
    """
    gone = retracted.reading_id
    if known.state is State.CLOSED or (gone not in known.readings and gone != known.told_reading):
        return None
    changes: dict[str, Any] = {
        "readings": tuple(one for one in known.readings if one != gone),
        "count": max(1, known.count - 1),
    }
    cause = Cause(at=now, why=WHY, reason=sentence(retracted), event=retracted.event_id)
    worst = max(left, key=lambda one: (one.tier.rank, one.effective_at), default=None)
    if worst is None or worst.tier is Tier.ROUTINE:
        if known.state in (State.CLAIMED, State.ESCALATED):
            return _moved(
                known, Move.EASED, cause, **changes, severity=Severity.WATCH, reason=cause.reason, evidence=()
            )
        ended = {"closed_at": now, "owner": None, "owner_name": None, "until": None}
        return _moved(known, Move.CLOSED, cause, **changes, **ended)
    severity = min(known.severity, Severity(worst.tier), key=RANK.__getitem__)
    if severity is known.severity and known.told_reading != gone:
        return msgspec.structs.replace(known, **changes)
    return _moved(
        known,
        Move.EASED,
        cause,
        **changes,
        severity=severity,
        reason=worst.reason,
        rule=worst.rule,
        evidence=worst.evidence,
        told_reading=worst.reading_id,
        told_effective_at=worst.effective_at,
        told_received_at=worst.received_at,
    )


def sentence(retracted: Retracted) -> str:
    """Why, for every screen and for the next room: without the person's words, which are health data."""
    what = "corrected" if retracted.superseded_by is not None else "withdrawn"
    return f"A reading behind this was {what} by {retracted.by_name}."


def _moved(known: Episode, move: Move, cause: Cause, **changes: Any) -> Transition:
    made = ep.step(known, move, cause, **changes)
    if isinstance(made, ep.NotPossible):  # the table and this file disagree: a fault of ours
        raise TypeError(f"episode {known.episode_id} is {known.state}, a withdrawal wanted {move}")
    return made
