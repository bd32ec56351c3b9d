"""The kept rows of the month are what deciding anew would say, after every kind of change that a decision rests on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from msgspec import structs

from ccm_bridge import (
    attestation_store,
    care_service,
    consent_store,
    enrolment_store,
    month_service,
    month_store,
    plan_store,
    time_service,
)
from ccm_bridge.enrolment import Program
from ccm_bridge.ledger import Contact, Doing
from ccm_bridge.month import Circumstance, DeviceDay
from ccm_bridge.overview_service import Glance, line
from ccm_bridge.store import By
from tests.ccm_people import settle
from tests.component.ccm_clinic import NOW, TEN, prepare

pytestmark = pytest.mark.stack

MONTH = TEN.date().replace(day=1)


class Cuffs:
    """Device days that grow by a reading."""

    def __init__(self):
        self.days = [NOW.date() - timedelta(days=n) for n in range(5, 20)]

    async def __call__(self, conn, since, *, until):
        return {
            patient: [
                DeviceDay(day=day, device_id="c", readings=1, first_reading=uuid4()) for day in self.days
            ]
            for patient in since
        }

    async def last(self, conn, patients):
        newest = max(self.days)
        return dict.fromkeys(patients, datetime(newest.year, newest.month, newest.day, tzinfo=UTC))


@pytest.fixture
async def practice(fresh_database):
    people = await settle(fresh_database.pipeline, fresh_database.web)
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        await prepare(conn, people)
    return people


async def log(conn, people, minutes, at):
    doing = Doing(
        patient_id=people.maria,
        program="CCM",
        activity="check_in",
        note="Called about the missed refill.",
        problem="Hypertension",
        outcome="",
        contact=Contact.PHONE,
        contact_with="patient",
        interactive=True,
    )
    return await time_service.log_by_hand(
        conn,
        people.ana,
        uuid4(),
        doing,
        start=at,
        end=at + timedelta(minutes=minutes),
        attested=True,
        now=NOW,
    )


def fact(people, kind, **changes):
    usual = Circumstance(
        circumstance_id=uuid4(),
        kind=kind,
        month=MONTH,
        from_at=None,
        until_at=None,
        code=None,
        by_whom=None,
        note="told",
        recorded_by_name="Ana",
        recorded_at=NOW,
    )
    return replace(usual, **changes)


async def test_every_change_is_seen_and_nothing_else_is_decided_again(practice):
    people, cuffs, now = practice, Cuffs(), NOW
    glance = Glance(cuffs, cuffs.last)
    decided = []

    async def both():
        """What is kept, and what deciding anew says."""
        async with people.desk(people.ana) as conn:
            kept = await glance.look(conn, zone=people.ana.zone, month=MONTH, now=now)
            rows = await month_service.rows(conn, zone=people.ana.zone, month=MONTH, now=now, days=cuffs)
        fresh = {row.known.patient_id: line(row, now=now) for row in rows}
        for one in kept.lines:
            assert structs.replace(one, valid_until=now) == structs.replace(
                fresh[one.patient_id], valid_until=now
            )
        assert kept.undecided == []
        return {one.patient_id: one for one in kept.lines}

    async def change(what, act, who=None):
        before = (await both())[people.maria]
        async with people.desk(who or people.ana) as conn:
            await act(conn)
        after = (await both())[people.maria]
        assert (await both())[people.maria] is after, f"{what}: decided again without a change"
        decided.append((what, before != after))

    first = {}

    async def enter(conn):
        first["entry"] = (await log(conn, people, 22, TEN)).entries[0]

    await change("an entry", enter)
    await change(
        "a look-up",
        lambda conn: month_store.add_circumstance(
            conn, people.maria, fact(people, "month_checked"), by=by(people.ana)
        ),
    )
    await change("another entry", lambda conn: log(conn, people, 20, TEN + timedelta(hours=1)))
    await change(
        "a void",
        lambda conn: time_service.void(conn, people.ana, uuid4(), first["entry"], reason="wrong", now=NOW),
    )
    await change(
        "a stay",
        lambda conn: month_store.add_circumstance(
            conn,
            people.maria,
            fact(
                people,
                "stay",
                code="inpatient",
                from_at=TEN - timedelta(days=1),
                until_at=TEN + timedelta(days=1),
            ),
            by=by(people.ana),
        ),
    )

    async def plan(conn):
        held = (await plan_store.versions(conn, people.maria))[0]
        first["plan"] = uuid4()
        await care_service.draft(
            conn,
            people.ana,
            first["plan"],
            people.maria,
            version=held.version + 1,
            content=held.content,
            review_on=held.review_on,
            now=NOW,
        )

    await change("a draft", plan)
    await change(
        "a signature",
        lambda conn: care_service.sign(conn, people.dora, people.maria, first["plan"], now=NOW),
        people.dora,
    )
    await change(
        "a copy",
        lambda conn: care_service.hand_out(
            conn, people.ana, people.maria, first["plan"], uuid4(), to="the patient", how="by post", now=NOW
        ),
    )

    async def version(conn):
        known = (await enrolment_store.enrolments(conn, [people.maria]))[people.maria]
        await enrolment_store.add_enrolment(
            conn,
            uuid4(),
            replace(known, version=known.version + 1, payer="commercial"),
            why="moved",
            by=by(people.ana),
        )

    await change("another payer", version)

    async def revoke(conn):
        given = (await consent_store.consents(conn, [people.maria]))[people.maria]
        ccm = next(one for one in given if one.program is Program.CCM)
        await care_service.revoke(conn, people.ana, people.maria, ccm.consent_id, reason="enough", now=NOW)

    await change("a revocation", revoke)
    await change(
        "an attestation that ends",
        lambda conn: attestation_store.attest(
            conn,
            uuid4(),
            kind="access_24_7",
            holds=False,
            from_day=MONTH,
            statement="no longer",
            by=by(people.gail),
        ),
    )

    async def review(conn):
        row = (
            await month_service.rows(
                conn, zone=people.ana.zone, month=MONTH, now=now, days=cuffs, patients=[people.maria]
            )
        )[0]
        await month_service.set_step(conn, people.cora, uuid4(), row, step="reviewed", note="", now=NOW)

    await change("a review", review)

    async def measure(conn):
        cuffs.days.append(NOW.date())

    await change("a reading", measure)
    seen = dict(decided)
    assert all(
        seen[what]
        for what in seen
        if what not in ("a draft", "a stay", "another payer", "an attestation that ends")
    ), seen

    now = NOW + timedelta(days=20)  # the month is over: every row may stand differently
    await both()


def by(who):
    return By(practice_id=who.practice_id, staff_id=who.staff_id, name=who.name, at=NOW)


async def test_what_does_not_fit_the_budget_follows_with_the_next_request(practice, fresh_database):
    people, cuffs = practice, Cuffs()
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        for n in range(60):
            patient = uuid4()
            await conn.execute(
                "INSERT INTO who.patient VALUES (%s, 1, %s, 'P', '1950-01-01', 'America/New_York')",
                (patient, f"B{n}"),
            )
            await conn.execute(
                """INSERT INTO ccm.enrolment (enrolment_id, practice_id, patient_id, version, state, programs, why,
                                              recorded_at, recorded_by)
                   VALUES (%s, 1, %s, 1, 'enrolled', '{CCM}', 'x', now(), %s)""",
                (uuid4(), patient, people.ana.staff_id),
            )
    glance = Glance(cuffs, cuffs.last, budget_s=0)
    left = []
    async with people.desk(people.ana) as conn:
        while not left or left[-1]:
            seen = await glance.look(conn, zone=people.ana.zone, month=MONTH, now=NOW)
            left.append(len(seen.undecided))
    assert left == [46, 31, 16, 1, 0]
    assert len(seen.lines) == 61
    async with people.desk(people.ana) as conn:  # where nobody waits, one request does more of it
        anew = Glance(cuffs, cuffs.last, budget_s=0)
        unwatched = await anew.look(conn, zone=people.ana.zone, month=MONTH, now=NOW, watched=False)
    assert len(unwatched.undecided) < left[0]
