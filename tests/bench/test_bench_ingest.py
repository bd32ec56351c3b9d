"""From the broker's queue to Kafka-acknowledged and archived, beside doing nothing and beside forwarding blindly.

A backlog waits in real Mosquitto; each rival, in its own process, empties one like it. Printed with `-s`: medians of
readings a second, processor µs a reading, memory, and the ratios. `BENCH_ROUNDS` and `BENCH_READINGS` make it longer; `BENCH_BACKLOG` is what waits in
the test that looks at order and memory.
"""

import asyncio
import json
import os
import statistics
import subprocess
import threading
import time
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from ingest.mqtt import dial
from ingest.wire import EVERYTHING
from tests.ingest_home import Home, spoken, until, utc_now

pytestmark = [pytest.mark.bench, pytest.mark.stack, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
READINGS = int(os.environ.get("BENCH_READINGS", "10000"))
BACKLOG = int(os.environ.get("BENCH_BACKLOG", "100000"))
DEVICES = 2_000
RIVALS = ("noop", "forward", "ingest")
MOST_MB = 250  # of ingest, whatever waits
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


def backlog(turn, count):
    """Messages that no turn has seen: each a new fact, each device's in the order of their times."""
    at = utc_now() - timedelta(days=20) + timedelta(hours=turn)
    for n in range(count):
        moment = (at + timedelta(milliseconds=180 * n)).isoformat()
        yield (
            f'{{"device":"cuff-{n % DEVICES + 1}","id":"{uuid4()}","kind":"bp","seq":{turn * count + n},'
            f'"systolic":{110 + n % 60},"diastolic":{70 + n % 20},"pulse":{60 + n % 30},'
            f'"measured_at":"{moment}","gateway_time":"{moment}","flags":[]}}'
        ).encode()


async def fill(home, turn, count=READINGS):
    """The bridge's session exists and is away; the broker keeps the messages for it."""
    async with dial(home.broker(home.gateway), topics=[], in_flight=1_000) as line:
        window = asyncio.Semaphore(1_000)
        told = []
        for payload in backlog(turn, count):
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


def emptied(home, who, count):
    """What this rival said of emptying the queue, and the memory it had meanwhile: (seconds, MB) pairs."""
    rival = home.process("tests.bench.ingest_rivals", who, str(count), log=subprocess.PIPE)
    memory, over = [], threading.Event()

    def watch():
        began = time.monotonic()
        while not over.wait(0.2):
            try:
                status = Path(f"/proc/{rival.pid}/status").read_text()
            except OSError:  # it has ended
                return
            if "VmRSS:" in status:
                kilobytes = status.partition("VmRSS:")[2].split()[0]
                memory.append((time.monotonic() - began, int(kilobytes) / 1024))

    watching = threading.Thread(target=watch)
    watching.start()
    out, err = rival.communicate(timeout=600)
    over.set()
    watching.join()
    assert rival.returncode == 0, out + (err or b"")
    return json.loads(out.strip().splitlines()[-1]), memory


def test_how_fast_a_backlog_becomes_kafka_acknowledged_and_archived(home, capsys):
    asyncio.run(empty(home))
    found = {who: [] for who in RIVALS}
    turn = 0
    for _ in range(ROUNDS):
        for who in RIVALS:
            asyncio.run(fill(home, turn))
            turn += 1
            found[who].append(emptied(home, who, READINGS)[0])
    archived = _archive(home)
    with capsys.disabled():
        print("\n" + _told(found, archived))
    rate = {who: READINGS / statistics.median(r["seconds"] for r in turns) for who, turns in found.items()}
    assert rate["ingest"] / rate["forward"] > LEAST_OF_FORWARDER


def test_a_long_backlog_is_drained_in_order_with_bounded_memory(home, capsys):
    asyncio.run(empty(home))
    lines = [f"  {BACKLOG} readings of {DEVICES} devices wait, load average {os.getloadavg()[0]:.1f}"]
    for turn, who in enumerate(("forward", "ingest")):
        asyncio.run(fill(home, 100 + 10 * turn, BACKLOG))
        said, memory = emptied(home, who, BACKLOG)
        lines.append(
            f"  {who:8} {said['seconds']:6.1f} s  {BACKLOG / said['seconds']:6.0f}/s  "
            f"{said['cpu'] / BACKLOG * 1e6:4.0f} µs processor  {_over_time(memory, said)}"
        )
    told = asyncio.run(spoken(home.stack, [home.gateway]))
    of_patient = defaultdict(list)
    for reading in told:
        of_patient[reading.patient_id].append(reading.effective_at)
    assert len({reading.event_id for reading in told}) == len(told) == BACKLOG
    early = sum(later < first for times in of_patient.values() for first, later in pairwise(times))
    lines.append(
        f"  in Kafka: {len(told)}, each once; {early} of them before an earlier one of the same patient"
    )
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert early == 0
    assert said["rss_mb"] < MOST_MB


def _over_time(memory, said):
    """Memory at the first message, after each quarter of the way, and at most."""
    end = memory[-1][0]
    marks = [end - said["seconds"] * (1 - part / 4) for part in range(5)]
    points = [min(memory, key=lambda one: abs(one[0] - mark))[1] for mark in marks]
    return " → ".join(f"{mb:.0f}" for mb in points) + f" MB, at most {said['rss_mb']:.0f}"


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
