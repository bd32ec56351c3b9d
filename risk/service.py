"""Readings in, scores out: the room as the pump drives it."""
# ruff: noqa: ARG002 - the pump hands every room a clock and a reason; this one needs neither

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg
import structlog

from ingest.events import Kind, Reading, Told, Withdrawn, fact_id
from risk import model_store, retraction_store, rules, store
from risk.events import Concern, Finding, Retracted, Said, Scored, Tier
from risk.measures import Plan
from risk.scoring import Model, score_all, without
from risk.store import Key

log = structlog.get_logger()

PATIENTS_KEPT = 100_000
"""Memories held in this process, the least recently heard leaving first: 1.5 KB for a cuff, 3.6 KB for a meter."""


class RiskRoom:
    """Scores the readings of a partition, keeping each patient's memory while the partition is ours."""

    def __init__(
        self, model: Model | None = None, *, shadow: Model | None = None, kept: int = PATIENTS_KEPT
    ) -> None:
        self._model = store.packaged_model() if model is None else model
        self._shadow = shadow
        self._memories: OrderedDict[Key, bytes] = OrderedDict()
        self._kept = kept

    async def handle(
        self, conn: psycopg.AsyncConnection[Any], events: Sequence[Told], *, now: datetime
    ) -> Sequence[Said]:
        """Readings are scored, withdrawals unlearnt, in the order in which they were said."""
        said: list[Said] = []
        for withdrawals, run in groupby(events, key=lambda event: isinstance(event, Withdrawn)):
            if withdrawals:
                said += [await self._unlearn(conn, event) for event in run if isinstance(event, Withdrawn)]
            else:
                said += await self._score(conn, [event for event in run if isinstance(event, Reading)])
        return said

    async def _unlearn(self, conn: psycopg.AsyncConnection[Any], event: Withdrawn) -> Retracted:
        """Take a reading out of its patient's memory, and say that its score says nothing any more.

        Only what was learnt can be unlearnt: a reading that could not be scored never was.
        """
        key = (event.patient_id, event.reading.kind)
        loaded = self._memories.get(key) or (await store.memories(conn, [event.patient_id])).get(key)
        unlearnt = False
        if loaded is not None and await retraction_store.was_scored(conn, event.reading):
            memory, unlearnt = without(loaded, event.reading)
            await store.keep(conn, [(event.practice_id, key, memory, event.reading.effective_at)])
            self._hold({key: memory})
        await retraction_store.retract(conn, event, unlearnt=unlearnt)
        await store.spoken(conn, event.practice_id, key, event.reading.effective_at)
        return Retracted(
            event_id=fact_id("retracted", event.reading.event_id),
            caused_by=event.event_id,
            practice_id=event.practice_id,
            patient_id=event.patient_id,
            reading_id=event.reading.event_id,
            superseded_by=event.superseded_by,
            reason=event.reason,
            by=event.by,
            by_name=event.by_name,
            at=event.at,
        )

    async def _score(self, conn: psycopg.AsyncConnection[Any], events: Sequence[Reading]) -> Sequence[Scored]:
        """Score a batch inside the pump's transaction. Order matters:

        1. Memories not held yet are loaded in one query; the partition's fence makes ours the only hand on them.
        2. Everything is scored on copies.
        3. Memories and scores are written; only then do the copies replace what we hold. If anything fails before
           the commit, the pump calls `forget` and nothing half-done survives in memory.
        """
        if not events:
            return []
        keys = [(event.patient_id, event.kind) for event in events]
        loaded, decided = await store.known(
            conn,
            list({patient_id for patient_id, kind in keys if (patient_id, kind) not in self._memories}),
            list({event.patient_id for event in events}),
            list({event.practice_id for event in events}),
        )
        memories = {key: self._memories[key] for key in keys if key in self._memories} | {
            key: memory for key, memory in loaded.items() if key not in self._memories
        }
        plans = [decided.plan(event.practice_id, event.patient_id, event.effective_at) for event in events]
        before = dict(memories) if self._shadow else memories
        scored = score_all(memories, events, plans, self._model)
        changed = {
            key: (event.practice_id, key, memories[key], event.effective_at)
            for key, event in zip(keys, events, strict=True)
        }
        async with conn.pipeline():
            await store.keep(conn, list(changed.values()))
            await store.tell(conn, scored)
        if self._shadow:
            await self._beside(conn, before, events, plans, self._shadow)
        self._hold(memories)
        return scored

    async def _beside(
        self,
        conn: psycopg.AsyncConnection[Any],
        before: dict[Key, bytes],
        events: Sequence[Reading],
        plans: Sequence[Plan],
        shadow: Model,
    ) -> None:
        """Score the same readings by the shadow, from the same memories, into its own table. It can harm nobody.

        Memories hold readings and no model's opinion, so the shadow has none of its own. Whatever it does wrong is
        undone by the savepoint, said once, and ends the shadow in this process; the live score is already written.
        """
        try:
            async with conn.transaction():
                await model_store.tell_shadow(conn, score_all(before, events, plans, shadow))
        except psycopg.OperationalError:
            raise  # the database, not the shadow: the whole batch is tried again
        except Exception as error:  # noqa: BLE001 - a model under trial may fail in any way
            self._shadow = None
            log.error("risk.shadow_failed", model=shadow.version, error=type(error).__name__)  # noqa: TRY400 - its text may quote health data

    async def park(
        self, conn: psycopg.AsyncConnection[Any], event: Told, *, reason: str, now: datetime
    ) -> Sequence[Said]:
        """A reading that could not be scored still tells the next room so: somebody looks at the bare value."""
        if isinstance(event, Withdrawn):
            return []  # the record is kept aside, and said loudly; the reading's score stands until then
        scored = incomplete(event, self._model)
        await store.tell(conn, [scored])
        await store.spoken(conn, event.practice_id, (event.patient_id, event.kind), event.effective_at)
        return [scored]

    def forget(self) -> None:
        """Drop every memory: what the database holds is the truth."""
        self._memories.clear()

    def _hold(self, memories: dict[Key, bytes]) -> None:
        for key, memory in memories.items():
            self._memories[key] = memory
            self._memories.move_to_end(key)
        while len(self._memories) > self._kept:
            self._memories.popitem(last=False)


def incomplete(reading: Reading, model: Model) -> Scored:
    """The score of a reading whose scoring failed: the bare value, and the word that it was not judged."""
    shown = {
        name: value
        for name in (("glucose",) if reading.kind is Kind.GLUCOSE else ("systolic", "diastolic", "pulse"))
        if (value := getattr(reading, name)) is not None
    }
    return Scored(
        event_id=fact_id("scored", reading.event_id, model.version, rules.VERSION, "incomplete"),
        caused_by=reading.event_id,
        practice_id=reading.practice_id,
        patient_id=reading.patient_id,
        kind=reading.kind.value,
        effective_at=reading.effective_at,
        received_at=reading.known_at,
        time_confidence=reading.time_confidence.value,
        values=shown,
        beyond=None if reading.beyond is None else reading.beyond.value,
        context=reading.context,
        flags=reading.flags,
        history=reading.history,
        tier=Tier.HIGH,
        findings=(
            Finding(
                concern=Concern.SCORE_INCOMPLETE,
                tier=Tier.HIGH,
                reason="This reading could not be scored: nobody has held it against the limits. Look at the value itself.",
                rule="score-incomplete",
                clears="The next reading that can be scored.",
            ),
        ),
        assessed=(Concern.SCORE_INCOMPLETE,),
        model_version=model.version,
        rules_version=rules.VERSION,
    )
