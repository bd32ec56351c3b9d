"""A hostile gateway beside an honest one, on the whole product: the honest one's readings are all there, on the right
people, at the right instants; the hostile one reached nobody's chart but its own patient's, and that only as itself."""

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from ingest import wire
from ingest.gateway.performance import gateway
from ingest.mqtt import LineDropped, dial

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]

NOT_AUTHORIZED = 135
HONEST = 120
FLOOD = 1_500


def reading(device, systolic, at, **more):
    return {
        "id": str(uuid4()),
        "device": device,
        "kind": "bp",
        "systolic": systolic,
        "diastolic": 80,
        "measured_at": at.isoformat(),
        "gateway_time": at.isoformat(),
        **more,
    }


class Hostile:
    """What somebody can do who has a good certificate and bad intentions. Returns what the broker said to each try."""

    def __init__(self, product, credential, victim, victims_cuff, own_cuff, victims_gateway):
        self.product, self.credential, self.name = product, credential, credential.name
        self.victim, self.cuff, self.own, self.other = str(victim), victims_cuff, own_cuff, victims_gateway
        self.codes = {}

    def lies(self):
        """Readings that name somebody else's device, person or gateway, in every format that has room for it."""
        now = datetime.now(UTC)
        yield "readings", reading(self.cuff, 251, now)
        yield "readings", reading(self.own, 252, now, patient=self.victim)  # an unknown field
        yield "readings", reading(self.cuff.upper(), 253, now)
        yield "readings", reading(f"{self.cuff}\u0000", 254, now)
        yield (
            "readings/ava4",
            {
                "from": "BLE", "to": "CLOUD", "time": int(now.timestamp()), "deviceCode": self.other, "mac": self.other,
                "type": "reportAttribute", "device": "x", "data": {"attribute": "BP_BIOLIGTH", "mac": self.other,
                "value": {"device_list": [{"ble_addr": self.cuff, "bp_high": 255, "bp_low": 80, "PR": 60}]}},
            },
        )  # fmt: skip
        yield (
            "readings/tenovi",
            {"metric": "blood_pressure", "hwi_device_id": self.cuff, "value_1": "256", "value_2": "80",
             "patient_id": self.victim, "hardware_uuid": self.other, "timestamp": now.isoformat()},
        )  # fmt: skip
        yield "readings/thingsboard", {self.cuff: [{"ts": 1, "values": {"systolic": 257, "diastolic": 80}}]}

    async def attack(self):
        rng = random.Random(7)
        async with self.line() as line:
            for where in (
                wire.readings(self.other), wire.answers(self.other), wire.commands(self.other), wire.status(self.other),
                "v1", "v1/bridge/readings", "$SYS/broker/uptime", f"ack/{self.name}",
            ):  # fmt: skip
                self.codes[where] = await line.tell(
                    where, msgspec.json.encode(reading(self.cuff, 258, datetime.now(UTC)))
                )
            for what, lie in self.lies():
                await line.tell(f"v1/{self.name}/{what}", msgspec.json.encode(lie))
            await line.tell(wire.status(self.name), b'{"online":"maybe"}')
            await line.tell(wire.heartbeat(self.name), b'{"at":"2038-01-19T03:14:08Z","outbox":2147483647}')
            await line.tell(wire.done(self.name), msgspec.json.encode(wire.Done(id=uuid4(), ok=True)))
            await line.tell(wire.renewal(self.name), b'{"request":"-----BEGIN CERTIFICATE REQUEST-----"}')
        with contextlib.suppress(LineDropped, TimeoutError):
            async with self.line() as line, asyncio.timeout(10):
                await line.tell(
                    wire.readings(self.name), b"x" * 70_000
                )  # beyond what the broker takes: it hangs up
        async with self.line() as line:
            window = set()
            for n in range(FLOOD):
                body = rng.choice(
                    [
                        rng.randbytes(rng.randrange(300)),
                        b"{" * rng.randrange(2_000),
                        msgspec.json.encode(reading(self.cuff, 259, datetime.now(UTC))),
                        msgspec.json.encode(reading(f"cuff-{n}", 260, datetime.now(UTC))),
                        b'{"device":"' + b"a" * rng.randrange(15_000) + b'"}',
                    ]
                )
                window.add(line.tell(wire.readings(self.name), body))
                if len(window) >= 50:
                    await asyncio.wait(window, return_when=asyncio.FIRST_COMPLETED)
                    window = {told for told in window if not told.done()}
            await asyncio.gather(*window)

    @contextlib.asynccontextmanager
    async def line(self):
        topics = ["#", "ack/#", "v1/#", wire.answers(self.other)]  # granted, and silent
        async with dial(self.product.broker(self.credential), topics=topics) as line:
            yield line


