"""The demo: two practices with their people, and patients whose recorded diaries the gateways play. Names are invented.

The readings are real people's (see `ingest/gateway/diaries/`); everything else here is made up to fit them.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import UUID, uuid4, uuid5
from zoneinfo import ZoneInfo

from alerts import page_store, rota_store
from alerts.page_store import Rung
from alerts.rota import Shift
from ccm_bridge.careplan import Content, Medicine, Problem, Step
from ccm_bridge.enrolment import Condition, Program
from ccm_bridge.month_service import attest_practice, enrol
from deploy import database
from deploy.database import Connection
from deploy.settings import Settings
from deploy.web.session import hash_password
from ingest.gateway.cast import Role, roles

NAMESPACE = UUID("0b9c1f44-6b7e-5a0e-8c0f-0d3a8f8f2b11")
PRACTICES = {
    1: ("Riverside Family Medicine", "America/Chicago"),
    2: ("Hillcrest Internal Medicine", "America/Los_Angeles"),
}
GATEWAYS = {"gw-harbor": 1, "gw-cedar": 2}
"""The two that play diaries, and whose they are."""

BY_HAND = ("gw-1", "cuff-1")
"""A gateway and a cuff for your own readings; the cuff is at the first patient's home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    practice: int
    email: str
    name: str
    role: str
    credential: str | None

    @property
    def staff_id(self) -> UUID:
        return uuid5(NAMESPACE, self.email)


STAFF = (
    Person(practice=1, email="ana@riverside.example", name="Ana Ruiz", role="nurse", credential="RN"),
    Person(practice=1, email="ben@riverside.example", name="Ben Okafor", role="nurse", credential="RN"),
    Person(
        practice=1, email="carla@riverside.example", name="Carla Weiss", role="coordinator", credential="LPN"
    ),
    Person(practice=1, email="dana@riverside.example", name="Dana Levin", role="physician", credential="MD"),
    Person(practice=1, email="eve@riverside.example", name="Eve Larsen", role="admin", credential=None),
    Person(practice=1, email="otto@riverside.example", name="Otto Brandt", role="auditor", credential=None),
    Person(practice=2, email="chris@hillcrest.example", name="Chris Amadi", role="nurse", credential="RN"),
    Person(
        practice=2, email="drew@hillcrest.example", name="Drew Castillo", role="physician", credential="MD"
    ),
)
PATIENTS = (
    ("Maria Delgado", date(1951, 4, 12)), ("Walter Hughes", date(1948, 9, 3)), ("Ruth Abramson", date(1944, 1, 27)),
    ("Samuel Price", date(1957, 6, 18)), ("Lin Zhao", date(1953, 11, 2)), ("Grace Mbeki", date(1949, 7, 21)),
    ("Peter Novak", date(1956, 2, 9)), ("Irene Castell", date(1946, 12, 30)), ("Harold Finch", date(1950, 5, 5)),
    ("Nadia Karim", date(1959, 8, 14)), ("Tomas Berg", date(1952, 3, 23)), ("Beatrice Lowe", date(1947, 10, 8)),
    ("Joseph Tan", date(1955, 1, 16)), ("Elena Petrov", date(1943, 6, 6)), ("Victor Mendes", date(1958, 4, 1)),
    ("Alice Monroe", date(1950, 2, 19)), ("Omar Haddad", date(1954, 9, 27)), ("Clara Jensen", date(1945, 3, 11)),
    ("Frank Osei", date(1951, 12, 5)), ("Yuki Arai", date(1956, 7, 30)),
)  # fmt: skip


def patient_of(role: Role) -> UUID:
    return uuid5(NAMESPACE, f"patient {role.device_id}")


