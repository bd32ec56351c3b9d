"""Vendors' webhooks: who posts what, and how each proves that it is itself. Pure rules; the HTTP is in `webhook_web`.

A vendor's cloud is a *source*: a row of the registry beside the gateways, with a practice, so that everything behind
the door (identity, instant, quality, refusals) is the same for a cloud as for a home's gateway.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from ingest.devices import timestamp
from ingest.devices.measurement import DeviceEvent, EventKind, Refusal, Said
from ingest.events import fact_id
from ingest.sorting import Message

LARGEST: Final = 64 * 1024
"""Bytes of one post; a reading has a few hundred, and no vendor is known to batch more than some dozens."""


class Vendor(StrEnum):
    """Named as the decoder of its family."""

    TENOVI = "tenovi"
    SMART_METER = "smart-meter"
    TELLI = "telli"
    WITHINGS = "withings"
    IHEALTH = "ihealth"
    VALIDIC = "validic"
    IMPILO = "impilo"


class Scheme(StrEnum):
    """How a post proves where it comes from."""

    HEADER = "header"  # a secret as the value of a header, alone or after `Bearer `
    BASIC = "basic"  # HTTP Basic; the user is the source's id
    HMAC = "hmac"  # HMAC-SHA256 of the body in a header, hexadecimal or base64, with or without `sha256=`
    URL = "url"  # `?key=` in the address, for vendors that send nothing else


class Rule(NamedTuple):
    """What a vendor does unless its source's row says otherwise."""

    scheme: Scheme
    header: str
    documented: bool  # by the vendor; otherwise it is our choice, to be agreed with the vendor's support


