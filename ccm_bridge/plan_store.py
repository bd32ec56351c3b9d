"""Care plans in SQL: versions, signatures, and the copies that were given."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from ccm_bridge.careplan import Content, Plan
from ccm_bridge.store import By, Connection

_PLAN: LiteralString = """
    SELECT DISTINCT ON (p.patient_id) p.plan_id, p.patient_id, p.version, p.content, p.review_on, p.drafted_by_name,
           p.drafted_at, s.signed_by_name, s.signed_at,
           (SELECT min(c.given_at) FROM ccm.care_plan_copy c WHERE c.plan_id = p.plan_id) AS copy_given_at
      FROM ccm.care_plan p LEFT JOIN ccm.care_plan_signature s USING (plan_id) """


async def plans(conn: Connection, patients: Sequence[UUID], *, before: datetime) -> dict[UUID, Plan]:
    """The plan in force for each patient: the latest version signed before then, else the latest drafted."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            _PLAN
            + """WHERE p.patient_id = ANY(%(patients)s) AND p.drafted_at < %(before)s
                 ORDER BY p.patient_id, (s.signed_at < %(before)s) DESC NULLS LAST, p.version DESC""",
            {"patients": list(patients), "before": before},
        )
        return {row["patient_id"]: _plan(row) for row in await cur.fetchall()}


def _plan(row: dict[str, Any]) -> Plan:
    return Plan(**row | {"content": msgspec.convert(row["content"], Content)})


async def versions(conn: Connection, patient_id: UUID) -> list[Plan]:
    """Every version of a patient's plan, the newest first."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            _PLAN.replace("DISTINCT ON (p.patient_id)", "")
            + "WHERE p.patient_id = %s ORDER BY p.version DESC",
            (patient_id,),
        )
        return [_plan(row) for row in await cur.fetchall()]


async def copies(conn: Connection, patient_id: UUID) -> list[dict[str, Any]]:
    """Who got a copy of which version, and how."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT p.version, c.given_to, c.how, c.given_at FROM ccm.care_plan_copy c JOIN ccm.care_plan p USING (plan_id)
                WHERE p.patient_id = %s ORDER BY c.given_at""",
            (patient_id,),
        )
        return await cur.fetchall()


async def add_plan(
    conn: Connection,
    plan_id: UUID,
    patient_id: UUID,
    *,
    version: int,
    content: Content,
    review_on: date,
    by: By,
) -> bool:
    """A new version; False if that version exists already."""
    done = await conn.execute(
        """INSERT INTO ccm.care_plan (plan_id, practice_id, patient_id, version, content, review_on, drafted_by,
                                      drafted_by_name, drafted_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        (
            plan_id,
            by.practice_id,
            patient_id,
            version,
            Jsonb(msgspec.to_builtins(content)),
            review_on,
            by.staff_id,
            by.name,
            by.at,
        ),
    )
    return done.rowcount == 1


async def sign_plan(conn: Connection, plan_id: UUID, *, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.care_plan_signature (plan_id, practice_id, signed_by, signed_by_name, signed_at)
           VALUES (%s, %s, %s, %s, %s) ON CONFLICT (plan_id) DO NOTHING""",
        (plan_id, by.practice_id, by.staff_id, by.name, by.at),
    )
    return done.rowcount == 1


async def give_copy(conn: Connection, copy_id: UUID, plan_id: UUID, *, to: str, how: str, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.care_plan_copy (copy_id, practice_id, plan_id, given_to, how, given_at, recorded_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (copy_id) DO NOTHING""",
        (copy_id, by.practice_id, plan_id, to, how, by.at, by.staff_id),
    )
    return done.rowcount == 1
