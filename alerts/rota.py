"""Who is on call: shifts, what a swap makes of one, and who is on now. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import msgspec

LONGEST: Final = timedelta(days=14)


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """One person on call from one instant to another."""

    shift_id: UUID
    staff_id: UUID
    staff_name: str
    starts_at: datetime
    ends_at: datetime
    swap_of: UUID | None = None
    added_by_name: str = ""


def on_call(shifts: Iterable[Shift], at: datetime) -> Shift | None:
    """Whose turn it is then; a shift includes its first instant and not its last."""
    return next((shift for shift in shifts if shift.starts_at <= at < shift.ends_at), None)


def next_up(shifts: Iterable[Shift], at: datetime) -> Shift | None:
    """Who follows."""
    return min((s for s in shifts if s.starts_at > at), key=lambda s: s.starts_at, default=None)


def gaps(shifts: Sequence[Shift], *, since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """The times at which a call to whoever is on call would reach nobody.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> one = Shift(shift_id=UUID(int=1), staff_id=UUID(int=2), staff_name="Ana", starts_at=noon + timedelta(hours=1),
    ...             ends_at=noon + timedelta(hours=3))
    >>> [((a - noon).seconds // 3600, (b - noon).seconds // 3600) for a, b in
    ...  gaps([one], since=noon, until=noon + timedelta(hours=5))]
    [(0, 1), (3, 5)]
    """
    found, reached = [], since
    for shift in sorted(shifts, key=lambda s: s.starts_at):
        if shift.starts_at > reached:
            found.append((reached, min(shift.starts_at, until)))
        reached = max(reached, shift.ends_at)
        if reached >= until:
            return found
    return [*found, (reached, until)]


def refusal(starts_at: datetime | None, ends_at: datetime | None, *, now: datetime) -> str | None:
    """Why this shift cannot be put on the rota, or None."""
    if starts_at is None or ends_at is None:
        return "Say from when until when."
    if ends_at <= starts_at:
        return "A shift ends after it begins."
    if ends_at <= now:
        return "This shift is over already."
    if ends_at - starts_at > LONGEST:
        return f"A shift is at most {LONGEST.days} days long."
    return None


def swapped(
    shift: Shift,
    *,
    to: UUID,
    to_name: str,
    starts_at: datetime,
    ends_at: datetime,
    act_id: UUID,
    by_name: str,
    now: datetime,
) -> list[Shift] | str:
    """What takes the place of a shift when somebody covers it, or a part of it; a sentence if that cannot be.

    What has passed stays with who was on then, and so does the rest that is not covered.
    """
    if to == shift.staff_id:
        return f"{to_name} has this shift already."
    if shift.ends_at <= now:
        return "This shift is over."
    starts_at, ends_at = max(starts_at, shift.starts_at), min(ends_at, shift.ends_at)
    if starts_at < now:
        starts_at = max(shift.starts_at, now)
    if starts_at >= ends_at:
        return "A swap covers at least a part of what is left of the shift."
    parts = (
        (shift.staff_id, shift.staff_name, shift.starts_at, starts_at),
        (to, to_name, starts_at, ends_at),
        (shift.staff_id, shift.staff_name, ends_at, shift.ends_at),
    )
    return [
        Shift(
            shift_id=uuid5(act_id, str(n)),
            staff_id=staff_id,
            staff_name=name,
            starts_at=begins,
            ends_at=ends,
            swap_of=shift.shift_id,
            added_by_name=by_name,
        )
        for n, (staff_id, name, begins, ends) in enumerate(parts)
        if begins < ends
    ]
