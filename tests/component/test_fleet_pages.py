"""The fleet's page under row-level security: an admin of the practice decides, nobody else does or even sees it."""

from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from fastapi import Depends

from ingest import fleet, fleet_store, fleet_web, wire
from ingest.gateway import credential
from tests.ingest_home import Home, utc_now
from tests.ingest_site import a_site

pytestmark = pytest.mark.stack


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


@asynccontextmanager
async def the_fleet(home):
    """Ada is admin of practice 1, Adam of practice 2; Ana is nurse."""
    async with a_site(home) as site:
        site.app.include_router(fleet_web.router(site.desk), dependencies=[Depends(site.desk.guard)])
        with psycopg.connect(home.fresh.pipeline) as conn:
            for name, practice in (("ada", 1), ("adam", 2)):
                site.ids[name] = uuid4()
                conn.execute(
                    """INSERT INTO who.staff (staff_id, practice_id, email, name, role, password_hash)
                       VALUES (%s, %s, %s, %s, 'admin', 'nobody signs in with it')""",
                    (site.ids[name], practice, f"{name}@example.org", name.title()),
                )
        yield site


async def asks(home, folder, name, practice=1):
    request = fleet.understood(credential.make(folder, name)[1])
    async with await psycopg.AsyncConnection.connect(home.fresh.pipeline) as conn:
        assert await fleet_store.ask(conn, request, practice_id=practice, now=utc_now())
    return request


async def test_an_admin_sees_the_fingerprint_and_says_yes(home, tmp_path):
    request = await asks(home, tmp_path, "gw-new")
    async with the_fleet(home) as site, site.browser("ada") as ada:
        page = (await ada.get("/devices/fleet")).text
        assert request.fingerprint in page
        assert "replaces" not in page
        answer = await ada.post(f"/devices/fleet/approve/{request.request_id}")
        assert answer.status_code == 303
        again = await ada.post(f"/devices/fleet/approve/{request.request_id}")
        assert (again.status_code, "no longer waits" in again.text) == (409, True)
        page = (await ada.get("/devices/fleet")).text
        assert "gw-new" in page
        assert request.fingerprint not in page
    ((state, by),) = home.rows("SELECT state, decided_by FROM ingest.enrolment")
    assert (state, by) == ("approved", str(site.ids["ada"]))
    assert home.rows("SELECT practice_id FROM ingest.gateway WHERE gateway_id = 'gw-new'") == [(1,)]


async def test_a_request_in_a_name_that_exists_says_what_it_would_replace(home, tmp_path):
    await asks(home, tmp_path, home.gateway)
    async with the_fleet(home) as site, site.browser("ada") as ada:
        assert "replaces the one that has this name" in (await ada.get("/devices/fleet")).text


async def test_only_an_admin_decides_and_only_about_the_own_practice(home, tmp_path):
    request = await asks(home, tmp_path, "gw-new")
    acts = (
        f"approve/{request.request_id}",
        f"refuse/{request.request_id}",
        f"revoke/{home.gateway}",
        f"resync/{home.gateway}",
    )
    async with the_fleet(home) as site:
        for name, expected in (("ana", 403), ("otto", 403), ("adam", 409)):
            async with site.browser(name) as browser:
                page = (await browser.get("/devices/fleet")).text
                if name != "otto":
                    assert (home.gateway + "<" in page) is (name == "ana")
                    assert (request.fingerprint in page) is (name == "ana")
                    assert "<button>Approve" not in page
                for act in acts:
                    answer = await browser.post(f"/devices/fleet/{act}", days="1")
                    assert answer.status_code == expected, (name, act)
    assert home.rows("SELECT state FROM ingest.enrolment") == [("waiting",)]
    assert home.rows("SELECT count(*) FROM ingest.gateway WHERE revoked_at IS NOT NULL") == [(0,)]
    assert home.rows("SELECT count(*) FROM ingest.command") == [(0,)]


async def test_an_admin_refuses_revokes_and_asks_for_what_was_acknowledged(home, tmp_path):
    request = await asks(home, tmp_path, "gw-new")
    async with the_fleet(home) as site, site.browser("ada") as ada:
        assert (await ada.post(f"/devices/fleet/refuse/{request.request_id}")).status_code == 303
        assert (await ada.post(f"/devices/fleet/resync/{home.gateway}", days="3")).status_code == 303
        assert (await ada.post(f"/devices/fleet/resync/{home.gateway}", days="15")).status_code == 422
        assert "resync: no answer yet" in (await ada.get("/devices/fleet")).text
        ((payload,),) = home.rows("SELECT payload FROM ingest.command")
        told = wire.msgspec.convert(payload, type=wire.Resync)
        assert timedelta(days=2, hours=23) < utc_now() - told.since < timedelta(days=3, hours=1)
        assert (await ada.post(f"/devices/fleet/revoke/{home.gateway}")).status_code == 303
        page = (await ada.get("/devices/fleet")).text
        assert "revoked" in page
        assert (await ada.post(f"/devices/fleet/resync/{home.gateway}", days="3")).status_code == 409
    assert home.rows("SELECT state FROM ingest.enrolment") == [("refused",)]


async def test_no_page_of_the_web_reaches_a_secret_or_writes_what_it_must_not(home):
    tries = (
        "SELECT secret FROM ingest.webhook",
        "SELECT tokens FROM ingest.webhook_account",
        "UPDATE ingest.enrolment SET certificate = 'x'",
        "UPDATE ingest.gateway SET practice_id = 2",
        "UPDATE ingest.gateway SET playback = true",
        "UPDATE ingest.command SET outcome = 'ack'",
        "DELETE FROM ingest.enrolment",
    )
    for query in tries:
        with psycopg.connect(home.fresh.web) as conn:
            conn.execute("SELECT set_config('app.practice_id', '1', true)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(query)
