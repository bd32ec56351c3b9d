"""The daily anchor as a duty: every practice once a day, a tail cut afterwards is caught, and trouble is not silent."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ccm_bridge import anchor_store, time_service
from ccm_bridge.anchor_service import keep_anchoring, sign_day
from ccm_bridge.ledger import Contact, Doing
from ccm_bridge.verify_store import verify_database
from deploy import database
from deploy.settings import Secret
from tests.ccm_people import settle

pytestmark = pytest.mark.stack

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
async def people(fresh_database):
    return await settle(fresh_database.pipeline, fresh_database.web)


@pytest.fixture
async def transact(fresh_database):
    async with database.pool(Secret(fresh_database.pipeline), size=1) as pool:
        yield pool.connection


class Heard:
    """A meter that remembers, and ends the watch after so many good rounds."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.at: list[datetime] = []
        self._stopping = stopping

    def anchored(self, at: datetime) -> None:
        self.at.append(at)
        self._stopping.set()


async def log_a_call(people):
    doing = Doing(
        patient_id=people.maria,
        program="CCM",
        activity="check_in",
        note="Called about her ankles.",
        problem="Hypertension",
        outcome="",
        contact=Contact.PHONE,
        contact_with="patient",
        interactive=True,
        readings=(),
    )
    async with people.desk(people.ana) as conn:
        await time_service.log_by_hand(
            conn,
            people.ana,
            uuid4(),
            doing,
            start=NOON - timedelta(hours=1),
            end=NOON - timedelta(minutes=50),
            attested=True,
            now=NOON,
        )


async def anchors_of(transact):
    async with transact() as conn:
        return await anchor_store.stored(conn)


async def test_every_practice_is_signed_once_a_day_in_the_database_and_elsewhere(people, transact, tmp_path):
    elsewhere = tmp_path / "anchors.jsonl"
    for now in (NOON, NOON + timedelta(minutes=5), NOON + timedelta(hours=11), NOON + timedelta(hours=12)):
        assert await sign_day(transact, KEY, elsewhere, now=now) == []
    async with transact() as conn:
        practices = await anchor_store.practices(conn)
    kept = [anchor_store.from_line(line) for line in elsewhere.read_text().splitlines()]
    assert len(kept) == 2 * len(practices)
    assert sorted(one.statement for one in kept) == sorted(
        one.statement for one in await anchors_of(transact)
    )


async def test_an_anchor_of_another_key_is_no_anchor(people, transact):
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert await sign_day(transact, other, None, now=NOON) == []
    (first, *_) = wrong = await sign_day(transact, KEY, None, now=NOON)
    assert "another key" in first
    async with transact() as conn:
        assert len(wrong) == len(await anchor_store.practices(conn))


async def test_what_cannot_be_kept_elsewhere_is_not_signed_and_tried_again(people, transact, tmp_path):
    nowhere = tmp_path / "not mounted" / "anchors.jsonl"
    wrong = await sign_day(transact, KEY, nowhere, now=NOON)
    assert wrong
    assert all("FileNotFoundError" in one for one in wrong)
    assert await anchors_of(transact) == []
    nowhere.parent.mkdir()
    assert await sign_day(transact, KEY, nowhere, now=NOON) == []


async def test_the_meter_hears_only_of_a_round_in_which_every_practice_stood_signed(
    people, transact, tmp_path
):
    folder: Path = tmp_path / "later"
    stopping = asyncio.Event()
    meter = Heard(stopping)
    rounds = iter(NOON + timedelta(minutes=n) for n in range(1000))

    def clock():
        now = next(rounds)
        if now == NOON + timedelta(minutes=2):
            folder.mkdir()
        return now

    async with asyncio.timeout(30):
        await keep_anchoring(
            transact, KEY, meter, clock, stopping, elsewhere=folder / "anchors.jsonl", every_s=0.01
        )
    assert meter.at == [NOON + timedelta(minutes=3)]


async def test_a_tail_cut_after_the_anchor_is_caught(people, transact, fresh_database):
    await log_a_call(people)
    await sign_day(transact, KEY, None, now=NOON)
    whole = await verify_database(fresh_database.pipeline, key=KEY.public_key())
    assert (whole.findings, whole.anchors > 0) == ((), True)

    async with await psycopg.AsyncConnection.connect(fresh_database.superuser, autocommit=True) as conn:
        await conn.execute("SET session_replication_role = replica")
        await conn.execute("DELETE FROM ccm.time_entry")
    cut = await verify_database(fresh_database.pipeline, key=KEY.public_key())
    assert cut.findings
    assert not (await verify_database(fresh_database.pipeline)).findings, "without anchors nobody can tell"
