"""The agent in the home: sends what the outbox holds until ingest answers for it, through whatever network there is.

1. A reading is in the outbox, on disk, before it is sent.
2. It is sent at QoS 1. A PUBACK other than 0 means not delivered, and 0 means only that the broker has it in its hands.
3. It leaves the outbox when ingest's answer names it, as safe in Kafka or as refused for good.
4. Unanswered it is sent again: after twice the usual time of an answer, then twice that, up to five minutes, jittered.
5. A command is answered for with what became of it, also when it comes again. Settings outlive a restart.
6. A certificate in its last month asks for the next; when that comes, the line is dialled anew with it.
"""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from ingest import wire
from ingest.gateway import credential
from ingest.gateway.credential import Files
from ingest.gateway.outbox import FullError, Outbox, Row
from ingest.mqtt import DELIVERED, Line, LineDropped

log = structlog.get_logger()

IN_FLIGHT = 50
HEARTBEAT_S = 30.0
HOUSEKEEPING_S = 3_600.0
FULL_PAUSE_S = 1.0
LEAST_WAIT_S, MOST_WAIT_S = 0.2, 300.0
LEAST_REDIAL_S, MOST_REDIAL_S = 0.25, 30.0
RENEW_AGAIN_S = 4_000.0  # ingest takes one renewal an hour
SETTINGS, RENEW = (
    "settings",
    "renew",
)  # notes in the outbox: how to work; whether somebody wants a new certificate


class _Flight:
    """One row on its way."""

    __slots__ = ("due", "row", "sent_at", "told", "tries", "wait")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.due = 0.0
        self.wait = 0.0
        self.tries = 0
        self.sent_at = 0.0
        self.told: asyncio.Future[int] | None = None  # the broker's answer, which is not ingest's


