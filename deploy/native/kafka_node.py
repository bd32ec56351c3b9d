"""Apache Kafka as one KRaft node on loopback: broker and controller in one small JVM."""

import os
import re
import signal
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from importlib import resources
from pathlib import Path

from deploy.native.processes import Processes, until
from deploy.native.progress import Say

NAME = "kafka"

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=16777216
# One node: what Kafka keeps for itself exists once.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# After a crash the node waits for its own former life to be declared dead: 3 s instead of 9.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The first consumer of a group need not wait for company, and a dead one is missed soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""

JVM = (
    "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=48m", "-Xss512k",
    "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
)  # fmt: skip


QUICK_START = "classes.jsa"
"""The JVM's archive of Kafka's loaded classes, beside the jars: it takes 40 % off the work of a start."""


class KafkaNode:
    """The node of `folder`, run by `processes` on `port`; `controller` is its second, inner port."""

    def __init__(
        self, folder: Path, *, java: Path, jars: Path, port: int, controller: int, processes: Processes
    ) -> None:
        self.folder = folder
        self._java = java
        self._jars = jars
        self._port = port
        self._controller = controller
        self._processes = processes
        archive = jars / QUICK_START
        self._archive = (f"-XX:SharedArchiveFile={archive}", "-Xlog:cds*=off") if archive.exists() else ()

    def start(self, say: Say) -> None:
        """Format the log at first start, and wait until the broker serves."""
        if self._processes.alive(NAME):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(port=self._port, controller=self._controller, data=self.folder / "log")
        )
        logging = self.folder / "log4j2.properties"
        logging.write_text((resources.files("deploy") / "native" / "log4j2.properties").read_text())
        if not (self.folder / "log/meta.properties").exists():
            self._format(properties)
        self._processes.start(
            NAME, self._command("kafka.Kafka", properties), env=_environment(), cwd=self.folder
        )
        until(
            self.answers,
            what="Kafka",
            within=90,
            say=say,
            alive=lambda: self._processes.alive(NAME) is not None,
            tail=lambda: self._processes.tail(NAME),
        )

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True

    def stop(self) -> None:
        self._processes.stop(NAME, number=signal.SIGTERM, within=30)

    def version(self) -> str:
        match = next(
            (re.search(r"kafka_2\.13-(.+)\.jar", path.name) for path in self._jars.glob("kafka_2.13-*.jar")),
            None,
        )
        return match[1] if match else "?"

    def rehearse(self, say: Say) -> None:
        """Start and stop once in an empty folder, and have the JVM write down the classes it loaded.

        A Java that cannot do that leaves no archive; Kafka then starts as before.
        """
        archive = self._jars / QUICK_START
        made = self.folder / QUICK_START
        self._archive = (f"-XX:ArchiveClassesAtExit={made}", "-Xlog:cds*=off")
        self.start(say)
        self._processes.stop(NAME, within=90)
        if made.exists():
            made.rename(archive)

    def _format(self, properties: Path) -> None:
        """Give the empty log its cluster id; with static voters no further flag is needed."""
        cluster = (
            urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        )  # no leading dash
        command = self._command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties)
        done = subprocess.run(
            command, env=_environment(), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"Kafka could not format {self.folder}: {(done.stderr or done.stdout).strip()[-500:]}"
            )

    def _command(self, main: str, *arguments: str | Path) -> list[str]:
        logging = f"-Dlog4j2.configurationFile=file:{self.folder / 'log4j2.properties'}"
        return [
            str(self._java),
            *JVM,
            *self._archive,
            logging,
            "-cp",
            f"{self._jars}/*",
            main,
            *map(str, arguments),
        ]


def _environment() -> dict[str, str]:
    """Java needs next to nothing; options left in the environment for other programs are not for Kafka."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
