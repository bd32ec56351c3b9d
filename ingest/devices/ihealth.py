"""iHealth's lists of blood pressures and glucoses, its pushes of one, and its notices that data waits.

`MDate` is the patient's wall clock written as if it were UTC: the digits are kept and the offset attached.
Zero and minus one mean absent.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import (
    Absent,
    Answer,
    Context,
    DeviceEvent,
    EventKind,
    Flag,
    Reason,
    Refusal,
    Said,
    Sent,
)
from ingest.devices.vitals import OfReading, blood_pressure, device_name, glucose, number
from ingest.events import Kind

PRESSURE_UNITS = {0: "mm[Hg]", 1: "kPa"}
GLUCOSE_UNITS = {0: "mg/dL", 1: "mmol/L"}
COLLECTIONS = {"bp": Kind.BLOOD_PRESSURE, "glucose": Kind.GLUCOSE, "bg": Kind.GLUCOSE}
ARRHYTHMIA = 2  # 1 is a normal beat, 3 unknown, -1 not stored
MOST_HOURS = 14


def decode(raw: bytes) -> Answer:
    """One answer per record of either list.

    >>> (said,) = decode(b'{"BPDataList":[{"HP":120,"LP":90,"HR":0,"MDate":1442491463,"TimeZone":"-0800"}],"BPUnit":0}')
    >>> said.systolic, said.pulse, said.device_time.isoformat(), said.utc_offset_minutes
    (120.0, None, '2015-09-17T12:04:23', -480)
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    pages = field.records(message)
    if isinstance(pages, Refusal):
        return (pages,)
    said: list[Said] = []
    for page in pages:
        said.extend(_page(page))
        if len(said) > field.MOST_RECORDS:
            return (
                Refusal(
                    reason=Reason.TOO_MANY, detail=f"more than {field.MOST_RECORDS} records in one message"
                ),
            )
    return field.answer(said)


def _page(page: Mapping[str, Any]) -> list[Said]:
    lists = {"BPDataList", "BGDataList"} & page.keys()
    if lists:
        said = [_pressure(record, page.get("BPUnit")) for record in field.pairs(page, "BPDataList")]
        return said + [_glucose(record, page.get("BGUnit")) for record in field.pairs(page, "BGDataList")]
    if "HP" in page or "LP" in page:
        return [_pressure(page, page.get("BPUnit", page.get("CollectionUnit")))]
    if "BG" in page:
        return [_glucose(page, page.get("BGUnit", page.get("CollectionUnit")))]
    if "CollectionType" in page:
        return [_notice(page)]
    others = {name for name in page if name.endswith("DataList")}
    return [field.unsupported(others)] if others else []


def _notice(page: Mapping[str, Any]) -> Said:
    """Somebody's data has changed: which kind, and when; the data itself must be fetched."""
    kind, account = field.text(page, "CollectionType"), field.text(page, "UserID")
    if kind is None or kind.lower() not in COLLECTIONS:
        return field.unsupported({kind or ""})
    if account is None:
        return Refusal(reason=Reason.MISSING_FIELD, detail="a notice needs `UserID`")
    changed = field.text(page, "MDate")
    return DeviceEvent(
        event=EventKind.DATA_WAITING,
        kind=COLLECTIONS[kind.lower()],
        sent={"changed": Sent(changed)} if changed is not None else {},
        claimed=field.claims(account=account),
    )


def _unit(table: Mapping[int, str], said: object) -> str | None:
    code = number(said)
    if code is None:
        return None
    return table.get(round(code), "unknown")


def _absent(said: Sent | None) -> Sent | None:
    """Minus one is how a missing value is stored."""
    return Sent(Absent.SENDER, said.unit) if said is not None and number(said.value) == -1 else said


def _pressure(record: Mapping[str, Any], unit: object) -> Said:
    about = _about(record)
    if number(record.get("IsArr")) == ARRHYTHMIA:
        field.add_flags(about, (Flag.IRREGULAR_PULSE,))
    name = _unit(PRESSURE_UNITS, unit)
    return blood_pressure(
        _absent(field.sent(record, name, "HP")),
        _absent(field.sent(record, name, "LP")),
        None,
        _absent(field.sent(record, "/min", "HR")),
        **about,
    )


def _glucose(record: Mapping[str, Any], unit: object) -> Said:
    about = _about(record)
    situation = field.text(record, "DinnerSituation")
    if situation is not None:
        about["context"] = _context(situation)
        about["sent"] = {**about.get("sent", {}), "context": Sent(situation)}
    value = _absent(field.sent(record, _unit(GLUCOSE_UNITS, unit), "BG"))
    return glucose(value, **about)


def _context(situation: str) -> Context:
    """`Before_breakfast`, `After_dinner`, `Before_sleep` and their like.

    >>> [_context(said).value for said in ("Before_breakfast", "After_lunch", "Before_sleep", "Midnight", "x")]
    ['before_meal', 'after_meal', 'bedtime', 'overnight', 'unspecified']
    """
    word = situation.lower()
    if "sleep" in word or "bed" in word:
        return Context.BEDTIME
    if "midnight" in word or "night" in word:
        return Context.OVERNIGHT
    if "fasting" in word:
        return Context.FASTING
    if word.startswith("before"):
        return Context.BEFORE_MEAL
    return Context.AFTER_MEAL if word.startswith("after") else Context.UNSPECIFIED


def _about(record: Mapping[str, Any]) -> OfReading:
    about = field.clock(record, "MDate", "MeasureTime")
    digits = about.get("device_time")
    if digits is not None and digits.tzinfo is not None and not _is_text(record):
        about["device_time"] = digits.replace(tzinfo=None)
        about["device_time_sent"] = _wall(digits)
    minutes = _offset(record)
    if minutes is not None:
        about.update(field.local(minutes))
    name = field.text(record, "MDeviceMac", "DeviceMac", "mac", "MDeviceId", "DeviceID")
    about["device"] = device_name(name) if name is not None else None
    if (field.text(record, "DataSource") or "").lower() == "manual":
        field.add_flags(about, (Flag.MANUAL,))
    about["sent"] = {"record": Sent(field.text(record, "DataID", "DataId"))}
    claimed = field.claims(account=field.text(record, "UserId", "UserID", "userid"))
    if claimed:
        about["claimed"] = claimed
    return about


def _is_text(record: Mapping[str, Any]) -> bool:
    said = record.get("MDate", record.get("MeasureTime"))
    return isinstance(said, str) and not said.strip().isdigit()


def _wall(digits: datetime) -> str:
    return digits.replace(tzinfo=None).isoformat()


def _offset(record: Mapping[str, Any]) -> float | None:
    """Minutes from `-0800`, `+08:00`, -8 or -800: text and number are both met.

    >>> [_offset({"TimeZone": said}) for said in ("-0800", "+05:45", -8, -800, 530, "-8", "x", None)]
    [-480.0, 345.0, -480.0, -480.0, 330.0, -480.0, None, None]
    """
    said = record.get("TimeZone", record.get("time_zone"))
    value = number(said.replace(":", "") if isinstance(said, str) else said)
    if value is None:
        return None
    if abs(value) <= MOST_HOURS:
        return value * 60
    hours, minutes = divmod(abs(value), 100)
    return (hours * 60 + minutes) * (-1 if value < 0 else 1)
