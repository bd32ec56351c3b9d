"""`lamplight up`, `down`, `reset`, `status`: the whole house on this machine, without Docker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.native.services import Fleet
    from deploy.native.stack import Stack

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

PREFERRED = {"web": 8080, "webhooks": 8081, "mqtt": 8883, "kafka": 9092, "postgres": 5433}
"""Where a newcomer looks first; taken when free."""

Folder = Annotated[
    Path | None,
    typer.Option(
        help="Where data, logs, certificates and ports live; .lamplight beside the code unless said."
    ),
]


def _stack(folder: Path | None) -> "Stack":
    import os

    from deploy.native.stack import FOLDER, Stack

    given = {name: value for name, value in os.environ.items() if name.startswith("LAMPLIGHT_") and value}
    return Stack(folder or FOLDER, preferred=PREFERRED, given=given, say=typer.echo)


def _fleet(stack: "Stack") -> "Fleet":
    from deploy.native.services import SERVICES, Fleet
    from deploy.native.stack import ROOT

    # Certificates for a broker of somebody else's are theirs to make, unless they hand us their authority.
    signing = "LAMPLIGHT_MQTT" not in stack.given or "LAMPLIGHT_AUTHORITY" in stack.given
    services = [service for service in SERVICES if signing or service.name != "authority"]
    return Fleet(stack.processes, stack.ports, ROOT, services)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What a person can mend is told in a line or two, without a traceback."""
    from deploy.native.install import MissingError
    from deploy.native.processes import NotReadyError
    from deploy.native.unprivileged import RefusedRootError

    try:
        yield
    except MissingError as missing:
        for line in missing.lines:
            typer.echo(f"lamplight: missing: {line}", err=True)
        raise typer.Exit(3) from None
    except (NotReadyError, RefusedRootError, PermissionError) as error:
        typer.echo(f"lamplight: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One `up`, `down` or `reset` of a folder at a time."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            typer.echo(f"lamplight: another up, down or reset of {folder} is at work", err=True)
            raise typer.Exit(1) from None
        yield


@app.command()
def install(
    *, browser: Annotated[bool, typer.Option(help="Chromium for the browser tests too.")] = False
) -> None:
    """Fetch the servers' software that this machine lacks, and start nothing."""
    with _plain_errors():
        _stack(None).install()
    if browser:
        from deploy.native.browser import provide

        provide(typer.echo)


@app.command()
def up(
    folder: Folder = None,
    *,
    servers_only: Annotated[bool, typer.Option(help="No services, no demo.")] = False,
) -> None:
    """Start Kafka, Mosquitto, PostgreSQL and every service, with the demo; what runs already is left alone."""
    import subprocess
    import sys
    import time

    from deploy.native import playing
    from deploy.native.services import BY_HAND, PLAYERS
    from deploy.native.stack import ROOT

    began = time.monotonic()
    stack = _stack(folder)
    fleet = _fleet(stack)
    with _alone(stack.folder), _plain_errors():
        typer.echo("servers")
        stack.start()
        port = stack.ports["web"] if stack.alive("web") else stack.ports.choose("web")
        url = stack.given.get("LAMPLIGHT_PUBLIC_URL", f"http://127.0.0.1:{port}")
        hooks = stack.ports["webhooks"] if stack.alive("webhooks") else stack.ports.choose("webhooks")
        told = {
            "LAMPLIGHT_WEB_PORT": str(port),
            "LAMPLIGHT_WEBHOOKS_PORT": str(hooks),
            "LAMPLIGHT_PUBLIC_URL": url,
            "LAMPLIGHT_DEMO_FILE": str(stack.folder / "demo.json"),
            **stack.environment(),
        }

        def lamplight(*words: str) -> str:
            import os

            env = {**os.environ, **told, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                [sys.executable, "-m", "deploy.cli", *words],
                env=env,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if done.returncode:
                typer.echo(f"lamplight: `lamplight {' '.join(words)}` failed", err=True)
                raise typer.Exit(done.returncode)
            return done.stdout.strip()

        typer.echo("database\n  " + lamplight("migrate").splitlines()[-1])
        if not servers_only:
            typer.echo("demo\n  " + lamplight("demo", "seed").replace("\n", "\n  "))
            typer.echo("services")
            if "LAMPLIGHT_SMTP" not in told:
                mail = stack.ports["mailbox"] if stack.alive("mailbox") else stack.ports.choose("mailbox")
                fleet.take_mail(stack.folder / "mail", mail)
                told |= {"LAMPLIGHT_SMTP": f"127.0.0.1:{mail}", "LAMPLIGHT_SMTP_FROM": "lamplight@localhost"}
            fleet.start(told, typer.echo)
            fleet.watch(stack.folder, stack.given)
            if "mosquitto" in stack.ours:
                for gateway in PLAYERS:
                    fleet.play(stack.issue(gateway), stack.mqtt, playing.outbox(stack.folder, gateway))
                stack.issue(BY_HAND)
            else:
                typer.echo("  no gateway plays: certificates for a broker of your own are yours to make")
            typer.echo(f"\nLamplight is up at {url}   ({time.monotonic() - began:.0f} s)\n")
            typer.echo("  " + lamplight("demo", "sign-ins").replace("\n", "\n  "))
            if demo := playing.look(stack.folder, PLAYERS):
                typer.echo("\n  " + "\n  ".join(playing.words(demo)))
            typer.echo("\n./lamplight status says how it goes; make down stops it and keeps the data.")


@app.command()
def down(folder: Folder = None) -> None:
    """Stop exactly what `up` started; the data stays."""
    stack = _stack(folder)
    fleet = _fleet(stack)
    with _alone(stack.folder), _plain_errors():
        _stop(stack, fleet)


def _stop(stack: "Stack", fleet: "Fleet") -> None:
    from deploy.native.stack import SETTINGS_OF

    running = [name for name in stack.processes.names() if stack.alive(name)]
    if not running:
        typer.echo("nothing runs")
    services = [name for name in running if name not in SETTINGS_OF]
    if services:
        typer.echo(f"stopping {', '.join(services)}")
        fleet.stop(services)
    servers = [name for name in running if name in SETTINGS_OF]
    if servers:
        typer.echo(f"stopping {', '.join(servers)}")
        stack.stop()
    for name in stack.processes.names():  # records of what had ended by itself
        stack.processes.stop(name)


@app.command()
def reset(
    folder: Folder = None,
    *,
    software: Annotated[bool, typer.Option(help="Forget the downloaded software too.")] = False,
) -> None:
    """Stop everything and forget it: data, logs, certificates, ports."""
    import shutil

    stack = _stack(folder)
    fleet = _fleet(stack)
    with _alone(stack.folder), _plain_errors():
        _stop(stack, fleet)
        for path in sorted(stack.folder.iterdir()):
            if path.name == ".lock" or (path.name == "software" and not software):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        typer.echo(
            f"{stack.folder} is empty"
            if software
            else f"{stack.folder} is empty but for the downloaded software"
        )


@app.command()
def status(
    folder: Folder = None, *, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """What is up, versions, lag, last reading, readings, refusals, open episodes, minutes; exit 1 if not all is up."""
    from json import dumps

    from deploy.native.status import look, screen

    stack = _stack(folder)
    with _plain_errors():
        seen = look(stack, _fleet(stack))
    typer.echo(dumps(seen.as_json(), indent=2) if json else screen(seen))
    raise typer.Exit(0 if seen.up else 1)


@app.command(hidden=True)
def watch(folder: Path) -> None:
    """Start servers of FOLDER again when they end, until stopped; `up` runs this beside them."""
    from deploy.native.watchman import watch as watching

    watching(_stack(folder), typer.echo)


@app.command()
def certificates(
    folder: Path,
    host: Annotated[list[str] | None, typer.Option(help="What clients call the broker.")] = None,
    gateway: Annotated[list[str] | None, typer.Option(help="A gateway that gets one too.")] = None,
) -> None:
    """Make an MQTT certificate authority in FOLDER, with the broker's and the bridge's certificates; repeatable."""
    from datetime import UTC, datetime

    from deploy.native.certificates import Authority

    authority, now = Authority(folder), datetime.now(UTC)
    authority.found(now=now, hosts=host or ["localhost", "mqtt"])
    for gateway_id in gateway or ():
        authority.issue(gateway_id, now=now)
    typer.echo(
        f"{folder}: {', '.join(['ca.crt', 'crl.pem', 'server', 'bridge', *(gateway or ())])} are there"
    )


@app.command(hidden=True)
def reload_broker(folder: Path) -> None:
    """Have the broker of FOLDER read its revocation list again."""
    _stack(folder).mosquitto.reload()


@app.command()
def gateway_certificate(gateway_id: str, folder: Folder = None) -> None:
    """Make (or show) the certificate of a gateway, for `mosquitto_pub --cafile ... --cert ... --key ...`."""
    with _plain_errors():
        made = _stack(folder).issue(gateway_id)
    typer.echo(f"--cafile {made.ca} --cert {made.cert} --key {made.key}")


if __name__ == "__main__":
    app()
