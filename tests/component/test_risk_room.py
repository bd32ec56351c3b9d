"""The risk room on the real database: memories loaded and kept at once, equal to a pure replay, silent over the border."""

from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import msgspec
import psycopg
import pytest

from ingest.events import Kind
from risk.events import Concern, Scored, Tier
from risk.memory import MemoryRefused
from risk.replay import replay
from risk.service import RiskRoom
from risk.store import packaged_model
from tests.unit.risk.diary import MARIA, START, a_diary, a_reading

pytestmark = pytest.mark.stack


@pytest.fixture
def pipeline(fresh_database):
    @asynccontextmanager
    async def transaction():
        async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn, conn.transaction():
            yield conn

    return transaction


async def serve(pipeline, room, readings):
    async with pipeline() as conn:
        return list(await room.handle(conn, readings, now=START))


async def rows(pipeline, query, *args):
    async with pipeline() as conn:
        return await (await conn.execute(query, args)).fetchall()


async def test_scores_are_those_of_a_pure_replay_however_the_log_is_cut_and_whoever_crashes(pipeline):
    ben = uuid4()
    readings = [
        *a_diary([134] * 60 + [156] * 12),
        *a_diary([120] * 30, patient=ben),
        a_reading(12, glucose=60.0),
    ]
    readings.sort(key=lambda reading: reading.effective_at)
    told, room = [], RiskRoom()
    for start in range(0, len(readings), 17):
        if start % 2:
            room.forget()
        if start == 51:
            room = RiskRoom()  # another process: nothing but the database
        told += await serve(pipeline, room, readings[start : start + 17])
    assert told == replay(readings, model=packaged_model())
    ((many, most),) = await rows(pipeline, "SELECT count(*), max(length(memory)) FROM risk.memory")
    assert many == 3 and most <= 4096


async def test_every_score_is_stored_as_it_was_said(pipeline):
    told = await serve(pipeline, RiskRoom(), [a_reading(0, systolic=190.0), a_reading(1)])
    stored = await rows(pipeline, "SELECT tier, scored FROM risk.score ORDER BY effective_at")
    assert [msgspec.json.decode(scored, type=Scored) for _, scored in stored] == told
    assert [tier for tier, _ in stored] == ["critical", "routine"]


async def test_a_rolled_back_batch_leaves_nothing_behind_once_the_room_forgets(pipeline):
    room = RiskRoom()
    first = await serve(pipeline, room, [a_reading(0)])
    with pytest.raises(ZeroDivisionError):
        async with pipeline() as conn:
            await room.handle(conn, [a_reading(0.5, systolic=200.0)], now=START)
            raise ZeroDivisionError
    room.forget()
    again = await serve(pipeline, room, [a_reading(1)])
    assert [one.bands[0].days for one in (*first, *again)] == [1, 2]


async def test_a_reading_that_could_not_be_scored_says_so_to_the_next_room(pipeline):
    reading = a_reading(0, systolic=172.0)
    async with pipeline() as conn:
        (scored,) = await RiskRoom().park(conn, reading, reason="KeyError in scoring", now=START)
    assert scored.findings[0].concern is Concern.SCORE_INCOMPLETE
    assert scored.values["systolic"] == 172.0
    assert scored.event_id != (await serve(pipeline, RiskRoom(), [reading]))[0].event_id


async def test_a_memory_from_another_layout_is_never_guessed_at(pipeline):
    await serve(pipeline, RiskRoom(), [a_reading(0)])
    await rows(pipeline, "UPDATE risk.memory SET memory = '\\x07'::bytea RETURNING 1")
    with pytest.raises(MemoryRefused, match="layout"):
        await serve(pipeline, RiskRoom(), [a_reading(1)])


async def clinic(fresh_database):
    """Two practices with a patient each, and who may say what: the ids of practice 1's patient."""
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
        for practice, patient in ((1, MARIA), (2, uuid4())):
            await conn.execute("INSERT INTO who.practice VALUES (%s, 'P', 'UTC')", (practice,))
            await conn.execute(
                "INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone) VALUES (%s, %s, 'm', 'n', '1950-01-01', 'UTC')",
                (patient, practice),
            )


@asynccontextmanager
async def web(fresh_database, practice):
    async with await psycopg.AsyncConnection.connect(fresh_database.web) as conn, conn.transaction():
        await conn.execute("SELECT set_config('app.practice_id', %s, true)", (str(practice),))
        yield conn


MOVE = """INSERT INTO risk.limit_override (override_id, practice_id, patient_id, rule, value, author, reason, valid_from)
          VALUES (gen_random_uuid(), %s, %s, 'systolic-high', 150, gen_random_uuid(), 'after stroke', %s)"""


async def test_a_limit_moved_on_the_page_holds_for_readings_from_then_on(pipeline, fresh_database):
    await clinic(fresh_database)
    async with web(fresh_database, 1) as conn:
        await conn.execute(MOVE, (1, MARIA, START + timedelta(days=1)))
    told = await serve(pipeline, RiskRoom(), [a_reading(0, systolic=152.0), a_reading(2, systolic=152.0)])
    assert [one.tier for one in told] == [Tier.ROUTINE, Tier.WATCH]
    assert "your limit of 150" in told[1].findings[0].reason


async def test_a_practice_wide_limit_holds_for_its_own_patients_only(pipeline, fresh_database):
    await clinic(fresh_database)
    async with web(fresh_database, 2) as conn:
        await conn.execute(MOVE, (2, None, START - timedelta(days=1)))
    ours = a_reading(0, systolic=152.0)
    theirs = a_reading(0, systolic=152.0, patient=uuid4(), practice_id=2)
    told = await serve(pipeline, RiskRoom(), [ours, theirs])
    assert [one.tier for one in told] == [Tier.ROUTINE, Tier.WATCH]


async def test_another_practice_sees_no_score_and_can_move_no_limit(pipeline, fresh_database):
    await clinic(fresh_database)
    await serve(pipeline, RiskRoom(), [a_reading(0)])
    async with web(fresh_database, 2) as conn:
        assert await (await conn.execute("SELECT 1 FROM risk.score")).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute(MOVE, (1, MARIA, START))


async def test_the_web_cannot_touch_a_memory(fresh_database):
    async with web(fresh_database, 1) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute("SELECT memory FROM risk.memory")


async def test_a_process_holds_no_more_patients_than_it_was_told(pipeline):
    room = RiskRoom(kept=2)
    await serve(pipeline, room, [a_reading(0, patient=uuid4()) for _ in range(5)])
    assert len(room._memories) == 2
    assert all(kind is Kind.BLOOD_PRESSURE for _, kind in room._memories)
