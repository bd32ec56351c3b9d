"""Whose reading is it? The registry's periods decide, at the instant of the measurement; the message is never believed."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from ingest.clock import Instant


class Stranger(StrEnum):
    """Why a measurement is nobody's."""

    UNKNOWN_GATEWAY = "unknown-gateway"
    UNKNOWN_DEVICE = "unknown-device"
    OTHER_PRACTICE = "other-practice"  # the gateway of one practice brings a device of another
    UNASSIGNED = "unassigned"  # the device was never given to anybody
    NOT_ASSIGNED_THEN = "not-assigned-then"  # it was, but not at that instant
    OWNER_UNKNOWN = "owner-unknown"  # the device itself does not know who was measured: a person decides


SENTENCES = {
    Stranger.UNKNOWN_GATEWAY: "this gateway is not registered",
    Stranger.UNKNOWN_DEVICE: "this device is not registered",
    Stranger.OTHER_PRACTICE: "this device is not registered with the gateway's practice",
    Stranger.UNASSIGNED: "this device is not assigned to a patient",
    Stranger.NOT_ASSIGNED_THEN: "this device was not assigned to a patient when the measurement was made",
    Stranger.OWNER_UNKNOWN: "the device does not know who was measured",
}


class Gateway(NamedTuple):
    """What the registry knows of a gateway."""

    practice_id: int
    playback: bool = False  # plays recorded days: the time it claims counts as the time of receipt
    clock_error: timedelta | None = None  # our clock minus its clock, at its last heartbeat


class Assignment(NamedTuple):
    """Who had the device from when (inclusive) until when (exclusive; None: still)."""

    patient_id: UUID
    since: datetime
    until: datetime | None
    zone: str  # where the patient lives


class Device(NamedTuple):
    """What the registry knows of a device, with the assignments near the time in question."""

    practice_id: int
    assignments: Sequence[Assignment] = ()
    ever_assigned: bool = False


class Owner(NamedTuple):
    """Whose it is, and when it was on that person's clock."""

    practice_id: int
    patient_id: UUID
    instant: Instant


def owner(
    gateway: Gateway | None, device: Device | None, when: Callable[[tzinfo], Instant]
) -> Owner | Stranger:
    """The patient who had the device at the instant of the measurement, or why there is none.

    `when` reads the measurement on a clock in a zone. A device without a zone shows the wall clock of
    whoever has it, so each candidate's own zone decides whether the instant falls into that candidate's
    period.

    >>> from datetime import UTC
    >>> from ingest.clock import TimeRule
    >>> from ingest.events import TimeConfidence
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> when = lambda zone: Instant(noon, TimeRule.DEVICE_INSTANT, TimeConfidence.HIGH, 0)
    >>> maria = Assignment(UUID(int=1), noon - timedelta(days=9), None, "America/Chicago")
    >>> owner(Gateway(7), Device(7, [maria]), when).patient_id.int
    1
    >>> owner(Gateway(8), Device(7, [maria]), when)
    <Stranger.OTHER_PRACTICE: 'other-practice'>
    """
    if gateway is None:
        return Stranger.UNKNOWN_GATEWAY
    if device is None:
        return Stranger.UNKNOWN_DEVICE
    if device.practice_id != gateway.practice_id:
        return Stranger.OTHER_PRACTICE
    for candidate in sorted(device.assignments, key=lambda one: one.since, reverse=True):
        instant = when(ZoneInfo(candidate.zone))
        if candidate.since <= instant.at and (candidate.until is None or instant.at < candidate.until):
            return Owner(device.practice_id, candidate.patient_id, instant)
    return Stranger.NOT_ASSIGNED_THEN if device.ever_assigned else Stranger.UNASSIGNED
