"""What people do with episodes: each act is a rule that gives the transitions to store, or says why not.

An act may touch several episodes of one patient at once: one telephone call covers them all. Every transition names
the act as its cause, and undoing names it again.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from alerts import episode as ep
from alerts.concerns import Queue
from alerts.dispositions import DISPOSITIONS, refusal
from alerts.episode import Cause, Episode, NotPossible, State, Transition
from alerts.events import Move, Severity
from alerts.policy import Policy

PHYSICIAN: Final = "physician"
NOBODY: Final = {"owner": None, "owner_name": None, "until": None}


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: from the session, never from the form."""

    staff_id: UUID
    name: str
    role: str
    zone: str  # IANA name: sentences and "today" are in the practice's civil time


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing one person does at one moment. Its id is the cause of every transition it makes."""

    act_id: UUID
    person: Person
    policy: Policy
    now: datetime

    def cause(self, why: str, reason: str, **more: Any) -> Cause:
        return Cause(
            at=self.now,
            why=why,
            reason=reason,
            event=self.act_id,
            by=self.person.staff_id,
            by_name=self.person.name,
            **more,
        )

    def clock(self, at: datetime, beside: datetime | None = None) -> str:
        """An instant as this person says it: the time alone today, or on the day of the one it is said beside."""
        zone = ZoneInfo(self.person.zone)
        there, known = at.astimezone(zone), (beside or self.now).astimezone(zone).date()
        return f"{there:%H:%M}" if there.date() == known else f"{there.day} {there:%b %H:%M}"

    def lease(self, episode: Episode) -> dict[str, Any]:
        """The fields of an episode in this person's hands."""
        return {
            "owner": self.person.staff_id,
            "owner_name": self.person.name,
            "until": self.now + self.policy.leases.of(episode.severity),
        }


Answer = list[Transition] | NotPossible


class SnoozeReason(StrEnum):
    """Why an episode may rest before it is settled. The value is what the row says."""

    UNREACHED = "could not reach the patient yet"
    RECHECK = "waiting for a repeat reading"
    PROVIDER = "waiting for the provider's answer"
    APPOINTMENT = "the patient is seen today"


class Last(msgspec.Struct, frozen=True, kw_only=True):
    """The last transition of an episode, as far as undoing asks about it."""

    number: int
    move: Move
    before: State | None
    at: datetime
    by: UUID | None
    caused_by: UUID
    why: str


def claim(act: Act, episodes: Sequence[Episode]) -> Answer:
    """Take everything of this patient that waits; a provider also takes what was escalated.

    Exactly one person wins: who comes second reads who was first.
    """
    takes = {State.WAITING, State.ESCALATED} if act.person.role == PHYSICIAN else {State.WAITING}
    free = [e for e in episodes if e.state in takes]
    if free:
        return _each(act, free, Move.CLAIMED, "claim", "Claimed.", act.lease)
    held = next((e for e in episodes if e.state is State.CLAIMED), None)
    if held is not None and held.owner == act.person.staff_id:
        return NotPossible("You already have this patient.")
    if held is not None:
        return NotPossible(_held(act, held))
    if any(e.state is State.ESCALATED for e in episodes):
        return NotPossible("This waits for a provider. Take it back first to go on with it yourself.")
    return NotPossible("Nothing of this patient waits any more.")


def take_over(act: Act, episodes: Sequence[Episode]) -> Answer:
    """Take what a colleague has, openly: the shift changed, or they were called away."""
    held = [e for e in episodes if e.state is State.CLAIMED and e.owner != act.person.staff_id]
    back = _each(act, held, Move.HANDED_BACK, "take_over", "Taken over by a colleague.", lambda _: NOBODY)
    if isinstance(back, NotPossible):
        return back
    taken = _each(act, [t.episode for t in back], Move.CLAIMED, "take_over", "Taken over.", act.lease)
    return taken if isinstance(taken, NotPossible) else [*back, *taken]


