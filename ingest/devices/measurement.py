"""What a device said, before anyone knows whose it is: the one vocabulary every decoder answers in."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from ingest.events import Beyond, Kind


class Flag(StrEnum):
    """Something about the reading a person should see beside it."""

    MOVEMENT = "movement"
    CUFF_LOOSE = "cuff_loose"
    BAD_POSITION = "bad_position"
    IRREGULAR_PULSE = "irregular_pulse"
    PULSE_ABOVE_RANGE = "pulse_above_range"
    PULSE_BELOW_RANGE = "pulse_below_range"
    BATTERY_LOW = "battery_low"
    SENSOR_MALFUNCTION = "sensor_malfunction"
    SAMPLE_TOO_SMALL = "sample_too_small"
    STRIP_INSERTION = "strip_insertion"
    WRONG_STRIP = "wrong_strip"
    STRIP_PULLED = "strip_pulled"
    TOO_HOT = "too_hot"
    TOO_COLD = "too_cold"
    SENSOR_FAULT = "sensor_fault"
    TIME_FAULT = "time_fault"
    TIME_ESTIMATED = "time_estimated"
    ABOVE_RANGE = "above_range"
    BELOW_RANGE = "below_range"
    NOT_CAPILLARY = "not_capillary"  # interstitial, venous, arterial: not a fingerstick
    UNIT_SUSPECT = "unit_suspect"  # a number that would be more likely in the other unit
    PULSE_IMPLAUSIBLE = "pulse_implausible"
    INCOMPLETE = "incomplete"  # one of systolic and diastolic is missing
    PULSE_ONLY = "pulse_only"  # a pulse that travels apart from its pressures
    MANUAL = "manual"  # typed by a person
    AVERAGE = "average"  # the device averaged several readings itself
    STATISTIC = "statistic"  # the lowest, highest or otherwise chosen value of a period
    PLAYBACK = "playback"  # from the device's memory
    QUESTIONABLE = "questionable"  # the sender says so
    USER_UNKNOWN = "user_unknown"  # the device does not know who was measured
    OWNER_AMBIGUOUS = "owner_ambiguous"  # the sender does not know whose it is
    IDENTITY_IN_PAYLOAD = "identity_in_payload"  # the message names a person: compared, never believed
    CONTEXT_CONTRADICTORY = "context_contradictory"  # before and after the same meal
    CONTEXT_MISMATCHED = "context_mismatched"  # the context belongs to another sequence number
    OFFSET_INSANE = "offset_insane"  # an offset from UTC no place on earth has
    BYTE_ORDER_MIXED = "byte_order_mixed"  # a known fault of one cuff family, undone
    TRAILING_BYTES = "trailing_bytes"  # the frame is longer than it says
    FLAGGED_BY_SENDER = "flagged_by_sender"
    CONTROL_SOLUTION = "control_solution"


class Context(StrEnum):
    """When in the day's eating and sleeping a glucose value was taken."""

    FASTING = "fasting"
    BEFORE_MEAL = "before_meal"
    AFTER_MEAL = "after_meal"
    BEDTIME = "bedtime"
    OVERNIGHT = "overnight"
    UNSPECIFIED = "unspecified"


class Absent(StrEnum):
    """Why a field that could have been there has no number."""

    NOT_A_NUMBER = "not-a-number"
    NOT_AT_THIS_RESOLUTION = "not-at-this-resolution"
    POSITIVE_INFINITY = "positive-infinity"
    NEGATIVE_INFINITY = "negative-infinity"
    RESERVED = "reserved"
    ZERO = "zero-means-absent"
    EMPTY = "empty"
    IMPOSSIBLE = "impossible-value"
    ABOVE_RANGE = "above-range"
    BELOW_RANGE = "below-range"
    UNKNOWN_DATE = "unknown-date"
    INVALID_DATE = "invalid-date"
    TIME_FAULT = "time-fault"
    OFFSET_OVERRUN = "time-offset-overrun"
    OFFSET_INSANE = "insane-offset"
    NOT_PATIENT_DATA = "not-patient-data"
    SENDER = "said-absent-by-sender"


