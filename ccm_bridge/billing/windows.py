"""Sections 6.1 and 6.2: 30-day windows of device data, the supply codes they reach, and set-up."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import msgspec

from ccm_bridge.billing.book import Device
from ccm_bridge.billing.civil import day_of, last_of, midnight, month_of, next_first, second_of
from ccm_bridge.billing.facts import DeviceWindow
from ccm_bridge.billing.monitoring import consent_day, day_text, rpm_of
from ccm_bridge.billing.proposal import Proposal, Reading
from ccm_bridge.billing.scene import Scene
from ccm_bridge.billing.words import Family, Finding, Outcome, Reason

DAY = timedelta(days=1)
UNKNOWN = Reason.UNKNOWN_FACT


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """30 days that ended in this month: at least, and at most, so many days with data that count."""

    start: date
    end: date
    at_least: int
    at_most: int
    clear: bool  # False: overlapping windows were listed, and nobody knows which is the period


def windows_of_month(scene: Scene) -> tuple[list[DeviceWindow], list[Finding]]:
    """The windows that can be decided now, and why the others cannot."""
    last = last_of(scene.month)
    decided, said = [], []
    for window in scene.facts.device_windows or ():
        start, end = window.start, window.end
        shown = {"start": day_text(start), "end": day_text(end), "days": window.days_with_data}
        if start is None or end is None:
            said.append(
                _window(Outcome.HOLD, (Reason.WINDOW_UNCLEAR, UNKNOWN), "A window without its dates.", shown)
            )
        elif end > last or _still_open(scene, end):
            if start <= last:
                says = (
                    f"The window to {end} is open: 15 or 16 days decide its code, so nothing is proposed yet."
                )
                said.append(_window(Outcome.EXCLUDE, (Reason.OPEN_WINDOW,), says, shown))
        elif month_of(end) == scene.month:
            decided.append(window)
    return decided, said


def periods_of(scene: Scene, windows: Sequence[DeviceWindow]) -> tuple[list[Period], list[Finding]]:
    """One period for windows that share days, whatever the number of devices (R6).

    Data of several devices on the same 30 days is a union of days: at least the most of one, at most the sum.
    Windows that overlap without being the same cannot both be the period: the least of them is sure.
    """
    device = scene.rules.device
    periods, said = [], []
    for group in _overlapping(windows):
        bounds = {(each.start, each.end) for each in group}
        start, end = group[0].start, group[0].end
        if start is None or end is None:
            continue
        end = max(each.end for each in group if each.end is not None)
        at_least = min(
            _least(scene, [each for each in group if (each.start, each.end) == one]) for one in bounds
        )
        at_most = min(device.window_days, sum(_most(scene, each) for each in group))
        odd = [each for each in group if _days_long(each) != device.window_days]
        clear = len(bounds) == 1 and not odd and not _reaches_back(scene, group)
        if not clear:
            says = f"The windows from {start} to {end} are not one clean {device.window_days}-day period."
            shown = {
                "start": day_text(start),
                "end": day_text(end),
                "windows": len(bounds),
                "needed": device.window_days,
            }
            reasons = (Reason.WINDOW_UNCLEAR,)
            said.append(
                _window(
                    Outcome.HOLD if odd or _reaches_back(scene, group) else Outcome.WARN, reasons, says, shown
                )
            )
            if odd or _reaches_back(scene, group):
                at_least = 0
        if any(each.days_with_data is None for each in group):
            shown = {"start": day_text(start), "end": day_text(end), "days": None}
            said.append(_window(Outcome.HOLD, (UNKNOWN,), "Days with data are not known.", shown))
        if _dead_by(scene, end):
            shown = {"end": day_text(end)}
            says = "The patient died before the window closed, so its date of service would follow the death."
            said.append(_window(Outcome.HOLD, (Reason.AFTER_DEATH,), says, shown))
            at_least = 0
        periods.append(Period(start=start, end=end, at_least=at_least, at_most=at_most, clear=clear))
    return periods, said


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
    holds_setup = first.start <= rpm.setup_on <= first.end or month_of(rpm.setup_on) == scene.month
    after = rpm.setup_billed is False and rpm.setup_on <= first.start
    if not (holds_setup or after):
        return None
    sure, possible = (
        Reading(
            codes={device.setup_code: 1} if days >= device.setup_days else {},
            findings=(
                Finding(
                    rule="6.2",
                    outcome=Outcome.MET if days >= device.setup_days else Outcome.BLOCK,
                    says=f"{device.setup_code}: {days} day(s) with data in the first period after set-up.",
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
    if reached:
        top = reached[-1]
        says = f"{days} of {device.window_days} days hold data: {top.code}."
        met = Finding(rule="6.1", outcome=Outcome.MET, says=says, compared=shown | {"needed": top.days})
        return Reading(codes={top.code: 1}, findings=(met,))
    says = f"{days} of {device.window_days} days hold data: {ahead[0].days} are needed."
    under = Finding(
        rule="6.1",
        outcome=Outcome.BLOCK,
        says=says,
        reasons=(Reason.UNDER_THRESHOLD,),
        compared=shown | {"needed": ahead[0].days},
    )
    return Reading(findings=(under,))


def _window(
    outcome: Outcome, reasons: tuple[Reason, ...], says: str, shown: dict[str, str | int | None]
) -> Finding:
    return Finding(rule="6.1", outcome=outcome, says=says, reasons=reasons, compared=shown)


def _still_open(scene: Scene, end: date) -> bool:
    asked = scene.facts.as_of
    return asked is not None and second_of(asked) < midnight(end + DAY, scene.zone)


def _overlapping(windows: Sequence[DeviceWindow]) -> Iterator[list[DeviceWindow]]:
    """Groups of windows that share days, in order of time."""
    group: list[DeviceWindow] = []
    reached: date | None = None
    for window in sorted(windows, key=lambda each: (each.start or date.max, each.end or date.max)):
        if window.start is None or window.end is None:
            continue
        if group and reached is not None and window.start > reached:
            yield group
            group, reached = [], None
        group.append(window)
        reached = window.end if reached is None else max(reached, window.end)
    if group:
        yield group


def _days_long(window: DeviceWindow) -> int | None:
    return None if window.start is None or window.end is None else (window.end - window.start) // DAY + 1


def _reaches_back(scene: Scene, group: Sequence[DeviceWindow]) -> bool:
    """Whether a listed window of an earlier month shares days with this period."""
    start = group[0].start
    return any(
        each.start is not None
        and each.end is not None
        and start is not None
        and each.start < start <= each.end
        and month_of(each.end) < scene.month
        for each in scene.facts.device_windows or ()
    )


def _least(scene: Scene, same_days: Sequence[DeviceWindow]) -> int:
    """Days that surely count: as many of the excluded dates as there are may have held data."""
    return max(
        max(0, (each.days_with_data or 0) - ((_days_long(each) or 0) - _open_days(scene, each)))
        for each in same_days
    )


def _most(scene: Scene, window: DeviceWindow) -> int:
    """Days that possibly count; unknown is all of them."""
    listed = scene.rules.device.window_days if window.days_with_data is None else window.days_with_data
    return min(listed, _open_days(scene, window))


def _open_days(scene: Scene, window: DeviceWindow) -> int:
    """Dates of a window on which readings count: from set-up and consent on, until revocation takes effect."""
    if window.start is None or window.end is None:
        return 0
    rpm = rpm_of(scene)
    begins = [day for day in (window.start, rpm.setup_on, consent_day(scene)) if day is not None]
    ends = window.end
    if rpm.revoked_at is not None:
        ends = min(ends, next_first(day_of(second_of(rpm.revoked_at), scene.zone)) - DAY)
    return max(0, (ends - max(begins)) // DAY + 1)


def _dead_by(scene: Scene, end: date) -> bool:
    died = scene.facts.died_at
    return bool(died) and second_of(died) < midnight(end + DAY, scene.zone) if died else False
