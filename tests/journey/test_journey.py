"""One reading's whole way on the real product: diary line → claim line, and back to the bytes by `caused_by`."""

import asyncio
import base64
import csv
import io
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ccm_bridge.careplan import Content, Problem
from ccm_bridge.enrolment import Condition, Program
from ccm_bridge.month_service import attest_practice, enrol
from deploy import database
from deploy.native.stack import ROOT
from ingest.gateway.diary import Form, entries

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PRACTICE_ZONE = ZoneInfo("America/New_York")
HEADER = "ts,systolic,diastolic,pulse"


def a_diary(last: datetime) -> list[str]:
    """Forty calm days, two readings each, and one morning that is not calm."""
    lines = [HEADER]
    for days in range(40, 0, -1):
        for hour, systolic in ((7, 128), (19, 124)):
            at = (last - timedelta(days=days)).replace(hour=hour, minute=days % 60, second=0)
            lines.append(f"{at:%Y-%m-%d %H:%M:%S},{systolic + days % 5},{78 + days % 3},{66 + days % 4}")
    lines.append(f"{last:%Y-%m-%d %H:%M:%S},192,124,88")
    return lines


async def enrolled(product, patient_id: UUID, practice: int):
    """Consent, plan and practitioner, as they must stand before a minute counts."""
    now = datetime.now(UTC)
    staff = {
        role: (staff_id, name)
        for staff_id, name, role in product.rows(
            "SELECT staff_id, name, role FROM who.staff WHERE practice_id = %s", practice
        )
    }
    plan = Content(
        problems=(Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 130/80"),)
    )
    async with await database.Connection.connect(product.stack.dsn("lamplight_pipeline")) as conn:
        await enrol(
            conn,
            practice_id=practice,
            patient_id=patient_id,
            nurse=staff["nurse"],
            practitioner=staff["physician"],
            programs=frozenset({Program.CCM}),
            conditions=[
                Condition(icd10="I10", name="Essential hypertension", chronic_months=12),
                Condition(icd10="E78.5", name="Hyperlipidemia", chronic_months=12),
            ],
            plan=plan,
            visit=(now - timedelta(days=120)).date(),
            consent_at=now - timedelta(days=95),
            plan_at=now - timedelta(days=90),
        )
        await attest_practice(
            conn,
            practice_id=practice,
            staff=staff["physician"],
            from_day=(now - timedelta(days=200)).date(),
            now=now,
        )


@contextmanager
def played(product, gateway, device, lines, last, folder, *, live_days=0):
    """A diary played by a real gateway agent with a durable outbox, until the block is left."""
    diary = folder / f"{device}.csv"
    diary.write_text("\n".join(lines) + "\n")
    ahead = (last.date() - datetime.now(UTC).date()).days
    agent = subprocess.Popen(
        [
            sys.executable, "-m", "deploy.cli", "gateway", "play", "--id", gateway.name, "--outbox", str(folder / f"{device}.sqlite"),
            "--diary", str(diary), "--form", "bp", "--device", device, "--zone", "UTC", "--ahead", str(ahead), "--live-days", str(live_days), "--last-day-seconds", "4",
        ],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "LAMPLIGHT_MQTT": product.stack.mqtt,
            "LAMPLIGHT_MQTT_CA": str(gateway.ca),
            "LAMPLIGHT_MQTT_CERT": str(gateway.cert),
            "LAMPLIGHT_MQTT_KEY": str(gateway.key),
        },
    )  # fmt: skip
    try:
        yield
    finally:
        agent.terminate()
        agent.wait(20)


