"""Minutes on the real database: timers survive, entries are written once, nothing overlaps, nothing is lost."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from ccm_bridge import time_service, time_store
from ccm_bridge.chain import verify
from ccm_bridge.ledger import Contact, Doing, Span
from ccm_bridge.service import Refused
from ccm_bridge.time_service import Logged
from ccm_bridge.time_store import Timer
from tests.ccm_people import settle

pytestmark = pytest.mark.stack

TEN = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)


@pytest.fixture
async def people(fresh_database):
    return await settle(fresh_database.pipeline, fresh_database.web)


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
    )
    return replace(usual, **changes)


async def by_hand(people, who, entry_id, start, minutes, patient=None, **changes):
    async with people.desk(who) as conn:
        return await time_service.log_by_hand(
            conn,
            who,
            entry_id,
            doing(patient or people.maria, **changes),
            start=start,
            end=start + timedelta(minutes=minutes),
            attested=True,
            now=TEN + timedelta(days=20),
        )


async def total(people, who=None):
    async with people.desk(who or people.ana) as conn:
        entries = await time_store.entries(conn, "WHERE true", ())
    return sum(e.seconds for e in entries if e.voided_at is None), len(entries)


async def chain_of(people, dsn, table="time_entry", practice=1):
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        return [row async for row in time_store.links(conn, table, practice)]


async def test_a_request_sent_again_is_one_entry(people):
    entry_id = uuid4()
    first = await by_hand(people, people.ana, entry_id, TEN, 12)
    again = await by_hand(people, people.ana, entry_id, TEN, 12)
    assert isinstance(first, Logged)
    assert not first.again
    assert again == replace(first, again=True)
    assert await total(people) == (720, 1)


async def test_the_same_request_id_with_other_times_is_refused(people):
    entry_id = uuid4()
    await by_hand(people, people.ana, entry_id, TEN, 12)
    other = await by_hand(people, people.ana, entry_id, TEN + timedelta(hours=1), 12)
    assert isinstance(other, Refused)
    assert other.status == 409
    assert await total(people) == (720, 1)


async def test_an_overlap_is_refused_with_the_entry_that_stands_in_the_way(people):
    first = await by_hand(people, people.ana, uuid4(), TEN, 20)
    second = await by_hand(people, people.ana, uuid4(), TEN + timedelta(minutes=10), 20, patient=people.nora)
    assert second.status == 409
    assert second.entry_id == first.entries[0]
    assert "10:00 to 10:20" in second.sentence
    assert await total(people) == (1200, 1)


async def test_adjoining_spans_and_two_people_at_once_are_both_kept(people):
    assert isinstance(await by_hand(people, people.ana, uuid4(), TEN, 20), Logged)
    assert isinstance(await by_hand(people, people.ana, uuid4(), TEN + timedelta(minutes=20), 20), Logged)
    assert isinstance(await by_hand(people, people.ben, uuid4(), TEN, 20), Logged)


async def test_a_void_frees_the_time_and_stays_in_the_ledger(people):
    first = await by_hand(people, people.ana, uuid4(), TEN, 20)
    async with people.desk(people.ana) as conn:
        gone = await time_service.void(
            conn, people.ana, uuid4(), first.entries[0], reason="wrong patient", now=TEN + timedelta(days=20)
        )
    assert gone.void_reason == "wrong patient"
    assert isinstance(await by_hand(people, people.ana, uuid4(), TEN, 20, patient=people.nora), Logged)
    assert await total(people) == (1200, 2)


async def test_a_colleagues_entry_is_voided_only_by_physician_or_admin(people):
    first = await by_hand(people, people.ana, uuid4(), TEN, 20)
    for who, allowed in ((people.ben, False), (people.hugo, False), (people.dora, True)):
        async with people.desk(who) as conn:
            answer = await time_service.void(conn, who, uuid4(), first.entries[0], reason="doubled", now=TEN)
        assert isinstance(answer, Refused) is not allowed


@pytest.mark.parametrize("name", ["fred", "gail", "hugo"])
async def test_who_is_not_clinical_cannot_log_minutes(people, name):
    answer = await by_hand(people, getattr(people, name), uuid4(), TEN, 12)
    assert answer.status == 403
    assert await total(people) == (0, 0)


async def test_a_span_over_the_practices_month_end_becomes_two_entries(people):
    late = datetime(2026, 11, 1, 3, 50, tzinfo=UTC)  # 31 October 23:50 in New York
    logged = await by_hand(people, people.ana, uuid4(), late, 25)
    async with people.desk(people.ana) as conn:
        stood = await time_store.by_ids(conn, logged.entries)
    assert sorted((str(e.month), e.seconds // 60) for e in stood.values()) == [
        ("2026-10-01", 10),
        ("2026-11-01", 15),
    ]
    assert logged.seconds == 1500


# Timers


async def start(people, who, timer_id, at=TEN, patient=None):
    async with people.desk(who) as conn:
        return await time_service.start(
            conn,
            who,
            timer_id,
            patient_id=patient or people.maria,
            task_id=None,
            program="CCM",
            activity="check_in",
            now=at,
        )


async def beat(people, who, timer_id, n, at, stretch=0, ago=0.0):
    async with people.desk(who) as conn:
        return await time_service.beat(conn, who, timer_id, n=n, stretch=stretch, ago=ago, now=at)


async def stop(people, who, timer_id, at):
    async with people.desk(who) as conn:
        return await time_service.stop(conn, who, timer_id, now=at)


async def log(people, who, timer_id, at, **changes):
    async with people.desk(who) as conn:
        return await time_service.log_timer(conn, who, timer_id, doing(people.maria, **changes), now=at)


async def test_a_timer_measures_what_its_beats_prove_and_is_logged_once(people):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    for n in range(1, 41):
        await beat(people, people.ana, timer_id, n, TEN + timedelta(seconds=15 * n))
        await beat(people, people.ana, timer_id, n, TEN + timedelta(seconds=15 * n + 2))  # sent again
    await stop(people, people.ana, timer_id, TEN + timedelta(seconds=605))
    first = await log(people, people.ana, timer_id, TEN + timedelta(minutes=12))
    again = await log(people, people.ana, timer_id, TEN + timedelta(minutes=13))
    assert first.seconds == 605
    assert again == replace(first, again=True)
    assert await total(people) == (605, 1)


async def test_a_crashed_browser_loses_one_beat_at_most(people):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    for n in range(1, 21):
        await beat(people, people.ana, timer_id, n, TEN + timedelta(seconds=15 * n))
    # The browser dies 14 s after the last beat; an hour later Ana finds her timer and ends it.
    stopped = await stop(people, people.ana, timer_id, TEN + timedelta(hours=1))
    assert isinstance(stopped, Timer)
    assert stopped.state == "stopped"
    logged = await log(people, people.ana, timer_id, TEN + timedelta(hours=1))
    assert logged.seconds == 300


async def test_a_second_timer_waits_until_the_first_is_finished(people):
    first, second = uuid4(), uuid4()
    await start(people, people.ana, first)
    answer = await start(people, people.ana, second)
    assert answer.status == 409
    async with people.desk(people.ana) as conn:
        await time_service.discard(conn, people.ana, first)
    assert isinstance(await start(people, people.ana, second), Timer)


async def test_two_browsers_starting_at_once_start_one_timer(people):
    answers = await asyncio.gather(*(start(people, people.ana, uuid4()) for _ in range(8)))
    assert sum(isinstance(answer, Timer) for answer in answers) == 1


async def test_a_pause_is_not_counted_and_a_silent_timer_needs_hands(people):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    await beat(people, people.ana, timer_id, 1, TEN + timedelta(seconds=60))
    async with people.desk(people.ana) as conn:
        await time_service.pause(conn, people.ana, timer_id, now=TEN + timedelta(seconds=70))
        await time_service.pause(conn, people.ana, timer_id, now=TEN + timedelta(seconds=75))  # again
    assert (await beat(people, people.ana, timer_id, 9, TEN + timedelta(seconds=80))).status == 409
    async with people.desk(people.ana) as conn:
        await time_service.resume(conn, people.ana, timer_id, now=TEN + timedelta(minutes=10))
    await stop(people, people.ana, timer_id, TEN + timedelta(minutes=11))
    assert (await log(people, people.ana, timer_id, TEN + timedelta(minutes=12))).seconds == 70 + 60

    silent = uuid4()
    await start(people, people.ana, silent, TEN + timedelta(hours=1))
    await stop(people, people.ana, silent, TEN + timedelta(hours=1, minutes=20))
    answer = await log(people, people.ana, silent, TEN + timedelta(hours=2))
    assert answer.status == 422
    async with people.desk(people.ana) as conn:
        confirmed = await time_service.log_by_hand(
            conn,
            people.ana,
            silent,
            doing(people.maria),
            start=TEN + timedelta(hours=1),
            end=TEN + timedelta(hours=1, minutes=20),
            attested=True,
            now=TEN + timedelta(hours=2),
            timer_id=silent,
        )
    assert confirmed.seconds == 1200


async def test_nobody_beats_or_logs_a_colleagues_timer(people):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    assert (await beat(people, people.ben, timer_id, 1, TEN)).status == 404
    assert (await stop(people, people.ben, timer_id, TEN)).status == 404
    assert (await log(people, people.ben, timer_id, TEN)).status == 404


NOT_THEIRS = [
    ("a colleague's timer", "ben", "maria", "stop", 404),
    ("a timer of another patient", "ana", "nora", "stop", 422),
    ("a timer thrown away", "ana", "maria", "discard", 409),
    ("a timer that still runs", "ana", "maria", "", 409),
]


@pytest.mark.parametrize(
    ("who", "patient", "turn", "status"), [row[1:] for row in NOT_THEIRS], ids=[row[0] for row in NOT_THEIRS]
)
async def test_by_hand_nobody_ends(people, who, patient, turn, status):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    async with people.desk(people.ana) as conn:
        if turn == "stop":
            await time_service.stop(conn, people.ana, timer_id, now=TEN + timedelta(minutes=9))
        elif turn == "discard":
            await time_service.discard(conn, people.ana, timer_id)
    actor = getattr(people, who)
    async with people.desk(actor) as conn:
        refused = await time_service.log_by_hand(
            conn,
            actor,
            timer_id,
            doing(getattr(people, patient)),
            start=TEN,
            end=TEN + timedelta(minutes=9),
            attested=True,
            now=TEN + timedelta(hours=1),
            timer_id=timer_id,
        )
    assert refused.status == status
    assert await total(people) == (0, 0)


@pytest.mark.parametrize("start", [datetime(1, 1, 2, tzinfo=UTC), TEN - timedelta(days=347)])
async def test_a_slip_in_the_year_is_refused_and_not_written_for_ever(people, start):
    refused = await by_hand(people, people.ana, uuid4(), start, 12)
    assert (refused.status, refused.sentence) == (422, "This is more than a year ago. Check the year.")
    assert await total(people) == (0, 0)


async def test_a_correction_of_an_entry_that_is_not_here_is_refused(people):
    async with people.desk(people.ana) as conn:
        refused = await time_service.log_by_hand(
            conn,
            people.ana,
            uuid4(),
            doing(people.maria),
            start=TEN,
            end=TEN + timedelta(minutes=5),
            attested=True,
            now=TEN + timedelta(hours=1),
            corrects=uuid4(),
        )
    assert refused.status == 404
    assert await total(people) == (0, 0)


async def test_an_old_beat_proves_nothing(people):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    assert (await beat(people, people.ana, timer_id, 1, TEN + timedelta(minutes=9), ago=301)).status == 422


# The database itself


async def test_sixteen_writers_of_overlapping_spans_leave_no_overlap_and_one_chain(people, fresh_database):
    """Each writer sends every request twice, as a browser does that lost the answer."""
    accepted = []

    async def writer(number):
        who = (people.ana, people.ben, people.cora, people.dora)[number % 4]
        for turn in range(12):
            entry_id = uuid4()
            start_at = TEN + timedelta(minutes=7 * turn + number)
            for _ in range(2):
                answer = await by_hand(people, who, entry_id, start_at, 10)
            if isinstance(answer, Logged):
                accepted.append((who.staff_id, start_at, answer))

    await asyncio.gather(*(writer(n) for n in range(16)))
    async with people.desk(people.ana) as conn:
        overlaps = await (
            await conn.execute(
                """SELECT count(*) FROM ccm.time_entry a JOIN ccm.time_entry b
                       ON a.staff_id = b.staff_id AND a.entry_id < b.entry_id AND a.span && b.span"""
            )
        ).fetchone()
    assert overlaps == (0,)
    seconds, rows = await total(people)
    assert rows == len(accepted) >= 20
    assert seconds == 600 * rows
    assert verify("time_entry", 1, await chain_of(people, fresh_database.pipeline)) == []


async def test_without_the_exclusion_the_same_load_counts_minutes_twice(people, fresh_database):
    """The negative control: it is the constraint that keeps time from being counted twice, not luck."""
    async with await psycopg.AsyncConnection.connect(fresh_database.superuser, autocommit=True) as conn:
        await conn.execute("ALTER TABLE ccm.active_span DROP CONSTRAINT one_person_one_minute")
    await asyncio.gather(*(by_hand(people, people.ana, uuid4(), TEN, 10) for _ in range(8)))
    assert await total(people) == (8 * 600, 8)


@pytest.mark.parametrize("role", ["web", "pipeline", "owner"])
async def test_nobody_changes_removes_or_truncates_the_ledger(people, fresh_database, role):
    await by_hand(people, people.ana, uuid4(), TEN, 10)
    async with await psycopg.AsyncConnection.connect(getattr(fresh_database, role), autocommit=True) as conn:
        await conn.execute("SELECT set_config('app.practice_id', '1', false)")
        for attempt in (
            "UPDATE ccm.time_entry SET note = 'something else entirely'",
            "DELETE FROM ccm.time_entry",
            "TRUNCATE ccm.time_entry CASCADE",
            "DELETE FROM ccm.active_span",
            "UPDATE ccm.month_review SET note = ''",
            "TRUNCATE ccm.time_void",
        ):
            if role == "owner" and not attempt.startswith("TRUNCATE"):
                continue  # row-level security shows the owner no rows: nothing to change
            with pytest.raises(psycopg.Error):
                await conn.execute(attempt)
    assert await total(people) == (600, 1)


REFUSALS = [
    ("over four hours", timedelta(hours=5), TEN),
    ("not whole seconds", timedelta(minutes=5, microseconds=1), TEN),
    ("over the month's end", timedelta(minutes=30), datetime(2026, 11, 1, 3, 50, tzinfo=UTC)),
]


@pytest.mark.parametrize(("name", "length", "start_at"), REFUSALS, ids=[r[0] for r in REFUSALS])
async def test_the_database_refuses_a_span_that_the_code_let_through(people, name, length, start_at):
    from ccm_bridge.ledger import Entry, Source

    span = Span(start=start_at, end=start_at + timedelta(minutes=1))
    object.__setattr__(span, "end", start_at + length)
    entry = Entry(
        entry_id=uuid4(),
        practice_id=1,
        staff_id=people.ana.staff_id,
        staff_name="Ana",
        credential="RN",
        country="US",
        span=span,
        zone="America/New_York",
        month=datetime(2026, 10 if "month" in name else 11, 1, tzinfo=UTC).date(),
        doing=doing(people.maria),
        timer_id=None,
        source=Source.TIMER,
        attestation="",
        corrects=None,
        entered_at=TEN,
        entered_by=people.ana.staff_id,
    )
    async with people.desk(people.ana) as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            await time_store.append(conn, [entry])


async def test_another_practice_sees_no_minute_and_no_timer(people):
    timer_id = uuid4()
    await start(people, people.ana, timer_id)
    logged = await by_hand(people, people.ben, uuid4(), TEN, 10)
    async with people.desk(people.chris) as conn:
        assert await time_store.entries(conn, "WHERE true", ()) == []
        assert await time_store.timer(conn, timer_id, staff_id=people.ana.staff_id) is None
        answer = await time_service.void(
            conn, people.chris, uuid4(), logged.entries[0], reason="not mine", now=TEN
        )
    assert answer.status == 404
    assert isinstance(await by_hand(people, people.chris, uuid4(), TEN, 10, patient=people.oto), Logged)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await by_hand(people, people.chris, uuid4(), TEN + timedelta(hours=1), 10, patient=people.maria)
