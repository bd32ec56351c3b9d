"""The accounts of the house: practices, those who sign in, patients; and how staff are reached when nobody comes."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from deploy.database import Connection
from deploy.entries import Patient, Role, Wrong


class Practice(NamedTuple):
    practice_id: int
    name: str
    zone: str
    patients: int


class Person(NamedTuple):
    practice_id: int
    email: str
    name: str
    role: str
    credential: str | None
    active: bool


class Staff:
    """Addresses of the practice's people, as far as their accounts are active."""

    async def addresses(
        self, conn: Connection, practice_id: int, *, staff: Collection[UUID] = (), role: str | None = None
    ) -> Sequence[str]:
        rows = await conn.execute(
            """SELECT email FROM who.staff
                WHERE practice_id = %s AND active AND (staff_id = ANY(%s) OR role = %s) ORDER BY email""",
            (practice_id, list(staff), role),
        )
        return [email for (email,) in await rows.fetchall()]


async def practices(conn: Connection) -> list[Practice]:
    rows = await conn.execute(
        """SELECT practice_id, name, zone, (SELECT count(*) FROM who.patient t WHERE t.practice_id = p.practice_id)
             FROM who.practice p ORDER BY practice_id"""
    )
    return [Practice(*row) for row in await rows.fetchall()]


async def staff(conn: Connection, practice_id: int | None = None) -> list[Person]:
    rows = await conn.execute(
        """SELECT practice_id, email, name, role, credential, active FROM who.staff
            WHERE practice_id = coalesce(%s, practice_id) ORDER BY practice_id, name""",
        (practice_id,),
    )
    return [Person(*row) for row in await rows.fetchall()]


async def add_practice(conn: Connection, name: str, zone: str) -> int:
    """The practice's number: the next one. Two who add at once wait for each other."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('who.practice'))")
        row = await (
            await conn.execute(
                """INSERT INTO who.practice (practice_id, name, zone)
                   SELECT coalesce(max(practice_id), 0) + 1, %s, %s FROM who.practice RETURNING practice_id""",
                (name, zone),
            )
        ).fetchone()
    assert row is not None  # noqa: S101 - an insert returns its row
    return int(row[0])


async def add_staff(
    conn: Connection,
    practice_id: int,
    email: str,
    *,
    name: str,
    role: Role,
    credential: str | None,
    password_hash: str,
) -> Wrong | None:
    """An account of that practice, or why not: an address is one person's, in all practices."""
    done = await conn.execute(
        """INSERT INTO who.staff (staff_id, practice_id, email, name, role, credential, password_hash)
           SELECT %s, practice_id, %s, %s, %s, %s, %s FROM who.practice WHERE practice_id = %s
           ON CONFLICT (email) DO NOTHING""",
        (uuid4(), email, name, role, credential, password_hash, practice_id),
    )
    if done.rowcount:
        return None
    there = await (await conn.execute("SELECT FROM who.staff WHERE email = %s", (email,))).fetchone()
    return Wrong(
        f"{email} has an account already" if there is not None else f"there is no practice {practice_id}"
    )


async def change_password(
    conn: Connection, email: str, password_hash: str, *, back: bool = False
) -> Wrong | None:
    """A new password; whoever was signed in is signed out. `back`: also for an account that was ended."""
    done = await conn.execute(
        """UPDATE who.staff SET password_hash = %s, active = true WHERE email = %s AND (active OR %s)
           RETURNING who.end_sessions(staff_id)""",
        (password_hash, email, back),
    )
    return None if done.rowcount else await _no_account(conn, email)


async def leave(conn: Connection, email: str) -> Wrong | None:
    """The person can sign in no more, from now on; what they did stays theirs."""
    done = await conn.execute(
        "UPDATE who.staff SET active = false WHERE email = %s AND active RETURNING who.end_sessions(staff_id)",
        (email,),
    )
    return None if done.rowcount else await _no_account(conn, email)


async def _no_account(conn: Connection, email: str) -> Wrong:
    row = await (await conn.execute("SELECT FROM who.staff WHERE email = %s", (email,))).fetchone()
    return Wrong(f"{email} has no account" if row is None else f"the account of {email} was ended")


class Added(NamedTuple):
    """What became of a patient's entry."""

    fresh: bool
    wrong: Wrong | None = None


async def add_patient(conn: Connection, practice_id: int, patient: Patient) -> Added:
    """Enter a patient. The same entry again changes nothing; another one under a record number in use is refused."""
    done = await conn.execute(
        """INSERT INTO who.patient (patient_id, practice_id, mrn, name, born, zone)
           SELECT %s, practice_id, %s, %s, %s, %s FROM who.practice WHERE practice_id = %s
           ON CONFLICT (practice_id, mrn) DO NOTHING""",
        (uuid4(), patient.mrn, patient.name, patient.born, patient.zone, practice_id),
    )
    if done.rowcount:
        return Added(fresh=True)
    row = await (
        await conn.execute(
            "SELECT mrn, name, born, zone FROM who.patient WHERE practice_id = %s AND mrn = %s",
            (practice_id, patient.mrn),
        )
    ).fetchone()
    if row is None:
        return Added(fresh=False, wrong=Wrong(f"there is no practice {practice_id}"))
    mrn, name, born, zone = row
    there = Patient(mrn=mrn, name=name, born=born, zone=zone)
    return Added(
        fresh=False, wrong=None if there == patient else Wrong(f"{mrn} is {name}, born {born}, {zone}")
    )
