"""On which days patients' devices sent readings: the archive asked on behalf of the CCM room, which may not ask itself."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from ccm_bridge.month import DeviceDay
from deploy.database import Connection

NOT_BY_ITSELF = ("echo", "manual", "statistic", "owner_ambiguous")
"""Flags of readings that prove no day: sent twice, typed in, chosen from many, perhaps another person's."""


async def device_days(
    conn: Connection, since: Mapping[UUID, date], *, until: date
) -> Mapping[UUID, Sequence[DeviceDay]]:
    """Each patient's own dates with at least one reading that a device sent by itself.

    The date is the patient's, by the instant of measuring. Left out: what was recorded before watching began, what
    arrived twice, what the clock rules call suspect, and what a person took back.
    """
    if not since:
        return {}
    rows = await (
        await conn.execute(
            """SELECT r.patient_id, (r.effective_at AT TIME ZONE p.zone)::date AS day, r.device_id, count(*),
                      (array_agg(r.event_id ORDER BY r.effective_at))[1]
                 FROM unnest(%s::uuid[], %s::date[]) AS s (patient_id, since)
                 JOIN who.patient p USING (patient_id)
                 JOIN ingest.reading r ON r.patient_id = s.patient_id
                  AND r.effective_at >= (s.since::timestamp AT TIME ZONE p.zone)
                  AND r.effective_at < (%s::timestamp AT TIME ZONE p.zone)
                WHERE NOT r.history AND r.time_confidence <> 'suspect' AND NOT r.flags && %s::text[]
                  AND NOT EXISTS (SELECT FROM ingest.withdrawal w WHERE w.reading_id = r.event_id)
                GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
            (list(since), list(since.values()), until + timedelta(days=1), list(NOT_BY_ITSELF)),
        )
    ).fetchall()
    found: dict[UUID, list[DeviceDay]] = defaultdict(list)
    for patient, day, device, readings, first in rows:
        found[patient].append(DeviceDay(day=day, device_id=device, readings=readings, first_reading=first))
    return found


async def last_measured(conn: Connection, patients: Sequence[UUID]) -> Mapping[UUID, datetime]:
    """When each patient's newest reading was measured; one look into an index each."""
    rows = await (
        await conn.execute(
            """SELECT p.patient_id, r.effective_at
                 FROM unnest(%s::uuid[]) AS p (patient_id),
                      LATERAL (SELECT effective_at FROM ingest.reading r
                                WHERE r.patient_id = p.patient_id
                                  AND NOT EXISTS (SELECT FROM ingest.withdrawal w WHERE w.reading_id = r.event_id)
                                ORDER BY effective_at DESC LIMIT 1) r""",
            (list(patients),),
        )
    ).fetchall()
    return dict(rows)
