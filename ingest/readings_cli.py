"""`lamplight ingest reading`: one archived reading, and taking it back or correcting it. Heavy imports are late."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from ingest.terminal_cli import REFUSED, Database, Who, by_name, on_database, right_now, wrong

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from ingest.corrections import Change, Facts
    from ingest.events import Reading

app = typer.Typer(no_args_is_help=True)

Id = Annotated[UUID, typer.Argument(metavar="READING")]
Reason = Annotated[str, typer.Option(help="Why, in a few words: it stays with the record.")]


@app.command()
def show(reading_id: Id, database: Database) -> None:
    """The reading as it was said, and whether somebody took it back; JSON."""
    import msgspec

    from ingest import readings_store as store

    async def look(conn: "AsyncConnection") -> dict[str, object]:
        reading = await store.reading(conn, reading_id) or _nothing(reading_id)
        taken_back = await store.withdrawal(conn, reading_id)
        return {**msgspec.to_builtins(reading), "withdrawn": taken_back}

    told = on_database(database, look)
    typer.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())


@app.command()
def withdraw(reading_id: Id, database: Database, reason: Reason, by: Who = None) -> None:
    """Take it back: it stays in the archive, and counts for nothing any more. Exit 3: it was taken back before."""

    def facts(reading: "Reading", now: datetime) -> "Facts":
        from ingest import corrections

        return corrections.Facts(corrections.withdraw(reading, by=by_name(by), reason=_why(reason), now=now))

    _say(database, reading_id, facts)
    typer.echo(f"{reading_id}  withdrawn")


@app.command()
def correct(
    reading_id: Id,
    database: Database,
    reason: Reason,
    systolic: Annotated[float | None, typer.Option(help="mm[Hg]")] = None,
    diastolic: Annotated[float | None, typer.Option(help="mm[Hg]")] = None,
    pulse: Annotated[float | None, typer.Option(help="/min")] = None,
    glucose: Annotated[float | None, typer.Option(help="mg/dL")] = None,
    at: Annotated[datetime | None, typer.Option(help="When it was, UTC.")] = None,
    by: Who = None,
) -> None:
    """Take it back and say what it should have been. Exit 3: it was taken back before."""
    from datetime import UTC

    from ingest import corrections

    given = {"systolic": systolic, "diastolic": diastolic, "pulse": pulse, "glucose": glucose}
    change = corrections.Change(
        {name: value for name, value in given.items() if value is not None},
        at.replace(tzinfo=UTC) if at is not None else None,
    )
    made = _say(database, reading_id, lambda reading, now: _corrected(reading, change, by, reason, now))
    typer.echo(f"{reading_id}  corrected by {made.corrected.event_id if made.corrected else '-'}")


def _corrected(reading: "Reading", change: "Change", by: str | None, reason: str, now: datetime) -> "Facts":
    from ingest import corrections

    said = corrections.correct(reading, change, by=by_name(by), reason=_why(reason), now=now)
    if isinstance(said, str):
        wrong(said)
    return said


def _say(database: str, reading_id: UUID, decide: "Callable[[Reading, datetime], Facts]") -> "Facts":
    """Decide and write in one transaction."""
    from ingest import readings_store as store

    async def write(conn: "AsyncConnection") -> "Facts | None":
        async with conn.transaction():
            now = right_now()
            reading = await store.reading(conn, reading_id) or _nothing(reading_id)
            facts = decide(reading, now)
            return facts if await store.say(conn, facts, now=now) else None

    done = on_database(database, write)
    if done is None:
        typer.echo(f"{reading_id}  was taken back before")
        raise typer.Exit(REFUSED)
    return done


def _why(reason: str) -> str:
    return reason.strip() or wrong("--reason needs words")


def _nothing(reading_id: UUID) -> "Reading":
    wrong(f"no reading has the id {reading_id}")
