"""The archive: every reading into the hypertable and every refusal into its table, once, in batches."""

# ruff: noqa: ARG002 - the pump offers more than an archive needs
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from ingest.events import Reading, Refused

READING_COLUMNS = {
    "event_id": "uuid",
    "caused_by": "uuid",
    "practice_id": "int4",
    "patient_id": "uuid",
    "device_id": "text",
    "gateway_id": "text",
    "kind": "text",
    "effective_at": "timestamptz",
    "received_at": "timestamptz",
    "gateway_time": "timestamptz",
    "device_time": "text",
    "time_rule": "text",
    "time_confidence": "text",
    "utc_offset_minutes": "int4",
    "systolic": "float8",
    "diastolic": "float8",
    "map": "float8",
    "pulse": "float8",
    "glucose": "float8",
    "beyond": "text",
    "context": "text",
    "flags": "text[]",
    "history": "bool",
    "raw": "bytea",
}
REFUSAL_COLUMNS = {
    "event_id": "uuid",
    "caused_by": "uuid",
    "practice_id": "int4",
    "gateway_id": "text",
    "device_id": "text",
    "hop": "text",
    "reason": "text",
    "detail": "text",
    "received_at": "timestamptz",
    "raw": "bytea",
}


class ReadingArchive:
    """`readings.v1` into the hypertable.

    1. COPY into a temporary table: the fast way in, but all or nothing.
    2. Insert the identities; what is there already is not fresh.
    3. Insert the fresh readings. All of it inside the pump's transaction: a repetition finds nothing fresh.
    """

    INSERT: ClassVar = """
        WITH fresh AS (INSERT INTO ingest.reading_key (event_id, effective_at)
                       SELECT event_id, effective_at FROM pg_temp.arriving_reading ORDER BY event_id
                       ON CONFLICT DO NOTHING RETURNING event_id)
        INSERT INTO ingest.reading ({columns})
        SELECT {columns} FROM pg_temp.arriving_reading JOIN fresh USING (event_id)"""

    async def handle(
        self, conn: psycopg.AsyncConnection, events: Sequence[Reading], *, now: datetime
    ) -> Sequence[Any]:
        """Archive readings; the archive tells nobody anything."""
        await _copy(conn, "arriving_reading", READING_COLUMNS, events)
        await conn.execute(sql.SQL(self.INSERT).format(columns=_names(READING_COLUMNS)))
        return ()

    async def park(
        self, conn: psycopg.AsyncConnection, event: Reading, *, reason: str, now: datetime
    ) -> Sequence[Any]:
        """Nothing to mark: the pump keeps the record, and the scorer meets the same reading for itself."""
        return ()

    def forget(self) -> None:
        """Nothing is remembered."""


class RefusalArchive:
    """`refused.v1` into its table."""

    INSERT: ClassVar = """
        INSERT INTO ingest.refusal ({columns}) SELECT {columns} FROM pg_temp.arriving_refusal ORDER BY event_id
        ON CONFLICT DO NOTHING"""

    async def handle(
        self, conn: psycopg.AsyncConnection, events: Sequence[Refused], *, now: datetime
    ) -> Sequence[Any]:
        """Archive refusals."""
        await _copy(conn, "arriving_refusal", REFUSAL_COLUMNS, events)
        await conn.execute(sql.SQL(self.INSERT).format(columns=_names(REFUSAL_COLUMNS)))
        return ()

    async def park(
        self, conn: psycopg.AsyncConnection, event: Refused, *, reason: str, now: datetime
    ) -> Sequence[Any]:
        """The pump keeps the record."""
        return ()

    def forget(self) -> None:
        """Nothing is remembered."""


def _names(columns: dict[str, str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


async def _copy(
    conn: psycopg.AsyncConnection,
    table: str,
    columns: dict[str, str],
    events: Sequence[Reading] | Sequence[Refused],
) -> None:
    """Fill a temporary table of this transaction, one row per event id."""
    typed = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns.items()
    )
    temporary = sql.Identifier("pg_temp", table)
    await conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS").format(
            sql.Identifier(table), typed
        )
    )
    await conn.execute(
        sql.SQL("DELETE FROM {}").format(temporary)
    )  # one transaction may call twice, record by record
    once = {event.event_id: event for event in events}
    async with (
        conn.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(temporary)) as copy,
    ):
        copy.set_types(list(columns.values()))
        for event in once.values():
            await copy.write_row([_plain(getattr(event, name)) for name in columns])


def _plain(value: Any) -> Any:
    """Enums as their text, tuples as arrays: what the binary copy understands."""
    if isinstance(value, str):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
