"""Each line of the door is cut, silenced, delayed, choked and corrupted while readings flow: noticed, and nothing lost or doubled.

Printed with `-s`: seconds until whoever uses the line notices, and until the next acknowledgement after it is mended.
With FAULT_ROUNDS of 10 or more every line meets every weather, at the product's own patience.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy import database
from ingest.gateway.agent import Agent
from tests.faults.link import Link, Weather
from tests.faults.ordeal import ROUNDS, agent, books, pouring, settled
from tests.ingest_home import Home

FULL = ROUNDS >= 10
pytestmark = [
    pytest.mark.stack,
    pytest.mark.fault,
    pytest.mark.timeout(1_800 if FULL else 240),
    # paho leaves the socket of a handshake that was cut off to the garbage collector
    pytest.mark.filterwarnings("ignore:.*_Gulping:pytest.PytestUnraisableExceptionWarning"),
]

KEEPALIVE_S, ANSWER_S = (30, database.Patient.within_s) if FULL else (2, 2)

NOTICED = {
    "gateway-broker": "gateway.line_dropped",
    "broker-ingest": "ingest.line_dropped",
    "ingest-Kafka": "ingest.kafka_away",
    "ingest-PostgreSQL": "ingest.database_away",
}
"""Each line, and what is said by whoever notices that it is dead."""

LINES = tuple(NOTICED)
FATAL = (Weather.CUT, Weather.SILENT, Weather.ONE_WAY)
CASES = (
    [(weather, (line,)) for weather in Weather if weather is not Weather.FAIR for line in LINES]
    if FULL
    else [
        *[(Weather.CUT, (line,)) for line in LINES],
        *[(Weather.SILENT, (line,)) for line in LINES if line != "ingest-Kafka"],  # it takes 20 s to notice
        (Weather.ONE_WAY, ("gateway-broker",)),
        (Weather.LATE, LINES),
        (Weather.NARROW, LINES),
    ]
)


class Elsewhere:
    """The stack with some addresses replaced by a link's."""

    def __init__(self, stack, **addresses):
        self.__dict__.update(addresses)
        self._stack = stack

    def __getattr__(self, name):
        return getattr(self._stack, name)


@dataclass
class Far(Home):
    """A home whose lines to the broker are missed as soon as `KEEPALIVE_S` says."""

    def broker(self, name, **more):
        return super().broker(name, keepalive_s=KEEPALIVE_S, **more)


@pytest.fixture
def home(stack, fresh_database):
    return Far(stack, fresh_database).furnish()


@pytest.fixture
def said():
    """When the log said of a line that it is dead."""
    instants, lines = defaultdict(list), {event: line for line, event in NOTICED.items()}

    def hear(_logger, _method, event):
        if event["event"] in lines:
            instants[lines[event["event"]]].append(time.monotonic())
        raise structlog.DropEvent

    class Kafkas(logging.Handler):  # aiokafka tries again by itself, and warns
        def emit(self, record):
            instants["ingest-Kafka"].append(time.monotonic())

    kafka, listening = logging.getLogger("aiokafka"), Kafkas(logging.WARNING)
    kafka.addHandler(listening)
    structlog.configure(processors=[hear])
    yield instants
    structlog.reset_defaults()
    kafka.removeHandler(listening)


@pytest.fixture
def patience(monkeypatch):
    monkeypatch.setattr(database.Patient, "within_s", ANSWER_S)


@contextlib.asynccontextmanager
async def lines_of(home):
    """The four lines; the ingest and the gateway of the home that are beyond them."""
    stack, postgres = home.stack, conninfo_to_dict(home.fresh.pipeline)
    mqtt, kafka = stack.mqtt.rpartition(":"), stack.kafka.rpartition(":")
    async with contextlib.AsyncExitStack() as opened:
        links = {
            "gateway-broker": Link(mqtt[0], mqtt[2]),
            "broker-ingest": Link(mqtt[0], mqtt[2]),
            "ingest-Kafka": Link(kafka[0], kafka[2], swap=b"127.0.0.1"),
            "ingest-PostgreSQL": Link(postgres["host"], postgres["port"]),
        }
        at = {}
        for name, link in links.items():
            await opened.enter_async_context(link)
            at[name] = f"127.0.0.1:{link.port}"
        pipeline = make_conninfo(home.fresh.pipeline, host="127.0.0.1", port=links["ingest-PostgreSQL"].port)
        ingest = replace(
            home,
            stack=Elsewhere(stack, mqtt=at["broker-ingest"], kafka=at["ingest-Kafka"]),
            fresh=replace(home.fresh, pipeline=pipeline),
        )
        yield links, ingest, replace(home, stack=Elsewhere(stack, mqtt=at["gateway-broker"]))


