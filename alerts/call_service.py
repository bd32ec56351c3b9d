"""The call about an alert: begun with a timer, ended in one motion that settles the alert and logs the minutes.

The minutes are another room's. This one says what it wants of them (`Calls`); the composition root knows who has them.
Both are written in one transaction: either both stand or neither does. The same form sent again finds its minutes in
the ledger under the timer's id and is answered as it was the first time. One call may be about two alerts of a
patient: the first that ends it has its minutes, the second is settled without new ones.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec
import psycopg
from fastapi import Request
from psycopg import AsyncConnection

from alerts import acts, screen_store, service
from alerts.acts import Act, Answer
from alerts.episode import Episode, NotPossible, State


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What the panel offers this person for this patient."""

    why_not: str = ""  # in a sentence, where this person cannot log minutes
    timer_id: UUID | None = None  # of a timer of theirs that runs for this patient
    seconds: int = 0  # that it proves so far
    since: str = ""  # local, as a datetime field takes it
    until: str = ""
    busy_with: str = ""  # the patient another unfinished timer of theirs is for
    busy_page: str = ""
    programs: Sequence[str] = ()
    activities: Mapping[str, str] = {}
    activity: str = ""  # the usual one on such a call
    contacts: Mapping[str, str] = {}
    attestation: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the minutes."""

    refused: str = ""
    again: bool = False  # they stood in the ledger before this request, for this alert
    elsewhere: bool = False  # they stand there, but not for this alert: no new ones were written


ELSEWHERE: Final = (
    "This alert is settled. The minutes of this call were logged before, with other work: none are added."
)
SETTLED: Final = (State.HANDLED, State.CLOSED)


class Calls(Protocol):
    """Port: the time of calls, kept elsewhere in the house."""

    async def of(self, request: Request, conn: AsyncConnection, patient_id: UUID) -> Call | None:
        """None: nobody keeps minutes."""
        ...

    async def begin(
        self, request: Request, conn: AsyncConnection, patient_id: UUID, *, timer_id: UUID, program: str
    ) -> str:
        """Start the timer; a sentence where that cannot be."""
        ...

    async def end(
        self,
        request: Request,
        conn: AsyncConnection,
        patient_id: UUID,
        said: Mapping[str, str],
        *,
        episode_id: UUID,
        readings: Sequence[UUID],
    ) -> Ended:
        """Stop the timer and log what it proves, with what the form says of the call."""
        ...


class NoCalls:
    """A queue beside which nobody keeps minutes."""

    async def of(self, *_: object) -> None:
        return None

    async def begin(self, *_: object, **__: object) -> str:
        return "Nobody keeps minutes here."

    async def end(self, *_: object, **__: object) -> Ended:
        return Ended(refused="Nobody keeps minutes here.")


async def begin(
    calls: Calls,
    request: Request,
    conn: AsyncConnection,
    episode: Episode,
    act: Act,
    *,
    timer_id: UUID,
    program: str,
) -> Answer:
    """Take the patient, if nobody has them yet, and start the timer: colleagues see who calls."""
    if episode.state is State.CLAIMED and episode.owner != act.person.staff_id:
        return NotPossible(f"{episode.owner_name} is on this. Talk to each other before two of you call.")
    answer: Answer = []
    async with conn.transaction() as both:
        if episode.state is State.WAITING:
            answer = await service.claim(conn, episode.patient_id, act, episode.queue)
        if not isinstance(answer, NotPossible):
            why_not = await calls.begin(request, conn, episode.patient_id, timer_id=timer_id, program=program)
            answer = NotPossible(why_not) if why_not else answer
        if isinstance(answer, NotPossible):
            raise psycopg.Rollback(both)
    return answer


async def end(
    calls: Calls,
    request: Request,
    conn: AsyncConnection,
    episode: Episode,
    act: Act,
    said: Mapping[str, str],
    *,
    seen: int,
) -> tuple[Answer, str]:
    """1. The minutes are logged. 2. The alert is settled. 3. If either is refused, neither is written.

    The sentence says where the minutes are, if they are not with this alert.
    """
    code, note = said.get("code", ""), said.get("note", "")
    evidence = await screen_store.evidence(conn, episode.episode_id)
    answer: Answer | None = []
    async with conn.transaction() as both:
        logged = await calls.end(
            request,
            conn,
            episode.patient_id,
            said,
            episode_id=episode.episode_id,
            readings=[item.reading_id for item in evidence if not item.taken_back],
        )
        if logged.refused:
            answer = NotPossible(logged.refused)
        elif not logged.again:
            answer = await service.on_episode(
                conn,
                episode.episode_id,
                act,
                lambda e: (
                    []  # this form again: the ledger does not know it, the alert does
                    if logged.elsewhere and e.state in SETTLED and e.disposition == code
                    else acts.settle(
                        act,
                        e,
                        code=code,
                        note=note,
                        needs_task=said.get("task") == "true",
                        close=said.get("close") == "true",
                    )
                ),
                seen=seen,
            )
        if answer is None or isinstance(answer, NotPossible):
            raise psycopg.Rollback(both)
    if answer is None:
        return NotPossible("This alert is gone."), ""
    return answer, ELSEWHERE if logged.elsewhere and not isinstance(answer, NotPossible) else ""