def hand_back(act: Act, episodes: Sequence[Episode]) -> Answer:
    """Give it back to everybody; its age and due time stay as they were. Anybody may take back an escalation."""
    mine = [e for e in episodes if e.owner == act.person.staff_id]
    mine = mine or [e for e in episodes if e.state is State.ESCALATED]
    if not mine and episodes:
        return _somebody_elses(act, episodes) or NotPossible(
            "You do not have this, so you cannot hand it back."
        )
    return _each(act, mine, Move.HANDED_BACK, "hand_back", "Handed back.", lambda _: NOBODY)


def escalate(act: Act, episode: Episode, note: str) -> Answer:
    """Ask a provider; the clock starts for them."""
    due = act.policy.provider_due(act.now, episode.severity)
    return _somebody_elses(act, [episode]) or _each(
        act,
        [episode],
        Move.ESCALATED,
        "escalate",
        "Escalated to a provider.",
        lambda _: NOBODY | {"due_at": due},
        note=note.strip(),
    )


def settle(act: Act, episode: Episode, *, code: str, note: str, needs_task: bool, close: bool) -> Answer:
    """Record what it was and what was done: it rests, or closes at once if asked to."""
    refused = refusal(code, note)
    if refused:
        return NotPossible(refused)
    known = DISPOSITIONS[code]
    made = _somebody_elses(act, [episode]) or _each(
        act,
        [episode],
        Move.DISPOSITIONED,
        "settle",
        f"{known.label}.",
        lambda e: (
            NOBODY
            | {
                "disposition": code,
                "handled_at": act.now,
                "handled_severity": e.severity,
                "until": act.policy.closes(act.now, code, e.severity),
                "back": "",
            }
        ),
        disposition=code,
        note=note.strip(),
        needs_task=needs_task,
    )
    if isinstance(made, NotPossible) or not close:
        return made
    ended = close_now(act, made[-1].episode)
    return ended if isinstance(ended, NotPossible) else [*made, *ended]


SEEN: Final = "seen"


def benign(episode: Episode) -> bool:
    """Only ever a watch, and nobody has it: one glance may be all it needs."""
    return (
        episode.queue is Queue.CLINICAL
        and episode.state is State.WAITING
        and episode.severity is Severity.WATCH
        and episode.peak is Severity.WATCH
    )


def settle_benign(act: Act, found: Sequence[tuple[Episode, int]]) -> tuple[list[Transition], int]:
    """Say of many benign episodes at once that they were seen; (what was done, how many were left as they were).

    `found` has each episode with the number of the last transition that the page showed: what moved since, or is not
    benign any more, is left for a look of its own.
    """
    made: list[Transition] = []
    left = 0
    for episode, seen in found:
        answer = (
            settle(act, episode, code=SEEN, note="", needs_task=False, close=False)
            if benign(episode) and episode.number == seen
            else NotPossible("It moved.")
        )
        if isinstance(answer, NotPossible):
            left += 1
        else:
            made += answer
    return made, left


def close_now(act: Act, episode: Episode) -> Answer:
    """End it: the next reading over the line brings it back, however soon."""
    return _each(
        act, [episode], Move.CLOSED, "close", "Closed.", lambda _: {"until": None, "closed_at": act.now}
    )


def snooze(act: Act, episode: Episode, *, reason: str, minutes: int) -> Answer:
    """Let it rest for a reason, until an instant, ended early by anything worse."""
    why = SnoozeReason.__members__.get(reason.upper())
    longest = act.policy.snooze_at_most
    if why is None:
        return NotPossible("Choose why it may rest.")
    if not timedelta(0) < timedelta(minutes=minutes) <= longest:
        return NotPossible(f"A snooze ends within {longest // timedelta(hours=1)} hours.")
    if episode.severity is Severity.CRITICAL:
        return NotPossible("Something critical cannot be snoozed: settle it, escalate it or hand it back.")
    until = act.now + timedelta(minutes=minutes)
    return _somebody_elses(act, [episode]) or _each(
        act,
        [episode],
        Move.SNOOZED,
        "snooze",
        f"Snoozed: {why.value}.",
        lambda _: NOBODY | {"until": until, "back": ""},
    )


