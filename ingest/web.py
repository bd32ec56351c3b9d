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

SILENT_AFTER: Final = timedelta(minutes=5)  # several heartbeats missed
CLOCK_OFF: Final = timedelta(minutes=5)
NEARLY_FULL: Final = 0.8
WEAK_BATTERY: Final = 20
LATEST: Final = 50


class Patient(Protocol):
    """Whose device it is."""

    @property
    def name(self) -> str: ...


class Desk(Protocol):
    """The web frame, as far as this page uses it."""

    def transaction(self, request: Request) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def page(self, request: Request, template: str, **context: Any) -> HTMLResponse: ...
    async def patients(self, conn: AsyncConnection, ids: Iterable[UUID]) -> Mapping[UUID, Patient]: ...
    def now(self) -> datetime: ...


GATEWAYS: Final = """
    SELECT gateway_id, playback, online, last_seen, clock_error, outbox_depth, outbox_full, agent
      FROM ingest.gateway ORDER BY gateway_id"""
DEVICES: Final = """
    SELECT d.device_id, d.model, d.family, d.battery_percent, d.last_event, d.last_event_at, a.patient_id,
           last.effective_at, last.received_at, last.gateway_id
      FROM ingest.device d
      LEFT JOIN ingest.device_assignment a ON a.device_id = d.device_id AND a.period @> %(now)s
      LEFT JOIN LATERAL (SELECT r.effective_at, r.received_at, r.gateway_id FROM ingest.reading r
                          WHERE r.patient_id = a.patient_id AND r.device_id = d.device_id
                          ORDER BY r.effective_at DESC LIMIT 1) last ON true
     ORDER BY d.device_id"""
REASONS: Final = """
    SELECT reason, count(*) AS times, max(received_at) AS latest
      FROM ingest.refusal GROUP BY reason ORDER BY times DESC, reason"""
FLAGS: Final = """
    SELECT flag, count(*) AS times FROM ingest.reading, unnest(flags) AS flag
     WHERE effective_at > %(since)s GROUP BY flag ORDER BY times DESC, flag"""
DOUBTED: Final = """
    SELECT count(*) FILTER (WHERE time_confidence = 'suspect') AS suspect,
           count(*) FILTER (WHERE history) AS history, count(*) AS readings
      FROM ingest.reading WHERE effective_at > %(since)s"""
REFUSALS: Final = """
    SELECT received_at, gateway_id, device_id, hop, reason, detail, event_id
      FROM ingest.refusal ORDER BY received_at DESC LIMIT %(latest)s"""


def router(desk: Desk) -> APIRouter:
    """Everything below /devices."""
    routes = APIRouter()

    @routes.get("/devices")
    async def fleet(request: Request) -> HTMLResponse:
        now = desk.now()
        asked = {"now": now, "since": now - timedelta(days=3650), "latest": LATEST}
        async with desk.transaction(request) as conn:
            async with conn.cursor(row_factory=dict_row) as cursor:
                found = {
                    name: await (await cursor.execute(query, asked)).fetchall()
                    for name, query in (
                        ("gateways", GATEWAYS),
                        ("devices", DEVICES),
                        ("reasons", REASONS),
                        ("flags", FLAGS),
                        ("doubted", DOUBTED),
                        ("refusals", REFUSALS),
                    )
                }
            whose = {row["patient_id"] for row in found["devices"] if row["patient_id"]}
            patients = await desk.patients(conn, whose)
        causes = {row["gateway_id"]: gateway_state(row, now=now) for row in found["gateways"]}
        return desk.page(
            request,
            "ingest/devices.html",
            **{**found, "doubted": found["doubted"][0]},
            patients=patients,
            causes=causes,
            states={row["device_id"]: device_state(row, causes, now=now) for row in found["devices"]},
            latest=LATEST,
        )

    return routes


def gateway_state(row: Mapping[str, Any], *, now: datetime) -> tuple[str, str]:
    """(state, in words): `ok`, `warn` or `bad`, the worst first."""
    if row["last_seen"] is None:
        return "warn", "never heard of"
    if not row["online"]:
        return "bad", "offline"
    if now - row["last_seen"] > SILENT_AFTER:
        return "bad", "silent: no heartbeat"
    if row["outbox_full"] is not None and row["outbox_full"] >= NEARLY_FULL:
        return "bad", f"outbox {row['outbox_full']:.0%} full"
    if row["clock_error"] is not None and abs(row["clock_error"]) > CLOCK_OFF:
        return "warn", "its clock is wrong"
    return "ok", "online"


def device_state(
    row: Mapping[str, Any], gateways: Mapping[str, tuple[str, str]], *, now: datetime
) -> tuple[str, str]:
    """Why a device is silent, if it is: the cause decides who, if anyone, is told."""
    if row["patient_id"] is None:
        return "warn", "assigned to nobody"
    if row["battery_percent"] is not None and row["battery_percent"] < WEAK_BATTERY:
        return "warn", f"battery {row['battery_percent']:.0f} %"
    if row["effective_at"] is None:
        return "warn", "no reading yet"
    if now - row["effective_at"] < timedelta(days=2):
        return "ok", "measuring"
    gateway = gateways.get(row["gateway_id"])
    if gateway is not None and gateway[0] == "bad":
        return "bad", f"gateway {gateway[1]}"
    return "warn", "not measured for days"
