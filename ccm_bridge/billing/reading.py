"""From JSON to facts. A case that cannot be read is `Refused` with sentences; a fact that is merely missing is unknown.

Hospital feeds and older exports spell some things in other ways; they are respelt here, always to the reading that
bills less, and the rules see one spelling only.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge.billing.civil import month_of
from ccm_bridge.billing.facts import Facts

YEARS = range(1900, 2200)
_WHEN = r"(_?(at|on|date|day|time))?"
_OF_A_STAY = {
    "admitted_at": re.compile(
        rf"(admit|admitted|admission|starts?|started|from|since|begins?|entered|in){_WHEN}"
    ),
    "discharged_at": re.compile(rf"(discharged?|ends?|ended|until|to|through|left|out){_WHEN}"),
    "kind": re.compile("kind|type|setting|facility|code"),
}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Not facts. One sentence for each thing that is wrong, without the values of the patient's facts."""

    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def read_facts(case: bytes | str | Mapping[str, Any]) -> Facts | Refused:
    """The facts of a case: `{"id": ..., "facts": {...}}`, or the facts alone, as JSON or as a mapping.

    1. The zone is read first, because a day becomes instants only in a zone.
    2. Days where an instant is wanted, and instants where a day is wanted, are respelt.
    3. Types are checked; keys that nobody knows are kept as `unread`, so that the decision can say so.
    4. What no type can say (a window that ends before it starts) is checked last.
    """
    said = _mapping(case)
    if isinstance(said, Refused):
        return said
    zones = _zones(said)
    if isinstance(zones, Refused):
        return zones
    try:
        respelt = _respell(said, zones)
        facts = msgspec.convert(respelt, Facts)
    except _Unreadable as trouble:
        return Refused(sentences=(str(trouble),))
    except msgspec.ValidationError as trouble:
        return Refused(sentences=(_in_words(trouble),))
    wrong = tuple(_contradictions(facts))
    if wrong:
        return Refused(sentences=wrong)
    return msgspec.structs.replace(facts, unread=tuple(_unread(respelt, Facts, "")))


def _number(text: str) -> int | float:
    """A whole number that another program wrote as 1200.0 is whole."""
    number = float(text)
    return int(number) if number.is_integer() else number


_JSON = msgspec.json.Decoder(float_hook=_number)


class _Unreadable(Exception):
    """Never leaves this module."""


def _mapping(case: bytes | str | Mapping[str, Any]) -> dict[str, Any] | Refused:
    said: object = case
    if isinstance(case, bytes | str):
        try:
            said = _JSON.decode(case.removeprefix(BOM_UTF8) if isinstance(case, bytes) else case)
        except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
            return Refused(sentences=("The case is not JSON.",))
    if isinstance(said, Mapping) and "facts" in said:
        said = said["facts"]
    if not isinstance(said, Mapping):
        return Refused(sentences=("The case holds no facts: an object is wanted.",))
    if said and not set(said) & set(Facts.__struct_fields__):
        return Refused(sentences=("The case holds no facts: none of its keys is one.",))
    return {**said}


def _zones(said: dict[str, Any]) -> ZoneInfo | Refused | None:
    """The practice's zone; both zones must exist."""
    found: dict[str, ZoneInfo | None] = {}
    for name in ("zone", "patient_zone"):
        key = said.get(name)
        if key is None:
            found[name] = None
            continue
        try:
            found[name] = ZoneInfo(key)
        except (KeyError, ValueError, OSError, TypeError, AttributeError):
            return Refused(sentences=(f"{name} is not the name of a time zone, such as America/New_York.",))
    return found["zone"]


# Respelling --------------------------------------------------------------------------------------------------


