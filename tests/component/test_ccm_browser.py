"""The timer in a real browser: it beats, survives reload, lost network and sleep, pauses when idle; every page passes axe."""

import asyncio
import re
import secrets
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from ccm_bridge import time_store, web
from deploy import database
from deploy.native import browser as browser_path
from deploy.settings import Secret
from deploy.web import session
from deploy.web.frame import Desk
from deploy.web.site import site
from tests.ccm_people import settle
from tests.component.ccm_clinic import TASK, cuffs, prepare

pytestmark = [pytest.mark.stack, pytest.mark.browser]

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
}


class Clock:
    """Real time, and as much later as a test wants."""

    ahead_s = 0.0

    def __call__(self):
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.ahead_s, UTC)


@pytest.fixture
async def clinic(fresh_database):
    people = await settle(fresh_database.pipeline, fresh_database.web)
    async with await psycopg.AsyncConnection.connect(fresh_database.pipeline, autocommit=True) as conn:
        await prepare(conn, people)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clock = Clock()
    async with database.pool(Secret(fresh_database.web)) as pool:
        desk = Desk(
            pool=pool,
            clock=clock,
            rooms=("ccm_bridge",),
            links=(),
            secure=False,
            scripts=("/static/ccm_bridge/timer.js",),
        )
        app = site(desk, [web.router(desk, days=cuffs)], static=("ccm_bridge",))
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
        )
        task = asyncio.create_task(server.serve(), name="site")
        while not server.started:
            await asyncio.sleep(0.02)
        yield Clinic(people, desk, clock, f"http://127.0.0.1:{port}")
        server.force_exit = server.should_exit = True
        await task


class Clinic:
    def __init__(self, people, desk, clock, url):
        self.people, self.desk, self.clock, self.url = people, desk, clock, url

    @asynccontextmanager
    async def page(self, who, *, width=1360, javascript=True):
        """Somebody's browser; whatever its console complains about fails the test."""
        token = secrets.token_urlsafe(16)
        now = self.clock()
        async with self.desk.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO who.session (token_hash, staff_id, csrf, created_at, seen_at) VALUES (%s, %s, %s, %s, %s)",
                (session.token_hash(token), who.staff_id, secrets.token_urlsafe(8), now, now),
            )
        async with async_playwright() as playwright:
            opened = await playwright.chromium.launch(
                executable_path=browser_path.find(), args=FLAGS, chromium_sandbox=False
            )
            context = await opened.new_context(
                base_url=self.url,
                viewport={"width": width, "height": 900},
                java_script_enabled=javascript,
                timezone_id="America/New_York",
            )
            await context.add_cookies([{"name": self.desk.cookie, "value": token, "url": self.url}])
            page = await context.new_page()
            page.complaints = []
            page.on(
                "console", lambda said: page.complaints.append(said.text) if said.type == "error" else None
            )
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            yield page
            await opened.close()

    async def beats(self, who):
        async with self.people.desk(who) as conn:
            timer = await time_store.open_timer(conn, who.staff_id)
            return await time_store.beats(conn, timer.timer_id) if timer else []

    async def at_least(self, who, count):
        return len(await self.beats(who)) >= count

    async def until(self, wanted, within=30):
        async with asyncio.timeout(within):
            while not (found := await wanted()):
                await asyncio.sleep(0.1)
        return found


async def start(page):
    await page.goto(f"/tasks/{TASK}")
    await page.get_by_role("button", name="Start timer").click()
    await expect(page.get_by_role("button", name="Stop and log")).to_be_visible()


async def test_a_timer_beats_survives_a_reload_and_another_page_and_is_logged(clinic):
    people = clinic.people
    async with clinic.page(people.ana) as page:
        await start(page)
        await clinic.until(lambda: clinic.at_least(people.ana, 2), within=40)
        await page.reload()
        await expect(page.get_by_role("button", name="Stop and log")).to_be_visible()
        await page.goto("/month")
        bar = page.get_by_role("complementary", name="Running timer")
        await expect(bar).to_contain_text("Maria Gomez")
        before = len(await clinic.beats(people.ana))
        await clinic.until(lambda: clinic.at_least(people.ana, before + 1), within=40)
        await bar.get_by_role("link").click()
        await page.get_by_role("button", name="Stop and log").click()
        form = page.locator("#log form")
        await form.get_by_label("Contact").select_option("phone")
        await form.get_by_label("With whom").fill("patient")
        await form.get_by_label("Live, two-way").check()
        await form.get_by_label("What you did").fill("Called about the missed refill; she has tablets again.")
        await form.get_by_role("button", name="Log these minutes").click()
        await expect(page.get_by_text("measured by timer")).to_be_visible()
        assert page.complaints == []
    async with people.desk(people.ana) as conn:
        (one,) = await time_store.of_task(conn, TASK)
    assert one.source == "timer"
    assert one.seconds >= 15


