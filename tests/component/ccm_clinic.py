"""A clinic of two practices behind its real screens, on the real database: what the screens' tests start from."""

import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4, uuid5

import httpx
import psycopg
import pytest

from alerts.events import EpisodeMoved, Move, Severity
from ccm_bridge import (
    month_service,
    web,
)
from ccm_bridge.careplan import Content, Problem
from ccm_bridge.enrolment import Condition, Program
from ccm_bridge.month import DeviceDay
from ccm_bridge.origins import Measured, Score
from ccm_bridge.service import CcmRoom
from ccm_bridge.tasks import task_id
from deploy import database
from deploy.settings import Secret
from deploy.web import session
from deploy.web.frame import Desk
from deploy.web.site import site
from tests.ccm_people import settle

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # 10:00 in New York


HERE = "http://testserver"


TEN = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)


class Clock:
    now = NOW

    def __call__(self):
        return self.now


class Clinic:
    def __init__(self, people, app, desk, clock):
        self.people, self.app, self.desk, self.clock = people, app, desk, clock

    @asynccontextmanager
    async def browser(self, who):
        """A signed-in browser that sends what a page of ours would send."""
        token, csrf = secrets.token_urlsafe(16), secrets.token_urlsafe(8)
        async with self.desk.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO who.session (token_hash, staff_id, csrf, created_at, seen_at) VALUES (%s, %s, %s, %s, %s)",
                (session.token_hash(token), who.staff_id, csrf, self.clock.now, self.clock.now),
            )
        transport = httpx.ASGITransport(app=self.app)
        headers = {"origin": HERE, "x-csrf-token": csrf}
        async with httpx.AsyncClient(
            transport=transport, base_url=HERE, cookies={"lamplight": token}, headers=headers
        ) as client:
            yield client


CUFF = [NOW.date() - timedelta(days=n) for n in range(25)]


async def cuffs(conn, since, *, until):
    """Every monitored patient measured each day, in this test's clinic."""
    return {
        patient: [DeviceDay(day=day, device_id="cuff", readings=2, first_reading=uuid4()) for day in CUFF]
        for patient in since
    }


@pytest.fixture
async def clinic(fresh_database):
    people = await settle(fresh_database.pipeline, fresh_database.web)
    clock = Clock()
    clock.now = NOW
    async with database.pool(Secret(fresh_database.web)) as pool:
        desk = Desk(pool=pool, clock=clock, rooms=("ccm_bridge",), links=(), secure=False)
        origins = Cuffs()
        app = site(desk, [web.router(desk, days=cuffs, origins=origins)], static=("ccm_bridge",))
        clinic = Clinic(people, app, desk, clock)
        clinic.origins, origins.patient = origins, people.maria
        async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
            await prepare(conn, people)
        yield clinic


PLAN = Content(
    problems=(Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 135/85"),)
)


async def prepare(conn, people):
    """Maria is enrolled, consented and planned, and her pressure drifts up; Oto lives in the other practice."""
    for practice, nurse, doctor, patient in (
        (1, people.ana, people.dora, people.maria),
        (2, people.chris, people.chris, people.oto),
    ):
        await month_service.attest_practice(
            conn,
            practice_id=practice,
            staff=(nurse.staff_id, nurse.name),
            from_day=TEN.date() - timedelta(days=400),
            now=TEN,
        )
        await month_service.enrol(
            conn,
            practice_id=practice,
            patient_id=patient,
            nurse=(nurse.staff_id, nurse.name),
            practitioner=(doctor.staff_id, doctor.name),
            programs=frozenset({Program.CCM, Program.RPM}),
            conditions=[
                Condition(icd10="I10", name="Hypertension", chronic_months=24),
                Condition(icd10="I50.9", name="Heart failure", chronic_months=24),
            ],
            plan=PLAN,
            visit=(TEN - timedelta(days=60)).date(),
            consent_at=TEN - timedelta(days=50),
            plan_at=TEN - timedelta(days=49),
        )
    async with conn.transaction():
        await CcmRoom().handle(conn, told(people), now=NOW)


EPISODE = uuid5(uuid4(), "episode")


READING = uuid5(EPISODE, "reading 0")


class Cuffs:
    """The rooms to the left, as the chain's page meets them."""

    patient = None

    async def scores(self, conn, patient_id, ids):
        return {
            one: Score(
                score_id=one,
                reading_id=READING,
                effective_at=NOW,
                tier="high",
                reasons=("Rising for three mornings.",),
                rules=("BP-DRIFT",),
                model_version="m1",
                rules_version="r1",
            )
            for one in ids
        }

    async def readings(self, conn, ids):
        return {
            one: Measured(
                reading_id=one,
                patient_id=self.patient,
                caused_by=uuid5(one, "message"),
                systolic=172.0,
                diastolic=96.0,
                device_id="cuff-1",
                gateway_id="gw-1",
                effective_at=NOW,
                received_at=NOW,
                device_time=None,
                time_rule="gateway",
                flags=(),
                raw=b'{"sys": 172}',
            )
            for one in ids
            if self.patient
        }

    async def of_patient(self, conn, patient_id, *, start, end):
        return list((await self.readings(conn, [READING])).values())


def told(people):
    def move(number, what, *, needs=False, reason="Mornings rose three days in a row.", by=None):
        return EpisodeMoved(
            event_id=uuid5(EPISODE, str(number)),
            caused_by=uuid5(EPISODE, f"score {number}"),
            practice_id=1,
            patient_id=people.maria,
            episode_id=EPISODE,
            number=number,
            concern="pressure_drift_up",
            move=what,
            severity=Severity.HIGH,
            reason=reason,
            at=NOW - timedelta(hours=10 - number),
            by=by,
            needs_task=needs,
            readings=tuple(uuid5(EPISODE, f"reading {n}") for n in range(number)),
        )

    return [
        move(1, Move.OPENED),
        move(2, Move.CLAIMED, by=people.ana.staff_id),
        move(3, Move.DISPOSITIONED, needs=True, reason="Out of tablets.", by=people.ana.staff_id),
    ]


TASK = task_id(EPISODE)


def entry(people, **changes):
    return {
        "entry_id": str(uuid4()),
        "patient_id": str(people.maria),
        "task_id": str(TASK),
        "start": "2026-11-03T10:00",
        "end": "2026-11-03T10:22",
        "program": "CCM",
        "activity": "check_in",
        "contact": "phone",
        "contact_with": "patient",
        "interactive": "yes",
        "note": "Called about the missed refill; she has tablets again.",
        "outcome": "Delivered",
        "attested": "yes",
        "back": f"/tasks/{TASK}",
        **changes,
    }