class Reason(StrEnum):
    """Why a message cannot become a reading. Closed: a metric label and a column of the dead letters."""

    EMPTY = "empty"
    TOO_LARGE = "too-large"
    TOO_DEEP = "too-deep"
    TOO_MANY = "too-many-readings"
    NOT_TEXT = "not-text"
    NOT_JSON = "not-json"
    DUPLICATE_KEY = "duplicate-key"
    NOT_A_NUMBER = "not-a-number"
    NUMBER_TOO_LARGE = "number-too-large"
    WRONG_TYPE = "wrong-type"
    MISSING_FIELD = "missing-field"
    UNKNOWN_FIELD = "unknown-field"
    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_UNIT = "unknown-unit"
    UNKNOWN_FAMILY = "unknown-family"
    UNSUPPORTED_KIND = "unsupported-kind"  # a weight, an oxygen saturation: understood, not ours
    BAD_ENCODING = "bad-encoding"
    TRUNCATED = "truncated"
    IMPOSSIBLE_VALUE = "impossible-value"
    CONTRADICTION = "contradiction"
    GOAL = "goal-not-measurement"
    TEST_DATA = "test-data"
    WITHDRAWN = "entered-in-error"
    VENDOR_ERROR = "vendor-error"
    NOTHING_HERE = "nothing-here"  # well-formed and without a single reading or event


class EventKind(StrEnum):
    """What a device says when it is not a reading."""

    NO_READING = "no_reading"  # it tried and could not measure
    CONTROL_SOLUTION = "control_solution"  # a test of the meter, not of a person
    ONLINE = "online"
    OFFLINE = "offline"
    HEARTBEAT = "heartbeat"
    BATTERY = "battery"
    ERROR = "error"
    REMINDER_CLEARED = "reminder_cleared"
    SETTINGS = "settings"
    IRREGULAR_PULSE = "irregular_pulse"  # told apart from the pressures it belongs to
    DATA_WAITING = "data_waiting"  # a vendor says: come and fetch


class Sent(msgspec.Struct, frozen=True):
    """A value exactly as the sender wrote it, in the sender's unit (None: no unit was sent)."""

    value: float | str | bool | None
    unit: str | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measurement as one device told it; no patient, no instant yet.

    Numbers are in canonical units: pressures mm[Hg], pulse /min, glucose mg/dL. `sent` keeps each as written
    and `absent` says why one is missing. `device_time` is naive where the device has a wall clock without a
    zone and aware where it named an instant; `device_time_sent` is the text it wrote. `claimed` holds who the
    *message* says this is; it is compared with the registry and believed by nobody.
    """

    kind: Kind
    systolic: float | None = None
    diastolic: float | None = None
    map: float | None = None
    pulse: float | None = None
    glucose: float | None = None
    beyond: Beyond | None = None
    context: Context | None = None
    flags: tuple[str, ...] = ()
    sent: Mapping[str, Sent] = {}
    absent: Mapping[str, Absent] = {}
    device: str | None = None  # a hardware address is normalised: 12 lower-case hex digits, no separators
    gateway: str | None = None  # as the payload names it; the topic or certificate decides
    message_id: UUID | None = None  # the gateway's outbox row
    seq: int | None = None  # the device's own count; rolls over and restarts
    device_time: datetime | None = None
    device_time_sent: str | None = None
    device_now: datetime | None = None  # the device's clock at the moment `gateway_time` was read
    gateway_time: datetime | None = None  # gateway's clock when the device handed the measurement over
    gateway_now: datetime | None = None  # gateway's clock when it sent the message
    utc_offset_minutes: int | None = None  # of the patient's wall clock, only if a place on earth has it
    history: bool = False
    claimed: Mapping[str, str] = {}
    original: bytes | None = None  # the line before the gateway wrapped it

    def __repr__(self) -> str:
        """Kind and nothing of a person: reprs end up in logs and tracebacks."""
        return f"Measurement(kind={self.kind.value!r})"


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a device said that is no measurement of a person; it never makes a reading day."""

    event: EventKind
    kind: Kind | None = None  # of the measurement that did not happen
    flags: tuple[str, ...] = ()
    sent: Mapping[str, Sent] = {}
    absent: Mapping[str, Absent] = {}
    device: str | None = None
    gateway: str | None = None
    message_id: UUID | None = None
    seq: int | None = None
    device_time: datetime | None = None
    device_time_sent: str | None = None
    gateway_time: datetime | None = None
    gateway_now: datetime | None = None
    utc_offset_minutes: int | None = None
    battery_percent: float | None = None
    claimed: Mapping[str, str] = {}
    original: bytes | None = None

    def __repr__(self) -> str:
        """The kind of event only."""
        return f"DeviceEvent(event={self.event.value!r})"


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why this message, or this part of it, cannot be a reading. `detail` never quotes a value."""

    reason: Reason
    detail: str
    device: str | None = None
    message_id: UUID | None = None


Said = Measurement | DeviceEvent | Refusal
Answer = tuple[Said, ...]
"""What a decoder returns: at least one thing said, in the order of the payload."""


def refuse(
    reason: Reason, detail: str, *, device: str | None = None, message_id: UUID | None = None
) -> Answer:
    """A whole message refused."""
    return (Refusal(reason=reason, detail=detail, device=device, message_id=message_id),)
