"""Models in the shadow on the real database: scored beside the live one, shown nowhere, harmless, promoted by a command."""

import asyncio
import json
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from deploy.edges import models
from deploy.settings import Secret
from risk import drift, forecast, model_store
from risk.candidate import Candidate, CandidateRefused, comparison
from risk.cli import app
from risk.replay import replay
from risk.scoring import Model
from risk.service import RiskRoom
from risk.store import packaged_model
from tests.component.test_risk_room import rows, serve
from tests.unit.risk.diary import a_diary, a_reading

pytestmark = pytest.mark.stack


def trained(kind="drift", version="drift-next", *, loud=0.0):
    """A model as `risk train` would write it: that which ships, a little louder, under a name of its own."""
    told = json.loads(drift.stored() if kind == "drift" else forecast.stored())
    told["version"] = version
    if kind == "drift":
        for side in told["scales"]["systolic"].values():
            side["log_months"] = [one + loud for one in side["log_months"]]
    else:
        told["offset"] = [one + loud for one in told["offset"]]
    told["report"] |= {"seed": 8}
    told["checksum"] = drift.checksum(told)
    return json.dumps(told)


@pytest.fixture
def pipeline(fresh_database):
    @asynccontextmanager
    async def transaction():
        async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn, conn.transaction():
            yield conn

    return transaction


@pytest.fixture
def command(fresh_database, tmp_path):
    async def run(*words):
        """The command has a loop of its own."""
        env = {"LAMPLIGHT_DATABASE": fresh_database.pipeline}
        return await asyncio.to_thread(CliRunner().invoke, app, ["model", *words], env=env)

    async def place(content):
        file = tmp_path / "model.json"
        file.write_text(content)
        return await run("shadow", str(file), "--by", "Dr. Stone", "--reason", "learnt on more people")

    run.place = place
    return run


def diary(days=40):
    return [
        *a_diary([134] * days + [152] * 24),
        *[a_reading(40 + n / 4, glucose=90.0 + n % 7) for n in range(60)],
    ]


async def test_a_shadow_scores_beside_and_changes_nothing_that_anybody_is_told(
    pipeline, fresh_database, command
):
    assert (await command.place(trained(loud=1.0))).exit_code == 0
    live, shadow = await models(Secret(fresh_database.pipeline))
    assert (live.version, shadow.version) == (
        "drift-3+glucose-1+usual-2+outlook-1",
        "drift-next+glucose-1+usual-2+outlook-1",
    )
    readings = diary()
    told = await serve(pipeline, RiskRoom(live, shadow=shadow), readings)
    ((many, versions, loudest),) = await rows(
        pipeline, "SELECT count(*), array_agg(DISTINCT model_version), max(drift_score) FROM risk.shadow"
    )
    assert (many, versions) == (len(readings), ["drift-next+glucose-1+usual-2+outlook-1"])
    assert loudest > max(one.drift_score or 0 for one in told)
    assert {one.model_version for one in told} == {"drift-3+glucose-1+usual-2+outlook-1"}


async def test_what_the_shadow_said_long_ago_is_let_go(pipeline):
    room = RiskRoom(shadow=Model(reading=drift.understood(json.loads(trained()))))
    await serve(pipeline, room, a_diary([134] * 20))
    assert await rows(pipeline, "SELECT count(*) FROM risk.shadow") == [(20,)]
    for day in (95, 96, 97, 98, 99):
        await serve(pipeline, room, [a_reading(day)])
    left = await rows(pipeline, "SELECT min(effective_at), count(*) FROM risk.shadow")
    assert left == [(a_reading(5).effective_at, 15)], "two for each that came, the oldest first"


async def test_with_and_without_a_shadow_scores_and_memories_are_the_same(pipeline):
    shadow = Model(
        forecast=packaged_model().forecast, reading=drift.understood(json.loads(trained(loud=2.0)))
    )
    first = diary()
    with_shadow = await serve(pipeline, RiskRoom(shadow=shadow), first)
    kept = await rows(pipeline, "SELECT kind, memory FROM risk.memory ORDER BY kind")
    assert with_shadow == replay(first, model=packaged_model())
    assert len(kept) == 2


