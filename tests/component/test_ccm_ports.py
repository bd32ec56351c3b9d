"""What the composition root lends the room on the real archive: device days in the patient's own dates, scores, readings."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import msgspec
import psycopg
import pytest

from deploy.device_days import device_days
from deploy.origins import Archives
from ingest.archive import ReadingArchive
from ingest.events import Kind, Reading, TimeConfidence
from risk.events import Concern, Finding, Scored, Tier
from tests.ccm_people import settle

pytestmark = pytest.mark.stack

SETUP = date(2026, 11, 1)


def reading(patient, at, **changes):
    return Reading(
        **{
            "event_id": uuid4(),
            "caused_by": uuid4(),
            "practice_id": 1,
            "patient_id": patient,
            "device_id": "cuff-1",
            "gateway_id": "gw-1",
            "kind": Kind.BLOOD_PRESSURE,
            "effective_at": at,
            "received_at": at + timedelta(minutes=1),
            "time_rule": "gateway",
            "time_confidence": TimeConfidence.HIGH,
            "systolic": 172.0,
            "diastolic": 96.0,
            "pulse": 78.0,
            "raw": b'{"sys": 172}',
        }
        | changes
    )


@pytest.fixture
async def archive(fresh_database):
    people = await settle(fresh_database.pipeline, fresh_database.web)

    async def keep(*readings):
        async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
            await ReadingArchive().handle(conn, readings, now=datetime(2026, 11, 20, tzinfo=UTC))

    return people, keep, fresh_database


CASES = [
    ("two readings of one day are one day", [(3, 9, {}), (3, 20, {})], [3]),
    ("an evening reading belongs to the patient's evening", [(3, 23, {})], [3]),
    ("what was recorded before watching began does not count", [(3, 9, {"history": True})], []),
    ("what arrived twice does not count", [(3, 9, {"flags": ("echo",)})], []),
    ("what was typed in does not count", [(3, 9, {"flags": ("manual",)})], []),
    ("a suspect clock does not count", [(3, 9, {"time_confidence": TimeConfidence.SUSPECT})], []),
    ("a played-back reading counts", [(3, 9, {"flags": ("playback",)})], [3]),
]


@pytest.mark.parametrize(("said", "days"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_a_day_is_the_patients_own_date_with_a_reading_sent_by_a_device(archive, said, days):
    people, keep, _ = archive
    readings = [
        reading(people.maria, datetime(2026, 11, day, hour, tzinfo=UTC) + timedelta(hours=5), **changes)
        for day, hour, changes in said
    ]
    await keep(*readings)
    async with people.desk(people.ana) as conn:
        found = await device_days(conn, {people.maria: SETUP}, until=date(2026, 11, 30))
    assert [one.day.day for one in found.get(people.maria, ())] == days


async def test_days_before_setup_and_of_another_practice_are_not_there(archive):
    people, keep, _ = archive
    noon = datetime(2026, 11, 3, 17, tzinfo=UTC)
    first = reading(people.maria, noon)
    await keep(
        reading(people.maria, noon - timedelta(days=5)),
        first,
        reading(people.maria, noon + timedelta(hours=1)),
        reading(people.oto, noon, practice_id=2),
    )
    async with people.desk(people.ana) as conn:
        found = await device_days(conn, {people.maria: SETUP, people.oto: SETUP}, until=date(2026, 11, 30))
    assert set(found) == {people.maria}
    (day,) = found[people.maria]
    assert (day.readings, day.first_reading) == (2, first.event_id)


async def test_a_reading_and_its_score_are_found_by_id_and_only_by_their_practice(archive):
    people, keep, dsn = archive
    noon = datetime(2026, 11, 3, 17, tzinfo=UTC)
    one = reading(people.maria, noon)
    scored = Scored(
        event_id=uuid4(),
        caused_by=one.event_id,
        practice_id=1,
        patient_id=people.maria,
        kind="bp",
        effective_at=noon,
        received_at=noon,
        time_confidence="high",
        values={"systolic": 172.0},
        tier=Tier.HIGH,
        findings=(
            Finding(
                concern=Concern.HIGH_PRESSURE, tier=Tier.HIGH, reason="172 is above 160.", rule="BP-HIGH"
            ),
        ),
        model_version="m1",
        rules_version="r1",
    )
    await keep(one)
    async with await psycopg.AsyncConnection.connect(dsn.pipeline) as conn:
        await conn.execute(
            """INSERT INTO risk.score (practice_id, patient_id, event_id, reading_id, effective_at, kind, tier, scored)
               VALUES (1, %s, %s, %s, %s, 'bp', 'high', %s)""",
            (people.maria, scored.event_id, one.event_id, noon, msgspec.json.encode(scored)),
        )
    port = Archives()
    async with people.desk(people.ana) as conn:
        score = (await port.scores(conn, people.maria, [scored.event_id]))[scored.event_id]
        measured = (await port.readings(conn, [one.event_id, uuid4()]))[one.event_id]
    assert (score.reading_id, score.reasons, score.rules) == (
        one.event_id,
        ("172 is above 160.",),
        ("BP-HIGH",),
    )
    assert (measured.value, measured.raw) == ("172/96 mm[Hg], pulse 78 /min", b'{"sys": 172}')
    async with people.desk(people.chris) as conn:
        assert await port.scores(conn, people.maria, [scored.event_id]) == {}
        assert await port.readings(conn, [one.event_id]) == {}
