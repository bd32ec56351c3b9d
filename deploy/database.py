"""PostgreSQL: pools, transactions and migrations. Row-level security is switched on per transaction, never per session."""

import asyncio
import contextlib
import io
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from importlib import resources
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from deploy.settings import Secret

log = structlog.get_logger()
T = TypeVar("T")
Connection = psycopg.AsyncConnection

OUTAGES = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
"""The database is away, was restarted, or threw us out: worth retrying; everything else is a fault of ours."""

TOO_SLOW = (psycopg.errors.IdleInTransactionSessionTimeout, psycopg.errors.QueryCanceled)
"""It ended our transaction because that took too long: worth retrying in smaller pieces."""

SLOWEST_S = 60
"""A statement of ours may take so long; the server ends it then."""

LINE: Mapping[str, int] = MappingProxyType(
    {
        "connect_timeout": 5,  # else a pool that dials into a dead line has no hands left when it is mended
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }
)
"""When the kernel calls a line dead, in seconds and milliseconds; left alone it takes a quarter of an hour to two hours."""


class Patient(Connection):
    """Waits for an answer as long as the server may take to give one, and not for ever.

    Behind a frozen server, or a router that swallows, the kernel sees a living line: ingest stood before such a line
    and answered nobody until it was restarted.
    """

    within_s: float = SLOWEST_S + 5

    async def wait(self, *told: Any, **more: Any) -> Any:
        """Raise OperationalError, the connection closed, when nothing came back in time."""
        try:
            async with asyncio.timeout(self.within_s):
                return await super().wait(*told, **more)
        except TimeoutError:
            raise psycopg.OperationalError(
                f"the database has not answered within {self.within_s:.0f} s"
            ) from None


def lively(dsn: Secret) -> str:
    """How to connect so that the kernel notices a dead line: for those who listen, and may hear nothing for hours."""
    return psycopg.conninfo.make_conninfo(dsn.reveal(), **LINE)


async def _ready(conn: Connection) -> None:
    """Refuse a server that may forget what it acknowledged."""
    for name in ("fsync", "synchronous_commit"):
        row = await (await conn.execute(f"SHOW {name}")).fetchone()
        if row is None or row[0] in ("off", "local"):
            raise RuntimeError(
                f"PostgreSQL runs with {name}={row and row[0]}: acknowledged work could be lost"
            )
    await conn.rollback()


@asynccontextmanager
async def pool(dsn: Secret, *, size: int = 4, frozen_after_s: int = 5) -> AsyncIterator[AsyncConnectionPool]:
    """An open pool. No per-checkout check: it made recovery from a restart take 13 s; see `steadily`.

    A process frozen inside a transaction loses it after `frozen_after_s`, so that it cannot hold a fence for ever.
    """
    options = (
        f"-c idle_in_transaction_session_timeout={frozen_after_s}s -c statement_timeout={SLOWEST_S}s -c timezone=UTC"
        " -c jit=off"  # our queries are short: compiling one took seconds
    )
    opened: AsyncConnectionPool = AsyncConnectionPool(
        dsn.reveal(),
        connection_class=Patient,
        min_size=1,
        max_size=size,
        open=False,
        timeout=10,
        kwargs={"options": options, "application_name": "lamplight", **LINE},
        configure=_ready,
    )
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close(timeout=3)


@asynccontextmanager
async def borrowed(pool: AsyncConnectionPool) -> AsyncIterator[Connection]:
    """A connection whose server has not hung up; commits when left without an error, as `pool.connection` does.

    A look at the socket and no question to the server: it says nothing unasked, so bytes that wait are its good-bye.
    Without it the first pages after a restart of the database were error pages.
    """
    conn = await pool.getconn()
    if _hung_up(conn):
        await pool.putconn(conn)
        await pool.check()  # throws out every dead one
        conn = await pool.getconn()
    try:
        async with conn:
            yield conn
    finally:
        await pool.putconn(conn)


def _hung_up(conn: Connection) -> bool:
    """Whether anything waits to be read; poll, because select refuses the descriptors of a process with many pages open."""
    if conn.closed:
        return True
    line = select.poll()
    line.register(conn.fileno(), select.POLLIN)
    return bool(line.poll(0))


async def steadily(pool: AsyncConnectionPool, work: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Do `work` until the database lets us: outages are retried for ever with back-off, other errors pass through.

    The outcome of a lost commit is unknown, so `work` must be safe to repeat.
    """
    wait = 0.05
    while True:
        try:
            return await work()
        except OUTAGES as error:
            log.warning("database.away", what=what, error=type(error).__name__, retry_s=round(wait, 2))
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5.0)
            try:
                async with asyncio.timeout(5):
                    await pool.check()  # once per outage: throw out the dead connections
            except (*OUTAGES, TimeoutError):
                continue


def migrate(dsn: Secret) -> list[str]:
    """Bring the database to the newest schema; returns the names of the migrations applied now."""
    import yoyo  # noqa: PLC0415 - only this command needs it

    with resources.as_file(resources.files("deploy") / "migrations") as folder:
        backend = yoyo.get_backend(_yoyo_url(dsn))
        migrations = yoyo.read_migrations(str(folder))
        with closing(backend.connection), backend.lock():
            todo = backend.to_apply(migrations)
            with contextlib.redirect_stdout(
                io.StringIO()
            ):  # yoyo prints what a SELECT in a migration returned
                backend.apply_migrations(todo)
            return [migration.id for migration in todo]


def _yoyo_url(dsn: Secret) -> str:
    """Yoyo wants a URL: take the DSN apart with libpq's own parser."""
    from urllib.parse import quote, urlencode  # noqa: PLC0415

    parts = psycopg.conninfo.conninfo_to_dict(dsn.reveal())
    user, password = (quote(str(parts.pop(k, "") or ""), safe="") for k in ("user", "password"))
    host, name = str(parts.pop("host", "localhost")), str(parts.pop("dbname", "lamplight"))
    port = parts.pop("port", 5432)
    rest = f"?{urlencode(parts)}" if parts else ""
    return f"postgresql+psycopg://{user}:{password}@{host}:{port}/{name}{rest}"
