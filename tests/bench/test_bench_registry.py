"""What a million assignments in the registry cost ingest: time to begin, memory, and the look-up of a batch.

The registry stays in the database and is asked once per batch; ingest remembers what the devices said that it heard
lately. So memory is measured twice: of devices that are registered, and of devices that were heard. Printed with `-s`.
"""

import asyncio
import os
import random
import statistics
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from deploy import database
from deploy.settings import Secret
from ingest.mqtt import DELIVERED
from ingest.sorting import Ask
from ingest.store import Registry
from tests.ingest_home import Home, fingerstick, utc_now

pytestmark = [pytest.mark.bench, pytest.mark.stack, pytest.mark.timeout(1200)]

ASSIGNMENTS = int(os.environ.get("BENCH_ASSIGNMENTS", "1000000"))
DEVICES = ASSIGNMENTS // 2  # each had by one patient until 2024 and by another since
HEARD = 20_000
BATCH, BATCHES = 500, 100
MOST_MB_PER_THOUSAND = 5.0

REGISTERED = (
    """INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone)
       SELECT md5('p' || n)::uuid, 1, 'b' || n, 'b' || n, '1950-01-01', 'America/Chicago' FROM generate_series(1, %(n)s) n""",
    "INSERT INTO ingest.device (device_id, practice_id, family) SELECT 'cuff-' || n, 1, 'canonical' FROM generate_series(1, %(n)s) n",
    """INSERT INTO ingest.device_assignment (device_id, practice_id, patient_id, period)
       SELECT 'cuff-' || n, 1, md5('p' || (n + half) %% %(n)s + 1)::uuid,
              CASE half WHEN 0 THEN tstzrange('2020-01-01', '2024-01-01') ELSE tstzrange('2024-01-01', NULL) END
         FROM generate_series(1, %(n)s) n, generate_series(0, 1) half""",
)


def register(home, count):
    """So many devices, each with two assignments; the seconds that took, the exclusion constraint included."""
    began = time.monotonic()
    with psycopg.connect(home.fresh.superuser) as conn:
        conn.execute(
            "SET session_replication_role = replica"
        )  # every patient and device is there: nobody need look
        for words in REGISTERED:
            conn.execute(words, {"n": count})
    with psycopg.connect(home.fresh.superuser, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")
    return time.monotonic() - began


def resident_mb(pid):
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


async def begun(home):
    """Ingest as it runs in the product: (process, seconds until it answered for a first reading, its memory)."""
    began = time.monotonic()
    process = await asyncio.to_thread(home.process, "deploy.cli", "run", "ingest", log=subprocess.DEVNULL)
    async with home.speaking() as gateway:
        async with asyncio.timeout(60):
            while await gateway.say(fingerstick(home.meter)) != [DELIVERED]:  # nobody listens yet
                await asyncio.sleep(0.05)
        await gateway.hear(1, within_s=60)
    await asyncio.sleep(1)
    return process, time.monotonic() - began - 1, resident_mb(process.pid)


async def ended(process):
    process.terminate()
    await asyncio.to_thread(process.wait, 30)


async def looked_up(home, count):
    """Milliseconds of each look-up of a batch in which every reading is of another device."""
    now, dice = utc_now(), random.Random(7)
    async with database.pool(Secret(home.fresh.pipeline)) as pool:
        registry, took = Registry(pool), []
        for _ in range(BATCHES + 5):
            asks = [
                Ask(home.gateway, f"cuff-{n + 1}", now - timedelta(hours=14), now + timedelta(hours=14))
                for n in dice.sample(range(count), BATCH)
            ]
            began = time.perf_counter()
            known = await registry.look_up(asks)
            took.append(1e3 * (time.perf_counter() - began))
            assert len(known.devices) == BATCH
            assert all(device.assignments for device in known.devices.values())
    return took[5:]


async def hear_many(home, count):
    """A reading each of HEARD devices, spread over all that are registered."""
    step = count // HEARD
    async with home.speaking() as gateway:
        for start in range(0, HEARD, BATCH):
            await gateway.say(
                *(fingerstick(f"cuff-{1 + step * n}", 90 + n % 90) for n in range(start, start + BATCH))
            )
            await gateway.hear(start + BATCH)
        assert not gateway.refused


async def test_a_registry_of_a_million_assignments_costs_ingest_no_memory(stack, fresh_database, capsys):
    home = Home(stack, fresh_database).furnish()
    process, seconds, empty_mb = await begun(home)
    await ended(process)
    lines = [f"  registry of 2 devices: first answer after {seconds:.1f} s, {empty_mb:.0f} MB"]
    loaded = await asyncio.to_thread(register, home, DEVICES)
    process, seconds, full_mb = await begun(home)
    per_thousand = (full_mb - empty_mb) / (DEVICES / 1_000)
    lines.append(
        f"  registry of {DEVICES:,} devices and {ASSIGNMENTS:,} assignments (written in {loaded:.0f} s): "
        f"first answer after {seconds:.1f} s, {full_mb:.0f} MB: {1024 * per_thousand:.1f} kB per 1,000 registered"
    )
    try:
        began = time.monotonic()
        await hear_many(home, DEVICES)
        took = time.monotonic() - began
        await asyncio.sleep(1)
        heard_mb = resident_mb(process.pid)
        lines.append(
            f"  {HEARD:,} readings, each of another device, in {took:.0f} s: {heard_mb:.0f} MB, "
            f"{(heard_mb - full_mb) / (HEARD / 1_000):.2f} MB per 1,000 heard"
        )
    finally:
        await ended(process)
    took = sorted(await looked_up(home, DEVICES))
    lines.append(
        f"  look-up of {BATCH} devices: median {statistics.median(took):.1f} ms, p99 {took[98]:.1f} ms, "
        f"{1e3 * statistics.median(took) / BATCH:.0f} µs a device; load average {os.getloadavg()[0]:.1f}"
    )
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert per_thousand < MOST_MB_PER_THOUSAND
