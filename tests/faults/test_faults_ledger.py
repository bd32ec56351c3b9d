"""Ledger faults: tampering as superuser is caught N of N; a web process killed while people log loses and doubles nothing."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ccm_bridge import month_service, time_service, time_store
from ccm_bridge.anchor_store import anchor_database
from ccm_bridge.chain import verify
from ccm_bridge.ledger import Contact, Doing, Span, split_at_months
from ccm_bridge.time_service import Logged
from ccm_bridge.verify_store import verify_database
from tests.ccm_people import settle

pytestmark = [pytest.mark.stack, pytest.mark.fault]

TEN = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)
LATER = TEN + timedelta(days=20)


def doing(patient, **changes):
    usual = Doing(
        patient_id=patient,
        program="CCM",
        activity="check_in",
        note="Called about her swollen ankles and the missed refill.",
        problem="Hypertension",
        outcome="Refill arranged",
        contact=Contact.PHONE,
        contact_with="patient",
        interactive=True,
        readings=(uuid4(), uuid4()),
    )
    return replace(usual, **changes)


@pytest.fixture
async def people(fresh_database):
    return await settle(fresh_database.pipeline, fresh_database.web)


@pytest.fixture
async def ledger(people):
    """Twelve entries, four voids and two reviews in the first practice; three entries in the second."""
    logged = []
    for who, patient, count in ((people.ana, people.maria, 12), (people.chris, people.oto, 3)):
        for n in range(count):
            start = TEN + timedelta(minutes=20 * n)
            async with people.desk(who) as conn:
                answer = await time_service.log_by_hand(
                    conn,
                    who,
                    uuid4(),
                    doing(patient),
                    start=start,
                    end=start + timedelta(minutes=10),
                    attested=True,
                    now=LATER,
                )
            assert isinstance(answer, Logged)
            logged += answer.entries
    for entry_id in logged[:4]:
        async with people.desk(people.ana) as conn:
            await time_service.void(conn, people.ana, uuid4(), entry_id, reason="doubled", now=LATER)
    for _ in range(2):
        async with people.desk(people.dora) as conn:
            row = (
                await month_service.rows(
                    conn,
                    zone=people.dora.zone,
                    month=TEN.date().replace(day=1),
                    now=LATER,
                    days=None,
                    patients=[people.maria],
                )
            )[0]
            done = await month_service.set_step(
                conn, people.dora, uuid4(), row, step="reviewed", note="", now=LATER
            )
            assert not hasattr(done, "sentence")
    return people


# How a superuser could change one column of a row, by its type: always to another value that the type allows.
FLIPS = {
    "uuid": "gen_random_uuid()",
    "int4": "{c} + 1",
    "int8": "{c} + 1000",
    "text": "coalesce({c}, '') || 'x'",
    "bool": "NOT {c}",
    "date": "coalesce({c}, '2026-01-01') + 1",
    "timestamptz": "{c} + interval '1 second'",
    "tstzrange": "tstzrange(lower({c}), upper({c}) + interval '1 minute')",
    "bytea": "decode(md5({c}) || md5({c}), 'hex')",
    "_uuid": "array_append({c}, gen_random_uuid())",
}


async def columns(conn, table):
    cur = await conn.execute(
        "SELECT column_name, udt_name FROM information_schema.columns WHERE table_schema = 'ccm' AND table_name = %s",
        (table,),
    )
    return await cur.fetchall()


async def lay_bare(dsn):
    """What only a superuser can do: switch off every trigger and drop every constraint that would refuse."""
    conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    for table in time_store.ROWS:
        await conn.execute(f"ALTER TABLE ccm.{table} DISABLE TRIGGER ALL")
        cur = await conn.execute(
            """SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint c
                WHERE c.conrelid = %s::regclass OR c.confrelid = %s::regclass""",
            (f"ccm.{table}", f"ccm.{table}"),
        )
        for owner, name in await cur.fetchall():
            await conn.execute(f'ALTER TABLE {owner} DROP CONSTRAINT IF EXISTS "{name}" CASCADE')
        for column, _ in await columns(conn, table):
            await conn.execute(f"ALTER TABLE ccm.{table} ALTER COLUMN {column} DROP NOT NULL")
    return conn


async def test_every_column_of_every_row_is_guarded(ledger, fresh_database):
    """Flip each column of each row of each chain, one at a time: the verifier catches all of them."""
    assert (await verify_database(fresh_database.pipeline)).findings == ()
    conn = await lay_bare(fresh_database.superuser)
    keys = {"time_entry": "entry_id", "time_void": "void_id", "month_review": "review_id"}
    tried = caught = 0
    missed = []
    for table, key in keys.items():
        rows = await (await conn.execute(f"SELECT {key} FROM ccm.{table} WHERE practice_id = 1")).fetchall()
        for (row,) in rows:
            for column, kind in await columns(conn, table):
                await conn.execute(
                    f"CREATE TEMP TABLE kept AS SELECT * FROM ccm.{table} WHERE {key} = %s", (row,)
                )
                flip = FLIPS[kind].format(c=column)
                changed = await conn.execute(
                    f"UPDATE ccm.{table} SET {column} = coalesce({flip}, {_something(kind)}) WHERE {key} = %s RETURNING {key}",
                    (row,),
                )
                (now,) = await changed.fetchone()
                tried += 1
                if await faults_of(conn, table):
                    caught += 1
                else:
                    missed.append(f"{table}.{column}")
                await conn.execute(f"DELETE FROM ccm.{table} WHERE {key} = %s", (now,))
                await conn.execute(f"INSERT INTO ccm.{table} SELECT * FROM kept")
                await conn.execute("DROP TABLE kept")
    await conn.close()
    print(f"tampering: {caught} of {tried} caught")
    assert missed == []
    assert caught == tried == 12 * 31 + 4 * 10 + 2 * 19
    assert (await verify_database(fresh_database.pipeline)).findings == ()


async def faults_of(conn, table):
    """What the verifier finds in both practices' chains of one table."""
    found = []
    async with conn.transaction():
        for practice in (1, 2):
            rows = [row async for row in time_store.links(conn, table, practice)]
            found += verify(table, practice, rows)
    return found


