"""What is up and what it has done so far, on one screen or as JSON. Counts and times only: no health data."""

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.native import playing
from deploy.native.processes import kept_by
from deploy.native.services import MAILBOX, WATCHMAN, Fleet
from deploy.native.stack import SETTINGS_OF, Stack

PORTS = {"postgres": "postgres", "mosquitto": "mqtt", "kafka": "kafka"}
"""Under which name each server's port is kept: people want it for `mosquitto_pub` and `psql`."""

FIGURES = {
    "readings": "SELECT count(*) FROM ingest.reading",
    "last_reading": "SELECT max(received_at) FROM ingest.reading",
    "refusals": "SELECT count(*) FROM ingest.refusal",
    "open_episodes": "SELECT count(*) FROM alerts.episode WHERE state <> 'closed'",
    "open_tasks": "SELECT count(*) FROM ccm.task WHERE state NOT IN ('done', 'cancelled')",
    "minutes": """SELECT coalesce(sum(extract(epoch FROM upper(span) - lower(span))), 0) / 60 FROM ccm.time_entry AS entry
                   WHERE NOT EXISTS (SELECT FROM ccm.time_void WHERE time_void.entry_id = entry.entry_id)""",
    "parked": "SELECT count(*) FROM pump.parked WHERE resolved_at IS NULL",
    "outbox": "SELECT count(*) FROM pump.outbox",
}
"""What one question to the database answers; as the pipeline, which sees every practice."""

DOING = {WATCHMAN: "watching", MAILBOX: "taking mail"}
"""What is neither a server nor a service; the rest are gateways that play."""


@dataclass(slots=True, kw_only=True)
class Status:
    """One look at everything; None means that it could not be asked."""

    url: str | None = None
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    gateways: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # of the demo; one that played to its end is not up
    versions: dict[str, str] = field(default_factory=dict)
    demo: dict[str, Any] | None = None  # how far its diaries are; None: none plays here
    lag: dict[str, int] | None = None  # room → records of its topic not yet served
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "up": self.up}

    @property
    def up(self) -> bool:
        """Whether everything that should run runs, and every service is ready."""
        return all(server["up"] for server in self.servers.values()) and all(
            service["ready"] for service in self.services.values()
        )


def look(stack: Stack, fleet: Fleet) -> Status:
    """Ask everything at once, each with a short patience; what does not answer is told as such."""
    seen = Status()
    with contextlib.suppress(KeyError):
        seen.url = stack.given.get("LAMPLIGHT_PUBLIC_URL") or f"http://127.0.0.1:{stack.ports['web']}"
    for name in SETTINGS_OF:
        birth = stack.processes.alive(name)
        ours = name in stack.ours
        port = None
        if ours:
            with contextlib.suppress(KeyError):  # nothing was started here yet
                port = stack.ports[PORTS[name]]
        seen.servers[name] = {
            "up": birth is not None or not ours,
            "pid": birth.pid if birth else None,
            "ours": ours,
            "port": port,
        }
    for service in fleet.services:
        birth = stack.processes.alive(service.name)
        seen.services[service.name] = {"up": birth is not None, "pid": kept_by(birth.pid) if birth else None}
    for name in stack.processes.names():
        if name not in seen.servers and name not in seen.services:
            birth = stack.processes.alive(name)
            seen.gateways[name] = {"up": birth is not None, "pid": kept_by(birth.pid) if birth else None}
    seen.demo = playing.look(stack.folder, [name for name, it in seen.gateways.items() if it["up"]])
    with ThreadPoolExecutor() as asking:
        ready = {name: asking.submit(fleet.ready, name) for name, it in seen.services.items() if it["up"]}
        if all(server["up"] for server in seen.servers.values()):
            dsn = stack.given.get("LAMPLIGHT_DATABASE") or stack.dsn("lamplight_pipeline")
            counting = asking.submit(_count, seen, dsn, stack.kafka)
            with contextlib.suppress(psycopg.Error):
                seen.versions = stack.versions()
            counting.result()
        for name, it in seen.services.items():
            it["ready"] = name in ready and ready[name].result()
    return seen


def _count(seen: Status, dsn: str, bootstrap: str) -> None:
    """The figures, and what each room has still to serve."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(dsn, connect_timeout=3) as conn:
        seen.figures = {name: _ask(conn, question) for name, question in FIGURES.items()}
        with contextlib.suppress(KafkaError, TimeoutError, psycopg.Error):
            seen.lag = asyncio.run(_lag(conn, bootstrap))


def _ask(conn: psycopg.Connection, question: str) -> Any:
    """One figure, or None where the schema does not know it (yet)."""
    try:
        with conn.transaction():
            row = conn.execute(question.encode()).fetchone()
    except psycopg.ProgrammingError:
        return None
    value = row[0] if row else None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return None if value is None else int(value)


async def _lag(conn: psycopg.Connection, bootstrap: str) -> dict[str, int]:
    """Per room, how many records of its topic lie behind the database's own offsets."""
    rows = conn.execute("SELECT room, topic, partition, next_offset FROM pump.partition").fetchall()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that Kafka is away is on the screen
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    async with asyncio.timeout(5):
        try:
            await consumer.start()
            ends = await consumer.end_offsets(
                {TopicPartition(topic, partition) for _, topic, partition, _ in rows}
            )
        finally:
            await consumer.stop()
    lag: dict[str, int] = {}
    for room, topic, partition, following in rows:
        lag[room] = lag.get(room, 0) + max(0, ends[TopicPartition(topic, partition)] - following)
    return lag


def screen(seen: Status) -> str:
    """The status for a person, at most 79 columns wide."""
    everything = [*seen.servers.values(), *seen.services.values()]
    if seen.up:
        lines = [f"Lamplight is up{f'   {seen.url}' if seen.url else ''}", ""]
    elif any(it["up"] for it in everything):
        lines = ["Lamplight is not all up", ""]
    else:
        lines = ["Lamplight is not up: make up starts it", ""]
    for name, server in seen.servers.items():
        state = "up" if server["up"] else "down"
        at = f"127.0.0.1:{server['port']}" if server["port"] else ""
        lines.append(f"  {name:<12}{state if server['ours'] else 'yours':<12}{_pid(server):<14}{at}".rstrip())
    for name, service in seen.services.items():
        state = "ready" if service["ready"] else "starting" if service["up"] else "down"
        lag = "" if not seen.lag or name not in seen.lag else f"{seen.lag[name]} behind"
        lines.append(f"  {name:<12}{state:<12}{_pid(service):<14}{lag}".rstrip())
    lines += [
        f"  {name:<12}{DOING.get(name, 'playing') if it['up'] else 'ended':<12}{_pid(it)}"
        for name, it in seen.gateways.items()
    ]
    if seen.demo:
        lines += ["", *(f"  {line}" for line in playing.words(seen.demo))]
    if seen.versions:
        lines += ["", "  " + ", ".join(f"{name} {version}" for name, version in seen.versions.items())]
    if seen.figures:
        lines.append("")
        for name, value in seen.figures.items():
            shown = _ago(value) if name == "last_reading" and value else value
            lines.append(f"  {name.replace('_', ' '):<14}{'-' if shown is None else shown}")
    return "\n".join(lines)


def _pid(process: dict[str, Any]) -> str:
    return f"pid {process['pid']}" if process["pid"] else ""


def _ago(iso: str) -> str:
    """The instant and how long ago, in the unit a person would use."""
    seconds = int(time.time() - datetime.fromisoformat(iso).timestamp())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{iso} ({seconds // size} {unit} ago)"
    return f"{iso} ({seconds} s ago)"
