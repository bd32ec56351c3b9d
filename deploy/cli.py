"""The command line: `lamplight`. Commands live with their room; this file only hangs them up and reads the environment."""

import os
import sys
from enum import StrEnum
from pathlib import Path

import typer

from ccm_bridge.cli import app as ccm
from deploy import failpoints
from deploy.native.cli import app as native
from deploy.people_cli import app as people
from deploy.settings import Settings, SettingsError, read
from ingest.assignment_cli import app as assignment
from ingest.cli import app as ingest
from ingest.dead_letters_cli import app as dead_letters
from ingest.gateway.cli import app as gateway
from ingest.lane_cli import app as whose
from ingest.readings_cli import app as readings
from ingest.webhook_cli import app as webhook
from risk.cli import app as risk

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Lamplight: home readings to documented, billable care.",
)
app.add_typer(native)  # up, down, reset, status
app.add_typer(ingest, name="ingest", help="Devices and readings.")
app.add_typer(gateway, name="gateway", help="The agent that runs in the home.")
app.add_typer(risk, name="risk", help="Scores and trends.")
app.add_typer(ccm, name="ccm", help="Care management, minutes and claims.")
app.add_typer(people, name="people", help="Practices, those who sign in, and patients.")
demo = typer.Typer(no_args_is_help=True)
app.add_typer(demo, name="demo", help="The demo practice and its people.")


@readings.callback()
@dead_letters.callback()
@whose.callback()
@assignment.callback()
@webhook.callback()
@people.callback()
def here() -> None:
    """Unless told otherwise, in the house that `lamplight up` made here."""
    from deploy.native.stack import FOLDER, Stack

    if "LAMPLIGHT_DATABASE" in os.environ or not (FOLDER / "postgres").is_dir():
        return
    told = Stack(FOLDER).environment()
    for name in ("LAMPLIGHT_DATABASE", "LAMPLIGHT_REFUSAL_KEY", "LAMPLIGHT_VENDOR_KEY"):
        os.environ.setdefault(name, told[name])


@gateway.callback()
def of_the_fleet(context: typer.Context) -> None:
    """A gateway: keeps readings on disk until ingest has them. Its certificate is its name."""
    if context.invoked_subcommand in FLEET:
        here()
    elif context.invoked_subcommand in AT_HOME:
        from deploy import logs

        logs.configure("gateway", human=sys.stderr.isatty())


FLEET = frozenset({"requests", "approve", "revoke", "resync", "set", "commands"})
"""What is done where the database is, not on a gateway."""

AT_HOME = frozenset({"run", "play"})
"""What runs for years on a small box: its log is a service's log."""


class Service(StrEnum):
    INGEST = "ingest"
    ARCHIVE = "archive"
    RISK = "risk"
    ALERTS = "alerts"
    CCM = "ccm"
    WEBHOOKS = "webhooks"
    AUTHORITY = "authority"
    WEB = "web"


def settings() -> Settings:
    """The environment, or exit 2 with every complaint about it in one line."""
    try:
        return read(os.environ)
    except SettingsError as error:
        typer.echo(f"lamplight: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def run(service: Service) -> None:
    """Run one service in the foreground until SIGTERM."""
    from deploy import logs, main
    from deploy.lifecycle import live

    begun = main.service(service)
    logs.configure(service, human=sys.stderr.isatty())
    failpoints.arm(os.environ.get("LAMPLIGHT_FAILPOINTS", ""))
    try:
        live(begun, settings())
    except SettingsError as error:
        typer.echo(f"lamplight: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema (needs LAMPLIGHT_DATABASE_OWNER)."""
    from deploy import database

    done = database.migrate(settings().require("database_owner").database_owner)
    typer.echo(f"applied: {', '.join(done)}" if done else "the schema is the newest")


@app.command()
def topics() -> None:
    """Create the Kafka topics that are missing."""
    import asyncio

    from deploy import bus

    told = settings().require("kafka")
    made = asyncio.run(
        bus.ensure_topics(told.kafka, partitions=told.partitions, replication=told.replication)
    )
    typer.echo(f"created: {', '.join(made)}" if made else "every topic is there")


@app.command()
def contracts(folder: Path) -> None:
    """Write what others may rely on into FOLDER: asyncapi.json (MQTT and Kafka), openapi-webhooks.json."""
    from deploy.contracts import write

    typer.echo(", ".join(write(folder)) or "nothing has changed")


@demo.command()
def seed() -> None:
    """Create the demo practices, their people, patients, devices and enrolments; safe to repeat."""
    import asyncio

    from deploy import demo as cast

    told = settings().require("database", "demo_file")
    typer.echo(asyncio.run(cast.seed(told)))


@demo.command()
def mailbox(folder: Path, port: int) -> None:
    """Take the demo's mail at PORT, deliver to nobody, keep each as a file in FOLDER."""
    from deploy.mailbox import keep

    keep(folder, port)


@demo.command("sign-ins")
def sign_ins() -> None:
    """Who can sign in to the demo, and with what."""
    from deploy import demo as cast

    told = settings().require("demo_file")
    assert told.demo_file  # just required
    for line in cast.sign_ins(told.demo_file):
        typer.echo(line)


if __name__ == "__main__":
    app()
