"""What a score costs: as pure computation, with a million patients, and through the real pump beside Quix Streams.

Rivals live in an environment of their own, `.lamplight/rivals`, made by this bench on first use from the `bench`
group of pyproject.toml (Quix Streams wants an older pydantic than the product). `BENCH_ROUNDS`, `BENCH_READINGS` and
`BENCH_PATIENTS` make it longer or shorter. `docs/bench-risk.md` holds figures of one machine and hour.
"""

import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sklearn.linear_model import LogisticRegression

from deploy import bus
from ingest.events import READINGS, Kind, Reading, TimeConfidence
from ingest.stream import Record, send
from risk.features import NAMES
from risk.measures import NO_PLAN
from risk.memory import GLUCOSE, PRESSURE, empty
from risk.scoring import score_all
from risk.store import packaged_model
from tests.bench.slope import step

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
RIVALS = ROOT / ".lamplight" / "rivals"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MANY = int(os.environ.get("BENCH_READINGS", "20000"))
PATIENTS = int(os.environ.get("BENCH_PATIENTS", "1000000"))
START = datetime(2026, 1, 1, 7, tzinfo=UTC)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PATIENCE_S = 300


def a_reading(patient, at, draw, kind=Kind.BLOOD_PRESSURE):
    cuff = kind is Kind.BLOOD_PRESSURE
    return Reading(
        event_id=UUID(int=draw.getrandbits(128)),
        caused_by=UUID(int=draw.getrandbits(128)),
        practice_id=1,
        patient_id=patient,
        device_id="cuff-1",
        gateway_id="home-1",
        kind=kind,
        effective_at=at,
        received_at=at,
        time_rule="device",
        time_confidence=TimeConfidence.HIGH,
        utc_offset_minutes=0,
        systolic=round(134 + draw.gauss(0, 8)) * 1.0 if cuff else None,
        diastolic=round(80 + draw.gauss(0, 5)) * 1.0 if cuff else None,
        pulse=round(70 + draw.gauss(0, 6)) * 1.0 if cuff else None,
        glucose=None if cuff else float(max(45, round(140 + draw.gauss(0, 35)))),
        raw=b"{}",
    )


def people(count, draw):
    return [UUID(int=draw.getrandbits(128)) for _ in range(count)]


def load():
    return "load average " + " ".join(f"{one:.1f}" for one in os.getloadavg())


def warm(kind, draw, days=64):
    """The memory of somebody who has measured for two months."""
    (patient,) = people(1, draw)
    memories = {}
    for half in range(days * 2):
        one = a_reading(patient, START + timedelta(days=half / 2), draw, kind)
        score_all(memories, [one], [NO_PLAN], packaged_model())
    return memories[patient, kind]


def rate_of(memories, patients, kind, batch, *, batches, draw, day=65.0):
    """Readings a second of processor time, each batch of other people drawn at random."""
    model, plans, spent = packaged_model(), [NO_PLAN] * batch, []
    for turn in range(batches + 2):
        some = draw.sample(patients, batch)
        readings = [a_reading(one, START + timedelta(days=day + turn / 200), draw, kind) for one in some]
        began = time.process_time()
        score_all(memories, readings, plans, model)
        if turn > 1:
            spent.append(time.process_time() - began)
    return batch / statistics.median(spent)


def rivals():
    """The rivals' own Python."""
    python = RIVALS / "bin" / "python"
    if not python.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(RIVALS)], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", str(python), "--group", f"{ROOT}/pyproject.toml:bench"],
            check=True,
        )
    return str(python)