def ask_task(act: Act, episode: Episode, note: str) -> Answer:
    """Ask for care-management work; the episode stays where it is."""
    if episode.needs_task:
        return NotPossible("A care task was already asked for.")
    return _each(
        act,
        [episode],
        Move.TASK_ASKED,
        "ask_task",
        "Care task asked for.",
        lambda _: {},
        note=note.strip(),
        needs_task=True,
    )


UNDONE_BY: Final = {
    Move.CLAIMED: (Move.HANDED_BACK,),
    Move.HANDED_BACK: (Move.CLAIMED,),
    Move.ESCALATED: (Move.HANDED_BACK, Move.CLAIMED),
    Move.DISPOSITIONED: (Move.REOPENED, Move.CLAIMED),
    Move.CLOSED: (Move.REOPENED, Move.CLAIMED),
    Move.SNOOZED: (Move.WOKEN, Move.CLAIMED),
}
"""Undoing is moving on: the record keeps both. After it the episode waits, or is in the hands it was in."""


def undo(act: Act, episodes: Sequence[tuple[Episode, Last]]) -> Answer:
    """Take back one's own last act on these episodes, the same day, if nothing moved them since."""
    made: list[Transition] = []
    zone = ZoneInfo(act.person.zone)
    for episode, last in episodes:
        if last.by != act.person.staff_id or last.why == "undo" or last.move not in UNDONE_BY:
            return NotPossible("There is nothing of yours to undo here.")
        if last.at.astimezone(zone).date() != act.now.astimezone(zone).date():
            return NotPossible("Only what you did today can be undone.")
        for move in UNDONE_BY[last.move]:
            if move is Move.CLAIMED and last.before is State.WAITING:
                continue  # nobody had it when the act began
            changes: dict[str, Any] = {**NOBODY, "closed_at": None, "back": "Undone."}
            if move is Move.CLAIMED:
                changes |= act.lease(episode)
            step = ep.step(episode, move, act.cause("undo", "Undone."), **changes)
            if isinstance(step, NotPossible):
                return step
            made.append(step)
            episode = step.episode  # noqa: PLW2901 - the second move starts where the first ended
    return made or NotPossible("There is nothing of yours to undo here.")


def moved_meanwhile(act: Act, episode: Episode, seen: int, last: Last) -> NotPossible | None:
    """Somebody is settling what they saw: if it moved since their page was made, they must look again."""
    if episode.number == seen or last.by == act.person.staff_id:
        return None
    return NotPossible(
        f"This changed at {act.clock(last.at)} while your page was open ({last.move.value.replace('_', ' ')})."
        " Look again, then repeat what you meant to do."
    )


def _somebody_elses(act: Act, episodes: Sequence[Episode]) -> NotPossible | None:
    held = next((e for e in episodes if e.owner is not None and e.owner != act.person.staff_id), None)
    return NotPossible(_held(act, held)) if held is not None else None


def _held(act: Act, episode: Episode) -> str:
    until = f" until {act.clock(episode.until)}" if episode.until else ""
    return f"{episode.owner_name} has this{until}. Nothing was changed."


def _each(
    act: Act,
    episodes: Iterable[Episode],
    move: Move,
    why: str,
    reason: str,
    changes: Callable[[Episode], dict[str, Any]],
    **cause: Any,
) -> Answer:
    """The same move on every one of them, or on none."""
    made: list[Transition] = []
    for episode in episodes:
        step = ep.step(episode, move, act.cause(why, reason, **cause), **changes(episode))
        if isinstance(step, NotPossible):
            return step
        made.append(step)
    return made or NotPossible("There is nothing here to do that to.")
