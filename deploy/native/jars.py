"""Apache Kafka's jars, exactly those of `kafka-jars.txt`, fetched with a Maven client and checked by their SHA-256.

Kafka publishes its server as Maven artifacts; the list holds the whole run-time closure of `kafka_2.13` and the
logging it leaves to the distribution.
"""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deploy.native.progress import Say, ticking

LIST = "kafka-jars.txt"


class NoJarsError(Exception):
    """The jars cannot be had; the message is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One artifact and what its bytes must hash to."""

    group: str
    name: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.jar"


def listed(text: str | None = None) -> list[Jar]:
    r"""The jars of the list.

    >>> listed("# why\norg.apache.kafka:kafka_2.13:4.3.1 ab12")[0].file
    'kafka_2.13-4.3.1.jar'
    """
    text = (resources.files("deploy") / "native" / LIST).read_text() if text is None else text
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [
        Jar(group=g, name=n, version=v, sha256=digest)
        for where, digest in lines
        for g, n, v in [where.split(":")]
    ]


def version() -> str:
    """Which Kafka the list is of."""
    return next(jar.version for jar in listed() if jar.name == "kafka_2.13")


def present(folder: Path) -> bool:
    """Whether every jar is there; their bytes were checked when they came."""
    return all((folder / jar.file).exists() for jar in listed())


def fetch(folder: Path, say: Say) -> None:
    """Bring the missing jars into `folder`, each checked before it gets its name."""
    missing = [jar for jar in listed() if not (folder / jar.file).exists()]
    cache = folder / ".incoming"
    cache.mkdir(parents=True, exist_ok=True)
    _trust_the_system()
    what = f"downloading Apache Kafka {version()} ({len(missing)} jars)"
    try:
        with (
            ticking(
                say, what, lambda: f"{sum((folder / jar.file).exists() for jar in missing)} of {len(missing)}"
            ),
            ThreadPoolExecutor(4) as workers,
        ):
            list(workers.map(lambda jar: _fetch_one(jar, folder, cache), missing))
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _trust_the_system() -> None:
    """Believe the certificates this machine believes: behind a company's proxy the bundled list would not do."""
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    if system.exists():
        os.environ.setdefault("REQUESTS_CA_BUNDLE", str(system))


def _fetch_one(jar: Jar, folder: Path, cache: Path) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415 - needed once per machine, slow to import

    try:
        got = Path(
            MavenContext(repo_cache=cache)
            .project(jar.group, jar.name)
            .at_version(jar.version)
            .artifact()
            .resolve()
        )
    except Exception as error:
        raise NoJarsError(f"{jar.file} could not be downloaded ({type(error).__name__})") from error
    if hashlib.sha256(got.read_bytes()).hexdigest() != jar.sha256:
        raise NoJarsError(f"{jar.file} is not the file the list names: its SHA-256 differs")
    got.rename(folder / jar.file)
