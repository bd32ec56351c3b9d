"""The risk screens in headless Chromium: axe finds nothing, a telephone's width holds them, and no script is needed."""

import os
import re
from contextlib import asynccontextmanager

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from deploy.native import browser as browser_path
from tests.component.risk_ward import a_ward
from tests.component.test_alerts_browser import AXE, FLAGS, served

pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.fixture
async def ward(fresh_database):
    async with a_ward(fresh_database) as opened:
        yield opened


@asynccontextmanager
async def at_work(ward, name="dora", *, width=1360, javascript=True):
    """Somebody's browser, signed in; whatever the console complains about fails the test."""
    async with served(ward) as there, ward.hands(name), async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=browser_path.find(), args=FLAGS, chromium_sandbox=False
        )
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=javascript, base_url=there.url
        )
        await context.add_cookies([{"name": ward.desk.cookie, "value": f"token-{name}", "url": there.url}])
        page = await context.new_page()
        page.complaints = []
        page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        yield page
        await browser.close()


async def kept(page, name):
    """A picture for people, if somebody asks for pictures."""
    folder = os.environ.get("PICTURES")
    if folder:
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def screens(ward):
    return {
        "everybody": "/patients",
        "one": f"/patients/{ward.clinic.patients['rosa']}?what=systolic-high&value=140",
        "practice": "/patients/practice?what=systolic-high&value=140",
    }


@pytest.mark.parametrize("width", [1360, 390], ids=["a desk", "a telephone"])
async def test_axe_finds_nothing_and_no_page_is_wider_than_its_window(ward, width):
    async with at_work(ward, width=width) as page:
        for name, url in screens(ward).items():
            assert (await page.goto(url)).ok
            await kept(page, f"{name}-{width}")
            found = await Axe().run(page, options=AXE)
            assert found.violations_count == 0, found.generate_report()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.complaints == []


async def test_without_javascript_a_limit_is_tried_seen_and_saved(ward):
    async with at_work(ward, javascript=False) as page:
        await page.goto("/patients")
        await page.get_by_role("link", name="Rosa Rising").click()
        await page.get_by_label("Change").select_option("systolic-high")
        await page.get_by_label("to", exact=True).fill("140")
        await page.get_by_role("button", name="Replay 90 days").click()
        await expect(page.get_by_role("status")).to_contain_text(re.compile(r"alerts per patient and week"))
        await page.get_by_label("Why").first.fill("goal 140 after her stroke")
        await page.get_by_role("button", name="Save from now on").click()
        await expect(page.get_by_role("heading", name="Decided")).to_be_visible()
        await expect(page.locator("body")).to_contain_text("Dora Weiss: goal 140 after her stroke")
