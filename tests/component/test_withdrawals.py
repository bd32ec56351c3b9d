"""A reading taken back or corrected, on real servers: kept in the archive, out of the trend, the queue and the device days."""

import asyncio
from contextlib import asynccontextmanager
from datetime import date, timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

from alerts.service import AlertsRoom
from deploy.device_days import device_days, last_measured
from ingest.archive import ReadingArchive
from ingest.events import READINGS, Kind, Reading, TimeConfidence, Told, Withdrawn, fact_id
from ingest.readings_cli import app
from risk.scoring import score
from risk.service import RiskRoom
from risk.store import memories
from tests.component.test_ingest_set_aside import archiving, eventually
from tests.ingest_home import Home, fingerstick, told, utc_now
from tests.ingest_site import a_site

pytestmark = pytest.mark.stack


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


class House:
    """The rooms one after the other on one database, without Kafka between them."""

    def __init__(self, home):
        self.home, self.risk, self.alerts, self.archive = home, RiskRoom(), AlertsRoom(), ReadingArchive()
        self.moved = []

    @asynccontextmanager
    async def pipeline(self):
        async with await psycopg.AsyncConnection.connect(
            self.home.fresh.pipeline, options="-c timezone=UTC"
        ) as conn:
            yield conn

    async def hear(self, *events):
        async with self.pipeline() as conn:
            await self.archive.handle(conn, events, now=utc_now())
            said = await self.risk.handle(conn, events, now=utc_now())
            self.moved += await self.alerts.handle(conn, said, now=utc_now())

    async def sent(self):
        """What pages put into ingest's outbox, taken out as the relay does."""
        async with self.pipeline() as conn:
            rows = await (
                await conn.execute(
                    "DELETE FROM pump.outbox WHERE room = 'ingest' RETURNING seq, topic, key, payload"
                )
            ).fetchall()
        assert {topic for _, topic, _, _ in rows} <= {READINGS}
        events = [msgspec.json.decode(payload, type=Told) for _, _, _, payload in sorted(rows)]
        assert [key for _, _, key, _ in sorted(rows)] == [str(event.patient_id) for event in events]
        return events

    async def memory(self, patient):
        async with self.pipeline() as conn:
            return (await memories(conn, [patient])).get((patient, Kind.BLOOD_PRESSURE))

    async def days(self, patient):
        async with self.pipeline() as conn:
            found = await device_days(
                conn, {patient: date(2020, 1, 1)}, until=utc_now().date() + timedelta(days=1)
            )
            return [day.readings for day in found.get(patient, ())]


def pressure(home, hours_ago, systolic=128.0, diastolic=80.0):
    at = utc_now() - timedelta(hours=hours_ago)
    return Reading(
        event_id=fact_id(home.mark, hours_ago, systolic), caused_by=uuid4(), practice_id=1, patient_id=home.maria,
        device_id=home.cuff, gateway_id=home.gateway, kind=Kind.BLOOD_PRESSURE, effective_at=at,
        received_at=at + timedelta(seconds=20), time_rule="device-instant", time_confidence=TimeConfidence.HIGH,
        utc_offset_minutes=-300, systolic=systolic, diastolic=diastolic, pulse=70.0, raw=b"as it came",
    )  # fmt: skip


async def test_a_withdrawn_reading_leaves_trend_queue_timeline_and_days_and_stays_in_the_archive(home):
    house = House(home)
    await house.hear(*(pressure(home, 24 * n) for n in range(6, 0, -1)))
    never = await house.memory(home.maria)
    days = await house.days(home.maria)
    wrong = pressure(home, 0.1, 196, 124)
    await house.hear(wrong)
    assert [(one.move.value, one.severity.value) for one in house.moved] == [("opened", "critical")]
    assert sum(await house.days(home.maria)) == sum(days) + 1
    async with a_site(home) as site, site.browser("ana") as ana:
        page = f"/devices/readings/{wrong.event_id}"
        assert "196/124 mm[Hg], pulse 70 /min" in (await ana.get(page)).text
        assert (await ana.post(f"{page}/withdraw", reason="")).status_code == 400
        assert (await ana.post(f"{page}/withdraw", reason="her husband's")).status_code == 303
        assert (await ana.post(f"{page}/withdraw", reason="again")).status_code == 409
        said = (await ana.get(page)).text
        assert "Withdrawn by Ana" in said
        assert "her husband&#39;s" in said
        assert "196/124" in (await ana.get(f"/devices/of/{home.cuff}")).text
    events = await house.sent()
    assert [type(event) for event in events] == [Withdrawn]
    await house.hear(*events)
    await house.hear(*events)  # twice is once
    assert [(one.move.value, one.reason) for one in house.moved[1:]] == [
        ("closed", "A reading behind this was withdrawn by Ana.")
    ]
    tomorrow = pressure(home, -24)  # what follows is learnt and judged as if it had never been
    assert score(await house.memory(home.maria), tomorrow) == score(never, tomorrow)
    assert await house.days(home.maria) == days
    async with house.pipeline() as conn:
        newest = await last_measured(conn, [home.maria])
    assert newest[home.maria] < wrong.effective_at
    assert home.rows("SELECT count(*) FROM ingest.reading WHERE event_id = %s", wrong.event_id) == [(1,)]
    assert home.rows("SELECT count(*) FROM alerts.observation WHERE reading_id = %s", wrong.event_id) == [
        (0,)
    ]
    assert home.rows("SELECT unlearnt FROM risk.retraction") == [(True,)]
    assert home.rows("SELECT act, by_name, reason FROM ingest.handling WHERE act <> 'looked'") == [
        ("withdrew", "Ana", "her husband's")
    ]