def test_a_diary_line_becomes_a_claim_line_and_every_step_names_the_one_before(product, tmp_path):
    practice = product.practice(11)
    ana = product.person(practice, "Ana", "nurse")
    product.person(practice, "Dana", "physician", "MD")
    chris = product.person(product.practice(12), "Chris", "nurse")
    maria = product.patient(practice, "Maria Journey", device="cuff-journey")
    asyncio.run(enrolled(product, maria, practice))
    gateway = product.gateway(practice, "gw-journey")

    # 1. The cuff's diary, played by a real gateway agent with a durable outbox.
    now = datetime.now(UTC)
    last = now - timedelta(minutes=2)
    lines = a_diary(last)
    with played(product, gateway, "cuff-journey", lines, last, tmp_path):
        product.until(
            "SELECT count(*) FROM ingest.reading WHERE patient_id = %s", maria, is_true=lambda n: n == 81
        )
        # 2. History paged nobody; the last morning opened one episode.
        episode = product.until(
            "SELECT min(episode_id::text) FROM alerts.episode WHERE patient_id = %s", maria
        )
    assert product.one("SELECT count(*) FROM alerts.episode WHERE patient_id = %s", maria) == 1

    # 3. The nurse, without JavaScript: sees it, claims it, settles it, asks for work. Chris sees nothing.
    with product.signed_in(chris) as stranger:
        assert "Maria Journey" not in stranger.get("/queue").text
        assert stranger.get(f"/queue/episode/{episode}").status_code == 404
    with product.signed_in(ana) as nurse:
        queue = nurse.get("/queue").text
        assert "Maria Journey" in queue
        assert "192" in queue
        csrf = {"csrf": nurse.csrf}
        assert (
            nurse.post(f"/queue/patient/{maria}/claim", data={**csrf, "queue": "clinical"}).status_code == 200
        )
        seen = product.one("SELECT number FROM alerts.episode WHERE episode_id = %s", episode)
        settled = nurse.post(
            f"/queue/episode/{episode}/settle",
            data={
                **csrf,
                "seen": seen,
                "code": "contacted",
                "note": "Missed two tablets; repeats in five minutes.",
                "task": "true",
            },
        )
        assert settled.status_code == 200, settled.text
        task = product.until("SELECT min(task_id::text) FROM ccm.task WHERE episode_id = %s", episode)

        # 4. The work, with its minutes.
        start = datetime.now(PRACTICE_ZONE) - timedelta(minutes=30)
        logged = nurse.post(
            "/entries",
            data={
                **csrf,
                "entry_id": "7b0f7a52-62a3-4d67-9f6e-6f1b0a2f4f01",
                "patient_id": str(maria),
                "task_id": task,
                "start": f"{start:%Y-%m-%dT%H:%M}",
                "end": f"{start + timedelta(minutes=21):%Y-%m-%dT%H:%M}",
                "activity": "symptom_review",
                "program": "CCM",
                "problem": "Hypertension",
                "contact": "phone",
                "contact_with": "patient",
                "interactive": "yes",
                "note": "Called about the high morning reading, reviewed the pill box together.",
                "outcome": "Repeat 148/92; tablets taken.",
                "attested": "yes",
                "back": f"/tasks/{task}",
            },
        )
        assert logged.status_code == 200, logged.text
        month = f"{start:%Y-%m}"
        nurse.post(
            f"/month/{month}/patient/{maria}/check",
            data={**csrf, "note": "No other billers, stays or hospice."},
        )

        # 5. The month supports the code, and says why.
        page = nurse.get(f"/month/{month}/patient/{maria}").text
        assert "99490" in page
        claims = list(csv.DictReader(io.StringIO(nurse.get(f"/month/{month}/claims.csv").text)))
        assert [c for c in claims if "99490" in c.values()], claims

    # 6. Back from the minutes to the bytes.
    entry_task, entry_readings = product.rows(
        "SELECT task_id::text, readings FROM ccm.time_entry WHERE patient_id = %s", maria
    )[0]
    assert entry_task == task
    told = product.rows(
        "SELECT event_id, caused_by, readings FROM ccm.episode_move WHERE episode_id = %s ORDER BY number",
        episode,
    )
    opened = told[0]
    score, reading = product.rows(
        "SELECT event_id, reading_id FROM risk.score WHERE event_id = %s", opened[1]
    )[0]
    assert reading in opened[2]
    assert reading in entry_readings
    raw, caused_by, effective_at = product.rows(
        "SELECT raw, caused_by, effective_at FROM ingest.reading WHERE event_id = %s", reading
    )[0]
    assert abs(effective_at - last) < timedelta(seconds=1)
    sent = msgspec.json.decode(bytes(raw))
    assert UUID(sent["id"]) == caused_by
    line = next(entry for entry in entries(Form.PRESSURES, lines) if entry.fields.get("systolic") == 192)
    assert line.line in _original(bytes(raw), sent)
    assert score == opened[1]


def _original(raw: bytes, sent: dict) -> str:
    """The device's own words as the message carries them."""
    return base64.b64decode(sent["raw"]).decode() if "raw" in sent else raw.decode()
