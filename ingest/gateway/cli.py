"""`lamplight gateway`: run a gateway agent that sends readings, from standard input or from recorded diaries."""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ingest.gateway.fleet_cli import app as fleet

app = typer.Typer(
    no_args_is_help=True,
    help="A gateway: keeps readings on disk until ingest has them. Its certificate is its name.",
)
app.add_typer(fleet)  # enrol, requests, approve, revoke, resync, set, commands

Broker = Annotated[
    str, typer.Option(help="host:port of the MQTT broker's TLS listener", envvar="LAMPLIGHT_MQTT")
]
Ca = Annotated[Path, typer.Option(help="whose certificates to trust", envvar="LAMPLIGHT_MQTT_CA")]
Cert = Annotated[Path, typer.Option(help="the gateway's certificate", envvar="LAMPLIGHT_MQTT_CERT")]
Key = Annotated[Path, typer.Option(help="the gateway's key", envvar="LAMPLIGHT_MQTT_KEY")]
Id = Annotated[str, typer.Option("--id", help="the gateway's name, as in its certificate")]
Keep = Annotated[Path, typer.Option("--outbox", help="file in which readings wait for their acknowledgement")]


@app.command()
def play(
    gateway_id: Id,
    outbox: Keep,
    broker: Broker,
    ca: Ca,
    cert: Cert,
    key: Key,
    diary: Annotated[
        Path | None, typer.Option(help="a diary of your own; without it, this gateway's part of the demo")
    ] = None,
    form: Annotated[
        str, typer.Option(help="what the diary holds: glucose (AIM '94 lines) or bp (CSV)")
    ] = "glucose",
    device: Annotated[str, typer.Option(help="the device that hands it over")] = "meter-1",
    zone: Annotated[str, typer.Option(help="where its patient lives")] = "UTC",
    ahead: Annotated[int, typer.Option(help="the diary ends so many days after today")] = 0,
    live_days: Annotated[
        int, typer.Option(help="the last days before today that are played, not sent as history")
    ] = 14,
    day_seconds: Annotated[float, typer.Option(help="how long a played day takes")] = 4.0,
    last_day_seconds: Annotated[
        float, typer.Option(help="how long the last of them takes, so that there is something to watch")
    ] = 1800.0,
) -> None:
    """Play recorded diaries: history at once, the last weeks fast, the last day slowly, the rest as time goes by."""
    from zoneinfo import ZoneInfo

    from ingest.gateway import cast
    from ingest.gateway.diary import Form

    if diary is None:
        parts = [role.part() for role in cast.roles() if role.gateway_id == gateway_id]
        if not parts:
            names = ", ".join(sorted({role.gateway_id for role in cast.roles()}))
            raise typer.BadParameter(f"{gateway_id} has no part in the demo; these have: {names}")
    else:
        parts = [cast.part(Form(form), diary.read_text("utf-8", "replace"), device, ZoneInfo(zone), ahead)]

    async def perform() -> None:
        from ingest.gateway.performance import perform

        await perform(
            gateway_id,
            outbox,
            _broker(broker, gateway_id, ca, cert, key),
            parts,
            live_days=live_days,
            seconds_per_day=day_seconds,
            last_day_seconds=last_day_seconds,
            clock=_now,
            stopping=_stopping(),
        )

    asyncio.run(perform())


@app.command()
def run(gateway_id: Id, outbox: Keep, broker: Broker, ca: Ca, cert: Cert, key: Key) -> None:
    """Send readings from standard input, one canonical JSON object a line; ends when all are acknowledged."""

    async def feed() -> None:
        from ingest.gateway.performance import feed

        sent = await feed(
            gateway_id,
            outbox,
            _broker(broker, gateway_id, ca, cert, key),
            sys.stdin.buffer,
            clock=_now,
            stopping=_stopping(),
        )
        why = f" ({', '.join(sent.reasons)})" if sent.reasons else ""
        typer.echo(
            f"{sent.acked} acknowledged, {sent.refused} refused{why}, {sent.unsent} unanswered", err=True
        )
        if sent.known:
            typer.echo(f"{sent.known} sent before: a line without an id is named by its bytes", err=True)

    asyncio.run(feed())


@app.command()
def renew(
    gateway_id: Id,
    outbox: Keep,
    broker: Broker,
    ca: Ca,
    cert: Cert,
    key: Key,
    *,
    agent_runs: Annotated[
        bool, typer.Option(help="leave word with the agent that runs on this outbox, and do not wait")
    ] = False,
    wait: Annotated[int, typer.Option(help="seconds to wait for the new certificate")] = 60,
) -> None:
    """Get a new certificate for the key that is there. The agent does so by itself from day 60 of 90."""
    from ingest.gateway import credential, performance

    if agent_runs:
        performance.ask_to_renew(outbox)
        typer.echo("the agent asks with its next heartbeat")
        return

    async def get() -> str | None:
        stopping = _stopping()
        asyncio.get_running_loop().call_later(wait, stopping.set)
        return await performance.renew(
            gateway_id, outbox, _broker(broker, gateway_id, ca, cert, key), clock=_now, stopping=stopping
        )

    if trouble := asyncio.run(get()):
        typer.echo(f"lamplight: no new certificate: {trouble}", err=True)
        raise typer.Exit(1)
    typer.echo(f"valid until {credential.ends(credential.Files(key=key, cert=cert)):%Y-%m-%d}")


def _broker(broker: str, gateway_id: str, ca: Path, cert: Path, key: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from ingest.mqtt import Broker

    host, _, port = broker.rpartition(":")
    return Broker(host=host, port=int(port), client_id=gateway_id, ca=ca, cert=cert, key=key, session_s=3_600)


def _now() -> datetime:
    return datetime.now(UTC)


def _stopping() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping
