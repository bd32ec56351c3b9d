"""Last contact: a care call that was logged in the CCM room is known in the queue, if it was live and still counts."""

from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from alerts import acts, service
from alerts.contact_store import last
from deploy.care_calls import LiveContacts
from tests.component.alerts_clinic import a_clinic
from tests.unit.alerts.ward import a_finding, when

pytestmark = pytest.mark.stack


@pytest.fixture
async def clinic(fresh_database):
    clinic = await a_clinic(fresh_database)
    clinic.superuser = fresh_database.superuser
    return clinic


async def logs(clinic, at, *, contact="phone", whom="patient", interactive=True, patient="maria"):
    """Five minutes of Eve's, as the time ledger keeps them."""
    entry, begun, eve = uuid4(), when(at), clinic.staff["eve"]
    async with await psycopg.AsyncConnection.connect(clinic.superuser) as conn:
        ((seq,),) = await (await conn.execute("SELECT count(*) + 1 FROM ccm.time_entry")).fetchall()
        await conn.execute(
            """INSERT INTO ccm.time_entry (entry_id, practice_id, seq, staff_id, staff_name, credential, country, patient_id,
                      program, span, zone, month, activity, note, problem, outcome, contact, contact_with, interactive,
                      as_clinical_staff, readings, source, attestation, entered_at, entered_by, prev_hash, hash)
               VALUES (%(entry)s, 1, %(seq)s, %(staff)s, 'Eve Holm', 'LPN', 'US', %(patient)s, 'CCM',
                       tstzrange(%(from)s, %(to)s), 'America/New_York', '2026-01-01', 'monitoring', 'went through the week',
                       '', '', %(contact)s, %(whom)s, %(live)s, false, '{}', 'timer', '', %(to)s, %(staff)s,
                       sha256(%(before)s::text::bytea), sha256(%(seq)s::text::bytea))""",
            {"entry": entry, "seq": seq, "before": seq - 1, "staff": eve.staff_id, "patient": clinic.patients[patient],
             "from": begun, "to": begun + timedelta(minutes=5), "contact": contact, "whom": whom, "live": interactive},
        )  # fmt: skip
    return entry


async def known(clinic, patient="maria"):
    async with clinic.web() as conn:
        found = await last(conn, LiveContacts(), [clinic.patients["maria"], clinic.patients["jon"]])
    contact = found.get(clinic.patients[patient])
    return contact and (contact.at, contact.by_name, contact.how)


async def test_the_newest_live_contact_is_told_wherever_it_happened(clinic):
    assert await known(clinic) is None
    await logs(clinic, "08:00", whom="daughter")
    await logs(clinic, "08:30", contact="message", interactive=False)
    assert await known(clinic) == (when("08:05"), "Eve Holm", "care call, phone with daughter")
    (told,) = await clinic.tell(clinic.score("09:00", a_finding()))
    async with clinic.web() as conn:
        act = clinic.act(now=when("09:10"))
        await service.on_episode(
            conn,
            told.episode_id,
            act,
            lambda e: acts.settle(
                act, e, code="contacted", note="She is well.", needs_task=False, close=False
            ),
        )
    assert await known(clinic) == (when("09:10"), "Ana Lima", "")
    await logs(clinic, "10:00", contact="video")
    assert await known(clinic) == (when("10:05"), "Eve Holm", "care call, video")
    assert await known(clinic, "jon") is None


async def test_minutes_that_were_voided_are_no_contact_and_another_practice_knows_nothing(clinic):
    entry = await logs(clinic, "08:00")
    async with clinic.web(2) as conn:
        assert await LiveContacts().last(conn, [clinic.patients["maria"]]) == {}
    async with await psycopg.AsyncConnection.connect(clinic.superuser) as conn:
        await conn.execute(
            """INSERT INTO ccm.time_void VALUES (gen_random_uuid(), 1, 1, %s, 'another patient', %s, 'Eve Holm', now(),
                                                 sha256('0'), sha256('1'))""",
            (entry, clinic.staff["eve"].staff_id),
        )
    assert await known(clinic) is None