VENDORS: Final[Mapping[Vendor, Rule]] = {
    Vendor.TENOVI: Rule(Scheme.HEADER, "authorization", documented=True),  # a header of our choosing
    Vendor.SMART_METER: Rule(Scheme.HEADER, "x-api-key", documented=False),
    Vendor.TELLI: Rule(Scheme.HEADER, "x-api-key", documented=True),
    Vendor.WITHINGS: Rule(
        Scheme.URL, "", documented=True
    ),  # posts a bare form: only the address can be secret
    Vendor.IHEALTH: Rule(Scheme.URL, "", documented=True),  # as Withings
    Vendor.VALIDIC: Rule(Scheme.BASIC, "authorization", documented=False),
    Vendor.IMPILO: Rule(Scheme.HMAC, "x-signature", documented=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One vendor's cloud speaking for one practice."""

    source_id: str  # also the `gateway_id` of what it brings
    vendor: Vendor
    scheme: Scheme
    header: str
    secrets: tuple[str, ...]  # the present one first; the one before it stays valid until it is taken away

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Source({self.source_id!r})"


NOBODY: Final = Source(
    source_id="", vendor=Vendor.TENOVI, scheme=Scheme.HEADER, header="authorization", secrets=("-",)
)
"""Stands in for a source that is not there, so that asking for one costs the same as guessing its secret."""


def authentic(source: Source | None, *, headers: Mapping[str, str], key: str | None, body: bytes) -> bool:
    """Whether this post was made by someone who knows a secret of the source. Every comparison takes constant time.

    >>> of = lambda scheme: Source(source_id="s", vendor=Vendor.TENOVI, scheme=scheme, header="x-key", secrets=("abc",))
    >>> authentic(of(Scheme.HEADER), headers={"x-key": "Bearer abc"}, key=None, body=b"")
    True
    >>> authentic(of(Scheme.BASIC), headers={"authorization": "Basic czphYmM="}, key=None, body=b"")
    True
    >>> sign = hmac.new(b"abc", b"{}", hashlib.sha256).hexdigest()
    >>> [authentic(of(Scheme.HMAC), headers={"x-key": "sha256=" + sign}, key=None, body=body) for body in (b"{}", b"[]")]
    [True, False]
    >>> authentic(of(Scheme.URL), headers={}, key="abc", body=b""), authentic(None, headers={}, key="-", body=b"")
    (True, False)
    """
    asked = source or NOBODY
    matches = [_matches(asked, secret, headers, key, body) for secret in asked.secrets]
    return source is not None and any(matches)


def _matches(source: Source, secret: str, headers: Mapping[str, str], key: str | None, body: bytes) -> bool:
    match source.scheme:
        case Scheme.HEADER:
            said = headers.get(source.header, "")
            return _same(said.removeprefix("Bearer "), secret)
        case Scheme.BASIC:
            pair = base64.b64encode(f"{source.source_id}:{secret}".encode()).decode()
            return _same(headers.get("authorization", "").removeprefix("Basic "), pair)
        case Scheme.HMAC:
            wanted = hmac.new(secret.encode(), body, hashlib.sha256).digest()
            return hmac.compare_digest(_signature(headers.get(source.header, "")), wanted)
        case Scheme.URL:
            return _same(key or "", secret)


def _same(said: str, secret: str) -> bool:
    """Compared by hash, so that not even the length shows."""
    return hmac.compare_digest(*(hashlib.sha256(text.encode()).digest() for text in (said, secret)))


def _signature(said: str) -> bytes:
    text = said.strip().removeprefix("sha256=")
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


class Waiting(NamedTuple):
    """A vendor said that data waits: whose, and of when (seconds since 1970; None: it did not say)."""

    fetch_id: UUID
    source_id: str
    account: str
    since: int | None
    until: int | None


SLACK: Final = 14 * 86_400
"""Seconds: how much older than its notice a measurement may be, where the vendor only says when it heard of it."""


def waiting(source_id: str, message: Message) -> list[Waiting]:
    """What is to be fetched after this notification: of each account once. Empty: it is none, or brings its data along.

    >>> from ingest.devices import withings
    >>> body = b"userid=12&appli=4&startdate=1690491576&enddate=1690491663"
    >>> waiting("cloud-1", Message("cloud-1", body, withings.decode(body)))[0][2:]
    ('12', 1690491576, 1690491663)
    """
    told = [one for one in message.said if not isinstance(one, Refusal)]
    notices = [one for one in told if isinstance(one, DeviceEvent) and one.event is EventKind.DATA_WAITING]
    if len(notices) < len(told):
        return []
    found: dict[UUID, Waiting] = {}
    for notice in notices:
        account, (since, until) = notice.claimed.get("account", ""), _span(notice)
        fetch_id = fact_id("fetch", source_id, account, since, until)
        found[fetch_id] = Waiting(fetch_id, source_id, account, since, until)
    return list(found.values())


def _span(notice: DeviceEvent) -> tuple[int | None, int | None]:
    """From when until when; where only the day of the change is known, from some time before that day.

    The day, not the second: twenty notices of one day are one fetch.
    """
    changed = notice.sent.get("changed")
    if changed is None:
        return _seconds(notice, "startdate"), _seconds(notice, "enddate")
    at, _ = timestamp.parse_with_offset(str(changed.value))
    if at is None:
        return None, None
    second = int(at.replace(tzinfo=UTC).timestamp())
    return max(0, second - second % 86_400 - SLACK), None


def _seconds(told: DeviceEvent, name: str) -> int | None:
    sent = told.sent.get(name)
    text = str(sent.value) if sent is not None else ""
    return int(text) if text.isdecimal() and len(text) <= 12 else None  # noqa: PLR2004 - the year 33658


def of_account(message: Message, account: str) -> Message:
    """What was fetched of an account: where a record names no device, the account stands for one."""
    said = [
        one
        if isinstance(one, Refusal) or one.device is not None
        else msgspec.structs.replace(one, device=account)
        for one in message.said
    ]
    return message._replace(said=tuple(said))


def named(source_id: str, message: Message) -> Message:
    """The message with each part under the vendor's own name for it, so that a post repeated is the same post.

    Vendors that retry may wrap the same record in another body. Where the record has a number of theirs, that number
    names it; without one the bytes do.
    """
    body = fact_id("post", source_id, hashlib.sha256(message.raw).hexdigest())
    return message._replace(said=tuple(_named(source_id, one, body) for one in message.said))


def _named(source_id: str, said: Said, body: UUID) -> Said:
    record = None if isinstance(said, Refusal) else said.sent.get("record")
    known = record is not None and record.value is not None
    name = fact_id("record", source_id, record.value) if record is not None and known else body
    return msgspec.structs.replace(said, message_id=name)


def name_of(message: Message) -> UUID:
    """Under which name the door answers for a message that is `named`."""
    name = message.said[0].message_id
    assert name is not None  # noqa: S101 - `named` gave it one
    return name
