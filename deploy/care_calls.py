"""Who spoke with patients on care calls: the CCM room's minutes, told to the alerts room, which may not ask for them."""

from collections.abc import Collection, Mapping
from uuid import UUID

from alerts.contact import Contact
from deploy.database import Connection


class LiveContacts:
    """Logged minutes that were a live contact: two-way, by telephone, video or in person, and not voided."""

    async def last(self, conn: Connection, patients: Collection[UUID]) -> Mapping[UUID, Contact]:
        rows = await conn.execute(
            """SELECT p.patient_id, e.at, e.staff_name, e.contact, e.contact_with
                 FROM unnest(%s::uuid[]) AS p (patient_id)
                CROSS JOIN LATERAL (
                    SELECT upper(span) AS at, staff_name, contact, contact_with FROM ccm.time_entry t
                     WHERE t.patient_id = p.patient_id AND t.interactive
                       AND NOT EXISTS (SELECT FROM ccm.time_void v WHERE v.entry_id = t.entry_id)
                     ORDER BY upper(span) DESC LIMIT 1) AS e""",
            (list(patients),),
        )
        return {
            patient_id: Contact(at=at, by_name=name, how=how(contact, whom))
            for patient_id, at, name, contact, whom in await rows.fetchall()
        }


def how(contact: str, whom: str) -> str:
    """How they spoke, in words.

    >>> how("phone", "patient"), how("in_person", "daughter"), how("video", "")
    ('care call, phone', 'care visit with daughter', 'care call, video')
    """
    said = "care visit" if contact == "in_person" else f"care call, {contact}"
    return said if whom.strip().lower() in ("", "patient") else f"{said} with {whom.strip()}"
