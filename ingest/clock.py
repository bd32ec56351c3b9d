"""The clock doctor: which instant a measurement was made at, by a rule with a name, and how sure that is.

Pure: every clock is an argument. Three clocks may speak of one measurement: the device's (a cuff's wall
clock, often wrong), the gateway's (usually right, sometimes in 2028 or 1970), ours at receipt (right,
sometimes late).
"""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from typing import NamedTuple

from ingest.devices.measurement import Flag, Measurement
from ingest.events import TimeConfidence

FUTURE = timedelta(minutes=5)  # how far ahead of receipt a clock may run and still be believed
PAST = timedelta(days=60)  # how late a reading may be: a gateway's outbox outlives weeks without network
FIRST_CUFFS = datetime(
    2010, 1, 1, tzinfo=UTC
)  # no connected cuff is older: earlier is a clock that was reset
GATEWAY_DRIFT = timedelta(minutes=30)  # a gateway a quarter of an hour slow is met in the field
FRESH = timedelta(minutes=15)  # device and receipt this close agree, whatever the gateway says
HOUR = timedelta(hours=1)
MOST_HOURS = 14  # the easternmost zone


class TimeRule(StrEnum):
    """How `effective_at` was chosen. Shown with the reading."""

    DEVICE_INSTANT = "device-instant"  # the device named an instant with its zone
    DEVICE_OFFSET = "device-offset"  # its wall clock and the offset it sent
    DEVICE_LOCAL = "device-local"  # its wall clock in the patient's zone
    COINCIDENT = "coincident-clocks"  # mapped by the difference between device and gateway, read together
    GATEWAY_MAPPED = "gateway-mapped"  # the gateway's clock, put right by its known error
    GATEWAY_TIME = "gateway-time"  # the device has no usable time
    RECEIPT_TIME = "receipt-time"  # neither has
    DST_FOLD = "dst-fold"  # the hour that happens twice
    DST_GAP = "dst-gap"  # the hour that never happened: the device was not put forward
    HOURS_AHEAD = "hours-ahead"  # a device still on summer time, or on another zone's
    INSANE_OFFSET = "insane-offset"  # the offset sent exists nowhere on earth
    AFTER_GATEWAY = "after-gateway"  # the device says later than the gateway that took it
    FUTURE_CLOCK = "future-clock"
    RESET_CLOCK = "reset-clock"  # before there were such devices: 1970, 2000, a battery was changed
    TOO_OLD = "too-old"
    OTHER_TIMELINE = "other-timeline"  # later than the device's own present: its clock was set back since
    GATEWAY_CLOCK = "gateway-clock-wrong"  # only the gateway has a time, and it is impossible
    UNDATED_HISTORY = "undated-history"  # from memory, and nobody knows from when


class Instant(NamedTuple):
    """When it was, in UTC, why we say so, how sure, and how far the patient's clock then was from UTC."""

    at: datetime
    rule: TimeRule
    confidence: TimeConfidence
    utc_offset_minutes: int | None


class _Gateway(NamedTuple):
    at: datetime | None  # put right where its error is known; None if there is none or it is beyond use
    mapped: bool = False
    wrong: bool = False


class _Candidate(NamedTuple):
    at: datetime
    rule: TimeRule
    sure: bool = True


def effective(
    measurement: Measurement,
    *,
    gateway_time: datetime | None,
    received_at: datetime,
    zone: tzinfo,
    gateway_error: timedelta | None = None,
) -> Instant:
    """The instant of a measurement.

    `gateway_time` is the gateway's clock when the device handed the measurement over (None: as the message
    says); `gateway_error` is receipt minus gateway's clock as measured at its last live hello, if there was
    one; `zone` is where the patient lives.

    1. A gateway known to be wrong is put right by its error; an impossible one of unknown error is not heard.
    2. Device and gateway read together (`device_now`) map the device's time, however wrong its clock.
    3. Otherwise the device's time is read as an instant, with its offset, or in the patient's zone; a fold
    or a
       gap of daylight saving is settled and named.
    4. It must lie in [received - 60 days, received + 5 minutes]. History may be older, never newer.
    5. A time outside is suspect: the reading is stored and shown, never scored as current.
    6. Without a device time it was when the gateway took it, else when we received it.

    >>> from ingest.events import Kind
    >>> noon = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    >>> cuff = Measurement(kind=Kind.BLOOD_PRESSURE, systolic=128.0, device_time=datetime(2028, 3, 2, 11, 58))
    >>> effective(cuff, gateway_time=noon, received_at=noon, zone=UTC)[1:3]
    (<TimeRule.FUTURE_CLOCK: 'future-clock'>, <TimeConfidence.SUSPECT: 'suspect'>)
    """
    gateway = _gateway(gateway_time or measurement.gateway_time, received_at, gateway_error)
    found = _device(measurement, gateway, gateway.at or received_at, zone)
    if found is None:
        at, rule, confidence = _undated(measurement, gateway, received_at)
    else:
        at, rule, confidence = _weigh(found, measurement, gateway.at, received_at)
    offset = measurement.utc_offset_minutes
    if offset is None:
        offset = _zone_offset(at, zone)
    return Instant(at, rule, confidence, offset)


def _gateway(said: datetime | None, received_at: datetime, error: timedelta | None) -> _Gateway:
    if said is None:
        return _Gateway(None)
    mapped = error is not None and abs(error) > FUTURE
    if mapped and error is not None:
        said = _moved(said, error)
    possible = said is not None and received_at - PAST <= said <= received_at + FUTURE
    return _Gateway(said if possible else None, mapped=mapped, wrong=not possible)


