"""From the broker's queue to Kafka-acknowledged and archived, beside doing nothing and beside forwarding blindly.

A backlog waits in real Mosquitto; each rival, in its own process, empties one like it. Printed with `-s`: medians of
readings a second, processor µs a reading, memory, and the ratios. `BENCH_ROUNDS` and `BENCH_READINGS` make it longer.
"""

import asyncio
import json
import os
import statistics
import subprocess
import time
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from ingest.mqtt import dial
from ingest.wire import EVERYTHING
from tests.ingest_home import Home, until, utc_now

pytestmark = [pytest.mark.bench, pytest.mark.stack, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
READINGS = int(os.environ.get("BENCH_READINGS", "10000"))
DEVICES = 2_000
RIVALS = ("noop", "forward", "ingest")
LEAST_OF_FORWARDER = 0.15  # by the clock, on a machine that may be busy: a sign of life; the goal is 0.6


@pytest.fixture
def home(stack, fresh_database):
    home = Home(stack, fresh_database).furnish()
    with psycopg.connect(fresh_database.superuser) as conn:
        conn.execute(
            """INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone)
               SELECT md5('p' || n)::uuid, 1, 'b' || n, 'b' || n, '1950-01-01', 'America/Chicago' FROM generate_series(1, %s) n""",
            (DEVICES,),
        )
        conn.execute(
            """INSERT INTO ingest.device (device_id, practice_id, family)
               SELECT 'cuff-' || n, 1, 'canonical' FROM generate_series(1, %s) n""",
            (DEVICES,),
        )
        conn.execute(
            """INSERT INTO ingest.device_assignment
               SELECT 'cuff-' || n, 1, md5('p' || n)::uuid, tstzrange('2020-01-01', NULL) FROM generate_series(1, %s) n""",
            (DEVICES,),
        )
        conn.execute("ANALYZE")
    return home


def backlog(home, turn):
    """Messages that no turn has seen: each a new fact."""
    at = utc_now() - timedelta(days=20) + timedelta(hours=turn)
    for n in range(READINGS):
        moment = (at + timedelta(milliseconds=180 * n)).isoformat()
        yield (
            f'{{"device":"cuff-{n % DEVICES + 1}","id":"{uuid4()}","kind":"bp","seq":{turn * READINGS + n},'
            f'"systolic":{110 + n % 60},"diastolic":{70 + n % 20},"pulse":{60 + n % 30},'
            f'"measured_at":"{moment}","gateway_time":"{moment}","flags":[]}}'
        ).encode()


async def fill(home, turn):
    """The bridge's session exists and is away; the broker keeps the messages for it."""
    async with dial(home.broker(home.gateway), topics=[], in_flight=1_000) as line:
        window = asyncio.Semaphore(1_000)
        told = []
        for payload in backlog(home, turn):
            await window.acquire()
            one = line.tell(f"v1/{home.gateway}/readings", payload)
            one.add_done_callback(lambda _: window.release())
            told.append(one)
        assert {await one for one in told} == {0}


async def empty(home):
    async with dial(home.broker("bridge"), topics=[EVERYTHING]) as line:
        while True:
            try:
                async with asyncio.timeout(0.5):
                    (await line.take(1_000)).acknowledge()
            except TimeoutError:
                return


def test_how_fast_a_backlog_becomes_kafka_acknowledged_and_archived(home, capsys):
    asyncio.run(empty(home))
    found = {who: [] for who in RIVALS}
    turn = 0
    for _ in range(ROUNDS):
        for who in RIVALS:
            asyncio.run(fill(home, turn))
            turn += 1
            rival = home.process("tests.bench.ingest_rivals", who, str(READINGS), log=subprocess.PIPE)
            out, err = (
                rival.communicate(timeout=300) if rival.stderr else (rival.communicate(timeout=300)[0], b"")
            )
            assert rival.returncode == 0, out + (err or b"")
            last = out.strip().splitlines()[-1]
            found[who].append(json.loads(last))
    archived = _archive(home)
    with capsys.disabled():
        print("\n" + _told(found, archived))
    rate = {who: READINGS / statistics.median(r["seconds"] for r in turns) for who, turns in found.items()}
    assert rate["ingest"] / rate["forward"] > LEAST_OF_FORWARDER


def _archive(home):
    """Readings a second from Kafka into the hypertable, by the archive's own process."""
    count = lambda: home.rows("SELECT count(*) FROM ingest.reading WHERE gateway_id = %s", home.gateway)[0][0]  # noqa: E731
    process = home.process("deploy.cli", "run", "archive", log=subprocess.DEVNULL)
    try:
        until(lambda: count() > 0, 120, "the first archived reading")
        started, first = time.perf_counter(), count()
        until(lambda: count() >= READINGS * ROUNDS, 300, "everything archived")
        return (READINGS * ROUNDS - first) / (time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(20)


def _told(found, archived):
    lines = [f"  {READINGS} readings a turn, {ROUNDS} rounds, load average {os.getloadavg()[0]:.1f}"]
    rates = {who: [READINGS / turn["seconds"] for turn in turns] for who, turns in found.items()}
    for who in RIVALS:
        cpu = statistics.median(turn["cpu"] / READINGS * 1e6 for turn in found[who])
        rss = max(turn["rss_mb"] for turn in found[who])
        middle, least, most = statistics.median(rates[who]), min(rates[who]), max(rates[who])
        lines.append(
            f"  {who:8} {middle:7.0f}/s ({least:.0f} to {most:.0f})  {cpu:4.0f} µs processor  {rss:4.0f} MB"
        )
    ours = statistics.median(rates["ingest"])
    work = {who: statistics.median(turn["cpu"] for turn in found[who]) for who in RIVALS}
    for who in ("noop", "forward"):
        clock, processor = ours / statistics.median(rates[who]), work[who] / work["ingest"]
        lines.append(f"  ingest is {clock:.2f} of {who} by the clock, {processor:.2f} by processor time")
    lines.append(f"  archive  {archived:7.0f}/s")
    return "\n".join(lines)
