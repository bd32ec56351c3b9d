"""The archive: every reading into the hypertable and every refusal into its table, once, in batches."""

# ruff: noqa: ARG002 - the pump offers more than an archive needs
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from ingest.events import Reading, Refused, Told, Withdrawn

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
    "released_at": "timestamptz",
    "supersedes": "uuid",
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
    "place": "text",
    "part": "int4",
    "clock_error_s": "float8",
    "key_id": "text",
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
        self, conn: psycopg.AsyncConnection, events: Sequence[Told], *, now: datetime
    ) -> Sequence[Any]:
        """Archive readings, and beside them what was taken back; the archive tells nobody anything."""
        readings = [event for event in events if isinstance(event, Reading)]
        if readings:
            await _copy(conn, "arriving_reading", READING_COLUMNS, readings)
            await conn.execute(sql.SQL(self.INSERT).format(columns=_names(READING_COLUMNS)))
        for event in events:
            if isinstance(event, Withdrawn):  # rare: a person did it
                await take_back(conn, event)
        return ()

    async def park(
        self, conn: psycopg.AsyncConnection, event: Told, *, reason: str, now: datetime
    ) -> Sequence[Any]:
        """Nothing to mark: the pump keeps the record, and the scorer meets the same reading for itself."""
        return ()

    def forget(self) -> None:
        """Nothing is remembered."""


KEPT, KEPT_BYTES = 10_000, 16 << 20
"""Of one kind and hour the first that are kept with their bytes: so many, or so many bytes of them."""


class RefusalArchive:
    """`refused.v1` into its table, and into the count by kind and hour.

    A kind is gateway, device (a registered one: strangers make up names), hop and reason. Of each kind and hour the
    first are kept with their bytes and the rest are counted, so that a flood is a number and fills no disk; the log
    `refused.v1` has them all.

    1. Forget of the batch what is there already: a repetition of what was kept counts nothing twice.
    2. Count it.
    3. Keep what still has room, and say how much that was.
    """

    FRESH: ClassVar = """
        DELETE FROM pg_temp.arriving_refusal a USING ingest.refusal k WHERE k.event_id = a.event_id"""
    KINDS: ClassVar = """
        SELECT a.*, coalesce(d.device_id, '') AS kind_device, date_trunc('hour', a.received_at, 'UTC') AS hour
          FROM pg_temp.arriving_refusal a
          LEFT JOIN ingest.device d ON d.device_id = a.device_id AND d.practice_id = a.practice_id"""
    COUNT: ClassVar = """
        INSERT INTO ingest.refusal_tally AS t
               (gateway_id, kind_device, hop, reason, hour, practice_id, times, bytes, kept, first_at, last_at)
        SELECT gateway_id, kind_device, hop, reason, hour, max(practice_id), count(*), sum(octet_length(raw)), 0,
               min(received_at), max(received_at)
          FROM ({kinds}) arriving GROUP BY gateway_id, kind_device, hop, reason, hour
         ORDER BY gateway_id, kind_device, hop, reason, hour
        ON CONFLICT (gateway_id, kind_device, hop, reason, hour) DO UPDATE
           SET times = t.times + excluded.times, bytes = t.bytes + excluded.bytes,
               first_at = least(t.first_at, excluded.first_at), last_at = greatest(t.last_at, excluded.last_at)"""
    KEEP: ClassVar = """
        WITH numbered AS (
            SELECT *, count(*) OVER later AS from_here, sum(octet_length(raw)) OVER later AS bytes_from_here
              FROM ({kinds}) arriving
            WINDOW later AS (PARTITION BY gateway_id, kind_device, hop, reason, hour
                             ORDER BY received_at DESC, event_id DESC ROWS UNBOUNDED PRECEDING)),
        kept AS (
            INSERT INTO ingest.refusal ({columns}, kind_device)
            SELECT {columns}, kind_device
              FROM (SELECT n.*, t.times - n.from_here AS before, t.bytes - n.bytes_from_here AS bytes_before
                      FROM numbered n JOIN ingest.refusal_tally t USING (gateway_id, kind_device, hop, reason, hour)) n
             WHERE before < %(kept)s AND bytes_before < %(kept_bytes)s
             ORDER BY event_id
            RETURNING gateway_id, kind_device, hop, reason, date_trunc('hour', received_at, 'UTC') AS hour)
        UPDATE ingest.refusal_tally t SET kept = kept + k.fresh
          FROM (SELECT gateway_id, kind_device, hop, reason, hour, count(*) AS fresh FROM kept
                 GROUP BY gateway_id, kind_device, hop, reason, hour) k
         WHERE (t.gateway_id, t.kind_device, t.hop, t.reason, t.hour)
               = (k.gateway_id, k.kind_device, k.hop, k.reason, k.hour)"""

    async def handle(
        self, conn: psycopg.AsyncConnection, events: Sequence[Refused], *, now: datetime
    ) -> Sequence[Any]:
        """Archive refusals."""
        await _copy(conn, "arriving_refusal", REFUSAL_COLUMNS, events)
        kinds = sql.SQL(self.KINDS)
        await conn.execute(self.FRESH)
        await conn.execute(sql.SQL(self.COUNT).format(kinds=kinds))
        await conn.execute(
            sql.SQL(self.KEEP).format(kinds=kinds, columns=_names(REFUSAL_COLUMNS)),
            {"kept": KEPT, "kept_bytes": KEPT_BYTES},
        )
        return ()

    async def park(
        self, conn: psycopg.AsyncConnection, event: Refused, *, reason: str, now: datetime
    ) -> Sequence[Any]:
        """The pump keeps the record."""
        return ()

    def forget(self) -> None:
        """Nothing is remembered."""


async def take_back(conn: psycopg.AsyncConnection, event: Withdrawn) -> bool:
    """The withdrawal beside the reading; False: it is there already.

    Whoever takes a reading back writes it at once; a database that is rebuilt from the log gets it from the archive.
    """
    done = await conn.execute(
        """INSERT INTO ingest.withdrawal
                  (reading_id, practice_id, patient_id, effective_at, superseded_by, reason, by, by_name, at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (reading_id) DO NOTHING""",
        (
            event.reading.event_id,
            event.practice_id,
            event.patient_id,
            event.reading.effective_at,
            event.superseded_by,
            event.reason,
            event.by,
            event.by_name,
            event.at,
        ),
    )
    return done.rowcount == 1


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
