"""Scores and readings by id, for the page that walks from a minute back to the cuff: the CCM room may not ask itself."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from ccm_bridge.origins import Measured, Score
from deploy.database import Connection
from risk.events import Scored


class Archives:
    """The archive of readings and the scorer's table, read under the asker's row-level security."""

    async def scores(self, conn: Connection, ids: Sequence[UUID]) -> Mapping[UUID, Score]:
        rows = await (
            await conn.execute("SELECT scored FROM risk.score WHERE event_id = ANY(%s)", (list(ids),))
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
        rows = await (
            await conn.execute(
                """SELECT event_id, patient_id, caused_by, systolic, diastolic, pulse, glucose, beyond, device_id,
                          gateway_id, effective_at, received_at, device_time, time_rule, flags, raw
                     FROM ingest.reading WHERE event_id = ANY(%s)""",
                (list(ids),),
            )
        ).fetchall()
        return {
            row[0]: Measured(
                reading_id=row[0],
                patient_id=row[1],
                caused_by=row[2],
                value=value_words(*row[3:8]),
                device_id=row[8],
                gateway_id=row[9],
                effective_at=row[10],
                received_at=row[11],
                device_time=row[12],
                time_rule=row[13],
                flags=tuple(row[14]),
                raw=row[15],
            )
            for row in rows
        }


def value_words(
    systolic: float | None,
    diastolic: float | None,
    pulse: float | None,
    glucose: float | None,
    beyond: str | None,
) -> str:
    """A reading's value with its units.

    >>> value_words(172.0, 96.0, 78.0, None, None), value_words(None, None, None, 48.0, None)
    ('172/96 mm[Hg], pulse 78 /min', '48 mg/dL')
    >>> value_words(None, None, None, None, "HI")
    'HI: beyond what the meter measures'
    """
    parts = []
    if systolic is not None or diastolic is not None:
        high, low = (f"{x:g}" if x is not None else "?" for x in (systolic, diastolic))
        parts.append(f"{high}/{low} mm[Hg]")
    if pulse is not None:
        parts.append(f"pulse {pulse:g} /min")
    if glucose is not None:
        parts.append(f"{glucose:g} mg/dL")
    if beyond is not None:
        parts.append(f"{beyond}: beyond what the meter measures")
    return ", ".join(parts)
