"""Recorded diaries as a device would hand them over: every line goes through, the dirty ones unharmed.

Two forms: the fingerstick diaries of the AIM '94 set (tab-separated date, time, code, value) and home blood pressure
as CSV (ts, systolic, diastolic, pulse). What a line means is decided by ingest; here it is only put into our message.
"""

import base64
import csv
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ingest.events import fact_id


class Form(StrEnum):
    """How a diary is written; also the kind of device that filled it."""

    FINGERSTICKS = "glucose"
    PRESSURES = "bp"


CONTEXTS = {
    48: "unspecified",
    57: "unspecified",
    58: "fasting",  # before breakfast
    59: "after_meal",
    60: "before_meal",
    61: "after_meal",
    62: "before_meal",
    63: "after_meal",
    64: "before_meal",  # before a snack
}
"""Codes of the AIM '94 set that are a blood glucose (mg/dL) and when in the day it was taken."""

OTHER_ENTRIES = frozenset({33, 34, 35, 65, 66, 67, 68, 69, 70, 71, 72})
"""Insulin doses, symptoms, meals, exercise: written by the person, not measured by the meter, so it sends none."""


class Entry(NamedTuple):
    """One measurement as the device has it. `wall` orders the day; `said_at` is the time as written, however wrong."""

    number: int
    line: str
    wall: datetime
    said_at: str | None
    fields: dict[str, Any]


def entries(form: Form, lines: Iterable[str]) -> Iterator[Entry]:
    """What a device with this diary in its memory would send, in the order written."""
    return _fingersticks(lines) if form is Form.FINGERSTICKS else _pressures(lines)


def _fingersticks(lines: Iterable[str]) -> Iterator[Entry]:
    """A line without a usable time keeps its place after the one before it."""
    wall: datetime | None = None
    waiting: list[tuple[int, str, str | None, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        date, time, code, value = (*line.rstrip("\r\n").split("\t"), "", "", "", "")[:4]
        at = _moment(date, time)
        kind = int(code) if code.isdecimal() else None
        if kind in OTHER_ENTRIES and value.isdecimal():
            continue  # whatever its time: a dose of 16 units must never pass for a glucose of 16
        fields: dict[str, Any] = {"kind": "glucose", "unit": "mg/dL"}
        if kind in CONTEXTS:
            fields |= {"glucose": _glucose(value), "context": CONTEXTS[kind]}
        else:
            fields["glucose"] = f"{code} {value}".strip()  # text, so that ingest refuses it
        said_at = at.isoformat(timespec="minutes") if at is not None else _as_written(date, time)
        wall = at or wall
        if wall is None:
            waiting.append((number, line, said_at, fields))
            continue
        for early in waiting:
            yield Entry(early[0], early[1], wall, early[2], early[3])
        waiting.clear()
        yield Entry(number, line.rstrip("\r\n"), wall, said_at, fields)


def _pressures(lines: Iterable[str]) -> Iterator[Entry]:
    wall: datetime | None = None
    listed = list(lines)
    for number, row in enumerate(csv.DictReader(listed), start=2):
        line = listed[number - 1].rstrip("\r\n") if number <= len(listed) else ""
        said_at = (row.get("ts") or "").replace(" ", "T") or None
        try:
            wall = datetime.fromisoformat(said_at or "").replace(tzinfo=None)
        except ValueError:
            if wall is None:
                continue  # nothing to place it by: the file begins with nonsense
        fields: dict[str, Any] = {"kind": "bp", "unit": "mm[Hg]"}
        fields |= {name: _number(row[name]) for name in ("systolic", "diastolic", "pulse") if row.get(name)}
        yield Entry(number, line, wall, said_at, fields)


def _moment(date: str, time: str) -> datetime | None:
    try:
        return datetime.strptime(f"{date} {time}", "%m-%d-%Y %H:%M")  # noqa: DTZ007 - a wall clock has no zone
    except ValueError:
        return None


def _as_written(date: str, time: str) -> str | None:
    """A time that is none, with its date in our order where it has one.

    >>> _as_written("04-09-1991", "56:35")
    '1991-04-09T56:35'
    """
    found = re.fullmatch(r"(\d{2})-(\d{2})-(\d{4})", date)
    day = f"{found[3]}-{found[1]}-{found[2]}" if found else date
    return f"{day}T{time}" if day or time else None


def _glucose(value: str) -> float | str:
    """The meter pads its numbers with zeros, and "Hi" too.

    >>> _glucose("063"), _glucose("0Hi"), _glucose("3A")
    (63.0, 'HI', '3A')
    """
    beyond = re.fullmatch(r"0*(hi|lo)", value, re.IGNORECASE)
    return beyond[1].upper() if beyond else _number(value)


def _number(text: str) -> float | str:
    """A number where it is one; otherwise the text, for ingest to refuse."""
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) else text


def message(
    entry: Entry, *, device_id: str, shift: timedelta, gateway_time: datetime, history: bool
) -> tuple[UUID, bytes]:
    r"""The entry as our message, with the device's clock moved by `shift`; its id is the same at every playing.

    >>> entry = next(entries(Form.FINGERSTICKS, ["10-31-1989\t12:00\t60\t0Hi"]))
    >>> _, sent = message(entry, device_id="meter-1", shift=timedelta(days=1), gateway_time=entry.wall, history=False)
    >>> msgspec.json.decode(sent)["glucose"], msgspec.json.decode(sent)["measured_at"]
    ('HI', '1989-11-01T12:00')
    """
    name = fact_id("diary", device_id, entry.number, entry.line)
    said: dict[str, Any] = {
        "device": device_id,
        "id": name,
        **entry.fields,
        "measured_at": _shifted(entry.said_at, shift),
        "gateway_time": gateway_time,
        "raw": base64.b64encode(entry.line.encode()).decode(),
    }
    if history:
        said["history"] = True
    return name, msgspec.json.encode(said)


def _shifted(said_at: str | None, shift: timedelta) -> str | None:
    """Move the date and leave the time as written, impossible or not."""
    if said_at is None:
        return None
    date, _, time = said_at.partition("T")
    try:
        return f"{(datetime.fromisoformat(date) + shift).date().isoformat()}T{time}"
    except (ValueError, OverflowError):
        return said_at[:64]