async def eventually(condition, within_s, what):
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {within_s} s") from None


async def through(weather, names, links, outbox, said):
    """One case: the weather turns while acknowledgements come, is noticed or endured, clears; they come again."""
    await eventually(_next(outbox), 30, f"the flow before {weather}")
    before, began = {name: len(said[name]) for name in names}, time.monotonic()
    for name in names:
        links[name].turn(weather)
    noticed = None
    if weather in FATAL:
        (name,) = names
        await eventually(lambda: len(said[name]) > before[name], 120, f"{name} {weather}, noticed")
        noticed = said[name][before[name]] - began
    else:
        await asyncio.sleep(7 if weather is Weather.LATE else 3)
    for name in names:
        links[name].turn(Weather.FAIR)
    mended, more = time.monotonic(), _next(outbox)
    await eventually(more, 120, f"an acknowledgement after {weather}")
    return noticed, time.monotonic() - mended


def _next(outbox):
    before = outbox.counts()[0]
    return lambda: outbox.counts()[0] > before


async def emptied(outbox, within_s=90):
    await eventually(lambda: outbox.depth == 0, within_s, "everything answered for")


async def test_whatever_a_line_does_it_is_noticed_and_no_reading_is_lost_or_doubled(
    home, tmp_path, said, patience, capsys
):
    found = []
    async with (
        lines_of(home) as (links, ingest, abroad),
        ingest.listening(),
        agent(abroad, tmp_path / "o") as (made, outbox),
    ):
        async with pouring(home, made) as glucose:
            for weather, names in CASES:
                found.append((weather, names, *await through(weather, names, links, outbox, said)))
            for name in ("gateway-broker", "broker-ingest"):
                await eventually(_next(outbox), 30, "the flow before the flip")
                before, began = len(said[name]), time.monotonic()
                links[name].flip()
                await eventually(lambda b=before, n=name: len(said[n]) > b, 20, "a flipped bit, noticed")
                found.append(("one bit flipped, TLS", (name,), time.monotonic() - began, 0.0))
            links["ingest-Kafka"].flip(b'"glucose":')
            await eventually(lambda: links["ingest-Kafka"].flipped == 1, 20, "the flip in Kafka's line")
            await eventually(_next(outbox), 60, "an acknowledgement after the flip")
        await emptied(outbox)
    kept = await books(home, settled(tmp_path / "o"), [home.gateway])
    wrong = sum(kept.kept[name].glucose != value for name, value in glucose.items())
    with capsys.disabled():
        print(f"\n  keepalive {KEEPALIVE_S} s, the database's answer waited for {ANSWER_S:.0f} s")
        for weather, names, noticed, again in found:
            seen = f"noticed after {noticed:5.1f} s" if noticed is not None else "endured             "
            where = names[0] if len(names) == 1 else "all four at once"
            print(f"  {weather:22}{where:20}{seen}, next answer {again:.1f} s later")
        print(
            f"  made {len(glucose)}, acknowledged {kept.acked}, missing {kept.missing}, doubled {kept.doubled}, "
            f"values wrong {wrong}, records in Kafka {kept.in_log}"
        )
    assert kept.acked == len(glucose) > 200
    assert (kept.missing, kept.doubled, wrong) == (0, 0, 0)


class Careless(Agent):
    """Broken on purpose: what it has handed to the network has arrived."""

    def _tell(self, line, flight, now):
        super()._tell(line, flight, now)
        self._outbox.settle([flight.row.id], now=self._clock())


async def test_a_gateway_that_forgets_what_it_has_sent_loses_readings_on_a_silent_line(
    home, tmp_path, said, capsys
):
    """The negative control: the same counting must convict it."""
    async with (
        lines_of(home) as (links, ingest, abroad),
        ingest.listening(),
        agent(abroad, tmp_path / "o", kind=Careless) as (made, outbox),
    ):
        async with pouring(home, made) as glucose:
            await through(Weather.SILENT, ("gateway-broker",), links, outbox, said)
        await emptied(outbox)
    kept = await books(home, settled(tmp_path / "o"), [home.gateway])
    with capsys.disabled():
        print(
            f"\n  forgetting what was sent: made {len(glucose)}, believed delivered {kept.acked}, missing {kept.missing}"
        )
    assert kept.missing > 0


async def test_without_tls_the_flipped_bit_arrives():
    """The control of the flip itself: the proxy does what it says, and TCP does not mind."""
    heard = asyncio.Queue()

    async def answer(reader, writer):
        heard.put_nowait(await reader.readexactly(3))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Link("127.0.0.1", server.sockets[0].getsockname()[1]) as link:
        link.flip(b"1")
        _, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"120")
        assert await asyncio.wait_for(heard.get(), 5) == b"130"
        writer.transport.abort()
