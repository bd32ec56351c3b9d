"""Where risk touches the world: the memories and scores in the database, and the trained model in the package."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg

from ingest.events import Kind
from risk.drift import BUDGET_MOST
from risk.events import Scored
from risk.forecast import packaged
from risk.measures import NO_PLAN, Plan
from risk.memory import SHAPES, empty
from risk.rules import DEFAULT, LINE, LimitRefused, Limits, Override, limits_at
from risk.scoring import Model

Key = tuple[UUID, Kind]
_encode = msgspec.json.Encoder().encode

# Arrays travel in binary (%b): psycopg quotes every element of a text array in Python.
MEMORIES: LiteralString = "SELECT patient_id, kind, memory FROM risk.memory WHERE patient_id = ANY(%s)"
KEEP: LiteralString = """
    INSERT INTO risk.memory (practice_id, patient_id, kind, memory, latest_at)
    SELECT * FROM unnest(%b::int[], %b::uuid[], %b::text[], %b::bytea[], %b::timestamptz[])
    ON CONFLICT (patient_id, kind) DO UPDATE SET memory = excluded.memory, latest_at = excluded.latest_at,
                                                 said = risk.memory.said + 1
"""
# A word about somebody that teaches nothing; perhaps the first word of all, with the memory of somebody never seen.
SPOKEN: LiteralString = """
    INSERT INTO risk.memory (practice_id, patient_id, kind, memory, latest_at) VALUES (%s, %s, %s, %b, %s)
    ON CONFLICT (patient_id, kind) DO UPDATE SET said = risk.memory.said + 1
