"""Devices that are nobody's, and credentials used for what they are not: refused, undelivered, and nobody's chart touched.

Printed with `-s`: cases tried, writes to another's chart, cases refused.
"""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import paho.mqtt.client as paho
import psycopg
import pytest

import tests.ingest_home
from deploy.native import mosquitto
from deploy.native.certificates import BRIDGE, Authority
from ingest import wire
from ingest.identity import Gateway
from ingest.mqtt import LineDropped, dial
from ingest.store import Registry
from tests.ingest_home import REFUSED, Home, fingerstick, spoken, utc_now

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


# Row 18: whose device is it? ---------------------------------------------------------------------------------------------


def canonical(device, at):
    return "readings", fingerstick(device, 141) | {
        "measured_at": at.isoformat(),
        "gateway_time": at.isoformat(),
    }


def pressure(device, at):
    return "readings", {
        "id": str(uuid4()), "device": device, "kind": "bp", "systolic": 151, "diastolic": 88, "measured_at": at.isoformat(),
    }  # fmt: skip


def tenovi(device, at):
    return "readings/tenovi", {
        "metric": "blood_pressure", "hwi_device_id": device, "value_1": "152", "value_2": "87",
        "timestamp": at.isoformat(), "hardware_uuid": device,
    }  # fmt: skip


def thingsboard(device, at):
    return "readings/thingsboard", {
        device: [
            {"ts": int(at.timestamp() * 1000), "values": {"systolic": 153, "diastolic": 86, "pulse": 70}}
        ]
    }


def smart_meter(device, at):
    return "readings/smart-meter", {
        "reading_id": 7, "device_id": device, "device_model": "SMBP802", "date_recorded": at.isoformat(),
        "reading_type": "blood_pressure", "systolic_mmhg": 154, "diastolic_mmhg": 85, "pulse_bpm": 71,
    }  # fmt: skip


FORMATS = (canonical, pressure, tenovi, thingsboard, smart_meter)


def strangers(home):
    """Who brings what of which device, measured when: kind, gateway, device, days ago."""
    yield "another practice's device", home.gateway, home.other_meter, 0
    yield "another practice's device, the other way round", home.other_gateway, home.meter, 0
    yield "a device of nobody", home.gateway, f"meter-of-nobody-{home.mark}", 0
    yield "a device in a drawer", home.gateway, home.drawer_meter, 0
    yield "a device whose assignment ended", home.gateway, f"ended-{home.mark}", 0
    yield "a device before its assignment began", home.gateway, f"later-{home.mark}", 20
    yield "a gateway nobody registered", f"gw-{home.mark}-wild", home.meter, 0
    yield "a gateway that was revoked", f"gw-{home.mark}-lost", home.meter, 0
    yield "another's name in other letters", home.gateway, home.other_meter.upper(), 0
    yield "another's name with a NUL behind it", home.gateway, f"{home.other_meter}\0", 0


def register(home):
    with psycopg.connect(home.fresh.superuser) as conn:
        conn.execute(
            "INSERT INTO ingest.gateway (gateway_id, practice_id, revoked_at) VALUES (%s, 1, now())",
            (f"gw-{home.mark}-lost",),
        )
        for device, since, until in (
            ("ended", utc_now() - timedelta(days=90), utc_now() - timedelta(days=2)),
            ("later", utc_now() - timedelta(days=2), None),
        ):
            conn.execute(
                "INSERT INTO ingest.device (device_id, practice_id, family) VALUES (%s, 1, 'canonical')",
                (f"{device}-{home.mark}",),
            )
            home.give(conn, f"{device}-{home.mark}", 1, home.nora, since=since, until=until)


async def intrude(home):
    """Every stranger in every format, naming another patient where there is room for a name; who got onto whose chart."""
    register(home)
    cases, senders = [], {}
    async with home.listening(), contextlib.AsyncExitStack() as opened:
        for kind, gateway, device, days in strangers(home):
            if gateway not in senders:
                senders[gateway] = await opened.enter_async_context(home.speaking(gateway))
            for n, form in enumerate(FORMATS):
                what, message = form(device, utc_now() - timedelta(days=days, minutes=n + 1))
                cases.append((kind, gateway, form.__name__))
                await senders[gateway].say(message, what=what)
        for gateway, sender in senders.items():
            await sender.hear(sum(name == gateway for _, name, _ in cases))
    readings = await spoken(home.stack, list(senders))
    refused = await spoken(home.stack, list(senders), REFUSED)
    return cases, readings, refused


