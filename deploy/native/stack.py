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

A server that somebody else runs (the setting names it) is used and never started, stopped or changed.
"""

import asyncio
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy import bus
from deploy.native import kafka_node, mosquitto, postgres
from deploy.native.certificates import BRIDGE, Authority, Credential
from deploy.native.install import provide
from deploy.native.kafka_node import KafkaNode
from deploy.native.mosquitto import Mosquitto
from deploy.native.ports import Ports
from deploy.native.postgres import DATABASE, Postgres
from deploy.native.processes import Processes
from deploy.native.progress import Say, quiet

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".lamplight"
SOFTWARE = FOLDER / "software"
SERVERS = (postgres.NAME, mosquitto.NAME, kafka_node.NAME)


class Stack:
    """The servers of one folder; see the module's text for what it offers."""

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        software: Path = SOFTWARE,
        preferred: Mapping[str, int] | None = None,
        partitions: int = 8,
        say: Say = quiet,
    ) -> None:
        self.folder = folder.resolve()
        self.processes = Processes(self.folder)
        self.ports = Ports(self.folder, preferred or {})
        self.authority = Authority(self.folder / "certificates")
        self.partitions = partitions
        self._software = software
        self._say = say
        self._postgres: Postgres | None = None
        self._mosquitto: Mosquitto | None = None
        self._kafka: KafkaNode | None = None

    # Starting and stopping -----------------------------------------------------------------------------------

    def start(self) -> Self:
        """Install what is missing, start what is not running, all three at once; ready when it returns."""
        self._assemble()
        assert self._postgres and self._mosquitto and self._kafka  # noqa: S101
        self.authority.found(now=datetime.now(UTC))
        self.authority.issue(BRIDGE, now=datetime.now(UTC))
        with ThreadPoolExecutor(3) as workers:
            starting = [
                workers.submit(self._start_postgres, self._postgres),
                workers.submit(self._start_kafka, self._kafka),
                workers.submit(self._mosquitto.start, self._say),
            ]
        for done in starting:
            done.result()
        return self

    def stop(self) -> None:
        """Stop the servers, last started first, each in its orderly way."""
        self._assemble(ports=False)
        stops = {name: part.stop for name, part in self._parts().items()}
        for name in reversed([name for name in self.processes.names() if name in SERVERS]):
            stops[name]()

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
        part = self._parts()[name]
        if self.processes.alive(name):
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
        return f"127.0.0.1:{self.ports['kafka']}"

    @property
    def mqtt(self) -> str:
        return f"127.0.0.1:{self.ports['mqtt']}"

    @property
    def bridge(self) -> Credential:
        return self.issue(BRIDGE)

    def issue(self, gateway_id: str) -> Credential:
        return self.authority.issue(gateway_id, now=datetime.now(UTC))

    def revoke(self, gateway_id: str) -> None:
        """From now on the broker refuses this gateway's certificate."""
        self.authority.revoke(gateway_id, now=datetime.now(UTC))
        self._assemble(ports=False)
        assert self._mosquitto  # noqa: S101
        self._mosquitto.reload()

    def dsn(self, role: str, database: str = DATABASE) -> str:
        return self.database_server.dsn(role, database)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        self.database_server.create_database(name, template=template)

    def seal(self, name: str) -> None:
        self.database_server.seal(name)

    def drop_database(self, name: str) -> None:
        self.database_server.drop_database(name)

    @property
    def database_server(self) -> Postgres:
        self._assemble(ports=False)
        assert self._postgres  # noqa: S101
        return self._postgres

    def versions(self) -> dict[str, str]:
        """Name → version of each server, as running."""
        assert self._kafka and self._mosquitto  # noqa: S101
        return {
            "Kafka": self._kafka.version(),
            "Mosquitto": self._mosquitto.version(),
            **self.database_server.versions(),
        }

    def environment(self, database: str = DATABASE) -> dict[str, str]:
        """The settings that point any of our services at this stack."""
        return {
            "LAMPLIGHT_KAFKA": self.kafka,
            "LAMPLIGHT_PARTITIONS": str(self.partitions),
            "LAMPLIGHT_DATABASE": self.dsn("lamplight_pipeline", database),
            "LAMPLIGHT_DATABASE_WEB": self.dsn("lamplight_web", database),
            "LAMPLIGHT_DATABASE_OWNER": self.dsn("lamplight_owner", database),
            "LAMPLIGHT_MQTT": self.mqtt,
            "LAMPLIGHT_MQTT_CA": str(self.bridge.ca),
            "LAMPLIGHT_MQTT_CERT": str(self.bridge.cert),
            "LAMPLIGHT_MQTT_KEY": str(self.bridge.key),
        }

    # Inside --------------------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, Postgres | Mosquitto | KafkaNode]:
        self._assemble(ports=False)
        parts = {postgres.NAME: self._postgres, mosquitto.NAME: self._mosquitto, kafka_node.NAME: self._kafka}
        return {name: part for name, part in parts.items() if part is not None}

    def _assemble(self, *, ports: bool = True) -> None:
        """Find the programs and the ports, once. With `ports`, a port taken by a stranger is changed."""
        if self._postgres is not None:
            return
        software = provide(self._software, self._say)
        assert software.postgres and software.mosquitto and software.java and software.kafka  # noqa: S101
        port = {
            name: self.ports.choose(name) if ports and not self.alive(server) else self.ports[name]
            for name, server in (
                ("postgres", postgres.NAME),
                ("mqtt", mosquitto.NAME),
                ("kafka", kafka_node.NAME),
                ("kafka_controller", kafka_node.NAME),
            )
        }
        self._postgres = Postgres(
            self.folder / "postgres", software.postgres, port["postgres"], self.processes
        )
        self._mosquitto = Mosquitto(
            self.folder / "mosquitto", software.mosquitto, port["mqtt"], self.processes, self.authority
        )
        self._kafka = KafkaNode(
            self.folder / "kafka",
            software.java,
            software.kafka,
            port["kafka"],
            port["kafka_controller"],
            self.processes,
        )

    def _start_postgres(self, part: Postgres) -> None:
        part.start(self._say)
        part.prepare()
        self._say(f"  PostgreSQL {part.versions()['PostgreSQL']} with TimescaleDB is ready")

    def _start_kafka(self, part: KafkaNode) -> None:
        part.start(self._say)
        asyncio.run(bus.ensure_topics(self.kafka, partitions=self.partitions, replication=1))
        self._say(f"  Kafka {part.version()} is ready")
