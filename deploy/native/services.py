"""Our own services on this machine: which there are, what each is told, and how it is seen to be ready."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from deploy.native.certificates import Credential
from deploy.native.ports import Ports
from deploy.native.processes import Processes, until
from deploy.native.progress import Say, quiet, ticking

PREFIX = "LAMPLIGHT_"
_KAFKA = ("KAFKA", "PARTITIONS")
_MQTT = ("MQTT", "MQTT_CA", "MQTT_CERT", "MQTT_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process: its name, the command after `lamplight`, and the settings it is told; no other reaches it."""

    name: str
    command: tuple[str, ...]
    settings: tuple[str, ...]


def _room(name: str) -> Service:
    return Service(name=name, command=("run", name), settings=(*_KAFKA, "DATABASE"))


SERVICES = (
    Service(name="ingest", command=("run", "ingest"), settings=(*_KAFKA, *_MQTT, "DATABASE", "REFUSAL_KEY")),
    _room("archive"),
    _room("risk"),
    Service(
        name="alerts",
        command=("run", "alerts"),
        settings=(
            *_KAFKA,
            "DATABASE",
            "PUBLIC_URL",
            "SMTP",
            "SMTP_FROM",
            "SMTP_USER",
            "SMTP_PASSWORD",
            "WEBHOOK_SECRET",
        ),
    ),
    Service(name="ccm", command=("run", "ccm"), settings=(*_KAFKA, "DATABASE", "ANCHOR_KEY", "ANCHORS")),
    Service(
        name="webhooks",
        command=("run", "webhooks"),
        settings=(*_KAFKA, "DATABASE", "VENDOR_KEY", "REFUSAL_KEY", "WEBHOOKS_PORT"),
    ),
    Service(
        name="authority",
        command=("run", "authority"),
        settings=("DATABASE", "MQTT", "AUTHORITY", "BROKER_RELOAD"),
    ),
    Service(
        name="web", command=("run", "web"), settings=("DATABASE_WEB", "WEB_PORT", "PUBLIC_URL", "REFUSAL_KEY")
    ),
)
"""In the order of starting; they are stopped in reverse."""

PLAYERS = ("gw-harbor", "gw-cedar")
"""The demo's gateways, playing recorded diaries as if they were in the homes."""

BY_HAND = "gw-1"
"""The gateway whose certificate is yours, to send readings by hand."""

WATCHMAN = "watchman"
MAILBOX = "mailbox"


class Fleet:
    """The services of one folder, run by its `processes`."""

    def __init__(
        self, processes: Processes, ports: Ports, root: Path, services: Sequence[Service] = SERVICES
    ) -> None:
        self.services = tuple(services)
        self._processes = processes
        self._ports = ports
        self._root = root

    def start(self, told: Mapping[str, str], say: Say) -> None:
        """Start what is not running, each under its keeper, all at once; ready when it returns."""
        for service in self.services:
            if self._processes.alive(service.name):
                continue
            port = self._ports.choose(f"{service.name}_status")
            settings = {
                f"{PREFIX}{name}": told[f"{PREFIX}{name}"]
                for name in service.settings
                if told.get(f"{PREFIX}{name}")
            }
            self._keep(service.name, service.command, {**settings, f"{PREFIX}STATUS_PORT": str(port)})
        waiting = [service.name for service in self.services]

        def wait(name: str) -> None:
            self._wait(name)
            waiting.remove(name)

        with (
            ticking(say, f"  {', '.join(waiting)}", lambda: f"waiting for {', '.join(waiting)}"),
            ThreadPoolExecutor(len(self.services)) as workers,
        ):
            waits = [workers.submit(wait, service.name) for service in self.services]
        for one in waits:
            one.result()

    def play(self, credential: Credential, mqtt: str, outbox: Path) -> None:
        """Start a demo gateway. It waits for nobody: what nobody takes yet lies in its outbox."""
        settings = {
            "MQTT": mqtt,
            "MQTT_CA": credential.ca,
            "MQTT_CERT": credential.cert,
            "MQTT_KEY": credential.key,
        }
        self._keep(
            credential.name,
            ("gateway", "play", "--id", credential.name, "--outbox", str(outbox)),
            {f"{PREFIX}{name}": str(value) for name, value in settings.items()},
        )

    def take_mail(self, folder: Path, port: int) -> None:
        """Start the demo's mail server, which keeps the calls that go out when nobody comes."""
        self._keep(MAILBOX, ("demo", "mailbox", str(folder), str(port)), {})

    def watch(self, folder: Path, given: Mapping[str, str]) -> None:
        """Start the watchman, who starts servers that ended again; the services have their keepers."""
        self._keep(WATCHMAN, ("watch", str(folder)), given)

    def _keep(self, name: str, command: Sequence[str], settings: Mapping[str, str]) -> None:
        """Start `lamplight COMMAND` under its keeper, told these settings and no others; does nothing if it runs."""
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
            **settings,
            "PYTHONPATH": str(self._root),
            "OMP_NUM_THREADS": "1",  # batches are small: threads would only wait for each other
        }
        words = [sys.executable, "-m", "deploy.keeper", sys.executable, "-m", "deploy.cli", *command]
        self._processes.start(name, words, env=env, cwd=self._root)

    def stop(self, names: Sequence[str]) -> None:
        """Ask all of `names` to stop at once: each finishes its batch, none waits for another."""
        with ThreadPoolExecutor(max(1, len(names))) as workers:
            list(workers.map(lambda name: self._processes.stop(name, within=20), names))

    def ready(self, name: str) -> bool:
        """Whether the service says that it can do its work."""
        try:
            url = f"http://127.0.0.1:{self._ports[f'{name}_status']}/readyz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (OSError, KeyError, urllib.error.HTTPError):
            return False

    def _wait(self, name: str) -> None:
        until(
            lambda: self.ready(name),
            what=name,
            within=90,
            say=quiet,
            alive=lambda: self._processes.alive(name) is not None,
            tail=lambda: self._processes.tail(name),
        )
