"""What the commands of this room share: options, a connection, tables, how they say no. Heavy imports are late."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar
from uuid import UUID

import typer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from ingest.set_aside import By

T = TypeVar("T")

Database = Annotated[
    str, typer.Option(help="DSN of lamplight_pipeline.", envvar="LAMPLIGHT_DATABASE", show_envvar=True)
]
Key = Annotated[
    str,
    typer.Option(help="Opens the bytes; KEY or NEW,OLD.", envvar="LAMPLIGHT_REFUSAL_KEY", show_envvar=True),
]
Who = Annotated[str | None, typer.Option("--by", help="Your name in the record; default: who is logged in.")]
Ids = Annotated[list[UUID], typer.Argument(metavar="ID...", help="As `list` shows them.")]
REFUSED = 3
"""Exit code: it was understood, and not done."""


def on_database(database: str, work: "Callable[[AsyncConnection], Awaitable[T]]") -> T:
    """Do it on a connection of our own; an outage is one line."""
    import asyncio

    import psycopg

    from ingest import set_aside_store as store

    async def go() -> T:
        async with await store.connect(database) as conn:
            return await work(conn)

    try:
        return asyncio.run(go())
    except psycopg.OperationalError:
        wrong("the database does not answer; is LAMPLIGHT_DATABASE right?")


def box(key: str) -> Any:
    from ingest.strongbox import Strongbox

    try:
        return Strongbox(key.split(","))
    except ValueError as error:
        wrong(str(error))


def by_name(name: str | None) -> "By":
    import getpass

    from ingest.set_aside import By

    return By(None, f"{name or getpass.getuser()} (command line)")


def right_now() -> datetime:
    from datetime import UTC

    return datetime.now(UTC)


def as_table(rows: "list[Any]") -> None:
    """Columns as wide as they must be."""
    widths = [max(len(str(row[n])) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        typer.echo(
            "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def json_line(row: dict[str, Any]) -> str:
    import json

    return json.dumps(row, default=str, ensure_ascii=False)


def wrong(sentence: str) -> NoReturn:
    typer.echo(f"lamplight: {sentence}", err=True)
    raise typer.Exit(2)
