"""What the pages read and write: scores of a practice, and the limits, budgets and baselines people decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import namedtuple_row

from risk.events import Scored

Connection = psycopg.AsyncConnection[Any]
_decode = msgspec.json.Decoder(Scored).decode

# One descent into the index per patient: what a practice's page costs grows with its patients, not with their history.
LATEST: LiteralString = """
    SELECT s.scored FROM unnest(%(patients)s::uuid[]) AS p (patient_id),
           LATERAL (SELECT scored, effective_at FROM risk.score r
                     WHERE r.patient_id = p.patient_id AND r.effective_at >= %(since)s
                       AND NOT EXISTS (SELECT FROM risk.retraction t WHERE t.reading_id = r.reading_id)
                     ORDER BY r.effective_at DESC LIMIT %(most)s) AS s
     ORDER BY p.patient_id, s.effective_at
"""
SINCE: LiteralString = """
    SELECT scored FROM (
        SELECT scored, effective_at FROM risk.score r
         WHERE effective_at >= %(since)s AND patient_id = ANY(%(patients)s)
           AND NOT EXISTS (SELECT FROM risk.retraction t WHERE t.reading_id = r.reading_id)
         ORDER BY effective_at DESC LIMIT %(most)s) AS newest
     ORDER BY effective_at
"""
DECIDED: LiteralString = """
    SELECT rule AS what, value, author, reason, valid_from AS at, valid_to AS until, shown
      FROM risk.limit_override WHERE patient_id IS NOT DISTINCT FROM %(patient)s
    UNION ALL
    SELECT CASE WHEN budget IS NULL THEN 'baseline' ELSE 'budget' END, budget, author, reason,
           coalesce(baseline_from, decided_at), NULL, shown
      FROM risk.decision WHERE patient_id IS NOT DISTINCT FROM %(patient)s
     ORDER BY at DESC
"""


async def latest(conn: Connection, patients: Sequence[UUID], *, since: datetime, most: int) -> list[Scored]:
    """The last scores of each patient, by patient, oldest first."""
    asked = {"patients": list(patients), "since": since, "most": most}
    return [
        _decode(scored) for (scored,) in await (await conn.execute(LATEST, asked, binary=True)).fetchall()
    ]


async def since(conn: Connection, patients: Sequence[UUID], start: datetime, *, most: int) -> list[Scored]:
    """The newest `most` scores of some patients from an instant on, oldest first."""
    asked = {"since": start, "patients": list(patients), "most": most}
    return [_decode(scored) for (scored,) in await (await conn.execute(SINCE, asked, binary=True)).fetchall()]


async def decided(conn: Connection, patient: UUID | None) -> Sequence[Any]:
    """What was decided about a patient (None: the practice), the newest first, as the columns of DECIDED."""
    cursor = conn.cursor(row_factory=namedtuple_row)
    return await (await cursor.execute(DECIDED, {"patient": patient})).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided something about whom (None: about everybody of the practice), when and why, having seen what."""

    decision_id: UUID
    practice: int
    patient: UUID | None
    author: UUID
    reason: str
    at: datetime
    shown: str | None = None


async def move_limit(
    conn: Connection, told: Decision, *, rule: str, value: float | None, until: datetime | None
) -> None:
    """A limit from now on, until it ends if it has an end. Order matters:

    1. The decision is written, unless it was written before: a form sent twice is one decision.
    2. The limit of the same rule that held until now ends now.
    """
    fresh = await conn.execute(
        """INSERT INTO risk.limit_override
                  (override_id, practice_id, patient_id, rule, value, author, reason, valid_from, valid_to, shown)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (override_id) DO NOTHING""",
        (
            told.decision_id,
            told.practice,
            told.patient,
            rule,
            value,
            told.author,
            told.reason,
            told.at,
            until,
            told.shown,
        ),
    )
    if fresh.rowcount == 0:
        return
    await conn.execute(
        """UPDATE risk.limit_override SET valid_to = %(at)s
            WHERE patient_id IS NOT DISTINCT FROM %(patient)s AND practice_id = %(practice)s AND rule = %(rule)s
              AND override_id <> %(id)s AND valid_from < %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)""",
        {
            "patient": told.patient,
            "practice": told.practice,
            "rule": rule,
            "at": told.at,
            "id": told.decision_id,
        },
    )


async def decide(
    conn: Connection, told: Decision, *, baseline_from: datetime | None = None, budget: float | None = None
) -> None:
    """A new baseline, or another alert budget."""
    await conn.execute(
        """INSERT INTO risk.decision
                  (decision_id, practice_id, patient_id, baseline_from, budget, author, reason, decided_at, shown)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (decision_id) DO NOTHING""",
        (
            told.decision_id,
            told.practice,
            told.patient,
            baseline_from,
            budget,
            told.author,
            told.reason,
            told.at,
            told.shown,
        ),
    )
