"""Consents and their revocations in SQL: both are only added."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import dict_row

from ccm_bridge.enrolment import Consent, Method, Program, Told
from ccm_bridge.store import By, Connection


async def consents(conn: Connection, patients: Sequence[UUID]) -> dict[UUID, tuple[Consent, ...]]:
    found: dict[UUID, list[Consent]] = defaultdict(list)
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT c.patient_id, c.consent_id, c.program, c.accepted, c.given_at, c.method, c.explained, c.language,
                      c.given_by, c.explained_by_name, r.revoked_at
                 FROM ccm.consent c LEFT JOIN ccm.consent_revocation r USING (consent_id)
                WHERE c.patient_id = ANY(%s) ORDER BY c.given_at""",
            (list(patients),),
        )
        for row in await cur.fetchall():
            found[row.pop("patient_id")].append(
                Consent(
                    **row
                    | {
                        "program": Program(row["program"]),
                        "method": Method(row["method"]),
                        "explained": frozenset(Told(t) for t in row["explained"]),
                    }
                )
            )
    return {patient: tuple(said) for patient, said in found.items()}


async def add_consent(conn: Connection, patient_id: UUID, said: Consent, *, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.consent (consent_id, practice_id, patient_id, program, accepted, given_at, method, explained,
                                    language, given_by, explained_by, explained_by_name, recorded_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (consent_id) DO NOTHING""",
        (
            said.consent_id,
            by.practice_id,
            patient_id,
            said.program,
            said.accepted,
            said.given_at,
            said.method,
            sorted(said.explained),
            said.language,
            said.given_by,
            by.staff_id,
            said.explained_by_name,
            by.at,
        ),
    )
    return done.rowcount == 1


async def revoke(conn: Connection, consent_id: UUID, *, revoked_at: datetime, reason: str, by: By) -> bool:
    done = await conn.execute(
        """INSERT INTO ccm.consent_revocation (consent_id, practice_id, revoked_at, reason, recorded_by, recorded_at)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (consent_id) DO NOTHING""",
        (consent_id, by.practice_id, revoked_at, reason, by.staff_id, by.at),
    )
    return done.rowcount == 1