def test_scores_a_second_as_pure_computation(capsys):
    draw, lines = random.Random(1), []
    for kind in Kind:
        patients = people(1_000, draw)
        memory = warm(kind, draw)
        for batch in (1, 17, 100, 500):
            memories = {(patient, kind): memory for patient in patients}
            rate = rate_of(memories, patients, kind, batch, batches=40 if batch < 100 else 12, draw=draw)
            lines.append(
                f"  {kind.value:8} batch {batch:4}: {rate:9,.0f} scores/s, {1e6 / rate:6.0f} us each"
            )
            if batch == 500:
                assert rate > 1_500  # a sign of life on a busy machine
    slope = _slope_alone(draw)
    beside = json.loads(
        subprocess.run(
            [rivals(), "-m", "tests.bench.river_rival", "20000", "1000"],
            cwd=ROOT, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True, timeout=PATIENCE_S,
        ).stdout
    )  # fmt: skip
    row, rows = _sklearn(draw)
    with capsys.disabled():
        print(f"\nPure computation, one core, {load()}", *lines, sep="\n")
        print("  Plainer jobs, nothing durable:")
        print(f"    exponential mean and fading slope, plain Python: {slope:,.0f}/s")
        for name, rate in beside.items():
            print(f"    river, {name}: {rate:,.0f}/s")
        print(f"    scikit-learn's logistic, row by row: {row:,.0f}/s; batch of 500: {rows:,.0f}/s")


def _slope_alone(draw):
    states, patients = {}, list(range(1_000))
    told = [(draw.choice(patients), n * 60.0, 120 + draw.gauss(0, 9)) for n in range(50_000)]
    began = time.process_time()
    for who, at, value in told:
        states[who], _, _ = step(states.get(who), at, value)
    return len(told) / (time.process_time() - began)


def _sklearn(draw):
    x = [[draw.gauss(0, 1) for _ in NAMES] for _ in range(2_000)]
    model = LogisticRegression().fit(x, [row[0] + draw.gauss(0, 1) > 0 for row in x])
    began = time.process_time()
    for row in x:
        model.predict_proba([row])
    single = len(x) / (time.process_time() - began)
    began = time.process_time()
    for _ in range(20):
        for start in range(0, 2_000, 500):
            model.predict_proba(x[start : start + 500])
    return single, 20 * len(x) / (time.process_time() - began)


def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_reading_costs_the_same_with_a_million_patients(capsys):
    """In one process, every memory held: the cost of one reading, and what a patient costs in memory."""
    draw, told = random.Random(2), []
    memory = warm(Kind.BLOOD_PRESSURE, draw)
    for count in sorted({1_000, 10_000, 100_000, PATIENTS}):
        gc.collect()
        before = rss()
        patients = people(count, draw)
        memories = {(patient, Kind.BLOOD_PRESSURE): bytes(bytearray(memory)) for patient in patients}
        held = (rss() - before) / count
        gc.freeze()
        rate = rate_of(memories, patients, Kind.BLOOD_PRESSURE, 500, batches=16, draw=draw)
        gc.unfreeze()
        told.append((count, 1e6 / rate, held))
        del memories, patients
    growth = told[-1][1] / told[0][1]
    with capsys.disabled():
        print(f"\nGrowth, all memories held by one process, {load()}")
        for count, micros, held in told:
            print(
                f"  {count:9,} patients: {micros:5.0f} us a reading, {held / 1024:5.2f} KB a patient with its key"
            )
        print(
            f"  a reading costs {growth:.2f} times as much; state {len(empty(PRESSURE))} B (cuff), {len(empty(GLUCOSE))} B (meter)"
        )
    assert growth < 1.6  # the goal is 1.3; the caches of a shared machine are not ours
    assert told[-1][2] <= 4096
    assert max(len(empty(PRESSURE)), len(empty(GLUCOSE))) <= 4096


GROWTH = tuple(sorted({1_000, 10_000, 100_000, PATIENTS}))
"""Patients in the tables of the room."""