async def test_a_lost_network_costs_nothing_for_a_while(clinic):
    """Beats wait in the browser with their own instants, and are believed when the network is back."""
    people = clinic.people
    async with clinic.page(people.ana) as page:
        await start(page)
        first = len(await clinic.beats(people.ana))
        await page.context.set_offline(True)
        await expect(page.get_by_text("No connection")).to_be_visible(timeout=40_000)
        assert len(await clinic.beats(people.ana)) == first
        await page.context.set_offline(False)
        await clinic.until(lambda: clinic.at_least(people.ana, first + 1), within=40)
        page.complaints.clear()  # the browser itself says that the network was away
    beats = await clinic.beats(people.ana)
    assert len({beat.n for beat in beats}) == len(beats)


async def test_idle_hands_pause_the_timer_and_only_a_choice_resumes_it(clinic):
    people = clinic.people
    async with clinic.page(people.ana) as page:
        await page.goto(f"/tasks/{TASK}")
        await page.locator("#timer").get_by_label("Work").select_option("data_review")
        await page.get_by_role("button", name="Start timer").click()
        await expect(page.get_by_role("button", name="Stop and log")).to_be_visible()
        await page.evaluate("localStorage.setItem('lamplight.touched', String(Date.now() - 121000))")
        await expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=20_000)
        paused = len(await clinic.beats(people.ana))
        await page.reload()
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        assert len(await clinic.beats(people.ana)) == paused
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert (await clinic.beats(people.ana))[-1].stretch >= 1


async def test_a_browser_that_slept_does_not_go_on_by_itself(clinic):
    people = clinic.people
    async with clinic.page(people.ana) as page:
        await start(page)
        await clinic.until(lambda: clinic.at_least(people.ana, 2), within=40)
    slept = len(await clinic.beats(people.ana))
    clinic.clock.ahead_s = 600.0  # ten minutes later she opens the page again
    async with clinic.page(people.ana) as page:
        await page.goto(f"/tasks/{TASK}")
        await expect(page.get_by_text("fell silent")).to_be_visible()
        await expect(page.get_by_role("button", name="Go on working")).to_be_visible()
        await page.wait_for_function("window.lamplightTimer")  # the script has run, and made up its mind
        assert len(await clinic.beats(people.ana)) == slept
        await page.get_by_role("button", name="Go on working").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()


@pytest.mark.parametrize("width", [1360, 390], ids=["desk", "phone"])
async def test_axe_finds_nothing_and_nothing_sticks_out(clinic, width):
    people = clinic.people
    async with clinic.page(people.dora, width=width) as page:
        month = f"{clinic.clock():%Y-%m}"
        for path in (
            "/tasks",
            f"/tasks/{TASK}",
            f"/month/{month}",
            f"/month/{month}/patient/{people.maria}",
            f"/month/{month}/report",
            "/care",
            f"/care/{people.maria}",
            f"/care/{people.nora}",
            f"/care/{people.maria}/plan/1/copy",
        ):
            await page.goto(path)
            for details in await page.locator("details").all():
                await details.evaluate("one => { one.open = true }")
            found = await Axe().run(page, options=AXE)
            assert [(v["id"], v["nodes"][0]["html"][:160]) for v in found.response["violations"]] == [], path
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.complaints == []


async def test_a_task_is_worked_without_javascript(clinic):
    people = clinic.people
    async with clinic.page(people.ana, javascript=False) as page:
        await page.goto("/tasks")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Take").first.click()
        await page.goto(f"/tasks/{TASK}")
        await page.get_by_role("button", name=re.compile("Reached the patient")).click()
        await expect(page.get_by_text("1 of 7")).to_be_visible()
        async with page.expect_navigation():
            await page.get_by_role("button", name="Start timer").click()
        clinic.clock.ahead_s = 300.0
        await page.reload()
        await expect(page.get_by_text("runs without a script")).to_be_visible()
        await page.get_by_role("button", name="Stop and log").click()
        await expect(page.get_by_text("Confirm the minutes by hand")).to_be_visible()
        form = page.locator("#log form")
        await form.get_by_label("Contact").select_option("none")
        await form.get_by_label("What you did").fill("Refill ordered at her pharmacy.")
        await form.get_by_label("I did this work myself").check()
        await form.get_by_role("button", name="Log these minutes").click()
        await expect(page.get_by_text("by hand, attested")).to_be_visible()
    async with people.desk(people.ana) as conn:
        (one,) = await time_store.of_task(conn, TASK)
    assert one.seconds >= 240
