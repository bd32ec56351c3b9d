"""What makes a desk one's own, and what patients are told: saved views and receipts."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import msgspec
import psycopg
from psycopg import AsyncConnection

from alerts.acts import Act
from alerts.events import FACTS

LEASE = timedelta(minutes=1)
"""Longer than a send may take: who died while sending is followed by another after this."""
MOST_SAVED = 12


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list that somebody comes back to."""

    view_id: UUID
    name: str
    query: str


async def saved(conn: AsyncConnection, staff_id: UUID) -> list[Saved]:
    rows = await conn.execute(
        "SELECT view_id, name, query FROM alerts.saved_view WHERE staff_id = %s ORDER BY added_at",
        (staff_id,),
    )
    return [Saved(view_id=i, name=name, query=query) for i, name, query in await rows.fetchall()]


async def save(conn: AsyncConnection, view: Saved, *, practice_id: int, staff_id: UUID, at: datetime) -> bool:
    """Keep one more; False where the name is taken."""
    try:
        async with conn.transaction():
            await conn.execute(
                """INSERT INTO alerts.saved_view (view_id, practice_id, staff_id, name, query, added_at)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                (view.view_id, practice_id, staff_id, view.name, view.query, at),
            )
    except psycopg.errors.UniqueViolation:
        return False
    return True


async def unsave(conn: AsyncConnection, view_id: UUID, *, staff_id: UUID) -> bool:
    done = await conn.execute(
        "DELETE FROM alerts.saved_view WHERE view_id = %s AND staff_id = %s", (view_id, staff_id)
    )
    return done.rowcount == 1


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """That a patient is told that somebody looked."""

    receipt_id: UUID
    patient_id: UUID
    at: datetime
    by_name: str
    target: str
    tries: int = 0
    sent_at: datetime | None = None
    failure: str | None = None


async def promise_receipts(
    conn: AsyncConnection, act: Act, patients: Collection[UUID], *, practice_id: int, target: str
) -> None:
    """One per patient, in the transaction of the act; it is sent after the commit."""
    person = act.person
    for patient_id in sorted(set(patients)):
        await conn.execute(
            """INSERT INTO alerts.receipt (receipt_id, practice_id, patient_id, act_id, at, by, by_name, target, next_try_at)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (receipt_id) DO NOTHING""",
            (uuid5(FACTS, f"receipt\x1f{act.act_id}\x1f{patient_id}"), practice_id, patient_id, act.act_id, act.now,
             person.staff_id, person.name, target, act.now),
        )  # fmt: skip


async def receipts_of(conn: AsyncConnection, patient_id: UUID, *, limit: int = 5) -> list[Receipt]:
    """What this patient was told last, newest first."""
    rows = await conn.execute(
        "SELECT row_to_json(r)::text FROM alerts.receipt r WHERE patient_id = %s ORDER BY at DESC LIMIT %s",
        (patient_id, limit),
    )
    return [msgspec.json.decode(text, type=Receipt) for (text,) in await rows.fetchall()]


async def take_receipts(conn: AsyncConnection, *, now: datetime, limit: int = 20) -> list[Receipt]:
    """Receipts to send now, leased."""
    rows = await conn.execute(
        """WITH due AS (SELECT receipt_id FROM alerts.receipt WHERE sent_at IS NULL AND next_try_at <= %(now)s
                         ORDER BY next_try_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
           UPDATE alerts.receipt r SET tries = tries + 1, next_try_at = %(until)s
             FROM due WHERE r.receipt_id = due.receipt_id RETURNING row_to_json(r)::text""",
        {"now": now, "until": now + LEASE, "limit": limit},
    )
    return [msgspec.json.decode(text, type=Receipt) for (text,) in await rows.fetchall()]


async def receipt_done(
    conn: AsyncConnection, receipt: Receipt, *, failure: str | None, at: datetime, next_try_at: datetime
) -> None:
    await conn.execute(
        """UPDATE alerts.receipt SET sent_at = %s, failure = %s, next_try_at = %s
            WHERE receipt_id = %s AND sent_at IS NULL""",
        (None if failure else at, failure, next_try_at, receipt.receipt_id),
    )
