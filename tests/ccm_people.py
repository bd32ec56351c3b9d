"""Two practices on a database: Ana, Ben, Dora the physician and Maria in the first; Chris and Oto in the second."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

ZONE = "America/New_York"


@dataclass(frozen=True, kw_only=True)
class Person:
    staff_id: UUID
    name: str
    role: str
    credential: str | None
    practice_id: int
    practice_name: str = "Elm Street Family Practice"
    zone: str = ZONE


@dataclass(frozen=True, kw_only=True)
class People:
    ana: Person  # nurse
    ben: Person  # nurse
    cora: Person  # coordinator
    dora: Person  # physician
    fred: Person  # coordinator at the front desk, no clinical credential
    gail: Person  # practice admin
    hugo: Person  # auditor
    chris: Person  # nurse of the other practice
    maria: UUID
    nora: UUID
    oto: UUID  # patient of the other practice
    web: str

    @asynccontextmanager
    async def desk(self, who: Person) -> AsyncIterator[psycopg.AsyncConnection]:
        """One transaction as the web has it: the person's practice and nothing else."""
        async with await psycopg.AsyncConnection.connect(self.web) as conn:
            await conn.execute("SELECT set_config('app.practice_id', %s, true)", (str(who.practice_id),))
            yield conn


CAST = {
    "ana": ("Ana Ruiz", "nurse", "RN", 1),
    "ben": ("Ben Okafor", "nurse", "LPN", 1),
    "cora": ("Cora Lindqvist", "coordinator", "MA", 1),
    "dora": ("Dora Patel", "physician", "MD", 1),
    "fred": ("Fred Moss", "coordinator", None, 1),
    "gail": ("Gail Brandt", "admin", None, 1),
    "hugo": ("Hugo Sand", "auditor", None, 1),
    "chris": ("Chris Vale", "nurse", "RN", 2),
}


async def settle(pipeline: str, web: str) -> People:
    """Write both practices and everybody in them."""
    staff = {}
    patients = {"maria": (1, "Maria Gomez"), "nora": (1, "Nora Weiss"), "oto": (2, "Oto Blank")}
    ids = {key: uuid4() for key in patients}
    async with await psycopg.AsyncConnection.connect(pipeline, autocommit=True) as conn:
        for number, name in ((1, "Elm Street Family Practice"), (2, "Harbor Clinic")):
            await conn.execute("INSERT INTO who.practice VALUES (%s, %s, %s)", (number, name, ZONE))
        for key, (name, role, credential, practice) in CAST.items():
            staff[key] = Person(
                staff_id=uuid4(), name=name, role=role, credential=credential, practice_id=practice
            )
            await conn.execute(
                """INSERT INTO who.staff (staff_id, practice_id, email, name, role, credential, password_hash)
                   VALUES (%s, %s, %s, %s, %s, %s, 'x')""",
                (staff[key].staff_id, practice, f"{key}@example.org", name, role, credential),
            )
        for key, (practice, name) in patients.items():
            await conn.execute(
                """INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone)
                   VALUES (%s, %s, %s, %s, '1948-05-01', %s)""",
                (ids[key], practice, f"MRN-{key}", name, ZONE),
            )
    return People(**staff, **ids, web=web)
