"""The whole path, measured with every promise on: TLS, real Kafka with flush, application acks, fences, archive.

Two questions, asked in turn and again: how many readings a second get from a gateway to "archived, scored and
triaged" (beside a consumer of the same topic that does nothing), and how long one reading that opens an episode
takes from the moment its publish was due until another database connection reads the episode.

`BENCH_ROUNDS`, `BENCH_READINGS`, `BENCH_SECONDS` make it longer or shorter.
"""

import asyncio
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.native import undertaker
from deploy.native.stack import ROOT
from ingest.events import READINGS
from tests.bench import path_load
from tests.product import Product

pytestmark = [pytest.mark.bench, pytest.mark.stack, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
READINGS_EACH_ROUND = int(os.environ.get("BENCH_READINGS", "12000"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
RATES = (50, 2_000)
PROBES_A_SECOND = 50
GATEWAYS, DEVICES, EACH, WINDOW = 4, 2_400, 5, 800
PATIENCE_S = 120
ROOMS = ("archive", "risk", "alerts")
FLOOR = 50  # readings a second: not a goal, only a sign of life
TICK = os.sysconf("SC_CLK_TCK")


class Crowd:
    """One practice with gateways, and as many patients with a cuff each as are wanted."""

    def __init__(self, product):
        self.product = product
        product.practice(1)
        self.gateways = [product.gateway(1, f"gw-bench-{n}") for n in range(GATEWAYS)]
        self.devices = self.people("cuff", DEVICES)
        self._names, self._seq = uuid4().int & ~((1 << 48) - 1), 1

    def people(self, kind: str, count: int) -> list[str]:
        devices = [f"{kind}-{uuid4().hex[:6]}-{n}" for n in range(count)]
        with psycopg.connect(self.product.stack.dsn("lamplight_pipeline")) as conn:
            conn.execute(
                """WITH new AS (SELECT device, gen_random_uuid() AS patient FROM unnest(%s::text[]) AS device),
                        p AS (INSERT INTO who.patient
                              SELECT patient, 1, device, device, '1951-04-12', 'America/New_York' FROM new),
                        d AS (INSERT INTO ingest.device (device_id, practice_id, family)
                              SELECT device, 1, 'canonical' FROM new)
                   SELECT device, patient FROM new""",
                (devices,),
            )
            conn.execute(
                """INSERT INTO ingest.device_assignment
                   SELECT name, 1, patient_id, '[2020-01-01,)' FROM who.patient WHERE name = ANY(%s)""",
                (devices,),
            )
        return devices

    def plan(self, total: int, **more) -> dict:
        host, _, port = self.product.stack.mqtt.rpartition(":")
        plan = {
            "host": host,
            "port": int(port),
            "gateways": [
                {"name": c.name, "ca": str(c.ca), "cert": str(c.cert), "key": str(c.key)}
                for c in self.gateways
            ],
            "devices": self.devices,
            "window": WINDOW,
            "patience": PATIENCE_S,
            "first": self._names,
            "seq": self._seq,
            "total": total,
            **more,
        }
        self._names += total
        self._seq += total // len(self.devices) + EACH + 1
        return plan


class Load:
    """The publisher in a process of its own, connected and waiting for `go`."""

    def __init__(self, plan):
        self.plan = plan
        self._process = subprocess.Popen(
            [sys.executable, "-m", path_load.__name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(plan))
        assert self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        self._say("go")

    def result(self) -> dict:
        said = self._process.stdout.readline()
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(10) == 0
        return json.loads(said)

    def _say(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


# What it costs ----------------------------------------------------------------------------------------------------


def processes(product) -> dict[str, list[int]]:
    """Which processes are ours, by what they are; the database is its postmaster with all its children."""
    found = {name: [product.pid(name)] for name in ("ingest", "archive", "risk", "alerts", "ccm", "web")}
    found |= {name: [product.stack.processes.alive(name).pid] for name in ("mosquitto", "kafka")}
    postmaster = int((product.stack.folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    found["postgres"] = [postmaster]
    return found


def stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(product) -> dict[str, float]:
    """User and system time so far, from /proc; the database's includes its children, living and ended."""
    used = {}
    for name, pids in processes(product).items():
        ticks = sum(sum(map(int, stat(pid)[11:13])) for pid in pids)
        if name == "postgres":
            (postmaster,) = pids
            for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
                # one that ends meanwhile is counted by the postmaster
                with suppress(FileNotFoundError, ProcessLookupError):
                    ticks += sum(map(int, stat(int(child))[11:13]))
            ticks += sum(map(int, stat(postmaster)[13:15]))
        used[name] = ticks / TICK
    return used


METRIC = re.compile(r"^(lamplight_\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def counted(product) -> dict[str, float]:
    """The services' own counters: what was served in how many batches, and how long those took."""
    numbers = {}
    for service in ("ingest", *ROOMS):
        url = f"http://127.0.0.1:{product.stack.ports[f'{service}_status']}/metrics/"
        with urllib.request.urlopen(url, timeout=10) as answer:
            for name, labels, value in METRIC.findall(answer.read().decode()):
                if service == "ingest" or f'room="{service}"' in labels:
                    outcome = (
                        "_skipped"
                        if 'outcome="skipped"' in labels
                        else "_parked"
                        if 'outcome="parked"' in labels
                        else ""
                    )
                    if 'le="' not in labels:
                        numbers[f"{service}.{name.removeprefix('lamplight_')}{outcome}"] = float(value)
    return numbers


def less(after: dict, before: dict) -> dict:
    return {name: after[name] - before.get(name, 0) for name in after}


# A: the path, saturated -------------------------------------------------------------------------------------------


def saturated(product, crowd, *, hop_by_hop=True) -> dict:
    """From the first publish until every reading is archived, scored and triaged; then nothing may be missing."""
    assert READINGS_EACH_ROUND % DEVICES == 0
    total = READINGS_EACH_ROUND
    load = Load(crowd.plan(total, each=total // DEVICES))
    with psycopg.connect(product.stack.dsn("lamplight_pipeline"), autocommit=True) as conn:
        offsets = "SELECT room, sum(next_offset)::int FROM pump.partition WHERE room = ANY(%s) GROUP BY room"

        def progress():
            return dict.fromkeys(ROOMS, 0) | dict(conn.execute(offsets, (list(ROOMS),)).fetchall())

        before, cpu, counters = progress(), cpu_seconds(product), counted(product)
        load.go()
        began = time.time()
        done: dict[str, float] = {}
        while len(done) < len(ROOMS):
            assert time.time() - began < PATIENCE_S, stuck(conn, less(progress(), before), total)
            time.sleep(0.05)
            for room, at in progress().items():
                if room not in done and at - before[room] >= total:
                    done[room] = time.time()
        cpu = less(cpu_seconds(product), cpu)
        counters = less(counted(product), counters)
        told = load.result()
        stored = missing(conn, load.plan)
        hops = residence(conn, load.plan) if hop_by_hop else {}
    started = told["started"]
    return {
        "sent": total,
        "stored": stored,
        "acked": told["acked"],
        "refused": told["refused"],
        "rate": total / (max(done.values()) - started),
        "finished": {"acknowledged": told["last_ack"] - started}
        | {room: done[room] - started for room in ROOMS},
        "cpu": {
            **{name: used / total * 1e6 for name, used in cpu.items()},
            "load": told["cpu"] / total * 1e6,
        },
        "batch": batches(counters),
        "hops": hops,
    }


def stuck(conn, progress, total) -> str:
    """Why it may have taken so long: what was parked, what waits, and whether a room was started again."""
    parked = conn.execute("SELECT room, error, count(*) FROM pump.parked GROUP BY room, error").fetchall()
    waiting = conn.execute("SELECT room, count(*) FROM pump.outbox GROUP BY room").fetchall()
    claims = conn.execute("SELECT room, max(epoch), max(tries) FROM pump.partition GROUP BY room").fetchall()
    return f"after {PATIENCE_S} s {progress} of {total}; parked {parked}, outbox {waiting}, epochs and tries {claims}"


def missing(conn, plan) -> dict[str, int]:
    """How many of the sent readings each place has, each once."""
    first, last = UUID(int=plan["first"]), UUID(int=plan["first"] + plan["total"] - 1)
    archived = conn.execute(
        "SELECT count(*), count(DISTINCT caused_by) FROM ingest.reading WHERE caused_by BETWEEN %s AND %s",
        (first, last),
    ).fetchone()
    scored, triaged = conn.execute(
        """SELECT count(s.reading_id), count(o.reading_id)
             FROM ingest.reading r LEFT JOIN risk.score s ON s.reading_id = r.event_id AND s.effective_at = r.effective_at
                                   LEFT JOIN alerts.observation o ON o.reading_id = r.event_id
            WHERE r.caused_by BETWEEN %s AND %s""",
        (first, last),
    ).fetchone()
    return {"archived": archived[0], "distinct": archived[1], "scored": scored, "triaged": triaged}


def residence(conn, plan) -> dict[str, list[float]]:
    """When each reading of the plan was where, in milliseconds between neighbours; the database's own clock.

    `pump.seen` has the begin of each room's transaction; commit times are kept by the server (before its flush).
    """
    rows = conn.execute(
        """SELECT extract(epoch FROM r.received_at), extract(epoch FROM pg_xact_commit_timestamp(a.xmin)),
                  extract(epoch FROM k.at),
                  extract(epoch FROM pg_xact_commit_timestamp(k.xmin)), extract(epoch FROM t.at),
                  extract(epoch FROM pg_xact_commit_timestamp(t.xmin))
             FROM ingest.reading r
             JOIN ingest.reading_key a ON a.event_id = r.event_id
             JOIN pump.seen k ON k.room = 'risk' AND k.event_id = r.event_id
             JOIN risk.score s ON s.reading_id = r.event_id AND s.effective_at = r.effective_at
             JOIN pump.seen t ON t.room = 'alerts' AND t.event_id = s.event_id
            WHERE r.caused_by BETWEEN %s AND %s""",
        (UUID(int=plan["first"]), UUID(int=plan["first"] + plan["total"] - 1)),
    ).fetchall()
    numbers = [[float(value) for value in row] for row in rows]
    return {
        "heard → risk begins": [(k - heard) * 1e3 for heard, _, k, _, _, _ in numbers],
        "risk begins → committed": [(kc - k) * 1e3 for _, _, k, kc, _, _ in numbers],
        "risk committed → alerts begins (outbox, relay, Kafka)": [
            (t - kc) * 1e3 for _, _, _, kc, t, _ in numbers
        ],
        "alerts begins → committed": [(tc - t) * 1e3 for _, _, _, _, t, tc in numbers],
        "heard → archived (beside it)": [(ac - heard) * 1e3 for heard, ac, _, _, _, _ in numbers],
    }


def batches(counters: dict[str, float]) -> dict[str, tuple[float, float]]:
    """By service: events per batch, and milliseconds per batch."""
    found = {}
    took, count = counters["ingest.ingest_ack_seconds_sum"], counters["ingest.ingest_ack_seconds_count"]
    found["ingest"] = counters["ingest.ingest_received_total"] / max(count, 1), took / max(count, 1) * 1e3
    for room in ROOMS:
        took, count = counters[f"{room}.room_batch_seconds_sum"], counters[f"{room}.room_batch_seconds_count"]
        found[room] = counters[f"{room}.room_events_total"] / max(count, 1), took / max(count, 1) * 1e3
    return found


# B: a consumer of the same topic that does nothing ------------------------------------------------------------------


async def nothing(bootstrap: str, partitions: int) -> float:
    """Records a second through `getmany`, decoding none; the topic is read again and again for two seconds."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=4 * 1024 * 1024
    )
    await consumer.start()
    try:
        parts = [TopicPartition(READINGS, n) for n in range(partitions)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        seen, began = 0, time.perf_counter()
        while time.perf_counter() - began < 2:
            await consumer.seek_to_beginning(*parts)
            left = sum(ends.values())
            while left > 0:
                got = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
                if not got:
                    break  # a fetch was thrown away by the seek: read from the beginning again
                count = sum(map(len, got.values()))
                seen, left = seen + count, left - count
        return seen / (time.perf_counter() - began)
    finally:
        await consumer.stop()


# Open loop ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(dsn: str):
    """When another connection could read each patient's new episode: listen, then look."""
    seen: dict[UUID, float] = {}

    async def watch():
        async with (
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as bell,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as eye,
        ):
            await bell.execute("LISTEN alerts_moved")
            (last,) = await (
                await eye.execute("SELECT coalesce(max(seq), 0) FROM alerts.transition")
            ).fetchone()
            listening.set()
            while True:
                async for _ in bell.notifies(timeout=0.5, stop_after=1):
                    pass
                rows = await (
                    await eye.execute(
                        """SELECT t.seq, t.patient_id FROM alerts.transition t JOIN alerts.episode USING (episode_id)
                            WHERE t.seq > %s AND t.move = 'opened' ORDER BY t.seq""",
                        (last,),
                    )
                ).fetchall()
                now = time.time()
                for seq, patient_id in rows:
                    seen.setdefault(patient_id, now)
                    last = seq

    listening = asyncio.Event()
    task = asyncio.create_task(watch())
    try:
        await listening.wait()
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def open_loop(product, crowd, rate: int) -> dict:
    """`rate` readings a second for some seconds, whoever is slow; each probe opens one episode of a fresh patient."""
    devices = crowd.people("probe", min(rate, PROBES_A_SECOND) * SECONDS)
    patients = dict(product.rows("SELECT name, patient_id FROM who.patient WHERE name = ANY(%s)", devices))
    dsn = product.stack.dsn("lamplight_pipeline")
    load = await asyncio.to_thread(Load, crowd.plan(rate * SECONDS, rate=rate, probes=devices))
    async with watching(dsn) as seen:
        load.go()
        told = await asyncio.to_thread(load.result)
        wanted = [patients[device] for device in devices]
        until = time.monotonic() + PATIENCE_S
        while any(patient not in seen for patient in wanted) and time.monotonic() < until:
            await asyncio.sleep(0.1)
    lost = [patient for patient in wanted if patient not in seen]
    assert not lost, f"{len(lost)} of {len(wanted)} probes opened no episode within {PATIENCE_S} s"
    probes = told["probes"]
    whole = [(seen[patient] - due) * 1e3 for (_, due, _, _), patient in zip(probes, wanted, strict=True)]
    with psycopg.connect(dsn, autocommit=True) as conn:
        names = [UUID(int=name) for name, _, _, _ in probes]
        heard = dict(
            conn.execute(
                "SELECT caused_by, extract(epoch FROM received_at)::float8 FROM ingest.reading WHERE caused_by = ANY(%s)",
                (names,),
            ).fetchall()
        )
        hops = {
            "due → heard by ingest (MQTT)": [
                (heard[n] - due) * 1e3 for n, (_, due, _, _) in zip(names, probes, strict=True)
            ],
            "heard → application ack at the gateway (beside it)": [
                (acked - heard[n]) * 1e3 for n, (_, _, _, acked) in zip(names, probes, strict=True) if acked
            ],
            **residence(conn, load.plan),
        }
        stored = missing(conn, load.plan)
    late = [(out - due) * 1e3 for _, due, out, _ in probes]
    return {"rate": rate, "sent": told["sent"], "stored": stored, "whole": whole, "hops": hops, "late": late}


# What is printed ----------------------------------------------------------------------------------------------------


def middle(values) -> str:
    values = list(values)
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def percentile(values, p: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p))]


def quantiles(values) -> str:
    return f"p50 {percentile(values, 0.5):>8,.1f}   p99 {percentile(values, 0.99):>8,.1f} ms"


def load_average() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


@pytest.fixture
def whole():
    folder = Path(tempfile.mkdtemp(prefix="lamplight-bench-"))
    folder.chmod(0o755)
    with undertaker.watched(folder):
        product = Product(folder, postgres_settings={"track_commit_timestamp": "on"}).start()
        yield product
        product.stop()


def test_readings_a_second_and_milliseconds_to_an_episode_through_every_promise(whole, capsys):
    with capsys.disabled():
        command = " ".join(shlex.quote(word) for word in ("pytest", *sys.argv[1:]))
        print(f"\n\n{command}\n{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {platform.machine()}, Python "
              f"{platform.python_version()}; load average at the start {load_average()}")  # fmt: skip
        print(", ".join(f"{name} {version}" for name, version in whole.stack.versions().items())
              + f"; {whole.stack.partitions} partitions, {GATEWAYS} gateways, {DEVICES} devices")  # fmt: skip
        crowd = Crowd(whole)
        saturated(whole, crowd)  # every patient is heard once before anything counts
        path, idle, timed = [], [], {rate: [] for rate in RATES}
        for turn in range(ROUNDS):
            path.append(saturated(whole, crowd))
            idle.append(asyncio.run(nothing(whole.stack.kafka, whole.stack.partitions)))
            for rate in RATES:
                timed[rate].append(asyncio.run(open_loop(whole, crowd, rate)))
            print(f"  round {turn + 1}: path {path[-1]['rate']:,.0f}/s, no-op {idle[-1]:,.0f}/s, "
                  + ", ".join(f"{rate}/s p50 {percentile(t[-1]['whole'], .5):,.0f} p99 {percentile(t[-1]['whole'], .99):,.0f} ms"
                              for rate, t in timed.items())
                  + f"; load {load_average()}", flush=True)  # fmt: skip
        told(path, idle, timed)
    for one in [*path, *(t for rounds in timed.values() for t in rounds)]:
        assert set(one["stored"].values()) == {one["sent"]}, one["stored"]
    assert statistics.median(one["rate"] for one in path) > FLOOR


def told(path, idle, timed) -> None:
    print(
        f"\nSaturated, {READINGS_EACH_ROUND:,} readings a round: publish → all archived, scored and triaged"
    )
    print(f"  the path       {middle(one['rate'] for one in path):>28} readings/s")
    print(f"  no-op consumer {middle(idle):>28} records/s")
    if all(set(one["stored"].values()) == {one["sent"]} and one["acked"] == one["sent"] for one in path):
        ratios = sorted(one["rate"] / rate for one, rate in zip(path, idle, strict=True))
        print(f"  ratio          {statistics.median(ratios):>12.4f} ({ratios[0]:.4f} to {ratios[-1]:.4f})")
    else:
        print(
            "  no ratio: stored differs from sent:",
            [(one["sent"], one["acked"], one["stored"]) for one in path],
        )
    print("\n  finished, seconds after the first publish")
    for name in path[0]["finished"]:
        print(f"    {name:<14}" + "".join(f"{one['finished'][name]:>8.2f}" for one in path))
    print("\n  CPU per reading, microseconds, by process")
    for name in path[0]["cpu"]:
        print(f"    {name:<14}{middle(one['cpu'][name] for one in path):>28}")
    print(f"    {'all':<14}{middle(sum(one['cpu'].values()) for one in path):>28}")
    print("\n  events per batch; milliseconds per batch (ingest: heard → answered; rooms: fence → commit)")
    for name in path[0]["batch"]:
        print(
            f"    {name:<14}{middle(one['batch'][name][0] for one in path):>20}{middle(one['batch'][name][1] for one in path):>28}"
        )
    print("\n  residence of a reading, all rounds")
    for name in path[0]["hops"]:
        print(f"    {name:<56}{quantiles([v for one in path for v in one['hops'][name]])}")
    for rate, rounds in timed.items():
        probes = sum(len(one["whole"]) for one in rounds)
        print(
            f"\nOpen loop, {rate:,}/s for {SECONDS} s a round, {probes} probes: due time of the publish → episode read elsewhere"
        )
        print(f"  p50 {middle(percentile(one['whole'], 0.5) for one in rounds)} ms, "
              f"p99 {middle(percentile(one['whole'], 0.99) for one in rounds)} ms; the load itself was late by "
              f"{max(percentile(one['late'], 0.99) for one in rounds):.1f} ms (p99)")  # fmt: skip
        for name in rounds[0]["hops"]:
            print(f"    {name:<56}{quantiles([v for one in rounds for v in one['hops'][name]])}")
    print(f"\nload average at the end {load_average()}")
