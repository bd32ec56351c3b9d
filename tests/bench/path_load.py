"""A lean load for the path bench: several gateways in one process, MQTT v5 over TLS, QoS 1, every answer counted.

It reads one JSON plan from its first line of input, connects, says `ready`, and sends at the next line. Then it says
in one JSON line what it sent and when, and what was answered. A hand-written codec of six packets, because a load
that costs more than what it measures measures itself.
"""

import asyncio
import json
import ssl
import struct
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import json as fast

SUBSCRIBED, PUBLISHED, RECEIVED, WELCOME = 0x90, 0x30, 0x40, 0x20
CALM = (
    (118, 74, 66),
    (124, 79, 71),
    (121, 76, 63),
    (127, 81, 69),
    (115, 72, 74),
    (129, 78, 67),
    (123, 75, 72),
)
RAISED = (192, 118, 88)
APART = timedelta(minutes=3)


def text(said: bytes) -> bytes:
    return struct.pack(">H", len(said)) + said


def packet(kind: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, seven = divmod(size, 128)
        length += bytes([seven | (0x80 if size else 0)])
        if not size:
            return bytes([kind]) + length + body


def reading(name: int, device: str, seq: int, at: datetime, values: tuple[int, int, int]) -> bytes:
    systolic, diastolic, pulse = values
    return (
        f'{{"id":"{UUID(int=name)}","device":"{device}","kind":"bp","seq":{seq},"gateway_time":"{at.isoformat()}",'
        f'"systolic":{systolic},"diastolic":{diastolic},"pulse":{pulse}}}'
    ).encode()


class Gateway(asyncio.Protocol):
    """One connection: sends what it is given while fewer than `window` are unanswered by the application."""

    def __init__(self, name: str, window: int, answered: dict[int, float]) -> None:
        self.name, self._window, self._answered = name, window, answered
        self._topic = text(f"v1/{name}/readings".encode())
        self._pid, self._open = 0, 0
        self._buffer = bytearray()
        self._room = asyncio.Event()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refused = self.pubacks = 0

    def connection_made(self, transport) -> None:
        self._out = transport
        transport.write(packet(0x10, text(b"MQTT") + b"\x05\x02\x00\x3c\x00" + text(self.name.encode())))

    def connection_lost(self, error) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"{self.name} was hung up: {error}"))
        self._room.set()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at, end = 0, len(buffer)
        while end - at >= 2:
            size, shift, body = 0, 0, at + 1
            while body < end:
                size |= (buffer[body] & 0x7F) << shift
                body += 1
                if not buffer[body - 1] & 0x80:
                    break
                shift += 7
            else:
                break
            if body + size > end:
                break
            self._heard(buffer[at], memoryview(buffer)[body : body + size].tobytes())
            at = body + size
        del buffer[:at]

    def _heard(self, kind: int, body: bytes) -> None:
        if kind == RECEIVED:
            self.pubacks += 1
        elif kind & 0xF0 == PUBLISHED:
            self._take(kind, body)
        elif kind == WELCOME:
            self._out.write(packet(0x82, b"\x00\x01\x00" + text(f"ack/{self.name}".encode()) + b"\x01"))
        elif kind == SUBSCRIBED:
            self.ready.set_result(None)

    def _take(self, kind: int, body: bytes) -> None:
        (length,) = struct.unpack_from(">H", body)
        at = 2 + length
        if kind & 0x06:
            self._out.write(packet(0x40, body[at : at + 2]))
            at += 2
        answer = fast.decode(body[at + 1 + body[at] :])  # no property of ours is longer than 127 bytes
        now = time.time()
        for said in answer.get("acked", ()):
            self._answered[UUID(said).int] = now
            self._open -= 1
        self.refused += len(answer.get("refused", ()))
        self._open -= len(answer.get("refused", ()))
        self._room.set()

    def send(self, payload: bytes) -> None:
        self._pid = self._pid % 65_535 + 1
        self._open += 1
        self._out.write(packet(0x32, self._topic + struct.pack(">HB", self._pid, 0) + payload))

    async def flood(self, payloads: list[bytes]) -> None:
        for at in range(0, len(payloads), 50):
            while self._open > self._window - 50:
                self._room.clear()
                await self._room.wait()
            for payload in payloads[at : at + 50]:
                self.send(payload)
            await asyncio.sleep(0)