def _respell(said: dict[str, Any], zone: ZoneInfo | None) -> dict[str, Any]:
    """Days and instants as their fields want them; a stay's two ends under one name each."""
    day, begins, ends = _as_day(zone), _as_instant(zone, whole_day=False), _as_instant(zone, whole_day=True)
    out = dict(said)
    for key in ("initiating_visit", "ccm_since", "hospice_elected_on"):
        _apply(out, key, day)
    _apply(out, "died_at", begins)
    _apply(out, "as_of", begins)
    out["stays"] = _each(out.get("stays"), lambda stay: _stay(stay, begins, ends))
    out["other_services"] = _each(out.get("other_services"), lambda service: _service(service, day))
    out["entries"] = _each(out.get("entries"), _entry)
    out["consent"] = _inside(out.get("consent"), {"at": ends, "revoked_at": begins})
    out["care_plan"] = _inside(out.get("care_plan"), {"signed_at": day, "copy_given_at": day})
    out["rpm"] = _inside(out.get("rpm"), {"consent_at": ends, "revoked_at": begins, "setup_on": day})
    out["device_windows"] = _each(
        out.get("device_windows"), lambda each: _inside(each, {"start": day, "end": day})
    )
    return out


def _stay(stay: Any, begins: "_Respeller", ends: "_Respeller") -> Any:
    if not isinstance(stay, dict):
        return stay
    out: dict[str, Any] = {}
    for key, value in stay.items():
        name = next((name for name, spelt in _OF_A_STAY.items() if spelt.fullmatch(key.lower())), key)
        if out.get(name) is None or key == name:
            out[name] = value
    return _inside(out, {"admitted_at": begins, "discharged_at": ends})


def _service(service: Any, day: "_Respeller") -> Any:
    """A service that says its day says its month."""
    out = _inside(service, {"on": day})
    if isinstance(out, dict) and out.get("month") is None and isinstance(out.get("on"), str):
        return out | {"month": out["on"][:7]}
    return out


def _entry(entry: Any) -> Any:
    """A start that is only a day is the day of an entry without a start."""
    start = entry.get("start") if isinstance(entry, dict) else None
    if isinstance(start, str) and _A_DAY.fullmatch(start) and entry.get("on") in (None, start):
        return entry | {"start": None, "on": start}
    return entry


_Respeller = Callable[[Any, str], Any]
_A_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _as_day(zone: ZoneInfo | None) -> _Respeller:
    """An instant where a day is wanted is its day in the practice's zone."""

    def respell(value: Any, key: str) -> Any:
        if not isinstance(value, str) or "T" not in value:
            return value
        instant = _instant(value, key)
        return instant.astimezone(zone or UTC).date().isoformat()

    return respell


def _as_instant(zone: ZoneInfo | None, *, whole_day: bool) -> _Respeller:
    """A day where an instant is wanted is its first moment; or the moment after it, where all of it must pass."""

    def respell(value: Any, key: str) -> Any:
        if not isinstance(value, str) or not _A_DAY.fullmatch(value):
            return value
        try:
            day = date.fromisoformat(value) + timedelta(days=int(whole_day))
            return datetime(day.year, day.month, day.day, tzinfo=zone or UTC).isoformat()
        except (ValueError, OverflowError):
            raise _Unreadable(f"{key} is not a day of the calendar.") from None

    return respell


def _instant(value: str, key: str) -> datetime:
    """An instant far enough from the calendar's edges to be shown in any zone."""
    try:
        instant = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        raise _Unreadable(f"{key} is not a day or an instant with an offset.") from None
    if instant.tzinfo is None:
        raise _Unreadable(f"{key} needs its offset from UTC.")
    if instant.year not in YEARS:
        raise _Unreadable(f"{key} lies outside the years {YEARS[0]} to {YEARS[-1]}.")
    return instant


def _inside(value: Any, respellers: Mapping[str, _Respeller]) -> Any:
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for key, respell in respellers.items():
        _apply(out, key, respell)
    return out


def _apply(out: dict[str, Any], key: str, respell: _Respeller) -> None:
    if key in out:
        out[key] = respell(out[key], key)


