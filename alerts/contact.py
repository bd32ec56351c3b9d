"""When somebody of the practice last spoke with a patient: in this queue, or on a care call that the house knows of."""

from datetime import datetime

import msgspec

from alerts.acts import Act


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """One live contact: when, by whom, and how as far as that is known ("care call, phone with daughter")."""

    at: datetime
    by_name: str
    how: str = ""


def contact_text(contact: Contact | None, act: Act) -> str:
    """When, by whom and how, as the row says it; empty for none."""
    if contact is None:
        return ""
    return f"{act.clock(contact.at)}, {contact.by_name}" + (f" ({contact.how})" if contact.how else "")
