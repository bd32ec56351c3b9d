"""What a room is to its pump: the events, the promises of a room, and the course from topic to topic."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from deploy.database import Connection


class Event(Protocol):
    """What every event has."""

    @property
    def event_id(self) -> UUID: ...


class Keyed(Event, Protocol):
    """What every outgoing event has: its patient is its Kafka key."""

    @property
    def patient_id(self) -> UUID: ...


E = TypeVar("E", bound=Event)
E_contra = TypeVar("E_contra", bound=Event, contravariant=True)


class Room(Protocol[E_contra]):
    """What the pump asks of a consuming room. Rooms satisfy it without importing it."""

    async def handle(self, conn: Connection, events: Sequence[E_contra], *, now: datetime) -> Sequence[Keyed]:
        """Serve events never seen before, inside the open transaction; return what to tell the next room."""
        ...

    async def park(self, conn: Connection, event: E_contra, *, reason: str, now: datetime) -> Sequence[Keyed]:
        """The event could not be handled: mark its patient, so that somebody sees it."""
        ...

    def forget(self) -> None:
        """The transaction failed or a partition was lost: drop every state kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course(Generic[E]):
    """From which topic, as which type, to which topic (None: the room ends the line).

    `recognises`: the room's own tables refuse what they have already, so the pump need not remember it a second time.
    """

    room: str
    source: str
    reads: type[E]
    target: str | None
    recognises: bool = False


@asynccontextmanager
async def consumer(
    bootstrap: str, course: Course[Any], *, member: str | None = None
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with every unsafe default of aiokafka set by hand."""
    opened = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=f"lamplight.{course.room}",
        group_instance_id=member,  # static membership: a quick restart moves nothing
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=3_000,
        max_poll_interval_ms=300_000,
        # A broker that just came back may not know the topic yet: the group then shares out nothing, and looks again
        # only when this is over. At the default a whole room stood for five minutes, and nothing complained.
        metadata_max_age_ms=5_000,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await opened.start()
        yield opened
    finally:
        await opened.stop()