class Agent:
    """One gateway. `put` takes readings in at any time; `run` brings them over."""

    def __init__(
        self,
        gateway_id: str,
        outbox: Outbox,
        dial: Callable[[], AbstractAsyncContextManager[Line]],
        *,
        clock: Callable[[], datetime],
        version: str,
        in_flight: int = IN_FLIGHT,
        heartbeat_s: float = HEARTBEAT_S,
        files: Files | None = None,
    ) -> None:
        self._id, self._outbox, self._dial, self._clock, self._version = (
            gateway_id,
            outbox,
            dial,
            clock,
            version,
        )
        self._most, self._heartbeat_s = in_flight, heartbeat_s
        self._files = files
        self._asked_at = -RENEW_AGAIN_S
        self._redial = asyncio.Event()
        self._apply(outbox.note(SETTINGS))
        self.renewed = asyncio.Event()  # set when a new certificate has taken the old one's place
        self.no_renewal = ""  # why the last one that came did not
        self._flights: dict[UUID, _Flight] = {}
        self._after = 0  # rows up to here have been taken into flight
        self._work = asyncio.Event()
        self._usual_s = 0.5  # a smoothed time from sending to ingest's answer
        self.settled = asyncio.Event()  # set whenever ingest has answered for something
        self.undelivered = 0  # PUBACKs that were not 0

    def put(self, readings: Iterable[tuple[UUID, bytes]], *, notes: Iterable[tuple[str, str]] = ()) -> int:
        """Take readings in; when this returns they are on disk. Raises FullError rather than overwrite anything."""
        new = self._outbox.put(readings, notes=notes)
        self._work.set()
        return new

    async def take_in(
        self, readings: Sequence[tuple[UUID, bytes]], *, notes: Sequence[tuple[str, str]] = ()
    ) -> int:
        """As `put`, but waits for room: a device keeps its memory until the gateway has taken it over."""
        while True:
            try:
                return self.put(readings, notes=notes)
            except FullError as full:
                log.error("gateway.outbox_full", why=str(full))  # noqa: TRY400 - the trace would say no more
                await asyncio.sleep(FULL_PAUSE_S)

    async def run(self, stopping: asyncio.Event) -> None:
        """Hold a line, a new one after each loss, until `stopping`."""
        wait = LEAST_REDIAL_S
        while not stopping.is_set():
            try:
                async with self._dial() as line:
                    wait = LEAST_REDIAL_S
                    await self._hold(line, stopping)
            except LineDropped as dropped:
                log.info("gateway.line_dropped", why=str(dropped))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter, not a secret
                        await stopping.wait()
                wait = min(wait * 2, MOST_REDIAL_S)

    async def _hold(self, line: Line, stopping: asyncio.Event) -> None:
        """Send, listen and beat on one line; the first to end ends the others."""
        self._again()  # whatever was under way on the last line may be lost
        self._redial.clear()
        line.tell(wire.status(self._id), _json(wire.Status(online=True, agent=self._version)))
        parts = [
            asyncio.create_task(part, name=f"gateway.{name}")
            for name, part in (
                ("send", self._send(line)),
                ("hear", self._hear(line)),
                ("beat", self._beat(line)),
                ("stop", stopping.wait()),
                ("redial", self._redial.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                # the last beat may be older than the last answer, and what it said would stand for days
                self._say_how_i_am(line)
                with contextlib.suppress(LineDropped, TimeoutError):
                    async with asyncio.timeout(1):
                        await line.tell(
                            wire.status(self._id), _json(wire.Status(online=False, agent=self._version))
                        )
                return
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _send(self, line: Line) -> None:
        """Keep up to `in_flight` rows on their way, the oldest first."""
        loop = asyncio.get_running_loop()
        while True:
            self._work.clear()
            self._fill()
            now = loop.time()
            due = [flight for flight in self._flights.values() if flight.due <= now and _settled(flight.told)]
            for flight in due:
                self._tell(line, flight, now)
            resting = [flight.due for flight in self._flights.values() if _settled(flight.told)]
            pause = min(resting, default=now + HOUSEKEEPING_S) - loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.0)):
                    await self._work.wait()

    def _fill(self) -> None:
        """Take the next unsent rows into flight."""
        while len(self._flights) < self._most:
            rows = self._outbox.unsent(after=self._after, most=self._most - len(self._flights))
            if not rows:
                return
            self._after = rows[-1].row
            large = [row for row in rows if len(row.payload) > wire.LARGEST]
            if large:  # the broker would hang up on it, again and again
                with contextlib.suppress(FullError):  # then it is refused after the next start
                    self._outbox.settle([row.id for row in large], now=self._clock(), refused="too-large")
                log.error("gateway.too_large", rows=len(large))
            for row in rows:
                if len(row.payload) <= wire.LARGEST and row.id not in self._flights:
                    self._flights[row.id] = _Flight(row)

    def _tell(self, line: Line, flight: _Flight, now: float) -> None:
        flight.tries += 1
        flight.sent_at = now
        flight.wait = (
            min(flight.wait * 2, MOST_WAIT_S) if flight.wait else max(2 * self._usual_s, LEAST_WAIT_S)
        )
        flight.due = now + flight.wait * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
        flight.told = line.tell(wire.readings(self._id), flight.row.payload)
        flight.told.add_done_callback(self._told)

    def _told(self, told: asyncio.Future[int]) -> None:
        """The broker has it, or not; either way only ingest's answer counts."""
        if not told.cancelled() and told.exception() is None and told.result() != DELIVERED:
            self.undelivered += 1
            log.warning("gateway.not_delivered", code=told.result())
        self._work.set()

    def _again(self) -> None:
        """Everything unanswered is due now, from the beginning."""
        self._flights.clear()
        self._after = 0
        self._work.set()

    # -- hearing ------------------------------------------------------------------------------------------------------

    async def _hear(self, line: Line) -> None:
        """Settle what ingest answered for, then let the broker forget the answer."""
        while True:
            batch = await line.take(100)
            try:
                for heard in batch.messages:
                    if heard.topic == wire.answers(self._id):
                        self._answered(heard.payload)
                    elif heard.topic == wire.commands(self._id):
                        self._commanded(line, heard.payload)
            except FullError as full:  # what cannot be written down is sent again, and answered again
                log.error("gateway.outbox_full", why=str(full))  # noqa: TRY400 - the trace would say no more
            batch.acknowledge()

    def _answered(self, payload: bytes) -> None:
        try:
            answer = msgspec.json.decode(payload, type=wire.Answer)
        except (msgspec.MsgspecError, ValueError):
            log.error("gateway.answer_not_understood")  # noqa: TRY400 - the trace would say no more
            return
        now = self._clock()
        acked = [self._ours(name) for name in answer.acked]
        if acked:
            self._outbox.settle(acked, now=now)
        reasons: defaultdict[str, list[UUID]] = defaultdict(list)
        for no in answer.refused:
            reasons[no.reason].append(self._ours(no.id))
        for reason, ids in reasons.items():
            self._outbox.settle(ids, now=now, refused=reason)
        self._learn([*acked, *(name for ids in reasons.values() for name in ids)])
        self._work.set()
        self.settled.set()

    def _ours(self, name: UUID) -> UUID:
        """Bytes that ingest could not read are answered for under a name made from them."""
        if name in self._flights:
            return name
        named = (
            flight for flight in self._flights.values() if wire.nameless(self._id, flight.row.payload) == name
        )
        return next((flight.row.id for flight in named), name)

    def _learn(self, ids: list[UUID]) -> None:
        """An answer tells how long answers take, and that whoever answers is there: the others need not wait long."""
        now = asyncio.get_running_loop().time()
        answered = [flight for name in ids if (flight := self._flights.pop(name, None)) is not None]
        for flight in answered:
            if flight.tries == 1:
                self._usual_s += 0.1 * (now - flight.sent_at - self._usual_s)
        patience = max(2 * self._usual_s, LEAST_WAIT_S)
        for flight in self._flights.values() if answered else ():
            if flight.wait > 2 * patience:
                flight.wait = 0.0
                flight.due = min(flight.due, now + patience * random.uniform(0.0, 1.0))  # noqa: S311 - jitter

    # -- commands -----------------------------------------------------------------------------------------------------

    def _commanded(self, line: Line, payload: bytes) -> None:
        """Do it and answer for it. What cannot be understood is answered for too, if it has a name."""
        try:
            command = msgspec.json.decode(payload, type=wire.Command)
        except (msgspec.MsgspecError, ValueError):
            log.error("gateway.command_not_understood")  # noqa: TRY400 - the trace would say no more
            with contextlib.suppress(msgspec.MsgspecError, ValueError):
                named = msgspec.json.decode(payload, type=_Named)
                self._answer(line, wire.Done(id=named.id, ok=False, detail="not understood"))
            return
        match command:
            case wire.Resync(id=name, since=since):
                again = self._outbox.reopen(since) if since is not None else 0
                log.info("gateway.resync", rows=again)
                if name is not None:
                    self._answer(line, wire.Done(id=name, ok=True, detail=f"{again} sent again"))
                self._again()
            case wire.Settings():
                kept = msgspec.json.encode(
                    self._kept_settings() | msgspec.to_builtins(command) | {"id": str(command.id)}
                ).decode()
                self._outbox.put([], notes=[(SETTINGS, kept)])
                self._apply(kept)
                self._answer(line, wire.Done(id=command.id, ok=True))
                self._work.set()
            case wire.Certificate():
                self._certified(line, command)

    def _certified(self, line: Line, command: wire.Certificate) -> None:
        if self._files is None:
            trouble: str | None = "no certificate of mine to replace"
        else:
            trouble = credential.accept(self._files, command.certificate, self._id, now=self._clock())
        answered = self._answer(line, wire.Done(id=command.id, ok=trouble is None, detail=trouble or ""))
        if trouble is None:
            self._outbox.put([], notes=[(RENEW, "")])
            log.info("gateway.renewed")
            self.renewed.set()
            answered.add_done_callback(lambda _: self._redial.set())  # the broker has heard it
        else:
            self.no_renewal = trouble
            log.error("gateway.certificate_refused", why=trouble)

    def _answer(self, line: Line, done: wire.Done) -> "asyncio.Future[int]":
        return line.tell(wire.done(self._id), _json(done))

    def _kept_settings(self) -> dict[str, object]:
        kept = self._outbox.note(SETTINGS)
        return {} if kept is None else msgspec.json.decode(kept, type=dict[str, object])

    def _apply(self, kept: str | None) -> None:
        """Work by these settings; what they do not name stays."""
        if kept is None:
            return
        told = msgspec.json.decode(kept, type=wire.Settings)
        self._heartbeat_s = told.heartbeat_s or self._heartbeat_s
        self._most = told.in_flight or self._most

    def renew(self, line: Line) -> None:
        """Ask for the next certificate over this line."""
        if self._files is not None:
            self._asked_at = asyncio.get_running_loop().time()
            line.tell(
                wire.renewal(self._id), _json(wire.Renewal(request=credential.request(self._files, self._id)))
            )

    def _renew_in_time(self, line: Line) -> None:
        if self._files is None or asyncio.get_running_loop().time() - self._asked_at < RENEW_AGAIN_S:
            return
        if self._outbox.note(RENEW) or credential.due(self._files, now=self._clock()):
            log.info("gateway.renewing")
            self.renew(line)

    # -- presence -----------------------------------------------------------------------------------------------------

    async def _beat(self, line: Line) -> None:
        """Heartbeats, and the outbox kept tidy."""
        tidied = -HOUSEKEEPING_S
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - tidied >= HOUSEKEEPING_S:
                with contextlib.suppress(FullError):  # there is nothing to be tidied with
                    self._outbox.forget(now=self._clock())
                tidied = loop.time()
            self._say_how_i_am(line)
            self._renew_in_time(line)
            await asyncio.sleep(self._heartbeat_s)

    def _say_how_i_am(self, line: Line) -> None:
        full = self._outbox.fullness
        if self._outbox.alarming:
            log.error("gateway.outbox_filling", full=round(full, 2), unsent=self._outbox.depth)
        beat = wire.Heartbeat(
            at=self._clock(), outbox=self._outbox.depth, full=min(full, 1.0), agent=self._version
        )
        line.tell(wire.heartbeat(self._id), _json(beat), qos=0)


class _Named(msgspec.Struct):
    """As much of a command as it takes to answer for it."""

    id: UUID


def _settled(told: asyncio.Future[int] | None) -> bool:
    """Whether it may be sent (again): while the broker has not answered, another copy would only crowd the line."""
    return told is None or told.done()


def _json(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)
