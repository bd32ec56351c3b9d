"""Last contacts: what was settled here by speaking with the patient, and the care calls of the house, whichever is newer."""

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from psycopg import AsyncConnection

from alerts.contact import Contact


class CareCalls(Protocol):
    """Who spoke with patients elsewhere in the house: this room may not ask there, the composition root may."""

    async def last(self, conn: AsyncConnection, patients: Collection[UUID]) -> Mapping[UUID, Contact]:
        """Each patient's newest live contact, for those who had one."""
        ...


class NoCareCalls:
    """Only this queue's own contacts are known."""

    async def last(self, *_: object, **__: object) -> Mapping[UUID, Contact]:
        return {}


async def last(
    conn: AsyncConnection, care_calls: CareCalls, patients: Collection[UUID]
) -> dict[UUID, Contact]:
    """Each patient's newest contact, for those who had one."""
    found = await _settled(conn, patients)
    for patient_id, contact in (await care_calls.last(conn, patients)).items():
        here = found.get(patient_id)
        if here is None or contact.at > here.at:
            found[patient_id] = contact
    return found


async def _settled(conn: AsyncConnection, patients: Collection[UUID]) -> dict[UUID, Contact]:
    rows = await conn.execute(
        """SELECT p.patient_id, t.at, t.by_name FROM unnest(%s::uuid[]) AS p (patient_id)
            CROSS JOIN LATERAL (
                SELECT at, by_name FROM alerts.transition
                 WHERE patient_id = p.patient_id AND disposition IN ('contacted', 'plan_changed', 'emergency', 'self_care')
                 ORDER BY at DESC LIMIT 1) AS t""",
        (list(patients),),
    )
    return {patient_id: Contact(at=at, by_name=name) for patient_id, at, name in await rows.fetchall()}
