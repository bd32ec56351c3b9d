"""Requests for certificates, the gateway's own files, and what an agent does when it is told to do something."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from deploy.native.certificates import Authority
from ingest import fleet, wire
from ingest.gateway import credential
from ingest.gateway.agent import Agent
from ingest.gateway.outbox import Outbox
from ingest.web import gateway_state
from tests.unit.ingest.test_gateway_agent import HandLine

NOW = datetime.now(UTC).replace(microsecond=0)


def pem(key=None, *names, sign_with=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names or ["gw-7"]])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.found(now=NOW)
    return made


def signed(authority, request, *, now=NOW):
    return authority.sign_request(request, now=now).public_bytes(serialization.Encoding.PEM).decode()


# Requests -------------------------------------------------------------------------------------------------------------


def test_a_good_request_is_understood_with_name_and_a_fingerprint_to_read_out():
    asked = fleet.understood(pem())
    assert asked.gateway_id == "gw-7"
    assert len(asked.fingerprint) == 24
    assert set(asked.fingerprint) <= set("0123456789ABCDEF-")


def test_the_fingerprint_belongs_to_the_key_and_not_to_the_request():
    key = ec.generate_private_key(ec.SECP256R1())
    one, again = fleet.understood(pem(key)), fleet.understood(pem(key))
    assert one.fingerprint == again.fingerprint
    assert one.request_id != again.request_id
    assert fleet.understood(pem()).fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("name", "good"),
    [("gw-7", True), ("a.b_c-1", True), ("bridge", False), ("ca", False), ("server", False), ("v1/+", False),
     ("#", False), ("gw 7", False), ("-gw", False), ("x" * 64, True)],
)  # fmt: skip
def test_a_name_that_could_be_another_topic_or_another_process_is_refused(name, good):
    assert isinstance(fleet.understood(pem(None, name)), fleet.Request) is good


def test_two_names_are_no_name():
    assert "does not name one gateway" in fleet.understood(pem(None, "gw-1", "gw-2"))


@pytest.mark.parametrize(
    ("key", "good"),
    [
        (ec.generate_private_key(ec.SECP384R1()), True),
        (rsa.generate_private_key(65537, 2048), True),
        (rsa.generate_private_key(65537, 1024), False),
        (ec.generate_private_key(ec.SECP224R1()), False),
        (ed25519.Ed25519PrivateKey.generate(), False),
    ],
    ids=["P-384", "RSA 2048", "RSA 1024", "P-224", "Ed25519, which mosquitto's TLS may not know"],
)
def test_a_key_must_be_strong_enough(key, good):
    assert isinstance(fleet.understood(pem(key)), fleet.Request) is good


def test_a_request_signed_with_another_key_is_refused():
    from base64 import b64decode, b64encode

    der = bytearray(b64decode("".join(pem().splitlines()[1:-1])))
    der[-1] ^= 1
    forged = (
        "-----BEGIN CERTIFICATE REQUEST-----\n"
        + b64encode(bytes(der)).decode()
        + "\n-----END CERTIFICATE REQUEST-----\n"
    )
    assert isinstance(fleet.understood(forged), str)


@given(
    st.text(max_size=300) | st.text(max_size=200).map(lambda t: f"-----BEGIN CERTIFICATE REQUEST-----\n{t}")
)
def test_whatever_is_sent_instead_of_a_request_is_answered_in_a_sentence(text):
    assert isinstance(fleet.understood(text), str)


# The authority ----------------------------------------------------------------------------------------------------------


def test_a_certificate_is_for_the_requests_key_and_name_and_lasts_ninety_days(authority):
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.load_pem_x509_certificate(signed(authority, pem(key)).encode())
    assert made.public_key() == key.public_key()
    assert made.not_valid_after_utc - NOW == timedelta(days=90)
    assert made.subject.rfc4514_string() == "CN=gw-7"
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca.read_bytes()))


def test_what_is_listed_as_revoked_stays_listed(authority):
    authority.list_as_revoked([17, 4711], now=NOW)
    authority.list_as_revoked([42], now=NOW)
    assert {17, 42, 4711} <= authority.listed()


# The gateway's files --------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    files, first = credential.make(tmp_path, "gw-7")
    assert files.key.stat().st_mode & 0o777 == 0o600
    again, second = credential.make(tmp_path, "gw-7")
    assert (again, second) == (files, first)


def test_a_certificate_is_due_from_day_sixty(authority, tmp_path):
    files, asked = credential.make(tmp_path, "gw-7")
    assert credential.accept(files, signed(authority, asked), "gw-7", now=NOW) is None
    assert not credential.due(files, now=NOW + timedelta(days=60))
    assert credential.due(files, now=NOW + timedelta(days=60, seconds=1))


def test_a_certificate_of_another_key_name_or_time_does_not_take_the_place_of_ours(authority, tmp_path):
    files, asked = credential.make(tmp_path, "gw-7")
    ours = signed(authority, asked)
    assert credential.accept(files, ours, "gw-7", now=NOW) is None
    refused = {
        "not a certificate": "-----BEGIN",
        "not for our key and name": signed(authority, pem()),
        "not valid now": signed(authority, asked, now=NOW - timedelta(days=200)),
        "ends before the one we have": signed(authority, asked, now=NOW - timedelta(days=30)),
    }
    for why, text in refused.items():
        assert credential.accept(files, text, "gw-7", now=NOW) == why
    assert credential.accept(files, ours, "gw-8", now=NOW) == "not for our key and name"
    assert files.cert.read_text() == ours


# The agent is told ----------------------------------------------------------------------------------------------------


def told(agent, line, command):
    agent._commanded(line, command if isinstance(command, bytes) else msgspec.json.encode(command))
    return [
        msgspec.json.decode(payload, type=wire.Done)
        for topic, payload in line.said
        if topic == wire.done("gw")
    ]


def an_agent(outbox, **more):
    return Agent("gw", outbox, lambda: None, clock=lambda: NOW, version="1", **more)


async def test_a_resync_is_done_and_answered_with_how_many_come_again():
    with Outbox(":memory:") as outbox:
        names = [uuid4() for _ in range(3)]
        outbox.put([(name, b"{}") for name in names])
        outbox.settle(names, now=NOW)
        agent, line, name = an_agent(outbox), HandLine(), uuid4()
        (answer,) = told(agent, line, wire.Resync(id=name, since=NOW - timedelta(days=1)))
        assert answer == wire.Done(id=name, ok=True, detail="3 sent again")
        assert outbox.depth == 3


async def test_a_command_that_comes_again_is_answered_again():
    with Outbox(":memory:") as outbox:
        agent, line, name = an_agent(outbox), HandLine(), uuid4()
        told(agent, line, wire.Settings(id=name, heartbeat_s=60))
        assert [answer.id for answer in told(agent, line, wire.Settings(id=name, heartbeat_s=60))] == [
            name,
            name,
        ]


async def test_settings_outlive_a_restart_and_leave_what_they_do_not_name():
    with Outbox(":memory:") as outbox:
        told(an_agent(outbox), HandLine(), wire.Settings(id=uuid4(), heartbeat_s=60))
        told(an_agent(outbox), HandLine(), wire.Settings(id=uuid4(), in_flight=7))
        again = an_agent(outbox)
        assert (again._heartbeat_s, again._most) == (60, 7)


@pytest.mark.parametrize(
    "command",
    [
        b'{"command":"format-disk","id":"00000000-0000-0000-0000-000000000001"}',
        b'{"command":"settings","id":"00000000-0000-0000-0000-000000000001","heartbeat_s":0.001}',
        b'{"command":"resync","id":"00000000-0000-0000-0000-000000000001","since":"yesterday"}',
    ],
    ids=["an unknown command", "a heartbeat too fast for any broker", "no instant"],
)
async def test_what_an_agent_does_not_understand_it_says_no_to(command):
    with Outbox(":memory:") as outbox:
        assert told(an_agent(outbox), HandLine(), command) == [
            wire.Done(id=UUID(int=1), ok=False, detail="not understood")
        ]


@given(st.binary(max_size=80))
def test_no_command_breaks_the_agent(command):
    import asyncio

    async def say():
        with Outbox(":memory:") as outbox:
            told(an_agent(outbox), HandLine(), command)

    asyncio.run(say())


async def test_a_certificate_that_comes_takes_the_old_ones_place_and_the_line_is_dialled_anew(
    authority, tmp_path
):
    files, asked = credential.make(tmp_path, "gw")
    credential.accept(files, signed(authority, asked, now=NOW - timedelta(days=70)), "gw", now=NOW)
    with Outbox(":memory:") as outbox:
        agent, line = an_agent(outbox, files=files), HandLine()
        agent._renew_in_time(line)
        agent._renew_in_time(line)  # asks once and then waits for an answer
        ((topic, payload),) = line.said
        assert topic == wire.renewal("gw")
        request = msgspec.json.decode(payload, type=wire.Renewal).request
        assert fleet.understood(request).gateway_id == "gw"
        command = wire.Certificate(id=uuid4(), certificate=signed(authority, request))
        assert told(agent, line, command) == [wire.Done(id=command.id, ok=True)]
        assert agent.renewed.is_set()
        assert not credential.due(files, now=NOW)


async def test_a_wrong_certificate_is_answered_with_no_and_changes_nothing(authority, tmp_path):
    files, asked = credential.make(tmp_path, "gw")
    credential.accept(files, signed(authority, asked), "gw", now=NOW)
    before = files.cert.read_text()
    with Outbox(":memory:") as outbox:
        agent, line = an_agent(outbox, files=files), HandLine()
        (answer,) = told(agent, line, wire.Certificate(id=uuid4(), certificate=signed(authority, pem())))
        assert (answer.ok, answer.detail) == (False, "not for our key and name")
        assert not agent.renewed.is_set()
    assert files.cert.read_text() == before


# The page -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"revoked_at": NOW}, ("bad", "revoked")),
        ({"vendor": "tenovi", "last_seen": None}, ("warn", "has not posted yet")),
        ({"vendor": "tenovi", "last_seen": NOW - timedelta(days=3)}, ("ok", "cloud of tenovi")),
        ({"last_seen": NOW, "online": True}, ("ok", "online")),
        ({"last_seen": NOW - timedelta(hours=1), "online": True}, ("bad", "silent: no heartbeat")),
        ({"last_seen": NOW, "online": True, "outbox_full": 0.8}, ("bad", "outbox 80% full")),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_the_fleet_says_how_each_is(row, said):
    nothing = dict.fromkeys(("revoked_at", "vendor", "last_seen", "outbox_full", "clock_error")) | {
        "online": False
    }
    assert gateway_state(nothing | row, now=NOW) == said
