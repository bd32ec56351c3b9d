"""A practice's policy, version by version: the newest holds, and none is ever changed."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection

from alerts.policy import DEFAULT, Policy

_policy = msgspec.json.Decoder(Policy)


class Policies:
    """The policies in force, by practice; a practice that never said anything has the defaults."""

    def __init__(self, found: dict[int, Policy], otherwise: Policy = DEFAULT) -> None:
        self._found, self._otherwise = found, otherwise

    def of(self, practice_id: int) -> Policy:
        return self._found.get(practice_id, self._otherwise)


async def in_force(
    conn: AsyncConnection, practices: Collection[int], *, otherwise: Policy = DEFAULT
) -> Policies:
    """What holds now for these practices, in one query."""
    rows = await conn.execute(
        """SELECT DISTINCT ON (practice_id) practice_id, content::text FROM alerts.policy_version
            WHERE practice_id = ANY(%s) ORDER BY practice_id, version DESC""",
        (list(practices),),
    )
    return Policies({number: _policy.decode(text) for number, text in await rows.fetchall()}, otherwise)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One change: who made it, when and why."""

    version: int
    at: datetime
    by: UUID
    by_name: str
    why: str
    content: Policy


async def versions(conn: AsyncConnection, *, limit: int = 50) -> list[Version]:
    """Every change, newest first."""
    rows = await conn.execute(
        "SELECT row_to_json(v)::text FROM alerts.policy_version v ORDER BY version DESC LIMIT %s", (limit,)
    )
    return [msgspec.json.decode(text, type=Version) for (text,) in await rows.fetchall()]


async def add(conn: AsyncConnection, version: Version, *, practice_id: int) -> bool:
    """Put the next version in force; False if somebody else has put that one meanwhile."""
    try:
        async with conn.transaction():
            await conn.execute(
                """INSERT INTO alerts.policy_version (practice_id, version, at, by, by_name, why, content)
                   VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb)""",
                (practice_id, version.version, version.at, version.by, version.by_name, version.why,
                 msgspec.json.encode(version.content).decode()),
            )  # fmt: skip
    except psycopg.errors.UniqueViolation:
        return False
    return True
