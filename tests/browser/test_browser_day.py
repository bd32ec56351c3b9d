"""A nurse's few minutes in a real browser: an episode arrives live, is claimed, settled, worked with a timer, and counted."""

import asyncio
import re
import threading
import time

import pytest
from playwright.sync_api import expect, sync_playwright

from deploy.native import browser
from tests.journey.test_journey import enrolled
from tests.product import PASSWORD

pytestmark = [pytest.mark.stack, pytest.mark.browser, pytest.mark.timeout(240)]

FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=browser.find(), chromium_sandbox=False, args=FLAGS
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def clinic(product):
    """A practice with Ana and Dana, one enrolled patient with a cuff, and Chris next door."""
    practice = product.practice(21)
    people = {
        "ana": product.person(practice, "Ana", "nurse"),
        "dana": product.person(practice, "Dana", "physician", "MD"),
        "chris": product.person(product.practice(22), "Chris", "nurse"),
    }
    patient = product.patient(practice, "Maria Browser", device="cuff-browser")
    asyncio.run(enrolled(product, patient, practice))
    return people, patient, product.gateway(practice, "gw-browser")


def signed_in(chromium, product, email, **options):
    page = chromium.new_context(base_url=product.url, **options).new_page()
    page.complaints = []
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue")
    return page


def measure(product, gateway, **values):
    """A reading from the cuff, through MQTT; returns when ingest has acknowledged it."""
    failed = []

    def publish():
        try:
            answers = asyncio.run(
                product.publish(gateway, {"device": "cuff-browser", "kind": "bp", **values})
            )
            assert set(answers.values()) == {None}, answers
        except BaseException as error:  # noqa: BLE001 - carried over to the test's thread
            failed.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join(40)
    assert not failed, failed


def test_from_a_live_episode_to_minutes_in_the_month(product, clinic, chromium, capsys):
    people, patient, gateway = clinic
    ana = signed_in(chromium, product, people["ana"])
    chris = signed_in(chromium, product, people["chris"])
    expect(ana.get_by_text("Maria Browser")).to_have_count(0)

    # An episode arrives without reloading.
    measure(product, gateway, systolic=194, diastolic=122, pulse=91)
    acknowledged = time.monotonic()
    expect(ana.get_by_role("link", name="Maria Browser")).to_be_visible(timeout=10_000)
    with capsys.disabled():
        print(f"\nvisible {time.monotonic() - acknowledged:.2f} s after the acknowledgement")
    expect(ana.get_by_text("194", exact=False).first).to_be_visible()

    # Claim it from the list.
    ana.get_by_role("button", name=re.compile("Claim")).first.click()
    expect(ana.get_by_text(re.compile("Settle|You", re.IGNORECASE)).first).to_be_visible()

    # Settle it on its page, asking for work.
    ana.get_by_role("link", name="Maria Browser").click()
    ana.wait_for_url("**/queue/episode/*")
    episode = ana.url.rsplit("/", 1)[1].partition("?")[0]
    settle = ana.locator("form[action$='/settle']")
    if not settle.is_visible():
        ana.locator("details", has=settle).locator("summary").click()
    settle.get_by_label("Contacted the patient", exact=False).check()
    settle.get_by_label("Note", exact=True).fill("Missed two tablets; will repeat in five minutes.")
    settle.get_by_label("Create a care task").check()
    settle.get_by_role("button", name=re.compile("Save")).click()
    ana.wait_for_url("**/queue**")

    # The task, with a timer that beats.
    product.until("SELECT count(*) FROM ccm.task WHERE episode_id = %s", episode)
    ana.goto(f"/tasks/episode/{episode}")
    ana.get_by_role("button", name="Start timer").click()
    expect(ana.get_by_role("button", name="Stop and log")).to_be_visible()
    beats = "SELECT extract(epoch FROM max(b.at) - min(b.at))::int FROM ccm.timer_beat b JOIN ccm.timer t USING (timer_id) WHERE t.patient_id = %s"
    product.until(beats, patient, is_true=lambda s: s is not None and s >= 14, within=60)
    ana.reload()  # the browser forgets; the timer does not
    expect(ana.get_by_role("button", name="Stop and log")).to_be_visible()
    ana.get_by_role("button", name="Stop and log").click()
    log = ana.locator("form").filter(has=ana.locator("[name=contact]")).filter(visible=True).first
    log.locator("[name=contact]").select_option("phone")
    log.locator("[name=contact_with]").fill("patient")
    log.locator("[name=interactive]").check()
    log.locator("[name=note]").fill("Called about the high reading, went through the pill box.")
    log.locator("button.primary").click()
    seconds = product.until(
        "SELECT extract(epoch FROM sum(upper(span) - lower(span)))::int FROM ccm.time_entry WHERE patient_id = %s",
        patient,
    )
    assert 14 <= seconds <= 120

    # The month knows of it.
    ana.goto("/month")
    row = ana.get_by_role("row", name=re.compile("Maria Browser"))
    expect(row).to_be_visible()
    row.get_by_role("link", name="Maria Browser").click()
    expect(ana.get_by_text("Called about the high reading", exact=False).first).to_be_visible()

    # Next door nobody sees anything of it.
    for path in ("/queue", "/tasks", "/month", "/devices"):
        chris.goto(path)
        assert "Maria Browser" not in chris.content(), path
    assert chris.goto(f"/queue/episode/{episode}").status == 404
    assert chris.goto(f"/tasks/episode/{episode}").status == 404
    assert ana.complaints == []


def test_the_queue_fits_a_phone(product, clinic, chromium):
    people, _, _ = clinic
    page = signed_in(chromium, product, people["ana"], viewport={"width": 390, "height": 800}, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_reading_and_claiming_need_no_javascript(product, clinic, chromium):
    people, _, gateway = clinic
    product.patient(21, "Otto Plain", device="cuff-plain")
    answers = asyncio_run_in_thread(
        product.publish(gateway, {"device": "cuff-plain", "kind": "bp", "systolic": 191, "diastolic": 121})
    )
    assert set(answers.values()) == {None}
    product.until(
        "SELECT count(*) FROM alerts.episode e JOIN who.patient p USING (patient_id) WHERE p.name = 'Otto Plain'"
    )
    page = signed_in(chromium, product, people["dana"], java_script_enabled=False)
    page = signed_in(chromium, product, people["ana"], java_script_enabled=False)
    row = page.get_by_role("listitem").filter(has_text="Otto Plain")
    row.get_by_role("button", name=re.compile("Claim")).click()
    expect(
        page.get_by_role("listitem").filter(has_text="Otto Plain").get_by_text(re.compile("Settle"))
    ).to_be_visible()


def asyncio_run_in_thread(coroutine):
    """Playwright's own loop runs in this thread."""
    result = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(coroutine)))
    thread.start()
    thread.join(40)
    return result[0]
