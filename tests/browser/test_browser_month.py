"""From a problem list to the auditor's packet in a real browser: enrol, consent, plan, call with the timer, month, sign, packet."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pypdfium2
import pytest
from playwright.async_api import expect

from tests.component.test_ccm_browser import clinic  # noqa: F401 - the fixture

pytestmark = [pytest.mark.stack, pytest.mark.browser, pytest.mark.timeout(240)]

ZONE = ZoneInfo("America/New_York")


async def opened(page, summary, *, within=None):
    """Unfold a form."""
    where = within or page
    await where.locator("summary", has_text=re.compile(rf"^\s*{summary}\s*$")).first.click()


async def sent(page, button):
    """Press it and wait until the page that follows is there: going elsewhere at once would take the form back."""
    async with page.expect_navigation():
        await button.click()


async def measured(at_work, who, *, seconds):
    """Whether the beats so far prove so much time: two may come at once when a page opens."""
    at = [beat.at for beat in await at_work.beats(who)]
    return bool(at) and (max(at) - min(at)).total_seconds() >= seconds


async def card(page, heading):
    return page.locator("section.card", has=page.get_by_role("heading", name=heading)).first


async def test_from_a_problem_list_to_the_packet(clinic, tmp_path):  # noqa: F811
    people = clinic.people
    nora = f"/care/{people.nora}"

    async with clinic.page(people.cora) as cora:
        # A problem list comes in; Nora is a candidate, and nothing more.
        await cora.goto("/care")
        await opened(cora, "Import a problem list")
        await cora.get_by_label("Or paste it here").fill(
            "mrn,icd10,name,chronic_months\nMRN-nora,I10,Hypertension,24\nMRN-nora,E11.9,Type 2 diabetes,"
        )
        await cora.get_by_role("button", name="Take in").click()
        await expect(cora.get_by_text("1 with two or more chronic conditions")).to_be_visible()

    async with clinic.page(people.dora) as dora:
        # The practitioner states the risk; eligibility is complete, and she is enrolled.
        await dora.goto(nora)
        eligibility = await card(dora, "Eligibility")
        await opened(dora, "Change", within=eligibility)
        await eligibility.locator("[name=state]").select_option("enrolled")
        await eligibility.locator("[name=since]").fill("2026-06-01")
        await eligibility.locator("[name=risk]").select_option("yes")
        await eligibility.locator("[name=program_CCM]").check()
        await eligibility.locator("[name=payer]").select_option("original_medicare")
        await eligibility.locator("[name=payer_checked_on]").fill("2026-05-20")
        await eligibility.locator("[name=initiating_visit]").fill("2026-05-20")
        await eligibility.locator("[name=practitioner]").fill("Dora Patel")
        await eligibility.locator("[name=care_manager]").fill("Ana Ruiz")
        await eligibility.locator("[name=why]").fill("enrolled after her visit")
        await eligibility.get_by_role("button", name="Save as a new version").click()
        await expect(dora.get_by_text("Ask for consent: CCM").first).to_be_visible()

    async with clinic.page(people.ana) as ana:
        # Consent: a missing notice is refused in a sentence, then all four are explained.
        await ana.goto(nora)
        consent = await card(ana, "Consent")
        await opened(ana, "Record a conversation", within=consent)
        await consent.locator("[name=accepted]").select_option("yes")
        await consent.locator("[name=given_at]").fill("2026-10-01T09:30")
        for box in (await consent.locator("input[type=checkbox]").all())[:3]:
            await box.check()
        await consent.get_by_role("button", name="Record", exact=True).click()
        await expect(ana.get_by_role("alert")).to_contain_text("all four things")
        await opened(ana, "Record a conversation", within=consent)
        await consent.locator("[name=accepted]").select_option("yes")
        await consent.locator("[name=given_at]").fill("2026-10-01T09:30")
        for box in await consent.locator("input[type=checkbox]").all():
            await box.check()
        await consent.get_by_role("button", name="Record", exact=True).click()
        await expect(consent.get_by_text("accepted").first).to_be_visible()

        # The plan, with a goal in numbers.
        plan = await card(ana, "Care plan")
        await opened(ana, "Write the plan", within=plan)
        for row in (0, 1):
            await plan.locator(f"[name=outcome_{row}]").fill("controlled")
            await plan.locator(f"[name=goal_{row}]").fill(
                "mornings below 135 over 85" if row == 0 else "fasting 80 to 130"
            )
        await plan.locator("[name=watch_0]").select_option("bp")
        await plan.locator("[name=numbers_0]").fill("135/85")
        await plan.locator("[name=days_0]").fill("7")
        await plan.locator("[name=medicine_0]").fill("Lisinopril")
        await plan.locator("[name=dose_0]").fill("20 mg each morning")
        await plan.get_by_role("button", name="Save version 1").click()
        await expect(
            ana.get_by_text("followed by blood pressure below 135/85, 7 days a week")
        ).to_be_visible()
        await expect(ana.get_by_text("waits for the practitioner's signature", exact=True)).to_be_visible()

    async with clinic.page(people.dora) as dora:
        await dora.goto(nora)
        await sent(dora, dora.get_by_role("button", name="Sign version 1"))
        await opened(dora, "Record a copy given")
        await dora.locator("form[action$='/copies'] [name=how]").fill("by hand, large print")
        await dora.locator("form[action$='/copies']").get_by_role("button", name="Record").click()
        await expect(dora.get_by_text("everything stands")).to_be_visible()

    async with clinic.page(people.ana) as ana:
        # The call: the timer runs on the patient's month; the rest of the talk is attested by hand.
        await ana.goto("/month")
        month = ana.url.rsplit("/", 1)[1]
        here = f"/month/{month}/patient/{people.nora}"
        await ana.goto(here)
        await ana.get_by_role("button", name="Start timer").click()
        await expect(ana.get_by_role("button", name="Stop and log")).to_be_visible()
        await clinic.until(lambda: measured(clinic, people.ana, seconds=10), within=60)
        await sent(ana, ana.get_by_role("button", name="Stop and log"))
        form = ana.locator("form").filter(has=ana.locator("[name=contact]")).filter(visible=True).first
        await form.locator("[name=contact]").select_option("phone")
        await form.locator("[name=contact_with]").fill("patient")
        await form.locator("[name=interactive]").check()
        assert await form.locator("[name=problem]").input_value() == ""  # no alert says which
        await form.locator("[name=problem]").fill("Hypertension")
        await form.locator("[name=note]").fill(
            "Monthly check-in: measured together, went through the pill box."
        )
        await form.locator("[name=outcome]").fill("Measures each morning from now on")
        await sent(ana, form.locator("button.primary"))
        await ana.goto(here)
        await expect(ana.get_by_text("Monthly check-in: measured together").first).to_be_visible()
        assert ana.complaints == []
        now = clinic.clock()
        await opened(ana, "Add minutes by hand")
        start = now.astimezone(ZONE) - timedelta(minutes=40)
        for name, at in (("start", start), ("end", start + timedelta(minutes=21))):
            await ana.locator(f"[name={name}]").fill(f"{at:%Y-%m-%dT%H:%M}")
        hand = ana.locator("form", has=ana.locator("[name=attested]"))
        await hand.locator("[name=contact]").select_option("phone")
        await hand.locator("[name=contact_with]").fill("pharmacy")
        await hand.locator("[name=problem]").fill("Type 2 diabetes")
        await hand.locator("[name=note]").fill(
            "Reconciled medicines with the pharmacy and the last visit's list."
        )
        await hand.locator("[name=attested]").check()
        await sent(ana, hand.locator("button.primary"))
        await ana.goto(here)
        await ana.get_by_role("button", name="Checked, nothing found").click()
        await expect(ana.get_by_text("99490").first).to_be_visible()

    async with clinic.page(people.cora) as cora:
        await cora.goto(here)
        await cora.get_by_role("button", name="Mark reviewed", exact=True).click()
        await expect(cora.get_by_text("Reviewed").first).to_be_visible()

    async with clinic.page(people.dora) as dora:
        await dora.goto(here)
        await dora.get_by_role("button", name="Sign the month", exact=True).click()
        await expect(dora.get_by_text("Signed").first).to_be_visible()
        async with dora.expect_download() as coming:
            await dora.get_by_role("link", name="Audit packet (PDF)").click()
        packet = tmp_path / "packet.pdf"
        await (await coming.value).save_as(packet)
        assert dora.complaints == []

    # The packet as the auditor sees it: ink on every page, and the words that matter on the first ones.
    pages = pypdfium2.PdfDocument(packet)
    words = ""
    for number, page in enumerate(pages):
        picture = page.render(scale=1.2).to_pil()
        picture.save(tmp_path / f"packet-{number + 1}.png")
        dark = sum(picture.convert("L").histogram()[:128])
        assert dark > 0.002 * picture.width * picture.height, f"page {number + 1} is nearly empty"
        words += page.get_textpage().get_text_range()
    assert len(pages) >= 2
    words = " ".join(words.split())  # cells are wrapped
    for wanted in (
        "Audit packet",
        "Nora Weiss",
        "99490",
        "Monthly check-in",
        "Reconciled medicines",
        "Signed",
        "sha256",
    ):
        assert wanted in words, wanted
    pages.close()
