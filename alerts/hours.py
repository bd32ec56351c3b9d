"""When a practice answers: its week and its holidays, and how service time is counted. Pure."""

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LOOKED_AHEAD: Final = 400
"""Days after which a practice that never opens is treated as one that is always open: nothing waits for ever."""


class Open(msgspec.Struct, frozen=True):
    """One day's service hours, in the practice's civil time."""

    opens: time
    closes: time


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """A week of service hours, Monday first; None is a closed day. Holidays are closed whatever the weekday."""

    zone: str
    week: tuple[Open | None, ...]
    holidays: tuple[date, ...] = ()

    def after(self, since: datetime, span: timedelta) -> datetime:
        """The instant at which so much service time has passed since then.

        >>> nine_to_five = Open(time(9), time(17))
        >>> hours = Hours(zone="America/Chicago", week=(nine_to_five,) * 5 + (None, None), holidays=(date(2026, 1, 5),))
        >>> from datetime import UTC
        >>> friday_four = datetime(2026, 1, 2, 22, tzinfo=UTC)  # 16:00 in Chicago, and Monday is a holiday
        >>> hours.after(friday_four, timedelta(hours=4)).isoformat()  # Tuesday at noon there
        '2026-01-06T18:00:00+00:00'
        """
        left, day = span, since.astimezone(ZoneInfo(self.zone)).date()
        for _ in range(LOOKED_AHEAD):
            opened = self._open(day)
            if opened is not None:
                begins, ends = max(opened[0], since), opened[1]
                if ends - begins >= left:
                    return begins + left
                left -= max(ends - begins, timedelta(0))
            day += timedelta(days=1)
        return since + span

    def is_open(self, at: datetime) -> bool:
        opened = self._open(at.astimezone(ZoneInfo(self.zone)).date())
        return opened is not None and opened[0] <= at < opened[1]

    def _open(self, day: date) -> tuple[datetime, datetime] | None:
        """The instants of one civil day's service; a clock change inside it makes it an hour longer or shorter."""
        hours = None if day in self.holidays else self.week[day.weekday()]
        if hours is None:
            return None
        zone, utc = ZoneInfo(self.zone), ZoneInfo("UTC")
        ends = [datetime.combine(day, clock, zone).astimezone(utc) for clock in (hours.opens, hours.closes)]
        return ends[0], ends[1]
