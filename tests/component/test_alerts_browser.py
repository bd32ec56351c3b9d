"""The queue in headless Chromium: arrives live, worked by keyboard alone, survives a lost line, and passes axe."""

import asyncio
import re
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from deploy.native import browser as browser_path
from risk.events import Concern, Tier
from tests.component.alerts_clinic import a_clinic, a_site
from tests.unit.alerts.ward import a_finding

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


@pytest.fixture
async def shop(fresh_database):
    async with a_site(await a_clinic(fresh_database)) as opened:
        yield opened


@asynccontextmanager
async def served(shop):
    """The site on a socket of its own; `cut` closes it as a pulled cable would, `again` brings it back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    class Served:
        url = f"http://127.0.0.1:{port}"

        async def again(self):
            self.server = uvicorn.Server(
                uvicorn.Config(shop.app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
            )
            self.task = asyncio.create_task(self.server.serve(), name="served")
            while not self.server.started:
                await asyncio.sleep(0.02)

        async def cut(self):
            self.server.force_exit = self.server.should_exit = True
            await self.task
            for connection in list(self.server.server_state.connections):
                connection.transport.abort()

    opened = Served()
    await opened.again()
    try:
        yield opened
    finally:
        await opened.cut()


@asynccontextmanager
async def at_work(shop, name="ana", *, width=1400, javascript=True, live=True):
    """Somebody's browser, signed in, on the queue; whatever the console complains about fails the test."""
    async with served(shop) as there, shop.hands(name), async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=browser_path.find(), args=FLAGS, chromium_sandbox=False
        )
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=javascript
        )
        await context.add_cookies([{"name": shop.desk.cookie, "value": f"token-{name}", "url": there.url}])
        page = await context.new_page()
        page.there, page.complaints = there, []
        page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        if not live:
            await page.route("**/queue/stream*", lambda route: route.abort())
        await page.goto(f"{there.url}/queue")
        yield page
        await browser.close()


async def opens(shop, at="09:00", concern=Concern.HIGH_PRESSURE, tier=Tier.HIGH, patient="maria"):
    return await shop.clinic.tell(shop.clinic.score(at, a_finding(concern, tier), patient=patient))


async def test_an_episode_arrives_by_itself_and_only_a_critical_one_is_read_out(shop):
    async with at_work(shop) as page:
        await expect(page.get_by_text("Nobody needs you here.")).to_be_visible()
        await opens(shop)
        await expect(page.locator(".row .name")).to_have_text("Maria Lopes", timeout=10_000)
        await expect(page.locator("#say")).to_have_text("")
        await opens(shop, "09:01", patient="jon", tier=Tier.CRITICAL)
        await expect(page.locator("#say")).to_have_text(
            "Critical: Jon Berg, high blood pressure.", timeout=10_000
        )
        await expect(page.locator(".row .name").first).to_have_text("Jon Berg")
        await expect(page.locator("h1")).to_have_text("1 patient needs somebody now")
        assert page.complaints == [], page.complaints[:4]


async def test_ten_patients_are_worked_with_the_keyboard_alone(shop):
    ten = [c for c in Concern if c is not Concern.SCORE_INCOMPLETE]
    assert len(ten) == 10
    for n in range(10):
        await shop.clinic.new_patient(f"p{n}", f"Patient {n:02}")
        await opens(shop, f"09:0{n}", patient=f"p{n}", concern=ten[n])
    async with at_work(shop) as page:
        keys = page.keyboard
        for _ in range(10):
            await keys.press("j")
            row = await page.evaluate("document.activeElement.id")
            await keys.press("c")
            await expect(page.locator(f"#{row}").get_by_text("You have this until")).to_be_visible(
                timeout=10_000
            )
            await page.locator(f"#{row}").focus()
            await keys.press("a")
            await keys.type("Not u")  # the list of dispositions, by its letters
            await keys.press("Enter")
            await page.locator(f"#{row} select").evaluate("s => s.value === 'noise' || (s.value = 'noise')")
            await keys.press("Tab")
            await keys.press("Tab")
            await keys.press("Tab")
            await keys.press("Enter")
            await expect(page.locator(f"li#{row}")).to_have_count(0, timeout=10_000)
        await expect(page.locator("h1")).to_have_text("Nobody is waiting")
        await expect(page.locator(".resting .count")).to_have_text("10")
        assert page.complaints == [], page.complaints[:4]
    assert await shop.clinic.rows("SELECT count(*) FROM alerts.episode WHERE state = 'handled'") == [(10,)]


