"""Free ports, chosen once and kept in `ports.json`, so that a second start listens where the first did."""

import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path

LOW, HIGH = 20000, 32000
"""Below Linux's ephemeral range: no outgoing connection takes a chosen port before its server does."""


def free(port: int) -> bool:
    """Whether a server could listen on loopback `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Ports:
    """The ports of one folder by name."""

    def __init__(self, folder: Path, preferred: Mapping[str, int]) -> None:
        self._file = folder / "ports.json"
        self._preferred = preferred

    def __getitem__(self, name: str) -> int:
        """The port `name` has; KeyError if none was ever chosen."""
        return self._kept()[name]

    def choose(self, name: str) -> int:
        """The kept port if it is still free, else the preferred one, else a random free one; kept from now on."""
        kept = self._kept()
        taken = {port for other, port in kept.items() if other != name}
        wanted = [kept[name]] if name in kept else []
        wanted += [self._preferred[name]] if name in self._preferred else []
        wanted += random.sample(range(LOW, HIGH), 200)
        port = next(port for port in wanted if port not in taken and free(port))
        if kept.get(name) != port:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps({**kept, name: port}, indent=2, sort_keys=True) + "\n")
            fresh.replace(self._file)
        return port

    def _kept(self) -> dict[str, int]:
        try:
            return dict(json.loads(self._file.read_text()))
        except (OSError, ValueError):
            return {}
