"""Why nothing can arrive from a home: what ingest knows of its hub, told to the alerts room before it asks a patient."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.database import Connection

SILENT: Final = timedelta(minutes=15)
"""Without a heartbeat for this long a hub cannot be sending readings either."""


class Hubs:
    """The hub that carried a patient's newest reading, if it is offline or silent now."""

    async def unreachable(
        self, conn: Connection, patients: Collection[UUID], *, now: datetime
    ) -> Mapping[UUID, str]:
        rows = await conn.execute(
            """SELECT p.patient_id, g.online
                 FROM unnest(%s::uuid[]) AS p (patient_id)
                CROSS JOIN LATERAL (SELECT gateway_id FROM ingest.reading r WHERE r.patient_id = p.patient_id
                                     ORDER BY effective_at DESC LIMIT 1) AS newest
                 JOIN ingest.gateway g USING (gateway_id)
                WHERE NOT g.online OR g.last_seen < %s""",
            (list(patients), now - SILENT),
        )
        return {
            patient_id: "The hub gives no sign of life" if online else "The hub is offline"
            for patient_id, online in await rows.fetchall()
        }
