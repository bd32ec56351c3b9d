"""The archive: every reading into the hypertable and every refusal into its table, once, in batches."""

# ruff: noqa: ARG002 - the pump offers more than an archive needs
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from ingest.events import Reading, Refused, Told, Withdrawn
from ingest.identity import LANE

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


KEPT, WAITING_KEPT = 100, 2_000
"""Refusals of one kind and hour that are kept with their bytes; those that wait for a person are readings of somebody."""


class RefusalArchive:
    """`refused.v1` into its table, and into the count by kind and hour.

    A kind is gateway, device (a registered one: strangers make up names), hop and reason. Of each kind and hour the
    first are kept with their bytes and the rest are counted, so that a flood is a number and fills no disk; the log
    `refused.v1` has them all.
    """

    INSERT: ClassVar = """
        WITH numbered AS (
            SELECT a.*, coalesce(d.device_id, '') AS kind_device, date_trunc('hour', a.received_at, 'UTC') AS hour,
                   row_number() OVER kind AS place_of_it, count(*) OVER (kind ROWS BETWEEN UNBOUNDED PRECEDING
                                                                         AND UNBOUNDED FOLLOWING) AS of_kind
              FROM pg_temp.arriving_refusal a
              LEFT JOIN ingest.device d ON d.device_id = a.device_id AND d.practice_id = a.practice_id
             WHERE NOT EXISTS (SELECT FROM ingest.refusal k WHERE k.event_id = a.event_id)
            WINDOW kind AS (PARTITION BY a.gateway_id, d.device_id, a.hop, a.reason,
                                         date_trunc('hour', a.received_at, 'UTC')
                            ORDER BY a.received_at, a.event_id)),
        counted AS (
            INSERT INTO ingest.refusal_tally AS t
                   (gateway_id, kind_device, hop, reason, hour, practice_id, times, kept, first_at, last_at)
            SELECT gateway_id, kind_device, hop, reason, hour, max(practice_id), count(*), least(count(*), {room}),
                   min(received_at), max(received_at)
              FROM numbered AS t GROUP BY gateway_id, kind_device, hop, reason, hour
             ORDER BY gateway_id, kind_device, hop, reason, hour
            ON CONFLICT (gateway_id, kind_device, hop, reason, hour) DO UPDATE
               SET times = t.times + excluded.times,
                   kept = greatest(t.kept, least(t.times + excluded.times, {room})),
                   first_at = least(t.first_at, excluded.first_at),
                   last_at = greatest(t.last_at, excluded.last_at)
            RETURNING gateway_id, kind_device, hop, reason, hour, times)
        INSERT INTO ingest.refusal ({columns}, kind_device)
        SELECT {columns}, kind_device
          FROM numbered AS t JOIN counted USING (gateway_id, kind_device, hop, reason, hour)
         WHERE times - of_kind + place_of_it <= {room}
         ORDER BY event_id"""
    ROOM: ClassVar = """
        CASE WHEN t.hop = 'identity' AND t.reason = ANY(%(lane)s) THEN %(waiting_kept)s ELSE %(kept)s END"""

    async def handle(
        self, conn: psycopg.AsyncConnection, events: Sequence[Refused], *, now: datetime
    ) -> Sequence[Any]:
        """Archive refusals."""
        await _copy(conn, "arriving_refusal", REFUSAL_COLUMNS, events)
        await conn.execute(
            sql.SQL(self.INSERT).format(columns=_names(REFUSAL_COLUMNS), room=sql.SQL(self.ROOM)),
            {"lane": sorted(LANE), "kept": KEPT, "waiting_kept": WAITING_KEPT},
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
