"""A gateway's life on the real broker: enrolled, approved, renewed, commanded, revoked; and nobody beside it notices."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest
from fastapi import FastAPI

from deploy import authority as signing
from deploy import database
from deploy.native import mosquitto
from deploy.settings import Secret
from ingest import enrol_web, fleet, fleet_store, wire
from ingest.gateway import credential
from ingest.gateway.performance import ask_to_renew, gateway
from ingest.mqtt import Broker, LineDropped, dial
from tests.ingest_home import REFUSED, ROOT, Home, Speaker, fingerstick, spoken, utc_now

pytestmark = pytest.mark.stack


class Fleet(Home):
    """The home of the other tests, with an authority that signs and revokes."""

    @contextlib.asynccontextmanager
    async def authority(self, clock=utc_now):
        stopping = asyncio.Event()
        host, _, port = self.stack.mqtt.rpartition(":")
        holder = self.stack.authority

        async def reload():
            await asyncio.to_thread(self.stack.mosquitto.reload)

        async with database.pool(Secret(self.fresh.pipeline)) as pool:
            keeping = asyncio.create_task(
                signing.keep(
                    pool,
                    holder,
                    reload=reload,
                    throw_out=signing.throwing_out(holder, host, int(port), utc_now),
                    clock=clock,
                    stopping=stopping,
                )
            )
            try:
                yield pool
            finally:
                stopping.set()
                await keeping

    def broker_of(self, files, name):
        host, _, port = self.stack.mqtt.rpartition(":")
        return Broker(
            host=host, port=int(port), client_id=name, ca=self.stack.authority.ca, cert=files.cert, key=files.key,
            session_s=60,
        )  # fmt: skip

    async def enrol(self, pool, folder, name, practice=1):
        """What gateway, admin and authority do together; returns the gateway's files."""
        files, pem = credential.make(folder, name)
        asked = fleet.understood(pem)
        async with pool.connection() as conn:
            assert await fleet_store.ask(conn, asked, practice_id=practice, now=utc_now())
        async with pool.connection() as conn:
            assert await fleet_store.approve(conn, asked.request_id, by="test", now=utc_now()) is None
        async with asyncio.timeout(20):
            while True:
                async with pool.connection() as conn:
                    found = await fleet_store.standing(conn, asked.request_id)
                if found.certificate:
                    break
                await asyncio.sleep(0.05)
        assert credential.accept(files, found.certificate, name, now=utc_now()) is None
        return files

    @contextlib.asynccontextmanager
    async def speaking_with(self, files, name):
        async with dial(
            self.broker_of(files, name), topics=[wire.answers(name), wire.commands(name)]
        ) as line:
            yield Speaker(line, name)

    async def tell(self, command, name):
        async with await psycopg.AsyncConnection.connect(self.fresh.pipeline) as conn:
            return await fleet_store.tell(conn, name, command, by="test", now=utc_now())

    def command(self, name):
        return self.rows("SELECT outcome, detail FROM ingest.command WHERE command_id = %s", name)


@pytest.fixture
def home(stack, fresh_database):
    return Fleet(stack, fresh_database).furnish()


async def eventually(condition, within_s=20):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.05)


async def test_an_enrolled_gateway_sends_and_its_key_never_left_it(home, tmp_path):
    name = f"gw-{home.mark}-new"
    async with home.authority() as pool, home.listening():
        files = await home.enrol(pool, tmp_path, name)
        async with home.speaking_with(files, name) as speaker:
            await speaker.say(fingerstick(home.meter, 111))
            await speaker.hear(1)
    assert len(speaker.acked) == 1
    (reading,) = await spoken(home.stack, [name])
    assert (reading.patient_id, reading.glucose) == (home.maria, 111)
    key = files.key.read_text()
    kept = home.rows("SELECT request || certificate || authority FROM ingest.enrolment")
    assert all(line not in text for (text,) in kept for line in key.splitlines()[1:-1])
    ((ends,),) = home.rows("SELECT certificate_ends FROM ingest.gateway WHERE gateway_id = %s", name)
    assert timedelta(days=89) < ends - utc_now() <= timedelta(days=90)


async def test_a_revoked_gateway_is_refused_within_seconds_and_the_one_beside_it_goes_on(home, tmp_path):
    bad = f"gw-{home.mark}-bad"
    async with home.authority() as pool, home.listening() as meter:
        files = await home.enrol(pool, tmp_path, bad)
        async with home.speaking() as honest:
            async with home.speaking_with(files, bad) as speaker:
                await speaker.say(fingerstick(home.meter, 101, minutes_ago=9))
                await speaker.hear(1)
                async with pool.connection() as conn:
                    assert await fleet_store.revoke(conn, bad, now=utc_now())
                began = time.monotonic()
                async with asyncio.timeout(10):
                    await speaker.line.dropped.wait()  # the open connection is ended
                thrown_out_after = time.monotonic() - began
            with pytest.raises(LineDropped):  # and no new one succeeds
                async with home.speaking_with(files, bad):
                    pass
            await honest.say(*[fingerstick(home.meter, 120 + n, minutes_ago=8 - n) for n in range(3)])
            await honest.hear(3)
        assert meter.dropped == 0  # ingest's own line is untouched
    assert thrown_out_after < 5
    assert len(honest.acked) == 3
    print(f"thrown out after {thrown_out_after:.2f} s")
    assert home.rows("SELECT count(*) FROM ingest.enrolment WHERE revoked_at IS NOT NULL") == [(1,)]


