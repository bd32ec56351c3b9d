"""Arithmetic of time: sets of seconds as sorted, disjoint, half-open spans of whole epoch seconds.

Epoch seconds are elapsed time, so a clock that is put forward or back moves nothing here.
"""

from collections.abc import Iterable

Spans = tuple[tuple[int, int], ...]

NEVER: Spans = ()
EARLIEST, LATEST = -(10**12), 10**12


def span(start: int, end: int) -> Spans:
    """The seconds from `start` up to, not including, `end`.

    >>> span(5, 9), span(9, 9), span(9, 5)
    (((5, 9),), (), ())
    """
    return ((start, end),) if start < end else NEVER


def union(*sets: Spans) -> Spans:
    """Seconds in any of the sets, each once.

    >>> union(span(0, 15), span(5, 20), span(20, 21), span(30, 31))
    ((0, 21), (30, 31))
    """
    joined: list[tuple[int, int]] = []
    for start, end in sorted(piece for one in sets for piece in one):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def common(one: Spans, other: Spans) -> Spans:
    """Seconds in both sets.

    >>> common(((0, 10), (20, 30)), ((5, 25),))
    ((5, 10), (20, 25))
    """
    return tuple((max(a, c), min(b, d)) for a, b in one for c, d in other if a < d and c < b)


def without(one: Spans, other: Spans) -> Spans:
    """Seconds of the first set that are not in the second.

    >>> without(((0, 10), (20, 30)), ((5, 25),))
    ((0, 5), (25, 30))
    """
    for gap_start, gap_end in other:
        one = tuple(
            piece
            for start, end in one
            for piece in ((start, min(end, gap_start)), (max(start, gap_end), end))
            if piece[0] < piece[1]
        )
    return one


def seconds(one: Spans) -> int:
    """How many seconds a set holds.

    >>> seconds(((0, 10), (20, 30)))
    20
    """
    return sum(end - start for start, end in one)


def total(sets: Iterable[Spans]) -> int:
    """Seconds of several sets added up, overlap counted as often as it occurs."""
    return sum(seconds(one) for one in sets)
