"""The SQL of vendors' clouds: sources with their sealed secrets, accounts with their tokens, fetches that wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from ingest.seal import Seal
from ingest.store import OUTAGES, Away
from ingest.webhooks import Scheme, Source, Vendor, Waiting

LEASE = timedelta(
    minutes=5
)  # of a turn, a few calls of 20 s; a process that died with it is waited for as long
LONGEST = timedelta(hours=1)  # between two tries


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What lets us fetch one person's data; the vendor gives new ones each time they are used to renew."""

    access: str
    refresh: str

    def __repr__(self) -> str:
        return "Tokens(***)"


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are at the vendor."""

    client_id: str
    client_secret: str
    more: dict[
        str, str
    ] = {}  # what else a vendor gives its clients (iHealth: redirect_uri, sc, sv_bp, sv_glucose)

    def __repr__(self) -> str:
        return f"Client({self.client_id!r})"


class Account(NamedTuple):
    """A person at a vendor, and the keys to their data."""

    source_id: str
    account: str
    vendor: Vendor
    client: Client
    tokens: Tokens


class Turn(NamedTuple):
    """A fetch that is ours for as long as LEASE."""

    what: Waiting
    asked_at: datetime  # the vendor's latest word that data waits
    reached: str  # where the turn before stopped; empty: at the start


class Webhooks:
    """Sources, accounts and fetches, out of PostgreSQL. Raises `store.Away` while that is away."""

    def __init__(self, pool: AsyncConnectionPool, seal: Seal) -> None:
        self._pool, self._seal = pool, seal

    async def source(self, source_id: str, vendor: Vendor) -> Source | None:
        """The source, if there is one of this vendor."""
        if not source_id.isprintable():
            return None  # no database keeps a NUL: nobody has such a name
        async with self._borrowed() as conn:
            row = await (
                await conn.execute(
                    "SELECT scheme, header, secret, former_secret FROM ingest.webhook WHERE source_id = %s AND vendor = %s",
                    (source_id, vendor.value),
                )
            ).fetchone()
        if row is None:
            return None
        scheme, header, *sealed = row
        secrets = tuple(self._seal.open(bytes(one)) for one in sealed if one is not None)
        return Source(
            source_id=source_id, vendor=vendor, scheme=Scheme(scheme), header=header, secrets=secrets
        )

    async def add(self, source: Source, *, practice_id: int, client: Client | None) -> bool:
        """Register a source; False if its id is taken, by a gateway or by another source."""
        async with self._borrowed() as conn:
            made = await conn.execute(
                "INSERT INTO ingest.gateway (gateway_id, practice_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (source.source_id, practice_id),
            )
            if made.rowcount != 1:
                return False
            await conn.execute(
                """INSERT INTO ingest.webhook (source_id, practice_id, vendor, scheme, header, secret, client)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                (
                    source.source_id,
                    practice_id,
                    source.vendor.value,
                    source.scheme.value,
                    source.header,
                    self._seal.close(source.secrets[0]),
                    self._sealed(client),
                ),
            )
            return True

    async def rotate(self, source_id: str, secret: str | None) -> bool:
        """A new secret, the present one valid beside it; None: the former one is valid no longer."""
        async with self._borrowed() as conn:
            if secret is None:
                done = await conn.execute(
                    "UPDATE ingest.webhook SET former_secret = NULL WHERE source_id = %s AND former_secret IS NOT NULL",
                    (source_id,),
                )
            else:
                done = await conn.execute(
                    "UPDATE ingest.webhook SET former_secret = secret, secret = %s WHERE source_id = %s",
                    (self._seal.close(secret), source_id),
                )
            return done.rowcount == 1

    # -- what is fetched -----------------------------------------------------------------------------------------------

    async def connect(self, source_id: str, account: str, tokens: Tokens) -> bool:
        """Remember how to fetch an account's data; False if the source is unknown."""
        async with self._borrowed() as conn:
            done = await conn.execute(
                """INSERT INTO ingest.webhook_account (source_id, account, practice_id, tokens)
                   SELECT source_id, %s, practice_id, %s FROM ingest.webhook WHERE source_id = %s
                   ON CONFLICT (source_id, account) DO UPDATE SET tokens = excluded.tokens, renewed_at = now()""",
                (account, self._sealed(tokens), source_id),
            )
            return done.rowcount == 1

    async def account(self, source_id: str, account: str) -> Account | None:
        async with self._borrowed() as conn:
            row = await (
                await conn.execute(
                    """SELECT w.vendor, w.client, a.tokens
                         FROM ingest.webhook_account a JOIN ingest.webhook w USING (source_id)
                        WHERE a.source_id = %s AND a.account = %s AND w.client IS NOT NULL""",
                    (source_id, account),
                )
            ).fetchone()
        if row is None:
            return None
        client, tokens = (self._seal.open(bytes(one)) for one in row[1:])
        return Account(
            source_id,
            account,
            Vendor(row[0]),
            msgspec.json.decode(client, type=Client),
            msgspec.json.decode(tokens, type=Tokens),
        )

    async def wait_for(self, what: Waiting, *, now: datetime) -> None:
        """Write a fetch down; said again, it is fetched again, for nobody knows what came in between."""
        async with self._borrowed() as conn:
            await conn.execute(
                """INSERT INTO ingest.webhook_fetch
                          (fetch_id, source_id, practice_id, account, since, until, asked_at, due_at)
                   SELECT %(id)s, source_id, practice_id, %(account)s, %(since)s, %(until)s, %(now)s, %(now)s
                     FROM ingest.webhook WHERE source_id = %(source)s
                   ON CONFLICT (fetch_id) DO UPDATE SET due_at = excluded.due_at, asked_at = excluded.asked_at,
                                                        done_at = NULL, trouble = NULL, reached = ''""",
                {
                    "id": what.fetch_id,
                    "source": what.source_id,
                    "account": what.account,
                    "since": what.since,
                    "until": what.until,
                    "now": now,
                },
            )

    async def next(self, *, now: datetime) -> Turn | None:
        """Take the fetch that has waited longest, for as long as LEASE."""
        async with self._borrowed() as conn:
            row = await (
                await conn.execute(
                    """UPDATE ingest.webhook_fetch SET tries = tries + 1, due_at = %(now)s + %(lease)s
                        WHERE fetch_id = (SELECT fetch_id FROM ingest.webhook_fetch
                                           WHERE done_at IS NULL AND due_at <= %(now)s
                                           ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                       RETURNING fetch_id, source_id, account, since, until, asked_at, reached""",
                    {"now": now, "lease": LEASE},
                )
            ).fetchone()
        return None if row is None else Turn(Waiting(*row[:5]), *row[5:])

    async def goes_on(self, turn: Turn, reached: str, *, now: datetime) -> bool:
        """More waits behind `reached`, and is due now; unless the vendor spoke meanwhile: then from the start."""
        async with self._borrowed() as conn:
            done = await conn.execute(
                """UPDATE ingest.webhook_fetch SET reached = %s, due_at = %s, tries = 0, trouble = NULL
                    WHERE fetch_id = %s AND asked_at = %s AND done_at IS NULL""",
                (reached, now, turn.what.fetch_id, turn.asked_at),
            )
            return done.rowcount == 1

    async def fetched(self, turn: Turn, *, now: datetime) -> bool:
        """Done, unless the vendor said in the meantime that more waits: then it stays due."""
        async with self._borrowed() as conn:
            done = await conn.execute(
                """UPDATE ingest.webhook_fetch SET done_at = %s, trouble = NULL, tries = 0, reached = ''
                    WHERE fetch_id = %s AND asked_at = %s AND done_at IS NULL""",
                (now, turn.what.fetch_id, turn.asked_at),
            )
            return done.rowcount == 1

    async def later(self, what: Waiting, *, trouble: str, now: datetime) -> None:
        """Try again after a minute, then two, four, up to an hour."""
        async with self._borrowed() as conn:
            await conn.execute(
                """UPDATE ingest.webhook_fetch
                      SET trouble = %s,
                          due_at = %s + least(interval '1 minute' * power(2, greatest(least(tries, 10), 1) - 1), %s)
                    WHERE fetch_id = %s AND done_at IS NULL""",
                (trouble, now, LONGEST, what.fetch_id),
            )

    async def oldest(self) -> datetime | None:
        """Since when the longest-waiting fetch waits."""
        async with self._borrowed() as conn:
            row = await (
                await conn.execute("SELECT min(asked_at) FROM ingest.webhook_fetch WHERE done_at IS NULL")
            ).fetchone()
        found: datetime | None = row[0] if row is not None else None
        return found

    def _sealed(self, what: msgspec.Struct | None) -> bytes | None:
        return None if what is None else self._seal.close(msgspec.json.encode(what).decode())

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[psycopg.AsyncConnection]:
        try:
            async with self._pool.connection() as conn:
                yield conn
        except OUTAGES as error:
            raise Away(type(error).__name__) from error
