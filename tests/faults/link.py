"""A bad line: a TCP proxy between two of our processes that cuts, swallows, delays, chokes, or flips one bit."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from enum import StrEnum

LATE_S = 5.0
BYTES_PER_S = 1024
CHUNK = 16 * 1024


class Weather(StrEnum):
    """What the line does to what goes over it."""

    FAIR = "as it should be"
    CUT = "cut (RST)"
    SILENT = "silent both ways"
    ONE_WAY = "answers vanish"
    LATE = "answers 5 s late"
    NARROW = "1 KB/s"


class Link:
    """Listens on a port of its own and passes everything on to `host:port`; `weather` may change at any moment.

    Swallowed bytes are gone: a connection that lost some stays silent when the weather clears, as one through a
    dead router does. `swap` replaces bytes of the answers: Kafka tells its clients where to go next.
    """

    def __init__(self, host, port, *, swap=None):
        self._to, self._swap = (host, int(port)), swap
        self.weather, self.flipped = Weather.FAIR, 0
        self._flip = None
        self._open, self._joined = set(), set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        if self._swap is not None:
            self._swap = (
                (self._swap, struct.pack(">i", self._to[1])),
                (self._swap, struct.pack(">i", self.port)),
            )
            self._swap = tuple(b"".join(parts) for parts in self._swap)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await asyncio.sleep(0.1)  # who is just being let in gets in: then both ends are known, and closed
        for joined in self._joined:
            joined.cancel()
        await asyncio.gather(*self._joined, return_exceptions=True)
        self.reset()
        await asyncio.sleep(0.01)  # the loop lets go of what was aborted in its next turns

    def reset(self):
        """Every connection ends with an RST, now."""
        for writer in list(self._open):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            writer.transport.abort()

    def turn(self, weather):
        self.weather = weather
        if weather is Weather.CUT:
            self.reset()

    def flip(self, marker=b""):
        """Flip one bit of the next bytes sent to the far side, behind `marker` if one is named."""
        self._flip = marker

    def _accept(self, reader, writer):
        self._open.add(writer)
        joined = asyncio.ensure_future(self._join(reader, writer))
        self._joined.add(joined)
        joined.add_done_callback(self._joined.discard)

    async def _join(self, reader, writer):
        if self.weather is Weather.CUT:
            self.reset()
        ends, ways = [writer], []
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
            ends.append(far_writer)
            self._open.add(far_writer)
            ways = [
                asyncio.ensure_future(self._carry(reader, far_writer, answers=False)),
                asyncio.ensure_future(self._carry(far_reader, writer, answers=True)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # nobody listens there: whoever called hears the same
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in ends:
                end.transport.abort()
                self._open.discard(end)

    async def _carry(self, reader, writer, *, answers):
        """One direction: read, hold back as long as the weather says, write. Ends with the connection."""
        loop = asyncio.get_running_loop()
        way, more = deque(), asyncio.Event()
        delivering = asyncio.ensure_future(self._deliver(way, more, writer))
        lost = False
        try:
            while data := await reader.read(CHUNK):
                if lost or self._swallows(answers):
                    lost = True  # and whatever comes after it: TCP would not deliver behind a hole
                    continue
                if answers and self._swap is not None:
                    data = data.replace(*self._swap)
                if not answers and self._flip is not None and self._flip in data:
                    data = self._flipped(data)
                late = LATE_S if answers and self.weather is Weather.LATE else 0.0
                way.append((loop.time() + late, data))
                more.set()
            if lost or self._swallows(answers):
                await asyncio.Event().wait()  # the good-bye is swallowed too
            while way:
                await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            delivering.cancel()

    def _swallows(self, answers):
        return self.weather is Weather.SILENT or (self.weather is Weather.ONE_WAY and answers)

    async def _deliver(self, way, more, writer):
        loop = asyncio.get_running_loop()
        while True:
            while not way:
                more.clear()
                await more.wait()
            due, data = way[0]
            await asyncio.sleep(max(0.0, due - loop.time()))
            while data:
                piece = data[: BYTES_PER_S // 4] if self.weather is Weather.NARROW else data
                data = data[len(piece) :]
                writer.write(piece)
                with contextlib.suppress(OSError):
                    await writer.drain()
                if self.weather is Weather.NARROW:
                    await asyncio.sleep(len(piece) / BYTES_PER_S)
            way.popleft()

    def _flipped(self, data):
        at = data.index(self._flip) + len(self._flip)
        at = min(at if self._flip else len(data) // 2, len(data) - 1)
        self._flip = None
        self.flipped += 1
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
