"""Civil time: months, days and instants as epoch seconds. The one place where a zone meets a date."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from ccm_bridge.billing.spans import Spans, common, span, union

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
EDGES_OF_THE_EARTH: tuple[tzinfo, ...] = (timezone(timedelta(hours=14)), timezone(timedelta(hours=-12)))
"""The first and the last offset in which a day begins: where a zone is unknown, it lies between them."""


def second_of(instant: datetime) -> int:
    """Epoch seconds, a fraction cut off."""
    return (instant - _EPOCH) // _SECOND


def second_after(instant: datetime) -> int:
    """Epoch seconds, a fraction rounded up: the first whole second not before the instant."""
    return -((_EPOCH - instant) // _SECOND)


def midnight(day: date, zone: tzinfo) -> int:
    """When a civil day begins.

    Where the clocks jump over midnight the day begins with the jump (the offset before it, fold 0, gives that
    very instant); where midnight comes twice it begins with the first.

    >>> midnight(date(2026, 11, 2), ZoneInfo("America/New_York")) - midnight(date(2026, 11, 1), ZoneInfo("America/New_York"))
    90000
    """
    return second_of(datetime(day.year, day.month, day.day, tzinfo=zone))


def day_of(second: int, zone: tzinfo) -> date:
    """The civil day a second falls on."""
    return (_EPOCH + second * _SECOND).astimezone(zone).date()


def day_span(day: date, zone: tzinfo) -> Spans:
    """All seconds of one civil day: 23, 24 or 25 hours, or as many as the zone gave it."""
    return span(midnight(day, zone), midnight(day + _DAY, zone))


def first_of(month: str) -> date:
    """The first day of a month.

    >>> first_of("2026-11")
    datetime.date(2026, 11, 1)
    """
    return date.fromisoformat(f"{month}-01")


def month_of(day: date) -> str:
    """The month a day lies in.

    >>> month_of(date(2026, 11, 30))
    '2026-11'
    """
    return f"{day:%Y-%m}"


def next_first(day: date) -> date:
    """The first day of the month after the one this day lies in.

    >>> next_first(date(2026, 12, 31)), next_first(date(2027, 1, 31))
    (datetime.date(2027, 1, 1), datetime.date(2027, 2, 1))
    """
    return (day.replace(day=1) + 31 * _DAY).replace(day=1)


def last_of(month: str) -> date:
    """The last day of a month.

    >>> last_of("2028-02")
    datetime.date(2028, 2, 29)
    """
    return next_first(first_of(month)) - _DAY


def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or the last day of a shorter month.

    >>> months_before(date(2026, 10, 1), 12), months_before(date(2028, 2, 29), 12)
    (datetime.date(2025, 10, 1), datetime.date(2027, 2, 28))
    """
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return min(last_of(f"{year:04}-{month + 1:02}"), date(year, month + 1, 1) + (day.day - 1) * _DAY)


def month_span(month: str, zone: tzinfo) -> Spans:
    """All seconds of a calendar month in one zone."""
    first = first_of(month)
    return span(midnight(first, zone), midnight(next_first(first), zone))


def month_spans(month: str, zone: ZoneInfo | None) -> tuple[Spans, Spans]:
    """The seconds that surely, and that possibly, lie in the month where the zone may be unknown."""
    zones = EDGES_OF_THE_EARTH if zone is None else (zone,)
    all_of_them = [month_span(month, each) for each in zones]
    return common(all_of_them[0], all_of_them[-1]), union(*all_of_them)
