"""Who has which device from when until when, in SQL. A cuff with user buttons may belong to a patient a button."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ingest import set_aside_store
from ingest.devices.canonical import NAME
from ingest.devices.vitals import device_name
from ingest.events import fact_id
from ingest.identity import Stranger
from ingest.set_aside import By

ANYBODYS = [
    Stranger.UNKNOWN_DEVICE,
    Stranger.UNASSIGNED,
    Stranger.NOT_ASSIGNED_THEN,
    Stranger.SHARED_DEVICE,
]
"""What waits for one of these reasons may be somebody's once the device is."""


class Trouble(StrEnum):
    """Why nothing was written; in words."""

    NO_PATIENT = "No patient of this practice has that record number."
    NO_DEVICE = "No device of this practice has that name: register it first."
    NO_NAME = "A device's name is 1 to 64 letters, digits or signs, without blanks."
    NO_PRACTICE = "There is no such practice."
    KNOWN = "A device of that name is registered already."
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


async def present(
    conn: AsyncConnection, *, practice_id: int | None, at: datetime, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Who has which device at that time, by device, a registered one that nobody has among them; and how many there are."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """SELECT d.device_id, d.practice_id, d.model, a.patient_id, a.slot, lower(a.period) AS since,
                      count(*) OVER () AS all_of_them
                 FROM ingest.device d
                 LEFT JOIN ingest.device_assignment a ON a.device_id = d.device_id AND a.period @> %(at)s
                WHERE d.practice_id = coalesce(%(practice)s, d.practice_id)
                ORDER BY d.practice_id, d.device_id, a.slot NULLS FIRST LIMIT %(limit)s""",
            {"at": at, "practice": practice_id, "limit": limit},
        )
        rows = await cursor.fetchall()
    total = rows[0]["all_of_them"] if rows else 0
    return [{name: value for name, value in row.items() if name != "all_of_them"} for row in rows], total


async def register(
    conn: AsyncConnection, device_id: str, *, practice_id: int, model: str, by: By, now: datetime
) -> Trouble | None:
    """The practice has this device from now on; whose it is, is said by `give`."""
    if not NAME.fullmatch(device_id):
        return Trouble.NO_NAME
    name = device_name(device_id)
    try:
        async with conn.transaction():
            made = await conn.execute(
                """INSERT INTO ingest.device (device_id, practice_id, family, model) VALUES (%s, %s, '', %s)
                   ON CONFLICT DO NOTHING""",
                (name, practice_id, model),
            )
    except psycopg.errors.ForeignKeyViolation:
        return Trouble.NO_PRACTICE
    if made.rowcount != 1:
        return Trouble.KNOWN
    await set_aside_store.note(
        conn,
        fact_id("device", name),
        "registered",
        practice_id=practice_id,
        by=by,
        now=now,
        reason=model,
        device_id=name,
    )
    return None


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

    What waits of the device because it was nobody's, or not registered yet, comes to the door again in the same
    transaction.
    """
    device_id = device_name(device_id)
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
        "r.practice_id = %(practice)s AND r.device_id = %(device)s AND r.hop = 'identity' AND r.reason = ANY(%(reasons)s)",
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
    device_id = device_name(device_id)
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
