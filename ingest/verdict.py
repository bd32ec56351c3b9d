"""What becomes of one thing a device said: a reading about a patient, news about a device, or a refusal."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from ingest import clock, quality, wire
from ingest.devices.measurement import DeviceEvent, EventKind, Measurement, Refusal, Said
from ingest.events import Reading, Refused, fact_id
from ingest.identity import SENTENCES, Decided, Device, Gateway, Owner, Stranger, contradicted, owner, slot_of

ECHO = "echo"
"""Flag: the same measurement once more, a whole number of hours or a moment apart. Kept, and counted once."""

LARGEST = 64 * 1024
"""Bytes of a message; no device says more at once."""

KEPT = LARGEST + 1
"""Of a larger one as many stay with its refusal, which must fit into Kafka: one too many, so that it stays too large."""

PLAYED = "played"
"""Flag of every reading that a gateway plays from a recorded diary: its receipt lies in the diary's time, not in ours."""

NEWS = timedelta(days=1)
"""A reading younger than this is news, whatever its gateway calls history: history pages nobody."""

ABOUT_THE_DEVICE = frozenset(
    {EventKind.BATTERY, EventKind.HEARTBEAT, EventKind.ONLINE, EventKind.OFFLINE, EventKind.REMINDER_CLEARED}
)


DECIDED = "owner_decided"
"""Flag: a person said whose it is, in place of the device's word that nobody knows."""


class Again(NamedTuple):
    """What was set aside, at the door once more: as it came then, with what a person says about it now."""

    refusal_id: UUID
    part: int
    received_at: datetime  # the first time
    released_at: datetime
    clock_error: timedelta | None = None  # of its gateway, as known then
    decided: Decided | None = None
    caused_by: UUID | None = None  # the name its message had then, whoever gave it


class Carrier(msgspec.Struct, frozen=True, kw_only=True):
    """The message that carried it, as received."""

    gateway_id: str
    gateway: Gateway | None
    raw: bytes
    received_at: datetime
    place: str = wire.CANONICAL
    again: Again | None = None

    def name(self, message_id: UUID | None) -> UUID:
        """The gateway's own id of the message; without one, the bytes themselves name it."""
        if self.again is not None and self.again.caused_by is not None:
            return self.again.caused_by
        return message_id or wire.nameless(self.gateway_id, self.raw, self.place)


class News(msgspec.Struct, frozen=True, kw_only=True):
    """A device said something about itself."""

    device_id: str
    event: str
    battery_percent: float | None
    at: datetime


People = Mapping[tuple[int, str], Collection[UUID]]
"""Who has a record number, by practice and number: as much of it as the batch asked for."""
NOBODY: People = {}


def verdict(
    said: Said, carrier: Carrier, device: Device | None, *, part: int = 0, people: People = NOBODY
) -> Reading | Refused | News:
    """Weigh identity, then instant, then quality; the first that says no gives the reason. `part`: of its payload."""
    if isinstance(said, Refusal):
        return _refused(said, carrier, part, hop="decode", reason=said.reason, detail=said.detail)
    if isinstance(said, DeviceEvent):
        return _about_device(said, carrier, part)
    return _measured(said, carrier, device, part, people)


def printable(text: str | None) -> str | None:
    r"""The text, unless it holds what neither a person nor a database can read (NUL, half a surrogate pair).

    >>> printable("meter-1"), printable("a\x00b")
    ('meter-1', None)
    """
    return text if text is not None and text.isprintable() else None


def receipt(gateway: Gateway | None, measurement: Measurement, received_at: datetime) -> datetime:
    """When we received it; a gateway that plays recorded days is believed about that, so that days can pass fast."""
    playing = gateway is not None and gateway.playback
    return measurement.gateway_time if playing and measurement.gateway_time is not None else received_at


