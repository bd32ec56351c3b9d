"""The fleet's SQL: requests and their answers, revocations, commands. Every write names the state it expects."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from ingest import wire
from ingest.events import fact_id
from ingest.fleet import Request

MOST_WAITING = 20  # requests of one practice: whoever floods it shuts out newcomers, not gateways that work
WAITS = timedelta(days=7)
RENEWS = timedelta(hours=1)  # between two renewals of one gateway
TELL_AGAIN = timedelta(seconds=60)
FORGOTTEN = timedelta(days=7)  # a command nobody answered is no longer told


class Standing(NamedTuple):
    """How a request stands."""

    state: str
    certificate: str | None
    authority: str | None


class Told(NamedTuple):
    """A command that is due."""

    command_id: UUID
    gateway_id: str
    payload: bytes


async def ask(conn: psycopg.AsyncConnection, request: Request, *, practice_id: int, now: datetime) -> bool:
    """Write a request down for the practice's admin; False: too many wait there already, or there is no such practice."""
    done = await conn.execute(
        """INSERT INTO ingest.enrolment (request_id, practice_id, gateway_id, request, fingerprint, state, asked_at)
           SELECT %(id)s, practice_id, %(gateway)s, %(pem)s, %(print)s, 'waiting', %(now)s FROM who.practice
            WHERE practice_id = %(practice)s
              AND (SELECT count(*) FROM ingest.enrolment WHERE practice_id = %(practice)s AND state = 'waiting'
                                                          AND asked_at > %(now)s - %(waits)s) < %(most)s
           ON CONFLICT (request_id) DO UPDATE SET asked_at = ingest.enrolment.asked_at""",
        {
            "id": request.request_id,
            "gateway": request.gateway_id,
            "pem": request.pem,
            "print": request.fingerprint,
            "practice": practice_id,
            "now": now,
            "waits": WAITS,
            "most": MOST_WAITING,
        },
    )
    return done.rowcount == 1


async def standing(conn: psycopg.AsyncConnection, request_id: UUID) -> Standing | None:
    row = await (
        await conn.execute(
            "SELECT state, certificate, authority FROM ingest.enrolment WHERE request_id = %s", (request_id,)
        )
    ).fetchone()
    return None if row is None else Standing(*row)


async def approve(conn: psycopg.AsyncConnection, request_id: UUID, *, by: str, now: datetime) -> str | None:
    """Let a waiting request be signed; returns in one sentence why not, if not.

    1. The request waits no more. 2. The gateway is registered with the request's practice. 3. Certificates it had
    before are revoked, for this is another key: a replaced gateway keeps its name, its devices and their patients.
    """
    trouble = "this request no longer waits"
    async with conn.transaction():  # all three or none
        row = await (
            await conn.execute(
                """UPDATE ingest.enrolment SET state = 'approved', decided_at = %s, decided_by = %s
                    WHERE request_id = %s AND state = 'waiting' RETURNING gateway_id, practice_id""",
                (now, by, request_id),
            )
        ).fetchone()
        if row is not None:
            trouble = await _register(conn, *row, now=now)
        if trouble:
            raise psycopg.Rollback
    return trouble or None


async def _register(
    conn: psycopg.AsyncConnection, gateway_id: str, practice_id: int, *, now: datetime
) -> str:
    await conn.execute(
        "INSERT INTO ingest.gateway (gateway_id, practice_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (gateway_id, practice_id),
    )
    ours = await conn.execute(
        """UPDATE ingest.gateway SET revoked_at = NULL WHERE gateway_id = %s AND practice_id = %s
              AND NOT EXISTS (SELECT FROM ingest.webhook WHERE source_id = %s)""",
        (gateway_id, practice_id, gateway_id),
    )
    if ours.rowcount != 1:
        return "this name belongs to another practice's gateway or to a vendor's cloud: enrol under another"
    await conn.execute(
        """UPDATE ingest.enrolment SET revoked_at = %s
            WHERE gateway_id = %s AND state = 'issued' AND revoked_at IS NULL""",
        (now, gateway_id),
    )
    return ""


async def refuse(conn: psycopg.AsyncConnection, request_id: UUID, *, by: str, now: datetime) -> bool:
    done = await conn.execute(
        """UPDATE ingest.enrolment SET state = 'refused', decided_at = %s, decided_by = %s
            WHERE request_id = %s AND state = 'waiting'""",
        (now, by, request_id),
    )
    return done.rowcount == 1


async def revoke(conn: psycopg.AsyncConnection, gateway_id: str, *, now: datetime) -> bool:
    """Nothing this gateway brings is anybody's from now on, and its certificates are to be listed as revoked."""
    done = await conn.execute(
        "UPDATE ingest.gateway SET revoked_at = %s WHERE gateway_id = %s AND revoked_at IS NULL",
        (now, gateway_id),
    )
    if done.rowcount != 1:
        return False
    await conn.execute(
        """UPDATE ingest.enrolment SET revoked_at = %s
            WHERE gateway_id = %s AND state = 'issued' AND revoked_at IS NULL""",
        (now, gateway_id),
    )
    return True


