"""Debian's own PostgreSQL + TimescaleDB and Mosquitto, unpacked into one folder and run from there.

Debian 12 has no TimescaleDB, and an ordinary user may install nothing. So the packages of a suite that has it are
fetched with the machine's own mirror and key, unpacked (never installed: no system file, service or account is
touched) and run on the C library that came with them: every program becomes a two-line wrapper around that
suite's `ld.so`. It needs `apt-get` and `dpkg-deb`, no root and no compiler; about 45 MB down, 110 MB on disk.

Debian's TimescaleDB is the Apache edition: hypertables, time_bucket and chunks; no compression, no policies.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.native.progress import Say, ticking

OLDER_THAN_TRIXIE = ("bookworm", "bullseye", "buster")
_LIBRARY = re.compile(r"(lib(?!perl|llvm|z3|python).*|zlib1g|tzdata)")
_UNWANTED = (
    "share/doc", "share/man", "share/locale", "share/perl5", "share/bash-completion", "lib/*/gconv", "lib/*/perl-base",
    "lib/postgresql/*/lib/bitcode", "lib/postgresql/*/lib/llvmjit*",
)  # fmt: skip


class NoTreeError(Exception):
    """The packages cannot be had on this machine; the message is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One package archive this machine already trusts."""

    uri: str
    suite: str
    components: str
    key: str  # a keyring file, or "" where apt's own trusted keys do


def find_source(
    etc: Path = Path("/etc"), key: Path = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
) -> Source:
    """The distribution's own archive from apt's configuration, in the deb822 form or the older one-line form."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', (etc / "os-release").read_text(), re.MULTILINE))
    own = release.get("VERSION_CODENAME", "")
    suite = "trixie" if own in OLDER_THAN_TRIXIE else own
    for path in sorted((etc / "apt/sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            said = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", stanza, re.MULTILINE))
            if own in said.get("Suites", "").split() and said.get("URIs"):
                named = said.get("Signed-By", "")
                return Source(
                    uri=said["URIs"].split()[0],
                    suite=suite,
                    components=said.get("Components", "main"),
                    key=named if named.startswith("/") else "",
                )
    for path in [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*.list"))]:
        text = path.read_text() if path.exists() else ""
        for options, uri, components in re.findall(
            rf"^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+{own}\s+(.+)$", text, re.MULTILINE
        ):
            named = re.search(r"signed-by=(/[^\s\]]+)", options)
            fallback = str(key) if key.exists() and release.get("ID") == "debian" else ""
            return Source(uri=uri, suite=suite, components=components, key=named[1] if named else fallback)
    raise NoTreeError(f"apt has no source for {release.get('PRETTY_NAME', 'this system')}")


def build(target: Path, say: Say) -> None:
    """Fetch and unpack into `target`, all or nothing.

    1. Ask a private copy of apt, told of nothing installed, for the suite's package list.
    2. Resolve the two servers; keep them and their shared libraries, leave perl, init scripts and accounts out.
    3. Download (apt checks the signatures), unpack, wrap each program, try each server's `--version`.
    """
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise NoTreeError(f"{tool} is missing: this is not a Debian or Ubuntu machine")
    source = find_source()
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent)).resolve()
    try:
        apt = _private_apt(room, source)
        with ticking(say, f"reading the package list of {source.suite}"):
            _run(apt("apt-get", "update"))
        found = re.findall(
            r"^postgresql-(\d+)-timescaledb ",
            _run(apt("apt-cache", "search", "--names-only", "timescaledb")),
            re.MULTILINE,
        )
        if not found:
            raise NoTreeError(f"{source.suite} has no TimescaleDB package")
        version = max(found, key=int)
        servers = (f"postgresql-{version}", f"postgresql-{version}-timescaledb", "mosquitto")
        plan = _run(apt("apt-get", "--simulate", "install", "--yes", *servers))
        wanted = [
            name
            for name in re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
            if name in servers or _LIBRARY.fullmatch(name)
        ]
        wanted.append(f"postgresql-client-{version}")
        debs = room / "debs"
        what = f"downloading PostgreSQL {version}, TimescaleDB and Mosquitto ({len(wanted)} packages)"
        with ticking(say, what, lambda: f"{len(list(debs.glob('*.deb')))} of {len(wanted)}"):
            _run(apt("apt-get", "download", *wanted), cwd=debs)
        root = room / "root"
        with ticking(say, "unpacking"):
            for deb in sorted(debs.glob("*.deb")):
                _unpack(deb, root)
            programs = [*(root / f"usr/lib/postgresql/{version}/bin").iterdir(), root / "usr/sbin/mosquitto"]
            _wrap(root, programs)
        _run([str(root / f"usr/lib/postgresql/{version}/bin/postgres"), "--version"])
        (root / ".complete").write_text(f"{source.suite}: {' '.join(servers)}\n")
        root.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        root.rename(target)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _private_apt(room: Path, source: Source):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """A function that makes apt command lines which read and write only inside `room`."""
    for folder in ("lists/partial", "archives/partial", "debs", "root"):
        (room / folder).mkdir(parents=True)
    signed = f"[signed-by={source.key}] " if source.key else ""
    (room / "sources.list").write_text(f"deb {signed}{source.uri} {source.suite} {source.components}\n")
    options = {
        "Dir::Etc::SourceList": room / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": room,
        "Dir::State::Lists": room / "lists",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": room,
        "Dir::Cache::archives": room / "archives",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "",
        "APT::Install-Recommends": "0",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return lambda program, *words: [program, *flags, "-q", *words]


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode:
        last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-1:] or [
            "no message"
        ]
        raise NoTreeError(f"{Path(command[0]).name} failed: {last[0]}")
    return done.stdout


def _unpack(deb: Path, root: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as opened:
        excludes = [f"--exclude=./usr/{path}" for path in _UNWANTED]
        subprocess.run(
            ["tar", "-x", "-C", str(root), "--no-same-owner", *excludes], stdin=opened.stdout, check=True
        )
    if opened.returncode:
        raise NoTreeError(f"{deb.name} cannot be unpacked")


def _wrap(root: Path, programs: list[Path]) -> None:
    """Let each program run on the tree's own C library, wherever the tree is moved: paths are worked out from $0."""
    loader = next(iter((root / "usr/lib").glob("*-linux-gnu*/ld-linux-*.so.*")))
    libraries = os.path.relpath(loader.parent, root)
    for program in programs:
        if program.is_symlink() or program.read_bytes()[:4] != b"\x7fELF":
            continue
        up = os.path.relpath(root, program.parent)
        real = program.with_name(f".{program.name}.elf")
        program.rename(real)
        program.write_text(
            '#!/bin/sh\nb=$(cd "$(dirname "$0")" && pwd -P); '
            f'r=$b/{up}; exec "$r/{os.path.relpath(loader, root)}" --library-path "$r/{libraries}" '
            f'--argv0 "$b/{program.name}" "$b/{real.name}" "$@"\n'
        )
        program.chmod(0o755)