async def seed(settings: Settings) -> str:
    """Create what is missing; safe to repeat. Returns one line about what there is."""
    assert settings.demo_file  # noqa: S101 - required by the caller
    password = _password(settings.demo_file)
    now = datetime.now(UTC)
    cast = roles()
    async with (
        database.pool(settings.database, size=1) as pool,
        pool.connection() as conn,
        conn.transaction(),
    ):
        await _practices(conn, password)
        for number, role in enumerate(cast):
            practice = GATEWAYS[role.gateway_id]
            name, born = PATIENTS[number]
            await conn.execute(
                """INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone)
                   VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
                (patient_of(role), practice, f"R-{1001 + number}", name, born, role.zone),
            )
            await _home(conn, practice, role.gateway_id, role.device_id, role.model, patient_of(role), now)
            await _enrol(conn, practice, patient_of(role), role.form, now)
        gateway, cuff = BY_HAND
        await _home(conn, 1, gateway, cuff, "Upper-arm cuff", patient_of(cast[0]), now, playback=False)
        for practice in PRACTICES:
            await _duty(conn, practice, now)
            physician = _one(practice, "physician")
            await attest_practice(
                conn,
                practice_id=practice,
                staff=(physician.staff_id, physician.name),
                from_day=date(2026, 1, 1),
                now=now,
            )
    return f"{len(cast)} patients with their devices in {len(PRACTICES)} practices"


DAY, NIGHT = time(7), time(19)
ROTA_DAYS = 14
CHAIN = (
    ("critical", 5, 15, "on-call"),
    ("critical", 30, 60, "role:physician"),
    ("high", 240, None, "on-call"),
)
"""Severity, minutes until somebody is called, minutes until called again, whom."""


async def _duty(conn: Connection, practice: int, now: datetime) -> None:
    """Two weeks of an on-call rota, nurses by day and the physician by night, and whom to call when nobody comes."""
    zone = ZoneInfo(PRACTICES[practice][1])
    nurses = [person for person in STAFF if person.practice == practice and person.role == "nurse"]
    physician = _one(practice, "physician")
    today = now.astimezone(zone).date()
    for n in range(-1, ROTA_DAYS):
        day = today + timedelta(days=n)
        turns = (nurses[day.toordinal() % len(nurses)], day, DAY, day, NIGHT), (
            physician, day, NIGHT, day + timedelta(days=1), DAY,
        )  # fmt: skip
        for person, from_day, begins, to_day, ends in turns:
            shift = Shift(
                shift_id=uuid4(),
                staff_id=person.staff_id,
                staff_name=person.name,
                starts_at=datetime.combine(from_day, begins, zone),
                ends_at=datetime.combine(to_day, ends, zone),
                added_by_name=physician.name,
            )
            await rota_store.add(conn, [shift], practice_id=practice, by=physician.staff_id, at=now)
    known = await conn.execute("SELECT count(*) FROM alerts.rung WHERE practice_id = %s", (practice,))
    if await known.fetchone() == (0,):
        for severity, wait, repeat, target in CHAIN:
            rung = Rung(
                rung_id=uuid4(),
                severity=severity,
                wait_minutes=wait,
                repeat_minutes=repeat,
                channel="email",
                target=target,
            )
            await page_store.add(conn, rung, practice_id=practice, by=physician.staff_id, at=now)


def sign_ins(demo_file: Path) -> list[str]:
    """One line for each person, with the demo's password."""
    password = _password(demo_file)
    width = max(len(person.email) for person in STAFF)
    return [f"{p.email:<{width}}  {password}  {p.role}, {PRACTICES[p.practice][0]}" for p in STAFF]


def _password(demo_file: Path) -> str:
    """The demo's one password: made at the first start, kept beside the data, readable by its owner only."""
    try:
        return str(json.loads(demo_file.read_text())["password"])
    except FileNotFoundError:
        password = f"lamp-{secrets.token_hex(4)}"
        demo_file.touch(mode=0o600)
        demo_file.write_text(
            json.dumps({"password": password, "sign_ins": [person.email for person in STAFF]}) + "\n"
        )
        return password


def _one(practice: int, role: str) -> Person:
    return next(person for person in STAFF if person.practice == practice and person.role == role)


async def _practices(conn: Connection, password: str) -> None:
    for number, (name, zone) in PRACTICES.items():
        await conn.execute(
            "INSERT INTO who.practice (practice_id, name, zone) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (number, name, zone),
        )
    for person in STAFF:
        await conn.execute(
            """INSERT INTO who.staff (staff_id, practice_id, email, name, role, credential, password_hash)
               VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
            (
                person.staff_id,
                person.practice,
                person.email,
                person.name,
                person.role,
                person.credential,
                hash_password(password),
            ),
        )


async def _home(
    conn: Connection,
    practice: int,
    gateway: str,
    device: str,
    model: str,
    patient_id: UUID,
    now: datetime,
    *,
    playback: bool = True,
) -> None:
    """The gateway, the device and whose it is: what an installation visit writes down."""
    await conn.execute(
        "INSERT INTO ingest.gateway (gateway_id, practice_id, playback) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (gateway, practice, playback),
    )
    await conn.execute(
        "INSERT INTO ingest.device (device_id, practice_id, family, model) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (device, practice, "canonical", model),
    )
    await conn.execute(
        """INSERT INTO ingest.device_assignment (device_id, practice_id, patient_id, period)
           SELECT %(device)s, %(practice)s, %(patient)s, tstzrange(%(since)s, NULL)
            WHERE NOT EXISTS (SELECT FROM ingest.device_assignment WHERE device_id = %(device)s)""",
        {"device": device, "practice": practice, "patient": patient_id, "since": now - timedelta(days=3650)},
    )


async def _enrol(conn: Connection, practice: int, patient_id: UUID, form: str, now: datetime) -> None:
    nurse, physician = _one(practice, "nurse"), _one(practice, "physician")
    glucose = form == "glucose"
    conditions = [
        Condition(icd10="I10", name="Essential hypertension", chronic_months=12),
        Condition(icd10="E11.65", name="Type 2 diabetes with hyperglycemia", chronic_months=12)
        if glucose
        else Condition(icd10="E78.5", name="Hyperlipidemia", chronic_months=12),
    ]
    problems = [
        Problem(
            name="Hypertension",
            icd10="I10",
            outcome="fewer days above goal, no falls",
            goal="home average below 130/80 mmHg",
            measured_by="home blood pressure, mornings and evenings",
            symptoms="dizziness or swelling: call the practice the same day",
        )
    ]
    if glucose:
        problems.append(
            Problem(
                name="Diabetes",
                icd10="E11.65",
                outcome="no lows below 70 mg/dL, fasting in range",
                goal="fasting 80 to 130 mg/dL",
                measured_by="fingersticks before meals and at bedtime",
                symptoms="shaky or sweating: 15 g of sugar, test again after 15 minutes",
            )
        )
    plan = Content(
        problems=tuple(problems),
        medicines=(
            Medicine(name="Lisinopril", dose="10 mg once a day", purpose="blood pressure"),
            *(
                [Medicine(name="Insulin glargine", dose="as prescribed, at bedtime", purpose="glucose")]
                if glucose
                else []
            ),
        ),
        allergies="none known",
        reconciled_on=(now - timedelta(days=92)).date(),
        interventions=(
            Step(what="review home readings and call when they drift", who=nurse.name, when="every week"),
            Step(what="adjust medicines", who=physician.name, when="when the nurse asks"),
        ),
        function="independent in daily activities",
        surroundings="lives with family, one flight of stairs",
        caregivers="a daughter helps with the pill box",
        community="senior centre meals, pharmacy delivery",
        preferences="wants to stay at home and keep gardening",
    )
    await enrol(
        conn,
        practice_id=practice,
        patient_id=patient_id,
        nurse=(nurse.staff_id, nurse.name),
        practitioner=(physician.staff_id, physician.name),
        programs=frozenset({Program.CCM, Program.RPM}),
        conditions=conditions,
        plan=plan,
        visit=(now - timedelta(days=120)).date(),
        consent_at=now - timedelta(days=95),
        plan_at=now - timedelta(days=90),
    )
