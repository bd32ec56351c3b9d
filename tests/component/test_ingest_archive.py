"""The archive on real TimescaleDB: everything once, whatever comes twice; one practice never sees another's, not even by chunk."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import archive
from ingest.archive import READING_COLUMNS, REFUSAL_COLUMNS, ReadingArchive, RefusalArchive
from ingest.events import Beyond, Kind, Reading, Refused, TimeConfidence
from ingest.sorting import Past
from ingest.store import Registry
from tests.ingest_home import Home

pytestmark = pytest.mark.stack

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def a_reading(n, **more):
    said = {
        "event_id": UUID(int=n),
        "caused_by": UUID(int=n + 10_000),
        "practice_id": 1,
        "patient_id": UUID(int=7),
        "device_id": "meter",
        "gateway_id": "gw",
        "kind": Kind.GLUCOSE,
        "effective_at": NOON + timedelta(hours=n),
        "received_at": NOON + timedelta(hours=n, minutes=1),
        "time_rule": "device-instant",
        "time_confidence": TimeConfidence.HIGH,
        "glucose": 79.3,
        "flags": ("movement", "echo"),
        "raw": b"\x00\xff raw",
    }
    return Reading(**{**said, **more})


def a_refusal(n, **more):
    said = {
        "event_id": UUID(int=n),
        "practice_id": 1,
        "gateway_id": "gw",
        "hop": "decode",
        "reason": "not-json",
        "detail": "no",
        "received_at": NOON,
        "raw": b"\x00",
    }
    return Refused(**{**said, **more})


@pytest.fixture
def dsn(fresh_database):
    return fresh_database


async def handle(dsn, archive, events):
    async with await psycopg.AsyncConnection.connect(dsn.pipeline, options="-c timezone=UTC") as conn:
        assert list(await archive.handle(conn, events, now=NOON)) == []


def rows(dsn, query, *args):
    with psycopg.connect(dsn.superuser, options="-c timezone=UTC") as conn:
        return conn.execute(query, args).fetchall()


def test_the_archive_has_a_column_for_every_field_of_an_event():
    assert list(READING_COLUMNS) == [field.name for field in msgspec.structs.fields(Reading)]
    assert set(REFUSAL_COLUMNS) == {field.name for field in msgspec.structs.fields(Refused)}


async def test_what_is_archived_is_what_was_said_byte_for_byte(dsn):
    full = a_reading(
        1, systolic=152.0, diastolic=94.5, map=113.0, pulse=78.0, beyond=Beyond.HI, context="fasting", gateway_time=NOON,
        device_time="2026-03-02T07:41", utc_offset_minutes=-300, history=True, kind=Kind.BLOOD_PRESSURE,
    )  # fmt: skip
    bare = a_reading(2, glucose=None, flags=())
    await handle(dsn, ReadingArchive(), [full, bare])
    found = rows(dsn, f"SELECT {', '.join(READING_COLUMNS)} FROM ingest.reading ORDER BY event_id")
    for event, row in zip((full, bare), found, strict=True):
        kept = dict(zip(READING_COLUMNS, row, strict=True)) | {
            "flags": tuple(row[list(READING_COLUMNS).index("flags")])
        }
        assert msgspec.convert(kept, Reading, strict=False) == event


async def test_a_repetition_in_the_batch_in_the_transaction_or_later_adds_nothing(dsn):
    readings = [a_reading(n) for n in range(50)]
    async with await psycopg.AsyncConnection.connect(dsn.pipeline) as conn:
        await ReadingArchive().handle(conn, readings[:30] + readings[:5], now=NOON)
        for reading in readings[25:35]:
            await ReadingArchive().handle(conn, [reading], now=NOON)
    await handle(dsn, ReadingArchive(), readings)
    moved = [
        msgspec.structs.replace(reading, effective_at=reading.effective_at + timedelta(days=40))
        for reading in readings
    ]
    await handle(dsn, ReadingArchive(), moved)  # the same fact with another time is still the same fact
    assert rows(dsn, "SELECT count(*), count(DISTINCT event_id) FROM ingest.reading") == [(50, 50)]
    assert rows(dsn, "SELECT count(*) FROM ingest.reading_key") == [(50,)]


async def test_a_transaction_that_fails_leaves_nothing(dsn):
    with pytest.raises(RuntimeError):
        async with await psycopg.AsyncConnection.connect(dsn.pipeline) as conn:
            await ReadingArchive().handle(conn, [a_reading(1)], now=NOON)
            raise RuntimeError
    assert rows(dsn, "SELECT count(*) FROM ingest.reading") == [(0,)]
    assert rows(dsn, "SELECT count(*) FROM ingest.reading_key") == [(0,)]


async def test_refusals_are_kept_once_with_their_bytes(dsn):
    nobody = a_refusal(2, practice_id=None, device_id="d", caused_by=uuid4())
    await handle(dsn, RefusalArchive(), [a_refusal(1), nobody, a_refusal(1)])
    await handle(dsn, RefusalArchive(), [nobody])
    assert rows(
        dsn, "SELECT event_id, practice_id, device_id, raw FROM ingest.refusal ORDER BY event_id"
    ) == [
        (UUID(int=1), 1, None, b"\x00"),
        (UUID(int=2), None, "d", b"\x00"),
    ]


async def test_a_practice_sees_its_own_readings_and_refusals_and_nobody_reads_a_chunk(dsn):
    await handle(dsn, ReadingArchive(), [a_reading(1), a_reading(2, practice_id=2)])
    await handle(
        dsn, RefusalArchive(), [a_refusal(1), a_refusal(2, practice_id=2), a_refusal(3, practice_id=None)]
    )
    ((chunk,),) = rows(dsn, "SELECT show_chunks('ingest.reading')::text")
    with psycopg.connect(dsn.web) as conn:
        for table, event in (("reading", UUID(int=1)), ("refusal", UUID(int=1))):
            with conn.transaction():
                assert conn.execute(f"SELECT event_id FROM ingest.{table}").fetchall() == []
            with conn.transaction():
                conn.execute("SELECT set_config('app.practice_id', '1', true)")
                assert conn.execute(f"SELECT event_id FROM ingest.{table}").fetchall() == [(event,)]
                assert conn.execute(
                    f"SELECT count(*) FROM ingest.{table} WHERE practice_id = 2"
                ).fetchall() == [(0,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="ingest_chunks"):
            conn.execute(f"SELECT * FROM {chunk}")


@pytest.mark.parametrize("role", ["web", "pipeline"])
@pytest.mark.parametrize(
    "order",
    [
        "UPDATE ingest.reading SET glucose = 100",
        "DELETE FROM ingest.reading",
        "TRUNCATE ingest.reading",
        "SELECT drop_chunks('ingest.reading', older_than => now())",
        "DELETE FROM ingest.refusal",
    ],
)
async def test_nobody_who_serves_can_change_the_archive(dsn, role, order):
    with psycopg.connect(getattr(dsn, role)) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(order)


def test_a_device_is_one_patients_at_a_time_and_never_over_the_border(stack, fresh_database):
    home = Home(stack, fresh_database).furnish()
    with psycopg.connect(fresh_database.pipeline) as conn:
        with pytest.raises(psycopg.errors.ExclusionViolation), conn.transaction():
            home.give(conn, home.meter, 1, home.nora, since="2020-01-01")
        with pytest.raises(psycopg.errors.ForeignKeyViolation), conn.transaction():
            home.give(conn, home.drawer_meter, 1, home.oto)
        with pytest.raises(psycopg.errors.ForeignKeyViolation), conn.transaction():
            home.give(conn, home.drawer_meter, 2, home.oto)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=12), min_size=1, max_size=6))
def test_any_batches_in_any_order_leave_the_set_of_their_facts(dsn_of_module, batches):
    with psycopg.connect(dsn_of_module.superuser) as conn:
        conn.execute("SET session_replication_role = replica")  # the archive itself refuses to be emptied
        conn.execute("DELETE FROM ingest.reading")
        conn.execute("DELETE FROM ingest.reading_key")
    import asyncio

    for batch in batches:
        asyncio.run(handle(dsn_of_module, ReadingArchive(), [a_reading(n) for n in batch]))
    found = rows(dsn_of_module, "SELECT event_id FROM ingest.reading ORDER BY event_id")
    assert [row[0].int for row in found] == sorted({n for batch in batches for n in batch})


@pytest.fixture(scope="module")
def dsn_of_module(stack, template_database):
    from tests.fixtures_stack import FreshDatabase

    name = f"test_{uuid4().hex[:12]}"
    stack.create_database(name, template=template_database)
    roles = {
        "owner": "lamplight_owner",
        "pipeline": "lamplight_pipeline",
        "web": "lamplight_web",
        "superuser": "postgres",
    }
    yield FreshDatabase(name=name, **{key: stack.dsn(role, name) for key, role in roles.items()})
    stack.drop_database(name)


async def test_the_recent_past_of_a_device_is_found_as_it_was_said(dsn):
    from deploy import database
    from deploy.settings import Secret

    cuff = {
        "kind": Kind.BLOOD_PRESSURE,
        "glucose": None,
        "systolic": 122.0,
        "diastolic": 89.0,
        "device_id": "cuff",
    }
    await handle(
        dsn,
        ReadingArchive(),
        [a_reading(1), a_reading(2, glucose=None, beyond=Beyond.LO), a_reading(3, **cuff), a_reading(900)],
    )
    async with database.pool(Secret(dsn.pipeline)) as pool:
        past = await Registry(pool).past(
            [Past(UUID(int=7), name, NOON, NOON + timedelta(days=1)) for name in ("meter", "cuff", "other")]
        )
    assert {
        name: sorted((seen.reading_id.int, seen.values) for seen in found) for name, found in past.items()
    } == {
        "meter": [(1, (79.3,)), (2, ("LO",))],
        "cuff": [(3, (122.0, 89.0, None))],
    }


async def test_a_flood_of_one_kind_is_a_number_with_bounded_samples_and_crowds_nobody_out(dsn, monkeypatch):
    monkeypatch.setattr(archive, "KEPT", 100)
    flood = [a_refusal(n, received_at=NOON + timedelta(milliseconds=n)) for n in range(1_000)]
    other = a_refusal(5_000, reason="not-text")
    next_hour = a_refusal(5_001, received_at=NOON + timedelta(hours=1))
    waiting = [
        a_refusal(10_000 + n, hop="identity", reason="unassigned", received_at=NOON) for n in range(80)
    ]
    for start in range(0, 1_000, 300):
        await handle(dsn, RefusalArchive(), flood[start : start + 300])
    await handle(dsn, RefusalArchive(), [*waiting, other, next_hour])
    tallies = rows(
        dsn,
        "SELECT reason, times, kept, first_at, last_at FROM ingest.refusal_tally ORDER BY reason, hour",
    )
    assert tallies == [
        ("not-json", 1_000, 100, NOON, NOON + timedelta(milliseconds=999)),
        ("not-json", 1, 1, *2 * (NOON + timedelta(hours=1),)),
        ("not-text", 1, 1, NOON, NOON),
        ("unassigned", 80, 80, NOON, NOON),
    ]
    kept = rows(dsn, "SELECT reason, count(*) FROM ingest.refusal GROUP BY reason ORDER BY reason")
    assert kept == [("not-json", 101), ("not-text", 1), ("unassigned", 80)]
    first = rows(
        dsn, "SELECT max(received_at) FROM ingest.refusal WHERE received_at < %s", NOON + timedelta(minutes=1)
    )
    assert first == [(NOON + timedelta(milliseconds=99),)]  # the first ones, not any


async def test_of_a_flood_of_long_messages_as_many_bytes_are_kept_as_have_room(dsn, monkeypatch):
    monkeypatch.setattr(archive, "KEPT_BYTES", 10_000)
    flood = [a_refusal(n, received_at=NOON + timedelta(milliseconds=n), raw=b"x" * 1_000) for n in range(30)]
    for start in (0, 6, 12):
        await handle(dsn, RefusalArchive(), flood[start : start + (6 if start < 12 else 18)])
        await handle(dsn, RefusalArchive(), flood[:6])  # what is kept is not counted again
    tally = "SELECT times, kept, bytes FROM ingest.refusal_tally"
    assert rows(dsn, tally) == [(30, 10, 30_000)]
    assert rows(dsn, "SELECT count(*) FROM ingest.refusal") == [(10,)]


async def test_made_up_device_names_make_one_kind_and_a_registered_device_its_own(dsn, stack):
    home = Home(stack, dsn).furnish()
    strangers = [a_refusal(n, device_id=f"made-up-{n}", gateway_id=home.gateway) for n in range(20)]
    ours = a_refusal(100, device_id=home.meter, gateway_id=home.gateway)
    await handle(dsn, RefusalArchive(), [*strangers, ours])
    assert rows(dsn, "SELECT kind_device, times FROM ingest.refusal_tally ORDER BY times") == [
        (home.meter, 1),
        ("", 20),
    ]
