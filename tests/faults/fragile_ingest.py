"""The usual mistake, for contrast: ingest that believes its senders to send what they should, and has nothing around it."""

import json
import os
from datetime import datetime
from uuid import UUID

from deploy import lifecycle, main, settings
from ingest import service, wire
from ingest.devices.measurement import Measurement
from ingest.events import Kind
from ingest.sorting import Message


def read(gateway_id, family, payload, *, place=None):
    """What a message says, if it says it."""
    said = json.loads(payload)
    found = Measurement(
        kind=Kind.GLUCOSE,
        device=said["device"],
        glucose=float(said["glucose"]),
        device_time=datetime.fromisoformat(said["measured_at"]),
        message_id=UUID(said["id"]),
    )
    return Message(gateway_id, payload, (found,), place or wire.CANONICAL), None


if __name__ == "__main__":
    service.read = read
    lifecycle.live(main.SERVICES["ingest"], settings.read(os.environ))
