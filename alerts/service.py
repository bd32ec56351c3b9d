"""The alerts room: what the pump calls with scores, what pages call for people, what the timers call by themselves."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from itertools import groupby
from typing import Final, Protocol
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection

from alerts import acts, policy_store, store
from alerts.absence import weigh
from alerts.acts import Act, Answer, Last
from alerts.concerns import Queue
from alerts.episode import Episode, NotPossible, Transition
from alerts.events import EpisodeMoved
from alerts.policy import DEFAULT, Policy
from alerts.retraction_store import take_back
from alerts.timers import ended
from alerts.triage import Outcome, fold
from risk.events import Concern, Finding, Retracted, Said, Scored, Tier

log = structlog.get_logger()

Transact = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


class AlertsRoom:
    """scores.v1 in, episodes in the database, alerts.v1 out. Remembers nothing between batches."""

    def __init__(self, policy: Policy = DEFAULT) -> None:
        self._policy = policy

    async def handle(
        self, conn: AsyncConnection, events: Sequence[Said], *, now: datetime
    ) -> Sequence[EpisodeMoved]:
        """Scores are triaged, what was taken back is left out, in the order in which it was said."""
        moved: list[EpisodeMoved] = []
        for taken_back, run in groupby(events, key=lambda event: isinstance(event, Retracted)):
            said = list(run)
            if taken_back:
                for event in said:
                    if isinstance(event, Retracted):
                        moved += [t.event() for t in await take_back(conn, event, now=now)]
            else:
                moved += await self._hear(conn, [one for one in said if isinstance(one, Scored)], now=now)
        return moved

    async def _hear(
        self, conn: AsyncConnection, events: Sequence[Scored], *, now: datetime
    ) -> Sequence[EpisodeMoved]:
        """Triage a batch.

        1. Keep each reading's numbers; a reading known before (replay, re-score) stops here. Something came:
           the next reading is due a while after it.
        2. Load and lock what is known about these patients, in one query.
        3. Decide score by score, in order: pure.
        4. Write episodes, evidence and transitions; their events leave with the pump's outbox.
        """
        async with conn.pipeline():
            new = await store.observe(conn, events)
            scores = [scored for scored in events if _first(scored, new)]
            await store.expect(conn, [s for s in scores if not s.history], every=self._policy.expect_every)
            outcomes = await self._triage(conn, scores, now=now)
        return [t.event() for t in outcomes]

    async def _triage(
        self, conn: AsyncConnection, scores: Sequence[Scored], *, now: datetime
    ) -> list[Transition]:
        live = [scored for scored in scores if not scored.history]
        if not live:
            return []
        patients = {scored.patient_id for scored in live}
        oldest = min(scored.received_at for scored in live)
        practices = {scored.practice_id for scored in live}
        policies = await policy_store.in_force(conn, practices, otherwise=self._policy)
        known = await store.known(conn, patients, closed_since=oldest - self._policy.reopen_within)
        before = {e.episode_id: e.number for concerns in known.values() for e in concerns.values()}
        done: list[tuple[Scored, Outcome]] = []
        for scored in live:
            concerns = known.setdefault(scored.patient_id, {})
            for outcome in fold(scored, concerns, policies.of(scored.practice_id), now=now):
                if outcome.episode is not None and outcome.episode is not concerns.get(outcome.concern):
                    concerns[outcome.concern] = outcome.episode
                    done.append((scored, outcome))
        transitions = await store.save(conn, before, [outcome for _, outcome in done])
        await store.save_evidence(conn, done)
        return transitions

    async def park(
        self, conn: AsyncConnection, event: Said, *, reason: str, now: datetime
    ) -> Sequence[EpisodeMoved]:
        """Say in the technical queue that a score could not be triaged, whatever it was about."""
        if isinstance(event, Retracted):
            return []  # the record is kept aside, and said loudly; the episodes stand as they were
        unread = Finding(
            concern=Concern.SCORE_INCOMPLETE,
            tier=Tier.WATCH,
            reason="A reading's score could not be triaged; the record is kept aside.",
            rule=f"alerts.parked ({reason})",
            clears="the next reading that can be scored and triaged",
        )
        told = msgspec.structs.replace(event, findings=(unread,), assessed=(), bands=(), history=False)
        with suppress(
            psycopg.IntegrityError, psycopg.DataError
        ):  # the very thing that is wrong with the event
            async with conn.transaction():
                return [t.event() for t in await self._triage(conn, [told], now=now)]
        return []

    def forget(self) -> None:
        """Nothing is remembered."""


def _first(scored: Scored, new: set[UUID]) -> bool:
    """True once per new reading: a batch may hold two scores of the same one."""
    if scored.caused_by not in new:
        return False
    new.discard(scored.caused_by)
    return True


# People -------------------------------------------------------------------------------------------------------------


async def claim(conn: AsyncConnection, patient_id: UUID, act: Act, queue: Queue = Queue.CLINICAL) -> Answer:
    """Everything of this patient that waits in one queue, for one person."""
    found = await store.locked_of_patient(conn, patient_id, queue)
    return await _perform(conn, found, lambda episodes: acts.claim(act, episodes))


async def take_over(
    conn: AsyncConnection, patient_id: UUID, act: Act, queue: Queue = Queue.CLINICAL
) -> Answer:
    """What a colleague has of this patient, openly."""
    found = await store.locked_of_patient(conn, patient_id, queue)
    return await _perform(conn, found, lambda episodes: acts.take_over(act, episodes))


async def hand_back(
    conn: AsyncConnection, patient_id: UUID, act: Act, queue: Queue = Queue.CLINICAL
) -> Answer:
    """What one has of this patient, to everybody."""
    found = await store.locked_of_patient(conn, patient_id, queue)
    return await _perform(conn, found, lambda episodes: acts.hand_back(act, episodes))


async def on_episode(
    conn: AsyncConnection,
    episode_id: UUID,
    act: Act,
    decide: Callable[[Episode], Answer],
    *,
    seen: int | None = None,
) -> Answer | None:
    """One act on one episode; None if this practice has no such episode.

    `seen` is the number of the last transition the person's page showed: if the episode moved since, they must look
    again before they settle what they have not seen.
    """
    found = await store.locked(conn, episode_id)
    if found is None:
        return None
    episode, last = found
    if seen is not None and (moved := acts.moved_meanwhile(act, episode, seen, last)):
        return moved
    return await _perform(conn, [found], lambda episodes: decide(episodes[0]))


async def settle_benign(
    conn: AsyncConnection, act: Act, seen: Mapping[UUID, int]
) -> tuple[list[Episode], int]:
    """Acknowledge many benign episodes in one act; (those that were, how many were left)."""
    found = await store.locked_ones(conn, seen)
    made, left = acts.settle_benign(act, [(episode, seen[episode.episode_id]) for episode, _ in found])
    await store.save_act(conn, {episode.episode_id: episode.number for episode, _ in found}, made)
    return [t.episode for t in made], left + len(seen) - len(found)


async def undo(conn: AsyncConnection, act_id: UUID, act: Act) -> Answer:
    """Take back everything that act did."""
    found = await store.locked_of_act(conn, act_id)
    return await _write(conn, found, acts.undo(act, found))


async def comment(
    conn: AsyncConnection, episode_id: UUID, act: Act, *, comment_id: UUID, said: str
) -> NotPossible | None:
    """Say something about an episode; it is not a move, and its age stays. None: done."""
    found = await store.locked(conn, episode_id)
    if found is None:
        return NotPossible("There is no such episode.")
    if not 0 < len(said.strip()) <= COMMENT_LENGTH:
        return NotPossible(f"A comment has between 1 and {COMMENT_LENGTH} characters.")
    person = act.person
    await store.add_comment(
        conn,
        comment_id=comment_id,
        episode=found[0],
        by=person.staff_id,
        name=person.name,
        at=act.now,
        said=said.strip(),
    )
    return None


COMMENT_LENGTH: Final = 4000


async def _perform(
    conn: AsyncConnection, found: Sequence[tuple[Episode, Last]], decide: Callable[[list[Episode]], Answer]
) -> Answer:
    return await _write(conn, found, decide([episode for episode, _ in found]))


async def _write(conn: AsyncConnection, found: Sequence[tuple[Episode, Last]], answer: Answer) -> Answer:
    if not isinstance(answer, NotPossible):
        await store.save_act(conn, {episode.episode_id: episode.number for episode, _ in found}, answer)
    return answer


# Timers -------------------------------------------------------------------------------------------------------------

SWEEP: Final = 200


async def end_what_is_over(conn: AsyncConnection, *, now: datetime) -> int:
    """Leases, snoozes and rests whose end has passed; how many moved. Several processes may do it at once."""
    found = await store.locked_at_their_end(conn, now=now, limit=SWEEP)
    made = [t for episode, last in found if (t := ended(episode, last, now=now))]
    await store.save_act(conn, {episode.episode_id: episode.number for episode, _ in found}, made)
    return len(made)


class Homes(Protocol):
    """Who knows why nothing can arrive from a home: a hub offline, a clock wrong. Asked before a patient is."""

    async def unreachable(
        self, conn: AsyncConnection, patients: Collection[UUID], *, now: datetime
    ) -> Mapping[UUID, str]:
        """The cause in a few words ("The hub is offline"), for those where there is one."""
        ...


class NobodyKnows:
    """No plumbing is watched: every silence is asked about."""

    async def unreachable(self, *_: object, **__: object) -> Mapping[UUID, str]:
        return {}


async def hear_silence(
    conn: AsyncConnection, homes: Homes, *, now: datetime, policy: Policy = DEFAULT
) -> int:
    """Expectations that came due; how many were weighed. Several processes may do it at once."""
    due = await store.overdue(conn, now=now, limit=SWEEP)
    if not due:
        return 0
    patients = {expected.patient_id for expected in due}
    causes = await homes.unreachable(conn, patients, now=now)
    practices = {expected.practice_id for expected in due}
    policies = await policy_store.in_force(conn, practices, otherwise=policy)
    known = await store.known(conn, patients, closed_since=now)
    before = {e.episode_id: e.number for concerns in known.values() for e in concerns.values()}
    made: list[Transition] = []
    again = []
    for expected in due:
        concerns = known.setdefault(expected.patient_id, {})
        held = policies.of(expected.practice_id)
        silence = weigh(expected, concerns, causes.get(expected.patient_id), held, now=now)
        again.append((expected, silence.look_again))
        if silence.transition is not None:
            made.append(silence.transition)
            concerns[silence.transition.episode.concern] = silence.transition.episode
    await store.save_silences(conn, before, made)
    await store.look_again(conn, again)
    return len(due)


async def keep_time(
    transact: Transact,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
    *,
    homes: Homes | None = None,
    every_s: float = 5.0,
    settle_s: float = 300.0,
) -> None:
    """Do what is due, until asked to stop. The due times lie in the database: a process that was away catches up.

    Silence is heard only `settle_s` after the start: what piled up while we were away ourselves arrives first, and
    our own outage is not the patients' silence.
    """
    asked = homes or NobodyKnows()
    loop = asyncio.get_running_loop()
    settled = loop.time() + settle_s
    while not stopping.is_set():
        moved = 0
        try:
            async with transact() as conn:
                moved = await end_what_is_over(conn, now=clock())
            if loop.time() >= settled:
                async with transact() as conn:  # of its own: what fails here undoes nothing there
                    moved = max(moved, await hear_silence(conn, asked, now=clock()))
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("alerts.timers_away", error=type(error).__name__)
        except Exception:  # one row that a rule cannot serve must not end triage, which shares our process
            log.exception("alerts.timers_failed")
            moved = 0
        if moved < SWEEP:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stopping.wait()
