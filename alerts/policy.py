"""The numbers a practice may set: how soon somebody comes, how late is too late, how long handled work rests.

The defaults are usual remote-monitoring practice, not a standard: no published standard of response times was
found. A practice's clinician signs its own.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from alerts.dispositions import DISPOSITIONS, Rest
from alerts.events import Severity
from alerts.hours import Hours


class Spans(NamedTuple):
    """One length of time per severity."""

    critical: timedelta
    high: timedelta
    watch: timedelta

    def of(self, severity: Severity) -> timedelta:
        """How long for this one.

        >>> Spans(_MINUTES_30, _HOURS_4, _DAY).of(Severity.HIGH)
        datetime.timedelta(seconds=14400)
        """
        span: timedelta = getattr(self, severity)
        return span


_MINUTES_15, _MINUTES_30 = timedelta(minutes=15), timedelta(minutes=30)
_HOURS_4, _HOURS_12, _DAY = timedelta(hours=4), timedelta(hours=12), timedelta(days=1)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One practice's numbers."""

    targets: Spans = Spans(_MINUTES_30, _HOURS_4, _DAY)
    """From receipt to somebody having claimed it."""
    escalated: Spans = Spans(_MINUTES_30, _HOURS_4, _DAY)
    """From escalation to a provider having claimed it."""
    hours: Hours | None = None
    """When somebody answers. Targets count service time only; None: always."""
    round_the_clock: tuple[Severity, ...] = (Severity.CRITICAL,)
    """Severities that are promised at any hour, whatever the service hours say."""
    pages_until: timedelta = timedelta(hours=4)
    """A reading received later than this after it was taken pages nobody: at most a watch, marked late.

    Counted from receipt, not from now: what we missed while we were away ourselves still pages.
    """
    notes_until: timedelta = timedelta(hours=24)
    """Later than this a mild one opens nothing, it joins the evidence; a high or critical one is never dropped."""
    reopen_within: timedelta = timedelta(hours=72)
    """A concern that returns this soon after closing is the same episode (LINK-HF merged within 72 h)."""
    ease_after: int = 2
    """Milder readings in a row before severity eases: one alone is luck."""
    rest: Spans = Spans(_MINUTES_15, _DAY, 3 * _DAY)
    """How long the same severity rests after a disposition. Critical: the recheck after fast sugar only."""
    long_rest: Spans = Spans(_MINUTES_15, 3 * _DAY, 14 * _DAY)
    """The same for dispositions that say "nothing new": known, noise."""
    handled_closes_after: timedelta = timedelta(days=7)
    """A handled episode closes by itself then, or when its rest ends, whichever is later: nothing rests for ever."""
    leases: Spans = Spans(_MINUTES_30, _HOURS_4, _HOURS_12)
    """How long a claim holds without a move before the episode goes back to everybody."""
    snooze_at_most: timedelta = timedelta(hours=24)
    expect_every: timedelta = 3 * _DAY
    """How often a patient is expected to measure unless something else was agreed (RPM asks for 16 days of 30)."""

    calls_gather: timedelta = timedelta(minutes=2)
    """What comes due to the same person so soon after a notification joins the next one; see `notification`."""
    receipts_to: str = ""
    """The https address that passes short messages on to patients, by their opaque number; empty: they hear nothing."""

    def due(self, since: datetime, severity: Severity) -> datetime:
        """When somebody should have come.

        >>> from datetime import UTC
        >>> Policy().due(datetime(2026, 1, 5, 9, tzinfo=UTC), Severity.CRITICAL).isoformat()
        '2026-01-05T09:30:00+00:00'
        """
        return self._promised(since, self.targets.of(severity), severity)

    def provider_due(self, since: datetime, severity: Severity) -> datetime:
        """When a provider should have taken what was escalated then."""
        return self._promised(since, self.escalated.of(severity), severity)

    def _promised(self, since: datetime, span: timedelta, severity: Severity) -> datetime:
        if self.hours is None or severity in self.round_the_clock:
            return since + span
        return self.hours.after(since, span)

    def rests(self, disposition: str | None, severity: Severity) -> timedelta:
        """How long findings of this severity stay quiet after that disposition."""
        known = DISPOSITIONS.get(disposition or "")
        return (self.long_rest if known and known.rest is Rest.LONG else self.rest).of(severity)

    def closes(self, handled_at: datetime, disposition: str, severity: Severity) -> datetime:
        """When an episode handled then closes by itself."""
        return handled_at + max(self.handled_closes_after, self.rests(disposition, severity))


DEFAULT: Final = Policy()
