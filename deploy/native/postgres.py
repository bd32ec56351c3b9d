"""PostgreSQL with TimescaleDB: one cluster on loopback that never forgets what it acknowledged.

The cluster is made at first start with a password for everybody (scram-sha-256, kept in `secrets.json`, readable
by its owner alone). Roles: `lamplight_owner` owns the database and runs migrations, `lamplight_pipeline` is the
services, `lamplight_web` the pages; none of them is superuser or gets round row-level security.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.native import unprivileged
from deploy.native.processes import Processes, until
from deploy.native.progress import Say

NAME = "postgres"
DATABASE = "lamplight"
SUPERUSER = "postgres"
ROLES = ("lamplight_owner", "lamplight_pipeline", "lamplight_web")
EXTENSIONS = ("timescaledb", "btree_gist")

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # one door, with a password
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",  # our queries are short
    "dynamic_shared_memory_type": "mmap",  # in its own folder: killed, it would leave segments in /dev/shm
    "idle_in_transaction_session_timeout": "60s",  # a frozen worker must not hold a fence for ever
    "max_worker_processes": "16",
    "log_parameter_max_length": "0",  # no health data in the log
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",  # DETAIL lines quote rows
    "log_min_error_statement": "panic",  # and so does the failed statement
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Postgres:
    """The cluster in `folder`, run by `processes` on `port`."""

    def __init__(
        self,
        folder: Path,
        bins: Path,
        port: int,
        processes: Processes,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._bins = bins
        self._port = port
        self._processes = processes
        self._settings = {**SETTINGS, **(settings or {}), "port": str(port)}

    def start(self, say: Say) -> None:
        """Make the cluster if there is none, recover it if it was killed, and wait until it answers."""
        if self._processes.alive(NAME):
            return
        if not (self.data / "PG_VERSION").exists():
            self._make()
        else:
            self._bury_the_dead()
        unprivileged.own(self.folder)
        settings = [word for key, value in self._settings.items() for word in ("-c", f"{key}={value}")]
        command: list[str | Path] = [
            *unprivileged.prefix(),
            self._bins / "postgres",
            "-D",
            self.data,
            *settings,
        ]
        self._processes.start(NAME, command, env=_environment(), cwd=Path("/"))
        until(
            self.answers,
            what="PostgreSQL",
            within=120,
            say=say,
            alive=lambda: self._processes.alive(NAME) is not None,
            tail=lambda: self._processes.tail(NAME),
        )

    def prepare(self) -> None:
        """Roles with their passwords, the database and the extensions only a superuser may add; repeatable."""
        passwords = self._passwords()
        with psycopg.connect(self.dsn(SUPERUSER, "postgres"), autocommit=True) as conn:
            for role in ROLES:
                known = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
                verb = sql.SQL(
                    "ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}"
                )
                conn.execute(verb.format(sql.Identifier(role), sql.Literal(passwords[role])))
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                self.create_database(DATABASE)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """A database of `lamplight_owner`, a copy of `template` or an empty one with the extensions."""
        with psycopg.connect(self.dsn(SUPERUSER, "postgres"), autocommit=True) as conn:
            # An empty one starts from template0, which nobody can be connected to.
            copied = sql.Identifier(template or "template0")
            conn.execute(
                sql.SQL("CREATE DATABASE {} OWNER lamplight_owner TEMPLATE {}").format(
                    sql.Identifier(name), copied
                )
            )
            conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM public").format(sql.Identifier(name)))
            roles = sql.SQL(", ").join(sql.Identifier(role) for role in ROLES)
            conn.execute(
                sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(sql.Identifier(name), roles)
            )
        if template is None:
            with psycopg.connect(self.dsn(SUPERUSER, name), autocommit=True) as conn:
                for extension in EXTENSIONS:
                    conn.execute(
                        sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension))
                    )

    def seal(self, name: str) -> None:
        """Let nobody connect to `name` any more, TimescaleDB's own workers neither, so that it can be copied."""
        with psycopg.connect(self.dsn(SUPERUSER, "postgres"), autocommit=True) as conn:
            conn.execute(
                sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name))
            )
            inside = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
            while (row := conn.execute(inside, (name,)).fetchone()) and row[0]:
                time.sleep(0.05)

    def drop_database(self, name: str) -> None:
        with psycopg.connect(self.dsn(SUPERUSER, "postgres"), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """How `role` connects to `database`."""
        return make_conninfo(
            host="127.0.0.1", port=self._port, user=role, password=self._passwords()[role], dbname=database
        )

    def answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(SUPERUSER, "postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, everything is written."""
        self._processes.stop(NAME, number=signal.SIGINT, within=60)

    def versions(self) -> dict[str, str]:
        """Of the server and of TimescaleDB, with its edition."""
        with psycopg.connect(self.dsn(SUPERUSER), connect_timeout=3) as conn:
            ask = """SELECT current_setting('server_version'), extversion, current_setting('timescaledb.license')
                       FROM pg_extension WHERE extname = 'timescaledb'"""
            row = conn.execute(ask).fetchone()
        server, timescale, licence = row or ("?", "?", "?")
        return {"PostgreSQL": server.split()[0], "TimescaleDB": f"{timescale} ({licence})"}

    def _make(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, mode=0o700)
        password = self.folder / "password"
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self._passwords()[SUPERUSER])
        unprivileged.own(self.folder)
        command = [
            *unprivileged.prefix(),
            self._bins / "initdb",
            "-D",
            self.data,
            "-U",
            SUPERUSER,
            f"--pwfile={password}",
        ]
        command += ["--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums"]
        done = subprocess.run(
            [str(word) for word in command],
            env=_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        password.unlink()
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise RuntimeError(f"initdb could not make {self.data}: {done.stderr.strip().splitlines()[-1:]}")

    def _bury_the_dead(self) -> None:
        """After a crash: wait for orphaned backends to notice, and drop a postmaster.pid that names a stranger.

        PostgreSQL sees through a stale file by itself unless its pid is in use again by a process of ours, as
        happens after a reboot. Backends of a killed postmaster end by themselves; a new one must not start before.
        """
        end = time.monotonic() + 10
        while self._still_inside() and time.monotonic() < end:
            time.sleep(0.02)
        if not self._still_inside():
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _still_inside(self) -> bool:
        """Whether any process has its working directory in the cluster, as every process of the server does."""
        inside = os.path.realpath(self.data)
        for cwd in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if str(cwd.readlink()) == inside:
                    return True
            except OSError:
                continue
        return False

    def _passwords(self) -> dict[str, str]:
        """The passwords, made at first use, in a file that only its owner reads."""
        path = self.folder / "secrets.json"
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True)
            made = {role: secrets.token_urlsafe(24) for role in (SUPERUSER, *ROLES)}
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(made, file)
            return made


def _environment() -> Mapping[str, str]:
    """Ours without what would talk PostgreSQL into other ports, users or locales."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C.UTF-8"}
