"""Archived readings one by one, and taking them back: the row, the record of who did it and the event in one transaction."""

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ingest import set_aside_store
from ingest.archive import READING_COLUMNS, take_back
from ingest.corrections import Facts
from ingest.events import READINGS, Reading
from ingest.set_aside import By

_encode = msgspec.json.Encoder().encode
OF_PRACTICE: LiteralString = "SELECT * FROM ingest.reading WHERE event_id = %s"


async def reading(conn: AsyncConnection, reading_id: UUID) -> Reading | None:
    """One archived reading, as it was said; None: this practice has no such thing."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(OF_PRACTICE, (reading_id,))
        row = await cursor.fetchone()
    if row is None:
        return None
    return msgspec.convert({name: row[name] for name in READING_COLUMNS}, Reading, strict=False)


async def withdrawal(conn: AsyncConnection, reading_id: UUID) -> dict[str, Any] | None:
    """Who took it back, when and why, and what stands in its place."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT * FROM ingest.withdrawal WHERE reading_id = %s", (reading_id,))
        return await cursor.fetchone()


async def of_device(conn: AsyncConnection, device_id: str, *, limit: int = 50) -> list[dict[str, Any]]:
    """The newest readings of a device, those taken back among them."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """SELECT r.event_id, r.patient_id, r.kind, r.effective_at, r.received_at, r.systolic, r.diastolic, r.pulse,
                      r.glucose, r.beyond, r.flags, r.time_confidence, w.by_name AS withdrawn_by, w.superseded_by
                 FROM ingest.device_assignment a
                 JOIN ingest.reading r ON r.patient_id = a.patient_id AND r.device_id = a.device_id
                 LEFT JOIN ingest.withdrawal w ON w.reading_id = r.event_id
                WHERE a.device_id = %s
               UNION
               SELECT r.event_id, r.patient_id, r.kind, r.effective_at, r.received_at, r.systolic, r.diastolic, r.pulse,
                      r.glucose, r.beyond, r.flags, r.time_confidence, w.by_name, w.superseded_by
                 FROM ingest.replay o JOIN ingest.reading r ON r.patient_id = o.patient_id AND r.device_id = %s
                 LEFT JOIN ingest.withdrawal w ON w.reading_id = r.event_id
                ORDER BY effective_at DESC LIMIT %s""",
            (device_id, device_id, limit),
        )
        return await cursor.fetchall()


async def say(conn: AsyncConnection, facts: Facts, *, now: datetime) -> bool:
    """Take it back, and say what stands in its place, in this order; False: somebody has taken it back already."""
    withdrawn, corrected = facts
    if not await take_back(conn, withdrawn):
        return False
    await set_aside_store.note(
        conn,
        withdrawn.reading.event_id,
        "withdrew" if corrected is None else "corrected",
        practice_id=withdrawn.practice_id,
        by=By(withdrawn.by, withdrawn.by_name),
        now=now,
        reason=withdrawn.reason,
        patient_id=corrected.patient_id if corrected is not None else None,
    )
    for event in (withdrawn, corrected):
        if event is not None:
            await conn.execute(
                "SELECT pump.send('ingest', %s, %s, %s, %s)",
                (READINGS, str(event.patient_id), event.event_id, _encode(event)),
            )
    return True