async def test_ingest_refuses_a_revoked_gateway_even_while_the_broker_lets_it_in(home, tmp_path):
    async with (
        home.listening(),
        home.speaking() as speaker,
    ):  # no authority runs: the broker knows nothing yet
        async with await psycopg.AsyncConnection.connect(home.fresh.pipeline) as conn:
            assert await fleet_store.revoke(conn, home.gateway, now=utc_now())
        await speaker.say(fingerstick(home.meter, 133))
        await speaker.hear(1)
    assert list(speaker.refused.values()) == ["revoked-gateway"]
    assert await spoken(home.stack, [home.gateway]) == []
    (refused,) = await spoken(home.stack, [home.gateway], REFUSED)
    assert refused.reason == "revoked-gateway"


async def test_a_replaced_gateway_keeps_its_name_and_patients_and_the_old_one_is_out(home, tmp_path):
    name = f"gw-{home.mark}-twice"
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    async with home.authority() as pool, home.listening():
        old = await home.enrol(pool, tmp_path / "old", name)
        new = await home.enrol(pool, tmp_path / "new", name)
        async with asyncio.timeout(20):
            while True:
                try:
                    async with home.speaking_with(old, name):
                        await asyncio.sleep(0.1)
                except LineDropped:
                    break
        await asyncio.sleep(
            3
        )  # the authority throws out twice; whoever is new waits that out by dialling again
        async with home.speaking_with(new, name) as speaker:
            await speaker.say(fingerstick(home.meter, 114))
            await speaker.hear(1)
    assert [r.patient_id for r in await spoken(home.stack, [name])] == [home.maria]


async def test_a_name_of_another_practice_or_of_a_vendors_cloud_is_not_given_away(home, tmp_path):
    with psycopg.connect(home.fresh.pipeline) as conn:
        conn.execute("INSERT INTO ingest.gateway (gateway_id, practice_id) VALUES ('cloud-x', 1)")
        conn.execute(
            """INSERT INTO ingest.webhook (source_id, practice_id, vendor, scheme, header, secret)
               VALUES ('cloud-x', 1, 'telli', 'header', 'x', '')"""
        )
    async with await psycopg.AsyncConnection.connect(home.fresh.pipeline) as conn:
        for name in (home.other_gateway, "cloud-x"):
            asked = fleet.understood(credential.make(tmp_path, name)[1])
            assert await fleet_store.ask(conn, asked, practice_id=1, now=utc_now())
            trouble = await fleet_store.approve(conn, asked.request_id, by="test", now=utc_now())
            assert "belongs to another" in trouble
            assert (await fleet_store.standing(conn, asked.request_id)).state == "waiting"
    assert home.rows("SELECT practice_id FROM ingest.gateway WHERE gateway_id = %s", home.other_gateway) == [
        (2,)
    ]


async def test_one_who_floods_requests_shuts_out_newcomers_of_that_practice_only(home, tmp_path):
    async with await psycopg.AsyncConnection.connect(home.fresh.pipeline) as conn:
        asked = [fleet.understood(credential.make(tmp_path / str(n), f"gw-{n}")[1]) for n in range(21)]
        taken = [await fleet_store.ask(conn, one, practice_id=1, now=utc_now()) for one in asked]
        assert taken == [True] * 20 + [False]
        assert await fleet_store.ask(conn, asked[20], practice_id=2, now=utc_now())
        assert not await fleet_store.ask(conn, asked[20], practice_id=99, now=utc_now())


# Renewal ---------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running_agent(home, files, name, folder, *, clock=utc_now):
    stopping = asyncio.Event()
    async with gateway(
        name, folder / "outbox.sqlite", home.broker_of(files, name), clock=clock, stopping=stopping
    ) as (agent, outbox):
        yield agent, outbox


