"""Two practices on the real database: Ana and Ben are nurses of the first, Chris works at the other and must see nothing."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg

from alerts.acts import Act, Person
from alerts.events import EpisodeMoved
from alerts.policy import DEFAULT
from alerts.service import AlertsRoom
from alerts.stream import Bell
from alerts.web import router
from deploy import database
from deploy.settings import Secret
from deploy.web import session
from deploy.web.frame import Desk
from deploy.web.site import site
from risk.events import Scored
from tests.unit.alerts.ward import a_score, when

ZONE = "America/New_York"
ZERO = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass
class Clinic:
    """Ids of everybody, and the two ways in: as the pipeline, as the web under one practice's row-level security."""

    pipeline_dsn: str
    web_dsn: str
    staff: dict[str, Person] = field(default_factory=dict)
    patients: dict[str, UUID] = field(default_factory=dict)
    room: AlertsRoom = field(default_factory=AlertsRoom)

    @asynccontextmanager
    async def pipeline(self):
        async with (
            await psycopg.AsyncConnection.connect(self.pipeline_dsn, options="-c timezone=UTC") as conn,
            conn.transaction(),
        ):
            yield conn

    @asynccontextmanager
    async def web(self, practice_id=1):
        async with (
            await psycopg.AsyncConnection.connect(self.web_dsn, options="-c timezone=UTC") as conn,
            conn.transaction(),
        ):
            await conn.execute("SELECT set_config('app.practice_id', %s, true)", (str(practice_id),))
            yield conn

    async def new_patient(self, key: str, name: str, practice: int = 1) -> None:
        async with self.pipeline() as conn:
            self.patients[key] = uuid4()
            await conn.execute(
                "INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone) VALUES (%s,%s,%s,%s,%s,%s)",
                (self.patients[key], practice, f"M{key}", name, date(1951, 3, 2), ZONE),
            )

    def act(self, name="ana", *, now: datetime = ZERO) -> Act:
        return Act(act_id=uuid4(), person=self.staff[name], policy=DEFAULT, now=now)

    async def tell(self, *scores: Scored, now: datetime | None = None) -> list[EpisodeMoved]:
        """What the pump does with a batch, without its bookkeeping."""
        async with self.pipeline() as conn:
            return list(await self.room.handle(conn, scores, now=now or max(s.received_at for s in scores)))

    def score(self, at: str, *findings, patient: str = "maria", **changes) -> Scored:
        practice = 2 if patient == "oto" else 1
        return a_score(at, *findings, patient=self.patients[patient], practice_id=practice, **changes)

    async def rows(self, query: str, *args) -> list[tuple]:
        async with self.pipeline() as conn:
            return await (await conn.execute(query, args)).fetchall()

    async def outbox(self) -> list[EpisodeMoved]:
        rows = await self.rows("SELECT payload FROM pump.outbox WHERE room = 'alerts' ORDER BY seq")
        return [msgspec.json.decode(payload, type=EpisodeMoved) for (payload,) in rows]


STAFF = {"ana": ("Ana Lima", "nurse", 1), "ben": ("Ben Roth", "nurse", 1), "dora": ("Dora Weiss", "physician", 1),
         "eve": ("Eve Holm", "coordinator", 1), "aud": ("Abel Udo", "auditor", 1), "adm": ("Ada Mintz", "admin", 1),
         "chris": ("Chris Vale", "nurse", 2)}  # fmt: skip
PATIENTS = {"maria": ("Maria Lopes", 1), "jon": ("Jon Berg", 1), "oto": ("Oto Novak", 2)}


async def a_clinic(database) -> Clinic:
    clinic = Clinic(database.pipeline, database.web)
    async with clinic.pipeline() as conn:
        for number in (1, 2):
            await conn.execute(
                "INSERT INTO who.practice VALUES (%s, %s, %s)", (number, f"Practice {number}", ZONE)
            )
        for key, (name, role, practice) in STAFF.items():
            person = Person(staff_id=uuid4(), name=name, role=role, zone=ZONE)
            clinic.staff[key] = person
            await conn.execute(
                "INSERT INTO who.staff (staff_id, practice_id, email, name, role, password_hash) VALUES (%s,%s,%s,%s,%s,'x')",
                (person.staff_id, practice, f"{key}@example.org", name, role),
            )
    for key, (name, practice) in PATIENTS.items():
        await clinic.new_patient(key, name, practice)
    return clinic


# The site in front of it --------------------------------------------------------------------------------------------

HERE = "http://testserver"


class Hands:
    """One signed-in person's browser, without JavaScript unless `htmx` is asked for."""

    def __init__(self, client, csrf):
        self.client, self.csrf = client, csrf

    async def get(self, url, **headers):
        return await self.client.get(url, headers=headers)

    async def post(self, url, *, htmx=False, **fields):
        headers = {"origin": HERE} | ({"hx-request": "true"} if htmx else {})
        return await self.client.post(url, data={"csrf": self.csrf, **fields}, headers=headers)


class Site:
    """The product's own frame and these screens, on a clock the test owns."""

    def __init__(self, clinic, pool, bell):
        self.clinic, self.pool, self.bell, self.now = clinic, pool, bell, when("09:10")
        self.desk = Desk(pool=pool, clock=lambda: self.now, rooms=("alerts",), links=(), secure=False)
        self.app = site(self.desk, [router(self.desk, bell)], static=("alerts", "ccm_bridge"))

    @asynccontextmanager
    async def hands(self, name):
        """Somebody signed in: the session is written as the frame writes it, without the price of hashing."""
        token, csrf = f"token-{name}", f"csrf-{name}"
        async with self.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO who.session (token_hash, staff_id, csrf, created_at, seen_at) VALUES (%s,%s,%s,%s,%s) ON CONFLICT DO NOTHING",
                (session.token_hash(token), self.clinic.staff[name].staff_id, csrf, self.now, self.now),
            )
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=HERE, cookies={self.desk.cookie: token}
        ) as client:
            yield Hands(client, csrf)


@asynccontextmanager
async def a_site(clinic):
    stopping = asyncio.Event()
    async with database.pool(Secret(clinic.web_dsn), size=6) as pool, asyncio.TaskGroup() as group:
        bell = Bell(clinic.web_dsn)
        group.create_task(bell.run(stopping))
        try:
            yield Site(clinic, pool, bell)
        finally:
            stopping.set()
