"""`lamplight ingest assignment`: who has which device, or which user button of a shared cuff, from when until when."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.terminal_cli import (
    REFUSED,
    Database,
    Who,
    as_table,
    by_name,
    json_line,
    on_database,
    right_now,
    wrong,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from ingest.assignment_store import Trouble

app = typer.Typer(no_args_is_help=True)
DeviceId = Annotated[str, typer.Argument(metavar="DEVICE", help="As it is registered.")]
Slot = Annotated[
    int | None,
    typer.Option(
        "--user", help="Only this user button of a shared cuff; without it the whole device.", min=0, max=254
    ),
]
When = Annotated[str | None, typer.Option(help="ISO 8601 with a zone; default: now.")]
HEADINGS = ("user", "patient", "since", "until")


@app.command(name="list")
def list_(
    device_id: DeviceId,
    database: Database,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """Who has and had it, the present first."""
    from ingest import assignment_store, set_aside_store

    async def look(conn: "AsyncConnection") -> list[dict[str, Any]]:
        rows = await assignment_store.of_device(conn, device_id)
        numbers = await set_aside_store.record_numbers(conn, [row["patient_id"] for row in rows])
        return [{**row, "mrn": numbers.get(row["patient_id"])} for row in rows]

    rows = on_database(database, look)
    if as_json:
        for row in rows:
            typer.echo(json_line(row))
        return
    if not rows:
        typer.echo("nobody has it or had it")
        return
    as_table([HEADINGS, *(_line(row) for row in rows)])


@app.command()
def give(
    device_id: DeviceId,
    database: Database,
    mrn: Annotated[str, typer.Option(help="The patient's record number.")],
    user: Slot = None,
    since: When = None,
    by: Who = None,
) -> None:
    """From then on it is this patient's. What waits because it was nobody's is looked at again. Exit 3: not done."""
    from ingest import assignment_store

    now = right_now()
    begins = _instant(since, now)

    async def do(conn: "AsyncConnection") -> "Trouble | None":
        async with conn.transaction():
            return await assignment_store.give(
                conn, device_id, mrn, slot=user, since=begins, by=by_name(by), now=now
            )

    _said(on_database(database, do))


@app.command()
def end(device_id: DeviceId, database: Database, user: Slot = None, at: When = None, by: Who = None) -> None:
    """Whoever has it now has it no more from then on. Exit 3: nobody has it so."""
    from ingest import assignment_store

    now = right_now()
    ends = _instant(at, now)

    async def do(conn: "AsyncConnection") -> "Trouble | None":
        async with conn.transaction():
            return await assignment_store.end(conn, device_id, slot=user, at=ends, by=by_name(by), now=now)

    _said(on_database(database, do))


def _instant(said: str | None, now: datetime) -> datetime:
    from ingest.devices import timestamp

    found = timestamp.parse(said) if said is not None else now
    if found is None or found.tzinfo is None:
        wrong("a time is written as 2026-03-02T07:41:00-05:00, with its zone")
    return found


def _said(trouble: "Trouble | None") -> None:
    if trouble is not None:
        typer.echo(f"lamplight: {trouble.value}", err=True)
        raise typer.Exit(REFUSED)
    typer.echo("done")


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    since, until = (f"{row[name]:%Y-%m-%d %H:%M}" if row[name] else "-" for name in ("since", "until"))
    return "all" if row["slot"] is None else str(row["slot"]), row["mrn"] or "-", since, until