def _measured(
    said: Measurement, carrier: Carrier, device: Device | None, part: int, people: People
) -> Reading | Refused:
    if said.device is None:
        return _refused(
            said, carrier, part, hop="decode", reason="missing-field", detail="the message names no device"
        )
    device_id, gateway = said.device, carrier.gateway
    received_at = receipt(gateway, said, carrier.received_at)
    error = None if gateway is None or gateway.playback else gateway.clock_error

    def when(zone: tzinfo) -> clock.Instant:
        return clock.effective(
            said, gateway_time=None, received_at=received_at, zone=zone, gateway_error=error
        )

    decided = carrier.again.decided if carrier.again is not None else None
    whose: Owner | Stranger
    if decided is not None:
        whose = Owner(decided.practice_id, decided.patient_id, when(ZoneInfo(decided.zone)))
        flags = (*(flag for flag in said.flags if flag not in quality.OWNERLESS), DECIDED)
        said = msgspec.structs.replace(said, flags=flags)
    else:
        whose = owner(gateway, device, when, slot_of(said.claimed))
        if not isinstance(whose, Stranger):
            if quality.OWNERLESS.intersection(said.flags):
                whose = Stranger.OWNER_UNKNOWN
            elif said.claimed and contradicted(said.claimed, whose, people):
                whose = Stranger.CONTRADICTED
    if isinstance(whose, Stranger):
        return _refused(said, carrier, part, hop="identity", reason=whose, detail=SENTENCES[whose])
    said, doubts = quality.judge(said)
    if doubts:
        detail = f"the numbers need a person's look: {', '.join(doubts)}"
        return _refused(said, carrier, part, hop="quality", reason=doubts[0], detail=detail)
    carried = carrier.name(said.message_id)
    instant = whose.instant
    playing = gateway is not None and gateway.playback
    fresh = received_at - instant.at < NEWS and not playing
    return Reading(
        event_id=quality.reading_id(device_id, said, carrier=carried),
        caused_by=carried,
        practice_id=whose.practice_id,
        patient_id=whose.patient_id,
        device_id=device_id,
        gateway_id=carrier.gateway_id,
        kind=said.kind,
        effective_at=instant.at,
        received_at=received_at,
        gateway_time=said.gateway_time,
        device_time=printable(said.device_time_sent),
        time_rule=instant.rule,
        time_confidence=instant.confidence,
        utc_offset_minutes=instant.utc_offset_minutes,
        systolic=said.systolic,
        diastolic=said.diastolic,
        map=said.map,
        pulse=said.pulse,
        glucose=said.glucose,
        beyond=said.beyond,
        context=said.context,
        flags=(*map(str, said.flags), *((PLAYED,) if playing else ())),
        history=said.history and not fresh,
        released_at=carrier.again.released_at if carrier.again is not None else None,
        raw=carrier.raw,
    )


def _about_device(said: DeviceEvent, carrier: Carrier, part: int) -> News | Refused:
    """Presence and battery are news; a measurement that failed is kept as what it is: no reading."""
    if said.event in ABOUT_THE_DEVICE and said.device is not None:
        return News(
            device_id=said.device,
            event=said.event,
            battery_percent=said.battery_percent,
            at=carrier.received_at,
        )
    reason = said.event.value.replace("_", "-")
    return _refused(
        said,
        carrier,
        part,
        hop="device",
        reason=reason,
        detail="the device reports no measurement of a person",
    )


def _refused(said: Said, carrier: Carrier, part: int, *, hop: str, reason: str, detail: str) -> Refused:
    carried = carrier.name(said.message_id)
    error = carrier.gateway.clock_error if carrier.gateway is not None else None
    if len(carrier.raw) > KEPT:
        detail = f"{detail}; of its {len(carrier.raw):,} bytes the first {KEPT:,} are kept"
    return Refused(
        event_id=carrier.again.refusal_id
        if carrier.again is not None
        else fact_id("refused", carried, part, hashlib.sha256(carrier.raw).hexdigest()),
        caused_by=carried,
        practice_id=carrier.gateway.practice_id if carrier.gateway is not None else None,
        gateway_id=carrier.gateway_id,
        device_id=printable(said.device),
        hop=hop,
        reason=str(reason),
        detail=detail,
        received_at=carrier.received_at,
        place=printable(carrier.place),
        part=part,
        clock_error_s=error.total_seconds() if error is not None else None,
        raw=carrier.raw[:KEPT],
    )