def _device(measurement: Measurement, gateway: _Gateway, anchor: datetime, zone: tzinfo) -> _Candidate | None:
    """What the device's own time says, before it is weighed against the others."""
    said, now = measurement.device_time, measurement.device_now
    if said is None:
        return None
    if now is not None and gateway.at is not None and (now.tzinfo is None) == (said.tzinfo is None):
        at = _moved(gateway.at, said - now)
        if at is not None:
            late = said - now > FUTURE
            return _Candidate(
                at, TimeRule.OTHER_TIMELINE if late else TimeRule.COINCIDENT, sure=not gateway.mapped
            )
    estimated = Flag.TIME_ESTIMATED in measurement.flags
    insane = Flag.OFFSET_INSANE in measurement.flags
    if said.tzinfo is not None:
        rule = TimeRule.INSANE_OFFSET if insane else TimeRule.DEVICE_INSTANT
        return _Candidate(_utc(said), rule, sure=not (estimated or insane))
    offset = measurement.utc_offset_minutes
    if offset is not None:
        at = _utc(said.replace(tzinfo=timezone(timedelta(minutes=offset))))
        return _Candidate(at, TimeRule.DEVICE_OFFSET, sure=not estimated)
    at, rule = _local(said, zone, anchor)
    if insane:
        rule = TimeRule.INSANE_OFFSET
    return _Candidate(at, rule, sure=rule is TimeRule.DEVICE_LOCAL and not estimated)


def _local(wall: datetime, zone: tzinfo, anchor: datetime) -> tuple[datetime, TimeRule]:
    """A wall clock in a zone, where an hour may happen twice or never.

    In the fold the later of the two that was not after the anchor; in the gap the offset before it, because a
    device that shows a time that never was has not been put forward.
    """
    first, second = _utc(wall.replace(tzinfo=zone, fold=0)), _utc(wall.replace(tzinfo=zone, fold=1))
    if first == second:
        return first, TimeRule.DEVICE_LOCAL
    if first > second:
        return first, TimeRule.DST_GAP
    return (second if second <= anchor + FUTURE else first), TimeRule.DST_FOLD


def _weigh(
    found: _Candidate, measurement: Measurement, gateway: datetime | None, received_at: datetime
) -> tuple[datetime, TimeRule, TimeConfidence]:
    """The device's time against the gateway's and ours."""
    anchor = gateway if gateway is not None else received_at
    if found.rule is TimeRule.OTHER_TIMELINE:
        return anchor, found.rule, TimeConfidence.SUSPECT
    if found.at < FIRST_CUFFS:
        return anchor, TimeRule.RESET_CLOCK, TimeConfidence.SUSPECT
    limit = received_at + FUTURE if gateway is None else min(gateway + GATEWAY_DRIFT, received_at + FUTURE)
    if found.at > limit and not timedelta(0) <= received_at - found.at <= FRESH:
        return _ahead(found.at, anchor, received_at)
    if found.at < received_at - PAST and not measurement.history:
        return found.at, TimeRule.TOO_OLD, TimeConfidence.SUSPECT
    sure = found.sure and found.at <= limit
    return found.at, found.rule, TimeConfidence.HIGH if sure else TimeConfidence.LOW


def _ahead(
    at: datetime, anchor: datetime, received_at: datetime
) -> tuple[datetime, TimeRule, TimeConfidence]:
    """A measurement cannot be later than the moment it was handed over.

    A device left on summer time is up to an hour ahead for weeks every autumn, and one on another zone's
    time a whole number of hours: taken back by those hours it must fit the hand-over. Anything else is a
    broken clock.
    """
    hours = -((anchor + FUTURE - at) // HOUR)
    back = at - hours * HOUR
    if 1 <= hours <= MOST_HOURS and (hours == 1 or anchor - back <= FRESH):
        return back, TimeRule.HOURS_AHEAD, TimeConfidence.LOW
    if at <= received_at + FUTURE:
        return anchor, TimeRule.AFTER_GATEWAY, TimeConfidence.LOW
    return anchor, TimeRule.FUTURE_CLOCK, TimeConfidence.SUSPECT


def _undated(
    measurement: Measurement, gateway: _Gateway, received_at: datetime
) -> tuple[datetime, TimeRule, TimeConfidence]:
    if measurement.history:
        return gateway.at or received_at, TimeRule.UNDATED_HISTORY, TimeConfidence.SUSPECT
    if gateway.at is not None:
        rule = TimeRule.GATEWAY_MAPPED if gateway.mapped else TimeRule.GATEWAY_TIME
        return gateway.at, rule, TimeConfidence.LOW
    if gateway.wrong:
        return _before_receipt(measurement, received_at), TimeRule.GATEWAY_CLOCK, TimeConfidence.SUSPECT
    return received_at, TimeRule.RECEIPT_TIME, TimeConfidence.LOW


def _before_receipt(measurement: Measurement, received_at: datetime) -> datetime:
    """As long before receipt as the gateway's own wrong clock puts it before sending."""
    if measurement.gateway_time is None or measurement.gateway_now is None:
        return received_at
    age = measurement.gateway_now - measurement.gateway_time
    return received_at - age if timedelta(0) <= age <= PAST else received_at


def _utc(moment: datetime) -> datetime:
    """In UTC; a date at the edge of the calendar, which no clock of ours can move, becomes the edge we can."""
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return moment.replace(tzinfo=UTC)


def _moved(moment: datetime, by: timedelta) -> datetime | None:
    try:
        return moment + by
    except OverflowError:
        return None


def _zone_offset(at: datetime, zone: tzinfo) -> int | None:
    offset = at.astimezone(zone).utcoffset()
    return None if offset is None else round(offset / timedelta(minutes=1))
