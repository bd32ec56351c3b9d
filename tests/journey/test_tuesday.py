"""An ordinary Tuesday on the real product: a missed refill, three rising mornings, swollen ankles, and what comes of it.

Every step goes through the door that people and devices use: MQTT, the pages' forms, the exports. The story page
tells it afterwards on one page; `docs/tuesday.md` tells it to a reader.
"""

import asyncio
import csv
import io
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ccm_bridge.careplan import Content, Medicine, Problem, Step
from ccm_bridge.enrolment import Condition, Program
from ccm_bridge.month_service import attest_practice, enrol
from deploy import database
from tests.journey.test_journey import a_diary, played

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ZONE = ZoneInfo("America/New_York")
PLAN = Content(
    problems=(
        Problem(
            name="Heart failure", icd10="I50.9", outcome="no hospital stay this winter", goal="mornings below 135 over 85",
            measured_by="your cuff, each morning", symptoms="call us the same day if your feet swell", watch="bp", below=(135, 85),
            days_a_week=7,
        ),
    ),
    medicines=(Medicine(name="Lisinopril", dose="20 mg each morning", purpose="blood pressure"),),
    reconciled_on=datetime.now(UTC).date(),
    interventions=(Step(what="Refill of lisinopril arranged", who="Ana", when="every month"),),
    preferences="She wants to stay in her own home",
)  # fmt: skip


async def enrolled(product, patient_id, practice):
    """Three months in care management and monitoring, with a plan in force."""
    now = datetime.now(UTC)
    staff = {
        role: (staff_id, name)
        for staff_id, name, role in product.rows(
            "SELECT staff_id, name, role FROM who.staff WHERE practice_id = %s", practice
        )
    }
    async with await database.Connection.connect(product.stack.dsn("lamplight_pipeline")) as conn:
        await enrol(
            conn,
            practice_id=practice,
            patient_id=patient_id,
            nurse=staff["nurse"],
            practitioner=staff["physician"],
            programs=frozenset({Program.CCM, Program.RPM}),
            conditions=[
                Condition(icd10="I50.9", name="Heart failure", chronic_months=24),
                Condition(icd10="I10", name="Hypertension", chronic_months=24),
            ],
            plan=PLAN,
            visit=(now - timedelta(days=120)).date(),
            consent_at=now - timedelta(days=95),
            plan_at=now - timedelta(days=90),
        )
        await attest_practice(
            conn, practice_id=practice, staff=staff["physician"], from_day=(now - timedelta(days=200)).date(), now=now
        )  # fmt: skip


def three_rising_mornings(last):
    """Forty calm days, then 148, 161 and 184 on three mornings."""
    lines = a_diary(last)[:-1]
    for days, systolic, diastolic in ((2, 148, 86), (1, 161, 92), (0, 184, 104)):
        at = last - timedelta(days=days)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{systolic},{diastolic},84")
    return lines