async def test_an_agent_renews_by_itself_from_day_sixty_and_goes_on_with_the_new_certificate(home, tmp_path):
    name = f"gw-{home.mark}-renew"
    async with home.authority(clock=lambda: utc_now() - timedelta(days=61)) as pool:
        files = await home.enrol(pool, tmp_path, name)  # signed 61 days ago
    before = credential.ends(files)
    assert credential.due(files, now=utc_now())
    async with (
        home.authority(),
        home.listening(errands=True),
        running_agent(home, files, name, tmp_path) as (agent, _),
    ):
        await eventually(agent.renewed.is_set, 30)
        assert credential.ends(files) - before > timedelta(days=60)
        message = fingerstick(home.meter, 117)
        agent.put([(UUID(message["id"]), msgspec.json.encode(message))])
        async with asyncio.timeout(20):
            await agent.settled.wait()
        await eventually(
            lambda: home.rows("SELECT outcome FROM ingest.command WHERE kind = 'certificate'") == [("ack",)]
        )
    assert [r.glucose for r in await spoken(home.stack, [name])] == [117]
    states = home.rows("SELECT state, renewal FROM ingest.enrolment ORDER BY asked_at")
    assert states == [("issued", False), ("issued", True)]


async def test_a_request_in_another_gateways_name_renews_nothing(home, tmp_path):
    _, pem = credential.make(tmp_path, home.other_gateway)
    async with home.authority(), home.listening(errands=True) as meter, home.speaking() as speaker:
        await speaker.say(wire.Renewal(request=pem), b"\xff", {"request": "x"}, what="renewal")
        await speaker.say(fingerstick(home.meter))
        await speaker.hear(1)
        await eventually(lambda: meter.counts is not None)
        await asyncio.sleep(2.5)  # one round of the errands
    assert home.rows("SELECT count(*) FROM ingest.enrolment") == [(0,)]


async def test_word_left_in_the_outbox_makes_an_agent_renew_before_its_time(home, tmp_path):
    name = f"gw-{home.mark}-word"
    async with home.authority() as pool, home.listening(errands=True):
        files = await home.enrol(pool, tmp_path, name)
        first = files.cert.read_text()
        await asyncio.to_thread(ask_to_renew, tmp_path / "outbox.sqlite")
        async with running_agent(home, files, name, tmp_path) as (agent, outbox):
            await eventually(agent.renewed.is_set, 30)
            assert outbox.note("renew") == ""
    assert files.cert.read_text() != first


# Commands --------------------------------------------------------------------------------------------------------------


async def test_a_resync_brings_again_what_was_acknowledged_and_is_answered(home, tmp_path):
    name = f"gw-{home.mark}-sync"
    readings = [fingerstick(home.meter, 140 + n, minutes_ago=20 - n) for n in range(5)]
    rows = [(UUID(one["id"]), msgspec.json.encode(one)) for one in readings]
    async with home.authority() as pool:
        files = await home.enrol(pool, tmp_path, name)
    async with (
        home.listening(errands=True) as meter,
        running_agent(home, files, name, tmp_path) as (agent, outbox),
    ):
        agent.put(rows)
        await eventually(lambda: outbox.depth == 0)
        command = wire.Resync(id=uuid4(), since=utc_now() - timedelta(hours=1))
        assert await home.tell(command, name)
        await eventually(lambda: home.command(command.id) == [("ack", "5 sent again")], 30)
        await eventually(lambda: outbox.depth == 0)
        assert meter.tally.duplicates >= 5  # the same facts: nothing is stored twice
    assert len({r.event_id for r in await spoken(home.stack, [name])}) == 5


async def test_settings_are_done_refusals_are_recorded_and_a_stranger_cannot_answer(home, tmp_path):
    name = f"gw-{home.mark}-set"
    async with home.authority() as pool:
        files = await home.enrol(pool, tmp_path, name)
    good = wire.Settings(id=uuid4(), heartbeat_s=7)
    bad = wire.Certificate(id=uuid4(), certificate="nonsense")
    unanswered = wire.Settings(id=uuid4(), heartbeat_s=8)
    assert await home.tell(good, name)
    assert await home.tell(bad, name)
    assert not await home.tell(good, "gw-of-nobody")
    async with home.listening(errands=True) as meter:
        await home.tell(unanswered, home.other_gateway)
        async with home.speaking() as stranger:
            done = wire.Done(id=unanswered.id, ok=True)
            await stranger.say(done, what="answer")
            async with running_agent(home, files, name, tmp_path) as (agent, _):
                await eventually(lambda: home.command(good.id) == [("ack", "")], 30)
                await eventually(lambda: home.command(bad.id) == [("nack", "not a certificate")], 30)
                assert agent._heartbeat_s == 7
                await eventually(lambda: meter.counts.online >= 1)
    assert home.command(unanswered.id) == [(None, "")]


