"""Ingest's SQL: the registry, asked once per batch, and the presence of gateways, told in batches."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ingest.identity import Assignment, Device, Gateway
from ingest.presence import Told
from ingest.quality import Seen
from ingest.sorting import Ask, Known, Past

BEGINNING = datetime.min.replace(tzinfo=UTC)  # of an assignment without one
OUTAGES = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
MOST_ARCHIVED = (
    20_000  # rows of one question about the past; beyond it an echo may go unnoticed, nothing worse
)


class Away(Exception):
    """The database cannot be reached now: the same question may be asked again."""


class Registry:
    """Gateways, devices, assignments and the recent past, out of PostgreSQL. Raises Away while that is away."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def look_up(self, asks: Sequence[Ask], numbers: Sequence[str] = ()) -> Known:
        """Everything the batch needs to know about whose its readings are, in one query.

        A second one only where messages claim to be about somebody: who has those record `numbers`.
        """
        gateways: dict[str, Gateway] = {}
        practices: dict[str, tuple[int, bool, bool]] = {}
        people: dict[tuple[int, str], list[UUID]] = {}
        assignments: dict[str, dict[tuple[UUID, datetime, int | None], Assignment]] = {}
        async with self._borrowed() as conn:
            cursor = await conn.execute(
                """SELECT ask.gateway_id, g.practice_id, g.playback, g.clock_error, g.revoked_at IS NOT NULL,
                          ask.device_id, d.practice_id,
                          a.patient_id IS NOT NULL
                          OR EXISTS (SELECT FROM ingest.device_assignment e WHERE e.device_id = d.device_id),
                          a.patient_id, lower(a.period), upper(a.period), p.zone, p.born, a.slot, d.shared
                     FROM unnest(%b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[])
                          AS ask(gateway_id, device_id, since, until)
                     LEFT JOIN ingest.gateway g ON g.gateway_id = ask.gateway_id
                     LEFT JOIN ingest.device d ON d.device_id = ask.device_id
                     LEFT JOIN ingest.device_assignment a
                            ON a.device_id = d.device_id AND a.period && tstzrange(ask.since, ask.until, '[]')
                     LEFT JOIN who.patient p ON p.patient_id = a.patient_id""",
                (
                    [ask.gateway_id for ask in asks],
                    [ask.device_id for ask in asks],
                    [ask.since for ask in asks],
                    [ask.until for ask in asks],
                ),
            )
            for row in await cursor.fetchall():
                (
                    gateway_id,
                    practice,
                    playback,
                    error,
                    revoked,
                    device_id,
                    owned_by,
                    ever,
                    patient,
                    since,
                    until,
                    zone,
                    born,
                    slot,
                    shared,
                ) = row
                if practice is not None:
                    gateways[gateway_id] = Gateway(practice, playback, error, revoked)
                if owned_by is not None:
                    practices[device_id] = (owned_by, ever, shared)
                if patient is not None:
                    of_device = assignments.setdefault(device_id, {})
                    of_device[patient, since, slot] = Assignment(
                        patient, since or BEGINNING, until, zone, born, slot
                    )
            if numbers and practices:
                owners = sorted({practice for practice, _, _ in practices.values()})
                cursor = await conn.execute(
                    "SELECT practice_id, mrn, patient_id FROM who.patient WHERE practice_id = ANY(%b) AND mrn = ANY(%b)",
                    (owners, list(numbers)),
                )
                for practice, number, patient in await cursor.fetchall():
                    people.setdefault((practice, number), []).append(patient)
        devices = {
            device_id: Device(practice, tuple(assignments.get(device_id, {}).values()), ever, shared)
            for device_id, (practice, ever, shared) in practices.items()
        }
        return Known(gateways, devices, people)

    async def past(self, spans: Sequence[Past]) -> Mapping[str, Sequence[Seen]]:
        """What the archive has of these devices in these spans, by device."""
        found: dict[str, list[Seen]] = {}
        async with self._borrowed() as conn:
            cursor = await conn.execute(
                """SELECT r.device_id, r.event_id, r.effective_at, r.kind,
                          r.systolic, r.diastolic, r.pulse, r.glucose, r.beyond
                     FROM unnest(%b::uuid[], %b::text[], %b::timestamptz[], %b::timestamptz[])
                          AS ask(patient_id, device_id, since, until)
                     JOIN ingest.reading r ON r.patient_id = ask.patient_id AND r.device_id = ask.device_id
                                          AND r.effective_at BETWEEN ask.since AND ask.until
                    ORDER BY r.effective_at DESC LIMIT %s""",
                (
                    [span.patient_id for span in spans],
                    [span.device_id for span in spans],
                    [span.since for span in spans],
                    [span.until for span in spans],
                    MOST_ARCHIVED,
                ),
            )
            for (
                device_id,
                event_id,
                at,
                kind,
                systolic,
                diastolic,
                pulse,
                glucose,
                beyond,
            ) in await cursor.fetchall():
                values = (beyond or glucose,) if kind == "glucose" else (systolic, diastolic, pulse)
                found.setdefault(device_id, []).append(Seen(event_id, at, values))
        return found

    async def gateways(self) -> Sequence[str]:
        """Every registered gateway."""
        async with self._borrowed() as conn:
            cursor = await conn.execute("SELECT gateway_id FROM ingest.gateway ORDER BY gateway_id")
            return [row[0] for row in await cursor.fetchall()]

    async def note(self, told: Told) -> None:
        """Write down the newest of each gateway and device; older news never wins."""
        async with self._borrowed() as conn:
            await conn.execute(
                """UPDATE ingest.gateway g
                      SET last_seen = s.at, online = coalesce(s.online, true),
                          clock_error = coalesce(s.clock_error, g.clock_error),
                          outbox_depth = coalesce(s.outbox, g.outbox_depth),
                          outbox_full = coalesce(s.fullness, g.outbox_full), agent = coalesce(s.agent, g.agent)
                     FROM unnest(%s::text[], %s::timestamptz[], %s::bool[], %s::interval[], %s::int[], %s::real[],
                                 %s::text[])
                          AS s(gateway_id, at, online, clock_error, outbox, fullness, agent)
                    WHERE g.gateway_id = s.gateway_id AND g.revoked_at IS NULL
                      AND (g.last_seen IS NULL OR g.last_seen <= s.at)""",
                [list(column) for column in zip(*sorted(told.gateways), strict=True)] or [[]] * 7,
            )
            await conn.execute(
                """UPDATE ingest.device d
                      SET last_event = s.event, last_event_at = s.at,
                          battery_percent = coalesce(s.battery, d.battery_percent)
                     FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::real[])
                          AS s(gateway_id, device_id, event, at, battery)
                     JOIN ingest.gateway g USING (gateway_id)
                    WHERE d.device_id = s.device_id AND d.practice_id = g.practice_id AND g.revoked_at IS NULL
                      AND (d.last_event_at IS NULL OR d.last_event_at <= s.at)""",
                (
                    [gateway_id for gateway_id, _ in told.devices],
                    [said.device_id for _, said in told.devices],
                    [said.event for _, said in told.devices],
                    [said.at for _, said in told.devices],
                    [said.battery_percent for _, said in told.devices],
                ),
            )

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[bool]:
        """Whether we are the one process that listens under this name; two of them would throw each other out.

        It saves quarrels, not readings: were it lost unnoticed, the two would only do the same work twice.
        """
        async with self._borrowed() as conn:
            await conn.set_autocommit(True)
            try:
                row = await (
                    await conn.execute(
                        "SELECT pg_try_advisory_lock(hashtext('ingest'), hashtext(%s))", (name,)
                    )
                ).fetchone()
                yield row is not None and bool(row[0])
            finally:
                with suppress(*OUTAGES):  # whose connection is dead has lost the lease with it
                    await conn.execute("SELECT pg_advisory_unlock_all()")
                    await conn.set_autocommit(False)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[psycopg.AsyncConnection]:
        try:
            async with self._pool.connection() as conn:
                yield conn
        except OUTAGES as error:
            raise Away(type(error).__name__) from error

    async def mend(self) -> None:
        """Throw out dead connections; once per outage, because a check at every borrow is slow to recover."""
        try:
            await self._pool.check()
        except OUTAGES as error:
            raise Away(type(error).__name__) from error
