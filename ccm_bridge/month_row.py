"""What one row of the month says today: device days still reachable, what the patient needs next, where minutes lead."""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from ccm_bridge.enrolment import Program
from ccm_bridge.month import FEW, MANY, Window
from ccm_bridge.month_store import Around
from ccm_bridge.overview_service import Line

QUIET_DAYS = 7
"""Days without a reading after which somebody asks how the patient is."""

FIRST_DAYS = 7
"""Days of a month before which its pace says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Device days of a window: what is reached, and what can still be."""

    window: Window
    closed: bool
    few: bool
    many: bool
    can_few: bool
    can_many: bool


def reach(window: Window, on: date, *, measured_today: bool) -> Reach:
    return Reach(
        window=window,
        closed=on > window.end,
        few=window.days >= FEW,
        many=window.days >= MANY,
        can_few=window.reachable(FEW, on, measured_today=measured_today),
        can_many=window.reachable(MANY, on, measured_today=measured_today),
    )


def next_action(one: Line, around: Around, on: date) -> str:
    """What this patient needs next, clinical need first; never a contact for the sake of minutes."""
    if around.open_episodes:
        return "Settle the open alert"
    if around.open_tasks:
        return around.next_task
    if Program.RPM in one.programs and one.last_day and (on - one.last_day).days > QUIET_DAYS:
        return f"Ask how they are: no reading for {(on - one.last_day).days} days"
    if one.plan_review_on and one.plan_review_on <= on:
        return "Review the care plan"
    return "Give a copy of the plan" if one.plan_signed_at and not one.plan_copied else ""


def at_this_pace(minutes: Mapping[str, int], month: date, on: date) -> dict[str, int]:
    """Minutes at the end of the month if the rest of it goes like its days so far; nothing before there is a pace.

    A forecast of work, for who plans the week. It never asks for a contact.

    >>> at_this_pace({"CCM": 14, "RPM": 0}, date(2026, 11, 1), date(2026, 11, 20))
    {'CCM': 21}
    >>> at_this_pace({"CCM": 14}, date(2026, 11, 1), date(2026, 11, 6))
    {}
    >>> at_this_pace({"CCM": 14}, date(2026, 11, 1), date(2026, 12, 1))
    {}
    """
    if on.replace(day=1) != month or on.day < FIRST_DAYS:
        return {}
    days = monthrange(month.year, month.month)[1]
    return {program: whole * days // on.day for program, whole in minutes.items() if whole}
