"""Who plays in the demo: which diary is which device, at which gateway, on whose clock. The diaries lie beside it."""

from collections.abc import Sequence
from datetime import tzinfo
from importlib.resources import files
from zoneinfo import ZoneInfo

import msgspec

from ingest.gateway.diary import Entry, Form, entries
from ingest.gateway.player import Part


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One diary in the demo. Its patient is a name somebody else makes up."""

    diary: str  # file beside cast.json
    form: Form
    device_id: str
    family: str
    model: str
    gateway_id: str
    zone: str  # where the patient lives
    ahead_days: int  # the diary ends so many days after today
    about: str

    def part(self) -> Part:
        """Its music."""
        return part(self.form, read(self.diary), self.device_id, ZoneInfo(self.zone), self.ahead_days)


def roles() -> tuple[Role, ...]:
    """Everybody in the demo, in order of appearance."""
    text = (files("ingest.gateway") / "diaries" / "cast.json").read_bytes()
    return msgspec.json.decode(text, type=tuple[Role, ...])


def read(diary: str) -> str:
    """A shipped diary."""
    return (files("ingest.gateway") / "diaries" / diary).read_text("utf-8")


def part(form: Form, text: str, device_id: str, zone: tzinfo, ahead_days: int) -> Part:
    """A diary made playable."""
    found: Sequence[Entry] = list(entries(form, text.splitlines()))
    return Part(device_id, zone, found, ahead_days)
