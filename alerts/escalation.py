"""Whom to call when nobody comes: the rungs of a practice's chain, and the calls that follow from them. Pure.

The record of an episode is exactly once; a call is at least once. Every call carries a key that is the same in every
repetition, so that a receiver can tell a second delivery from a second call.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from alerts.events import Severity


class Channel(StrEnum):
    EMAIL = "email"
    WEBHOOK = "webhook"


SPOKEN: Final = {Channel.EMAIL: "e-mail", Channel.WEBHOOK: "webhook"}

ON_CALL: Final = "on-call"
"""A target that stands for whoever is on call when the call goes out."""
ROLES: Final = {"role:nurse": "nurse", "role:physician": "physician", "role:coordinator": "coordinator"}
"""Targets that stand for everybody of a role."""
TARGETS: Final = {
    ON_CALL: "Whoever is on call",
    "role:physician": "Every physician",
    "role:nurse": "Every nurse",
    "role:coordinator": "Every coordinator",
}


def target_text(target: str) -> str:
    """Whom a rung calls, in words."""
    return TARGETS.get(target, target)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One call to make: to whom, about which coming of which episode, for the how many-th time."""

    episode_id: UUID
    times: int
    rung_id: UUID
    nth: int
    practice_id: int
    channel: Channel
    target: str
    severity: Severity
    due_at: datetime
    tries: int
    first: bool
    """Nothing has been sent by this rung about this coming of the episode."""

    @property
    def key(self) -> str:
        """The same in every repetition of this call."""
        return f"{self.episode_id}:{self.times}:{self.rung_id}:{self.nth}"


FIRST_WAIT: Final = timedelta(seconds=20)
LONGEST_WAIT: Final = timedelta(minutes=10)
FAILING_AFTER: Final = 3
"""Tries after which a channel counts as failing, and the queue says so to everybody."""


def wait(tries: int) -> timedelta:
    """How long after the n-th try the next one comes.

    >>> [wait(n).seconds for n in (1, 2, 3, 6, 40)]
    [20, 40, 80, 600, 600]
    """
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(tries - 1, 10)))


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: no name, no value, no concern."""

    key: str
    severity: Severity
    subject: str
    text: str
    url: str
    joined: tuple[str, ...] = ()
    """The keys of the other calls that go out with it."""


def receipt(receipt_id: UUID, patient_id: UUID, by_name: str) -> Message:
    """What a patient hears when somebody looked: no value, no verdict, and what to do meanwhile."""
    return Message(
        key=f"receipt:{receipt_id}",
        severity=Severity.WATCH,
        subject="Your readings were seen",
        text=f"{by_name} of your care team has seen your readings. If you feel unwell, call us or 911.",
        url=f"urn:uuid:{patient_id}",
    )


def refusal(  # noqa: PLR0911 - one line per answer
    channel: str, target: str, wait_minutes: int, repeat_minutes: int | None
) -> str | None:
    """Why this rung cannot be added, or None.

    >>> refusal("email", "duty@practice.example", 0, 30) is None
    True
    >>> refusal("webhook", "http://pager.example/x", 0, None)
    'A webhook is an https address.'
    """
    if target in TARGETS:
        if channel != Channel.EMAIL:
            return "People are called by e-mail; a webhook is an https address."
    elif channel == Channel.EMAIL:
        name, at, domain = target.partition("@")
        if not (name and at and "." in domain) or any(c.isspace() or c in ",;<>" for c in target):
            return "Write one e-mail address."
    elif channel == Channel.WEBHOOK:
        parts = urlsplit(target)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
            return "A webhook is an https address."
    else:
        return "Choose e-mail or webhook."
    if not 0 <= wait_minutes <= 7 * 24 * 60:
        return "Wait between 0 minutes and 7 days."
    if repeat_minutes is not None and not 5 <= repeat_minutes <= 7 * 24 * 60:  # noqa: PLR2004
        return "Repeat every 5 minutes or more seldom."
    return None
