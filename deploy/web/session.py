"""Server-side sessions and sign-in: an opaque cookie, its hash in the database, revocable at once."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg_pool import AsyncConnectionPool

from deploy.database import borrowed

IDLE = timedelta(minutes=15)  # since a person last asked for something or touched a page
ABSOLUTE = timedelta(hours=12)
FREE_TRIES = 5  # failures in the window before an account must wait
WINDOW = timedelta(minutes=15)

_hasher = PasswordHasher()  # argon2id, the library's current defaults
_weighing = ThreadPoolExecutor(
    2, "weighing"
)  # 64 MB and a core each: a flood of guesses waits here, nobody else does


@cache
def _nobody() -> str:
    """A hash that no password has: unknown accounts cost the same time as known ones."""
    return _hasher.hash(secrets.token_urlsafe(16))


class Outcome(StrEnum):
    SIGNED_IN = "signed-in"
    REFUSED = "refused"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The signed-in person, for the length of a request."""

    staff_id: UUID
    name: str
    role: str  # nurse, coordinator, physician, admin, auditor
    credential: str | None
    practice_id: int
    practice_name: str
    zone: str
    csrf: str


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def sign_in(
    pool: AsyncConnectionPool, email: str, password: str, *, now: datetime
) -> tuple[Outcome, str]:
    """(outcome, cookie token or ""). The same answer and time for an unknown person and a wrong password.

    1. Under the account's lock: count the failures, and write this attempt down as one; commit. Guesses made at the
       same time see each other.
    2. Weigh the password, which takes a while, holding neither connection nor lock.
    3. A right one turns its attempt into a success and opens the session.
    """
    account, attempt = hashlib.sha256(email.strip().lower().encode()).digest(), uuid4()
    async with borrowed(pool) as conn, conn.transaction():
        await conn.execute(
            "SELECT pg_advisory_xact_lock(%s)", (int.from_bytes(account[:8], "big", signed=True),)
        )
        row = await (
            await conn.execute(
                """SELECT count(*), max(at) FROM who.sign_in_attempt
                    WHERE account_hash = %s AND at > %s AND NOT succeeded""",
                (account, now - WINDOW),
            )
        ).fetchone()
        failures, last = row or (0, None)
        if (
            failures >= FREE_TRIES
            and last
            and now < last + timedelta(seconds=2 ** min(failures - FREE_TRIES, 9))
        ):
            return Outcome.WAIT, ""
        await conn.execute(
            "INSERT INTO who.sign_in_attempt (attempt_id, account_hash, at, succeeded) VALUES (%s, %s, %s, false)",
            (attempt, account, now),
        )
        person = await (
            await conn.execute("SELECT staff_id, password_hash FROM who.find_staff(%s)", (email.strip(),))
        ).fetchone()
    hashed = person[1] if person else None
    right = await asyncio.get_running_loop().run_in_executor(_weighing, _verify, hashed, password)
    if not right or person is None:
        return Outcome.REFUSED, ""
    token = secrets.token_urlsafe(32)
    async with borrowed(pool) as conn, conn.transaction():
        await conn.execute(
            "UPDATE who.sign_in_attempt SET succeeded = true WHERE attempt_id = %s", (attempt,)
        )
        await conn.execute(
            "INSERT INTO who.session (token_hash, staff_id, csrf, created_at, seen_at) VALUES (%s, %s, %s, %s, %s)",
            (token_hash(token), person[0], secrets.token_urlsafe(24), now, now),
        )
    return Outcome.SIGNED_IN, token


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        return _hasher.verify(password_hash or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False


async def find(pool: AsyncConnectionPool, token: str, *, now: datetime, renew: bool = True) -> Who | None:
    """The person behind a cookie, or None when the session ended, idled out or grew too old.

    `renew`: a person asked. What a page asks by itself (a live list, a stream) proves nobody's presence.
    """
    async with borrowed(pool) as conn:
        row = await (
            await conn.execute(
                """SELECT staff_id, name, role, credential, practice_id, practice_name, zone, csrf, created_at, seen_at
                     FROM who.find_session(%s)""",
                (token_hash(token),),
            )
        ).fetchone()
        if row is None:
            return None
        *person, created_at, seen_at = row
        if now - seen_at > IDLE or now - created_at > ABSOLUTE:
            await end(pool, token, now=now)
            return None
        if renew and now - seen_at > timedelta(seconds=30):
            await conn.execute(
                "UPDATE who.session SET seen_at = %s WHERE token_hash = %s", (now, token_hash(token))
            )
        names = ("staff_id", "name", "role", "credential", "practice_id", "practice_name", "zone", "csrf")
        return Who(**dict(zip(names, person, strict=True)))


async def end(pool: AsyncConnectionPool, token: str, *, now: datetime) -> None:
    async with borrowed(pool) as conn:
        await conn.execute(
            "UPDATE who.session SET ended_at = %s WHERE token_hash = %s AND ended_at IS NULL",
            (now, token_hash(token)),
        )
