"""Shifts in the database: added and ended, never changed; one person at a time."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection

from alerts.rota import Shift


async def shifts(conn: AsyncConnection, *, since: datetime, until: datetime) -> list[Shift]:
    """The rota between two instants, in order."""
    rows = await conn.execute(
        """SELECT row_to_json(s)::text FROM alerts.shift s
            WHERE ended_at IS NULL AND ends_at > %s AND starts_at < %s ORDER BY starts_at""",
        (since, until),
    )
    return [msgspec.json.decode(text, type=Shift) for (text,) in await rows.fetchall()]


async def on_call_of(conn: AsyncConnection, practices: Collection[int], *, at: datetime) -> dict[int, UUID]:
    """Who is on call then, by practice; a practice with a gap is missing."""
    rows = await conn.execute(
        """SELECT practice_id, staff_id FROM alerts.shift
            WHERE practice_id = ANY(%(practices)s) AND ended_at IS NULL AND starts_at <= %(at)s AND ends_at > %(at)s""",
        {"practices": list(practices), "at": at},
    )
    return dict(await rows.fetchall())


async def locked(conn: AsyncConnection, shift_id: UUID) -> Shift | None:
    """One shift that is on the rota, locked; None if it is not, or not this practice's."""
    row = await (
        await conn.execute(
            "SELECT row_to_json(s)::text FROM alerts.shift s WHERE shift_id = %s AND ended_at IS NULL FOR UPDATE",
            (shift_id,),
        )
    ).fetchone()
    return msgspec.json.decode(row[0], type=Shift) if row else None


async def add(
    conn: AsyncConnection, new: Sequence[Shift], *, practice_id: int, by: UUID, at: datetime
) -> bool:
    """Put shifts on the rota; False if somebody is on call at one of those times already."""
    try:
        async with conn.transaction():
            for shift in new:
                await conn.execute(
                    """INSERT INTO alerts.shift (shift_id, practice_id, staff_id, staff_name, starts_at, ends_at, swap_of,
                                                 added_at, added_by, added_by_name)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                    (shift.shift_id, practice_id, shift.staff_id, shift.staff_name, shift.starts_at, shift.ends_at,
                     shift.swap_of, at, by, shift.added_by_name),
                )  # fmt: skip
    except psycopg.errors.ExclusionViolation:
        return False
    return True


async def end(conn: AsyncConnection, shift_id: UUID, *, by: UUID, by_name: str, at: datetime) -> bool:
    """Take one off the rota; it stays in the record."""
    done = await conn.execute(
        "UPDATE alerts.shift SET ended_at = %s, ended_by = %s, ended_by_name = %s WHERE shift_id = %s AND ended_at IS NULL",
        (at, by, by_name, shift_id),
    )
    return done.rowcount == 1