async def renew(conn: psycopg.AsyncConnection, gateway_id: str, request: Request, *, now: datetime) -> bool:
    """A renewal over the gateway's own line needs nobody's yes, but a gateway that is known and not revoked."""
    if request.gateway_id != gateway_id:
        return False
    done = await conn.execute(
        """INSERT INTO ingest.enrolment
                  (request_id, practice_id, gateway_id, request, fingerprint, renewal, state,
                   asked_at, decided_at, decided_by)
           SELECT %(id)s, practice_id, gateway_id, %(pem)s, %(print)s, true, 'approved', %(now)s, %(now)s, 'renewal'
             FROM ingest.gateway WHERE gateway_id = %(gateway)s AND revoked_at IS NULL
              AND NOT EXISTS (SELECT FROM ingest.enrolment WHERE gateway_id = %(gateway)s AND renewal
                                                              AND asked_at > %(now)s - %(pause)s)
           ON CONFLICT DO NOTHING""",
        {
            "id": request.request_id,
            "pem": request.pem,
            "print": request.fingerprint,
            "gateway": gateway_id,
            "now": now,
            "pause": RENEWS,
        },
    )
    return done.rowcount == 1


# What the authority does ---------------------------------------------------------------------------------------------


class Approved(NamedTuple):
    request_id: UUID
    practice_id: int
    gateway_id: str
    request: str
    renewal: bool


async def approved(conn: psycopg.AsyncConnection) -> Sequence[Approved]:
    """Requests to be signed, each locked until the transaction ends."""
    cursor = await conn.execute(
        """SELECT request_id, practice_id, gateway_id, request, renewal FROM ingest.enrolment
            WHERE state = 'approved' ORDER BY asked_at LIMIT 50 FOR UPDATE SKIP LOCKED"""
    )
    return [Approved(*row) for row in await cursor.fetchall()]


async def issued(
    conn: psycopg.AsyncConnection,
    what: Approved,
    *,
    certificate: str,
    authority: str,
    serial: str,
    ends_at: datetime,
    now: datetime,
) -> bool:
    """Write the certificate down; a renewal's is also sent to the gateway. False: it was not approved any more."""
    done = await conn.execute(
        """UPDATE ingest.enrolment SET state = 'issued', certificate = %s, authority = %s, serial = %s, ends_at = %s
            WHERE request_id = %s AND state = 'approved'""",
        (certificate, authority, serial, ends_at, what.request_id),
    )
    if done.rowcount != 1:
        return False
    await conn.execute(
        "UPDATE ingest.gateway SET certificate_ends = %s WHERE gateway_id = %s", (ends_at, what.gateway_id)
    )
    if what.renewal:
        command = wire.Certificate(id=fact_id("certificate", serial), certificate=certificate)
        await tell(conn, what.gateway_id, command, practice_id=what.practice_id, by="authority", now=now)
    return True


async def unsignable(conn: psycopg.AsyncConnection, what: Approved) -> None:
    await conn.execute(
        "UPDATE ingest.enrolment SET state = 'refused' WHERE request_id = %s AND state = 'approved'",
        (what.request_id,),
    )


async def revoked(conn: psycopg.AsyncConnection, *, now: datetime) -> Sequence[tuple[str, str | None]]:
    """Gateway and serial (None: issued before there was this table) of everything that must be on the list."""
    cursor = await conn.execute(
        """SELECT gateway_id, serial FROM ingest.enrolment WHERE revoked_at IS NOT NULL AND serial IS NOT NULL
                                                             AND ends_at > %s
           UNION SELECT gateway_id, NULL FROM ingest.gateway WHERE revoked_at IS NOT NULL""",
        (now,),
    )
    return await cursor.fetchall()


# Commands ------------------------------------------------------------------------------------------------------------


async def tell(
    conn: psycopg.AsyncConnection,
    gateway_id: str,
    command: wire.Command,
    *,
    practice_id: int | None = None,
    by: str,
    now: datetime,
) -> bool:
    """Write down what a gateway shall do; ingest tells it as soon as it is there. False: there is no such gateway."""
    known = await (
        await conn.execute(
            "SELECT practice_id FROM ingest.gateway WHERE gateway_id = %s AND revoked_at IS NULL",
            (gateway_id,),
        )
    ).fetchone()
    if known is None or practice_id not in (None, known[0]):
        return False
    said = msgspec.to_builtins(command)
    await conn.execute(
        """INSERT INTO ingest.command (command_id, practice_id, gateway_id, kind, payload, asked_at, asked_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        (command.id, known[0], gateway_id, said["command"], Jsonb(said), now, by),
    )
    return True


async def due(conn: psycopg.AsyncConnection, *, now: datetime) -> Sequence[Told]:
    """Commands to be said now: to gateways that are there, again every minute until they answer."""
    cursor = await conn.execute(
        """UPDATE ingest.command c SET told_at = %(now)s, times_told = times_told + 1
             FROM ingest.gateway g
            WHERE g.gateway_id = c.gateway_id AND g.online AND g.revoked_at IS NULL
              AND c.answered_at IS NULL AND c.asked_at > %(now)s - %(forgotten)s
              AND (c.told_at IS NULL OR c.told_at < %(now)s - %(again)s)
           RETURNING c.command_id, c.gateway_id, c.payload""",
        {"now": now, "forgotten": FORGOTTEN, "again": TELL_AGAIN},
    )
    return [
        Told(one, gateway, msgspec.json.encode(payload)) for one, gateway, payload in await cursor.fetchall()
    ]


async def answered(conn: psycopg.AsyncConnection, gateway_id: str, done: wire.Done, *, now: datetime) -> bool:
    """The gateway's answer; only its own commands, and only the first answer."""
    found = await conn.execute(
        """UPDATE ingest.command SET answered_at = %s, outcome = %s, detail = %s
            WHERE command_id = %s AND gateway_id = %s AND answered_at IS NULL""",
        (now, "ack" if done.ok else "nack", done.detail, done.id, gateway_id),
    )
    return found.rowcount == 1
