"""Smart Meter (iBloodPressure, iGlucose): flat records with the unit in the field's name."""

import re
from collections.abc import Mapping
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import Answer, Context, Flag, Refusal, Said
from ingest.devices.vitals import OfReading, blood_pressure, glucose, number

KINDS = {
    "bloodpressure": "bp", "bp": "bp", "bloodglucose": "glucose", "glucose": "glucose",
}  # fmt: skip


def decode(raw: bytes) -> Answer:
    """One answer for each record; its time is `date_recorded`, for `date_received` is the cloud's own clock.

    >>> (said,) = decode(b'{"reading_type":"blood_pressure","imei":"1","systolic_mmhg":128,"diastolic_mmhg":84}')
    >>> said.systolic, said.device
    (128.0, '1')
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = field.records(message, "data", "readings")
    return (found,) if isinstance(found, Refusal) else field.answer(_said(record) for record in found)


def _said(record: Mapping[str, Any]) -> Said:
    about = _about(record)
    said = field.text(record, "reading_type")
    kind = _kind_by_values(record) if said is None else KINDS.get(re.sub(r"[-_ ]", "", said.lower()))
    if kind == "bp":
        return blood_pressure(
            field.sent(record, "mm[Hg]", "systolic_mmhg"),
            field.sent(record, "mm[Hg]", "diastolic_mmhg"),
            None,
            field.sent(record, "/min", "pulse_bpm"),
            **about,
        )
    if kind == "glucose":
        before = field.sent(record, None, "before_meal")
        if before is not None and (field.yes(before.value) or field.no(before.value)):
            about["context"] = Context.BEFORE_MEAL if field.yes(before.value) else Context.AFTER_MEAL
            about["sent"] = {**about.get("sent", {}), "context": before}
        return glucose(field.sent(record, "mg/dL", "blood_glucose_mgdl"), **about)
    return field.unsupported({said or ""}, about.get("device"))


def _kind_by_values(record: Mapping[str, Any]) -> str | None:
    if record.get("systolic_mmhg") is not None:
        return "bp"
    return "glucose" if record.get("blood_glucose_mgdl") is not None else None


def _about(record: Mapping[str, Any]) -> OfReading:
    """A time without a zone is read as the patient's wall clock.

    If it were UTC, the reading would lie hours ahead and be noticed; read as UTC, a wall clock would lie
    hours back and look like an old reading.
    """
    about = field.clock(record, "date_recorded")
    about["device"] = field.text(record, "imei", "device_id")
    hours = number(record.get("time_zone_offset"))
    if hours is not None:
        about.update(field.local(hours * 60, about.get("flags", ())))
    record_id = field.sent(record, None, "reading_id")
    if record_id is not None:
        about["sent"] = {"record": record_id}
    if field.yes(record.get("is_flagged")):
        field.add_flags(about, (Flag.FLAGGED_BY_SENDER,))
    claimed = field.claims(patient=field.text(record, "patient_id"))
    if claimed:
        about["claimed"] = claimed
    return about
