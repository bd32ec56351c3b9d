"""Minute faults: crashes in a running timer, writers at once, clocks, a web process killed: nothing lost, nothing doubled."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest

from ccm_bridge import time_service, time_store
from ccm_bridge.ledger import Span, split_at_months
from ccm_bridge.time_service import Logged
from ccm_bridge.verify_store import verify_database
from tests.ccm_people import settle
from tests.faults.ledger_work import doing

pytestmark = [pytest.mark.stack, pytest.mark.fault]

TEN = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)
LATER = TEN + timedelta(days=20)


@pytest.fixture
async def people(fresh_database):
    return await settle(fresh_database.pipeline, fresh_database.web)


# Timers, writers, clocks --------------------------------------------------------------------------------

CRASHES = 100


async def test_a_hundred_crashes_in_a_running_timer_lose_at_most_one_beat_each(people):
    """The browser dies at any moment; its person comes back an hour later and finds what the beats prove."""
    draw, lost, at = random.Random(6), [], TEN
    for _ in range(CRASHES):
        worked = draw.uniform(1, 600)  # seconds until it dies
        timer_id = uuid4()
        async with people.desk(people.ana) as conn:
            await time_service.start(
                conn, people.ana, timer_id, patient_id=people.maria, task_id=None, program="CCM", activity="check_in", now=at
            )  # fmt: skip
            for n in range(1, int(worked // 15) + 1):
                beat_at = at + timedelta(seconds=15 * n)
                for _ in range(draw.choice((1, 1, 1, 2))):  # some are sent twice
                    await time_service.beat(conn, people.ana, timer_id, n=n, stretch=0, ago=0.0, now=beat_at)
        back = at + timedelta(hours=1)
        async with people.desk(people.ana) as conn:
            found = await time_store.open_timer(conn, people.ana.staff_id)
            assert found is not None, "it is offered on return"
            assert found.timer_id == timer_id
            await time_service.stop(conn, people.ana, timer_id, now=back)
            done = await time_service.log_timer(conn, people.ana, timer_id, doing(people.maria), now=back)
            if not isinstance(done, Logged):
                await time_service.discard(conn, people.ana, timer_id)
        lost.append(worked - (done.seconds if isinstance(done, Logged) else 0))
        at += timedelta(hours=2)
    print(f"timer: {CRASHES} crashes, lost at most {max(lost):.1f} s each, {sum(lost) / CRASHES:.1f} s on average, none offered too much: least {min(lost):.1f} s")  # fmt: skip
    assert max(lost) <= 15
    assert min(lost) >= 0


async def test_sixteen_writers_and_their_retries_leave_no_overlap_no_fork_and_no_deadlock(
    people, fresh_database
):
    accepted, refused, deadlocks = [], 0, 0

    async def writer(number):
        nonlocal refused, deadlocks
        who = (people.ana, people.ben, people.cora, people.dora)[number % 4]
        for turn in range(20):
            entry_id, start = uuid4(), TEN + timedelta(minutes=7 * turn + number)
            for _ in range(2):  # the answer was lost: asked again
                try:
                    async with people.desk(who) as conn:
                        done = await time_service.log_by_hand(
                            conn, who, entry_id, doing(people.maria), start=start, end=start + timedelta(minutes=10), attested=True, now=LATER
                        )  # fmt: skip
                except psycopg.errors.DeadlockDetected:
                    deadlocks += 1
                    continue
            if isinstance(done, Logged):
                accepted.append(done)
            else:
                refused += 1

    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(writer(n) for n in range(16)))
    took = asyncio.get_running_loop().time() - began
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
        cur = await conn.execute(
            """SELECT count(*) FILTER (WHERE a.entry_id < b.entry_id AND a.span && b.span) FROM ccm.time_entry a
                 JOIN ccm.time_entry b USING (staff_id)"""
        )
        (pairs,) = await cur.fetchone()
        (rows,) = await (await conn.execute("SELECT count(*) FROM ccm.time_entry")).fetchone()
    report = await verify_database(fresh_database.pipeline)
    print(
        f"16 writers, 640 requests: {rows} rows, {refused} refused, {pairs} overlapping pairs, {deadlocks} deadlocks, "
        f"{len(report.findings)} faults of the chain, {640 / took:.0f} requests/s"
    )
    assert (pairs, deadlocks, report.findings) == (0, 0, ())
    assert rows == len(accepted)


def test_months_and_seconds_equal_a_plain_oracle_in_six_zones_over_five_years():
    """DST both ways, every month's end, leap days: an hour around each edge, second by second at the edge itself."""
    zones = ("America/New_York", "America/Phoenix", "America/Los_Angeles", "Pacific/Honolulu", "Europe/Berlin", "Asia/Kathmandu")  # fmt: skip
    edges = tried = differing = 0
    draw = random.Random(15)
    for name in zones:
        zone = ZoneInfo(name)
        hours = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(24 * 365 * 5 + 24 * 2)]
        for before, after in pairwise(hours):
            here, there = before.astimezone(zone), after.astimezone(zone)
            if here.month == there.month and here.utcoffset() == there.utcoffset():
                continue
            edges += 1
            for _ in range(20):
                start = before + timedelta(seconds=draw.randint(-7200, 3600))
                span = Span(start=start, end=start + timedelta(seconds=draw.randint(1, 4 * 3600)))
                oracle = Counter()
                for second in range(int(span.start.timestamp()), int(span.end.timestamp()), 60):
                    minute = min(60, int(span.end.timestamp()) - second)
                    first = datetime.fromtimestamp(second, zone).date().replace(day=1)
                    last = datetime.fromtimestamp(second + minute - 1, zone).date().replace(day=1)
                    if first == last:
                        oracle[first] += minute
                    else:
                        for each in range(second, second + minute):
                            oracle[datetime.fromtimestamp(each, zone).date().replace(day=1)] += 1
                said = {piece.month: piece.span.seconds for piece in split_at_months(span, zone)}
                tried += 1
                differing += said != dict(oracle)
    print(f"clocks: {tried} spans around {edges} edges (month ends, both changes of the clocks) in {len(zones)} zones, {differing} differing")  # fmt: skip
    assert differing == 0
    assert edges > 6 * 60


