"""Which calls go out together, which wait for the next notification, and what one says. Pure.

Twenty episodes in a bad minute are twenty calls, and would be twenty mails to one person. So what is due to the same
person by the same rung goes out together, and what comes due within the practice's window after that waits and joins
the next one. Three things stay as they were:

- The first call about a critical episode never waits: it goes out at once, and takes along whatever waits. So a bad
  minute is at most one mail for each look of the notifier (every 5 s), however many episodes it has.
- A call stays a call: one row per episode, coming, rung and repeat, due when the chain says so and until somebody
  claims. Only the mail is shared. The window is no longer than the shortest repeat, so no repeat swallows another.
- What goes out together is fixed before it is first sent, and its key is that of the call that leads it. A repetition
  has the same key and nothing new in it, so that a receiver that drops repetitions drops nothing it has not had.

The window runs from when a notification was first tried, not from when it was taken: one address that never takes
anything holds nobody else's calls back.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from alerts.episode import RANK
from alerts.escalation import Message, Page
from alerts.events import Severity

LONGEST: Final = timedelta(minutes=5)
"""The shortest repeat of a rung (`escalation.refusal`)."""


class Why(StrEnum):
    """Why a call went out when it did."""

    AT_ONCE = "nothing had gone out within the window"
    CRITICAL = "the first call about a critical one never waits"
    JOINED = "joined another call"
    AGAIN = "it did not get out before"


class Line(msgspec.Struct, frozen=True):
    """One person at the end of one rung; nobody in particular where the rung names an address or a role."""

    rung_id: UUID
    person: UUID | None = None


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What one mail or one post carries. `why` is that of the call which leads; the others joined."""

    key: str
    lead: Page
    also: tuple[Page, ...] = ()
    why: Why

    @property
    def calls(self) -> tuple[Page, ...]:
        return self.lead, *self.also

    @property
    def more(self) -> int:
        """How many other episodes it is about."""
        return len({call.episode_id for call in self.also} - {self.lead.episode_id})


class Waits(msgspec.Struct, frozen=True):
    """These calls join the next notification, which goes out then at the latest."""

    until: datetime


def gather(
    calls: Sequence[Page], *, told_at: datetime | None, window: timedelta, now: datetime
) -> Notification | Waits:
    """What becomes of the calls that are due on one line; `told_at`: when its last notification was first tried."""
    if told_at is None or told_at + window <= now:
        return together(calls, why=Why.AT_ONCE)
    if any(call.first and call.severity is Severity.CRITICAL for call in calls):
        return together(calls, why=Why.CRITICAL)
    return Waits(told_at + window)


def together(calls: Sequence[Page], *, why: Why, key: str | None = None) -> Notification:
    """The worst leads, of equals what should have been seen to first. `key`: of one that was tried before."""
    lead, *also = sorted(calls, key=lambda call: (-RANK[call.severity], call.due_at, call.key))
    return Notification(key=key or lead.key, lead=lead, also=tuple(also), why=why)


def message(notification: Notification, *, public_url: str, now: datetime) -> Message:
    """The words of a notification."""
    lead, more = notification.lead, notification.more
    late = " Nobody has come in time." if lead.due_at <= now else ""
    again = f" This is call {lead.nth + 1}." if lead.nth and not lead.first else ""
    url = f"{public_url}/queue/episode/{lead.episode_id}"
    wait = "alert waits" if more == 1 else "alerts wait"
    others = f"{more} more {wait} in Lamplight:\n\n{public_url}/queue?tab=clinical\n\n"
    return Message(
        key=notification.key,
        severity=lead.severity,
        subject=f"Lamplight: {lead.severity}, somebody is needed" + (f" (and {more} more)" if more else ""),
        text=f"An episode of severity {lead.severity} waits in the queue.{late}{again}\n\n{url}\n\n"
        f"{others if more else ''}{'Each' if more else 'It'} stops calling when somebody claims it.\n",
        url=url,
        joined=tuple(call.key for call in notification.also),
    )
