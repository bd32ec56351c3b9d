"""The gateway's memory: what devices handed over, on disk before anybody is told, until ingest says it is safe."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

KEPT = timedelta(days=14)
"""How long an acknowledged row stays, so that `resync` can bring it back after the other side lost its backup's tail."""

ALARM = 0.8  # of the room
ROOM = 256 * 1024 * 1024  # bytes: at a kilobyte a row, a person's readings of a century

UNSENT, ACKED, REFUSED = 0, 1, 2
NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}  # a full disk shows as either

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    payload BLOB NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    settled_at REAL,  -- when it was acknowledged or refused
    reason TEXT
);
CREATE INDEX IF NOT EXISTS unsent ON outbox (row) WHERE state = 0;
CREATE INDEX IF NOT EXISTS settled ON outbox (settled_at) WHERE state > 0;
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class FullError(Exception):
    """The outbox has no room left and everything in it is unsent: nothing is overwritten, so nothing new is taken."""


class Row(NamedTuple):
    row: int
    id: UUID
    payload: bytes


def peek(path: Path, note: str) -> tuple[int, str | None]:
    """How many rows of an outbox are unsent, and one of its notes; for whoever is not its agent: nothing is written."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as db:
        (unsent,) = db.execute("SELECT count(*) FROM outbox WHERE state = 0").fetchone()
        found = db.execute("SELECT value FROM note WHERE name = ?", (note,)).fetchone()
    return int(unsent), found and str(found[0])


class Outbox:
    """One SQLite file. What `put` returned from survives a power cut; a row is unsent until it is settled.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> with Outbox(":memory:") as outbox:
    ...     outbox.put([(UUID(int=7), b"reading")])
    ...     outbox.put([(UUID(int=7), b"the same again")])
    ...     outbox.depth
    ...     outbox.settle([UUID(int=7)], now=noon)
    ...     outbox.depth
    1
    0
    1
    1
    0
    """

    def __init__(self, path: Path | str, *, room: int = ROOM) -> None:
        self.room = room
        self._no_room = False  # the last write found none, whatever our own room says: the disk is full
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "PRAGMA synchronous = FULL"
        )  # each commit reaches the disk, not only the operating system
        self._db.executescript(SCHEMA)
        self._page = int(self._db.execute("PRAGMA page_size").fetchone()[0])
        self.depth: int = self._db.execute("SELECT count(*) FROM outbox WHERE state = 0").fetchone()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def put(self, rows: Iterable[tuple[UUID, bytes]], *, notes: Iterable[tuple[str, str]] = ()) -> int:
        """Take readings in, all or none, in one commit; returns how many were new. `notes` are kept with them."""
        fresh = [(identity.bytes, payload) for identity, payload in rows]
        if self._taken >= 1:
            self._make_room()
        with self._commit():
            before = self._db.total_changes
            self._db.executemany(
                "INSERT INTO outbox (id, payload) VALUES (?, ?) ON CONFLICT DO NOTHING", fresh
            )
            new = self._db.total_changes - before
            self._db.executemany("INSERT OR REPLACE INTO note VALUES (?, ?)", notes)
        self.depth += new
        return new

    def unsent(self, *, after: int, most: int) -> Sequence[Row]:
        """Unsent rows in the order taken in."""
        found = self._db.execute(
            "SELECT row, id, payload FROM outbox WHERE state = 0 AND row > ? ORDER BY row LIMIT ?",
            (after, most),
        )
        return [Row(row, UUID(bytes=identity), payload) for row, identity, payload in found]

    def settle(self, ids: Iterable[UUID], *, now: datetime, refused: str | None = None) -> int:
        """Ingest has these (or has set them aside, and why): do not send them again. Returns how many were unsent."""
        state = ACKED if refused is None else REFUSED
        with self._commit():
            before = self._db.total_changes
            self._db.executemany(
                "UPDATE outbox SET state = ?, settled_at = ?, reason = ? WHERE id = ? AND state = 0",
                [(state, now.timestamp(), refused, identity.bytes) for identity in ids],
            )
            settled = self._db.total_changes - before
        self.depth -= settled
        return settled

    def reopen(self, since: datetime) -> int:
        """Everything acknowledged from `since` on is unsent again: the other side asked for it."""
        with self._commit():
            before = self._db.total_changes
            self._db.execute(
                "UPDATE outbox SET state = 0, settled_at = NULL WHERE state = 1 AND settled_at >= ?",
                (since.timestamp(),),
            )
            again = self._db.total_changes - before
        self.depth += again
        return again

    def forget(self, *, now: datetime) -> int:
        """Drop what was settled long ago."""
        with self._commit():
            old = (now - KEPT).timestamp()
            return self._db.execute("DELETE FROM outbox WHERE state > 0 AND settled_at < ?", (old,)).rowcount

    def note(self, name: str) -> str | None:
        """A note kept with the rows."""
        found = self._db.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def counts(self, since: datetime | None = None) -> tuple[int, int, int]:
        """How many rows are acknowledged, refused (`since` then), unsent."""
        begun = since.timestamp() if since is not None else 0.0
        query = "SELECT state, count(*) FROM outbox WHERE state = 0 OR settled_at >= ? GROUP BY state"
        found = dict(self._db.execute(query, (begun,)).fetchall())
        return found.get(ACKED, 0), found.get(REFUSED, 0), found.get(UNSENT, 0)

    def reasons(self, since: datetime) -> list[str]:
        """Why rows were refused since then, each reason once."""
        query = "SELECT DISTINCT reason FROM outbox WHERE state = 2 AND settled_at >= ? ORDER BY reason"
        return [reason for (reason,) in self._db.execute(query, (since.timestamp(),))]

    @property
    def fullness(self) -> float:
        """How much of the room is taken, 0 to 1 and beyond; all of it when the disk has none left for us."""
        return 1.0 if self._no_room else self._taken

    @property
    def _taken(self) -> float:
        pages, free = (
            self._db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count")
        )
        return float((pages - free) * self._page / self.room)

    @property
    def alarming(self) -> bool:
        return self.fullness >= ALARM

    def _make_room(self) -> None:
        """Settled rows may go before their time; unsent rows never."""
        with self._commit():
            self._db.execute(
                """DELETE FROM outbox WHERE row IN
                   (SELECT row FROM outbox WHERE state > 0 ORDER BY settled_at
                     LIMIT max(1000, (SELECT count(*) / 10 FROM outbox)))"""
            )
        if self._taken >= 1:
            raise FullError(f"the outbox is full: {self.depth} unsent in {self.room} bytes")

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """All or nothing, on disk when it ends; a disk without room is a FullError and costs nothing that was there."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
            self._no_room = False
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in NO_ROOM:
                self._no_room = True
                raise FullError(f"the disk under the outbox is full with {self.depth} unsent") from error
            raise
