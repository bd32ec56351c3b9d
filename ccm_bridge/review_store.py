"""People's words on a month in SQL, in their chain, and what an amendment leaves to be paid back."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from ccm_bridge import chain, time_store
from ccm_bridge.store import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person's word on a patient's month, with exactly what they saw."""

    review_id: UUID
    patient_id: UUID
    month: date
    version: int
    step: str  # reviewed, signed, locked, amended
    facts: str
    decision: str
    entries: list[UUID]
    entries_hash: bytes
    rule_set: str
    price_set: str
    note: str
    by_staff: UUID
    by_name: str
    at: datetime


_REVIEW = ", ".join(Review.__slots__)


async def reviews(conn: Connection, month: date, patients: Sequence[UUID]) -> dict[UUID, list[Review]]:
    """Every review of these months, the newest first."""
    found: dict[UUID, list[Review]] = defaultdict(list)
    async with conn.cursor(row_factory=class_row(Review)) as cur:
        await cur.execute(
            f"""SELECT {_REVIEW} FROM ccm.month_review
                 WHERE month = %s AND patient_id = ANY(%s) ORDER BY version DESC""",  # noqa: S608
            (month, list(patients)),
        )
        for row in await cur.fetchall():
            found[row.patient_id].append(row)
    return dict(found)


async def next_at(conn: Connection, month: date, step: str) -> UUID | None:
    """The first patient by name whose month has work in it and stands at this step ("open": nobody's word yet)."""
    row = await (
        await conn.execute(
            """SELECT p.patient_id FROM who.patient p
                WHERE EXISTS (SELECT FROM ccm.time_entry e WHERE e.patient_id = p.patient_id AND e.month = %(month)s)
                  AND coalesce((SELECT r.step FROM ccm.month_review r
                                 WHERE r.patient_id = p.patient_id AND r.month = %(month)s
                                 ORDER BY r.version DESC LIMIT 1), 'open') = %(step)s
                ORDER BY lower(p.name), p.patient_id LIMIT 1""",
            {"month": month, "step": step},
        )
    ).fetchone()
    return row[0] if row else None


async def add_review(conn: Connection, said: Review, *, practice_id: int) -> bool:
    """Append to the practice's chain of reviews; False if that version exists already."""
    seq, prev = await time_store.head(conn, "month_review", practice_id)
    row: dict[str, Any] = {name: getattr(said, name) for name in Review.__slots__} | {
        "practice_id": practice_id,
        "seq": seq + 1,
        "prev_hash": prev,
    }
    done = await conn.execute(
        """INSERT INTO ccm.month_review (review_id, practice_id, seq, patient_id, month, version, step, facts, decision,
               entries, entries_hash, rule_set, price_set, note, by_staff, by_name, at, prev_hash, hash)
           VALUES (%(review_id)s, %(practice_id)s, %(seq)s, %(patient_id)s, %(month)s, %(version)s, %(step)s, %(facts)s,
               %(decision)s, %(entries)s::uuid[], %(entries_hash)s, %(rule_set)s, %(price_set)s, %(note)s, %(by_staff)s,
               %(by_name)s, %(at)s, %(prev_hash)s, %(hash)s) ON CONFLICT DO NOTHING""",
        row | {"hash": chain.seal(row)},
    )
    return done.rowcount == 1


async def add_overpayment(
    conn: Connection,
    said: Review,
    *,
    before: dict[str, int],
    after: dict[str, int],
    report_by: date,
    practice_id: int,
) -> None:
    await conn.execute(
        """INSERT INTO ccm.overpayment (review_id, practice_id, patient_id, month, codes_before, codes_after,
                                        identified_at, report_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (review_id) DO NOTHING""",
        (
            said.review_id,
            practice_id,
            said.patient_id,
            said.month,
            Jsonb(before),
            Jsonb(after),
            said.at,
            report_by,
        ),
    )


async def overpayments(conn: Connection, patient_id: UUID | None = None) -> list[dict[str, Any]]:
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT review_id, patient_id, month, codes_before, codes_after, identified_at, report_by
                 FROM ccm.overpayment WHERE %s::uuid IS NULL OR patient_id = %s ORDER BY report_by""",
            (patient_id, patient_id),
        )
        return await cur.fetchall()