async def test_a_lost_line_is_said_and_what_was_missed_comes_back(shop):
    async with at_work(shop) as page:
        await expect(page.get_by_text("Nobody needs you here.")).to_be_visible()
        await page.there.cut()
        await opens(shop, tier=Tier.CRITICAL)
        await expect(page.locator("#lost")).to_contain_text("Live updates lost since", timeout=20_000)
        await page.there.again()
        await expect(page.locator(".row .name")).to_have_text("Maria Lopes", timeout=30_000)
        await expect(page.locator("#lost")).to_be_hidden(timeout=30_000)
        await expect(page.locator("#say")).to_have_text("Critical: Maria Lopes, high blood pressure.")


async def test_a_colleague_is_named_when_two_claim_at_once(shop):
    await opens(shop)
    async with at_work(shop, live=False) as page, shop.hands("ben") as ben:
        assert (await ben.post(f"/queue/patient/{shop.clinic.patients['maria']}/claim")).status_code == 303
        await page.get_by_role(
            "button", name="Claim Maria Lopes"
        ).click()  # the page does not know of Ben yet
        said = "Ben Roth has this until 08:10. Nothing was changed."
        await expect(page.get_by_role("alert")).to_have_text(said, timeout=10_000)
        await expect(page.locator(".row .stands")).to_have_text("Ben Roth has this until 08:10")


async def test_a_form_in_hand_is_left_alone_while_the_list_moves(shop):
    await opens(shop)
    async with at_work(shop) as page:
        await page.keyboard.press("j")
        await page.keyboard.press("c")
        await expect(page.get_by_text("In your hands").first).to_be_visible(timeout=10_000)
        await page.locator(".row").first.focus()
        await page.keyboard.press("a")
        await page.locator(".row textarea").fill("She rested, then 142/88")
        await opens(shop, "09:05", patient="jon", tier=Tier.CRITICAL)
        await expect(page.get_by_role("link", name="Jon Berg")).to_be_visible(timeout=10_000)
        assert await page.locator(".row textarea").input_value() == "She rested, then 142/88"
        assert page.complaints == [], page.complaints[:4]


@pytest.mark.parametrize("width", [1400, 1024, 390], ids=["desk", "laptop", "phone"])
async def test_axe_finds_nothing_and_nothing_sticks_out(shop, width):
    (told,) = await opens(shop, tier=Tier.CRITICAL)
    await opens(shop, "09:01", patient="jon", tier=Tier.WATCH)
    await opens(shop, "09:02", Concern.FAST_PULSE, patient="jon")
    async with shop.hands("ana") as ana:
        await ana.post(f"/queue/patient/{shop.clinic.patients['jon']}/claim")
    async with at_work(shop, width=width) as page:
        for url in (
            "/queue", f"/queue/episode/{told.episode_id}", "/queue?tab=technical",
            "/queue/measuring", "/queue/burden", "/queue/handover", "/queue/chain", "/queue/rota", "/queue/policy",
            "/queue/benign", "/queue/today", "/queue/quiet", "/queue?severity=critical",
        ):  # fmt: skip
            await page.goto(page.there.url + url)
            await page.wait_for_load_state("load")
            found = await Axe().run(page, options=AXE)
            assert [(v["id"], v["nodes"][0]["html"][:160]) for v in found.response["violations"]] == [], url
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), url
        assert page.complaints == [], page.complaints[:4]


