"""Qube-Vital (Raspberry CM4) over MQTT: like AVA4, but one device per message, and a person's identity.

The citizen number, names, date of birth and sex are kept as a claim to compare with the registry. They are
believed by nobody, printed nowhere, and their presence is flagged: a payload is no place for them.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from ingest.devices import ava4, document, field
from ingest.devices.measurement import Answer, Flag, Reason, Refusal, refuse

BUDDHIST_ERA = 543  # years ahead of the common era
SEXES = {"1": "male", "2": "female"}


def decode(raw: bytes) -> Answer:
    """A status message or one reading, with what the message claims about the person.

    >>> (said,) = decode(b'{"type":"reportAttribute","citiz":"0","data":{"value":{"bp_high":120,"bp_low":78}}}')
    >>> said.systolic, *said.flags
    (120.0, <Flag.IDENTITY_IN_PAYLOAD: 'identity_in_payload'>)
    """
    message = document.read(raw, largest=ava4.LARGEST)
    if isinstance(message, Refusal):
        return (message,)
    if not isinstance(message, dict):
        return refuse(Reason.WRONG_TYPE, "the message is not one JSON object")
    status = ava4.status_of(message)
    if status is not None:
        return (status,)
    data = field.inner(message, "data")
    values = field.inner(data, "value")
    if not values:
        return refuse(Reason.NOTHING_HERE, "no reading and no event in the message")
    about = ava4.about_gateway(message)
    claimed = _claimed(message)
    if claimed:
        about["claimed"] = claimed
        about["flags"] = (Flag.IDENTITY_IN_PAYLOAD,)
    return (ava4.reading(data, values, about),)


def _claimed(message: Mapping[str, Any]) -> dict[str, str]:
    sex = field.text(message, "gender")
    return field.claims(
        national_id=field.text(message, "citiz"),
        name=_name(field.text(message, "nameEN", "nameTH")),
        born=_born(field.text(message, "brith", "birth")),
        sex=SEXES.get(sex, sex) if sex is not None else None,
    )


def _name(text: str | None) -> str | None:
    """`Mr.#Given##Family` as it would be written.

    >>> _name("Mr.#DEV##HV01")
    'Mr. DEV HV01'
    """
    return " ".join(text.replace("#", " ").split()) or None if text is not None else None


def _born(text: str | None) -> str | None:
    """A Buddhist-era yyyymmdd in the common era.

    >>> _born("25220713"), _born("25220230"), _born("x")
    ('1979-07-13', None, None)
    """
    if text is None or len(text) != 8 or not text.isascii() or not text.isdigit():  # noqa: PLR2004  yyyymmdd
        return None
    try:
        return date(int(text[:4]) - BUDDHIST_ERA, int(text[4:6]), int(text[6:])).isoformat()
    except ValueError:
        return None
