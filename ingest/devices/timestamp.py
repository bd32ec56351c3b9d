"""Times as devices write them: ISO text with or without a zone, epochs, offsets."""

import re
from datetime import UTC, datetime, timedelta, timezone

ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*"
    r"(Z|z|[+-]\d{2}:?\d{2}|[+-]\d{2})?",
    re.ASCII,
)
QUARTER = 15  # every offset in use today is a multiple of a quarter of an hour
WESTERNMOST, EASTERNMOST = -12 * 60, 14 * 60


def parse(text: str) -> datetime | None:
    """The instant (aware, UTC) or wall-clock time (naive) a text names, or None if it names none.

    A written offset that no place has (-20:00) makes the whole time unusable: None.

    >>> parse("2026-03-02T07:41:09")
    datetime.datetime(2026, 3, 2, 7, 41, 9)
    >>> parse("2026-03-02 07:41:09-05:00").isoformat()
    '2026-03-02T12:41:09+00:00'
    >>> parse("2026-02-30T07:41:09") is None
    True
    """
    return instant(*parse_with_offset(text))


def instant(wall: datetime | None, offset: int | None) -> datetime | None:
    """Digits and written offset as an instant; digits alone stay a wall clock."""
    if wall is None or offset is None:
        return wall
    if not is_sane_offset(offset):
        return None
    try:
        return wall.replace(tzinfo=timezone(timedelta(minutes=offset))).astimezone(UTC)
    except OverflowError:
        return None


def parse_with_offset(text: str) -> tuple[datetime | None, int | None]:
    """The naive digits and the written offset in minutes (None where none is written)."""
    if len(text) == 19 and text[10] == "T" and text[7] == "-":  # noqa: PLR2004  the commonest: 2026-03-02T07:41:09
        return _wall(text), None
    found = ISO.fullmatch(text.strip()) if len(text) <= 40 else None  # noqa: PLR2004  longest form is 35
    if found is None:
        return None, None
    day, time, second, fraction, zone = found.groups()
    wall = _wall(f"{day}T{time}:{second or '00'}.{(fraction or '0')[:6].ljust(6, '0')}")
    if wall is None or zone is None:
        return wall, None
    if zone in {"Z", "z"}:
        return wall, 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return wall, -minutes if zone[0] == "-" else minutes


def _wall(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def from_epoch(seconds: float) -> datetime | None:
    """The instant an epoch names, or None outside the years 1970 to 2100.

    >>> from_epoch(1721382524).isoformat()
    '2024-07-19T09:48:44+00:00'
    >>> from_epoch(1e20) is None
    True
    """
    if not 0 <= seconds < 4_102_444_800:  # noqa: PLR2004  2100-01-01; also refuses NaN
        return None
    return datetime.fromtimestamp(seconds, UTC)


def is_sane_offset(minutes: float) -> bool:
    """Whether some place on earth has this offset from UTC today.

    >>> [is_sane_offset(m) for m in (-300, 345, -1200, -200, 400)]
    [True, True, False, False, False]
    """
    return WESTERNMOST <= minutes <= EASTERNMOST and minutes % QUARTER == 0


def wall_text(year: int, month: int, day: int, clock: tuple[int, int, int]) -> str:
    """A date as the device wrote it, zeros for unknown parts and all."""
    return f"{year:04d}-{month:02d}-{day:02d}T{clock[0]:02d}:{clock[1]:02d}:{clock[2]:02d}"