@pytest.mark.parametrize("width", [1400, 390], ids=["desk", "phone"])
async def test_axe_finds_nothing_on_what_an_admin_changes_and_reads(shop, width):
    async with shop.hands("dora") as dora:
        staff = str(shop.clinic.staff["ana"].staff_id)
        await dora.post("/queue/rota", staff_id=staff, starts="2026-01-05T02:00", ends="2026-01-05T17:00")
    async with at_work(shop, "adm", width=width) as page:
        for url in ("/queue/rota", "/queue/policy", "/queue/chain", "/reads"):
            await page.goto(page.there.url + url)
            await page.wait_for_load_state("load")
            found = await Axe().run(page, options=AXE)
            assert [(v["id"], v["nodes"][0]["html"][:160]) for v in found.response["violations"]] == [], url
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), url
        assert page.complaints == [], page.complaints[:4]


async def test_on_a_phone_whoever_has_it_finds_the_call_near_the_top_and_nothing_scrolls_sideways(shop):
    await shop.clinic.tell(*(shop.clinic.score(f"08:{n}0") for n in range(5)))
    (told,) = await opens(shop, tier=Tier.CRITICAL)
    async with at_work(shop, width=390) as page:
        await page.goto(f"{page.there.url}/queue/episode/{told.episode_id}")

        async def above(one, other):
            tops = [(await page.locator(f"{part} h2").bounding_box())["y"] for part in (one, other)]
            return tops[0] < tops[1]

        assert await above(".why", ".acts")
        assert await above(".acts", ".call")
        assert await above(".call", "[aria-labelledby=h-line]")
        await page.get_by_role("button", name="Claim").click()
        await expect(page.get_by_text("You have this until")).to_be_visible()
        assert await above(".why", ".call")
        assert await above(".call", ".acts")
        for table in await page.locator(".scroll").all():
            assert await table.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert page.complaints == [], page.complaints[:4]


async def test_a_page_that_nobody_touches_is_left_for_the_sign_in_page(shop):
    await opens(shop)
    async with at_work(shop) as page:
        await expect(page.locator("h1")).to_contain_text("Nothing urgent")
        await page.clock.install()
        await page.reload()
        await expect(page.locator("h1")).to_contain_text("Nothing urgent")
        await page.clock.fast_forward("14:30")
        await expect(page.locator(".idle-warning")).to_be_visible()
        await page.keyboard.press("Shift")
        await expect(page.locator(".idle-warning")).to_have_count(0)
        await page.clock.fast_forward("15:30")
        await expect(page).to_have_url(re.compile(r"/sign-in\?idle=true&next=%2Fqueue"))
        await expect(page.get_by_text("You were signed out because nobody used the page")).to_be_visible()


async def test_the_timeline_is_drawn_with_and_without_javascript(shop):
    score = shop.clinic.score
    await shop.clinic.tell(*(score(f"0{n}:00") for n in range(5)))
    (told,) = await opens(shop)
    for javascript, drawn in ((True, ".timeline .uplot canvas"), (False, ".timeline svg.spark-big")):
        async with at_work(shop, javascript=javascript) as page:
            await page.goto(f"{page.there.url}/queue/episode/{told.episode_id}")
            await expect(page.locator(drawn).first).to_be_visible(timeout=10_000)
            assert page.complaints == [], page.complaints[:4]


async def test_claim_and_settle_without_javascript(shop):
    await opens(shop)
    async with at_work(shop, javascript=False) as page:
        await page.get_by_role("button", name="Claim Maria Lopes").click()
        await page.get_by_role("link", name="Maria Lopes").click()
        await page.get_by_label("Known, as expected").check()
        await page.get_by_role("button", name="Save and go to the queue").click()
        await expect(page).to_have_url(re.compile(r"/queue\?tab=clinical$"))
        await expect(page.locator("h1")).to_have_text("Nobody is waiting")
