"""Reading single fields of foreign JSON, where anything may be missing, null, text for a number or the wrong shape."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ingest.devices.measurement import Absent, Answer, Flag, Reason, Refusal, Said, Sent, refuse
from ingest.devices.timestamp import from_epoch, instant, is_sane_offset, parse_with_offset
from ingest.devices.vitals import OfReading, number

MOST_RECORDS = 2000  # in one message; a page of any vendor's answer is smaller
LONGEST_TEXT = 128
MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138, as milliseconds 1973: nobody means the other


def text(record: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that is short text, or a whole number written as one.

    >>> text({"deviceId": 864593054464085}, "imei", "deviceId")
    '864593054464085'
    """
    for name in names:
        value = record.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_TEXT and value.isprintable():
            return value.strip()
    return None


def inner(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object in this field, or an empty one."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def sent(record: Mapping[str, Any], unit: str | None, *names: str) -> Sent | None:
    """The first of these fields that is there, as sent; a list or an object is sent as its kind."""
    for name in names:
        if name in record:
            value = record[name]
            if value is None or isinstance(value, str | bool | int | float):
                return Sent(value[:LONGEST_TEXT] if isinstance(value, str) else value, unit)
            return Sent(f"<{type(value).__name__}>", unit)
    return None


def whole(value: object) -> int | None:
    """A code: a whole number, or text that is one."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def yes(value: object) -> bool:
    """True in the spellings vendors use."""
    return _truth(value) is True


def no(value: object) -> bool:
    """False, said as such: nothing said is neither.

    >>> no("false"), no(0), no(None), no("")
    (True, True, False, False)
    """
    return _truth(value) is False


def _truth(value: object) -> bool | None:
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (True, 1, "1", "true", "y", "yes"):
        return True
    return False if word in (False, 0, "0", "false", "n", "no") else None


def epoch(value: object) -> datetime | None:
    """The instant of an epoch in seconds or milliseconds, number or text.

    >>> epoch("1721382524000") == epoch(1721382524)
    True
    """
    count = number(value)
    if count is None:
        return None
    return from_epoch(count / 1000 if count >= MILLISECONDS_FROM else count)


def clock(record: Mapping[str, Any], *names: str, utc: bool = False) -> OfReading:
    """Device time from the first of these fields: ISO text or an epoch, with its offset where one is written.

    `utc`: the sender documents its times as UTC, so that one without a zone is no wall clock.
    """
    for name in names:
        value = record.get(name)
        if value is None or value == "":
            continue
        about: OfReading = {"device_time_sent": str(value)[:LONGEST_TEXT]}
        if isinstance(value, str) and number(value) is None:
            wall, offset = parse_with_offset(value)
            offset = 0 if utc and offset is None else offset
            about["device_time"] = instant(wall, offset)
            if offset:
                about.update(local(offset))
        else:
            about["device_time"] = epoch(value)
        if about["device_time"] is None:
            about["absent"] = {"device_time": Absent.INVALID_DATE}
        return about
    return {}


def local(minutes: float | None, flags: tuple[str, ...] = ()) -> OfReading:
    """The patient's offset from UTC if a place on earth has it; otherwise the flag that says it was nonsense."""
    if minutes is None:
        return {}
    if is_sane_offset(minutes):
        return {"utc_offset_minutes": round(minutes)}
    return {"flags": (*flags, Flag.OFFSET_INSANE)}


def records(document: Any, *wrappers: str) -> list[dict[str, Any]] | Refusal:
    """The records of a document: itself, a list of them, or the list inside one of the named fields."""
    if isinstance(document, dict):
        for name in wrappers:
            if isinstance(document.get(name), list):
                document = document[name]
                break
        else:
            return [document]
    if not isinstance(document, list):
        return Refusal(
            reason=Reason.WRONG_TYPE, detail="the message is neither an object nor a list of objects"
        )
    if len(document) > MOST_RECORDS:
        return Refusal(reason=Reason.TOO_MANY, detail=f"more than {MOST_RECORDS} records in one message")
    if not all(isinstance(record, dict) for record in document):
        return Refusal(reason=Reason.WRONG_TYPE, detail="a record of the list is not an object")
    return document


def answer(said: Iterable[Said]) -> Answer:
    """Everything said, or the refusal that nothing was."""
    return tuple(said) or refuse(Reason.NOTHING_HERE, "no reading and no event in the message")


def add_flags(about: OfReading, flags: Iterable[str]) -> None:
    """More flags beside those already there, each once."""
    about["flags"] = tuple(dict.fromkeys((*about.get("flags", ()), *flags)))


def claims(**named: str | None) -> dict[str, str]:
    """Who the message says this is, as far as it says anything."""
    return {name: value for name, value in named.items() if value}


OTHER_MEASUREMENTS = {
    "weight", "bodyweight", "bmi", "bodyfat", "spo2", "oxygensaturation", "pulseox", "perfusionindex", "pi",
    "pulse", "heartrate", "temp", "temperature", "bodytemperature", "uricacid", "cholesterol", "ketone", "hba1c",
    "steps", "peakflow", "fev1", "pef", "respiration", "respiratoryrate", "resistance", "battery",
    "sleepingmatactivity", "sleepingmatduration",
}  # fmt: skip


def unsupported(what: Iterable[str], device: str | None = None) -> Refusal:
    """A measurement we understand well enough to know that it is not ours.

    Only names from our own list are repeated: what a sender writes is shown to nobody.
    """
    words = {re.sub(r"[^a-z0-9]", "", name.lower()) for name in what}
    named = ", ".join(sorted(words & OTHER_MEASUREMENTS)) or "what was measured"
    return Refusal(
        reason=Reason.UNSUPPORTED_KIND, detail=f"{named}: neither blood pressure nor glucose", device=device
    )


def pairs(record: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The objects in a list field, skipping what is no object."""
    found = record.get(name)
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, dict))
