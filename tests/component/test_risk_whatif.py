"""`lamplight risk what-if --practice` on the real database: two plans on what the practice's patients really measured."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from risk.cli import app
from risk.service import RiskRoom
from tests.unit.risk.diary import START, a_diary

pytestmark = pytest.mark.stack
OTTO, STAN, ELSEWHERE = (UUID(int=n) for n in (1, 2, 3))


@pytest.fixture
async def what_if(fresh_database):
    """The command, beside a database where Otto is often over 150 and never over 160, and Stan is calm."""
    since = (datetime.now(UTC) - START).days - 42
    readings = [
        *a_diary([128] * 60 + [152] * 20, start=since, patient=OTTO),
        *a_diary([126] * 80, start=since, patient=STAN),
        *a_diary([126] * 60 + [152] * 20, start=since, patient=ELSEWHERE, practice_id=2),
    ]
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
        await RiskRoom().handle(conn, sorted(readings, key=lambda one: one.effective_at), now=START)
        await conn.commit()

    async def run(*words):
        """The command has a loop of its own."""
        env = {"LAMPLIGHT_DATABASE": fresh_database.pipeline}
        told = await asyncio.to_thread(
            CliRunner().invoke, app, ["what-if", "--practice", "1", *words], env=env
        )
        assert not told.exception or isinstance(told.exception, SystemExit), told.exception
        return told

    return run


async def test_a_lower_limit_is_replayed_over_what_the_practice_measured(what_if):
    told = await what_if("--set", "systolic-high=150", "--zone", "America/New_York")
    assert told.exit_code == 0, told.output
    assert "patients 2, patient-weeks 7." in told.output
    assert str(OTTO) in told.output.split("would be new")[1]
    assert str(STAN) not in told.output and str(ELSEWHERE) not in told.output


async def test_one_of_its_patients_may_be_asked_for_and_nothing_is_written(what_if, fresh_database):
    told = await what_if("--patient", str(STAN), "--budget", "0.05", "--days", "14")
    assert "patients 1," in told.output and "would be new: 0" in told.output
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
        for table in ("limit_override", "decision"):
            assert await (await conn.execute(f"SELECT count(*) FROM risk.{table}")).fetchone() == (0,)


async def test_a_change_that_cannot_be_set_and_a_practice_without_readings_are_told_in_words(what_if):
    wrong = await what_if("--set", "systolic-high=900")
    assert wrong.exit_code == 2 and "can be set from" in wrong.output
    nobody = await what_if("--patient", str(ELSEWHERE), "--set", "systolic-high=150")
    assert nobody.exit_code == 0 and "patients 0" in nobody.output
