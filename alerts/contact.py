"""When somebody of the practice last spoke with a patient: in this queue, or on a care call that the house knows of."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from alerts.acts import Act


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """One live contact: when, by whom, and how as far as that is known ("care call, phone with daughter")."""

    at: datetime
    by_name: str
    how: str = ""


class CareCalls(Protocol):
    """Who spoke with patients elsewhere in the house: this room may not ask there, the composition root may."""

    async def last(self, conn: AsyncConnection, patients: Collection[UUID]) -> Mapping[UUID, Contact]:
        """Each patient's newest live contact, for those who had one."""
        ...


class NoCareCalls:
    """Only this queue's own contacts are known."""

    async def last(self, *_: object, **__: object) -> Mapping[UUID, Contact]:
        return {}


def contact_text(contact: Contact | None, act: Act) -> str:
    """When, by whom and how, as the row says it; empty for none."""
    if contact is None:
        return ""
    return f"{act.clock(contact.at)}, {contact.by_name}" + (f" ({contact.how})" if contact.how else "")