# A web process that dies while people log minutes --------------------------------------------------------

SERVER = """
import asyncio, json, os, sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool
from contextlib import asynccontextmanager
from ccm_bridge import desk_web, time_web

told = json.loads(sys.argv[1])
who = SimpleNamespace(**{**told["who"], "staff_id": UUID(told["who"]["staff_id"])})

class Desk:
    def who(self, request): return who
    def require(self, request, *roles): return who
    def now(self): return datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    def page(self, request, template, *, status_code=200, **context): return JSONResponse({}, status_code)
    @asynccontextmanager
    async def transaction(self, request):
        async with pool.connection() as conn, conn.transaction():
            await conn.execute("SELECT set_config('app.practice_id', %s, true)", (str(who.practice_id),))
            yield conn
    async def patients(self, conn, ids): return {one: None for one in ids}
    async def colleagues(self, conn): return {}

async def main():
    global pool
    async with AsyncConnectionPool(told["dsn"], min_size=1, max_size=4, open=False) as pool:
        app = FastAPI()
        app.include_router(time_web.router(Desk()))
        server = uvicorn.Server(uvicorn.Config(app, port=told["port"], log_level="error"))
        await server.serve()

for _ in sys.stdin:  # one line, one new web process; what is imported is imported once
    child = os.fork()
    if child == 0:
        asyncio.run(main())
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


class Web:
    """A web process on a port of its own, that can be killed and started again."""

    def __init__(self, dsn, who, port):
        self.told = json.dumps(
            {
                "dsn": dsn,
                "port": port,
                "who": {
                    "staff_id": str(who.staff_id),
                    "name": who.name,
                    "role": who.role,
                    "credential": who.credential,
                    "practice_id": who.practice_id,
                    "zone": who.zone,
                },
            }
        )
        self.url = f"http://127.0.0.1:{port}"
        self.parent = None
        self.pid = 0

    async def start(self):
        if self.parent is None:
            pipe = asyncio.subprocess.PIPE
            self.parent = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SERVER, self.told, stdin=pipe, stdout=pipe
            )
        self.parent.stdin.write(b"start\n")
        self.pid = int(await self.parent.stdout.readline())
        async with httpx.AsyncClient() as client:
            while not await self.answers(client):
                await asyncio.sleep(0.01)

    async def answers(self, client):
        try:
            await client.get(f"{self.url}/timers/mine", timeout=1)
        except httpx.TransportError:
            return False
        return True

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    async def close(self):
        self.parent.stdin.close()
        self.kill()
        await self.parent.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


KILLS = int(os.environ.get("FAULT_KILLS", "15"))
"""Kills per run; FAULT_KILLS=200 for the long one."""


async def log_through_kills(people, dsn, *, kills, same_id):
    """Log one-minute entries one after another while the server is killed; a client that got no answer asks again.

    `same_id` is how the product's pages behave: the id was made with the form. Without it, every try is a new entry.
    """
    web = Web(dsn, people.ana, free_port())
    await web.start()
    wanted = 0
    died = retried = 0
    stop = asyncio.Event()

    async def client():
        nonlocal wanted, retried
        async with httpx.AsyncClient(base_url=web.url, timeout=5) as http:
            while not stop.is_set():
                start = datetime(2026, 11, 3, 0, 0) + timedelta(minutes=wanted)  # noqa: DTZ001 - a form field
                form = {
                    "entry_id": str(uuid4()),
                    "patient_id": str(people.maria),
                    "start": start.isoformat(timespec="minutes"),
                    "end": (start + timedelta(minutes=1)).isoformat(timespec="minutes"),
                    "program": "CCM",
                    "activity": "check_in",
                    "contact": "phone",
                    "note": "Called about her swollen ankles.",
                    "attested": "yes",
                }
                while True:
                    try:
                        answer = await http.post(
                            "/entries", data=form, headers={"accept": "application/json"}
                        )
                    except httpx.TransportError:
                        retried += 1
                        if not same_id:
                            form["entry_id"] = str(uuid4())
                        await asyncio.sleep(0.01)
                        continue
                    assert answer.status_code == 200, answer.text
                    break
                wanted += 1

    async def killer():
        nonlocal died
        dice = random.Random(11)
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.05, 0.5))  # the fault's own clock, not a wait for a result
            web.kill()
            died += 1
            await web.start()
        stop.set()

    await asyncio.gather(client(), killer())
    await web.close()
    async with people.desk(people.ana) as conn:
        entries = await time_store.entries(conn, "WHERE true", ())
    minutes = {entry.start for entry in entries}
    return {
        "kills": died,
        "retries": retried,
        "wanted": wanted,
        "lost": wanted - len(minutes),
        "doubled": len(entries) - len(minutes),
    }


async def test_a_web_process_killed_while_people_log_loses_and_doubles_no_minute(people, fresh_database):
    found = await log_through_kills(people, fresh_database.web, kills=KILLS, same_id=True)
    print(f"kill -9 of the web process: {found}")
    assert found["lost"] == 0
    assert found["doubled"] == 0
    assert found["kills"] == KILLS
    assert (await verify_database(fresh_database.pipeline)).findings == ()


async def test_without_the_ids_and_the_exclusion_the_same_kills_double_minutes(people, fresh_database):
    """The negative control. Fresh ids per try and no exclusion: an answer lost after the commit becomes a second entry."""
    async with await psycopg.AsyncConnection.connect(fresh_database.superuser, autocommit=True) as conn:
        await conn.execute("ALTER TABLE ccm.active_span DROP CONSTRAINT one_person_one_minute")
        # The commit is made slow, so that kills meet the moment between commit and answer.
        await conn.execute(
            """CREATE FUNCTION ccm.tarry() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$"""
        )
        await conn.execute(
            """CREATE CONSTRAINT TRIGGER tarry AFTER INSERT ON ccm.time_entry DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION ccm.tarry()"""
        )
    found = await log_through_kills(people, fresh_database.web, kills=2 * KILLS, same_id=False)
    print(f"negative control: {found}")
    assert found["doubled"] > 0
