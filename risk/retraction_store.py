"""Scores that say nothing any more, because the reading behind them was taken back."""

from typing import Any

import msgspec
import psycopg

from ingest.events import Reading, Withdrawn
from risk.events import Concern, Scored


async def was_scored(conn: psycopg.AsyncConnection[Any], reading: Reading) -> bool:
    """Whether this reading was scored; one that could not be is in nobody's memory."""
    row = await (
        await conn.execute(
            "SELECT scored FROM risk.score WHERE reading_id = %s AND effective_at = %s AND patient_id = %s LIMIT 1",
            (reading.event_id, reading.effective_at, reading.patient_id),
        )
    ).fetchone()
    if row is None:
        return False
    scored = msgspec.json.decode(row[0], type=Scored)
    return Concern.SCORE_INCOMPLETE not in scored.assessed


async def retract(conn: psycopg.AsyncConnection[Any], event: Withdrawn, *, unlearnt: bool) -> None:
    """The score stays as it was said, with a row beside it that it counts no more."""
    await conn.execute(
        """INSERT INTO risk.retraction (reading_id, practice_id, patient_id, at, unlearnt)
           VALUES (%s, %s, %s, %s, %s) ON CONFLICT (reading_id) DO NOTHING""",
        (event.reading.event_id, event.practice_id, event.patient_id, event.at, unlearnt),
    )
