"""The broker is killed, restarted, reloaded and overrun, with its memory and without: gateways lose nothing by it.

Printed with `-s`: what was done, and how long until the next acknowledgement; messages the broker dropped, and lost.
"""

import asyncio
import random

import pytest

from deploy.native import mosquitto
from ingest import wire
from ingest.gateway.agent import Agent
from ingest.mqtt import DELIVERED, dial
from tests.faults.ordeal import ROUNDS, SEED, agent, books, endure, sample, settled
from tests.ingest_home import Home

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(600 + 30 * ROUNDS)]

ROOM = 200
"""Messages that the small broker keeps for somebody who is away; five times as many come."""


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


@pytest.fixture
def configured(stack, monkeypatch):
    """Starts the broker with parts of its configuration exchanged."""
    with monkeypatch.context() as patched:

        def start(**exchanged):
            text = mosquitto.CONFIGURATION
            for name, value in exchanged.items():
                (old,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
                text = text.replace(old, f"{name} {value}")
            patched.setattr(mosquitto, "CONFIGURATION", text)
            stack.restart("mosquitto")

        yield start
    stack.restart("mosquitto")


@pytest.mark.parametrize("persistence", ["true", "false"], ids=["with its memory", "without memory"])
def test_whatever_becomes_of_the_broker_nothing_acknowledged_is_missing(
    home, configured, tmp_path, capsys, persistence
):
    configured(persistence=persistence)
    misfortunes = ["broker asked to end", "broker told to read its configuration"]
    if persistence == "false":
        misfortunes.append("broker")  # killed with its memory: in test_faults_ingest
    targets = misfortunes * max(1, ROUNDS // 2)
    random.Random(SEED).shuffle(targets)
    found = endure(home, tmp_path, ingest=("deploy.cli", "run", "ingest"), targets=targets)
    with capsys.disabled():
        print(f"\n  persistence {persistence}, {found.told()}")
    assert found.missing == 0
    assert found.acked == found.made > 200


class Counting(Agent):
    """Counts what the broker said it took."""

    taken = 0

    def _tell(self, line, flight, now):
        super()._tell(line, flight, now)

        def told(code):
            if not code.cancelled() and code.exception() is None and code.result() == DELIVERED:
                self._taken(flight.row.id)

        flight.told.add_done_callback(told)

    def _taken(self, _name):
        self.taken += 1


class Trusting(Counting):
    """Broken on purpose: what the broker has acknowledged has arrived."""

    def _taken(self, name):
        super()._taken(name)
        self._outbox.settle([name], now=self._clock())
        self._flights.pop(name, None)


async def overrun(home, path, kind):
    """Five times what the broker keeps, while ingest is away; then ingest comes. What the broker dropped, and the books."""
    async with dial(home.broker("bridge"), topics=[wire.EVERYTHING]):
        pass  # the broker knows ingest, and keeps for it what it can
    async with agent(home, path, kind=kind, in_flight=5 * ROOM) as (made, outbox):
        sent = [sample(home, n) for n in range(5 * ROOM)]
        made.put(sent)
        async with asyncio.timeout(30):
            while made.taken < 5 * ROOM:  # by the broker, which says so of what it drops as well
                await asyncio.sleep(0.05)
        async with home.listening() as meter, asyncio.timeout(60):
            while outbox.depth or (meter.broker_drops or 0) < 4 * ROOM:  # counted once a second
                await asyncio.sleep(0.05)
            drops = meter.broker_drops
    return drops, await books(home, settled(path), [home.gateway])


async def test_what_a_full_broker_drops_the_gateways_still_have(home, configured, tmp_path, capsys):
    configured(max_queued_messages=str(ROOM), sys_interval="1")
    drops, kept = await overrun(home, tmp_path / "o", Counting)
    with capsys.disabled():
        print(
            f"\n  sent {5 * ROOM} while ingest was away and the broker had room for {ROOM}: the broker dropped {drops}, "
            f"and said so; acknowledged in the end {kept.acked}, missing {kept.missing}, doubled {kept.doubled}"
        )
    assert drops >= 4 * ROOM  # and lamplight_broker_dropped says so: the rule BrokerDrops pages
    assert (kept.acked, kept.missing, kept.doubled) == (5 * ROOM, 0, 0)


async def test_a_gateway_that_forgets_at_the_brokers_acknowledgement_loses_what_it_drops(
    home, configured, tmp_path, capsys
):
    """The negative control: the same counting must convict it."""
    configured(max_queued_messages=str(ROOM), sys_interval="1")
    drops, kept = await overrun(home, tmp_path / "o", Trusting)
    with capsys.disabled():
        print(f"\n  forgetting at PUBACK: the broker dropped {drops}, missing {kept.missing} of {kept.acked}")
    assert kept.missing >= 4 * ROOM
