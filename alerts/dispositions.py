"""What a person may say an episode was, in codes: what each needs, how long it rests, if it was of use."""

from enum import StrEnum
from typing import Final, NamedTuple


class Rest(StrEnum):
    """How long the same severity stays quiet afterwards (lengths: `policy.Policy`)."""

    SHORT = "short"  # something was done: look again soon
    LONG = "long"  # nothing new to know


class Disposition(NamedTuple):
    label: str  # on the button
    said: str  # in a sentence: "Ana contacted the patient"
    useful: bool  # the alert led to something: the burden page's share actioned
    note: bool  # a note is required
    rest: Rest


_USEFUL: Final = True
_NOT_USEFUL: Final = False
_NOTE: Final = True
_NO_NOTE: Final = False

DISPOSITIONS: Final[dict[str, Disposition]] = {
    "contacted": Disposition("Contacted the patient", "contacted the patient", _USEFUL, _NOTE, Rest.SHORT),
    "plan_changed": Disposition(
        "Treatment or plan changed", "changed treatment or plan", _USEFUL, _NOTE, Rest.SHORT
    ),
    "emergency": Disposition(
        "Sent to emergency care", "sent the patient to emergency care", _USEFUL, _NOTE, Rest.SHORT
    ),
    "self_care": Disposition(
        "Patient had already acted", "found that the patient had already acted", _USEFUL, _NO_NOTE, Rest.SHORT
    ),
    "technique": Disposition(
        "Measuring technique", "found a problem of measuring technique", _USEFUL, _NO_NOTE, Rest.SHORT
    ),
    "device": Disposition(
        "Device or data problem", "found a device or data problem", _NOT_USEFUL, _NO_NOTE, Rest.SHORT
    ),
    "seen": Disposition(
        "Seen, nothing to do", "saw it; there was nothing to do", _NOT_USEFUL, _NO_NOTE, Rest.SHORT
    ),
    "known": Disposition(
        "Known, as expected", "found it known and as expected", _NOT_USEFUL, _NO_NOTE, Rest.LONG
    ),
    "noise": Disposition("Not useful", "found it not useful", _NOT_USEFUL, _NO_NOTE, Rest.LONG),
    "other": Disposition("Something else", "settled it", _NOT_USEFUL, _NOTE, Rest.SHORT),
}
"""Codes are for ever: they lie in transitions and in alerts.v1. Labels may be reworded."""


def refusal(code: str, note: str) -> str | None:
    """Why this disposition cannot be recorded as it stands, or None.

    >>> refusal("contacted", "")
    'Contacted the patient needs a note: what was said and done.'
    >>> refusal("noise", "") is None
    True
    >>> refusal("shrug", "")
    'Choose what it was.'
    """
    known = DISPOSITIONS.get(code)
    if known is None:
        return "Choose what it was."
    if known.note and not note.strip():
        return f"{known.label} needs a note: what was said and done."
    return None