async def test_a_corrected_reading_stands_in_the_place_of_the_wrong_one_with_its_bytes(home):
    house = House(home)
    await house.hear(*(pressure(home, 24 * n) for n in range(6, 0, -1)))
    wrong = pressure(home, 0.1, 192, 80)
    await house.hear(wrong)
    async with a_site(home) as site, site.browser("ana") as ana:
        page = f"/devices/readings/{wrong.event_id}"
        refused = await ana.post(f"{page}/correct", systolic="1290", reason="misread")
        assert (refused.status_code, "implausible systolic" in refused.text) == (400, True)
        assert (await ana.post(f"{page}/correct", systolic="x", reason="misread")).status_code == 400
        assert (
            await ana.post(f"{page}/correct", systolic="129", mrn="nobody", reason="r")
        ).status_code == 400
        assert await house.sent() == []
        assert (await ana.post(f"{page}/correct", systolic="129", reason="misread")).status_code == 303
        events = await house.sent()
        await house.hear(*events)
        new = events[1]
        assert (new.systolic, new.diastolic, new.raw, new.supersedes) == (
            129.0,
            80.0,
            b"as it came",
            wrong.event_id,
        )
        assert "What stands in its place" in (await ana.get(page)).text
        assert "the reading as it came" in (await ana.get(f"/devices/readings/{new.event_id}")).text
    assert [one.move.value for one in house.moved] == ["opened", "closed"]
    assert sum(await house.days(home.maria)) == 7
    assert home.rows("SELECT supersedes FROM ingest.reading WHERE event_id = %s", new.event_id) == [
        (wrong.event_id,)
    ]


async def test_a_reading_of_days_ago_given_to_the_right_patient_pages_nobody_there(home):
    house = House(home)
    wrong = pressure(home, 70, 196, 124)
    await house.hear(wrong)
    async with a_site(home) as site, site.browser("ana") as ana:
        page = f"/devices/readings/{wrong.event_id}"
        assert (await ana.post(f"{page}/correct", mrn="n", reason="Nora's")).status_code == 303
    await house.hear(*await house.sent())
    hers = [one for one in house.moved if one.patient_id == home.nora]
    assert {one.severity.value for one in hers} <= {"watch"}  # a note at most
    assert [one.move.value for one in house.moved if one.patient_id == home.maria] == ["opened", "closed"]
    assert await house.days(home.maria) == []
    assert await house.days(home.nora) == [1]


async def test_who_may_only_look_and_another_practice_take_nothing_back(home):
    house = House(home)
    wrong = pressure(home, 1)
    await house.hear(wrong)
    page = f"/devices/readings/{wrong.event_id}"
    async with a_site(home) as site:
        async with site.browser("otto") as otto:
            seen = await otto.get(page)
            assert (seen.status_code, "Withdraw it" in seen.text) == (200, False)
            assert (await otto.post(f"{page}/withdraw", reason="r")).status_code == 403
        async with site.browser("chris") as chris:
            assert (await chris.get(page)).status_code == 404
            assert (await chris.post(f"{page}/withdraw", reason="r")).status_code == 404
    assert home.rows("SELECT count(*) FROM ingest.withdrawal") == [(0,)]


async def test_from_the_command_line_through_the_relay_into_the_log_and_the_archive(home):
    first, second = fingerstick(home.meter, 390, minutes_ago=9), fingerstick(home.meter, 110, minutes_ago=5)
    database = {"LAMPLIGHT_DATABASE": home.fresh.pipeline}

    async def lamplight(*words):
        return await asyncio.to_thread(CliRunner().invoke, app, [str(word) for word in words], env=database)

    count = "SELECT count(*) FROM ingest.reading WHERE device_id = %s"
    async with archiving(home), home.listening(), home.speaking() as gateway:
        await gateway.say(first, second)
        await gateway.hear(2)
        await eventually(home, count, home.meter, is_true=lambda n: n == 2)
        ids = dict(home.rows("SELECT glucose, event_id FROM ingest.reading WHERE device_id = %s", home.meter))
        assert (await lamplight("withdraw", ids[110.0], "--reason", "control solution")).exit_code == 0
        assert (await lamplight("withdraw", ids[110.0], "--reason", "once more")).exit_code == 3
        wrong = await lamplight("correct", ids[390.0], "--glucose", 3, "--reason", "typing")
        assert (wrong.exit_code, "cannot be a measurement" in wrong.stderr) == (2, True)
        assert (await lamplight("correct", ids[390.0], "--glucose", 139, "--reason", "typing")).exit_code == 0
        await eventually(home, count, home.meter, is_true=lambda n: n == 3)
        await gateway.say(second)  # the gateway sends it again: it is known, and stays withdrawn
        await gateway.hear(2)
        shown = await lamplight("show", ids[390.0])
        assert '"superseded_by"' in shown.stdout
    log = [
        one
        for one in await told(home.stack, READINGS)
        if one.patient_id == home.maria and one.practice_id == 1
    ]
    mine = {
        one.reading.event_id
        for one in log
        if isinstance(one, Withdrawn) and one.reading.device_id == home.meter
    }
    assert mine == set(ids.values())
    (corrected,) = [one for one in log if isinstance(one, Reading) and one.supersedes == ids[390.0]]
    assert (corrected.glucose, corrected.caused_by) == (139.0, UUID(first["id"]))
    assert home.rows(
        "SELECT count(*) FROM ingest.withdrawal WHERE reading_id = ANY(%s)", list(ids.values())
    ) == [(2,)]
