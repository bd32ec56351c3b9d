"""Processes we own: started detached, found again by pid *and* birth, stopped in reverse order, never a stranger's."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from deploy.native.progress import EVERY_S, Say


class Probe(Protocol):
    """Asks a part whether it is ready; False or an OSError means not yet."""

    def __call__(self) -> bool: ...


class NotReadyError(Exception):
    """A part did not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """Which process a pid meant when we wrote it down: pids are used again, a pid with its start tick is not."""

    pid: int
    tick: int  # field 22 of /proc/PID/stat, clock ticks since boot
    boot: str  # ticks count from boot: another boot is another process
    order: int  # when it was started among its siblings; they are stopped in reverse


def tick_of(pid: int) -> int | None:
    """The start tick of a living process, or None when it is gone or nothing but a zombie.

    A killed JVM is a zombie *with threads* for a moment, and they still hold its ports and locks: that is alive.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    threads, tick = int(rest[16]), int(rest[18])
    return None if state == "X" or (state == "Z" and threads <= 1) else tick


def kept_by(keeper: int) -> int:
    """What a keeper keeps, which comes back when it is killed; between two of them, or where /proc does not tell, itself.

    Whoever kills the keeper stops the service: the kernel takes what it kept along.
    """
    try:
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    except OSError:
        return keeper
    return int(children[0]) if children else keeper


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def until(
    probe: Probe, *, what: str, within: float, say: Say, alive: Callable[[], bool], tail: Callable[[], str]
) -> None:
    """Wait until `probe` is true, saying so every few seconds; give up when the process dies or time is over."""
    start = time.monotonic()
    told = start
    while True:
        try:
            if probe():
                return
        except OSError:
            pass
        now = time.monotonic()
        if not alive():
            raise NotReadyError(f"{what} ended while starting:\n{tail()}")
        if now - start > within:
            raise NotReadyError(f"{what} was not ready within {within:.0f} s:\n{tail()}")
        if now - told > EVERY_S:
            say(f"  waiting for {what} ({now - start:.0f} s)")
            told = now
        time.sleep(0.05)


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""What this very process started: only we can reap those, whichever `Processes` asks."""


class Processes:
    """The processes of one folder: `run/NAME.json` says which pid each is, `log/NAME.log` has its words."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.logs = folder / "log"

    def start(self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> Birth:
        """Start `name` detached from our terminal and session; it survives us. Does nothing if it lives already."""
        if (there := self.alive(name)) is not None:
            return there
        self.run.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                [str(word) for word in command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _CHILDREN[child.pid] = child
        tick = tick_of(child.pid)
        birth = Birth(pid=child.pid, tick=-1 if tick is None else tick, boot=boot_id(), order=time.time_ns())
        record = self.run / f"{name}.json"
        fresh = record.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(birth)))
        fresh.replace(record)
        return birth

    def alive(self, name: str) -> Birth | None:
        """The process of that name if it is still the one we started."""
        birth = self._recorded(name)
        if birth is None:
            return None
        if (child := _CHILDREN.get(birth.pid)) is not None:
            child.poll()  # reaps it if it ended
        return birth if birth.boot == boot_id() and tick_of(birth.pid) == birth.tick else None

    def names(self) -> list[str]:
        """Everything on record, in the order of starting."""
        births = {
            path.stem: birth for path in self.run.glob("*.json") if (birth := self._recorded(path.stem))
        }
        return sorted(births, key=lambda name: births[name].order)

    def send(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to our own process of that name; False if it does not live."""
        birth = self.alive(name)
        if birth is None:
            return False
        try:
            os.kill(birth.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(name, signal.SIGKILL)
        self._gone(name, 10)

    def stop(self, name: str, *, number: signal.Signals = signal.SIGTERM, within: float = 20) -> bool:
        """Ask it to stop, insist after `within` seconds; True if it stopped by itself. Forgets the record."""
        self.send(name, signal.SIGCONT)
        willing = not self.send(name, number) or self._gone(name, within)
        if not willing:
            self.kill(name)
        (self.run / f"{name}.json").unlink(missing_ok=True)
        return willing

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines of its log."""
        try:
            with self.log(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def _gone(self, name: str, within: float) -> bool:
        end = time.monotonic() + within
        while self.alive(name) is not None:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _recorded(self, name: str) -> Birth | None:
        try:
            return Birth(**json.loads((self.run / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
