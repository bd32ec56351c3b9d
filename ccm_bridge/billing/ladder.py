"""Ladders 5.1 to 5.4 and 6.3: whole minutes of a month to a first code and full further steps, never rounded up."""

from collections.abc import Mapping

import msgspec

from ccm_bridge.billing.book import Ladder, Rung


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """Where some minutes stand on a ladder."""

    minutes: int
    codes: Mapping[str, int]
    held: Mapping[str, int]  # units that only a person may release
    ahead: Rung | None  # the next unit; None: nothing further can be reached
    spare: int  # minutes since the last rung
    capped: bool  # minutes have run on where no further unit can be reached


def climb(ladder: Ladder, minutes: int) -> Climb:
    """The codes and units that so many minutes reach.

    >>> rungs = Ladder(code="A", minutes=20, add_on="B", step=20, cap=2)
    >>> [dict(climb(rungs, minutes).codes) for minutes in (19, 20, 39, 40, 120)]
    [{}, {'A': 1}, {'A': 1}, {'A': 1, 'B': 1}, {'A': 1, 'B': 2}]
    """
    if minutes < ladder.minutes:
        return _below(ladder, minutes)
    steps = (minutes - ladder.minutes) // ladder.step
    limit = ladder.cap if ladder.cap is not None else ladder.hold_above
    units = steps if limit is None else min(steps, limit)
    topped = units == ladder.cap
    held = 0 if topped else steps - units
    last_rung = ladder.minutes + units * ladder.step
    return Climb(
        minutes=minutes,
        codes={ladder.code: 1} | ({ladder.add_on: units} if units else {}),
        held={ladder.add_on: held} if held else {},
        ahead=None
        if topped
        else Rung(code=ladder.add_on, minutes=ladder.minutes + (steps + 1) * ladder.step),
        spare=minutes - last_rung,
        capped=(topped and minutes > last_rung) or held > 0,
    )


def _below(ladder: Ladder, minutes: int) -> Climb:
    """Under the first rung, where a short code may stand in for it."""
    first, short = Rung(code=ladder.code, minutes=ladder.minutes), ladder.short
    if short is not None and minutes >= short.minutes:
        return _waiting({short.code: 1}, minutes, first, spare=minutes - short.minutes)
    return _waiting({}, minutes, short or first, spare=minutes)


def _waiting(codes: Mapping[str, int], minutes: int, ahead: Rung, *, spare: int) -> Climb:
    return Climb(minutes=minutes, codes=codes, held={}, ahead=ahead, spare=spare, capped=False)
