"""The usual mistake, for contrast: ingest that acknowledges as soon as a message is queued, and brings it to Kafka later."""

import asyncio
import os

from deploy import lifecycle, main, settings
from ingest.stream import Stream

LATER_S = 0.2


class Hasty(Stream):
    """Says "kept" when it only means to."""

    def __init__(self, producer):
        super().__init__(producer)
        self._later = set()

    async def append(self, records):
        async def later():
            await asyncio.sleep(LATER_S)
            await Stream.append(self, records)

        task = asyncio.create_task(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


if __name__ == "__main__":
    main.Stream = Hasty
    lifecycle.live(main.SERVICES["ingest"], settings.read(os.environ))
