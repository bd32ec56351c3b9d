"""The three servers Lamplight stands on, started and stopped together: PostgreSQL + TimescaleDB, Mosquitto, Kafka.

What `lamplight up` keeps and what the tests throw away is the same class:

    with Stack(folder) as stack:       # or .start() and .stop(); starting twice is fine, processes outlive us
        stack.kafka                    # "127.0.0.1:9092", bootstrap servers
        stack.mqtt                     # "127.0.0.1:8883", TLS
        stack.bridge                   # Credential(name, ca, cert, key): ingest's certificate
        stack.issue("gw-1")            # Credential of a gateway; stack.revoke("gw-1") ends it
        stack.dsn("lamplight_web")     # also lamplight_pipeline, lamplight_owner, postgres; database="other"
        stack.create_database("copy", template="sealed"), stack.seal("sealed"), stack.drop_database("copy")
        stack.kill("kafka")            # SIGKILL; also "postgres", "mosquitto"
        stack.restart("kafka")         # start it again (stops it first if it lives) and wait until it answers
        stack.freeze("kafka"), stack.thaw("kafka")
        stack.alive("kafka"), stack.log("kafka"), stack.versions()
        stack.environment()            # the LAMPLIGHT_* settings that point a service here

A server that somebody else runs (`given` holds its settings) is used and never started, stopped or changed.
"""

import asyncio
import secrets
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from deploy import bus
from deploy.native import kafka_node, mosquitto, postgres
from deploy.native.certificates import BRIDGE, Authority, Credential
from deploy.native.install import MissingError, Software, provide
from deploy.native.kafka_node import KafkaNode
from deploy.native.mosquitto import Mosquitto
from deploy.native.ports import Ports
from deploy.native.postgres import DATABASE, Postgres
from deploy.native.processes import NotReadyError, Processes
from deploy.native.progress import Say, quiet, ticking

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".lamplight"
SOFTWARE = FOLDER / "software"

SETTINGS_OF = {
    postgres.NAME: ("LAMPLIGHT_DATABASE", "LAMPLIGHT_DATABASE_WEB", "LAMPLIGHT_DATABASE_OWNER"),
    mosquitto.NAME: ("LAMPLIGHT_MQTT", "LAMPLIGHT_MQTT_CA", "LAMPLIGHT_MQTT_CERT", "LAMPLIGHT_MQTT_KEY"),
    kafka_node.NAME: ("LAMPLIGHT_KAFKA",),
}
"""Which settings name which server; a server is somebody else's when all of its settings are given."""


class Part(Protocol):
    """A server of the stack."""

    def start(self, say: Say) -> None: ...
    def stop(self) -> None: ...