async def test_every_stranger_in_every_format_is_refused_with_a_reason_and_reaches_nobodys_chart(
    home, capsys
):
    cases, readings, refused = await intrude(home)
    reasons = sorted({one.reason for one in refused})
    with capsys.disabled():
        print(
            f"\n  {len(cases)} cases of strangers: onto a chart {len(readings)}, refused {len(refused)}, as {', '.join(reasons)}"
        )
    assert readings == []
    assert len(refused) == len(cases)
    assert set(reasons) >= {
        "other-practice", "unknown-device", "unassigned", "not-assigned-then", "unknown-gateway", "revoked-gateway",
    }  # fmt: skip


class Credulous(Registry):
    """Broken on purpose: whoever brings a device belongs to the practice that has it."""

    async def look_up(self, asks, numbers=()):
        known = await super().look_up(asks, numbers)
        practice = {
            ask.gateway_id: known.devices[ask.device_id].practice_id
            for ask in asks
            if ask.device_id in known.devices
        }
        return known._replace(gateways={name: Gateway(number) for name, number in practice.items()})


async def test_a_door_that_believes_whoever_brings_a_device_writes_onto_other_practices_charts(
    home, monkeypatch, capsys
):
    """The negative control: the same counting must convict it."""
    monkeypatch.setattr(tests.ingest_home, "Registry", Credulous)
    cases, readings, _ = await intrude(home)
    with capsys.disabled():
        print(f"\n  believing everybody: onto a chart {len(readings)} of {len(cases)}")
    assert {one.patient_id for one in readings} >= {home.oto, home.maria}


# Row 19: what a credential is not for ------------------------------------------------------------------------------------


