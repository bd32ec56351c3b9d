"""Garbage at the door, by the thousand and in every format: each piece is answered for, memory stays, honest readings pass.

Printed with `-s`. What no decoder may do with any bytes at all is fuzzed apart from the servers: `make fuzz`.
"""

import asyncio
import contextlib
import json
import random
import time
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from ingest import devices, wire
from ingest.mqtt import DELIVERED, LineDropped
from tests.contract.fuzz_decoders import seeds, swapped
from tests.faults.ordeal import ROUNDS, SEED
from tests.ingest_home import Home, fingerstick, spoken, until

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(300)]

PIECES = 500 * ROUNDS
HONEST_EVERY = 50
ROOM_MB = 64  # what ingest may grow by
OWN = (
    b"", b"\0", b"null", b"[]", b'""', b"{", b"\xff\xfe", b"NaN", b"-Infinity", b"1e308", b"9" * 4_000,
    b'{"device":"\\ud800"}', b'{"device":"a\\u0000b","kind":"bp"}', b'{"kind":"bp","kind":"glucose"}',
    b"[" * 8_000, b'{"a":' * 2_000, b'{"device":"' + b"x" * 15_000 + b'"}',
    b'{"device":"m","kind":"glucose","glucose":NaN}', b'{"device":"m","kind":"glucose","glucose":1e999}',
    b'{"device":"m","kind":"bp","systolic":1' + b"0" * 400 + b',"diastolic":80}',
    b'{"device":"m","kind":"glucose","glucose":5.6}', b'{"device":"m","kind":"glucose","glucose":"112 mg/dL"}',
)  # fmt: skip


def piece(dice, families):
    """Something nobody should send: bytes, a vector cut short, or a document with one node exchanged."""
    family = dice.choice(families)
    seed = dice.choice(PACK[family])
    match dice.randrange(5):
        case 0:
            return family, dice.randbytes(dice.randrange(600))
        case 1:
            return family, seed[: dice.randrange(len(seed) + 1)]
        case 2:
            at = dice.randrange(len(seed) + 1)
            return family, seed[:at] + dice.randbytes(3) + seed[at:]
        case 3:
            with contextlib.suppress(ValueError, RecursionError):
                return family, json.dumps(swapped(json.loads(seed), dice)).encode()[: wire.LARGEST]
            return family, seed[::-1]
        case _:
            return family, dice.choice(OWN) + b" " * dice.randrange(3)


PACK = {family: seeds(family) for family in devices.FAMILIES}


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


def peak_mb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def first_said(speaker, message):
    """Say it until ingest listens: a bare line has no outbox."""
    async with asyncio.timeout(40):
        while await speaker.say(message) != [DELIVERED]:
            await asyncio.sleep(0.1)


async def throw(speaker, dice, pieces, honest):
    """Garbage with honest readings among it; seconds until each honest one was answered."""
    families, window, waits = sorted(PACK), set(), []
    for n in range(pieces):
        family, raw = piece(dice, families)
        topic = (
            wire.readings(speaker.name)
            if family == "canonical"
            else f"{wire.readings(speaker.name)}/{family}"
        )
        window.add(speaker.line.tell(topic, raw))
        if len(window) >= 50:
            await asyncio.wait(window, return_when=asyncio.FIRST_COMPLETED)
            window = {told for told in window if not told.done()}
        if n % HONEST_EVERY == 0:
            message, began = honest(n), time.monotonic()
            await speaker.say(message)
            async with asyncio.timeout(20):
                while UUID(message["id"]) not in speaker.acked:
                    await speaker.hear(len(set(speaker.acked)) + len(speaker.refused) + 1)
            waits.append(time.monotonic() - began)
    await asyncio.gather(*window)
    return waits


async def test_garbage_by_the_thousand_is_answered_for_and_honest_readings_pass(home, capsys):
    dice = random.Random(SEED)
    ingest = home.process("deploy.cli", "run", "ingest")
    try:
        async with home.speaking() as speaker:
            warm = fingerstick(home.meter, 100, minutes_ago=3_000)
            await first_said(speaker, warm)
            await speaker.hear(1, within_s=40)
            before = peak_mb(ingest.pid)
            honest = lambda n: fingerstick(home.meter, 100 + n % 90, minutes_ago=2_000 - n % 1_900)  # noqa: E731
            waits = await throw(speaker, dice, PIECES, honest)
        with contextlib.suppress(LineDropped, TimeoutError):
            async with home.speaking() as giant, asyncio.timeout(5):
                await giant.line.tell(
                    wire.readings(home.gateway), b"x" * 10_000_000
                )  # the broker hangs up on it
        async with home.speaking() as speaker:
            last = fingerstick(home.meter, 199, minutes_ago=1)
            await speaker.say(last)
            async with asyncio.timeout(20):
                while UUID(last["id"]) not in speaker.acked:
                    await speaker.hear(len(set(speaker.acked)) + len(speaker.refused) + 1)
        grown, alive = peak_mb(ingest.pid) - before, ingest.poll() is None
    finally:
        ingest.kill()
        ingest.wait()
    readings = await spoken(home.stack, [home.gateway])
    with capsys.disabled():
        print(
            f"\n  {PIECES} pieces of garbage in {len(PACK)} formats and one of 10 MB (seed {SEED}): ingest "
            f"{'lived' if alive else 'died'}, grew by {grown:.0f} MB to {before + grown:.0f} MB; {len(waits)} honest readings "
            f"among them answered after {sorted(waits)[len(waits) // 2]:.2f} s (median), {max(waits):.2f} s (maximum)"
        )
    assert alive
    assert grown < ROOM_MB
    assert {one.patient_id for one in readings} == {home.maria}
    assert all(one.glucose is not None for one in readings if one.device_id == home.meter)


async def test_ingest_with_nothing_around_its_decoder_dies_of_the_first_piece_again_and_again(home, capsys):
    """The negative control."""
    deaths = 0
    async with home.speaking() as speaker:
        good = fingerstick(home.meter, 112)
        for n in range(3):
            ingest = home.process("tests.faults.fragile_ingest")
            try:
                if n == 0:
                    await first_said(speaker, good)
                    await speaker.hear(1, within_s=40)  # it works, as long as everybody behaves
                    await speaker.line.tell(wire.readings(home.gateway), b'{"device": "m"}')
                    behind = fingerstick(home.meter, 113)
                    speaker.line.tell(wire.readings(home.gateway), msgspec.json.encode(behind))
                await asyncio.to_thread(until, lambda p=ingest: p.poll() is not None, 40, "the end")
                deaths += 1
            finally:
                ingest.kill()
                ingest.wait()
        answered = UUID(behind["id"]) in speaker.acked
    async with home.listening():
        pass  # the real one takes what is left, so that no other test meets it
    with capsys.disabled():
        print(
            f"\n  nothing around the decoder: dead {deaths} times of 3 of the same message, the reading behind it answered: {answered}"
        )
    assert (deaths, answered) == (3, False)
