"""What a running timer proves: beats become stretches of work; silence proves nothing. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ccm_bridge.ledger import LONGEST, Span, span_of

EVERY = timedelta(seconds=15)
"""How often a working browser says so: a crash can lose at most this much."""

SILENCE = timedelta(seconds=90)
"""The longest silence that still counts as work: browsers slow hidden pages down to one beat a minute."""

LATEST = timedelta(minutes=5)
"""A beat may arrive this late (a lost network) and still name its own instant; older ones are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One "I am working now". A pause ends a stretch; the first beat after resuming begins the next."""

    n: int
    stretch: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What the beats prove, and what lies between them unproven."""

    spans: tuple[Span, ...]
    silent_seconds: int  # between beats of one stretch, too long to count: sleep, crash, no JavaScript

    @property
    def seconds(self) -> int:
        return sum(span.seconds for span in self.spans)


def worked(beats: Iterable[Beat]) -> Worked:
    """The stretches of work that beats prove, in order; doubled and disordered beats change nothing.

    >>> from datetime import UTC
    >>> ten = datetime(2026, 11, 3, 10, 0, tzinfo=UTC)
    >>> beats = [Beat(n=n, stretch=0, at=ten + n * EVERY) for n in range(5)]
    >>> asleep = [Beat(n=5, stretch=0, at=ten + timedelta(hours=2))]
    >>> worked(beats + asleep).seconds, worked(beats + asleep).silent_seconds
    (60, 7140)
    """
    ordered = sorted(beats, key=lambda beat: (beat.at, beat.stretch, beat.n))
    spans: list[Span] = []
    silent = 0
    first = last = None
    for beat in ordered:
        if first is not None and last is not None:
            same = beat.stretch == last.stretch
            if same and beat.at - last.at <= SILENCE and beat.at - first.at <= LONGEST:
                last = beat
                continue
            _close(first, last, spans)
            if same and beat.at - last.at > SILENCE:
                silent += int((beat.at - last.at).total_seconds())
            elif same:  # longer than any entry may be: the next span takes up where this one ended
                first, last = last, beat
                continue
        first = last = beat
    if first is not None and last is not None:
        _close(first, last, spans)
    return Worked(spans=tuple(spans), silent_seconds=silent)


def _close(first: Beat, last: Beat, spans: list[Span]) -> None:
    if first.at.replace(microsecond=0) < last.at.replace(microsecond=0):
        spans.append(span_of(first.at, last.at))
