"""One episode, from first reading to last word: the states and the one table of moves.

An episode is a value. `step` gives the next value and the numbered transition that made it, or says in a
sentence why that move cannot be made. Nothing else may change a state. No clock and no database here.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from alerts.concerns import Queue
from alerts.events import EpisodeMoved, Move, Severity, move_id
from risk.events import Evidence


class State(StrEnum):
    WAITING = "waiting"  # nobody has it
    CLAIMED = "claimed"  # one person has it
    ESCALATED = "escalated"  # waits for a provider
    HANDLED = "handled"  # dispositioned: rests, comes back if it must, closes when calm
    SNOOZED = "snoozed"  # rests until an instant, for a reason
    CLOSED = "closed"


class Actor(StrEnum):
    """Who may make a move."""

    LAMP = "lamp"  # Lamplight itself: a reading, a timer
    PERSON = "person"
    EITHER = "either"


_L, _P, _E = Actor.LAMP, Actor.PERSON, Actor.EITHER
_S = State

MOVES: Final[dict[tuple[State | None, Move], tuple[State, Actor]]] = {
    (None, Move.OPENED): (_S.WAITING, _L),
    (_S.WAITING, Move.WORSENED): (_S.WAITING, _L),
    # A person took a reading back; calmer readings never ease it unseen.
    (_S.WAITING, Move.EASED): (_S.WAITING, _L),
    (_S.WAITING, Move.CLAIMED): (_S.CLAIMED, _P),
    (_S.WAITING, Move.ESCALATED): (_S.ESCALATED, _E),
    (_S.WAITING, Move.DISPOSITIONED): (_S.HANDLED, _P),
    (_S.WAITING, Move.SNOOZED): (_S.SNOOZED, _P),
    (_S.WAITING, Move.TASK_ASKED): (_S.WAITING, _P),
    (_S.WAITING, Move.CLOSED): (_S.CLOSED, _L),  # a watch gone calm by itself; worse waits to be seen
    (_S.CLAIMED, Move.WORSENED): (_S.CLAIMED, _L),
    (_S.CLAIMED, Move.EASED): (_S.CLAIMED, _L),
    (_S.CLAIMED, Move.HANDED_BACK): (_S.WAITING, _E),
    (_S.CLAIMED, Move.ESCALATED): (_S.ESCALATED, _P),
    (_S.CLAIMED, Move.DISPOSITIONED): (_S.HANDLED, _P),
    (_S.CLAIMED, Move.SNOOZED): (_S.SNOOZED, _P),
    (_S.CLAIMED, Move.TASK_ASKED): (_S.CLAIMED, _P),
    (_S.ESCALATED, Move.WORSENED): (_S.ESCALATED, _L),
    (_S.ESCALATED, Move.EASED): (_S.ESCALATED, _L),
    (_S.ESCALATED, Move.CLAIMED): (_S.CLAIMED, _P),
    (_S.ESCALATED, Move.HANDED_BACK): (_S.WAITING, _P),
    (_S.ESCALATED, Move.DISPOSITIONED): (_S.HANDLED, _P),
    (_S.ESCALATED, Move.TASK_ASKED): (_S.ESCALATED, _P),
    (_S.HANDLED, Move.WORSENED): (_S.WAITING, _L),
    (_S.HANDLED, Move.REOPENED): (_S.WAITING, _E),
    (_S.HANDLED, Move.EASED): (_S.HANDLED, _L),
    (_S.HANDLED, Move.TASK_ASKED): (_S.HANDLED, _P),
    (_S.HANDLED, Move.CLOSED): (_S.CLOSED, _E),
    (_S.SNOOZED, Move.WORSENED): (_S.WAITING, _L),
    (_S.SNOOZED, Move.WOKEN): (_S.WAITING, _E),
    (_S.SNOOZED, Move.EASED): (_S.SNOOZED, _L),
    (_S.SNOOZED, Move.CLAIMED): (_S.CLAIMED, _P),
    (_S.SNOOZED, Move.TASK_ASKED): (_S.SNOOZED, _P),
    (_S.SNOOZED, Move.CLOSED): (_S.CLOSED, _L),
    (_S.CLOSED, Move.REOPENED): (_S.WAITING, _E),
}
"""Every legal move: (state before, move) to (state after, who may). What is not here cannot happen."""

NEEDS_SOMEBODY: Final = frozenset({State.WAITING, State.ESCALATED})
"""States whose due time counts down."""
QUIET: Final = frozenset({State.HANDLED, State.SNOOZED})
"""States that nobody is asked to look at, each with an end."""

RANK: Final = {Severity.WATCH: 1, Severity.HIGH: 2, Severity.CRITICAL: 3}


def worse(a: Severity, b: Severity) -> Severity:
    """Return the worse of two.

    >>> worse(Severity.WATCH, Severity.CRITICAL)
    <Severity.CRITICAL: 'critical'>
    """
    return a if RANK[a] >= RANK[b] else b


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One concern of one patient, as of its last transition and its newest evidence.

    `severity` is what it is now, `peak` the worst since it last began. Instants are aware UTC. The finding
    shown (`reason`, `evidence`, `told_*`) is the latest as severe as that, or the one that eased it.
    """

    episode_id: UUID
    practice_id: int
    patient_id: UUID
    concern: str
    queue: Queue
    state: State
    severity: Severity
    peak: Severity
    number: int  # of the last transition; every write expects it
    opened_at: datetime
    since: datetime  # when it last came into the queue: claims and notes never reset it
    due_at: datetime  # when somebody should have come
    first_reading: UUID
    reason: str
    rule: str
    clears: str = ""
    evidence: tuple[Evidence, ...] = ()
    told_reading: UUID
    told_effective_at: datetime
    told_received_at: datetime
    newest_at: datetime  # effective instant of the newest evidence, calm or not
    readings: tuple[UUID, ...] = ()  # evidence so far, the newest `EVIDENCE_KEPT`, oldest first
    count: int = 1  # readings with a finding
    calm: int = 0  # calm readings in a row
    calm_since: datetime | None = None  # effective instant of the first of them
    milder: int = 0  # readings in a row below the present severity
    milder_peak: Severity = Severity.WATCH  # the worst of them
    times: int = 1  # how often it opened or re-opened
    owner: UUID | None = None
    owner_name: str | None = None  # as it was then; a page needs no other room's table
    until: datetime | None = (
        None  # end of the claim's lease, of the snooze, or of the rest after a disposition
    )
    disposition: str | None = None
    handled_at: datetime | None = None
    handled_severity: Severity | None = None
    closed_at: datetime | None = None
    needs_task: bool = False
    back: str = ""  # why it is back in the queue; empty for one that never left


