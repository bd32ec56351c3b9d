"""The work's use cases: an episode becomes one task; people take it, tick it, hand it over, escalate it, finish it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import psycopg

from alerts.events import EpisodeMoved
from ccm_bridge import store, tasks
from ccm_bridge.enrolment import CLINICAL
from ccm_bridge.store import By, Connection, Work
from ccm_bridge.tasks import FINISHED, MOVES, Item, State, Why

WORKING = frozenset({"nurse", "coordinator", "physician"})
"""Roles that do care-management work; the others may look."""


class Who(Protocol):
    """The signed-in person, as the frame knows them."""

    @property
    def staff_id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def credential(self) -> str | None: ...
    @property
    def practice_id(self) -> int: ...
    @property
    def practice_name(self) -> str: ...
    @property
    def zone(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was asked for did not happen; the sentence says why and what to do. `status` is HTTP's word for it."""

    status: int
    sentence: str
    entry_id: UUID | None = None  # the entry that stands in the way


def by(who: Who, now: datetime) -> By:
    return By(practice_id=who.practice_id, staff_id=who.staff_id, name=who.name, at=now)


def clinical(who: Who) -> Refused | None:
    """Only clinical work counts, so only clinical people can log it (CMS: non-clinical staff time cannot be counted)."""
    if who.role not in WORKING:
        return Refused(
            status=403, sentence=f"Minutes are logged by clinical staff; you are signed in as {who.role}."
        )
    if (who.credential or "").upper().rstrip(".") not in CLINICAL:
        return Refused(
            status=403,
            sentence="Your account has no clinical credential, so your time cannot count as care management.",
        )
    return None


class CcmRoom:
    """What the pump calls with the moves of episodes. It keeps nothing in memory and tells no room further on."""

    async def handle(
        self,
        conn: Connection,
        events: Sequence[EpisodeMoved],
        *,
        now: datetime,  # noqa: ARG002 - see below
    ) -> Sequence[EpisodeMoved]:
        """Keep what was told, and let one task follow from each episode that asks for work.

        `now` is not used: a task's times come from the moves themselves, so a replay makes the same task.
        """
        await store.tell(conn, events)
        known = await store.of_episodes(conn, {event.episode_id for event in events})
        for event in events:
            before = known.get(event.episode_id)
            decision = tasks.decide(event, before)
            match decision.why:
                case Why.NO_WORK | Why.KNOWN:
                    continue
                case Why.MAKE:
                    assert decision.task is not None  # noqa: S101 - MAKE carries a task
                    title = tasks.concern_words(event.concern)
                    await store.make(conn, event, decision.task, tasks.checklist(event.concern), title)
                case _:
                    assert before is not None  # noqa: S101 - only a known task changes
                    assert decision.task is not None  # noqa: S101
                    if not await store.change(conn, before, decision.task):
                        raise RuntimeError(
                            f"task {before.task_id} was {before.state} under lock and is not any more"
                        )
            if decision.task is not None:
                known[event.episode_id] = decision.task
        return ()

    async def park(
        self,
        conn: Connection,
        event: EpisodeMoved,
        *,
        reason: str,  # noqa: ARG002 - the pump keeps it with the parked record
        now: datetime,
    ) -> Sequence[EpisodeMoved]:
        """A move that could not be served becomes a task all the same: somebody looks at the alert itself."""
        task = tasks.Task(
            task_id=tasks.task_id(event.episode_id),
            state=State.OPEN,
            severity=event.severity,
            reason="An alert about this patient could not be turned into work by itself: look at the alert.",
            due_at=now + tasks.DUE[event.severity],
            episode_state="open",
            last_number=event.number,
        )
        try:
            async with conn.transaction():
                await store.make(
                    conn, event, task, tasks.checklist(event.concern), tasks.concern_words(event.concern)
                )
        except psycopg.Error:
            return ()  # not even a task can be written, e.g. an unknown patient: the parked record itself remains
        return ()

    def forget(self) -> None:
        """Nothing is remembered."""


# What people do with a task -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing a person does with a task; `move_id` is made by the browser, so repeating it changes nothing."""

    move_id: UUID
    task_id: UUID
    move: str  # take, hand_back, hand_over, escalate, acknowledge, answer, note, done, cancel, reopen
    note: str = ""
    to: UUID | None = None  # hand_over: to whom


MOVE_WORDS = {
    "take": "took it",
    "hand_back": "handed it back",
    "hand_over": "handed it over",
    "escalate": "escalated it to the practitioner",
    "acknowledge": "has seen the escalation and will answer",
    "answer": "answered the escalation",
    "note": "noted",
    "done": "finished it",
    "cancel": "cancelled it",
    "reopen": "opened it again",
}

NEEDS_WORDS = {
    "hand_over": "Say what the next person needs to know.",
    "escalate": "Say what you ask the practitioner to decide.",
    "answer": "Write the answer.",
    "note": "Write the note.",
    "done": "Say what came of it.",
    "cancel": "Say why the work is not needed.",
    "reopen": "Say why the work is needed again.",
}