class Enemy:
    """One who has a good certificate, or almost. Each of its tries says whether it got what it wanted."""

    def __init__(self, home, folder):
        self.home, self.folder = home, folder
        self.name = f"gw-{home.mark}-enemy"
        self.victim = f"gw-{home.mark}-victim"
        self.credential = home.credential(self.name)
        host, _, port = home.stack.mqtt.rpartition(":")
        self.host, self.port = host, int(port)

    @contextlib.asynccontextmanager
    async def line(self, *topics, **more):
        async with dial(dataclasses.replace(self.home.broker(self.name), **more), topics=topics) as line:
            yield line

    async def publishes(self, topic):
        """Whether anybody who listens to everything hears it."""
        mark = uuid4().hex.encode()
        async with dial(self.home.broker(BRIDGE), topics=[wire.EVERYTHING]) as bridge:
            with contextlib.suppress(LineDropped):
                async with self.line() as line, asyncio.timeout(10):
                    await line.tell(topic, mark)
            return await heard(bridge, mark, within_s=0.3)

    async def speaks_to(self, topic):
        """Whether a victim hears on its own topics what the enemy says there."""
        mark = uuid4().hex.encode()
        victims = [wire.answers(self.victim), wire.commands(self.victim)]
        async with dial(self.home.broker(self.victim), topics=victims) as victim:
            async with self.line() as line:
                await line.tell(topic, mark)
            return await heard(victim, mark, within_s=0.3)

    async def overhears(self, topic):
        """Whether a subscription brings what ingest says to somebody else, or what somebody else says."""
        mark = uuid4().hex.encode()
        async with contextlib.AsyncExitStack() as opened:
            try:
                line = await opened.enter_async_context(self.line(topic))
            except LineDropped:
                return False
            async with dial(self.home.broker(BRIDGE), topics=[]) as bridge:
                await bridge.tell(wire.answers(self.victim), mark)
            async with dial(self.home.broker(self.victim), topics=[]) as victim:
                await victim.tell(wire.readings(self.victim), mark)
            return await heard(line, mark, within_s=0.3)

    async def gets_in(self, context):
        """Whether TLS with this ends in an MQTT answer."""

        def knock():
            with socket.create_connection((self.host, self.port), timeout=5) as raw:
                try:
                    with (
                        contextlib.nullcontext(raw)
                        if context is None
                        else context.wrap_socket(raw, server_hostname="localhost") as line
                    ):
                        line.sendall(bytes.fromhex("100d00044d5154540502003c000000"))
                        return line.recv(4)[:1] == b"\x20"
                except OSError:  # ssl.SSLError is one
                    return False

        return await asyncio.to_thread(knock)

    def trusting(self, cert=None, key=None):
        context = ssl.create_default_context(cafile=self.credential.ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
        return context

    async def expired(self):
        old = self.home.stack.authority.issue(f"{self.name}-old", now=utc_now() - timedelta(days=200))
        return await self.gets_in(self.trusting(old.cert, old.key))

    async def revoked(self):
        lost = self.home.credential(f"{self.name}-lost")
        self.home.stack.revoke(lost.name)
        end = time.monotonic() + 5  # the broker reads the list when it gets the signal
        while got_in := await self.gets_in(self.trusting(lost.cert, lost.key)):
            if time.monotonic() > end:
                break
        return got_in

    async def of_another_authority(self):
        other = Authority(self.folder)
        other.found(now=datetime.now(UTC))
        forged = other.issue(self.victim, now=datetime.now(UTC))
        return await self.gets_in(self.trusting(forged.cert, forged.key))

    async def as_the_server(self):
        folder = self.home.stack.authority.folder
        return await self.gets_in(self.trusting(folder / "server.crt", folder / "server.key"))

    async def steals_the_queue(self):
        """Claims to be ingest; whether what waits for ingest is gone afterwards."""
        broker, mark = self.home.broker(BRIDGE), uuid4().hex.encode()
        async with dial(broker, topics=[wire.EVERYTHING]):
            pass
        async with dial(self.home.broker(self.victim), topics=[]) as victim:
            await victim.tell(wire.readings(self.victim), mark)
        with contextlib.suppress(LineDropped):
            async with dial(
                dataclasses.replace(self.home.broker(self.name), client_id=BRIDGE), topics=[wire.EVERYTHING]
            ) as line:
                if await heard(line, mark, within_s=0.3):
                    return True
        async with dial(broker, topics=[wire.EVERYTHING]) as bridge:
            return not (bridge.session_present and await heard(bridge, mark, within_s=5))

    async def wills(self, topic):
        """Whether the broker speaks a last will where its owner may not."""
        mark = uuid4().hex.encode()
        async with dial(self.home.broker(BRIDGE), topics=[wire.EVERYTHING]) as bridge:
            await asyncio.to_thread(self._vanish, topic, mark)
            return await heard(bridge, mark, within_s=0.5)

    def _vanish(self, topic, mark):
        with self._client(paho.MQTTv5, lambda client: client.will_set(topic, mark, qos=1)) as client:
            if client.is_connected():
                client.socket().close()

    async def leaves_poison(self):
        """Whether a retained message meets whoever subscribes later."""
        mark = uuid4().hex.encode()

        def leave():
            with self._client(paho.MQTTv5) as client, contextlib.suppress(Exception):
                client.publish(wire.readings(self.name), mark, qos=1, retain=True).wait_for_publish(1)

        await asyncio.to_thread(leave)
        fresh = dataclasses.replace(self.home.broker(BRIDGE), session_s=0)
        async with dial(fresh, topics=[]) as bridge:
            bridge._client.subscribe(wire.EVERYTHING, qos=1)
            return await heard(bridge, mark, within_s=0.5)

    async def speaks_the_old_protocol(self):
        """Whether MQTT 3.1.1, which cannot be told no, gets a foreign topic through."""
        mark = uuid4().hex.encode()
        async with dial(self.home.broker(BRIDGE), topics=[wire.EVERYTHING]) as bridge:

            def speak():
                with self._client(paho.MQTTv311) as client:
                    client.publish(wire.readings(self.victim), mark, qos=1).wait_for_publish(5)

            await asyncio.to_thread(speak)
            return await heard(bridge, mark, within_s=0.5)

    async def signs_in_as(self, user):
        """Whether a user name in the connection counts for more than the certificate."""
        mark = uuid4().hex.encode()
        async with dial(self.home.broker(BRIDGE), topics=[wire.EVERYTHING]) as bridge:

            def speak():
                with self._client(paho.MQTTv5, lambda client: client.username_pw_set(user, "x")) as client:
                    client.publish(wire.readings(self.victim), mark, qos=1).wait_for_publish(1)

            await asyncio.to_thread(speak)
            return await heard(bridge, mark, within_s=0.3)

    @contextlib.contextmanager
    def _client(self, protocol, prepared=lambda _: None):
        """A bare client, connected if the broker lets it, gone afterwards."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=self.name, protocol=protocol)
        client.tls_set(self.credential.ca, self.credential.cert, self.credential.key)
        prepared(client)
        client.connect(self.host, self.port, keepalive=30)
        client.loop_start()
        end = time.monotonic() + 5
        while not client.is_connected() and time.monotonic() < end:
            time.sleep(0.02)
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()

    def tries(self):
        """The table: what is tried, and how."""
        victim, own = self.victim, self.name
        for topic in (wire.readings(victim), wire.status(victim), wire.heartbeat(victim), wire.done(victim),
                      wire.renewal(victim), f"v1/{BRIDGE}/readings", f"v1/{own}x/readings", f"v1//{victim}/readings"):  # fmt: skip
            yield (
                f"publishes to {topic.replace(own, 'own').replace(victim, 'another')}",
                lambda t=topic: self.publishes(t),
            )
        for topic in (wire.answers(victim), wire.commands(victim)):
            yield (
                f"acknowledges or commands in ingest's name: {topic.replace(victim, 'another')}",
                lambda t=topic: self.speaks_to(t),
            )
        for topic in (
            "#",
            "+/+",
            "+/+/#",
            "ack/#",
            "ack/+",
            "v1/#",
            wire.answers(victim),
            f"$share/x/v1/{victim}/#",
            "$share/x/#",
        ):
            yield f"subscribes to {topic.replace(victim, 'another')}", lambda t=topic: self.overhears(t)
        yield "claims ingest's client id", self.steals_the_queue
        yield "signs in as ingest with a user name", lambda: self.signs_in_as(BRIDGE)
        yield "signs in as another with a user name", lambda: self.signs_in_as(victim)
        yield "a will on another's status", lambda: self.wills(wire.status(victim))
        yield "a will on ingest's answers", lambda: self.wills(f"v1/{BRIDGE}/status")
        yield "a retained message for whoever comes", self.leaves_poison
        yield "MQTT 3.1.1 on another's topic", self.speaks_the_old_protocol
        yield "an expired certificate", self.expired
        yield "a revoked certificate", self.revoked
        yield "a certificate of another authority under another's name", self.of_another_authority
        yield "the broker's own certificate as a client's", self.as_the_server
        yield "no certificate", lambda: self.gets_in(self.trusting())
        yield "plain TCP", lambda: self.gets_in(None)


async def heard(line, mark, *, within_s):
    """Whether this line hears the mark soon; what must not happen cannot be waited for."""
    with contextlib.suppress(TimeoutError, LineDropped):
        async with asyncio.timeout(within_s):
            while True:
                batch = await line.take(100)
                batch.acknowledge()
                if any(mark in one.payload for one in batch.messages):
                    return True
    return False


async def misuse(home, folder):
    enemy = Enemy(home, folder)
    return {what: await attempt() for what, attempt in enemy.tries()}


async def test_a_credential_is_good_for_nothing_but_its_own_two_topics(home, tmp_path, capsys):
    found = await misuse(home, tmp_path)
    succeeded = [what for what, got in found.items() if got]
    with capsys.disabled():
        print(
            f"\n  {len(found)} misuses of credentials: refused or undelivered {len(found) - len(succeeded)}, succeeded {succeeded}"
        )
    assert succeeded == []
    assert len(found) >= 30
    async with home.listening(), home.speaking() as honest:  # and after all that the door serves
        message = fingerstick(home.meter)
        await honest.say(message)
        await honest.hear(1)
    assert honest.acked == [UUID(message["id"])]


@pytest.fixture
def trusting_broker(stack, monkeypatch):
    """A broker that asks for a certificate and takes everything else on trust, as many are run."""
    text = mosquitto.CONFIGURATION.replace("acl_file {folder}/acl\n", "").replace(
        "use_username_as_clientid true\n", ""
    )
    with monkeypatch.context() as patched:
        patched.setattr(mosquitto, "CONFIGURATION", text.replace("retain_available false\n", ""))
        stack.restart("mosquitto")
        yield
    stack.restart("mosquitto")


async def test_a_broker_with_certificates_and_nothing_else_lets_them_through(
    home, trusting_broker, tmp_path, capsys
):
    """The negative control: the same table must convict it."""
    found = await misuse(home, tmp_path)
    with capsys.disabled():
        print(
            f"\n  a broker without access list and identities: {sum(found.values())} of {len(found)} misuses succeed"
        )
    assert sum(found.values()) > 15
