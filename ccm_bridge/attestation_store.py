"""What the practice as a whole attests, in SQL: 24/7 access, the certified record."""

from datetime import date
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from ccm_bridge.store import By, Connection


async def attested(conn: Connection, *, on: date) -> dict[str, bool]:
    """What the practice attests on that day."""
    cur = await conn.execute(
        """SELECT DISTINCT ON (kind) kind, holds FROM ccm.attestation WHERE from_day <= %s
            ORDER BY kind, from_day DESC, attested_at DESC""",
        (on,),
    )
    return dict(await cur.fetchall())


async def attestations(conn: Connection) -> list[dict[str, Any]]:
    """Everything the practice ever attested, the newest first."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT kind, holds, from_day, statement, attested_by, attested_at FROM ccm.attestation
                ORDER BY attested_at DESC"""
        )
        return await cur.fetchall()


async def attest(
    conn: Connection, attestation_id: UUID, *, kind: str, holds: bool, from_day: date, statement: str, by: By
) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.attestation (attestation_id, practice_id, kind, holds, from_day, statement, attested_by,
                                        attested_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (attestation_id) DO NOTHING""",
        (attestation_id, by.practice_id, kind, holds, from_day, statement, by.staff_id, by.at),
    )
    return done.rowcount == 1
