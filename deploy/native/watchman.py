"""Starts our servers again when they end: what systemd or an orchestrator does for them elsewhere."""

import time
from typing import Protocol

from deploy.native.processes import NotReadyError
from deploy.native.progress import Say

EVERY_S = 1.0
LONGEST_WAIT_S = 30.0


class Servers(Protocol):
    """As much of a `Stack` as a watchman needs."""

    @property
    def ours(self) -> list[str]: ...
    def alive(self, name: str) -> bool: ...
    def restart(self, name: str) -> None: ...


def tend(servers: Servers, say: Say) -> tuple[list[str], list[str]]:
    """One look at each server; which were started again, and which would not start."""
    again, failed = [], []
    for name in servers.ours:
        if servers.alive(name):
            continue
        say(f"{name} ended; starting it again")
        try:
            servers.restart(name)
        except (NotReadyError, OSError) as error:
            say(f"{name} does not start: {error}")
            failed.append(name)
        else:
            again.append(name)
    return again, failed


def watch(servers: Servers, say: Say) -> None:
    """Look every second, less often while one will not start; ends by a signal."""
    wait = EVERY_S
    while True:
        _, failed = tend(servers, say)
        wait = min(wait * 2, LONGEST_WAIT_S) if failed else EVERY_S
        time.sleep(wait)
