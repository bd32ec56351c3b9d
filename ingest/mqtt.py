"""One MQTT v5 connection as one object: what was heard on it can only be acknowledged on it.

paho runs inside the event loop (no network thread that could die unnoticed) and never reconnects by itself:
losing the line ends the object, and a new line is a new object.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DELIVERED = 0
"""The only PUBACK code that means delivered. 16, "no matching subscribers", is below 128 and yet nobody has it."""

FOREVER = 0xFFFFFFFF
"""Session expiry: without it the session of a v5 client ends with its connection, and what was queued is gone."""

PACKETS_AT_ONCE = 200  # then other tasks get their turn
GULP = 16 * 1024  # bytes: the most a TLS record holds


class LineDropped(Exception):
    """The connection is over, for whatever reason: open another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker listens and who we are to it: the certificate's name is our user and client id."""

    host: str
    port: int
    client_id: str
    ca: Path
    cert: Path
    key: Path
    keepalive_s: int = 30
    session_s: int = FOREVER  # how long the broker keeps what it has for us while we are away
    patience_s: float = 10.0  # for connecting and subscribing


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker says for us, `after_s` seconds after we vanished without a word."""

    topic: str
    payload: bytes
    after_s: int = 10


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as it came."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    again: bool  # the broker says that it sent this before


class Batch:
    """Messages heard on one line, in order. Only this object can acknowledge them, and only on that line."""

    __slots__ = ("_line", "messages")

    def __init__(self, line: "Line", messages: list[Heard]) -> None:
        self._line, self.messages = line, messages

    def acknowledge(self) -> None:
        """Tell the broker that it may forget them. On a dropped line nothing happens: they will come again."""
        self._line._acknowledge(self.messages)  # noqa: SLF001 - the batch is the line's own receipt


class Line:
    """One connection; open it with `dial`. Hears at most `room` messages ahead of who takes them."""

    def __init__(self, client: paho.Client, *, topics: Sequence[str], room: int) -> None:
        self.session_present = False
        """Whether the broker still knew us. False after a reconnect: it has lost what it had queued for us."""
        self._client, self._topics, self._room = client, topics, room
        self._loop = asyncio.get_running_loop()
        self._heard: deque[Heard] = deque()
        self._taker: asyncio.Future[None] | None = None
        self._telling: dict[int, asyncio.Future[int]] = {}
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._opened.add_done_callback(_seen)  # a broker that cannot be reached ends it before anybody waits
        self._over = asyncio.Event()
        self._why = ""
        self._leaving = False
        self._reading: int | None = None  # the file descriptor the loop watches
        self._pulse: asyncio.TimerHandle | None = None
        self._packets = 0  # counted to see whether a read brought one

    # -- what the rooms use ------------------------------------------------------------------------------------------

    async def take(self, most: int) -> Batch:
        """The next messages, at least one: whatever has come by now, a lone one at once. LineDropped when it is over."""
        while not self._heard or self._over.is_set() or self._leaving:
            if self._over.is_set() or self._leaving:
                raise LineDropped(self._why)
            self._taker = self._loop.create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        batch = [self._heard.popleft() for _ in range(min(most, len(self._heard)))]
        if self._reading is None and len(self._heard) <= self._room // 2:
            self._listen()
        return Batch(self, batch)

    def tell(self, topic: str, payload: bytes, *, qos: int = 1) -> asyncio.Future[int]:
        """Publish. The future is the broker's reason code (anything but DELIVERED is not), or LineDropped."""
        told: asyncio.Future[int] = self._loop.create_future()
        if self._over.is_set():
            told.set_exception(LineDropped(self._why))
        else:
            info = self._client.publish(topic, payload, qos=qos)
            if info.rc != paho.MQTT_ERR_SUCCESS:
                told.set_exception(LineDropped(f"publish refused locally: {info.rc.name}"))
            elif qos == 0:
                told.set_result(DELIVERED)
            else:
                self._telling[info.mid] = told
        told.add_done_callback(_seen)
        return told

    def leave(self) -> None:
        """Take no more messages; what was taken can still be acknowledged and answered."""
        self._leaving = True
        self._why = self._why or "we are leaving"
        self._wake()

    @property
    def waiting(self) -> int:
        """How many messages were heard and not taken yet."""
        return len(self._heard)

    @property
    def dropped(self) -> asyncio.Event:
        """Set when the connection is over."""
        return self._over

    # -- paho's side -------------------------------------------------------------------------------------------------

    def _hear(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self._packets += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no topic of ours; refused like any other stranger
        self._heard.append(Heard(topic, bytes(message.payload), message.mid, message.qos, message.dup))
        if len(self._heard) >= self._room:
            self._pause()
        self._wake()

    def _connected(
        self, client: paho.Client, _userdata: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            self._end(f"the broker refused us: {code}")
            return
        self.session_present = bool(flags.session_present)
        if self._topics:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._topics])
        if not self._topics or self.session_present:  # its answer may be behind a backlog that fills our room
            self._opened.set_result(None)

    def _subscribed(
        self, _client: paho.Client, _userdata: Any, _mid: int, codes: list[Any], _properties: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            self._end(f"the broker refused our subscription: {codes}")
        elif not self._opened.done():
            self._opened.set_result(None)

    def _published(self, _client: paho.Client, _userdata: Any, mid: int, code: Any, _properties: Any) -> None:
        self._packets += 1
        told = self._telling.pop(mid, None)
        if told is not None and not told.done():
            told.set_result(int(code.value))

    def _disconnected(
        self, _client: paho.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        self._end(f"disconnected: {code}")

    # -- the loop's side ---------------------------------------------------------------------------------------------

    async def _open(self, broker: Broker) -> None:
        client = self._client
        client.on_message = self._hear
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_disconnect = self._disconnected
        client.on_socket_close = self._socket_closing
        client.on_socket_register_write = self._something_to_write
        client.on_socket_unregister_write = self._nothing_to_write
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = broker.session_s
        properties.ReceiveMaximum = min(self._room, 65_535)
        dialling = asyncio.ensure_future(
            asyncio.to_thread(
                client.connect,
                broker.host,
                broker.port,
                broker.keepalive_s,
                clean_start=False,
                properties=properties,
            )
        )
        try:
            await asyncio.shield(dialling)  # only the handshake blocks; it has its own timeout
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                await dialling
            raise
        except (OSError, ValueError) as error:
            raise LineDropped(f"cannot reach the broker: {type(error).__name__}") from error
        self._listen()
        self._beat()
        try:
            async with asyncio.timeout(broker.patience_s):
                await self._opened
        except TimeoutError:
            raise LineDropped("the broker did not answer in time") from None

    async def _close(self) -> None:
        """Say good-bye, so that the will is not spoken, and let go of the socket whatever happens."""
        self.leave()
        if not self._over.is_set():
            with contextlib.suppress(Exception):  # nothing that goes wrong here matters any more
                self._client.disconnect()
                self._client.loop_write()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._over.wait()
        self._end("closed")

    def _listen(self) -> None:
        sock = self._client.socket()
        if sock is None or self._over.is_set():
            return
        self._reading = sock.fileno()
        self._loop.add_reader(self._reading, self._readable)
        self._loop.call_soon(self._readable)  # TLS may hold decrypted bytes that no event announces

    def _pause(self) -> None:
        """Stop reading: the broker keeps the rest. If this lasts, the unanswered ping hangs up for us."""
        if self._reading is not None:
            self._loop.remove_reader(self._reading)
            self._reading = None

    def _readable(self) -> None:
        for _ in range(PACKETS_AT_ONCE):
            if self._reading is None:
                return
            before = self._packets
            try:
                self._client.loop_read()
            except Exception as error:  # noqa: BLE001 - whatever broke, the line must end loudly, not hang silently
                self._end(f"broken: {type(error).__name__}")
                return
            if self._packets == before:  # part of a packet, or nothing left
                break
        sock = self._client.socket()
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            self._loop.call_soon(self._readable)

    def _something_to_write(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._want_write)  # the first time from the thread that dialled

    def _nothing_to_write(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _want_write(self) -> None:
        sock = self._client.socket()
        if sock is not None and not self._over.is_set() and self._client.want_write():
            self._loop.add_writer(sock.fileno(), self._writable)

    def _writable(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as in _readable
            self._end(f"broken: {type(error).__name__}")
            return

    def _beat(self) -> None:
        """Once a second paho looks after its pings."""
        if self._over.is_set():
            return
        try:
            self._client.loop_misc()
        except Exception as error:  # noqa: BLE001 - as in _readable
            self._end(f"broken: {type(error).__name__}")
            return
        self._pulse = self._loop.call_later(1.0, self._beat)

    def _socket_closing(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        with contextlib.suppress(ValueError, RuntimeError):
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
        self._reading = None

    def _end(self, why: str) -> None:
        if self._over.is_set():
            return
        self._why = why
        self._over.set()
        if self._pulse is not None:
            self._pulse.cancel()
        sock = self._client.socket()
        if sock is not None:  # paho's own way of closing would wait for a lock that its callbacks hold
            self._socket_closing(self._client, None, sock)
            sock.close()
        if not self._opened.done():
            self._opened.set_exception(LineDropped(why))
        for told in self._telling.values():
            if not told.done():
                told.set_exception(LineDropped(why))
        self._telling.clear()
        self._heard.clear()  # never acknowledged, so they come again on the next line
        self._wake()

    def _wake(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def _acknowledge(self, messages: Sequence[Heard]) -> None:
        for message in messages:
            if self._over.is_set():
                return
            if message.qos:
                self._client.ack(message.mid, message.qos)


class _Gulping(ssl.SSLSocket):
    """Reads all that TLS has at once: paho asks for a packet byte by byte, and each question is a call into OpenSSL."""

    _kept = b""
    _at = 0

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """At most `buflen` bytes; SSLWantReadError when none are here, nothing at the end of the connection."""
        if self._at == len(self._kept):
            self._kept, self._at = super().recv(GULP, flags), 0
        piece = self._kept[self._at : self._at + buflen]
        self._at += len(piece)
        return piece

    def pending(self) -> int:
        """What can be read without waiting, ours included."""
        return len(self._kept) - self._at + super().pending()


def _context(broker: Broker) -> ssl.SSLContext:
    """The broker must show a certificate of our authority and its name; we show ours."""
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.load_cert_chain(str(broker.cert), str(broker.key))
    context.sslsocket_class = _Gulping
    return context


def _seen(told: "asyncio.Future[Any]") -> None:
    """Nobody has to wait for an answer: an unanswered one is no unhandled exception."""
    if not told.cancelled():
        told.exception()


@asynccontextmanager
async def dial(
    broker: Broker,
    *,
    topics: Sequence[str],
    will: Will | None = None,
    room: int = 1_000,
    in_flight: int = 100,
) -> AsyncIterator[Line]:
    """Open a line, subscribed to `topics`; raises LineDropped if the broker cannot be had.

    `room` bounds what is heard ahead, `in_flight` what is told and not yet answered.
    """
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5,
        manual_ack=True,
        reconnect_on_failure=False,
    )
    client.tls_set_context(_context(broker))
    client.connect_timeout = broker.patience_s
    client.max_inflight_messages_set(in_flight)
    if will is not None:
        properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        properties.WillDelayInterval = will.after_s
        client.will_set(will.topic, will.payload, qos=1, properties=properties)
    line = Line(client, topics=topics, room=room)
    try:
        await line._open(broker)  # noqa: SLF001 - dial is the line's constructor
        yield line
    finally:
        await line._close()  # noqa: SLF001 - and its end
