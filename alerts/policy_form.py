"""A practice's policy as a form: what was typed becomes a policy or a sentence, and a change is said in words. Pure."""

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Final

import msgspec

from alerts.burden import minutes_text
from alerts.escalation import Channel, refusal
from alerts.events import Severity
from alerts.hours import DAYS, Hours, Open
from alerts.notification import LONGEST
from alerts.policy import Policy, Spans

TARGETS: Final = {"targets": "somebody has claimed it", "escalated": "a provider has taken it"}
LONGEST_MINUTES: Final = 7 * 24 * 60
MOST_HOLIDAYS: Final = 60

GATHERS: Final = tuple(str(minutes) for minutes in range(LONGEST // timedelta(minutes=1) + 1))

Form = Mapping[str, str]


def policy_of(form: Form, before: Policy, *, zone: str) -> Policy | str:  # noqa: PLR0911 - one line per answer
    """The policy that this form asks for, or what is wrong with it."""
    spans: dict[str, Spans] = {}
    for name in TARGETS:
        lengths = [_minutes(form.get(f"{name}_{severity}", "")) for severity in ("critical", "high", "watch")]
        if None in lengths:
            return f"A response target is a number of minutes from 1 to {LONGEST_MINUTES}."
        critical, high, watch = (length for length in lengths if length is not None)
        if not critical <= high <= watch:
            return "What is worse is answered no later: critical before high, high before watch."
        spans[name] = Spans(critical, high, watch)
    hours = _hours(form, zone)
    if isinstance(hours, str):
        return hours
    always = tuple(s for s in Severity if form.get(f"always_{s}") == "true")
    if hours is not None and Severity.CRITICAL not in always:
        return "Critical is answered at any hour: an emergency does not wait for the morning."
    gather = form.get("calls_gather", "")
    if gather not in GATHERS:
        return "Calls gather for 0 to 5 minutes."
    receipts_to = form.get("receipts_to", "")
    if receipts_to and refusal(Channel.WEBHOOK, receipts_to, 0, None):
        return "Messages to patients go to an https address, or nowhere."
    return msgspec.structs.replace(
        before,
        targets=spans["targets"],
        escalated=spans["escalated"],
        hours=hours,
        round_the_clock=always,
        calls_gather=timedelta(minutes=int(gather)),
        receipts_to=receipts_to,
    )


def _minutes(text: str) -> timedelta | None:
    number = int(text) if re.fullmatch(r"\d{1,5}", text) else 0
    return timedelta(minutes=number) if 1 <= number <= LONGEST_MINUTES else None


def _hours(form: Form, zone: str) -> Hours | str | None:  # noqa: PLR0911 - one line per answer
    """The week and the holidays; None where the practice answers always."""
    if form.get("always_open") == "true":
        return None
    week: list[Open | None] = []
    for day, name in enumerate(DAYS):
        opens, closes = form.get(f"opens_{day}", ""), form.get(f"closes_{day}", "")
        if not opens and not closes:
            week.append(None)
            continue
        try:
            hours = Open(time.fromisoformat(opens), time.fromisoformat(closes))
        except ValueError:
            return f"{name}: write both times, or neither for a closed day."
        if hours.opens.tzinfo or hours.closes.tzinfo or hours.opens >= hours.closes:
            return f"{name}: service ends after it begins, on the same day."
        week.append(hours)
    if not any(week):
        return "Open on one day at least, or answer always."
    holidays = []
    for word in form.get("holidays", "").replace(",", " ").split():
        try:
            holidays.append(date.fromisoformat(word))
        except ValueError:
            return f"A holiday is a date like 2026-12-25; “{word[:20]}” is not."
    if len(holidays) > MOST_HOLIDAYS:
        return f"At most {MOST_HOLIDAYS} holidays; take the past ones out."
    return Hours(zone=zone, week=tuple(week), holidays=tuple(sorted(set(holidays))))


def changes(before: Policy, after: Policy) -> list[str]:
    """What is different, a sentence each.

    >>> sooner = Spans(timedelta(minutes=15), timedelta(hours=4), timedelta(days=1))
    >>> changes(Policy(), msgspec.structs.replace(Policy(), targets=sooner))
    ['critical: somebody has claimed it within 15 min (was 30 min)']
    """
    said = []
    for name, what in TARGETS.items():
        old, new = getattr(before, name), getattr(after, name)
        said += [
            f"{severity}: {what} within {_said(new.of(severity))} (was {_said(old.of(severity))})"
            for severity in reversed(Severity)
            if old.of(severity) != new.of(severity)
        ]
    old_week, new_week = _week(before.hours), _week(after.hours)
    if old_week != new_week:
        said.append(f"service hours: {new_week} (were {old_week})")
    old_days = before.hours.holidays if before.hours else ()
    new_days = after.hours.holidays if after.hours else ()
    said += [f"holiday added: {day}" for day in new_days if day not in old_days]
    said += [f"holiday taken out: {day}" for day in old_days if day not in new_days]
    if before.round_the_clock != after.round_the_clock:
        said.append(f"at any hour: {', '.join(after.round_the_clock) or 'nothing'}")
    if before.calls_gather != after.calls_gather:
        said.append(f"calls gather for {_gathers(after)} (was {_gathers(before)})")
    if before.receipts_to != after.receipts_to:
        said.append(
            f"messages to patients go {'to ' + after.receipts_to if after.receipts_to else 'nowhere'}"
        )
    return said


def _gathers(policy: Policy) -> str:
    return _said(policy.calls_gather) if policy.calls_gather else "no time"


def _said(span: timedelta) -> str:
    return minutes_text(span / timedelta(minutes=1))


def _week(hours: Hours | None) -> str:
    """A week in one line: equal days together."""
    if hours is None:
        return "always"
    runs: list[tuple[str, str, str]] = []
    for name, day in zip(DAYS, hours.week, strict=True):
        said = f"{day.opens:%H:%M}–{day.closes:%H:%M}" if day else "closed"
        if runs and runs[-1][2] == said:
            runs[-1] = (runs[-1][0], name, said)
        else:
            runs.append((name, name, said))
    return ", ".join(f"{a[:3]}{'–' + b[:3] if a != b else ''} {said}" for a, b, said in runs)


week_text = _week
