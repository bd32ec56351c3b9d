"""Device days: the patient's own dates, trusted readings only, once per device and day."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from deploy import database
from deploy.device_days import device_days

pytestmark = pytest.mark.stack


@pytest.fixture
async def archive(fresh_database):
    """A patient in Honolulu whose cuff sends at UTC instants, read as the web reads."""
    patient = uuid4()
    async with await database.Connection.connect(fresh_database.pipeline, autocommit=True) as conn:
        await conn.execute("INSERT INTO who.practice VALUES (1, 'One', 'America/New_York')")
        await conn.execute(
            "INSERT INTO who.patient VALUES (%s, 1, 'M', 'Maria', '1950-01-01', 'Pacific/Honolulu')",
            (patient,),
        )

        async def read(at, **changed):
            row = {
                "event_id": uuid4(), "caused_by": uuid4(), "practice_id": 1, "patient_id": patient, "device_id": "cuff-1",
                "gateway_id": "gw", "kind": "bp", "effective_at": at, "received_at": at, "time_rule": "device-local",
                "time_confidence": "high", "systolic": 130, "flags": [], "history": False, "raw": b"{}",
            } | changed  # fmt: skip
            names = ", ".join(row)
            await conn.execute(
                f"INSERT INTO ingest.reading ({names}) VALUES ({', '.join(['%s'] * len(row))})",
                list(row.values()),
            )

        yield patient, read, fresh_database


async def days_of(patient, fresh_database):
    async with await database.Connection.connect(fresh_database.web) as conn:
        await conn.execute("SELECT set_config('app.practice_id', '1', true)")
        found = await device_days(conn, {patient: date(2026, 3, 1)}, until=date(2026, 3, 31))
    return [(day.day, day.device_id, day.readings) for day in found.get(patient, [])]


async def test_a_day_is_the_patients_own_and_counts_once(archive):
    patient, read, database_ = archive
    evening = datetime(2026, 3, 3, 5, 30, tzinfo=UTC)  # 2 March, 19:30 in Honolulu
    await read(evening)
    await read(evening + timedelta(minutes=5))
    assert await days_of(patient, database_) == [(date(2026, 3, 2), "cuff-1", 2)]


@pytest.mark.parametrize(
    "changed",
    [{"history": True}, {"time_confidence": "suspect"}, {"flags": ["echo"]}],
    ids=["history told afterwards", "a doubtful time", "an echo"],
)
async def test_what_proves_no_day_is_not_counted(archive, changed):
    patient, read, database_ = archive
    await read(datetime(2026, 3, 10, 20, tzinfo=UTC), **changed)
    assert await days_of(patient, database_) == []


async def test_days_outside_the_question_are_not_told(archive):
    patient, read, database_ = archive
    await read(datetime(2026, 2, 28, 20, tzinfo=UTC))
    await read(datetime(2026, 4, 1, 20, tzinfo=UTC))
    assert await days_of(patient, database_) == []
