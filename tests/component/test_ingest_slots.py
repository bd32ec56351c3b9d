"""A cuff for two: each user button is somebody's, for a time; what nobody's button measured waits for a person."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from ingest import assignment_cli, lane_cli
from tests.ingest_home import REFUSED, Home, spoken, utc_now
from tests.ingest_site import a_site, pressure, refuse

pytestmark = pytest.mark.stack

KEY = "the key of these tests' homes"
TAKEN = psycopg.errors.ExclusionViolation


@pytest.fixture
def home(stack, fresh_database):
    home = Home(stack, fresh_database).furnish()
    with psycopg.connect(fresh_database.superuser) as conn:
        conn.execute("UPDATE who.patient SET mrn = 'M-1' WHERE patient_id = %s", (home.maria,))
        conn.execute("UPDATE who.patient SET mrn = 'M-2' WHERE patient_id = %s", (home.nora,))
    return home


def lamplight(app, home, *words):
    """The command line, as somebody types it."""
    env = {"LAMPLIGHT_DATABASE": home.fresh.pipeline, "LAMPLIGHT_REFUSAL_KEY": KEY}
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


def assignment(home, *words):
    return lamplight(assignment_cli.app, home, *words)


def buttons(home, **of):
    """The drawer's cuff goes to these, a button each."""
    for mrn, slot in of.items():
        done = assignment(
            home, "give", home.drawer_meter, "--mrn", mrn.replace("_", "-"), "--user", slot,
            "--since", "2026-01-01T00:00:00Z",
        )  # fmt: skip
        assert done.exit_code == 0, done.output


async def test_each_button_is_its_patients_and_no_button_waits(home):
    await asyncio.to_thread(buttons, home, M_1=1, M_2=2)
    hers, his, third, unknown, none = (
        pressure(home.drawer_meter, 141 + n, 91, **more)
        for n, more in enumerate(({"user": 1}, {"user": 2}, {"user": 3}, {"user": 255}, {}))
    )
    async with home.listening(), home.speaking() as gateway:
        await gateway.say(hers, his, third, unknown, none)
        await gateway.hear(5)
        assert set(gateway.refused.values()) == {"shared-device"}
    told = {reading.caused_by: reading.patient_id for reading in await spoken(home.stack, [home.gateway])}
    assert told == {UUID(hers["id"]): home.maria, UUID(his["id"]): home.nora}
    assert len(await spoken(home.stack, [home.gateway], REFUSED)) == 3


async def test_a_button_given_later_takes_what_waited_under_it(home):
    await asyncio.to_thread(buttons, home, M_1=1)
    waiting, other = await refuse(
        home, pressure(home.drawer_meter, 150, 95, user=2), pressure(home.drawer_meter, 151, 96, user=3)
    )
    await asyncio.to_thread(buttons, home, M_2=2)
    async with home.listening():
        async with asyncio.timeout(30):
            while home.rows("SELECT 1 FROM ingest.refusal WHERE state = 'replaying'"):
                await asyncio.sleep(0.1)
    assert dict(home.rows("SELECT event_id, state FROM ingest.refusal")) == {
        waiting: "released",
        other: "open",
    }
    (reading,) = await spoken(home.stack, [home.gateway])
    assert (reading.patient_id, reading.systolic, reading.released_at is not None) == (home.nora, 150.0, True)


def test_the_database_keeps_two_people_off_one_button_and_a_button_off_a_whole_device(home):
    buttons(home, M_1=1)
    with psycopg.connect(home.fresh.pipeline) as conn:
        for slot in (1, None):
            with pytest.raises(TAKEN), conn.transaction():
                conn.execute(
                    "INSERT INTO ingest.device_assignment VALUES (%s, 1, %s, '[2026-02-01,)', %s)",
                    (home.drawer_meter, home.nora, slot),
                )
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():  # 255 is nobody
            conn.execute(
                "INSERT INTO ingest.device_assignment VALUES (%s, 1, %s, '[2026-02-01,)', 255)",
                (home.drawer_meter, home.nora),
            )
    taken = assignment(home, "give", home.drawer_meter, "--mrn", "M-2", "--user", 1)
    assert (taken.exit_code, "Somebody has it then" in taken.output) == (3, True)
    assert assignment(home, "give", home.drawer_meter, "--mrn", "M-9").exit_code == 3
    assert assignment(home, "give", "nobody-knows", "--mrn", "M-1").exit_code == 3
    assert assignment(home, "give", home.drawer_meter, "--mrn", "M-1", "--since", "today").exit_code == 2


