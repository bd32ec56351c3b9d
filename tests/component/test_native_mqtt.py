"""The MQTT listener as it runs: who gets in, and how far."""

import contextlib
import socket
import ssl
import threading
import time
from uuid import uuid4

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.native.certificates import BRIDGE, Authority, Credential

pytestmark = pytest.mark.stack

NOT_AUTHORIZED = 135
SUCCESS = (0, 16)  # 16: nobody listens; the broker took it


class Line:
    """One MQTT connection that remembers what it was told."""

    def __init__(self, stack, credential, *, client_id, keep=False):
        self.connected, self.refused = threading.Event(), threading.Event()
        self.heard, self.codes, self.acked, self.session_present = [], {}, threading.Event(), None
        self.told = threading.Condition()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        if credential is not None:
            self.client.tls_set(credential.ca, credential.cert, credential.key)
        self.client.on_connect = self._on_connect
        self.client.on_publish = self._on_publish
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self.acked.set()
        host, port = stack.mqtt.split(":")
        properties = Properties(PacketTypes.CONNECT)
        if keep:
            properties.SessionExpiryInterval = 3600
        self.client.connect(host, int(port), keepalive=30, clean_start=not keep, properties=properties)
        self.client.loop_start()
        assert self.connected.wait(10), "no CONNACK"

    def _on_connect(self, _client, _data, flags, reason, _properties):
        self.session_present = flags.session_present
        (self.refused if reason.is_failure else self.connected).set()

    def _on_publish(self, _client, _data, mid, reason, _properties):
        with self.told:
            self.codes[mid] = reason.value
            self.told.notify_all()

    def _on_message(self, _client, _data, message):
        with self.told:
            self.heard.append((message.topic, message.payload))
            self.told.notify_all()

    def publish(self, topic, payload):
        """The reason code of the broker's acknowledgement."""
        sent = self.client.publish(topic, payload, qos=1)
        with self.told:
            assert self.told.wait_for(lambda: sent.mid in self.codes, 10)
            return self.codes[sent.mid]

    def subscribe(self, topic):
        self.acked.clear()
        self.client.subscribe(topic, qos=1)
        assert self.acked.wait(10)

    def hears(self, count, within=10):
        with self.told:
            return self.told.wait_for(lambda: len(self.heard) >= count, within)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def line(stack):
    """Opens connections that are closed after the test."""
    with contextlib.ExitStack() as opened:

        def open_line(credential, *, client_id="", keep=False):
            made = Line(stack, credential, client_id=client_id or uuid4().hex, keep=keep)
            opened.callback(made.close)
            return made

        yield open_line


@pytest.fixture
def gateway(stack):
    return stack.issue(f"gw-{uuid4().hex[:8]}")


def handshake(stack, context):
    """Whether the broker lets this TLS client as far as an MQTT answer."""
    host, port = stack.mqtt.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="localhost") as tls:
                # MQTT v5 CONNECT, clean start, empty client id; TLS 1.3 tells a refusal at the first read.
                tls.sendall(bytes.fromhex("100d00044d5154540502003c000000"))
                return bool(tls.recv(4))
        except (ssl.SSLError, ConnectionError):
            return False


def context_of(credential=None, ca=None):
    context = ssl.create_default_context(cafile=ca or credential.ca)
    if credential is not None:
        context.load_cert_chain(credential.cert, credential.key)
    return context


def test_a_gateway_publishes_its_own_topic_and_the_bridge_hears_it(stack, line, gateway):
    bridge = line(stack.bridge)
    bridge.subscribe(f"v1/{gateway.name}/#")
    assert line(gateway).publish(f"v1/{gateway.name}/bp", b"{}") == 0
    assert bridge.hears(1)
    assert bridge.heard == [(f"v1/{gateway.name}/bp", b"{}")]


@pytest.mark.parametrize(
    "topic",
    [
        "v1/another/bp",
        "v1/bridge/bp",
        "ack/{own}",
        "ack/another",
        "v1",
        "v1/{own}x/bp",
        "$SYS/broker/version",
    ],
    ids=lambda topic: f"a gateway is refused at {topic}",
)
def test_a_gateway_may_write_nowhere_else(line, gateway, topic):
    assert line(gateway).publish(topic.format(own=gateway.name), b"{}") == NOT_AUTHORIZED