def _each(value: Any, respell: Callable[[Any], Any]) -> Any:
    return [respell(each) for each in value] if isinstance(value, list | tuple) else value


# What no type can say ----------------------------------------------------------------------------------------


def _contradictions(facts: Facts) -> Iterator[str]:
    for path, moment in _moments(facts, ""):
        if moment.year not in YEARS:
            yield f"{path} lies outside the years {YEARS[0]} to {YEARS[-1]}."
    yield from _windows_upside_down(facts)
    for index, service in enumerate(facts.other_services or ()):
        if service.on is not None and service.month != month_of(service.on):
            yield f"other_services[{index}] has a day outside its month."
    for index, stay in enumerate(facts.stays or ()):
        if stay.admitted_at and stay.discharged_at and stay.discharged_at < stay.admitted_at:
            yield f"stays[{index}] ends before it starts."


def _windows_upside_down(facts: Facts) -> Iterator[str]:
    for index, window in enumerate(facts.device_windows or ()):
        if window.start is None or window.end is None:
            continue
        length = (window.end - window.start).days + 1
        if length < 1:
            yield f"device_windows[{index}] ends before it starts."
        elif window.days_with_data is not None and window.days_with_data > length:
            yield f"device_windows[{index}] has more days with data than days."


def _moments(value: object, path: str) -> Iterator[tuple[str, date]]:
    if isinstance(value, date):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _moments(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _moments(each, f"{path}[{index}]")


def _unread(said: Any, kind: Any, path: str) -> Iterator[str]:
    """Keys that no field takes."""
    structs = [
        each
        for each in (kind, *get_args(kind))
        if isinstance(each, type) and issubclass(each, msgspec.Struct)
    ]
    if isinstance(said, Mapping) and structs:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(structs[0])}
        for key, value in said.items():
            where = f"{path}.{key}" if path else str(key)
            if key not in fields:
                yield where
            else:
                yield from _unread(value, fields[key], where)
    elif isinstance(said, list | tuple):
        inner = next(
            (arg for each in (kind, *get_args(kind)) for arg in get_args(each) if arg is not Ellipsis), None
        )
        for index, each in enumerate(said):
            yield from _unread(each, inner, f"{path}[{index}]")


_WANTED = {
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "float": "a fraction",
    "null": "null",
    "date": "a day such as 2026-11-03",
    "datetime": "an instant with its offset from UTC",
}


_MEANT = {
    "matching regex": "a month such as 2026-11",
    "with a timezone component": "an instant with its offset from UTC",
    "`int` >= 0": "a whole number, 0 or more,",
    "`int` >= 1": "a whole number, 1 or more,",
    "`int` <= 86400": "a whole number of seconds, a day's at most,",
    "`int` <= 31": "a whole number of days, 31 at most,",
    "Invalid RFC3339": "an instant such as 2026-11-03T10:00:00-05:00",
    "Invalid date": "a day such as 2026-11-03",
}


def _in_words(trouble: msgspec.ValidationError) -> str:
    """The first type error of a case, as a sentence about its place.

    >>> try: msgspec.convert({"entries": [{"seconds": "20"}]}, Facts)
    ... except msgspec.ValidationError as trouble: _in_words(trouble)
    'entries[0].seconds: a whole number or null is wanted, not a text.'
    """
    what, _, where = str(trouble).partition(" - at ")
    path = where.strip("`").removeprefix("$").removeprefix(".") or "the case"
    for seen, meant in _MEANT.items():
        if seen in what:
            return f"{path}: {meant} is wanted."
    found = re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", what)
    if found is None:
        return f"{path}: {what[:1].lower()}{what[1:]}."
    wanted = " or ".join(_WANTED.get(each.strip(), each.strip()) for each in found[1].split("|"))
    return f"{path}: {wanted} is wanted, not {_WANTED.get(found[2], found[2])}."
