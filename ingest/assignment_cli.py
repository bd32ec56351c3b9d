"""`lamplight ingest assignment`: which devices there are, and who has which, or which user button of it, since when."""

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
Practice = Annotated[int | None, typer.Option(help="Only this practice's, by its number.")]
OF_ONE = ("user", "patient", "since", "until")
OF_ALL = ("device", "practice", "user", "patient", "since", "model")


@app.command(name="list")
def list_(
    database: Database,
    device_id: Annotated[
        str | None, typer.Argument(metavar="[DEVICE]", help="Who has and had this one.")
    ] = None,
    practice: Practice = None,
    limit: Annotated[int, typer.Option(help="Lines at most.", min=1, max=1000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """Who has which device now, or who has and had one of them, the present first."""
    from ingest import assignment_store, set_aside_store

    async def look(conn: "AsyncConnection") -> tuple[list[dict[str, Any]], int]:
        if device_id is None:
            rows, total = await assignment_store.present(
                conn, practice_id=practice, at=right_now(), limit=limit
            )
        else:
            rows = await assignment_store.of_device(conn, device_id)
            total = len(rows)
        had = [row["patient_id"] for row in rows if row["patient_id"]]
        numbers = await set_aside_store.record_numbers(conn, had)
        return [{**row, "mrn": numbers.get(row["patient_id"])} for row in rows], total

    rows, total = on_database(database, look)
    if as_json:
        for row in rows:
            typer.echo(json_line(row))
        return
    if not rows:
        typer.echo("no device is registered" if device_id is None else "nobody has it or had it")
        return
    if device_id is None:
        as_table([OF_ALL, *(_device_line(row) for row in rows)])
    else:
        as_table([OF_ONE, *(_line(row) for row in rows)])
    if total > len(rows):
        typer.echo(f"{total - len(rows):,} more; --limit shows them")


@app.command()
def register(
    device_id: Annotated[
        str,
        typer.Argument(
            metavar="DEVICE", help="Its serial number or hardware address, as its messages say it."
        ),
    ],
    database: Database,
    practice: Annotated[int, typer.Option(help="Whose it becomes, by its number.")],
    model: Annotated[str, typer.Option(help="What it is, for people.")] = "",
    by: Who = None,
) -> None:
    """The practice has this device from now on; then give it to somebody. Exit 3: not done."""
    from ingest import assignment_store

    async def do(conn: "AsyncConnection") -> "Trouble | None":
        async with conn.transaction():
            return await assignment_store.register(
                conn, device_id, practice_id=practice, model=model, by=by_name(by), now=right_now()
            )

    _said(on_database(database, do))


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


def _device_line(row: dict[str, Any]) -> tuple[str, ...]:
    user, mrn, since, _ = _line({**row, "until": None})
    if row["patient_id"] is None:
        user, mrn = "-", "nobody"
    return row["device_id"], str(row["practice_id"]), user, mrn, since, row["model"]


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    since, until = (f"{row[name]:%Y-%m-%d %H:%M}" if row[name] else "-" for name in ("since", "until"))
    return "all" if row["slot"] is None else str(row["slot"]), row["mrn"] or "-", since, until
