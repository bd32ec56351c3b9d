"""What is said to people about things set aside: reasons in words, samples in bytes, whom a reading may belong to. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from ingest import wire
from ingest.devices.measurement import Measurement
from ingest.identity import LANE
from ingest.replay import NEWS, READING, UNREADABLE
from ingest.sorting import read

LANE_REASONS: Final = sorted(map(str, LANE))
STATES: Final = {
    "open": "open",
    "replaying": "on its way to the door again",
    "released": "became a reading",
    "resolved": "closed by a person",
}


class By(NamedTuple):
    """Who does something; from the command line there is only a name."""

    staff_id: UUID | None
    name: str


class Kind(NamedTuple):
    """What is refused alike: one line, however often it comes."""

    gateway: str
    device: str  # a registered one, else "": strangers make up names
    hop: str
    reason: str


class Held(NamedTuple):
    """One thing set aside, as it lies there."""

    refusal_id: UUID
    practice_id: int | None
    gateway_id: str
    device_id: str | None
    kind_device: str
    hop: str
    reason: str
    detail: str
    received_at: datetime
    place: str | None
    part: int
    key_id: str | None
    raw: bytes
    state: str
    tries: int
    answer: str | None
    reading_id: UUID | None
    settled_at: datetime | None

    @property
    def kind(self) -> Kind:
        return Kind(self.gateway_id, self.kind_device, self.hop, self.reason)

    @property
    def in_lane(self) -> bool:
        """Whether the question is whose reading it is."""
        return self.hop == "identity" and self.reason in LANE


def words(reason: str | None) -> str:
    """A code as a person reads it.

    >>> words("not-assigned-then"), words("reading")
    ('not assigned then', 'became a reading')
    """
    known = {READING: "became a reading", NEWS: "news of the device", UNREADABLE: "its key is not here"}
    return known.get(reason or "", (reason or "").replace("-", " ").replace("_", " "))


def shown(raw: bytes) -> tuple[str, str]:
    r"""(form, text): the bytes as text where they are text, else as hexadecimal.

    >>> shown(b'{"a":1}'), shown(b"\x16\x7c")
    (('text', '{"a":1}'), ('hexadecimal', '16 7C'))
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\x00"
    if all(one.isprintable() or one in "\r\n\t" for one in text):
        return "text", text
    return "hexadecimal", raw.hex(" ").upper()


def measured(held: Held, raw: bytes) -> Measurement | None:
    """The measurement in it, if its bytes are one."""
    about = wire.topic(f"v1/{held.gateway_id}/{held.place or wire.CANONICAL}")
    message, _ = read(held.gateway_id, about.family if about.what == "readings" else None, raw)
    said = message.said[held.part] if held.part < len(message.said) else None
    return said if isinstance(said, Measurement) else None


def value(said: Measurement | None) -> str:
    """The value with its units, for whoever must recognise it.

    >>> from ingest.events import Kind
    >>> value(Measurement(kind=Kind.BLOOD_PRESSURE, systolic=172.0, diastolic=96.0, pulse=78.0))
    '172/96 mm[Hg], pulse 78 /min'
    """
    if said is None:
        return ""
    parts = []
    if said.systolic is not None or said.diastolic is not None:
        upper, lower = (f"{x:g}" if x is not None else "?" for x in (said.systolic, said.diastolic))
        parts.append(f"{upper}/{lower} mm[Hg]")
    if said.pulse is not None:
        parts.append(f"pulse {said.pulse:g} /min")
    if said.beyond is not None:
        parts.append(f"{said.beyond}: beyond what the meter measures")
    elif said.glucose is not None:
        parts.append(f"{said.glucose:g} mg/dL")
    return ", ".join(parts)


def claim(said: Measurement | None) -> str:
    """Who the message says it is, for a person to weigh: in one line."""
    names = {
        "user": "user",
        "patient": "patient",
        "account": "account",
        "national_id": "national id",
        "born": "born",
    }
    told = said.claimed.items() if said is not None else ()
    return ", ".join(
        f"{names.get(key, key)} {text}"
        for key, text in told
        if text.isprintable() and len(text) <= 80  # noqa: PLR2004
    )


def plural(count: int, one: str, many: str | None = None) -> str:
    """Say how many.

    >>> plural(1, "reading"), plural(3, "reading")
    ('1 reading', '3 readings')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def kind_line(row: dict[str, Any]) -> Sequence[str]:
    """One kind as the command line shows it."""
    return (
        str(row["times"]),
        str(row["open"]),
        row["gateway_id"],
        row["kind_device"] or "-",
        row["hop"],
        row["reason"],
        f"{row['last_at']:%Y-%m-%d %H:%M}",
        str(row["newest"] or "-"),
    )
