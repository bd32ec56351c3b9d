"""Sections 6.1 and 6.2: 30-day windows of device data, the supply codes they reach, and set-up."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import msgspec

from ccm_bridge.billing.book import Device
from ccm_bridge.billing.civil import day_of, last_of, midnight, month_of, next_first, second_of
from ccm_bridge.billing.monitoring import consent_day, day_text, rpm_of
from ccm_bridge.billing.proposal import Proposal, Reading
from ccm_bridge.billing.scene import Scene
from ccm_bridge.billing.words import Family, Finding, Outcome, Reason, counted

DAY = timedelta(days=1)
UNKNOWN = Reason.UNKNOWN_FACT


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A window with its dates, the last one included. Days with data may be unknown."""

    start: date
    end: date
    days: int | None

    @property
    def length(self) -> int:
        return (self.end - self.start) // DAY + 1


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """30 days that ended in this month: at least, and at most, so many days with data that count."""

    start: date
    end: date
    at_least: int
    at_most: int


def windows_of_month(scene: Scene) -> tuple[list[Listed], list[Finding]]:
    """The windows that can be decided now, and why others cannot. A window belongs to the month in which it ends."""
    listed, said = _listed(scene)
    last = last_of(scene.month)
    decided = []
    for window in listed:
        if window.end > last or _still_open(scene, window.end):
            if window.start <= last:
                says = f"The 30 days to {window.end:%d %b %Y} are not over: the last of them may change the code."
                said.append(_finding(Outcome.EXCLUDE, (Reason.OPEN_WINDOW,), says, window))
        elif month_of(window.end) == scene.month:
            decided.append(window)
    return decided, said


def _listed(scene: Scene) -> tuple[list[Listed], list[Finding]]:
    listed, said = [], []
    for window in scene.facts.device_windows or ():
        if window.start is not None and window.end is not None:
            listed.append(Listed(start=window.start, end=window.end, days=window.days_with_data))
        else:
            reasons = (Reason.WINDOW_UNCLEAR, UNKNOWN)
            said.append(
                Finding(rule="6.1", outcome=Outcome.HOLD, says="A window without its dates.", reasons=reasons)
            )
    return listed, said


def periods_of(scene: Scene, windows: Sequence[Listed]) -> tuple[list[Period], list[Finding]]:
    """One period for windows that share days, whatever the number of devices (R6), and what is doubtful about it.

    Data of several devices on the same 30 days is a union of days: at least the most of one, at most the sum.
    Windows that overlap without being the same cannot both be the period: the least of them is sure.
    """
    periods, said = [], []
    for group in _overlapping(windows):
        doubts = _doubts(scene, group)
        same_days = [[each for each in group if (each.start, each.end) == dates] for dates in _dates(group)]
        sure = not any(each.outcome is Outcome.HOLD for each in doubts)
        periods.append(
            Period(
                start=group[0].start,
                end=max(each.end for each in group),
                at_least=min(max(_least(scene, each) for each in same) for same in same_days) if sure else 0,
                at_most=min(scene.rules.device.window_days, sum(_most(scene, each) for each in group)),
            )
        )
        said += doubts
    return periods, said


def _doubts(scene: Scene, group: Sequence[Listed]) -> list[Finding]:
    """Why a group of windows is not one clean period that can be dated."""
    wanted = scene.rules.device.window_days
    whole = Listed(start=group[0].start, end=max(each.end for each in group), days=None)
    said = []
    if any(each.length != wanted for each in group) or _reaches_back(scene, whole):
        says = f"Not a period of {wanted} days of its own."
        said.append(_finding(Outcome.HOLD, (Reason.WINDOW_UNCLEAR,), says, whole))
    if len(_dates(group)) > 1:
        says = "Windows overlap: they make one period, by the least of them."
        said.append(_finding(Outcome.WARN, (Reason.WINDOW_UNCLEAR,), says, whole))
    if any(each.days is None for each in group):
        said.append(_finding(Outcome.WARN, (UNKNOWN,), "Days with data are not known.", whole))
    if _dead_by(scene, whole.end):
        says = "The patient died before the window closed: its date of service would follow the death."
        said.append(_finding(Outcome.HOLD, (Reason.AFTER_DEATH,), says, whole))
    return said


def _dates(group: Sequence[Listed]) -> set[tuple[date, date]]:
    return {(each.start, each.end) for each in group}


def propose_supply(scene: Scene, period: Period) -> Proposal:
    """99445 or 99454 for one period, by its days with data; dated on its last day."""
    device = scene.rules.device
    sure, possible = (_tier_reading(device, days, period) for days in (period.at_least, period.at_most))
    return Proposal(family=Family.RPM_DEVICE, sure=sure, possible=possible, on=period.end)


