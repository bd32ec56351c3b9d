"""Why nothing can arrive from a home: what ingest knows of its hub, told to the alerts room before it asks a patient."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.database import Connection

SILENT: Final = timedelta(minutes=15)
"""Without a heartbeat for this long a hub cannot be sending readings either."""


FLAT: Final = 5.0
"""Percent of battery at or below which a device is as good as off."""
WRONG: Final = timedelta(hours=1)
"""A hub whose clock is further off than this dates its readings so that they cannot be weighed."""


class Hubs:
    """Why the home of a patient's newest reading cannot send: its hub, its device's battery, its clock."""

    async def unreachable(
        self, conn: Connection, patients: Collection[UUID], *, now: datetime
    ) -> Mapping[UUID, str]:
        rows = await conn.execute(
            """SELECT p.patient_id,
                      CASE WHEN NOT g.online THEN 'The hub is offline'
                           WHEN g.last_seen < %(silent)s THEN 'The hub gives no sign of life'
                           WHEN d.battery_percent <= %(flat)s THEN 'The battery of the device is flat'
                           WHEN NOT g.playback AND abs(extract(epoch FROM g.clock_error)) > %(wrong)s
                           THEN 'The clock of the hub is wrong' END
                 FROM unnest(%(patients)s::uuid[]) AS p (patient_id)
                CROSS JOIN LATERAL (SELECT gateway_id, device_id FROM ingest.reading r
                                     WHERE r.patient_id = p.patient_id ORDER BY effective_at DESC LIMIT 1) AS newest
                 JOIN ingest.gateway g USING (gateway_id)
                 LEFT JOIN ingest.device d ON d.device_id = newest.device_id""",
            {
                "patients": list(patients),
                "silent": now - SILENT,
                "flat": FLAT,
                "wrong": WRONG.total_seconds(),
            },
        )
        return {patient_id: cause for patient_id, cause in await rows.fetchall() if cause is not None}