def test_a_button_is_given_back_and_passed_on(home):
    buttons(home, M_1=1)
    assert assignment(home, "end", home.drawer_meter, "--user", 2).exit_code == 3
    assert (
        assignment(home, "end", home.drawer_meter, "--user", 1, "--at", "2026-02-01T00:00:00Z").exit_code == 0
    )
    assert assignment(
        home, "give", home.drawer_meter, "--mrn", "M-2", "--user", 1, "--since", "2026-02-01T00:00:00Z"
    ).exit_code == 0  # fmt: skip
    listed = [
        json.loads(line) for line in assignment(home, "list", home.drawer_meter, "--json").output.splitlines()
    ]
    assert [(row["mrn"], row["slot"], row["until"] is None) for row in listed] == [
        ("M-2", 1, True),
        ("M-1", 1, False),
    ]
    acts = home.rows("SELECT act, patient_id, reason FROM ingest.handling ORDER BY at")
    assert acts == [
        ("assigned", home.maria, "user 1"),
        ("ended", home.maria, "user 1"),
        ("assigned", home.nora, "user 1"),
    ]


async def test_the_page_of_a_device_gives_and_ends_it_for_its_own_practice_only(home):
    url = f"/devices/of/{home.drawer_meter}"
    async with a_site(home) as site:
        async with site.browser("ana") as ana:
            assert (
                await ana.post(f"{url}/give", mrn="M-1", slot="1", since="2026-01-01T08:00")
            ).status_code == 303
            assert (await ana.post(f"{url}/give", mrn="M-2", slot="2")).status_code == 303
            assert (await ana.post(f"{url}/give", mrn="M-2", slot="1")).status_code == 409
            assert (await ana.post(f"{url}/give", mrn="M-2", slot="255")).status_code == 400
            assert (await ana.post(f"{url}/give", mrn="M-404", slot="3")).status_code == 400
            page = (await ana.get(url)).text
            assert page.count("Not any more") == 2
            assert "user 2" in (await ana.get("/devices")).text
            assert (await ana.post(f"{url}/end", slot="2")).status_code == 303
            assert (await ana.post(f"{url}/end", slot="2")).status_code == 409
        async with site.browser("chris") as chris:
            assert (await chris.post(f"{url}/give", mrn="M-1", slot="9")).status_code == 400
            assert (await chris.post(f"{url}/end", slot="1")).status_code == 409
        async with site.browser("otto") as otto:
            assert (await otto.post(f"{url}/end", slot="1")).status_code == 403
    since = home.rows("SELECT lower(period) FROM ingest.device_assignment WHERE slot = 1")[0][0]
    assert since.isoformat() == "2026-01-01T13:00:00+00:00"  # on the practice's clock
    assert home.rows("SELECT by_name, act, patient_id FROM ingest.handling ORDER BY at") == [
        ("Ana", "assigned", home.maria),
        ("Ana", "assigned", home.nora),
        ("Ana", "ended", home.nora),
    ]


async def test_the_lane_is_listed_shown_and_decided_on_the_command_line_with_who_and_why(home):
    await asyncio.to_thread(buttons, home, M_1=1)
    hers, cats = await refuse(
        home, pressure(home.drawer_meter, 172, 96, user=7), pressure(home.drawer_meter, 100, 60),
        at=utc_now() - timedelta(hours=1),
    )  # fmt: skip
    (stranger,) = await refuse(home, pressure("stranger", 120, 80))

    async def whose(*words):
        return await asyncio.to_thread(lamplight, lane_cli.app, home, *words)

    listed = [json.loads(line) for line in (await whose("list", "--json")).output.splitlines()]
    assert {row["id"] for row in listed} == {str(hers), str(cats)}
    told = next(row for row in listed if row["id"] == str(hers))
    assert (told["value"], told["claim"]) == ("172/96 mm[Hg], pulse 71 /min", "user 7")
    assert {"mrn": "M-1", "why": "has this device as user 1"} in told["near"]
    assert "172/96" in (await whose("list")).output
    for words, code in (
        ((hers,), 2),
        ((hers, "--mrn", "M-404"), 3),
        ((cats, "--nobody"), 3),  # needs a reason
        ((hers, stranger, "--mrn", "M-2"), 3),  # all of them or none
    ):
        assert (await whose("decide", *words)).exit_code == code
    assert home.rows("SELECT count(*) FROM ingest.replay") == [(0,)]
    by = "--by", "Bea"
    assert (await whose("decide", hers, "--mrn", "M-2", "--reason", "she called", *by)).exit_code == 0
    assert (await whose("decide", cats, "--nobody", "--reason", "the cat", *by)).exit_code == 0
    assert home.rows("SELECT patient_id FROM ingest.replay WHERE refusal_id = %s", hers) == [(home.nora,)]
    assert "decided for M-2 by Bea (command line)  she called" in (await whose("show", hers)).output
    assert "nobody by Bea (command line)  the cat" in (await whose("show", cats)).output
    assert (await whose("show", stranger)).exit_code == 2