def test_an_ordinary_tuesday_is_told_on_one_page_and_every_step_is_real(product, tmp_path):
    practice = product.practice(31)
    emails = {
        "ana": product.person(practice, "Ana", "nurse"),
        "cora": product.person(practice, "Cora", "coordinator", "MA"),
        "dana": product.person(practice, "Dana", "physician", "MD"),
    }
    maria = product.patient(practice, "Maria Tuesday", device="cuff-tuesday")
    asyncio.run(enrolled(product, maria, practice))
    gateway = product.gateway(practice, "gw-tuesday", playback=True)

    with (
        product.signed_in(emails["ana"]) as ana,
        product.signed_in(emails["cora"]) as cora,
        product.signed_in(emails["dana"]) as dana,
    ):

        def post(person, path, **form):
            answer = person.post(path, data={"csrf": person.csrf, **form})
            assert answer.status_code == 200, f"{path}: {answer.status_code} {alert_of(answer)}"
            return answer

        # 1. Her daughter may know: her own word, recorded. The plan asks for a refill each month; this one is open.
        post(ana, f"/care/{maria}/people", version="1", caregiver_0="Lucia Tuesday", relation_0="daughter", permission_0="by telephone", barrier_hearing="yes")  # fmt: skip
        post(ana, "/tasks/monthly")
        refill = product.one(
            "SELECT task_id::text FROM ccm.task WHERE patient_id = %s AND kind = 'monthly'", maria
        )
        assert "Refill of lisinopril arranged" in ana.get(f"/tasks/{refill}").text

        # 2. The cuff: forty calm days, three rising mornings. One episode opens.
        last = datetime.now(UTC) - timedelta(minutes=3)
        with played(
            product, gateway, "cuff-tuesday", three_rising_mornings(last), last, tmp_path, live_days=3
        ):
            episode = product.until(
                "SELECT min(episode_id::text) FROM ccm.episode_move WHERE concern = 'high_pressure' AND reason LIKE '%%184%%' AND patient_id = %s",
                maria,
            )
            product.until(
                "SELECT count(*) FROM ingest.reading WHERE patient_id = %s", maria, is_true=lambda n: n == 83
            )
        page = ana.get(f"/queue/episode/{episode}").text
        assert "184" in page
        assert "Maria Tuesday" in page

        # 3. The call: she is out of tablets, her ankles are swollen, she cannot say what the cardiologist told her.
        post(ana, f"/queue/patient/{maria}/claim", queue="clinical")
        seen = product.one("SELECT number FROM alerts.episode WHERE episode_id = %s", episode)
        said = "Out of lisinopril since Friday; ankles swollen; does not know what the cardiologist said."
        post(ana, f"/queue/episode/{episode}/settle", seen=seen, code="contacted", note=said, task="true")
        task = product.until("SELECT min(task_id::text) FROM ccm.task WHERE episode_id = %s", episode)
        post(ana, f"/tasks/{task}/moves", move="take")
        for step in ("reached", "symptoms", "medicines"):
            post(ana, f"/tasks/{task}/steps/{step}", done="yes")
        began = datetime.now(ZONE) - timedelta(minutes=50)
        log(post, ana, maria, task, began, 14, note=f"Called her and her daughter. {said}", outcome="The pharmacy brings the tablets today", contact_with="patient and daughter")  # fmt: skip

        # 4. The question to the physician, her talk with cardiology, her answer.
        post(
            ana,
            f"/tasks/{task}/moves",
            move="escalate",
            note="Ankles swollen, 184/104. A diuretic? What did cardiology want?",
        )
        assert "Maria Tuesday" in dana.get("/tasks?show=escalated").text
        log(post, dana, maria, task, began + timedelta(minutes=20), 8, activity="coordination", as_clinical_staff="yes", note="Called Dr. Lund: furosemide 20 mg was meant, and a weight each morning.", outcome="Furosemide 20 mg each morning from today", contact_with="Dr. Lund, cardiology", interactive="")  # fmt: skip
        post(
            dana,
            f"/tasks/{task}/moves",
            move="answer",
            note="Furosemide 20 mg each morning. Weigh her daily. See her on Friday.",
        )

        # 5. The plan says so from today on; she and her daughter get it.
        post(ana, f"/care/{maria}/plan", version="1", review_on="2027-11-01", problem_0="Heart failure", problem_icd10_0="I50.9", outcome_0="no hospital stay this winter", goal_0="mornings below 135 over 85", measured_by_0="your cuff, each morning", symptoms_0="call us the same day if your feet swell", watch_0="bp", numbers_0="135/85", days_0="7", medicine_0="Lisinopril", dose_0="20 mg each morning", purpose_0="blood pressure", medicine_1="Furosemide", dose_1="20 mg each morning", purpose_1="swelling", step_0="Refill of lisinopril arranged", step_who_0="Ana", step_when_0="every month", step_1="Weigh yourself", step_who_1="patient", step_when_1="every morning", preferences="She wants to stay in her own home")  # fmt: skip
        plan = product.one(
            "SELECT plan_id::text FROM ccm.care_plan WHERE patient_id = %s AND version = 2", maria
        )
        post(dana, f"/care/{maria}/plan/{plan}/sign")
        post(
            ana,
            f"/care/{maria}/plan/{plan}/copies",
            to="the patient and her daughter",
            how="by post, large print",
        )
        assert "Furosemide 20 mg each morning for swelling" in ana.get(f"/care/{maria}").text
        assert ana.get(f"/care/{maria}/plan/2/copy.pdf").content.startswith(b"%PDF")
        post(ana, f"/tasks/{task}/moves", move="done", note="Tablets there, diuretic begun, seen on Friday.")
        post(
            ana,
            f"/tasks/{refill}/moves",
            move="done",
            note="Delivered; the pharmacy sends it by itself from now on.",
        )

        # 6. Plain words, to her and to her daughter.
        month = f"{began:%Y-%m}"
        here = f"/month/{month}/patient/{maria}"
        for to, greeting in (("patient", "Dear Maria,"), ("0", "Dear Lucia,")):
            letter = ana.get(f"{here}/letter", params={"to": to}).text
            assert greeting in letter
            assert "Furosemide 20 mg each morning for swelling." in letter
            assert float(re.search(r"reading level: grade (\d+)", letter).group(1)) <= 8
            post(ana, f"{here}/letter", to=to, how="by post", letter_id=str(uuid4()))

        # 7. The month: looked up, reviewed by the coordinator, signed by the physician; 22 minutes, one code.
        post(cora, f"{here}/check", note="Eligibility looked up: no other biller, stay or hospice.")
        post(cora, f"{here}/step", step="reviewed", review_id=str(uuid4()))
        post(dana, f"{here}/step", step="signed", review_id=str(uuid4()))
        claims = list(csv.DictReader(io.StringIO(cora.get(f"/month/{month}/claims.csv").text)))
        assert [(c["code"], c["units"]) for c in claims if c["code"].startswith("994")][:1] == [
            ("99490", "1")
        ]

        # 8. The packet, and the story on one page.
        packet = msgspec.json.decode(cora.get(f"{here}/packet.json").content)
        assert len(packet["entries"]) == 2
        assert cora.get(f"{here}/packet.pdf").content.startswith(b"%PDF")
        assert "184/104" in cora.get(f"{here}/story").text
        story = cora.get(f"{here}/story.txt").text

    # Minutes are dated by when the work was done, so they are sought by themselves; the rest comes in this order.
    for words in (
        "Out of lisinopril since Friday", "Called Dr. Lund", "14:00 CCM", "8:00 CCM", "148/86", "161/92", "184/104",
    ):  # fmt: skip
        assert words in story, f"{words} not in:\n{story}"
    told = [
        "184/104", "A diuretic?", "See her on Friday.", "wrote version 2",
        "Dana signed version 2", "Tablets there", "Ana gave the patient the month's letter",
        "Ana gave Lucia Tuesday (daughter) the month's letter", "Cora reviewed the month", "Dana signed the month",
    ]  # fmt: skip
    lines = story.splitlines()
    places = [next((n for n, line in enumerate(lines) if words in line), None) for words in told]
    assert None not in places, f"{told[places.index(None)]} not in:\n{story}"
    assert places == sorted(places), story


def log(post, person, maria, task, start, minutes, **said):
    """Minutes by hand, attested."""
    form = {
        "entry_id": str(uuid4()), "patient_id": str(maria), "task_id": task, "start": f"{start:%Y-%m-%dT%H:%M}",
        "end": f"{start + timedelta(minutes=minutes):%Y-%m-%dT%H:%M}", "activity": "symptom_review", "program": "CCM",
        "problem": "Heart failure", "contact": "phone", "interactive": "yes", "attested": "yes", "back": f"/tasks/{task}",
    }  # fmt: skip
    post(person, "/entries", **form | said)


def alert_of(answer):
    found = re.search(r'role="alert">([^<]*)', answer.text)
    return found.group(1) if found else answer.text[-300:]
