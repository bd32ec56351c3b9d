"""Scores and readings by id, for the page that walks from a minute back to the cuff: the CCM room may not ask itself."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec

from ccm_bridge.origins import Measured, Score
from deploy.database import Connection
from risk.events import Scored


class Archives:
    """The archive of readings and the scorer's table, read under the asker's row-level security."""

    async def scores(self, conn: Connection, patient_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, Score]:
        rows = await (
            await conn.execute(
                "SELECT scored FROM risk.score WHERE patient_id = %s AND event_id = ANY(%s)",
                (patient_id, list(ids)),
            )
        ).fetchall()
        said = [msgspec.json.decode(row[0], type=Scored) for row in rows]
        return {
            one.event_id: Score(
                score_id=one.event_id,
                reading_id=one.caused_by,
                effective_at=one.effective_at,
                tier=one.tier,
                reasons=tuple(finding.reason for finding in one.findings),
                rules=tuple(finding.rule for finding in one.findings),
                model_version=one.model_version,
                rules_version=one.rules_version,
            )
            for one in said
        }

    async def readings(self, conn: Connection, ids: Sequence[UUID]) -> Mapping[UUID, Measured]:
        rows = await (await conn.execute(f"{READING} WHERE event_id = ANY(%s)", (list(ids),))).fetchall()
        return {row[0]: _measured(row) for row in rows}

    async def of_patient(
        self, conn: Connection, patient_id: UUID, *, start: datetime, end: datetime
    ) -> Sequence[Measured]:
        rows = await (
            await conn.execute(
                f"""{READING} WHERE patient_id = %s AND effective_at >= %s AND effective_at < %s AND NOT history
                       AND NOT EXISTS (SELECT FROM ingest.withdrawal w WHERE w.reading_id = event_id)
                    ORDER BY effective_at""",
                (patient_id, start, end),
            )
        ).fetchall()
        return [_measured(row) for row in rows]


READING: LiteralString = """
    SELECT event_id, patient_id, caused_by, systolic, diastolic, pulse, glucose, beyond, device_id, gateway_id,
           effective_at, received_at, device_time, time_rule,
           CASE WHEN EXISTS (SELECT FROM ingest.withdrawal w WHERE w.reading_id = event_id)
                THEN array_append(flags, 'withdrawn') ELSE flags END, raw
      FROM ingest.reading"""


def _measured(row: tuple[Any, ...]) -> Measured:
    names: tuple[str, ...] = (
        "reading_id",
        "patient_id",
        "caused_by",
        "systolic",
        "diastolic",
        "pulse",
        "glucose",
        "beyond",
    )
    names += ("device_id", "gateway_id", "effective_at", "received_at", "device_time", "time_rule")
    return Measured(**dict(zip(names, row[:14], strict=True)), flags=tuple(row[14]), raw=row[15])
