"""The other way round: what the alerts' fault tests measure is found where it is put in on purpose."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from alerts import page_service, page_store, store
from alerts.service import AlertsRoom
from risk.events import Tier
from tests.faults.alerts_ward import SEED, Load, furnish, one
from tests.unit.alerts.ward import a_finding, a_score

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(1800)]


async def test_a_notifier_that_notes_before_it_sends_is_caught_missing(fresh_database, capsys):
    """The same keys, the same counting; each second send dies between the note and the mail."""
    patients = [uuid4() for _ in range(20)]
    rung = furnish(fresh_database.superuser, patients)
    now = datetime.now(UTC)
    heard: Counter[str] = Counter()
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        keys = set()
        for n, patient in enumerate(patients):  # one after the other: what comes at once goes out together
            scored = msgspec.structs.replace(
                a_score("09:00", a_finding(tier=Tier.CRITICAL), patient=patient),
                effective_at=now,
                received_at=now,
            )
            async with conn.transaction():
                (move,) = await AlertsRoom().handle(conn, [scored], now=now)
            keys.add(f"{move.episode_id}:1:{rung}:0")
            await page_store.make(conn, now=now)
            (notification,) = await page_service.due(conn, now=now)
            await page_store.sent(conn, notification, at=now)
            if n % 2:
                continue  # killed here
            heard[notification.key] += 1
        assert await page_service.due(conn, now=now + timedelta(hours=1)) == []
    with capsys.disabled():
        print(
            f"\nnoting before sending, 10 kills: {len(keys - heard.keys())} of {len(keys)} alerts never notified"
        )
    assert len(keys - heard.keys()) == 10


class Forgetful(AlertsRoom):
    """A room that does not ask whether it has had a reading before."""

    async def _hear(self, conn, events, *, now):
        await store.observe(conn, events)
        return [t.event() for t in await self._triage(conn, events, now=now)]


@pytest.mark.parametrize(
    ("order", "room"),
    [("offset last", Forgetful()), ("offset first", AlertsRoom())],
    ids=["doubled", "missed"],
)
async def test_a_worker_that_keeps_its_offset_apart_is_caught(fresh_database, capsys, order, room):
    """The same oracle on what the pump prevents: killed between the rows and the offset, ten times."""
    dice = random.Random(SEED)
    patients = [UUID(int=dice.getrandbits(128)) for _ in range(10)]
    furnish(fresh_database.superuser, patients)
    load, now = Load(dice, patients, datetime.now(UTC)), datetime.now(UTC)
    scores = [load.one() for _ in range(400)]
    killed = set(dice.sample(range(40), 10))
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        for n in range(40):
            batch = scores[10 * n : 10 * n + 10]
            if order == "offset first" and n in killed:
                continue  # the offset is kept, the rows never were
            for _ in range(2 if n in killed else 1):  # the rows are kept, the offset is not: it comes again
                async with conn.transaction():
                    await room.handle(conn, batch, now=now)
        rows = await conn.execute("SELECT episode_id, number, move, severity, why FROM alerts.transition")
        story = set(await rows.fetchall())
        counts = await one(conn, "SELECT sum(count) FROM alerts.episode")
    wanted, oracle = load.story(), sum(e.count for ward in load.wards.values() for e in ward.episodes)
    missed, false = len(wanted - story), len(story - wanted)
    with capsys.disabled():
        print(
            f"\n{order}, 10 kills: missed {missed}, false {false} of {len(wanted)}; readings counted {counts} instead of {oracle}"
        )
    assert missed + false > 0 or counts != oracle