async def test_the_honest_ones_readings_are_all_there_and_the_hostile_one_reached_nobody(product, tmp_path):
    mark = uuid4().hex[:6]
    honest, other = product.practice(31), product.practice(32)
    cuff, own = f"cuff-{mark}", f"cuff-{mark}-own"
    patient = product.patient(honest, "Honor", device=cuff)
    bystander = product.patient(other, "Otto", device=own)
    good, bad = product.gateway(honest, f"gw-{mark}"), product.gateway(other, f"gw-{mark}-bad")
    product.gateway(honest, f"gw-{mark}-silent")

    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3 * HONEST)
    sent = {120 + n % 60: [] for n in range(60)}
    rows = []
    for n in range(HONEST):
        at = start + timedelta(minutes=3 * n, seconds=n % 60)
        message = reading(cuff, 120 + n % 60, at, pulse=60 + n // 60)
        sent[120 + n % 60].append(at)
        rows.append((UUID(message["id"]), msgspec.json.encode(message)))

    enemy = Hostile(product, bad, patient, cuff, own, good.name)
    stopping = asyncio.Event()
    attacking = asyncio.create_task(enemy.attack())
    async with gateway(
        good.name,
        tmp_path / "outbox.sqlite",
        product.broker(good),
        clock=lambda: datetime.now(UTC),
        stopping=stopping,
    ) as (agent, outbox):
        for at in range(0, HONEST, 10):
            agent.put(rows[at : at + 10])
            await asyncio.sleep(0.2)  # through the attack, not before it
        async with asyncio.timeout(120):
            await attacking
            while outbox.depth:
                agent.settled.clear()
                await agent.settled.wait()
        assert outbox.counts() == (HONEST, 0, 0)

    count = "SELECT count(*) FROM ingest.reading WHERE patient_id = %s"
    await asyncio.to_thread(product.until, count, patient, is_true=lambda found: found == HONEST)
    await asyncio.to_thread(  # the last of the flood is through
        product.until,
        "SELECT count(*) FROM ingest.refusal WHERE gateway_id = %s",
        bad.name,
        is_true=lambda n: n >= 5,
    )
    found = product.rows(
        "SELECT systolic::int, effective_at, gateway_id, practice_id FROM ingest.reading WHERE patient_id = %s",
        patient,
    )
    assert {(s, at) for s, at, _, _ in found} == {(s, at) for s, ats in sent.items() for at in ats}
    assert {(name, practice) for *_, name, practice in found} == {(good.name, honest)}
    assert product.rows("SELECT DISTINCT patient_id FROM ingest.reading WHERE gateway_id = %s", bad.name) in (
        [],
        [(bystander,)],
    )
    assert product.one("SELECT count(*) FROM ingest.reading WHERE systolic BETWEEN 251 AND 260") == 0
    assert set(enemy.codes.values()) == {NOT_AUTHORIZED}, enemy.codes
    assert (
        product.one("SELECT online FROM ingest.gateway WHERE gateway_id = %s", f"gw-{mark}-silent") is False
    )
    assert product.rows(
        "SELECT DISTINCT practice_id FROM ingest.refusal WHERE gateway_id = %s", bad.name
    ) == [(other,)]
    assert {
        reason
        for (reason,) in product.rows("SELECT reason FROM ingest.refusal WHERE gateway_id = %s", bad.name)
    } >= {"other-practice", "unknown-device", "not-json"}
