"""Claim lines: the codes in our own words, and a practice's month as a sheet for the biller."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from ccm_bridge.month import fingerprint
from ccm_bridge.month_service import Row, frozen_decision

CODE_WORDS: dict[str, str] = {
    "99490": "Chronic care management by staff, first block",
    "99439": "Chronic care management by staff, further block",
    "99487": "Complex chronic care management, first block",
    "99489": "Complex chronic care management, further block",
    "99491": "Chronic care management by the practitioner, first block",
    "99437": "Chronic care management by the practitioner, further block",
    "99424": "Principal care management by the practitioner, first block",
    "99425": "Principal care management by the practitioner, further block",
    "99426": "Principal care management by staff, first block",
    "99427": "Principal care management by staff, further block",
    "99453": "Monitoring: setup and teaching, once",
    "99445": "Monitoring: device, 2 to 15 days with readings",
    "99454": "Monitoring: device, 16 days with readings or more",
    "99470": "Monitoring: management, short block",
    "99457": "Monitoring: management, first block",
    "99458": "Monitoring: management, further block",
}
"""Our own words for the codes: the official descriptors belong to the AMA and are not shipped."""

STEP_WORDS = {
    "open": "Not reviewed",
    "reviewed": "Reviewed",
    "signed": "Signed",
    "locked": "Locked",
    "amended": "Amended",
}
CLAIM_COLUMNS = (
    "status",
    "month",
    "mrn",
    "code",
    "units",
    "date_of_service",
    "allowed",
    "medicare",
    "patient",
    "diagnoses",
    "rule_set",
    "price_set",
    "entries",
    "entries_sha256",
    "reviewed_by",
    "reviewed_at",
)


def sheet(everyone: Sequence[Row], numbers: Mapping[UUID, str]) -> str:
    """One line per code of a patient, by record number. Nothing is listed that is held or not supported.

    A locked month is listed as it was locked; the others are drafts, marked so.
    """
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(CLAIM_COLUMNS)
    for row in sorted(everyone, key=lambda r: numbers[r.known.patient_id]):
        frozen = row.frozen
        said = frozen_decision(frozen) if frozen else None
        lines = said["lines"] if said else _as_data(row)
        enrolled = row.known.enrolment
        for line in lines:
            out.writerow(
                [
                    frozen.step if frozen else f"draft ({STEP_WORDS[row.step].lower()})",
                    f"{row.known.month:%Y-%m}",
                    _plain(numbers[row.known.patient_id]),
                    line["code"],
                    line["units"],
                    line["date_of_service"] or "",
                    line["allowed"] or "",
                    line["medicare"] or "",
                    line["patient"] or "",
                    " ".join(c.icd10 for c in enrolled.conditions) if enrolled else "",
                    frozen.rule_set if frozen else row.decision.rule_set,
                    frozen.price_set if frozen else row.decision.price_set,
                    len(frozen.entries if frozen else row.known.entries),
                    (frozen.entries_hash if frozen else fingerprint(row.known.entries)).hex(),
                    row.last.by_name if row.last else "",
                    row.last.at.isoformat() if row.last else "",
                ]
            )
    return text.getvalue()


def _as_data(row: Row) -> list[dict[str, Any]]:
    return [
        {
            "code": line.code,
            "units": line.units,
            "date_of_service": line.date_of_service.isoformat() if line.date_of_service else None,
            "allowed": line.allowed,
            "medicare": line.medicare,
            "patient": line.patient,
        }
        for line in row.decision.lines
    ]


def _plain(text: str) -> str:
    """A cell that a spreadsheet cannot take for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text
