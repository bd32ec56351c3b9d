"""A scorer that dies of one reading, as a fault below Python would kill it; its patients' readings are otherwise scored."""

import os
import signal

from deploy import lifecycle, main, pump, settings
from risk.service import RiskRoom

DEADLY = 666.0  # mg/dL


class Fatal(RiskRoom):
    """Killed by the kernel in the middle of a batch that holds it."""

    async def handle(self, conn, events, *, now):
        if any(getattr(event, "glucose", None) == DEADLY for event in events):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().handle(conn, events, now=now)


class Uncounted(pump.Pump):
    """Broken on purpose: does not count how often it began without coming further."""

    async def _begin(self, tp):
        """Nothing."""


def missed_soon(**told):
    """Kafka misses a dead member after two seconds instead of ten: a test need not wait for that."""
    return CONSUMER(**(told | {"session_timeout_ms": 2_000, "heartbeat_interval_ms": 500}))


CONSUMER = pump.AIOKafkaConsumer

if __name__ == "__main__":
    main.RiskRoom = Fatal
    if os.environ.get("FATAL_UNCOUNTED"):
        main.Pump = Uncounted
    if os.environ.get("FATAL_MISSED_SOON"):
        pump.AIOKafkaConsumer = lambda *topics, **told: missed_soon(**told)
    lifecycle.live(main.SERVICES["risk"], settings.read(os.environ))