EVIDENCE_KEPT: Final = 50


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a move is made: by what or whom, when, and in which words."""

    at: datetime
    why: str  # the named reason: a triage.Why, or the act's name
    reason: str  # one sentence without a note, for the next room and for every screen
    event: UUID  # the score, or the person's action
    by: UUID | None = None  # None: Lamplight itself
    by_name: str | None = None
    disposition: str | None = None
    note: str = ""  # health data: stays in the database
    needs_task: bool = False


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One move that happened. Append-only."""

    number: int
    move: Move
    before: State | None
    episode: Episode  # as the move left it
    cause: Cause

    def event(self) -> EpisodeMoved:
        """What the next room hears: everything but the note and the names."""
        episode, cause = self.episode, self.cause
        return EpisodeMoved(
            event_id=move_id(episode.episode_id, self.number),
            caused_by=cause.event,
            practice_id=episode.practice_id,
            patient_id=episode.patient_id,
            episode_id=episode.episode_id,
            number=self.number,
            concern=episode.concern,
            move=self.move,
            severity=episode.severity,
            reason=cause.reason,
            at=cause.at,
            by=cause.by,
            disposition=cause.disposition,
            needs_task=cause.needs_task,
            readings=episode.readings,
            why=episode.reason if episode.reason != cause.reason else "",
        )


class NotPossible(msgspec.Struct, frozen=True):
    """A move that cannot be made now, in a sentence for the person who tried."""

    sentence: str


def begin(episode: Episode, cause: Cause) -> Transition:
    """The first transition of a new episode."""
    state, _ = MOVES[None, Move.OPENED]
    if (episode.state, episode.number) != (state, 1):
        raise ValueError(
            f"episode {episode.episode_id} begins {episode.state}, number {episode.number}; waiting, 1 wanted"
        )
    return Transition(number=1, move=Move.OPENED, before=None, episode=episode, cause=cause)


def step(episode: Episode, move: Move, cause: Cause, **changes: Any) -> Transition | NotPossible:
    """Make `move` if the table has it for this state and this kind of actor.

    `changes` are the fields that the move sets besides the state and the number.
    """
    found = MOVES.get((episode.state, move))
    if found is None:
        return NotPossible(f"This episode is {episode.state}: {_INFINITIVE[move]} is not possible now.")
    after, actor = found
    if actor is not Actor.EITHER and (actor is Actor.PERSON) != (cause.by is not None):
        who = "a person" if actor is Actor.PERSON else "Lamplight itself, on a reading or a timer,"
        return NotPossible(f"This episode is {episode.state}: {_INFINITIVE[move]} is for {who} to do.")
    number = episode.number + 1
    moved = msgspec.structs.replace(
        episode,
        **{**changes, "state": after, "number": number, "needs_task": episode.needs_task or cause.needs_task},
    )
    return Transition(number=number, move=move, before=episode.state, episode=moved, cause=cause)


_INFINITIVE: Final = {
    Move.OPENED: "opening it",
    Move.WORSENED: "raising it",
    Move.EASED: "easing it",
    Move.REOPENED: "re-opening it",
    Move.CLAIMED: "claiming it",
    Move.HANDED_BACK: "handing it back",
    Move.ESCALATED: "escalating it",
    Move.DISPOSITIONED: "a disposition",
    Move.CLOSED: "closing it",
    Move.TASK_ASKED: "asking for a care task",
    Move.SNOOZED: "snoozing it",
    Move.WOKEN: "waking it",
}
