"""What is not known and would matter: data that is missing, as evidence with a few plain words. Pure.

Said only where somebody would decide otherwise if it were there: an emergency waits for nothing, and a calm reading of
a well-known patient lacks nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from risk.baseline import DAYS_TO_KNOW
from risk.events import Evidence
from risk.measures import WEEK_LEAST
from risk.memory import GLUCOSE, PRESSURE, Bools, Shape

NEEDED = "needed"
WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacks:
    """What is missing of one quantity, by what it would be needed for."""

    usual: tuple[Evidence, ...] = ()
    week: tuple[Evidence, ...] = ()
    parts_of_day: tuple[Evidence, ...] = ()
    meal: tuple[Evidence, ...] = ()


def lacks(there: Bools, shape: Shape, slot: int, *, measured: int, times: int, context: str | None) -> Lacks:
    """What one quantity lacks at a reading: its window up to the reading's own slot, days and times of the week measured."""
    return Lacks(
        usual=tuple(days(measured)),
        week=tuple(week(times)),
        parts_of_day=tuple(parts_of_day(there, shape, slot)),
        meal=tuple(meal(context)) if shape is GLUCOSE else (),
    )


def _lack(quantity: str, value: float, unit: str, window: str, said: str, *, needed: float) -> Evidence:
    return Evidence(
        quantity=quantity, value=value, unit=unit, window=window, comparison=NEEDED, against=needed, said=said
    )


def days(measured: int) -> Iterator[Evidence]:
    """Too few days for an own usual.

    >>> [lack.said for lack in days(4)], list(days(7))
    (['only 4 of the 7 days needed'], [])
    """
    if measured < DAYS_TO_KNOW:
        said = f"only {measured} of the {DAYS_TO_KNOW} days needed"
        yield _lack("days measured", measured, "d", "64 days", said, needed=DAYS_TO_KNOW)


def week(times: int) -> Iterator[Evidence]:
    """Too little measured lately for a weekly average; several readings of one part of a day count once.

    >>> [lack.said for lack in week(1)], list(week(6))
    (['measured only once in the last 7 days, 6 times needed'], [])
    """
    if times < WEEK_LEAST:
        often = "once" if times == 1 else f"{times} times"
        said = f"measured only {often} in the last {WEEK} days, {WEEK_LEAST} times needed"
        yield _lack("times measured", times, "1", f"{WEEK} days", said, needed=WEEK_LEAST)


def sittings(seen: int, needed: int) -> Iterator[Evidence]:
    """Too few sittings to confirm.

    >>> [lack.said for lack in sittings(1, 3)]
    ['only 1 of the 3 sittings that could confirm it']
    """
    if seen < needed:
        said = f"only {seen} of the {needed} sittings that could confirm it"
        yield _lack("sittings", seen, "1", "last 6 sittings", said, needed=needed)


def meal(context: str | None) -> Iterator[Evidence]:
    """Nobody told whether a glucose was measured before or after a meal."""
    if context is None:
        yield _lack("meal context", 0, "1", "this reading", "no meal context with this reading", needed=1)


def parts_of_day(there: Bools, shape: Shape, slot: int) -> Iterator[Evidence]:
    """A part of the day that is not measured any more: of pressure both are asked for, of glucose the usual ones.

    `there` (slots,) is one quantity's window, ending with the reading's own slot `slot`.
    """
    known = np.flatnonzero(there)
    if not len(known):
        return
    last, many = len(there) - 1, shape.slots_a_day
    for back in range(many):
        own: Sequence[int] = known[(last - known) % many == back].tolist()
        if shape is not PRESSURE and len(own) < DAYS_TO_KNOW:
            continue
        silent = (last - (own[-1] if own else int(known[0]))) // many
        if silent >= WEEK:
            name = shape.slot_name(slot - back)
            said = f"no {name} readings in {silent} days"
            yield _lack(f"{name} readings", 0, "1", f"{silent} days", said, needed=1)