async def act(  # noqa: PLR0911 - each refusal is its own sentence
    conn: Connection, who: Who, one: Act, *, colleagues: dict[UUID, str], now: datetime
) -> Work | Refused:
    """Move a task. The task as it now stands, or why it did not move."""
    if who.role not in WORKING:
        return Refused(
            status=403, sentence=f"Tasks are worked by the care team; you are signed in as {who.role}."
        )
    note = one.note.strip()
    if one.move in NEEDS_WORDS and not note:
        return Refused(status=422, sentence=NEEDS_WORDS[one.move])
    found = await store.task(conn, one.task_id)
    if found is None:
        return Refused(status=404, sentence="There is no such task here.")
    if one.move in ("acknowledge", "answer") and who.role != "physician":
        return Refused(status=403, sentence="The answer to an escalation is the practitioner's.")
    me = (who.staff_id, who.name)
    owner = (found.owner_id, found.owner_name) if found.owner_id and found.owner_name else None
    if one.move == "hand_over" and one.to not in colleagues:
        return Refused(status=422, sentence="Choose a colleague of this practice to hand over to.")

    target: dict[str, tuple[State, tuple[UUID, str] | None]] = {
        "take": (State.TAKEN, me),
        "hand_back": (State.OPEN, None),
        "hand_over": (State.TAKEN, (one.to, colleagues[one.to]) if one.to in colleagues else None),
        "escalate": (State.ESCALATED, owner or me),
        "acknowledge": (State.ESCALATED, owner),
        "answer": (State.TAKEN if owner else State.OPEN, owner),
        "done": (State.DONE, owner or me),
        "cancel": (State.CANCELLED, owner or me),
        "reopen": (State.OPEN, None),
    }
    async with conn.transaction():
        if not await store.note_move(
            conn, one.move_id, one.task_id, move=one.move, note=note, by=by(who, now)
        ):
            return await _again(conn, one.task_id)
        if one.move != "note":
            if one.move not in target:
                raise ValueError(f"task {one.task_id} cannot be moved by {one.move!r}")
            to, new_owner = target[one.move]
            moved = await store.set_state(
                conn,
                one.task_id,
                expected=_expected(one.move, to),
                to=to,
                owner=new_owner,
                by=by(who, now),
                outcome=note if to in FINISHED else None,
            )
            if not moved:
                raise _Elsewhere
    return await _again(conn, one.task_id)


class _Elsewhere(Exception):
    """The task is no longer as the person saw it."""


def _expected(move: str, to: State) -> frozenset[State]:
    if move in ("acknowledge", "answer"):
        return frozenset({State.ESCALATED})
    if move == "take":
        return frozenset({State.OPEN, State.ESCALATED})
    return frozenset(state for state, after in MOVES.items() if to in after)


async def _again(conn: Connection, task_id: UUID) -> Work:
    found = await store.task(conn, task_id)
    if found is None:
        raise RuntimeError(f"task {task_id} was just moved and is not there")
    return found


async def move(
    conn: Connection, who: Who, one: Act, *, colleagues: dict[UUID, str], now: datetime
) -> Work | Refused:
    """`act`, with the answer for a task that somebody else moved meanwhile."""
    try:
        return await act(conn, who, one, colleagues=colleagues, now=now)
    except _Elsewhere:
        stands = await _again(conn, one.task_id)
        owner = f" by {stands.owner_name}" if stands.owner_name else ""
        return Refused(
            status=409, sentence=f"This task is {stands.state}{owner} by now. Nothing was changed."
        )


async def tick(
    conn: Connection, who: Who, task_id: UUID, key: str, *, done: bool, now: datetime
) -> Work | Refused:
    """Tick or untick one step. Two people ticking at once both find their ticks."""
    if who.role not in WORKING:
        return Refused(
            status=403, sentence=f"Tasks are worked by the care team; you are signed in as {who.role}."
        )
    for _ in range(20):
        found = await store.task(conn, task_id)
        if found is None:
            return Refused(status=404, sentence="There is no such task here.")
        if found.finished:
            return Refused(status=409, sentence=f"This task is {found.state}: its checklist is closed.")
        marks = {"done_at": now.isoformat() if done else None, "done_by_name": who.name if done else None}
        after = [item | marks if item["key"] == key else item for item in found.checklist]
        if after == found.checklist or await store.set_checklist(
            conn, task_id, before=found.checklist, after=after
        ):
            return replace(found, checklist=after)
    return Refused(status=409, sentence="Others are changing this checklist. Try again in a moment.")


async def add(
    conn: Connection,
    who: Who,
    task_id: UUID,
    *,
    patient_id: UUID,
    title: str,
    reason: str,
    severity: str,
    due_at: datetime,
    items: Sequence[Item],
    now: datetime,
    kind: str = "manual",
) -> Work | Refused:
    """A task that a person, or the plan, asks for."""
    if who.role not in WORKING:
        return Refused(
            status=403, sentence=f"Tasks are made by the care team; you are signed in as {who.role}."
        )
    if not title.strip() or not reason.strip():
        return Refused(status=422, sentence="A task needs a title and a reason.")
    await store.add_task(
        conn,
        task_id,
        patient_id=patient_id,
        kind=kind,
        title=title.strip(),
        reason=reason.strip(),
        severity=severity,
        items=items,
        due_at=due_at,
        by=by(who, now),
    )
    return await _again(conn, task_id)
