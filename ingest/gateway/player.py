"""Plays recorded diaries as if devices produced them today: history at once, the last weeks fast, the rest in real time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple
from uuid import UUID

import msgspec

from ingest.gateway.diary import Entry, message

BEGUN, PLAYED = "begun", "played"  # notes in the outbox: the Start, and how many frames were handed over
DAY = timedelta(days=1)
HANDED_OVER = timedelta(minutes=1)  # from measurement to the gateway
HISTORY_BATCH = 250


class Part(NamedTuple):
    """One device's diary and how it is to be moved: it ends `ahead_days` after today."""

    device_id: str
    zone: tzinfo
    entries: Sequence[Entry]
    ahead_days: int


class Progress(NamedTuple):
    """How far the playing is."""

    day: int  # of those that are played, the one being played
    of: int
    last_day_at: datetime  # when the last of them begins, real time
    caught_up_at: datetime  # from then on the diaries go on as time goes by


class Start(msgspec.Struct, frozen=True):
    """What was decided when the playing began; kept in the outbox, so that a restart goes on instead of anew."""

    began: datetime  # real time
    live_from: datetime  # what the simulated clock showed then
    seconds_per_day: float
    today: date
    last_day_seconds: float | None = (
        None  # how long the last day takes, so that something still happens meanwhile
    )

    def _turn(self) -> tuple[datetime, datetime, float]:
        """(what the simulated clock shows when the last day begins, the real time then, that day's length)."""
        slow_from = max(self.live_from, self.began - DAY)
        fast = (slow_from - self.live_from) * (self.seconds_per_day / DAY.total_seconds())
        return slow_from, self.began + fast, self.last_day_seconds or self.seconds_per_day

    def clock(self, real: datetime) -> datetime:
        """The simulated gateway clock: fast, the last day at its own pace, and the real one when it has caught up.

        >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        >>> start = Start(noon, noon - 10 * DAY, 6.0, noon.date())
        >>> (noon - start.clock(noon)).days, (noon - start.clock(noon + timedelta(seconds=30))).days
        (10, 5)
        >>> start.clock(noon + 2 * DAY) == noon + 2 * DAY
        True
        >>> slow = Start(noon, noon - 10 * DAY, 6.0, noon.date(), last_day_seconds=600.0)
        >>> (noon - slow.clock(noon + timedelta(seconds=54 + 300))).seconds // 3600
        12
        """
        slow_from, turned, pace = self._turn()
        if real < turned:
            return self.live_from + (real - self.began) * (DAY.total_seconds() / self.seconds_per_day)
        passed = (real - turned) * (DAY.total_seconds() / pace)
        return real if passed >= real - slow_from else slow_from + passed

    def progress(self, real: datetime) -> Progress:
        """How far the playing is at this time.

        >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        >>> start = Start(noon, noon - 10 * DAY, 6.0, noon.date(), last_day_seconds=600.0)
        >>> [start.progress(noon + timedelta(seconds=s)).day for s in (0, 27, 54, 9_999)]
        [1, 5, 10, 10]
        >>> begun = start.progress(noon)
        >>> (begun.of, begun.last_day_at - noon, start.clock(begun.caught_up_at) - begun.caught_up_at < timedelta(seconds=1))
        (10, datetime.timedelta(seconds=54), True)
        """
        slow_from, turned, pace = self._turn()
        ahead = DAY.total_seconds() / pace - 1  # how much faster than real time the last day goes
        of = max(1, (self.began - self.live_from) // DAY)
        day = (self.clock(real) - self.live_from) // DAY + 1
        return Progress(
            min(day, of), of, turned, turned + (turned - slow_from) / ahead if ahead > 0 else turned
        )

    def due(self, simulated: datetime) -> datetime:
        """The real time at which the simulated clock shows this."""
        slow_from, turned, pace = self._turn()
        if simulated < slow_from:
            fast = self.began + (simulated - self.live_from) * (self.seconds_per_day / DAY.total_seconds())
        else:
            fast = turned + (simulated - slow_from) * (pace / DAY.total_seconds())
        return max(fast, simulated)


class Frame(NamedTuple):
    """One message and when the gateway takes it from the device, on the simulated clock."""

    at: datetime
    id: UUID
    payload: bytes
    history: bool


def start(
    real: datetime,
    *,
    live_days: int,
    seconds_per_day: float,
    zone: tzinfo,
    last_day_seconds: float | None = None,
) -> Start:
    """Begin now: the simulated clock starts `live_days` ago, at the midnight of that day."""
    today = real.astimezone(zone).date()
    live_from = datetime.combine(today - live_days * DAY, time(0), zone).astimezone(UTC)
    return Start(real, live_from, seconds_per_day, today, last_day_seconds)


def score(parts: Iterable[Part], begun: Start) -> list[Frame]:
    """Every message of every part, in the order the gateway takes them in."""
    frames = []
    for part in parts:
        if not part.entries:
            continue
        last = max(entry.wall for entry in part.entries).date()
        shift = begun.today + part.ahead_days * DAY - last
        for entry in part.entries:
            at = (entry.wall + shift).replace(tzinfo=part.zone).astimezone(UTC) + HANDED_OVER
            history = at < begun.live_from
            name, payload = message(
                entry, device_id=part.device_id, shift=shift, gateway_time=at, history=history
            )
            frames.append(Frame(at, name, payload, history))
    return sorted(frames, key=lambda frame: frame.at)


async def play(
    frames: Sequence[Frame],
    begun: Start,
    put: Callable[[Sequence[Frame], int], Awaitable[None]],
    *,
    played: int,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
) -> None:
    """Hand over frames from number `played` on when each is due; `put` gets them with the number played after them."""
    at = played
    while at < len(frames) and not stopping.is_set():
        now = begun.clock(clock())
        until = at
        while (
            until < len(frames)
            and until - at < HISTORY_BATCH
            and (frames[until].history or frames[until].at <= now)
        ):
            until += 1
        if until > at:
            await put(frames[at:until], until)
            at = until
            await asyncio.sleep(0)  # history is long; the line wants its turn too
            continue
        wait = (begun.due(frames[at].at) - clock()).total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.01, min(wait, 60.0))):
                await stopping.wait()
    await stopping.wait()
