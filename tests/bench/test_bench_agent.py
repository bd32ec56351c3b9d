"""How small the gateway agent is: memory and processor time, idle and with a day's backlog, as a process of its own."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.ingest_home import ROOT, Home, fingerstick

pytestmark = [pytest.mark.stack, pytest.mark.bench]

BACKLOG = 2_000
IDLE_S = 20.0


def used(pid):
    """(resident MB, its peak, processor seconds)."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return int(status["VmRSS"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024, seconds


async def test_the_agent_is_small(stack, fresh_database, tmp_path):
    home = Home(stack, fresh_database).furnish()
    made = home.credential(home.gateway)
    lines = b"".join(
        msgspec.json.encode(fingerstick(home.meter, 90 + n % 80, minutes_ago=BACKLOG - n)) + b"\n"
        for n in range(BACKLOG)
    )
    words = [
        "gateway",
        "run",
        "--id",
        home.gateway,
        "--outbox",
        str(tmp_path / "outbox.sqlite"),
        "--broker",
        stack.mqtt,
    ]
    words += ["--ca", str(made.ca), "--cert", str(made.cert), "--key", str(made.key)]
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "deploy.cli", *words],
        env=home.environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with home.listening() as meter:
            async with asyncio.timeout(60):
                while not meter.batches:  # its status: it is there
                    await asyncio.sleep(0.05)
            await asyncio.sleep(2)
            rss, _, before = used(process.pid)
            await asyncio.sleep(IDLE_S)
            idle = (used(process.pid)[2] - before) / IDLE_S
            began, (_, _, before) = time.monotonic(), used(process.pid)
            process.stdin.write(lines)
            process.stdin.flush()
            async with asyncio.timeout(120):
                while meter.tally.accepted < BACKLOG:
                    await asyncio.sleep(0.05)
            took = time.monotonic() - began
            _, peak, after = used(process.pid)
            process.stdin.close()
            await asyncio.to_thread(process.wait, 60)
    finally:
        process.kill()
        process.wait()
    size = (tmp_path / "outbox.sqlite").stat().st_size / BACKLOG
    print(
        f"\nagent: {rss:.0f} MB resident idle, {peak:.0f} MB at most; {100 * idle:.2f} % of a core idle; "
        f"{BACKLOG} readings in {took:.1f} s, {1e6 * (after - before) / BACKLOG:.0f} us of processor each; "
        f"{size:.0f} bytes of outbox each"
    )
    assert peak < 150
    assert idle < 0.05
