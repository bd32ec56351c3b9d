"""Who has which device from when until when, in SQL. A cuff with user buttons may belong to a patient a button."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ingest import set_aside_store
from ingest.events import fact_id
from ingest.identity import Stranger
from ingest.set_aside import By

ANYBODYS = [Stranger.UNASSIGNED, Stranger.NOT_ASSIGNED_THEN, Stranger.SHARED_DEVICE]
"""What waits for one of these reasons may be somebody's once the device is."""


class Trouble(StrEnum):
    """Why nothing was written; in words."""

    NO_PATIENT = "No patient of this practice has that record number."
    NO_DEVICE = "No device of this practice has that name."
    TAKEN = "Somebody has it then already: end that first, or begin later."
    NOT_HAD = "Nobody has it so now, or only since later than that."


async def of_device(conn: AsyncConnection, device_id: str) -> list[dict[str, Any]]:
    """Who has and had it, the present first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """SELECT device_id, patient_id, slot, lower(period) AS since, upper(period) AS until
                 FROM ingest.device_assignment WHERE device_id = %s
                ORDER BY upper(period) DESC NULLS FIRST, slot NULLS FIRST, lower(period) DESC""",
            (device_id,),
        )
        return await cursor.fetchall()


async def give(
    conn: AsyncConnection,
    device_id: str,
    patient: UUID | str,
    *,
    slot: int | None,
    since: datetime,
    by: By,
    now: datetime,
) -> Trouble | None:
    """From `since` on it is this patient's (an id or a record number), with `slot` only that user button of it.

    What waits of the device because it was nobody's comes to the door again in the same transaction.
    """
    row = await (
        await conn.execute("SELECT practice_id FROM ingest.device WHERE device_id = %s", (device_id,))
    ).fetchone()
    if row is None:
        return Trouble.NO_DEVICE
    whose = await set_aside_store.patient(conn, patient, row[0])
    if whose is None:
        return Trouble.NO_PATIENT
    try:
        async with conn.transaction():
            await conn.execute(
                """INSERT INTO ingest.device_assignment (device_id, practice_id, patient_id, period, slot)
                   VALUES (%s, %s, %s, tstzrange(%s, NULL), %s)""",
                (device_id, row[0], whose, since, slot),
            )
    except psycopg.errors.ExclusionViolation:
        return Trouble.TAKEN
    await _note(conn, device_id, "assigned", whose, practice_id=row[0], slot=slot, by=by, now=now)
    await set_aside_store.ask_all_again(
        conn,
        "r.practice_id = %(practice)s AND r.kind_device = %(device)s AND r.hop = 'identity' AND r.reason = ANY(%(reasons)s)",
        {"practice": row[0], "device": device_id, "reasons": list(map(str, ANYBODYS))},
        by=by,
        now=now,
        reason="the device was given to somebody",
    )
    return None


async def end(
    conn: AsyncConnection, device_id: str, *, slot: int | None, at: datetime, by: By, now: datetime
) -> Trouble | None:
    """Whoever has it, or that user button of it, has it no more from `at` on."""
    row = await (
        await conn.execute(
            """UPDATE ingest.device_assignment SET period = tstzrange(lower(period), %(at)s)
                WHERE device_id = %(device)s AND slot IS NOT DISTINCT FROM %(slot)s
                  AND upper(period) IS NULL AND lower(period) < %(at)s RETURNING practice_id, patient_id""",
            {"device": device_id, "slot": slot, "at": at},
        )
    ).fetchone()
    if row is None:
        return Trouble.NOT_HAD
    await _note(conn, device_id, "ended", row[1], practice_id=row[0], slot=slot, by=by, now=now)
    return None


async def _note(
    conn: AsyncConnection,
    device_id: str,
    act: str,
    patient_id: UUID,
    *,
    practice_id: int,
    slot: int | None,
    by: By,
    now: datetime,
) -> None:
    await set_aside_store.note(
        conn,
        fact_id("device", device_id),
        act,
        practice_id=practice_id,
        by=by,
        now=now,
        reason="" if slot is None else f"user {slot}",
        patient_id=patient_id,
        device_id=device_id,
    )
