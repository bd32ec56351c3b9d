"""`lamplight ingest`: what an integrator tries first. Everything heavy is imported inside the commands."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ingest.assignment_cli import app as assignment
from ingest.dead_letters_cli import app as dead_letters
from ingest.lane_cli import app as whose
from ingest.readings_cli import app as readings
from ingest.webhook_cli import app as webhook

app = typer.Typer(no_args_is_help=True)
app.add_typer(dead_letters, name="dead-letters", help="What was refused: look, replay, close.")
app.add_typer(whose, name="whose", help="Readings whose owner a person must name: look, decide.")
app.add_typer(
    assignment, name="assignment", help="Which devices there are, and who has which, or which button of it."
)
app.add_typer(readings, name="reading", help="One archived reading: look, take back, correct.")
app.add_typer(webhook, name="webhook", help="Vendors' clouds that post readings.")

REFUSED = 3
FRAMES = ("ble-blood-pressure", "ble-blood-pressure-enhanced", "ble-glucose")


@app.callback()
def ingest() -> None:
    """Devices and readings."""


@app.command()
def decode(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A file with the payload, or - for standard input.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Which decoder; --list shows them.")] = None,
    hexes: Annotated[
        list[str] | None,
        typer.Option("--hex", help='Bytes as "16 7C 00"; the second one of a ble-glucose is its context.'),
    ] = None,
    received_at: Annotated[str | None, typer.Option(help="When it arrived, ISO 8601; default: now.")] = None,
    zone: Annotated[str, typer.Option(help="The patient's time zone.")] = "UTC",
    show_families: Annotated[bool, typer.Option("--list", help="Show the families and stop.")] = False,
) -> None:
    """Say what we understand of a device's payload: 0 a reading or an event, 3 a refusal, 2 a wrong call."""
    import json
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from ingest import devices, understood
    from ingest.devices import timestamp

    if show_families:
        typer.echo("\n".join(devices.FAMILIES))
        return
    if family not in devices.FAMILIES:
        _wrong("name one family with --family; --list shows them")
    arrived = timestamp.parse(received_at) if received_at is not None else datetime.now(UTC)
    if arrived is None:
        _wrong("--received-at is not an ISO 8601 time")
    try:
        home = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        _wrong("--zone is not the name of a time zone")
    if arrived.tzinfo is None:
        arrived = arrived.replace(tzinfo=home)
    messages = _messages(family, source, hexes)
    if family == "ble-glucose":
        answer = devices.decode(family, *messages)
    else:
        answer = tuple(said for message in messages for said in devices.decode(family, message))
    told = understood.report(answer, family=family, received_at=arrived.astimezone(UTC), zone=home)
    typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    if told["type"] == understood.REFUSAL:
        raise typer.Exit(REFUSED)


def _wrong(sentence: str) -> NoReturn:
    typer.echo(f"lamplight: {sentence}", err=True)
    raise typer.Exit(2)


def _messages(family: str, source: str | None, hexes: list[str] | None) -> tuple[bytes, ...]:
    """The payload, and the context frame if there is one, however it was handed over."""
    from ingest.devices import frame

    if hexes:
        if source is not None:
            _wrong("give --hex or a file, not both")
        found = [frame.from_hex(text) if text.strip() else b"" for text in hexes]
        if any(one is None for one in found):
            _wrong("--hex is not hexadecimal: two digits for each byte")
        messages = tuple(one for one in found if one is not None)
        if family == "ble-glucose" and len(messages) > 2:  # noqa: PLR2004  measurement and context
            _wrong("a ble-glucose takes at most two --hex: the measurement and its context")
        return messages
    if source is None:
        _wrong("give the payload: --hex, a file, or - for standard input")
    content = _content(source)
    return frame.unwrapped(content) if family in FRAMES else (content,)


def _content(source: str) -> bytes:
    import sys

    from ingest.devices import frame

    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        pasted = frame.from_hex(source)
        if pasted is not None:
            return pasted
        _wrong(f"cannot read the file: {error.strerror or 'no such name'}")
    except ValueError:  # a name with a NUL in it
        _wrong("cannot read the file: no such name")
