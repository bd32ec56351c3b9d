"""Alerts under fire: workers killed, frozen, joined and left, rows held, poison, a mail server that takes and denies.

The oracle is the pure rules over what was sent, patient by patient. Printed with `-s`: missed, doubled, false, how often
each alert was notified, and who waited for how long. `FAULT_ROUNDS` makes all of it longer (docs/faults-alerts.md).
"""

import asyncio
import contextlib
import math
import os
import random
import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiosmtpd.controller import Controller

from alerts.events import ALERTS, EpisodeMoved
from deploy import bus
from risk.events import SCORES
from tests.faults.alerts_ward import (
    CONCERNS,
    PARTITIONS,
    PATIENTS,
    PER_ROUND,
    ROUNDS,
    SEED,
    Load,
    Sink,
    Worker,
    begin_here,
    furnish,
    one,
    settings,
    until,
)
from tests.unit.alerts.ward import a_finding, a_score

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(1800)]


async def test_killed_frozen_stormed_and_poisoned_no_alert_is_missed_doubled_or_false(
    stack, fresh_database, capsys
):
    dice = random.Random(SEED)
    patients = [UUID(int=dice.getrandbits(128)) for _ in range(PATIENTS)]
    rung = furnish(fresh_database.superuser, patients)
    kafka = stack.environment()["LAMPLIGHT_KAFKA"]
    await bus.ensure_topics(kafka, partitions=PARTITIONS, replication=1)
    sink = Sink(random.Random(SEED + 1))
    mail = Controller(sink, hostname="127.0.0.1", port=stack.ports.choose(f"mail-{uuid4().hex[:6]}"))
    mail.start()
    await begin_here(kafka, fresh_database.superuser)
    told = settings(kafka, fresh_database) | {
        "LAMPLIGHT_SMTP": f"127.0.0.1:{mail.port}",
        "LAMPLIGHT_SMTP_FROM": "lamplight@practice.example",
    }
    workers = [Worker(told, stack), Worker(told, stack)]
    load = Load(dice, patients, datetime.now(UTC))
    done, rss, stall = Counter(), 0, 0.0
    try:
        async with (
            bus.producer(kafka) as producer,
            await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as watch,
        ):

            async def send(count):
                for _ in range(count):
                    scored = load.one()
                    record = msgspec.json.encode(scored)
                    key = str(scored.patient_id).encode()
                    for _ in range(2 if dice.random() < 0.05 else 1):
                        await producer.send(SCORES, record, key=key)
                    await asyncio.sleep(0.005)

            async def look(stopping):
                """The longest time without progress, and the most memory, while there was work."""
                nonlocal rss, stall
                seen, moved = -1, time.monotonic()
                while not stopping.is_set():
                    count = await one(watch, "SELECT count(*) FROM alerts.observation")
                    if count != seen:
                        stall = max(stall, time.monotonic() - moved) if seen > 0 else 0.0
                        seen, moved = count, time.monotonic()
                    rss = max(rss, *(worker.memory_mib() for worker in workers))
                    await asyncio.sleep(0.2)

            await send(100)
            await until(lambda: one(watch, "SELECT count(*) > 0 FROM alerts.observation"))
            stopping = asyncio.Event()
            looking = asyncio.create_task(look(stopping))
            for _ in range(ROUNDS):
                sending = asyncio.create_task(send(PER_ROUND))
                for fault in dice.sample(FAULTS, len(FAULTS)):
                    await asyncio.sleep(dice.uniform(0.2, 1.0))
                    done[fault.__name__] += await fault(
                        dice=dice, workers=workers, told=told, stack=stack, producer=producer,
                        dsn=fresh_database.pipeline, patients=patients,
                    )  # fmt: skip
                await sending
            await producer.flush()
            wanted, keys = load.story(), load.calls(rung)

            async def settled():
                return (
                    await one(watch, "SELECT count(*) FROM alerts.observation") >= load.sent
                    and await one(watch, "SELECT count(*) FROM alerts.page WHERE sent_at IS NOT NULL")
                    >= len(keys)
                    and await one(watch, "SELECT count(*) FROM pump.outbox WHERE room = 'alerts'") == 0
                )

            await until(settled, within=300)
            stopping.set()
            await looking
            rows = await watch.execute(
                "SELECT episode_id, number, move, severity, why, at FROM alerts.transition WHERE concern = ANY(%s)",
                ([str(concern) for concern in CONCERNS],),
            )
            story = {row[:5]: row[5] for row in await rows.fetchall()}
            rows = await watch.execute(
                "SELECT concat_ws(':', episode_id, times, rung_id, nth), notification FROM alerts.page"
            )
            went = dict(await rows.fetchall())  # each call, and the key of the mail that carried it
            fenced = sum(worker.fenced() for worker in workers)
            parked = await one(watch, "SELECT count(*) FROM pump.parked WHERE room = 'alerts'")
            told_on = await moves_told(kafka, {row[0] for row in story})
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                worker.signal(signal.SIGCONT)
            worker.kill()
        mail.stop()

    missed, false = wanted - story.keys(), story.keys() - wanted
    carried = Counter(went.values())  # calls by mail; nobody claims here, so each mail spoke of all of them
    spoke = {key for key in sink.taken if sink.about[key] == carried[key]}
    heard = {call for call, key in went.items() if key in spoke}
    unheard, strange = keys - heard, (heard - keys) | (sink.taken.keys() - spoke)
    often = sorted(sink.taken[went[call]] for call in keys & heard)  # under one key: repetitions
    became = {  # when each episode became critical
        episode: at
        for (episode, _, _, severity, _), at in sorted(story.items(), key=lambda i: -i[0][1])
        if severity == "critical"
    }
    lateness = sorted(
        (sink.first[went[call]] - became[UUID(call.split(":")[0])]).total_seconds() for call in keys & heard
    )
    told_ids = Counter(event.event_id for event in told_on)
    with capsys.disabled():
        print(
            f"\n{load.sent} scores, {len(wanted)} moves, {len(keys)} alerts to notify; faults {dict(done)}"
            f"\nmissed {len(missed)}, false {len(false)}; next room told {len(told_ids)} moves, repeated {sum(told_ids.values()) - len(told_ids)}"
            f"\nnot notified {len(unheard)}, notified of nothing {len(strange)}; notifications per alert mean"
            f" {sum(often) / max(1, len(often)):.2f}, max {max(often, default=0)}; {sink.taken.total()} mails under {len(sink.taken)} keys"
            f" ({sink.denied} taken and denied, {sink.late} answered too late); first notification after"
            f" p95 {lateness[math.ceil(0.95 * len(lateness)) - 1]:.1f} s"
            f"\nfenced commits {fenced}, parked {parked}, longest stall {stall:.1f} s,"
            f" memory at most {rss} MiB; load {os.getloadavg()[0]:.1f}"
        )
    assert (len(missed), len(false)) == (0, 0)
    assert (len(unheard), len(strange)) == (0, 0)
    assert len(told_ids) == len({(row[0], row[1]) for row in story})
    assert parked == done["poison"]
    assert rss < 400


async def moves_told(kafka, episodes):
    """What alerts.v1 holds about these episodes."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        parts = [TopicPartition(ALERTS, n) for n in range(PARTITIONS)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        await consumer.seek_to_beginning(*parts)
        found = []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                events = (msgspec.json.decode(record.value, type=EpisodeMoved) for record in records)
                found += [event for event in events if event.episode_id in episodes]
        return found
    finally:
        await consumer.stop()


# Faults: each does its harm and says how often it did --------------------------------------------------------------------


async def kill(*, workers, told, stack, dice, **_):
    """2 and 4: kill -9 of triage and notifier, wherever they are."""
    n = dice.randrange(len(workers))
    fences = await asyncio.to_thread(workers[n].fenced)
    workers[n].kill()
    workers[n] = Worker(told, stack, before=fences)
    return 1


async def freeze(*, workers, dice, **_):
    """3: a worker that stops in the middle and comes back as a zombie."""
    frozen = dice.choice(workers)
    frozen.signal(signal.SIGSTOP)
    # Shorter or longer than the group waits: then its partitions go to others, and what it still writes is refused.
    await asyncio.sleep(dice.choice([dice.uniform(0.5, 5), dice.uniform(12, 30)]))
    frozen.signal(signal.SIGCONT)
    return 1


async def storm(*, told, stack, dice, **_):
    """20: members join and leave."""
    for _ in range(3):
        extra = Worker(told, stack)
        await asyncio.sleep(dice.uniform(1.5, 3.0))
        extra.signal(dice.choice([signal.SIGTERM, signal.SIGKILL]))
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(extra.process.wait, 5)
        extra.kill()
    return 3


async def hold(*, dsn, patients, dice, **_):
    """21: one hot patient whose rows somebody holds."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute(
            "SELECT 1 FROM alerts.episode WHERE patient_id = %s FOR UPDATE", (dice.choice(patients),)
        )
        await asyncio.sleep(3)
        await conn.rollback()
    return 1


async def poison(*, producer, dice, patients, **_):
    """22: what cannot be read, and what cannot be kept because its patient does not exist."""
    key = str(dice.choice(patients)).encode()
    await producer.send_and_wait(SCORES, b'{"type":"scored"', key=key)
    stranger = a_score("09:00", a_finding(), patient=uuid4())
    await producer.send_and_wait(SCORES, msgspec.json.encode(stranger), key=key)
    return 2


FAULTS = (kill, freeze, storm, hold, poison)