def propose_setup(scene: Scene, periods: Sequence[Period]) -> Proposal | None:
    """99453 once per episode of care, with the first period after set-up.

    Which period is the first is known where it holds the day of set-up, where set-up lies in this month, or where
    the facts say that set-up has not been billed. Otherwise an earlier month had it.
    """
    rpm, device = rpm_of(scene), scene.rules.device
    if rpm.setup_on is None or rpm.setup_billed or not periods:
        return None
    first = min(periods, key=lambda each: each.start)
    set_up_here = rpm.setup_on >= first.start or month_of(rpm.setup_on) == scene.month
    if not set_up_here and rpm.setup_billed is not False:
        return None
    sure, possible = (
        Reading(
            codes={device.setup_code: 1} if days >= device.setup_days else {},
            findings=(
                Finding(
                    rule="6.2",
                    outcome=Outcome.MET if days >= device.setup_days else Outcome.BLOCK,
                    says=f"{device.setup_code}: {counted(days, 'day')} with data in the first period after set-up.",
                    reasons=() if days >= device.setup_days else (Reason.UNDER_THRESHOLD,),
                    compared={"days": days, "needed": device.setup_days, "setup_on": day_text(rpm.setup_on)},
                ),
            ),
        )
        for days in (first.at_least, first.at_most)
    )
    return Proposal(family=Family.RPM_SETUP, sure=sure, possible=possible, on=first.end)


def _tier_reading(device: Device, days: int, period: Period) -> Reading:
    """The highest tier that so many days reach."""
    reached = [tier for tier in device.tiers if days >= tier.days]
    ahead = [tier for tier in device.tiers if days < tier.days]
    shown = {"days": days, "start": day_text(period.start), "end": day_text(period.end)}
    hold = "holds" if days == 1 else "hold"
    surely = hold if period.at_least == period.at_most else f"surely {hold}"
    if reached:
        top = reached[-1]
        says = f"{days} of {device.window_days} days {surely} data: {top.code}."
        met = Finding(rule="6.1", outcome=Outcome.MET, says=says, compared=shown | {"needed": top.days})
        return Reading(codes={top.code: 1}, findings=(met,))
    says = f"{days} of {device.window_days} days {surely} data: {ahead[0].days} are needed."
    under = Finding(
        rule="6.1",
        outcome=Outcome.BLOCK,
        says=says,
        reasons=(Reason.UNDER_THRESHOLD,),
        compared=shown | {"needed": ahead[0].days},
    )
    return Reading(findings=(under,))


def _finding(outcome: Outcome, reasons: tuple[Reason, ...], says: str, window: Listed) -> Finding:
    shown = {"start": day_text(window.start), "end": day_text(window.end), "days": window.days}
    return Finding(rule="6.1", outcome=outcome, says=says, reasons=reasons, compared=shown)


def _still_open(scene: Scene, end: date) -> bool:
    asked = scene.facts.as_of
    return asked is not None and second_of(asked) < midnight(end + DAY, scene.zone)


def _overlapping(windows: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Groups of windows that share days, in order of time."""
    group: list[Listed] = []
    for window in sorted(windows, key=lambda each: (each.start, each.end)):
        if group and window.start > max(each.end for each in group):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _reaches_back(scene: Scene, period: Listed) -> bool:
    """Whether a listed window of an earlier month shares days with this period."""
    return any(month_of(each.end) < scene.month and period.start <= each.end for each in _listed(scene)[0])


def _least(scene: Scene, window: Listed) -> int:
    """Days that surely count: as many of the dates that are out as there are may have held data."""
    return max(0, (window.days or 0) - (window.length - _open_days(scene, window)))


def _most(scene: Scene, window: Listed) -> int:
    """Days that possibly count; unknown is all of them."""
    return min(window.length if window.days is None else window.days, _open_days(scene, window))


def _open_days(scene: Scene, window: Listed) -> int:
    """Dates of a window on which readings count: from set-up and consent on, until revocation takes effect."""
    rpm = rpm_of(scene)
    begins = [day for day in (window.start, rpm.setup_on, consent_day(scene)) if day is not None]
    ends = window.end
    if rpm.revoked_at is not None:
        ends = min(ends, next_first(day_of(second_of(rpm.revoked_at), scene.zone)) - DAY)
    return max(0, (ends - max(begins)) // DAY + 1)


def _dead_by(scene: Scene, end: date) -> bool:
    died = scene.facts.died_at
    return bool(died and second_of(died) < midnight(end + DAY, scene.zone))
