"""The database tells the same story as the pure rules, whatever happens on the way: batches, crashes, repeats."""

import asyncio
import random
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from alerts import acts, service
from alerts.episode import Episode
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic
from tests.unit.alerts.ward import Ward, a_finding, a_score, when

pytestmark = pytest.mark.stack

SEEDS = range(12)
CONCERNS = (Concern.HIGH_PRESSURE, Concern.FAST_PULSE, Concern.SCORE_INCOMPLETE)


class Crash(Exception):
    """The process dies before its commit."""


def some_days(chance: random.Random, patient: UUID):
    """Readings of a few days: on time and late, in order and out of it, doubtful ones and history among them."""
    taken, arrived = when("08:00"), when("08:00")
    for _ in range(30):
        taken += timedelta(minutes=chance.choice([-60, 5, 30, 240, 700]))
        arrived = max(arrived, taken) + timedelta(minutes=chance.choice([0, 0, 0, 40, 6 * 60, 30 * 60]))
        findings = [
            a_finding(c, chance.choice(list(Tier)))
            for c in chance.sample(CONCERNS, chance.choice([0, 0, 1, 1, 2]))
        ]
        told = a_score("08:00", *findings, patient=patient, reading=UUID(int=chance.getrandbits(128)),
                       history=chance.random() < 0.1, time_confidence=chance.choice(["high", "high", "low", "suspect"]))  # fmt: skip
        yield msgspec.structs.replace(told, effective_at=taken, received_at=arrived)


def batches(chance: random.Random, scores):
    scores = list(scores)
    while scores:
        size = chance.randint(1, 8)
        yield scores[:size]
        scores = scores[size:]


@pytest.fixture
async def clinic(fresh_database):
    return await a_clinic(fresh_database)


async def test_the_database_agrees_with_the_pure_rules_through_crashes_and_repeats(clinic):
    crashes = repeats = moved = 0
    for seed in SEEDS:
        chance = random.Random(seed)
        await clinic.new_patient(f"s{seed}", f"Seed {seed}")
        patient = clinic.patients[f"s{seed}"]
        ward, told = Ward(), []
        for batch in batches(chance, some_days(chance, patient)):
            now = max(s.received_at for s in batch)
            for scored in batch:
                ward.score(scored, now=now)
            while chance.random() < 0.3:  # dies with the batch in hand, comes back, and is given it again
                crashes += 1
                with pytest.raises(Crash):
                    async with clinic.pipeline() as conn:
                        await clinic.room.handle(conn, batch, now=now)
                        clinic.room.forget()
                        raise Crash
            again = chance.sample(told, min(len(told), chance.choice([0, 0, 3])))
            repeats += len(again)
            mixed = [*again[:1], *batch, *again[1:], *batch[:1]]
            moved += len(await clinic.tell(*mixed, now=now))
            told += batch
        rows = await clinic.rows(
            "SELECT row_to_json(e)::text FROM alerts.episode e WHERE patient_id = %s ORDER BY episode_id",
            patient,
        )
        kept = [msgspec.json.decode(text, type=Episode) for (text,) in rows]
        assert kept == sorted(ward.episodes, key=lambda e: e.episode_id), f"seed {seed}"
        story = await clinic.rows(
            "SELECT episode_id, number, move, severity, why, reason, at FROM alerts.transition WHERE patient_id = %s ORDER BY seq",
            patient,
        )
        assert story == [
            (
                t.episode.episode_id,
                t.number,
                t.move,
                t.episode.severity,
                t.cause.why,
                t.cause.reason,
                t.cause.at,
            )
            for t in ward.transitions
        ], f"seed {seed}"
    assert (crashes > 20, repeats > 50, moved > 50) == (True, True, True), (crashes, repeats, moved)


async def test_people_and_readings_at_once_leave_a_legal_story(clinic):
    """Claims, acts, timers and batches race for the same episodes: numbers stay contiguous, one open per concern."""
    await clinic.tell(
        clinic.score("08:00", a_finding()), clinic.score("08:00", a_finding(Concern.FAST_PULSE, Tier.WATCH))
    )
    patient = clinic.patients["maria"]

    async def readings(n):
        chance = random.Random(n)
        for k in range(12):
            tier = chance.choice([None, Tier.WATCH, Tier.HIGH, Tier.CRITICAL])
            findings = [a_finding(chance.choice(CONCERNS[:2]), tier)] if tier else []
            await clinic.tell(clinic.score(f"{9 + k}:{n:02}", *findings))

    async def person(name, n):
        chance = random.Random(100 + n)
        for _ in range(12):
            act = clinic.act(name, now=when(f"{9 + chance.randint(0, 12)}:30"))
            async with clinic.web() as conn:
                found = await service.store.locked_of_patient(conn, patient)
                doing = chance.choice(["claim", "hand_back", "settle", "undo", "take_over"])
                if doing == "settle" and found:
                    await service.on_episode(
                        conn,
                        found[0][0].episode_id,
                        act,
                        lambda e, act=act: acts.settle(
                            act, e, code="noise", note="", needs_task=False, close=False
                        ),
                    )
                elif doing == "undo" and found:
                    await service.undo(conn, found[0][1].caused_by, act)
                elif doing in ("claim", "hand_back", "take_over"):
                    await getattr(service, doing)(conn, patient, act)

    async def timers():
        for hour in range(9, 22):
            async with clinic.pipeline() as conn:
                await service.end_what_is_over(conn, now=when(f"{hour}:59"))

    await asyncio.gather(
        *(readings(n) for n in range(3)), person("ana", 1), person("ben", 2), person("dora", 3), timers()
    )
    story = await clinic.rows(
        "SELECT episode_id, number, before, after, move FROM alerts.transition ORDER BY episode_id, number"
    )
    state: dict[UUID, tuple[int, str]] = {}
    for episode, number, before, after, _move in story:
        assert (
            (number, before) == (state[episode][0] + 1, state[episode][1]) if episode in state else (1, None)
        )
        state[episode] = (number, after)
    now = dict(await clinic.rows("SELECT episode_id, (number, state)::text FROM alerts.episode"))
    assert now == {episode: f"({number},{after})" for episode, (number, after) in state.items()}
    sent = await clinic.rows("SELECT count(*), count(DISTINCT event_id) FROM pump.outbox")
    assert sent[0][0] == sent[0][1]
