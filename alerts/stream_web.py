"""Server-sent events: a hint that the queue moved, replayed from the database after a lost connection."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import msgspec
from fastapi import HTTPException, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from alerts import screen_store
from alerts.access import seen_by
from alerts.concerns import about
from alerts.desk_web import Desk, Doorbell, Who
from alerts.events import Move, Severity
from alerts.screen_store import Moved

PING_S = 15
LOOK_S = 20.0  # the bell is a hint: look by oneself this often
GATHER_S = 0.1  # the first move is told at once, what follows so soon after it together
LIFE_S = 600.0  # then the browser comes again, and is asked again who it is
EACH = 8  # open streams of one person in one process

_open: Counter[UUID] = Counter()


def stream(desk: Desk, bell: Doorbell, request: Request, since: int) -> EventSourceResponse:
    """What moved after `since`, and from then on as it happens."""
    who = desk.who(request)
    if _open[who.staff_id] >= EACH:
        raise HTTPException(
            429, "Too many of your pages are listening. Close some; this one still refreshes by itself."
        )
    return EventSourceResponse(
        _tell(desk, bell, request, who, since),
        ping=PING_S,
        ping_message_factory=lambda: ServerSentEvent(event="ping", data="still here"),
        send_timeout=10,
    )


async def _tell(
    desk: Desk, bell: Doorbell, request: Request, who: Who, since: int
) -> AsyncIterator[ServerSentEvent]:
    """Ask the database at every ring, and now and then without one."""
    told: deque[int] = deque(maxlen=2000)
    loop = asyncio.get_running_loop()
    ends = loop.time() + LIFE_S
    _open[who.staff_id] += 1
    try:
        with bell.listening(who.practice_id) as rung:
            yield ServerSentEvent(event="ping", data="listening", retry=2000)
            while loop.time() < ends:
                rung.clear()  # before asking: a ring while we ask is asked about again
                for moved, said in await _moved(desk, request, who, since, told):
                    since = max(since, moved.seq)
                    told.append(moved.seq)
                    yield ServerSentEvent(event="moved", id=str(since), data=said)
                await asyncio.sleep(GATHER_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await rung.wait()
    finally:
        _open[who.staff_id] -= 1


async def _moved(
    desk: Desk, request: Request, who: Who, since: int, told: deque[int]
) -> list[tuple[Moved, str]]:
    async with desk.transaction(request) as conn:
        found = await screen_store.moved_since(conn, since, told)
        mine = set(seen_by(who.role))
        found = [moved for moved in found if about(moved.concern).queue in mine]
        loud = [moved.patient_id for moved in found if _loud(moved)]
        names = await desk.patients(conn, loud) if loud else {}
    lines = []
    for moved in found:
        said = {
            "seq": moved.seq,
            "patient": str(moved.patient_id),
            "move": moved.move,
            "severity": moved.severity,
        }
        if _loud(moved) and moved.patient_id in names:
            said["say"] = f"Critical: {names[moved.patient_id].name}, {about(moved.concern).label.lower()}."
        lines.append((moved, msgspec.json.encode(said).decode()))
    return lines


def _loud(moved: Moved) -> bool:
    """Only what is newly critical is read out; everything else waits for the eye."""
    return moved.severity is Severity.CRITICAL and moved.move in (Move.OPENED, Move.WORSENED, Move.REOPENED)
