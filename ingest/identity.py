"""Whose reading is it? The registry's periods decide, at the instant of the measurement; the message is never believed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from ingest.clock import Instant


class Stranger(StrEnum):
    """Why a measurement is nobody's."""

    UNKNOWN_GATEWAY = "unknown-gateway"
    REVOKED_GATEWAY = "revoked-gateway"  # its certificate is no longer good: lost, stolen, replaced
    UNKNOWN_DEVICE = "unknown-device"
    OTHER_PRACTICE = "other-practice"  # the gateway of one practice brings a device of another
    UNASSIGNED = "unassigned"  # the device was never given to anybody
    NOT_ASSIGNED_THEN = "not-assigned-then"  # it was, but not at that instant
    OWNER_UNKNOWN = "owner-unknown"  # the device itself does not know who was measured
    SHARED_DEVICE = "shared-device"  # several people of a household measure with it
    CONTRADICTED = "identity-contradicted"  # the message says it is somebody else than the registry does


LANE = frozenset(
    {
        Stranger.UNASSIGNED,
        Stranger.NOT_ASSIGNED_THEN,
        Stranger.OWNER_UNKNOWN,
        Stranger.SHARED_DEVICE,
        Stranger.CONTRADICTED,
    }
)
"""Whose reading is this? Measured by a device of the practice: it pages and bills nobody until a person says whose."""


SENTENCES = {
    Stranger.UNKNOWN_GATEWAY: "this gateway is not registered",
    Stranger.REVOKED_GATEWAY: "this gateway was revoked",
    Stranger.UNKNOWN_DEVICE: "this device is not registered",
    Stranger.OTHER_PRACTICE: "this device is not registered with the gateway's practice",
    Stranger.UNASSIGNED: "this device is not assigned to a patient",
    Stranger.NOT_ASSIGNED_THEN: "this device was not assigned to a patient when the measurement was made",
    Stranger.OWNER_UNKNOWN: "the device does not know who was measured",
    Stranger.SHARED_DEVICE: "several people measure with this device",
    Stranger.CONTRADICTED: "the message names somebody else than the one who has the device",
}


class Gateway(NamedTuple):
    """What the registry knows of a gateway."""

    practice_id: int
    playback: bool = False  # plays recorded days: the time it claims counts as the time of receipt
    clock_error: timedelta | None = None  # our clock minus its clock, at its last heartbeat
    revoked: bool = False  # nothing it brings is anybody's


class Assignment(NamedTuple):
    """Who had the device from when (inclusive) until when (exclusive; None: still)."""

    patient_id: UUID
    since: datetime
    until: datetime | None
    zone: str  # where the patient lives
    born: date | None = None
    slot: int | None = None  # only what is measured under this user button of the device; None: all of it


class Decided(NamedTuple):
    """What a person answered to "whose reading is this?"."""

    practice_id: int
    patient_id: UUID
    zone: str


class Device(NamedTuple):
    """What the registry knows of a device, with the assignments near the time in question."""

    practice_id: int
    assignments: Sequence[Assignment] = ()
    ever_assigned: bool = False
    shared: bool = False  # by several people: nobody's until a person says


class Owner(NamedTuple):
    """Whose it is, and when it was on that person's clock."""

    practice_id: int
    patient_id: UUID
    instant: Instant
    born: date | None = None


def owner(
    gateway: Gateway | None,
    device: Device | None,
    when: Callable[[tzinfo], Instant],
    slot: int | None = None,
) -> Owner | Stranger:
    """The patient who had the device at the instant of the measurement, or why there is none.

    `slot` is the user button that was pressed, if the device says one. A device of which somebody has a button is
    shared: what was measured under another button, or under none, is nobody's until a person says.

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
    if gateway is None or gateway.revoked:
        return Stranger.UNKNOWN_GATEWAY if gateway is None else Stranger.REVOKED_GATEWAY
    if device is None:
        return Stranger.UNKNOWN_DEVICE
    if device.practice_id != gateway.practice_id:
        return Stranger.OTHER_PRACTICE
    shared = device.shared
    for candidate in sorted(device.assignments, key=lambda one: one.since, reverse=True):
        instant = when(ZoneInfo(candidate.zone))
        if candidate.since <= instant.at and (candidate.until is None or instant.at < candidate.until):
            if candidate.slot == slot if candidate.slot is not None else not shared:
                return Owner(device.practice_id, candidate.patient_id, instant, candidate.born)
            shared = True
    if shared:
        return Stranger.SHARED_DEVICE
    return Stranger.NOT_ASSIGNED_THEN if device.ever_assigned else Stranger.UNASSIGNED


def slot_of(claims: Mapping[str, str]) -> int | None:
    """The user button a message names.

    >>> slot_of({"user": "2"}), slot_of({"patient": "M-17"})
    (2, None)
    """
    said = claims.get("user", "")
    return int(said) if said.isdecimal() and len(said) <= 3 else None  # noqa: PLR2004 - one byte


COMPARED = ("patient", "account", "national_id")
"""Claims that may be a record number of the practice."""


def claimed_numbers(claims: Mapping[str, str]) -> list[str]:
    """What a message says that could be a record number; a FHIR reference is one behind its slash.

    >>> claimed_numbers({"patient": "Patient/M-17", "user": "2"})
    ['M-17']
    """
    said = (claims.get(name, "").rpartition("/")[2] for name in COMPARED)
    return [number for number in said if number and number.isprintable()]


def contradicted(
    claims: Mapping[str, str], whose: Owner, people: Mapping[tuple[int, str], Collection[UUID]]
) -> bool:
    """Whether the message names somebody else than the registry does.

    A number that is nobody's record number is the vendor's own and says nothing; the number of another
    patient of the practice, or another birthday, does. Names are not compared: everybody spells them.
    `people`: who has a record number, by practice and number.

    >>> from ingest.clock import TimeRule
    >>> from ingest.events import TimeConfidence
    >>> from datetime import UTC
    >>> at = Instant(datetime(2026, 3, 2, tzinfo=UTC), TimeRule.RECEIPT_TIME, TimeConfidence.LOW, 0)
    >>> maria = Owner(1, UUID(int=1), at, date(1950, 1, 1))
    >>> contradicted({"patient": "M-17"}, maria, {(1, "M-17"): [UUID(int=2)]})
    True
    >>> contradicted({"patient": "4711", "born": "1950-01-01"}, maria, {})
    False
    >>> contradicted({"born": "1979-07-13"}, maria, {})
    True
    """
    for number in claimed_numbers(claims):
        named = people.get((whose.practice_id, number), ())
        if named and whose.patient_id not in named:
            return True
    born = claims.get("born")
    return born is not None and whose.born is not None and born != whose.born.isoformat()
