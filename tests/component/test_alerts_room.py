"""The alerts room on the real database: one episode however often it is told, one winner, nothing over the border."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import msgspec
import psycopg
import pytest

from alerts import acts, service
from alerts.episode import NotPossible
from alerts.events import Move, move_id
from risk.events import Concern, Tier
from tests.component.alerts_clinic import ZERO, a_clinic
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack

HIGH, CRITICAL, WATCH = Tier.HIGH, Tier.CRITICAL, Tier.WATCH


@pytest.fixture
async def clinic(fresh_database):
    return await a_clinic(fresh_database)


async def the_episode(clinic, patient="maria"):
    async with clinic.pipeline() as conn:
        ((episode, last),) = await service.store.locked_of_patient(conn, clinic.patients[patient])
    return episode, last


async def test_a_high_reading_opens_one_episode_with_its_evidence_and_tells_the_next_room(clinic):
    scored = clinic.score("09:00", a_finding())
    (told,) = await clinic.tell(scored)
    episode, last = await the_episode(clinic)
    assert (told.move, told.number, told.episode_id, told.caused_by) == (
        Move.OPENED,
        1,
        episode.episode_id,
        scored.event_id,
    )
    assert told.event_id == move_id(episode.episode_id, 1)
    assert (episode.reason, episode.readings, last.move) == (
        "High pressure, high.",
        (scored.caused_by,),
        Move.OPENED,
    )
    assert episode.evidence[0].value == 186
    ((reading, score, why, tier),) = await clinic.rows(
        "SELECT reading_id, score_id, why, tier FROM alerts.evidence"
    )
    assert (reading, score, why, tier) == (scored.caused_by, scored.event_id, "first", "high")


async def test_the_same_scores_again_change_nothing_at_all(clinic):
    day = [
        clinic.score("09:00", a_finding()),
        clinic.score("10:00", a_finding(tier=CRITICAL)),
        clinic.score("11:00"),
    ]
    first = await clinic.tell(*day)
    before = await clinic.rows("SELECT row_to_json(e)::text FROM alerts.episode e")
    again = await clinic.tell(*day)
    rescored = await clinic.tell(
        *(msgspec.structs.replace(s, event_id=uuid4(), model_version="next") for s in day)
    )
    assert ([e.move for e in first], again, rescored) == ([Move.OPENED, Move.WORSENED], [], [])
    assert await clinic.rows("SELECT row_to_json(e)::text FROM alerts.episode e") == before


async def test_one_batch_or_one_by_one_is_the_same_story(clinic):
    day = [
        clinic.score(at, *findings, patient=who)
        for who in ("maria", "jon")
        for at, findings in [
            ("09:00", [a_finding(tier=WATCH)]),
            ("09:05", [a_finding(tier=CRITICAL), a_finding(Concern.FAST_PULSE, WATCH)]),
            ("12:00", []),
            ("18:00", []),
            ("1d 00:06", []),
        ]
    ]
    maria, jon = day[:5], day[5:]
    told = await clinic.tell(*maria)
    for scored in jon:
        told += await clinic.tell(scored)
    story = [(e.number, e.move, e.severity, e.concern) for e in told]
    assert story[: len(story) // 2] == story[len(story) // 2 :]
    assert story[:4] == [
        (1, "opened", "watch", "high_pressure"),
        (2, "worsened", "critical", "high_pressure"),
        (1, "opened", "watch", "fast_pulse"),
        (2, "closed", "watch", "fast_pulse"),
    ]


async def test_history_draws_the_band_and_opens_nothing(clinic):
    assert (
        await clinic.tell(
            *(clinic.score(f"0{h}:00", a_finding(tier=CRITICAL), history=True) for h in range(5))
        )
        == []
    )
    assert await clinic.rows("SELECT count(*) FROM alerts.observation") == [(5,)]


async def test_a_score_that_cannot_be_triaged_shows_in_the_technical_queue(clinic):
    scored = clinic.score("09:00")
    async with clinic.pipeline() as conn:
        (told,) = await clinic.room.park(
            conn, scored, reason="ValueError at triage.py:1", now=scored.received_at
        )
    assert (told.concern, told.move) == ("score_incomplete", Move.OPENED)
    (closed,) = await clinic.tell(clinic.score("10:00"))
    assert (closed.concern, closed.move) == ("score_incomplete", Move.CLOSED)


async def test_parking_a_score_of_nobody_we_know_raises_nothing(clinic):
    scored = msgspec.structs.replace(clinic.score("09:00"), patient_id=uuid4())
    async with clinic.pipeline() as conn:
        assert await clinic.room.park(conn, scored, reason="?", now=scored.received_at) == []
        await conn.execute("SELECT 1")  # the transaction lives on


# People -------------------------------------------------------------------------------------------------------------


async def do(clinic, who, what, now=ZERO, practice=1):
    act = clinic.act(who, now=now)
    async with clinic.web(practice) as conn:
        return act, await what(conn, act)


def claiming(clinic, patient="maria"):
    return lambda conn, act: service.claim(conn, clinic.patients[patient], act)


async def test_of_eight_claims_at_once_one_wins_and_seven_read_who_has_it(clinic):
    await clinic.tell(
        clinic.score("09:00", a_finding()), clinic.score("09:01", a_finding(Concern.FAST_PULSE, WATCH))
    )
    who = ["ana", "ben"] * 4
    answers = [a for _, a in await asyncio.gather(*(do(clinic, name, claiming(clinic)) for name in who))]
    won = [a for a in answers if not isinstance(a, NotPossible)]
    assert len(won) == 1
    winner = won[0][0].episode.owner_name
    assert {t.episode.concern for t in won[0]} == {"high_pressure", "fast_pulse"}  # one call covers both
    for name, answer in zip(who, answers, strict=True):
        if isinstance(answer, NotPossible):
            mine = clinic.staff[name].name == winner
            assert (
                answer.sentence == "You already have this patient."
                if mine
                else answer.sentence.startswith(f"{winner} has this")
            )
    assert await clinic.rows("SELECT count(*) FROM alerts.transition WHERE move = 'claimed'") == [(2,)]
    assert [e.move for e in await clinic.outbox()] == ["claimed", "claimed"]


async def test_the_whole_care_of_one_episode_is_told_and_remembered_with_who_and_why(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, _ = await the_episode(clinic)
    await do(clinic, "ana", claiming(clinic))

    async def settle(conn, act):
        return await service.on_episode(
            conn, episode.episode_id, act, seen=2,
            decide=lambda e: acts.settle(act, e, code="contacted", note="Took her tablets late.", needs_task=True, close=False),
        )  # fmt: skip

    act, (done,) = await do(clinic, "ana", settle, now=when("09:12"))
    assert (done.episode.state, done.episode.until) == ("handled", when("7d 09:12"))
    assert [(e.move, e.disposition, e.needs_task) for e in await clinic.outbox()] == [
        ("claimed", None, False),
        ("dispositioned", "contacted", True),
    ]
    assert (await clinic.outbox())[-1].caused_by == act.act_id
    assert b"tablets" not in b"".join(p for (p,) in await clinic.rows("SELECT payload FROM pump.outbox"))
    assert await clinic.rows("SELECT number, move, by_name, note FROM alerts.transition ORDER BY number") == [
        (1, "opened", None, ""),
        (2, "claimed", "Ana Lima", ""),
        (3, "dispositioned", "Ana Lima", "Took her tablets late."),
    ]


async def test_nobody_settles_what_they_have_not_seen(clinic):
    await clinic.tell(clinic.score("09:00", a_finding(tier=WATCH)))
    episode, _ = await the_episode(clinic)
    await clinic.tell(clinic.score("09:10", a_finding(tier=CRITICAL)))

    async def settle(conn, act):
        return await service.on_episode(
            conn, episode.episode_id, act, seen=1,
            decide=lambda e: acts.settle(act, e, code="noise", note="", needs_task=False, close=True),
        )  # fmt: skip

    _, answer = await do(clinic, "ana", settle)
    assert answer == NotPossible(
        "This changed at 04:10 while your page was open (worsened). Look again, then repeat what you meant to do."
    )


async def test_undo_is_for_the_same_person_the_same_day_and_nothing_moved_since(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    act, _ = await do(clinic, "ana", claiming(clinic))
    _, others = await do(clinic, "ben", lambda conn, me: service.undo(conn, act.act_id, me))
    _, tomorrow = await do(
        clinic, "ana", lambda conn, me: service.undo(conn, act.act_id, me), now=when("1d 14:00")
    )
    _, mine = await do(clinic, "ana", lambda conn, me: service.undo(conn, act.act_id, me), now=when("09:30"))
    _, twice = await do(clinic, "ana", lambda conn, me: service.undo(conn, act.act_id, me), now=when("09:31"))
    assert [a.sentence for a in (others, tomorrow, twice)] == [
        "There is nothing of yours to undo here.",
        "Only what you did today can be undone.",
        "There is nothing of yours to undo here.",
    ]
    assert [(t.move, t.episode.state) for t in mine] == [("handed_back", "waiting")]


async def test_undoing_a_disposition_that_closed_brings_it_back_into_the_same_hands(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, _ = await the_episode(clinic)

    async def settle(conn, me):
        return await service.on_episode(
            conn, episode.episode_id, me,
            lambda e: acts.settle(me, e, code="noise", note="", needs_task=False, close=True),
        )  # fmt: skip

    act, done = await do(clinic, "ana", settle)
    _, undone = await do(clinic, "ana", lambda conn, me: service.undo(conn, act.act_id, me))
    assert [t.move for t in done] == ["dispositioned", "closed"]
    assert [t.move for t in undone] == ["reopened", "claimed"]
    assert undone[-1].episode.owner == clinic.staff["ana"].staff_id


async def test_a_claim_that_was_forgotten_comes_back_as_late_as_it_is(clinic):
    await clinic.tell(clinic.score("09:00", a_finding(tier=CRITICAL)))
    await do(clinic, "ana", claiming(clinic))
    for now, moved in ((when("09:29"), 0), (when("09:31"), 1), (when("09:32"), 0)):
        async with clinic.pipeline() as conn:
            assert await service.end_what_is_over(conn, now=now) == moved
    episode, last = await the_episode(clinic)
    assert (episode.state, episode.owner, episode.back) == (
        "waiting",
        None,
        "The claim ran out without a move.",
    )
    assert (last.why, episode.since, episode.due_at) == (
        "lease_over",
        *(when(t) + timedelta(seconds=2) for t in ("09:00", "09:30")),
    )
    assert (await clinic.outbox())[-1].move == "handed_back"


async def test_two_sweeps_at_once_move_each_episode_once(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()), clinic.score("09:00", a_finding(), patient="jon"))
    for who in ("maria", "jon"):
        await do(clinic, "ana", claiming(clinic, who))

    async def sweep():
        async with clinic.pipeline() as conn:
            return await service.end_what_is_over(conn, now=when("20:00"))

    assert sum(await asyncio.gather(*(sweep() for _ in range(4)))) == 2


async def test_a_comment_sent_twice_is_one_comment_and_no_move(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, last = await the_episode(clinic)
    same = uuid4()
    for _ in range(2):
        _, refused = await do(
            clinic,
            "eve",
            lambda conn, me: service.comment(
                conn, episode.episode_id, me, comment_id=same, said=" Left a message. "
            ),
        )
        assert refused is None
    assert await clinic.rows("SELECT staff_name, said FROM alerts.comment") == [
        ("Eve Holm", "Left a message.")
    ]
    assert (await the_episode(clinic))[1] == last


# The border ---------------------------------------------------------------------------------------------------------


async def test_another_practice_can_neither_see_nor_touch_an_episode(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, _ = await the_episode(clinic)
    await do(
        clinic,
        "ana",
        lambda conn, me: service.comment(conn, episode.episode_id, me, comment_id=uuid4(), said="Ours."),
    )
    _, claimed = await do(clinic, "chris", claiming(clinic), practice=2)
    _, settled = await do(
        clinic,
        "chris",
        lambda conn, me: service.on_episode(conn, episode.episode_id, me, lambda e: acts.close_now(me, e)),
        practice=2,
    )
    assert isinstance(claimed, NotPossible)
    assert settled is None
    for table in ("episode", "transition", "evidence", "comment", "observation"):
        for practice, seen in ((1, 1), (2, 0)):
            async with clinic.web(practice) as conn:
                ((count,),) = await (await conn.execute(f"SELECT count(*) FROM alerts.{table}")).fetchall()
                assert count == seen, table
        async with await psycopg.AsyncConnection.connect(
            clinic.web_dsn
        ) as conn:  # nobody said which practice
            assert await (await conn.execute(f"SELECT 1 FROM alerts.{table}")).fetchall() == []


async def test_another_practice_cannot_be_written_into(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, _ = await the_episode(clinic)
    chris = clinic.staff["chris"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with clinic.web(2) as conn:
            await conn.execute(
                "INSERT INTO alerts.comment VALUES (%s, 1, %s, %s, 'Chris', now(), 'x')",
                (uuid4(), episode.episode_id, chris.staff_id),
            )
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        async with clinic.web(2) as conn:
            await conn.execute(
                "INSERT INTO alerts.comment VALUES (%s, 2, %s, %s, 'Chris', now(), 'x')",
                (uuid4(), episode.episode_id, chris.staff_id),
            )


@pytest.mark.parametrize("table", ["transition", "evidence", "comment"])
@pytest.mark.parametrize(
    "change", ["UPDATE alerts.{} SET practice_id = 2", "DELETE FROM alerts.{}", "TRUNCATE alerts.{}"]
)
async def test_the_record_cannot_be_changed_by_anybody_who_serves(clinic, table, change):
    for door in (clinic.pipeline, clinic.web):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with door() as conn:
                await conn.execute(change.format(table))


@pytest.mark.parametrize(
    "column",
    [
        "severity = 'watch'",
        "peak = 'watch'",
        "since = now()",
        "reason = ''",
        "patient_id = gen_random_uuid()",
    ],
)
async def test_pages_may_not_change_what_readings_said(clinic, column):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with clinic.web() as conn:
            await conn.execute(f"UPDATE alerts.episode SET {column}")


async def test_the_database_itself_refuses_a_second_open_episode(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, _ = await the_episode(clinic)
    with pytest.raises(psycopg.errors.UniqueViolation, match="one_open_episode"):
        async with clinic.pipeline() as conn:
            await service.store._insert(conn, [msgspec.structs.replace(episode, episode_id=uuid4())])


async def test_a_write_that_finds_another_number_changes_nothing(clinic):
    await clinic.tell(clinic.score("09:00", a_finding()))
    episode, _ = await the_episode(clinic)
    with pytest.raises(service.store.Overtaken, match="1 of 1 episodes moved while locked"):
        async with clinic.pipeline() as conn:
            await service.store._update(conn, [episode], {episode.episode_id: 7}, ("state",))