class Stack:
    """The servers of one folder; see the module's text for what it offers."""

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        software: Path = SOFTWARE,
        preferred: Mapping[str, int] | None = None,
        given: Mapping[str, str] | None = None,
        partitions: int = 8,
        postgres_settings: Mapping[str, str] | None = None,
        say: Say = quiet,
    ) -> None:
        self.folder = folder.resolve()
        self.processes = Processes(self.folder)
        self.ports = Ports(self.folder, preferred or {})
        self.authority = Authority(self.folder / "certificates")
        self.partitions = partitions
        self.given = dict(given or {})
        self._software = software
        self._postgres_settings = dict(postgres_settings or {})
        self._say = say
        self._found: Software | None = None

    # Starting and stopping -----------------------------------------------------------------------------------

    @property
    def ours(self) -> list[str]:
        """The servers this stack runs itself; MissingError when somebody else's is only half described."""
        mine, lacking = [], []
        for server, names in SETTINGS_OF.items():
            absent = [name for name in names if not self.given.get(name)]
            if len(absent) == len(names):
                mine.append(server)
            elif absent:
                lacking.append(f"to use a {server} of your own, give {', '.join(absent)} too")
        if lacking:
            raise MissingError(lacking)
        return mine

    def install(self) -> Software:
        """Find the programs of our servers, fetching what is missing."""
        if self._found is None:
            mine = self.ours
            self._found = provide(
                self._software,
                self._say,
                postgres=postgres.NAME in mine,
                mosquitto=mosquitto.NAME in mine,
                kafka=kafka_node.NAME in mine,
            )
            if self._found.java and self._found.kafka:
                rehearse_kafka(self._found.java, self._found.kafka, self._say)
        return self._found

    def start(self) -> Self:
        """Install what is missing, start what is not running, all at once; ready when it returns."""
        self.install()
        for server, names in _PORTS.items():
            for name in names:
                if server in self.ours and not self.alive(server):
                    self.ports.choose(name)
        self.authority.found(now=datetime.now(UTC))
        starting = {
            postgres.NAME: self._start_postgres,
            kafka_node.NAME: self._start_kafka,
            mosquitto.NAME: self._start_mosquitto,
        }
        with ThreadPoolExecutor(len(starting)) as workers:
            begun = [workers.submit(start) for name, start in starting.items() if name in self.ours]
        for done in begun:
            done.result()
        if kafka_node.NAME not in self.ours:
            self._ensure_topics()
        return self

    def stop(self) -> None:
        """Stop the servers that run, last started first, each in its orderly way."""
        for name in reversed([name for name in self.processes.names() if name in SETTINGS_OF]):
            self._part(name).stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut or the out-of-memory killer would."""
        self.processes.kill(name)

    def restart(self, name: str) -> None:
        """Start a server (again) on its port and wait until it answers."""
        part = self._part(name)
        if self.alive(name):
            part.stop()
        part.start(self._say)

    def freeze(self, name: str) -> None:
        """SIGSTOP: alive for the kernel, silent for everybody else."""
        self.processes.send(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes.send(name, signal.SIGCONT)

    def alive(self, name: str) -> bool:
        return self.processes.alive(name) is not None

    def log(self, name: str) -> Path:
        return self.processes.log(name)

    # Where they are ------------------------------------------------------------------------------------------

    @property
    def kafka(self) -> str:
        return self.given.get("LAMPLIGHT_KAFKA") or f"127.0.0.1:{self.ports['kafka']}"

    @property
    def mqtt(self) -> str:
        return self.given.get("LAMPLIGHT_MQTT") or f"127.0.0.1:{self.ports['mqtt']}"

    @property
    def bridge(self) -> Credential:
        return self.issue(BRIDGE)

    def issue(self, gateway_id: str) -> Credential:
        """The certificate of a gateway of our own broker, made when first asked for."""
        return self.authority.issue(gateway_id, now=datetime.now(UTC))

    def revoke(self, gateway_id: str) -> None:
        """From now on the broker refuses this gateway's certificate."""
        self.authority.revoke(gateway_id, now=datetime.now(UTC))
        self.mosquitto.reload()

    def dsn(self, role: str, database: str = DATABASE) -> str:
        return self.postgres.dsn(role, database)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        self.postgres.create_database(name, template=template)

    def seal(self, name: str) -> None:
        self.postgres.seal(name)

    def drop_database(self, name: str) -> None:
        self.postgres.drop_database(name)

    def versions(self) -> dict[str, str]:
        """Name → version of each of our servers that runs."""
        said: dict[str, str] = {}
        if self.alive(kafka_node.NAME):
            said["Kafka"] = self.kafka_node.version()
        if self.alive(mosquitto.NAME):
            said["Mosquitto"] = self.mosquitto.version()
        if self.alive(postgres.NAME):
            said |= self.postgres.versions()
        return said

    def environment(self, database: str = DATABASE) -> dict[str, str]:
        """The settings that point any of our services at this stack."""
        told = {
            "LAMPLIGHT_KAFKA": self.kafka,
            "LAMPLIGHT_PARTITIONS": str(self.partitions),
            "LAMPLIGHT_VENDOR_KEY": self._key("vendor"),
            "LAMPLIGHT_REFUSAL_KEY": self._key("refusal"),
            "LAMPLIGHT_ANCHOR_KEY": self._anchor_key(),
            "LAMPLIGHT_ANCHORS": str(self.folder / "anchors.jsonl"),
        }
        if postgres.NAME in self.ours:
            told |= {
                "LAMPLIGHT_DATABASE": self.dsn("lamplight_pipeline", database),
                "LAMPLIGHT_DATABASE_WEB": self.dsn("lamplight_web", database),
                "LAMPLIGHT_DATABASE_OWNER": self.dsn("lamplight_owner", database),
            }
        if mosquitto.NAME in self.ours:
            told |= {
                "LAMPLIGHT_MQTT": self.mqtt,
                **credential_settings(self.bridge),
                "LAMPLIGHT_AUTHORITY": str(self.authority.folder),
                "LAMPLIGHT_BROKER_RELOAD": shlex.join(
                    [sys.executable, "-m", "deploy.cli", "reload-broker", str(self.folder)]
                ),
            }
        return {**told, **self.given}

    def _key(self, name: str) -> str:
        """What seals vendors' secrets or refused bytes in this folder's data; made once, readable by its owner only."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path.read_text()

    def _anchor_key(self) -> str:
        """The file with the key that signs this folder's ledgers; made once: the service only loads it."""
        path = self.folder / "anchor.pem"
        if not path.exists():
            from ccm_bridge.anchor_store import load_or_make_key  # noqa: PLC0415 - once; half a room comes with it

            self.folder.mkdir(parents=True, exist_ok=True)
            load_or_make_key(path)
        return str(path)

    # The servers themselves ----------------------------------------------------------------------------------

    @property
    def postgres(self) -> Postgres:
        bins = self._program("postgres", self.install().postgres)
        return Postgres(
            self.folder / "postgres", bins, self.ports["postgres"], self.processes, self._postgres_settings
        )

    @property
    def mosquitto(self) -> Mosquitto:
        program = self._program("mosquitto", self.install().mosquitto)
        return Mosquitto(
            self.folder / "mosquitto", program, self.ports["mqtt"], self.processes, self.authority
        )

    @property
    def kafka_node(self) -> KafkaNode:
        return KafkaNode(
            self.folder / "kafka",
            java=self._program("kafka", self.install().java),
            jars=self._program("kafka", self.install().kafka),
            port=self.ports["kafka"],
            controller=self.ports["kafka_controller"],
            processes=self.processes,
        )

    def _part(self, name: str) -> Part:
        match name:
            case postgres.NAME:
                return self.postgres
            case mosquitto.NAME:
                return self.mosquitto
            case kafka_node.NAME:
                return self.kafka_node
            case _:
                raise KeyError(f"{name!r} is no server of the stack: want one of {', '.join(SETTINGS_OF)}")

    def _program(self, server: str, found: Path | None) -> Path:
        if found is None:
            raise RuntimeError(
                f"{server} is somebody else's here ({SETTINGS_OF[server][0]} is given): it is only used"
            )
        return found

    def _start_postgres(self) -> None:
        self.postgres.start(self._say)
        self.postgres.prepare()
        versions = self.postgres.versions()
        self._say(
            f"  PostgreSQL {versions['PostgreSQL']} with TimescaleDB {versions['TimescaleDB']} is ready"
        )

    def _start_mosquitto(self) -> None:
        self.mosquitto.start(self._say)
        self._say(f"  Mosquitto {self.mosquitto.version()} is ready")

    def _start_kafka(self) -> None:
        self.kafka_node.start(self._say)
        self._ensure_topics()
        self._say(f"  Kafka {self.kafka_node.version()} is ready")

    def _ensure_topics(self) -> None:
        asyncio.run(bus.ensure_topics(self.kafka, partitions=self.partitions, replication=1))


