"""What gateways and ingest say to each other over MQTT, apart from the readings themselves: topics and messages.

| topic | from | payload |
|---|---|---|
| `v1/<gateway>/readings` | gateway, QoS 1 | one reading, canonical JSON (`ingest/devices/canonical.py`) |
| `v1/<gateway>/readings/<family>` | gateway, QoS 1 | a payload of that device family, as it is |
| `v1/<gateway>/heartbeat` | gateway, QoS 0 | `Heartbeat`: never queued, so its clock can be compared with ours |
| `v1/<gateway>/status` | gateway, QoS 1, and its last will | `Status` |
| `ack/<gateway>` | ingest, QoS 1 | `Answer`: what Kafka has, and what was refused |
| `ack/<gateway>/command` | ingest, QoS 1 | `Resync`, `Settings` or `Certificate` |
| `v1/<gateway>/answer` | gateway, QoS 1 | `Done`: what became of a command |
| `v1/<gateway>/renewal` | gateway, QoS 1 | `Renewal`: a certificate request under the key it has |
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from ingest.events import fact_id

EVERYTHING = "v1/+/#"
DROPPED = "$SYS/broker/publish/messages/dropped"
"""Where the broker says how many messages it has dropped since it started: each was PUBACKed, and nobody has it."""

ERRANDS = frozenset({"answer", "renewal"})
"""What a gateway says that is neither a reading nor about its presence."""

CANONICAL = "readings"
LARGEST = 16 * 1024
"""Checked by the gateway before it publishes; the broker's own limit is four times that."""

PIECE = 100  # names in one answer: a refusal takes up to 300 bytes

Name = Annotated[str, msgspec.Meta(pattern=r"\A[ -~]{0,64}\Z")]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway is alive, and how it is."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]  # the gateway's clock
    outbox: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0  # readings not acknowledged yet
    full: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0  # how much of the outbox's room is taken
    agent: Name = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Online, said by the gateway; offline, said by it or for it by the broker."""

    online: bool
    agent: Name = ""


class No(msgspec.Struct, frozen=True, kw_only=True):
    """A message that will never be a reading: keep it or drop it, but do not send it again."""

    id: UUID
    reason: str
    detail: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The application acknowledgement: these are in Kafka for good, those are set aside for good."""

    acked: tuple[UUID, ...] = ()
    refused: tuple[No, ...] = ()


def pieces(answer: Answer) -> Iterator[Answer]:
    """The same answer in messages that stay far below what the broker lets pass.

    >>> [len(one.acked) for one in pieces(Answer(acked=(UUID(int=1),) * 250))]
    [100, 100, 50]
    """
    for at in range(0, max(len(answer.acked), len(answer.refused)), PIECE):
        yield Answer(acked=answer.acked[at : at + PIECE], refused=answer.refused[at : at + PIECE])


class Resync(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="resync", tag_field="command"
):
    """Send everything unanswered now; with `since` also what was acknowledged from then on, again."""

    id: UUID | None = None  # to be answered for; without one nobody waits for an answer
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="settings", tag_field="command"
):
    """Work like this from now on, after a restart too; what is not named stays as it is."""

    id: UUID
    heartbeat_s: Annotated[float, msgspec.Meta(ge=5, le=3600)] | None = None
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None  # readings on their way at once


class Certificate(msgspec.Struct, frozen=True, kw_only=True, tag="certificate", tag_field="command"):
    """Prove yourself with this from now on: the answer to a renewal. It belongs to the key the gateway has."""

    id: UUID
    certificate: Annotated[str, msgspec.Meta(max_length=8192)]  # PEM


Command = Resync | Settings | Certificate


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a command."""

    id: UUID
    ok: bool
    detail: Name = ""


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """My certificate ends soon: sign this request."""

    request: Annotated[str, msgspec.Meta(max_length=4096)]  # PEM


def nameless(gateway_id: str, payload: bytes, place: str = CANONICAL) -> UUID:
    """The name of a message that says none of its own, or none we can read: its answer carries this one.

    The same bytes said in two places (`Topic.place`) are two messages: they may mean two things.

    >>> nameless("gw", b"{}") == nameless("gw", b"{}", "readings")
    True
    >>> nameless("gw", b"{}") == nameless("gw", b"{}", "readings/ava4")
    False
    """
    where = () if place == CANONICAL else (place,)
    return fact_id("message", gateway_id, *where, hashlib.sha256(payload).hexdigest())


class Topic(NamedTuple):
    gateway: str
    what: str  # readings, heartbeat, status, or something we do not know
    family: str = "canonical"
    place: str = CANONICAL  # what follows the gateway's name


def topic(text: str) -> Topic:
    """Who said it and what it is. Whoever may publish under a name is the broker's business (certificate and ACL).

    >>> topic("v1/gw-7/readings")
    Topic(gateway='gw-7', what='readings', family='canonical', place='readings')
    >>> topic("v1/gw-7/readings/ava4").family, topic("v1/gw-7/hello").what, topic("x").gateway
    ('ava4', 'hello', '')
    """
    parts = text.split("/")
    if len(parts) == 3 and parts[0] == "v1":  # noqa: PLR2004 - v1/<gateway>/<what>
        return Topic(parts[1], parts[2], place=parts[2])
    if len(parts) == 4 and parts[0] == "v1" and parts[2] == "readings":  # noqa: PLR2004 - .../<family>
        return Topic(parts[1], "readings", parts[3], "/".join(parts[2:]))
    ours = len(parts) > 1 and parts[0] == "v1"
    return Topic(parts[1] if ours else "", "unknown", place="/".join(parts[2:]) if ours else text)


def count(payload: bytes) -> int:
    """A count as the broker writes it; nonsense is none.

    >>> count(b"17"), count(b"many")
    (17, 0)
    """
    return int(payload) if payload.isdigit() and len(payload) < 20 else 0  # noqa: PLR2004 - digits of any counter


def place(family: str) -> str:
    """What follows a gateway's name in the topic of a family's messages."""
    return f"readings/{family}"


def readings(gateway: str) -> str:
    return f"v1/{gateway}/readings"


def heartbeat(gateway: str) -> str:
    return f"v1/{gateway}/heartbeat"


def status(gateway: str) -> str:
    return f"v1/{gateway}/status"


def answers(gateway: str) -> str:
    return f"ack/{gateway}"


def commands(gateway: str) -> str:
    return f"ack/{gateway}/command"


def done(gateway: str) -> str:
    return f"v1/{gateway}/answer"


def renewal(gateway: str) -> str:
    return f"v1/{gateway}/renewal"