def _something(kind):
    return {
        "uuid": "gen_random_uuid()",
        "text": "'x'",
        "timestamptz": "now()",
        "date": "'2026-01-01'",
        "_uuid": "ARRAY[gen_random_uuid()]",
        "bool": "true",
        "int4": "1",
        "int8": "1",
        "bytea": "'\\x00'",
        "tstzrange": "tstzrange(now(), now() + interval '1 minute')",
    }[kind]


TAMPERINGS = [
    ("a row deleted from the middle", "DELETE FROM ccm.time_entry WHERE practice_id = 1 AND seq = 5"),
    ("the first row deleted", "DELETE FROM ccm.time_entry WHERE practice_id = 1 AND seq = 1"),
    ("a void taken away", "DELETE FROM ccm.time_void WHERE practice_id = 1 AND seq = 2"),
    (
        "two rows that changed places",
        "UPDATE ccm.time_entry SET seq = CASE seq WHEN 3 THEN 4 ELSE 3 END WHERE practice_id = 1 AND seq IN (3, 4)",
    ),
    (
        "a row moved to another practice",
        "UPDATE ccm.time_entry SET practice_id = 2 WHERE practice_id = 1 AND seq = 12",
    ),
    (
        "a row inserted twice",
        """INSERT INTO ccm.time_entry SELECT * FROM ccm.time_entry WHERE practice_id = 1 AND seq = 7""",
    ),
]


@pytest.mark.parametrize(("name", "sql"), TAMPERINGS, ids=[t[0] for t in TAMPERINGS])
async def test_rows_cannot_be_taken_added_or_moved_unnoticed(ledger, fresh_database, name, sql):
    conn = await lay_bare(fresh_database.superuser)
    await conn.execute(sql)
    await conn.close()
    assert (await verify_database(fresh_database.pipeline)).findings


async def test_only_the_anchor_notices_a_tail_that_was_cut_and_a_chain_rebuilt(ledger, fresh_database):
    key = Ed25519PrivateKey.generate()
    kept = await anchor_database(fresh_database.pipeline, key, now=LATER)
    assert await anchor_database(fresh_database.pipeline, key, now=LATER) == kept
    whole = await verify_database(fresh_database.pipeline, key=key.public_key(), kept=kept)
    assert whole.findings == ()
    assert whole.anchors == 2

    conn = await lay_bare(fresh_database.superuser)
    await conn.execute("DELETE FROM ccm.time_entry WHERE practice_id = 1 AND seq = 12")
    await conn.execute("DELETE FROM ccm.time_void WHERE practice_id = 1 AND seq = 4")
    await conn.close()
    assert (await verify_database(fresh_database.pipeline)).findings == ()
    cut = await verify_database(fresh_database.pipeline, key=key.public_key(), kept=kept)
    assert {(f.table, str(f.fault)) for f in cut.findings} == {("time_entry", "cut"), ("time_void", "cut")}

    forged = Ed25519PrivateKey.generate()
    other = await verify_database(fresh_database.pipeline, key=forged.public_key(), kept=kept)
    assert any(f.table == "anchor" for f in other.findings)


async def test_tampering_by_row_is_counted(ledger, fresh_database):
    """The same as above in one database, for the figure: rows deleted, inserted, swapped, moved, taken away."""
    caught = 0
    for _, sql in TAMPERINGS:
        conn = await lay_bare(fresh_database.superuser)
        async with conn.transaction(force_rollback=True):
            await conn.execute(sql)
            caught += any([await faults_of(conn, table) for table in ("time_entry", "time_void")])
        await conn.close()
    print(f"rows deleted, inserted, swapped, moved: {caught} of {len(TAMPERINGS)} caught")
    assert caught == len(TAMPERINGS)


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