# Which devices there are -----------------------------------------------------------------------------------------------


async def test_a_cuff_that_measured_before_it_was_registered_is_its_patients_once_it_is_given(home):
    early = pressure("D6:16:F9:64:16:22", 155, 95)
    (waiting,) = await refuse(home, early)
    for words, code in (
        (("register", "d616f9641622", "--practice", 7), 3),
        (("register", "two words", "--practice", 1), 3),
        (("give", "d616f9641622", "--mrn", "M-1"), 3),
        (("register", "D6:16:F9:64:16:22", "--practice", 1, "--model", "Wrist cuff"), 0),
        (("register", "d616f9641622", "--practice", 2), 3),
        (("give", "D6:16:F9:64:16:22", "--mrn", "M-1", "--since", "2026-01-01T00:00:00Z"), 0),
    ):
        done = await asyncio.to_thread(assignment, home, *words)
        assert done.exit_code == code, (words, done.output)
    async with home.listening():
        async with asyncio.timeout(30):
            while home.rows("SELECT 1 FROM ingest.refusal WHERE state = 'replaying'"):
                await asyncio.sleep(0.1)
    assert home.rows("SELECT event_id, state FROM ingest.refusal") == [(waiting, "released")]
    (reading,) = await spoken(home.stack, [home.gateway])
    assert (reading.patient_id, reading.device_id) == (home.maria, "d616f9641622")
    acts = home.rows("SELECT act, reason, device_id FROM ingest.handling WHERE act <> 'replayed' ORDER BY at")
    assert acts == [("registered", "Wrist cuff", "d616f9641622"), ("assigned", "", "d616f9641622")]


def test_without_a_device_everything_registered_is_listed_with_who_has_it_now(home):
    buttons(home, M_1=1, M_2=2)
    ended = assignment(home, "end", home.meter)
    assert ended.exit_code == 0, ended.output
    listed = [json.loads(line) for line in assignment(home, "list", "--json").output.splitlines()]
    assert [(row["device_id"], row["slot"], row["mrn"]) for row in listed] == [
        (home.cuff, None, "M-1"),
        (home.meter, None, None),
        (home.drawer_meter, 1, "M-1"),
        (home.drawer_meter, 2, "M-2"),
        (home.other_meter, None, "o"),
    ]
    mine = assignment(home, "list", "--practice", 1, "--limit", 1).output.splitlines()
    assert (len(mine), mine[-1]) == (3, "3 more; --limit shows them")
    assert "nobody" in assignment(home, "list").output
    assert assignment(home, "list", "--practice", 9).output == "no device is registered\n"


async def test_a_practice_registers_its_own_device_on_the_page_once(home):
    async with a_site(home) as site:
        async with site.browser("ana") as ana:
            done = await ana.post("/devices/register", device="AA-BB-CC-00-11-22", model="Wrist cuff")
            assert (done.status_code, done.headers["location"]) == (303, "/devices/of/aabbcc001122")
            assert "Wrist cuff" in (await ana.get("/devices")).text
            assert (await ana.post("/devices/register", device="two words")).status_code == 400
        async with site.browser("chris") as chris:
            assert (await chris.post("/devices/register", device="aabbcc001122")).status_code == 409
            assert "aabbcc001122" not in (await chris.get("/devices")).text
        async with site.browser("otto") as otto:
            assert (await otto.post("/devices/register", device="cuff-9")).status_code == 403
    rows = home.rows("SELECT practice_id, model FROM ingest.device WHERE device_id = 'aabbcc001122'")
    assert rows == [(1, "Wrist cuff")]
