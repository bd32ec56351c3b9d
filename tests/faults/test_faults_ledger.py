"""Ledger faults: whatever a superuser changes, takes away or adds is caught, N of N."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ccm_bridge import month_service, time_service, time_store
from ccm_bridge.anchor_store import anchor_database
from ccm_bridge.chain import verify
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