def test_a_gateway_hears_its_own_acknowledgements_and_nobody_elses(stack, line, gateway):
    mine = line(gateway)
    for topic in ("#", "ack/#", "ack/+", "v1/#", "ack/another", f"ack/{gateway.name}"):
        mine.subscribe(topic)  # all granted: the broker decides at delivery
    bridge = line(stack.bridge)
    assert bridge.publish("ack/another", b"not yours") in SUCCESS
    assert bridge.publish(f"ack/{gateway.name}", b"yours") in SUCCESS
    assert mine.hears(1)
    assert {topic for topic, _ in mine.heard} == {f"ack/{gateway.name}"}


def test_a_gateway_that_claims_the_bridges_client_id_does_not_touch_its_queue(stack, line, gateway):
    bridge = line(stack.bridge, client_id=BRIDGE, keep=True)
    bridge.subscribe(f"v1/{gateway.name}/#")
    bridge.close()
    sender = line(gateway)
    for n in range(20):
        assert sender.publish(f"v1/{gateway.name}/bp", str(n).encode()) == 0
    sender.close()
    line(gateway, client_id=BRIDGE).close()
    again = line(stack.bridge, client_id=BRIDGE, keep=True)
    assert again.session_present
    assert again.hears(20)
    assert [payload for _, payload in again.heard] == [str(n).encode() for n in range(20)]
    again.client.unsubscribe(f"v1/{gateway.name}/#")


def test_a_certificate_is_needed(stack):
    assert not handshake(stack, context_of(ca=stack.bridge.ca))


def test_a_good_certificate_gets_in(stack, gateway):
    assert handshake(stack, context_of(gateway))


def test_a_certificate_of_another_authority_is_refused(stack, tmp_path):
    from datetime import UTC, datetime

    other = Authority(tmp_path)
    other.found(now=datetime.now(UTC))
    stranger = other.issue("gw-1", now=datetime.now(UTC))
    believes_us = Credential(name="gw-1", ca=stack.bridge.ca, cert=stranger.cert, key=stranger.key)
    assert not handshake(stack, context_of(believes_us))


def test_a_revoked_certificate_is_refused_and_a_new_one_gets_in(stack, gateway):
    assert handshake(stack, context_of(gateway))
    stack.revoke(gateway.name)
    deadline = time.monotonic() + 10
    while handshake(stack, context_of(gateway)):  # the broker reads the list when it gets the signal
        assert time.monotonic() < deadline
    assert handshake(stack, context_of(stack.issue(gateway.name)))


def test_a_broker_that_is_told_again_and_again_to_read_its_certificates_refuses_nobody_meanwhile(
    stack, gateway
):
    """Each reload used to unlink and rewrite what the broker was reading for the one before: it then let nobody in."""
    enough = threading.Event()

    def tell():
        broker = stack.mosquitto
        while not enough.wait(0.002):
            broker.reload()

    telling = [threading.Thread(target=tell) for _ in range(3)]
    for thread in telling:
        thread.start()
    try:
        let_in = [handshake(stack, context_of(gateway)) for _ in range(100)]
    finally:
        enough.set()
        for thread in telling:
            thread.join()
    assert all(let_in)
    assert handshake(stack, context_of(gateway))


def test_plain_tcp_is_refused(stack):
    host, port = stack.mqtt.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(bytes.fromhex("100d00044d5154540502003c000000"))
        try:
            answer = raw.recv(64)
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"\x20")  # no CONNACK, at most a TLS alert


def test_the_brokers_certificate_is_checked_by_name_and_authority(stack, tmp_path, gateway):
    from datetime import UTC, datetime

    other = Authority(tmp_path)
    other.found(now=datetime.now(UTC))
    assert not handshake(stack, context_of(ca=other.ca))


def test_what_was_taken_before_an_orderly_restart_is_delivered_after_it(stack, line, gateway):
    bridge = line(stack.bridge, client_id=BRIDGE, keep=True)
    bridge.subscribe(f"v1/{gateway.name}/#")
    bridge.close()
    sender = line(gateway)
    for n in range(50):
        assert sender.publish(f"v1/{gateway.name}/bp", str(n).encode()) == 0
    sender.close()
    stack.restart("mosquitto")
    again = line(stack.bridge, client_id=BRIDGE, keep=True)
    assert again.session_present
    assert again.hears(50)
    again.client.unsubscribe(f"v1/{gateway.name}/#")
