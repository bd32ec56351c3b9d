"""Who is there: the newest each gateway and device said about itself, gathered so that it is written in batches."""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from ingest import wire
from ingest.verdict import News


class Presence(NamedTuple):
    """The newest that is known of a gateway; None: it did not say."""

    gateway_id: str
    at: datetime
    online: bool | None = None
    clock_error: timedelta | None = None  # our clock minus its clock
    outbox: int | None = None
    fullness: float | None = None
    agent: str | None = None


class Told(NamedTuple):
    """What is to be written down."""

    gateways: list[Presence]
    devices: list[tuple[str, News]]  # gateway and what its device said


class Roll:
    """The newest of everybody since it was last written down. Bounded by the gateways and devices there are."""

    def __init__(self) -> None:
        self._gateways: dict[str, Presence] = {}
        self._devices: dict[str, tuple[str, News]] = {}

    def heartbeat(self, gateway_id: str, payload: bytes, now: datetime) -> None:
        """A heartbeat that makes no sense is nobody's harm and nobody's news."""
        try:
            beat = msgspec.json.decode(payload, type=wire.Heartbeat)
            error = now - beat.at
        except (msgspec.MsgspecError, ValueError, OverflowError):
            return
        self._gateways[gateway_id] = Presence(
            gateway_id,
            now,
            online=True,
            clock_error=error,
            outbox=beat.outbox,
            fullness=beat.full,
            agent=beat.agent,
        )

    def status(self, gateway_id: str, payload: bytes, now: datetime) -> None:
        """Online or offline, said by the gateway or by its last will."""
        try:
            said = msgspec.json.decode(payload, type=wire.Status)
        except (msgspec.MsgspecError, ValueError):
            return
        before = self._gateways.get(gateway_id, Presence(gateway_id, now))
        self._gateways[gateway_id] = before._replace(
            at=now, online=said.online, agent=said.agent or before.agent
        )

    def news(self, gateway_id: str, said: News) -> None:
        """A device spoke of itself."""
        self._devices[said.device_id] = gateway_id, said

    def told(self) -> Told:
        """Everything not written down yet."""
        return Told(list(self._gateways.values()), list(self._devices.values()))

    def written(self, told: Told) -> None:
        """Forget what was written, unless something newer came in the meantime."""
        for presence in told.gateways:
            if self._gateways.get(presence.gateway_id) is presence:
                del self._gateways[presence.gateway_id]
        for pair in told.devices:
            if self._devices.get(pair[1].device_id) is pair:
                del self._devices[pair[1].device_id]
