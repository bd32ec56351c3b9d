"""A gateway put together: outbox, line and agent, fed by a player or by a program."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import version
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from ingest import wire
from ingest.gateway.agent import RENEW, Agent
from ingest.gateway.credential import Files
from ingest.gateway.outbox import Outbox
from ingest.gateway.player import BEGUN, PLAYED, Frame, Part, Start, play, score, start
from ingest.mqtt import Broker, Will, dial

T = TypeVar("T")


class Sent(NamedTuple):
    """What became of it: what was settled this time, and what still waits from any."""

    acked: int
    refused: int
    unsent: int
    reasons: list[str]  # of the refusals
    known: int  # lines that the outbox had before


@asynccontextmanager
async def gateway(
    gateway_id: str, outbox: Path, broker: Broker, *, clock: Callable[[], datetime], stopping: asyncio.Event
) -> AsyncIterator[tuple[Agent, Outbox]]:
    """A running agent; it stops when the block ends."""
    will = Will(topic=wire.status(gateway_id), payload=msgspec.json.encode(wire.Status(online=False)))
    topics = (wire.answers(gateway_id), wire.commands(gateway_id))
    outbox.parent.mkdir(parents=True, exist_ok=True)
    with Outbox(outbox) as kept:
        agent = Agent(
            gateway_id,
            kept,
            lambda: dial(broker, topics=topics, will=will, room=200),
            clock=clock,
            version=version("lamplight"),
            files=Files(key=broker.key, cert=broker.cert),
        )
        running = asyncio.create_task(agent.run(stopping), name="gateway")
        try:
            yield agent, kept
        finally:
            stopping.set()
            await running


async def perform(
    gateway_id: str,
    outbox: Path,
    broker: Broker,
    parts: Sequence[Part],
    *,
    live_days: int,
    seconds_per_day: float,
    last_day_seconds: float | None = None,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
) -> None:
    """Play these parts through one gateway until `stopping`; a second performance goes on where the first ended."""
    async with gateway(gateway_id, outbox, broker, clock=clock, stopping=stopping) as (agent, kept):
        noted = kept.note(BEGUN)
        if noted is None:
            begun = start(
                clock(),
                live_days=live_days,
                seconds_per_day=seconds_per_day,
                zone=parts[0].zone,
                last_day_seconds=last_day_seconds,
            )
        else:
            begun = msgspec.json.decode(noted, type=Start)
        begun_note = (BEGUN, msgspec.json.encode(begun).decode())

        async def put(frames: Sequence[Frame], played: int) -> None:
            readings = [(frame.id, frame.payload) for frame in frames]
            await agent.take_in(readings, notes=[begun_note, (PLAYED, str(played))])

        await play(
            score(parts, begun),
            begun,
            put,
            played=int(kept.note(PLAYED) or 0),
            clock=clock,
            stopping=stopping,
        )


async def feed(
    gateway_id: str,
    outbox: Path,
    broker: Broker,
    source: BinaryIO,
    *,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
) -> Sent:
    """Send lines, each one canonical JSON; return when all are answered for, or at `stopping`."""
    begun = clock()
    async with gateway(gateway_id, outbox, broker, clock=clock, stopping=stopping) as (agent, kept):
        chunks = _read(source)
        rest, known = b"", 0
        while (chunk := await _unless(stopping, chunks.get())) is not None:
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk:
                lines.append(rest)
            readings = [named(gateway_id, line.strip()) for line in lines if line.strip()]
            known += len(readings) - await agent.take_in(readings)
            if not chunk:
                break
        while kept.depth and await _unless(stopping, agent.settled.wait()):
            agent.settled.clear()
        return Sent(*kept.counts(begun), kept.reasons(begun), known)


async def renew(
    gateway_id: str,
    outbox: Path,
    broker: Broker,
    *,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
) -> str | None:
    """Ask for a new certificate and wait for it; why the one that came is not good, if it is not."""
    ask_to_renew(outbox)
    async with gateway(gateway_id, outbox, broker, clock=clock, stopping=stopping) as (agent, _):
        if await _unless(stopping, agent.renewed.wait()):
            return None
        return agent.no_renewal or "none came"


def ask_to_renew(outbox: Path) -> None:
    """Leave word with the agent of this outbox, whether it runs or not: it asks with its next heartbeat."""
    outbox.parent.mkdir(parents=True, exist_ok=True)
    with Outbox(outbox) as kept:
        kept.put([], notes=[(RENEW, "asked")])


def named(gateway_id: str, line: bytes) -> tuple[UUID, bytes]:
    """A message and its id: the one in it, or the one that its bytes give it."""
    try:
        said = msgspec.json.decode(line, type=_Named)
    except (msgspec.MsgspecError, ValueError):
        return wire.nameless(gateway_id, line), line
    return said.id or wire.nameless(gateway_id, line), line


class _Named(msgspec.Struct):
    id: UUID | None = None


def _read(source: BinaryIO) -> asyncio.Queue[bytes]:
    """What a thread reads, as it comes; b"" is the end. The thread may block for ever and holds nobody up."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(2)

    def read() -> None:
        chunk = b"?"
        while chunk:
            chunk = source.read1(65_536) if isinstance(source, BufferedIOBase) else source.readline()
            with contextlib.suppress(RuntimeError, CancelledError):  # the loop is gone, and so are we
                asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()

    threading.Thread(target=read, name="gateway.read", daemon=True).start()
    return chunks


async def _unless(stopping: asyncio.Event, waiting: Coroutine[Any, Any, T]) -> T | None:
    """The result, or None when asked to stop first."""
    wanted, stop = asyncio.create_task(waiting), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({wanted, stop}, return_when=asyncio.FIRST_COMPLETED)
        return wanted.result() if wanted.done() else None
    finally:
        for task in (wanted, stop):
            task.cancel()