async def main() -> None:
    plan = json.loads(sys.stdin.readline())
    loop = asyncio.get_running_loop()
    answered: dict[int, float] = {}
    gateways = []
    for one in plan["gateways"]:
        context = ssl.create_default_context(cafile=one["ca"])
        context.load_cert_chain(one["cert"], one["key"])
        _, gateway = await loop.create_connection(
            lambda name=one["name"]: Gateway(name, plan["window"], answered),
            plan["host"],
            plan["port"],
            ssl=context,
            server_hostname=plan["host"],
        )
        await gateway.ready
        gateways.append(gateway)
    work = saturating(plan, gateways) if not plan.get("rate") else None
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    started = time.time()
    cpu = time.process_time()
    due: dict[int, tuple[float, float]] = {}
    if work is not None:
        await asyncio.gather(
            *(gateway.flood(payloads) for gateway, payloads in zip(gateways, work, strict=True))
        )
    else:
        due = await in_time(plan, gateways)
    sent_at = time.time()
    total = plan["total"]
    until = time.monotonic() + plan["patience"]
    while len(answered) + sum(g.refused for g in gateways) < total and time.monotonic() < until:
        await asyncio.sleep(0.02)
    print(
        json.dumps(
            {
                "started": started,
                "sent_at": sent_at,
                "sent": total,
                "acked": len(answered),
                "refused": sum(g.refused for g in gateways),
                "last_ack": max(answered.values(), default=0.0),
                "cpu": time.process_time() - cpu,
                "probes": [[name, at, out, answered.get(name)] for name, (at, out) in due.items()],
            }
        ),
        flush=True,
    )


def saturating(plan, gateways) -> list[list[bytes]]:
    """A sitting of each device, `each` readings three minutes apart up to now; one in twenty devices ends raised."""
    now = datetime.now(UTC)
    work: list[list[bytes]] = [[] for _ in gateways]
    name, each = plan["first"], plan["each"]
    for turn in range(each):
        for n, device in enumerate(plan["devices"]):
            raised = turn == each - 1 and n % 20 == 0
            values = RAISED if raised else CALM[(turn + n) % len(CALM)]
            at = now - APART * (each - 1 - turn) - timedelta(milliseconds=n % 1000)
            work[n % len(gateways)].append(reading(name, device, plan["seq"] + turn, at, values))
            name += 1
    return work


async def in_time(plan, gateways) -> dict[int, tuple[float, float]]:
    """Open loop: each reading is sent when it is due, whoever is slow; probes are the raised ones."""
    rate, probes, devices = plan["rate"], plan["probes"], plan["devices"]
    every = plan["total"] // len(probes)
    told: dict[int, tuple[float, float]] = {}
    begin = time.time() + 0.05
    probe = 0
    for n in range(plan["total"]):
        due = begin + n / rate
        while (wait := due - time.time()) > 0.0005:
            await asyncio.sleep(max(wait - 0.0002, 0.0005))
        name, at = plan["first"] + n, datetime.fromtimestamp(due, UTC)
        gateway = gateways[n % len(gateways)]
        if n % every == 0 and probe < len(probes):
            gateway.send(reading(name, probes[probe], 1, at, RAISED))
            told[name] = due, time.time()
            probe += 1
        else:
            values = CALM[(n + n // len(devices)) % len(CALM)]
            gateway.send(
                reading(name, devices[n % len(devices)], plan["seq"] + n // len(devices), at, values)
            )
        if n % 20 == 0:
            await asyncio.sleep(0)
    return told


if __name__ == "__main__":
    asyncio.run(main())
