"""What people said of alerts, brought back to the risk room's pages: it may not ask the alerts room itself.

Read when a page or a report asks, under the asker's row-level security; nothing of it reaches the scorer.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from alerts.dispositions import DISPOSITIONS
from deploy.database import Connection
from risk.events import Evidence
from risk.labels import Label, Said

SAID: Final = {
    "technique": Said.TECHNIQUE,
    "device": Said.TECHNIQUE,
    "known": Said.KNOWN,
    "noise": Said.NOISE,
}
"""Codes that a scorer can learn something from; what led to an act was useful, the rest says nothing."""


class Dispositions:
    """Settled calls of the alerts room as labels."""

    async def settled(
        self, conn: Connection, *, since: datetime, patients: Collection[UUID] | None = None
    ) -> Sequence[Label]:
        """Each disposition with the reading that called last before it; an undone one is none."""
        rows = await conn.execute(
            """SELECT t.patient_id, t.concern, t.disposition, coalesce(called.rule, e.rule),
                      coalesce(called.effective_at, e.told_effective_at), coalesce(called.evidence, e.evidence)::text
                 FROM alerts.transition t
                 JOIN alerts.episode e USING (episode_id)
                 LEFT JOIN LATERAL (
                      SELECT v.rule, v.effective_at, v.evidence
                        FROM alerts.transition c JOIN alerts.evidence v
                          ON v.episode_id = c.episode_id AND v.score_id = c.caused_by
                       WHERE c.episode_id = t.episode_id AND c.number < t.number AND c.by IS NULL
                         AND c.move IN ('opened', 'reopened', 'worsened')
                       ORDER BY c.number DESC LIMIT 1) AS called ON true
                WHERE t.move = 'dispositioned' AND t.at >= %(since)s
                  AND (%(everybody)s OR t.patient_id = ANY(%(patients)s))
                  AND NOT EXISTS (SELECT 1 FROM alerts.transition u WHERE u.episode_id = t.episode_id
                                     AND u.number = t.number + 1 AND u.why = 'undo')  -- an undo follows at once
                ORDER BY 5""",
            {"since": since, "everybody": patients is None, "patients": list(patients or ())},
        )
        return [
            Label(
                patient_id=patient,
                concern=concern,
                rule=rule,
                at=at,
                said=said(code),
                drift_score=_drift(evidence),
            )
            for patient, concern, code, rule, at, evidence in await rows.fetchall()
        ]


def said(code: str) -> Said:
    """A disposition's code as a label.

    >>> [said(code).value for code in ("contacted", "noise", "device", "other")]
    ['useful', 'noise', 'technique', 'other']
    """
    known = DISPOSITIONS.get(code)
    return SAID.get(code, Said.USEFUL if known is not None and known.useful else Said.OTHER)


def _drift(evidence: str) -> float | None:
    told = msgspec.json.decode(evidence, type=list[Evidence])
    return next((one.value for one in told if one.quantity == "drift"), None)