_PORTS = {
    postgres.NAME: ("postgres",),
    mosquitto.NAME: ("mqtt",),
    kafka_node.NAME: ("kafka", "kafka_controller"),
}


def rehearse_kafka(java: Path, jars: Path, say: Say) -> None:
    """Once per download, make Kafka's quick start; whether or not it succeeds it is not tried again."""
    done = jars / "rehearsed"
    if done.exists():
        return
    with (
        tempfile.TemporaryDirectory(prefix="rehearsal-", dir=jars) as name,
        ticking(say, "rehearsing Kafka's start, once, so that the next ones are quick"),
        suppress(NotReadyError, RuntimeError),
    ):
        folder = Path(name)
        ports, processes = Ports(folder, {}), Processes(folder)
        port, controller = ports.choose("kafka"), ports.choose("kafka_controller")
        node = KafkaNode(folder, java=java, jars=jars, port=port, controller=controller, processes=processes)
        try:
            node.rehearse(quiet)
        finally:
            processes.kill(kafka_node.NAME)
    done.touch()


def credential_settings(credential: Credential) -> dict[str, str]:
    """The settings by which a service or a gateway presents `credential`."""
    return {
        "LAMPLIGHT_MQTT_CA": str(credential.ca),
        "LAMPLIGHT_MQTT_CERT": str(credential.cert),
        "LAMPLIGHT_MQTT_KEY": str(credential.key),
    }
