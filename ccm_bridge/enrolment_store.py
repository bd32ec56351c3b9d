"""Who is in which programme, in SQL: versions that are only added."""

from collections.abc import Iterable
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from ccm_bridge.enrolment import Condition, Enrolment, Profile, Program
from ccm_bridge.store import By, Connection

_ENROLMENT: LiteralString = """
    SELECT DISTINCT ON (patient_id) patient_id, version, state, programs, since, conditions,
           significant_risk_documented, payer, payer_checked_on, initiating_visit, practitioner_name,
           care_manager_name, rpm_ordered, rpm_device_fda_defined, rpm_auto_upload, rpm_setup_on,
           profile
      FROM ccm.enrolment """


async def enrolments(conn: Connection, patients: Iterable[UUID] | None = None) -> dict[UUID, Enrolment]:
    """The latest version for each patient; of the whole practice if nobody is named."""
    some = list(patients) if patients is not None else None
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            _ENROLMENT
            + "WHERE %s::uuid[] IS NULL OR patient_id = ANY(%s::uuid[]) ORDER BY patient_id, version DESC",
            (some, some),
        )
        return {row["patient_id"]: _enrolment(row) for row in await cur.fetchall()}


def _enrolment(row: dict[str, Any]) -> Enrolment:
    return Enrolment(
        **row
        | {
            "programs": frozenset(Program(p) for p in row["programs"]),
            "conditions": tuple(
                Condition(icd10=c["icd10"], name=c["name"], chronic_months=c["chronic_months"])
                for c in row["conditions"]
            ),
            "profile": msgspec.convert(row["profile"], Profile),
        }
    )


async def enrolment_versions(conn: Connection, patient_id: UUID) -> list[dict[str, Any]]:
    """How what is known came to be known: who wrote which version, when and why."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT version, state, why, recorded_at, recorded_by FROM ccm.enrolment
                WHERE patient_id = %s ORDER BY version DESC""",
            (patient_id,),
        )
        return await cur.fetchall()


async def enrolment_exists(conn: Connection, enrolment_id: UUID) -> bool:
    row = await (
        await conn.execute("SELECT 1 FROM ccm.enrolment WHERE enrolment_id = %s", (enrolment_id,))
    ).fetchone()
    return row is not None


async def add_enrolment(conn: Connection, enrolment_id: UUID, said: Enrolment, *, why: str, by: By) -> bool:
    """A new version; False if that version exists: somebody else wrote it first."""
    done = await conn.execute(
        """INSERT INTO ccm.enrolment (enrolment_id, practice_id, patient_id, version, state, programs, since, conditions,
               significant_risk_documented, payer, payer_checked_on, initiating_visit, practitioner_name,
               care_manager_name, rpm_ordered, rpm_device_fda_defined, rpm_auto_upload, rpm_setup_on, profile, why,
               recorded_at, recorded_by)
           VALUES (%(id)s, %(practice)s, %(patient_id)s, %(version)s, %(state)s, %(programs)s, %(since)s, %(conditions)s,
               %(significant_risk_documented)s, %(payer)s, %(payer_checked_on)s, %(initiating_visit)s,
               %(practitioner_name)s, %(care_manager_name)s, %(rpm_ordered)s, %(rpm_device_fda_defined)s,
               %(rpm_auto_upload)s, %(rpm_setup_on)s, %(profile)s, %(why)s, %(at)s, %(by)s)
           ON CONFLICT DO NOTHING""",
        {name: getattr(said, name) for name in Enrolment.__slots__}
        | {
            "id": enrolment_id,
            "practice": by.practice_id,
            "programs": sorted(said.programs),
            "conditions": Jsonb(
                [
                    {"icd10": c.icd10, "name": c.name, "chronic_months": c.chronic_months}
                    for c in said.conditions
                ]
            ),
            "profile": Jsonb(msgspec.to_builtins(said.profile)),
            "why": why,
            "at": by.at,
            "by": by.staff_id,
        },
    )
    return done.rowcount == 1


async def everybody(conn: Connection) -> dict[str, UUID]:
    """Every patient of the practice by medical record number."""
    return dict(await (await conn.execute("SELECT mrn, patient_id FROM who.patient")).fetchall())