async def test_a_command_waits_for_a_gateway_that_is_away(home):
    command = wire.Settings(id=uuid4(), heartbeat_s=9)
    async with home.listening(errands=True) as meter:
        assert await home.tell(command, home.gateway)
        await eventually(lambda: meter.counts is not None)
        assert home.rows("SELECT times_told FROM ingest.command") == [(0,)]
        async with home.speaking() as speaker:
            await speaker.say(wire.Status(online=True), what="status")
            async with asyncio.timeout(20):
                while True:
                    batch = await speaker.line.take(10)
                    heard = [
                        one.payload for one in batch.messages if one.topic == wire.commands(home.gateway)
                    ]
                    batch.acknowledge()
                    if any(b'"settings"' in payload for payload in heard):
                        break
    assert home.rows("SELECT times_told FROM ingest.command") == [(1,)]


@pytest.fixture
def small_broker(stack, monkeypatch):
    """The broker with room for ten messages a session, which tells its counts every second."""
    small = mosquitto.CONFIGURATION.replace("max_queued_messages 200000", "max_queued_messages 10")
    with monkeypatch.context() as patched:
        patched.setattr(mosquitto, "CONFIGURATION", small.replace("sys_interval 10", "sys_interval 1"))
        stack.restart("mosquitto")
        yield
    stack.restart("mosquitto")


async def test_what_the_broker_drops_is_heard_from_the_broker_itself(home, small_broker):
    async with home.speaking():
        pass  # has a session now, and is away
    async with dial(home.broker("bridge"), topics=[wire.EVERYTHING, wire.DROPPED]) as line:
        for n in range(30):
            assert await line.tell(f"ack/{home.gateway}", str(n).encode()) == 0
    async with home.listening() as meter:
        await eventually(lambda: meter.broker_drops, 30)
    assert meter.broker_drops == 20


# Over HTTP and on the command line ------------------------------------------------------------------------------------


async def test_a_gateway_asks_over_http_and_comes_back_for_its_certificate(home, tmp_path):
    files, pem = credential.make(tmp_path, f"gw-{home.mark}-http")
    async with home.authority() as pool:
        app = FastAPI()
        app.include_router(enrol_web.router(pool.connection, utc_now))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://hooks"
        ) as client:
            told = (await client.post("/enrol", json={"practice": 1, "request": pem})).json()
            path = f"/enrol/{told['request_id']}"
            assert (await client.get(path)).json() == {"state": "waiting"}
            assert (
                await client.post("/enrol", json={"practice": 1, "request": pem})
            ).json() == told  # again: the same
            async with pool.connection() as conn:
                assert await fleet_store.approve(conn, told["request_id"], by="test", now=utc_now()) is None
            async with asyncio.timeout(20):
                while (found := (await client.get(path)).json())["state"] != "issued":
                    await asyncio.sleep(0.05)
            assert credential.accept(files, found["certificate"], files.cert.stem, now=utc_now()) is None
            assert found["authority"] == home.stack.authority.ca.read_text()
            for body, status in (
                (b"{}", 422), (b"x" * 9_000, 413), (json.dumps({"practice": 1, "request": "x"}).encode(), 422),
                (json.dumps({"practice": 99, "request": pem + "\n"}).encode(), 409),
            ):  # fmt: skip
                assert (await client.post("/enrol", content=body)).status_code == status
            assert (await client.get(f"/enrol/{uuid4()}")).status_code == 404


def lamplight(home, *words):
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "gateway", *words],
        env=home.environment(), cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


async def test_the_whole_life_on_the_command_line(home, tmp_path):
    name = f"gw-{home.mark}-cli"
    run = lambda *words: asyncio.to_thread(lamplight, home, *words)  # noqa: E731
    asked = await run("enrol", "--id", name, "--folder", str(tmp_path))
    assert asked.returncode == 0, asked.stderr
    fingerprint = asked.stdout.split("fingerprint")[1].split()[0]
    async with home.authority(), home.listening(errands=True):
        cert = tmp_path / f"{name}.crt"
        said = await run("approve", str(tmp_path / f"{name}.csr"), "--practice", "1", "--out", str(cert))
        assert (said.returncode, fingerprint in said.stdout) == (0, True), said.stderr
        connection = (
            "--id", name, "--outbox", str(tmp_path / "o.sqlite"), "--broker", home.stack.mqtt,
            "--ca", str(tmp_path / "ca.crt"), "--cert", str(cert), "--key", str(tmp_path / f"{name}.key"),
        )  # fmt: skip
        before = cert.read_text()
        renewed = await run("renew", *connection)
        assert renewed.returncode == 0, renewed.stderr
        assert cert.read_text() != before
        told = await run("set", name, "--heartbeat-s", "30")
        assert told.returncode == 0, told.stderr
        assert "settings" in (await run("commands", name)).stdout
        assert (await run("resync", name, "--since", "2026-01-01")).returncode == 0
        assert (await run("revoke", name)).returncode == 0
        again = await run("revoke", name)
        assert (again.returncode, "revoked already" in again.stderr) == (1, True)
        assert (await run("renew", *connection, "--wait", "3")).returncode == 1
