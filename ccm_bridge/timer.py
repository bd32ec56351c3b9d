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
    groups: list[list[Beat]] = []
    silent = 0
    for beat in sorted(beats, key=lambda beat: (beat.at, beat.stretch, beat.n)):
        if not groups or beat.stretch != groups[-1][-1].stretch:
            groups.append([beat])
        elif (gap := beat.at - groups[-1][-1].at) > SILENCE:
            silent += int(gap.total_seconds())
            groups.append([beat])
        elif beat.at - groups[-1][0].at > LONGEST:
            groups.append(
                [groups[-1][-1], beat]
            )  # no entry may be longer: the next takes up where this one ends
        else:
            groups[-1].append(beat)
    return Worked(spans=tuple(span for group in groups for span in _span(group)), silent_seconds=silent)


def _span(group: list[Beat]) -> tuple[Span, ...]:
    """From the first beat of a group to its last; beats within one second prove nothing."""
    start, end = group[0].at, group[-1].at
    return (span_of(start, end),) if start.replace(microsecond=0) < end.replace(microsecond=0) else ()
