"""A way of calling people that does not work: technical work with a beginning, a cause, somebody on it, and an end. Pure.

It ends when a call gets out again or nobody calls that way any more, not when the calls that waited are given up: then
nobody knows yet whether it works.
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec

from alerts.escalation import Channel
from alerts.events import FACTS


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one practice by one channel: how many failed often enough to count, and what else is known."""

    practice_id: int
    channel: Channel
    calls: int  # tried `escalation.FAILING_AFTER` times, neither sent nor given up
    failure: str | None  # of the newest of them
    sent_at: datetime | None  # the newest call that got out
    used: bool  # a rung of the chain still calls that way


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a channel failed."""

    outage_id: UUID
    practice_id: int
    channel: Channel
    began_at: datetime
    cause: str
    calls: int
    owner: UUID | None = None
    owner_name: str | None = None
    ended_at: datetime | None = None
    ended: str | None = None


def weigh(known: Outage | None, stuck: Stuck, *, now: datetime) -> Outage | None:
    """What to write down, or None where nothing changed. `known` is the channel's open outage."""
    if known is None:
        return _began(stuck, now) if stuck.calls else None
    if stuck.calls:
        changed = msgspec.structs.replace(known, calls=stuck.calls, cause=stuck.failure or known.cause)
        return changed if changed != known else None
    if stuck.sent_at is not None and stuck.sent_at > known.began_at:
        return msgspec.structs.replace(known, ended_at=stuck.sent_at, ended="a call got out", calls=0)
    if not stuck.used:
        return msgspec.structs.replace(
            known, ended_at=now, ended="nobody is called that way any more", calls=0
        )
    return msgspec.structs.replace(known, calls=0) if known.calls else None


def _began(stuck: Stuck, now: datetime) -> Outage:
    name = "\x1f".join(("outage", str(stuck.practice_id), stuck.channel, now.isoformat()))
    return Outage(
        outage_id=uuid5(FACTS, name),
        practice_id=stuck.practice_id,
        channel=stuck.channel,
        began_at=now,
        cause=stuck.failure or "",
        calls=stuck.calls,
    )


CAUSES: Final = {
    "NotSetUp": "it is not set up on this server",
    "NobodyOnCall": "nobody is on call",
    "NobodyOfThatRole": "nobody of that role works here",
    "TimeoutError": "no answer in time",
    "ConnectionRefusedError": "nothing answers at its address",
    "gaierror": "its address is not known",
    "URLError": "nothing answers at its address",
    "HTTPError": "it was refused over there",
    "SMTPRecipientsRefused": "the address was refused",
    "SMTPSenderRefused": "the sender was refused",
    "SMTPAuthenticationError": "the password was refused",
    "SMTPDataError": "the mail was refused",
    "SMTPServerDisconnected": "the mail server hung up",
}


def cause_text(failure: str) -> str:
    """What went wrong, in words; a failure that we do not know is told by its name.

    >>> cause_text("ConnectionRefusedError"), cause_text("SSLError")
    ('nothing answers at its address', 'SSLError')
    """
    return CAUSES.get(failure, failure)