@pytest.mark.stack
def test_a_reading_costs_the_same_with_a_million_patients_in_the_database(
    stack, fresh_database, tmp_path, capsys
):
    """Through the real pump, nothing held: every memory is fetched and written back, a reading of each of many patients."""
    draw, told = random.Random(3), []
    memory = warm(Kind.BLOOD_PRESSURE, draw)
    for count in GROWTH:
        fill_tables(fresh_database.superuser, count, memory)
        some = (
            [draw.randrange(count) for _ in range(MANY)] if count < MANY else draw.sample(range(count), MANY)
        )
        topic = f"bench-growth-{count}"
        asyncio.run(fill_topic(stack.kafka, topic, [patient_of(n) for n in some], draw))
        told.append((count, turn("risk", stack, fresh_database, tmp_path, topic=topic, keep=True)))
        with psycopg.connect(fresh_database.superuser) as conn:
            ((many,),) = conn.execute("SELECT count(*) FROM risk.score WHERE tier <> 'filler'").fetchall()
        assert many == MANY, "no figure: stored differs from sent"
    with capsys.disabled():
        print(f"\nGrowth through the real pump, {MANY} readings, nothing held, {load()}")
        for count, one in told:
            print(
                f"  {count:9,} patients, {count * ROWS_EACH:9,} scores: {1e6 * one['seconds'] / MANY:5.0f} us a reading, "
                f"of its process {1e6 * one['cpu'] / MANY:5.0f}, of PostgreSQL {1e6 * one['postgres'] / MANY:5.0f}"
            )


ROWS_EACH = 2


def patient_of(number):
    return UUID(int=(0x9E3779B97F4A7C15F39CC0605CEDC835 * (number + 1)) % 2**128)


def fill_tables(dsn, count, memory):
    """So many patients with a memory each, and some scores; spread over the index as random ids are."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("TRUNCATE pump.partition, pump.seen, pump.outbox, risk.memory, risk.score")
        at = START + timedelta(days=64)
        with (
            conn.cursor() as cursor,
            cursor.copy(
                "COPY risk.memory (practice_id, patient_id, kind, memory, latest_at) FROM STDIN (FORMAT BINARY)"
            ) as rows,
        ):
            rows.set_types(["int4", "uuid", "text", "bytea", "timestamptz"])
            for number in range(count):
                rows.write_row((1, patient_of(number), "bp", memory, at))
        conn.execute(
            """INSERT INTO risk.score (practice_id, patient_id, event_id, reading_id, effective_at, kind, tier, scored)
               SELECT 1, patient_id, gen_random_uuid(), gen_random_uuid(), latest_at - day * interval '20 days', 'bp',
                      'filler', '{}' FROM risk.memory, generate_series(0, %s) AS day""",
            (ROWS_EACH - 1,),
        )
        conn.execute("ANALYZE risk.memory")
        conn.execute("CHECKPOINT")


async def fill_topic(kafka, topic, patients, draw):
    """One reading of each of these patients, in this order."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 8, 1)])
    await admin.close()
    await bus.ensure_topics(kafka, partitions=8, replication=1)
    encode = msgspec.json.Encoder().encode
    records = [
        Record(topic, str(one).encode(), encode(a_reading(one, START + timedelta(days=65, seconds=n), draw)))
        for n, one in enumerate(patients)
    ]
    async with bus.producer(kafka) as out:
        for start in range(0, len(records), 2_000):
            await send(out, records[start : start + 2_000])


# Beside Quix Streams -------------------------------------------------------------------------------------------------

TURNS = ("noop", "slope", "quix exactly-once", "quix at-least-once", "risk")
NAMED = {
    "noop": "a consumer that does nothing",
    "slope": "mean and slope, our pump",
    "quix exactly-once": "mean and slope, Quix Streams exactly-once",
    "quix at-least-once": "mean and slope, Quix Streams at-least-once",
    "risk": "the whole scorer, our pump",
}