async def test_a_shadow_that_breaks_is_dropped_and_the_live_score_stands(pipeline):
    room = RiskRoom(shadow=BrokenReading())
    told = await serve(pipeline, room, [a_reading(0), a_reading(1)])
    assert len(told) == 2 and room._shadow is None
    assert await rows(pipeline, "SELECT count(*) FROM risk.score") == [(2,)]
    assert await rows(pipeline, "SELECT count(*) FROM risk.shadow") == [(0,)]


class BrokenReading:
    """Not a model at all: whatever the scorer asks of it fails, but its name."""

    version = "broken"
    forecast = None


async def test_promotion_shows_both_cards_wants_a_reason_and_enough_readings(
    pipeline, fresh_database, command
):
    assert (await command.place(trained(loud=0.5))).exit_code == 0
    looked = await command("promote", "drift-next")
    assert looked.exit_code == 0, looked.output
    for part in (
        "live drift-3, in the shadow drift-next",
        "* seed: 7 | 8",
        "scored beside each other: 0 readings",
        "Nothing was changed",
    ):
        assert part in looked.output, looked.output
    early = await command("promote", "drift-next", "--by", "Dr. Stone", "--reason", "sooner")
    assert early.exit_code == 1 and "has scored 0 readings beside the live model; wanted 500" in early.output
    live, shadow = await models(Secret(fresh_database.pipeline))
    readings = [one for person in range(6) for one in a_diary([134] * 100, patient=uuid_of(person))]
    await serve(pipeline, RiskRoom(live, shadow=shadow), readings)
    done = await command("promote", "drift-next", "--by", "Dr. Stone", "--reason", "sooner")
    assert done.exit_code == 0, done.output
    assert "scored beside each other: 600 readings of 6 patients" in done.output
    live, shadow = await models(Secret(fresh_database.web))  # the pages may know which model is live
    assert (live.version, shadow) == ("drift-next+glucose-1+usual-2+outlook-1", None)
    assert "drift-next       drift    live" in (await command("list")).output
    assert (await command("retire", "drift-next", "--by", "Dr. Stone", "--reason", "too loud")).exit_code == 0
    live, _ = await models(Secret(fresh_database.pipeline))
    assert live.version == packaged_model().version


def uuid_of(person):
    return UUID(int=person + 1)


async def test_no_page_can_read_what_the_shadow_said(fresh_database):
    async with await psycopg.AsyncConnection.connect(fresh_database.web) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute("SELECT 1 FROM risk.shadow")


async def test_a_name_means_one_model_for_ever_and_the_newest_shadow_stands_alone(fresh_database, command):
    assert (await command.place(trained("glucose", "glucose-2"))).exit_code == 0
    again = await command.place(trained("glucose", "glucose-2", loud=0.1))
    assert again.exit_code == 1 and "There is a model glucose-2 already" in again.output
    assert (await command.place(trained("glucose", "glucose-1"))).exit_code == 1  # what ships has that name
    assert (await command.place(trained("glucose", "glucose-3"))).exit_code == 0
    assert (
        await command.place(trained("drift", "drift-4"))
    ).exit_code == 0  # another kind has a place of its own
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline) as conn:
        found = {row[0]: row[2] for row in await model_store.listed(conn)}
    assert found == {"glucose-2": "retired", "glucose-3": "shadow", "drift-4": "shadow"}


def test_what_was_altered_or_is_no_model_is_refused_in_words():
    told = json.loads(trained())
    told["version"] = "another"
    for content, sentence in (
        (json.dumps(told), "does not match its checksum"),
        ("[]", "no trained model"),
        ("{", "no trained model"),
    ):
        with pytest.raises(CandidateRefused, match=sentence):
            Candidate.read(content)


def test_the_comparison_puts_card_beside_card():
    lines = list(comparison(
        Candidate.read(drift.stored()), Candidate.read(trained()),
        model_store.Beside(readings=1, patients=1, both_loud=0, live_alone=0, shadow_alone=1, chance_differs=0.012),
    ))  # fmt: skip
    assert any(
        "across_halves, 0.25, detection: [0.9544, 0.9606] | [0.9544, 0.9606]" in line for line in lines
    )
    assert "differs by 0.012" in lines[-1]
