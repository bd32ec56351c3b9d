"""The fleet on one page: gateways, devices and whose they are, what was set aside and why, what was flagged."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ingest import assignment_web, readings_web, set_aside, set_aside_store, set_aside_web
from ingest.strongbox import Strongbox

SILENT_AFTER: Final = timedelta(minutes=5)  # several heartbeats missed
CLOCK_OFF: Final = timedelta(minutes=5)
NEARLY_FULL: Final = 0.8
WEAK_BATTERY: Final = 20
SKIPPED_AFTER: Final = timedelta(days=2)
IN_STEP: Final = timedelta(seconds=30)  # a heartbeat's own way here takes a moment
CLOCKS_SINCE: Final = 2020
"""No agent is older: a clock that shows an earlier year was never set."""


class Patient(Protocol):
    """Whose device it is."""

    @property
    def name(self) -> str: ...
    @property
    def mrn(self) -> str: ...


class Desk(Protocol):
    """The web frame, as far as this page uses it."""

    def transaction(self, request: Request) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def page(self, request: Request, template: str, **context: Any) -> HTMLResponse: ...
    async def patients(self, conn: AsyncConnection, ids: Iterable[UUID]) -> Mapping[UUID, Patient]: ...
    def require(self, request: Request, *roles: str) -> set_aside_web.Person: ...
    def now(self) -> datetime: ...


GATEWAYS: Final = """
    SELECT g.gateway_id, g.playback, g.online, g.last_seen, g.clock_error, g.outbox_depth, g.outbox_full, g.agent,
           g.revoked_at, w.vendor
      FROM ingest.gateway g LEFT JOIN (SELECT source_id, vendor FROM ingest.webhook) w ON w.source_id = g.gateway_id
     WHERE g.revoked_at IS NULL ORDER BY g.gateway_id"""
DEVICES: Final = """
    SELECT d.device_id, d.model, d.family, d.shared, d.battery_percent, d.last_event, d.last_event_at, a.patient_id, a.slot,
           last.effective_at, last.received_at, last.gateway_id, last.time_confidence
      FROM ingest.device d
      LEFT JOIN ingest.device_assignment a ON a.device_id = d.device_id AND a.period @> %(now)s
      LEFT JOIN LATERAL (SELECT r.effective_at, r.received_at, r.gateway_id, r.time_confidence FROM ingest.reading r
                          WHERE r.patient_id = a.patient_id AND r.device_id = d.device_id
                          ORDER BY r.effective_at DESC LIMIT 1) last ON true
     ORDER BY d.device_id, a.slot"""
FLAGS: Final = """
    SELECT flag, count(*) AS times FROM ingest.reading, unnest(flags) AS flag
     WHERE effective_at > %(since)s GROUP BY flag ORDER BY times DESC, flag"""
DOUBTED: Final = """
    SELECT count(*) FILTER (WHERE time_confidence = 'suspect') AS suspect,
           count(*) FILTER (WHERE history) AS history, count(*) AS readings
      FROM ingest.reading WHERE effective_at > %(since)s"""


def router(desk: Desk, strongbox: Strongbox | None = None) -> APIRouter:
    """Everything below /devices. Without a strongbox the bytes of what was refused are not shown."""
    routes = APIRouter()
    routes.include_router(set_aside_web.router(desk, strongbox))
    routes.include_router(set_aside_web.lane_router(desk, strongbox))
    routes.include_router(readings_web.router(desk))
    routes.include_router(assignment_web.router(desk))

    @routes.get("/devices")
    async def fleet(request: Request) -> HTMLResponse:
        now = desk.now()
        asked = {"now": now, "since": now - timedelta(days=3650)}
        async with desk.transaction(request) as conn:
            async with conn.cursor(row_factory=dict_row) as cursor:
                found = {
                    name: await (await cursor.execute(query, asked)).fetchall()
                    for name, query in (
                        ("gateways", GATEWAYS),
                        ("devices", DEVICES),
                        ("flags", FLAGS),
                        ("doubted", DOUBTED),
                    )
                }
            kinds = await set_aside_store.kinds(conn)
            _, waiting = await set_aside_store.lane(conn, limit=0)
            whose = {row["patient_id"] for row in found["devices"] if row["patient_id"]}
            patients = await desk.patients(conn, whose)
        causes = {row["gateway_id"]: gateway_state(row, now=now) for row in found["gateways"]}
        return desk.page(
            request,
            "ingest/devices.html",
            **{**found, "doubted": found["doubted"][0]},
            patients=patients,
            causes=causes,
            states=[device_state(row, causes, now=now) for row in found["devices"]],
            clocks={row["gateway_id"]: clock_words(row["clock_error"], now=now) for row in found["gateways"]},
            kinds=kinds,
            waiting=waiting,
            uncounted=sum(row["times"] - row["kept"] for row in kinds),
            words=set_aside.words,
        )

    return routes


def gateway_state(row: Mapping[str, Any], *, now: datetime) -> tuple[str, str]:
    """(state, in words): `ok`, `warn` or `bad`, the worst first.

    A vendor's cloud has no heartbeat: it is there whenever it posts. A revoked gateway has no excuse.
    """
    if row["revoked_at"] is not None:
        return "bad", "revoked"
    if row["vendor"] is not None:
        return ("ok", f"cloud of {row['vendor']}") if row["last_seen"] else ("warn", "has not posted yet")
    return _heartbeat_state(row, now=now)


def _heartbeat_state(row: Mapping[str, Any], *, now: datetime) -> tuple[str, str]:
    if row["last_seen"] is None:
        return "warn", "no heartbeat yet"
    if not row["online"]:
        return "bad", "offline"
    if now - row["last_seen"] > SILENT_AFTER:
        return "bad", "silent: no heartbeat"
    if row["outbox_full"] is not None and row["outbox_full"] >= NEARLY_FULL:
        return "bad", f"outbox {row['outbox_full']:.0%} full"
    if row["clock_error"] is not None and abs(row["clock_error"]) > CLOCK_OFF:
        return "warn", "its clock is wrong"
    return "ok", "online"


def clock_words(error: timedelta | None, *, now: datetime) -> str:
    """How a gateway's clock stands to ours, as a person says it; `error` is our clock minus its own.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> [clock_words(timedelta(seconds=s), now=noon) for s in (0.4, 240, -7200, 63930921459.7, -86400 * 800)]
    ['right', '4 min slow', '2 h fast', 'not set', '2 years fast']
    """
    if error is None:
        return "unknown"
    if abs(error) <= IN_STEP:
        return "right"
    try:
        shows = (now - error).year
    except OverflowError:
        shows = 1
    if shows < CLOCKS_SINCE:
        return f"not set (shows {shows})" if shows > 1 else "not set"
    seconds = abs(error).total_seconds()
    for size, unit in ((86_400 * 365.25, "year"), (86_400, "day"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            count = round(seconds / size)
            many = "s" if count != 1 and unit in ("year", "day") else ""
            return f"{count} {unit}{many} {'slow' if error > timedelta(0) else 'fast'}"
    return "right"


def device_state(
    row: Mapping[str, Any], gateways: Mapping[str, tuple[str, str]], *, now: datetime
) -> tuple[str, str]:
    """Why a device is silent, if it is: the cause decides who, if anyone, is told."""
    if row["shared"] or row["patient_id"] is None:
        return ("ok", "shared: ask whose") if row["shared"] else ("warn", "assigned to nobody")
    if row["battery_percent"] is not None and row["battery_percent"] < WEAK_BATTERY:
        return "warn", f"battery {row['battery_percent']:.0f} %"
    if row["effective_at"] is None:
        return "warn", "no reading yet"
    if row["time_confidence"] == "suspect":
        return "warn", "its clock is wrong"
    if now - row["effective_at"] < SKIPPED_AFTER:
        return "ok", "measuring"
    return _silence(row, gateways.get(row["gateway_id"]))


def _silence(row: Mapping[str, Any], gateway: tuple[str, str] | None) -> tuple[str, str]:
    """Why nothing comes: the way here first, then what the device last said, then the patient."""
    if gateway is not None and gateway[0] == "bad":
        return "bad", f"gateway {gateway[1]}"
    if row["last_event"] == "reminder_cleared" and row["last_event_at"] > row["effective_at"]:
        return "warn", "reminder cleared without measuring"
    return "warn", "not measured for days"