def stat(pid):
    """Processor seconds of a process and of its children, those that are gone included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def with_children(pid):
    total = stat(pid)
    for other in Path("/proc").iterdir():
        if other.name.isdigit():
            try:
                parent = int((other / "stat").read_text().rpartition(")")[2].split()[1])
                total += stat(other.name) if parent == pid else 0.0
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total


def servers(stack):
    postmaster = int((stack.folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    return {"postgres": with_children(postmaster), "kafka": with_children(stack.processes.alive("kafka").pid)}


async def fill(kafka):
    """The readings of 2,000 patients, interleaved, each patient's in order."""
    draw = random.Random(4)
    patients = people(2_000, draw)
    await bus.ensure_topics(kafka, partitions=8, replication=1)
    encode = msgspec.json.Encoder().encode
    async with bus.producer(kafka) as out:
        records = []
        for n in range(MANY):
            patient = patients[n % len(patients)]
            one = a_reading(
                patient, START + timedelta(days=(n // len(patients)) / 2, seconds=n % len(patients)), draw
            )
            records.append(Record(READINGS, str(patient).encode(), encode(one)))
        for start in range(0, len(records), 2_000):
            await send(out, records[start : start + 2_000])


def turn(who, stack, fresh_database, folder, *, topic=READINGS, keep=False):
    """One rival from the beginning of the topic to its end, in a process of its own."""
    with psycopg.connect(fresh_database.superuser, autocommit=True) as conn:
        if not keep:
            conn.execute(
                "TRUNCATE pump.partition, pump.seen, pump.outbox, risk.memory, risk.score, public.bench_slope"
            )
        conn.execute("CHECKPOINT")
    environment = {
        **os.environ, **ONE_THREAD, "LAMPLIGHT_KAFKA": stack.kafka, "LAMPLIGHT_DATABASE": fresh_database.pipeline,
    }  # fmt: skip
    if who.startswith("quix"):
        group = f"quix-{uuid4().hex[:8]}"
        command = [
            rivals(), "-W", "ignore", "-m", "tests.bench.quix_rival", stack.kafka, READINGS, "bench.quix", group, str(MANY),
            who.removeprefix("quix "), str(folder / group),
        ]  # fmt: skip
    else:
        command = [sys.executable, "-m", "tests.bench.risk_rivals", who, str(MANY), topic]
    before = servers(stack)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    told |= {name: after - before[name] for name, after in servers(stack).items()}
    return told


def stored(fresh_database, who):
    """What is really there, or no ratio is printed."""
    table = {"slope": "pump.seen", "risk": "risk.score"}[who]
    with psycopg.connect(fresh_database.superuser) as conn:
        ((many,),) = conn.execute(f"SELECT count(*) FROM {table}").fetchall()
    return many


@pytest.mark.stack
def test_the_same_job_in_quix_streams_on_the_same_broker(stack, fresh_database, tmp_path, capsys):
    with psycopg.connect(fresh_database.superuser, autocommit=True) as conn:
        conn.execute("CREATE TABLE public.bench_slope (patient_id uuid PRIMARY KEY, state bytea NOT NULL)")
        conn.execute("GRANT ALL ON public.bench_slope TO lamplight_pipeline")
    asyncio.run(fill(stack.kafka))
    found = {who: [] for who in TURNS}
    for _ in range(ROUNDS):
        for who in TURNS:
            found[who].append(turn(who, stack, fresh_database, tmp_path))
            if who in {"slope", "risk"}:
                assert stored(fresh_database, who) == MANY, "no ratio: stored differs from sent"

    def middle(who, name):
        return statistics.median(told[name] for told in found[who])

    cpu = {who: 1e6 * middle(who, "cpu") / MANY for who in TURNS}
    with capsys.disabled():
        print(f"\nThrough real Kafka, {MANY} readings of 2,000 patients, {ROUNDS} rounds in turn, {load()}")
        for who in TURNS:
            rates = [MANY / told["seconds"] for told in found[who]]
            served = ", ".join(
                f"{name} {1e6 * middle(who, name) / MANY:.0f}" for name in ("postgres", "kafka")
            )
            print(
                f"  {NAMED[who]:44} {statistics.median(rates):8,.0f}/s [{min(rates):,.0f}, {max(rates):,.0f}], "
                f"{cpu[who]:5.0f} us of its process; servers, us: {served}"
            )
        for ours in ("slope", "risk"):
            print(
                f"  {NAMED[ours]}, per core of its process: {cpu['quix exactly-once'] / cpu[ours]:.2f} x Quix exactly-once, "
                f"{cpu['quix at-least-once'] / cpu[ours]:.2f} x at-least-once, {cpu['noop'] / cpu[ours]:.3f} x doing nothing"
            )
    assert cpu["slope"] < cpu["quix exactly-once"] * 1.5  # a loose floor