"""
TELL: LiteralString = """
    INSERT INTO risk.score (practice_id, patient_id, event_id, reading_id, effective_at, kind, tier,
                            drift_score, p_low_24h, p_low_7d, scored)
    SELECT * FROM unnest(%b::int[], %b::uuid[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::text[], %b::text[],
                         %b::real[], %b::real[], %b::real[], %b::bytea[])
    ON CONFLICT DO NOTHING
"""
OVERRIDES: LiteralString = """
    SELECT practice_id, patient_id, rule, value, author::text, reason, valid_from, valid_to
      FROM risk.limit_override
     WHERE patient_id = ANY(%(patients)s) OR (patient_id IS NULL AND practice_id = ANY(%(practices)s))
"""
DECISIONS: LiteralString = """
    SELECT practice_id, patient_id, baseline_from, budget
      FROM risk.decision
     WHERE patient_id = ANY(%(patients)s) OR (patient_id IS NULL AND practice_id = ANY(%(practices)s))
     ORDER BY decided_at
"""


async def memories(conn: psycopg.AsyncConnection[Any], patients: Iterable[UUID]) -> dict[Key, bytes]:
    """The memories of many patients in one query."""
    return _memories(await (await conn.execute(MEMORIES, (list(patients),), binary=True)).fetchall())


def _memories(rows: Sequence[tuple[Any, ...]]) -> dict[Key, bytes]:
    return {(patient_id, Kind(kind)): bytes(memory) for patient_id, kind, memory in rows}


async def keep(
    conn: psycopg.AsyncConnection[Any], changed: Sequence[tuple[int, Key, bytes, datetime]]
) -> None:
    """Write the memories of a batch in one statement."""
    await conn.execute(
        KEEP,
        (
            [practice for practice, _, _, _ in changed],
            [patient for _, (patient, _), _, _ in changed],
            [kind.value for _, (_, kind), _, _ in changed],
            [memory for _, _, memory, _ in changed],
            [at for _, _, _, at in changed],
        ),
    )


async def spoken(conn: psycopg.AsyncConnection[Any], practice: int, key: Key, at: datetime) -> None:
    """Say that something was said about a patient without anything being learnt."""
    patient, kind = key
    await conn.execute(SPOKEN, (practice, patient, kind.value, empty(SHAPES[kind]), at))


async def tell(conn: psycopg.AsyncConnection[Any], scored: Sequence[Scored]) -> None:
    """Write the scores of a batch in one statement."""
    await conn.execute(
        TELL,
        (
            [one.practice_id for one in scored],
            [one.patient_id for one in scored],
            [one.event_id for one in scored],
            [one.caused_by for one in scored],
            [one.effective_at for one in scored],
            [one.kind for one in scored],
            [one.tier.value for one in scored],
            [one.drift_score for one in scored],
            [one.p_low_24h for one in scored],
            [one.p_low_7d for one in scored],
            [_encode(one) for one in scored],
        ),
    )


class Decided:
    """What people decided, for the patients of one batch: the plan of a reading depends on its own instant."""

    def __init__(self, overrides: Sequence[tuple[Any, ...]], decisions: Sequence[tuple[Any, ...]]) -> None:
        self._rows = (overrides, decisions)
        self._overrides: dict[int | UUID, list[Override]] = {}
        self._budgets: dict[int | UUID, float] = {}
        self._baselines: dict[UUID, list[datetime]] = {}
        for practice, patient, rule, value, author, reason, valid_from, valid_to in overrides:
            if rule not in LINE:
                continue  # a line of an older set of rules: it judges nobody any more
            whose: int | UUID = practice if patient is None else patient
            self._overrides.setdefault(whose, []).append(
                Override(
                    rule=rule,
                    value=value,
                    author=author,
                    reason=reason,
                    valid_from=valid_from,
                    valid_to=valid_to,
                )
            )
        for practice, patient, baseline_from, budget in decisions:
            if budget is not None:
                self._budgets[practice if patient is None else patient] = budget
            if baseline_from is not None:
                self._baselines.setdefault(patient, []).append(baseline_from)

    def plan(self, practice: int, patient: UUID, at: datetime) -> Plan:
        """Practice defaults first, the patient's own over them; a baseline that starts later than the reading is not yet."""
        mine, ours = self._overrides.get(patient, ()), self._overrides.get(practice, ())
        budget = self._budgets.get(patient, self._budgets.get(practice))
        started = max((start for start in self._baselines.get(patient, ()) if start <= at), default=None)
        if not mine and not ours and budget is None and started is None:
            return NO_PLAN
        limits: Limits = limits_at(mine, at, defaults=limits_at(ours, at)) if mine or ours else DEFAULT
        return Plan(limits=limits, budget=NO_PLAN.budget if budget is None else budget, baseline_from=started)

    def changed(
        self, *, practice: int, patient: UUID | None, what: str, value: float | None, at: datetime
    ) -> "Decided":
        """As if somebody had decided this too, from `at` on: a limit by its rule, or "budget".

        Raises LimitRefused, with the sentence to show, where it cannot be set.
        """
        overrides, decisions = self._rows
        if what == "budget":
            if value is None or not 0 < value <= BUDGET_MOST:
                raise LimitRefused(
                    f"an alert budget is more than 0 and at most {BUDGET_MOST:g} false alerts per patient-month"
                )
            return Decided(overrides, [*decisions, (practice, patient, None, value)])
        DEFAULT.with_({what: value})
        return Decided([*overrides, (practice, patient, what, value, "", "", at, None)], decisions)


async def decided(
    conn: psycopg.AsyncConnection[Any], patients: Sequence[UUID], practices: Sequence[int]
) -> Decided:
    """Everything decided about some patients, in two queries that mostly find nothing."""
    return (await known(conn, [], patients, practices))[1]


async def known(
    conn: psycopg.AsyncConnection[Any],
    unremembered: Sequence[UUID],
    patients: Sequence[UUID],
    practices: Sequence[int],
) -> tuple[dict[Key, bytes], Decided]:
    """What a batch needs to know, in one trip: the memories that are not held, and what people decided."""
    asked = {"patients": patients, "practices": practices}
    async with conn.pipeline():
        kept = await conn.execute(MEMORIES, (unremembered,), binary=True) if unremembered else None
        overrides = await conn.execute(OVERRIDES, asked)
        decisions = await conn.execute(DECISIONS, asked)
        found = _memories(await kept.fetchall()) if kept else {}
        return found, Decided(await overrides.fetchall(), await decisions.fetchall())


def packaged_model() -> Model:
    """The model that ships with the product."""
    return Model(forecast=packaged())
