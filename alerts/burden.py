"""What the queue costs and what it is worth, in numbers. Pure: calls come in, one answer goes out.

A call is a moment at which an episode began to ask for somebody: it opened, re-opened, or worsened out of a rest.
Everything else that joins an episode costs nobody anything.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from alerts.concerns import Queue
from alerts.dispositions import DISPOSITIONS
from alerts.events import Severity
from alerts.policy import Policy

MONTH: Final = timedelta(days=30.44)
PUBLISHED: Final = (14.6, 3.1)
"""Alerts per patient-month of a Dutch hypertension programme, and how many of them a person handled
(174 patients, 207 days each; van Steenkiste, JMIR Med Inform 2025;13:e66066)."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One time that an episode asked for somebody, and what became of it."""

    queue: Queue
    severity: Severity
    rule: str
    concern: str = ""
    at: datetime  # when it came into the queue, on the queue's own clock
    due_at: datetime | None = None  # as promised then; None for calls older than that record
    again: bool  # back within 72 hours of closing
    came_at: datetime | None  # the first thing a person did about it
    settled_at: datetime | None
    disposition: str | None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind: how many, how soon somebody came, how often it was of use."""

    name: str
    calls: int
    came: int
    in_time: int
    to_come: tuple[float, float] | None  # minutes: half came within, nine of ten came within
    to_settle: tuple[float, float] | None
    settled: int
    useful: int

    @property
    def useful_share(self) -> float | None:
        return self.useful / self.settled if self.settled else None


class Burden(msgspec.Struct, frozen=True, kw_only=True):
    """One period of one practice."""

    since: datetime
    until: datetime
    patients: int
    readings: int
    patient_months: float
    per_month: float | None  # clinical calls per patient-month
    seen_per_month: float | None  # of these, calls that a person handled
    again: int
    overdue: int  # of every queue, at the end of the period: somebody should have come and nobody has
    by_severity: tuple[Share, ...]
    by_rule: tuple[Share, ...]
    by_queue: tuple[Share, ...]


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0, 3.0, 4.0], 0.9), quantile([7.0], 0.5)
    (2.0, 4.0, 7.0)
    """
    rank = -(-len(sorted_values) * share // 1)  # rounded up
    return sorted_values[max(0, min(len(sorted_values), int(rank)) - 1)]


def weigh(
    calls: Sequence[Call],
    *,
    patients: int,
    readings: int,
    since: datetime,
    until: datetime,
    policy: Policy,
    overdue: int = 0,
) -> Burden:
    """Put the numbers together. No patients, no rate: None, never zero."""
    months = patients * ((until - since) / MONTH)
    clinical = [call for call in calls if call.queue is Queue.CLINICAL]
    came = sum(call.came_at is not None for call in clinical)
    return Burden(
        since=since,
        until=until,
        patients=patients,
        readings=readings,
        patient_months=months,
        per_month=len(clinical) / months if months else None,
        seen_per_month=came / months if months else None,
        again=sum(call.again for call in clinical),
        overdue=overdue,
        by_severity=tuple(
            _share(s, (c for c in clinical if c.severity is s), policy) for s in reversed(Severity)
        ),
        by_rule=tuple(
            sorted(
                (
                    _share(rule, (c for c in clinical if c.rule == rule), policy)
                    for rule in {c.rule for c in clinical}
                ),
                key=lambda share: (-share.calls, share.name),
            )
        ),
        by_queue=tuple(_share(q, (c for c in calls if c.queue is q), policy) for q in Queue),
    )


def _share(name: str, calls: Iterable[Call], policy: Policy) -> Share:
    found = list(calls)
    settled = [call for call in found if call.disposition is not None]
    return Share(
        name=str(name),
        calls=len(found),
        came=sum(call.came_at is not None for call in found),
        in_time=sum(
            call.came_at is not None and call.came_at <= (call.due_at or policy.due(call.at, call.severity))
            for call in found
        ),
        to_come=_spread((call.came_at - call.at) for call in found if call.came_at is not None),
        to_settle=_spread((call.settled_at - call.at) for call in found if call.settled_at is not None),
        settled=len(settled),
        useful=sum(
            DISPOSITIONS[call.disposition].useful for call in settled if call.disposition in DISPOSITIONS
        ),
    )


def _spread(lengths: Iterable[timedelta]) -> tuple[float, float] | None:
    minutes = sorted(length.total_seconds() / 60 for length in lengths)
    return (quantile(minutes, 0.5), quantile(minutes, 0.9)) if minutes else None


HEADER: Final = ("group", "name", "calls", "came", "in_time", "minutes_to_come_median", "minutes_to_come_p90",
                 "minutes_to_settle_median", "minutes_to_settle_p90", "settled", "useful")  # fmt: skip


def table(burden: Burden) -> list[tuple[str, ...]]:
    """The same as lines for a spreadsheet; nothing in it is about one person."""
    lines: list[tuple[str, ...]] = [HEADER]
    rates = (
        ("calls per patient-month", burden.per_month),
        ("handled by a person per patient-month", burden.seen_per_month),
        ("back within 72 h", burden.again),
        ("overdue now", burden.overdue),
        ("patient-months", burden.patient_months),
    )
    lines += [
        ("practice", name, "" if value is None else f"{value:.2f}".removesuffix(".00"), *[""] * 8)
        for name, value in rates
    ]
    for group, shares in (
        ("severity", burden.by_severity),
        ("rule", burden.by_rule),
        ("queue", burden.by_queue),
    ):
        for share in shares:
            spans = [*(share.to_come or (None, None)), *(share.to_settle or (None, None))]
            lines.append(
                (
                    group,
                    share.name,
                    str(share.calls),
                    str(share.came),
                    str(share.in_time),
                    *("" if minutes is None else f"{minutes:.1f}" for minutes in spans),
                    str(share.settled),
                    str(share.useful),
                )
            )
    return lines


def minutes_text(minutes: float) -> str:
    """
    >>> [minutes_text(m) for m in (0.4, 12.3, 150, 240, 4000)]
    ['under 1 min', '12 min', '2.5 h', '4 h', '2.8 d']
    """  # noqa: D205, D212
    if minutes < 1:
        return "under 1 min"
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{round(hours, 1):g} h" if hours < 48 else f"{round(hours / 24, 1):g} d"  # noqa: PLR2004 - two days
