"""`lamplight ingest whose`: readings whose owner a person must name. The page Devices, Whose, does the same."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from ingest.terminal_cli import (
    REFUSED,
    Database,
    Ids,
    Key,
    Who,
    as_table,
    box,
    by_name,
    json_line,
    on_database,
    right_now,
    wrong,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from ingest.set_aside import Held

app = typer.Typer(no_args_is_help=True)
HEADINGS = ("id", "device", "gateway", "received", "why", "value", "the message says", "may be")


@app.command(name="list")
def list_(
    database: Database,
    key: Key,
    limit: Annotated[int, typer.Option(help="Lines at most.", min=1, max=1000)] = 50,
    by: Who = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """What waits, the newest first, with whose it may be. Values are shown, so your look is written down."""
    from ingest import set_aside_store as store

    async def look(conn: "AsyncConnection") -> tuple[list[dict[str, Any]], int]:
        async with conn.transaction():
            waiting, total = await store.lane(conn, limit=limit)
            return await _shown(conn, waiting, key, by), total

    rows, total = on_database(database, look)
    if as_json:
        for row in rows:
            typer.echo(json_line(row))
        return
    if not rows:
        typer.echo("no reading waits for a decision")
        return
    as_table([HEADINGS, *(_line(row) for row in rows)])
    if total > len(rows):
        typer.echo(f"{total - len(rows):,} more wait")


@app.command()
def show(
    refusal_id: Annotated[UUID, typer.Argument(metavar="ID")],
    database: Database,
    key: Key,
    by: Who = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """One of them: its value, whose it may be, and who did what with it, decisions and their reasons among that."""
    from ingest import set_aside_store as store

    async def look(conn: "AsyncConnection") -> dict[str, Any]:
        async with conn.transaction():
            held = await store.held(conn, refusal_id)
            if held is None or not held.in_lane:
                wrong(f"nothing in this lane has the id {refusal_id}")
            acts = await store.history(conn, refusal_id)
            numbers = await store.record_numbers(
                conn, [act["patient_id"] for act in acts if act["patient_id"]]
            )
            (row,) = await _shown(conn, [held], key, by)
            return {**row, "acts": [{**act, "mrn": numbers.get(act["patient_id"])} for act in acts]}

    row = on_database(database, look)
    if as_json:
        typer.echo(json_line(row))
        return
    for name, value in zip(HEADINGS, _line(row), strict=True):
        typer.echo(f"{name:16} {value}")
    typer.echo(
        f"{'state':16} {row['state']}{', reading ' + str(row['reading_id']) if row['reading_id'] else ''}"
    )
    for act in row["acts"]:
        whose = f" for {act['mrn']}" if act["mrn"] else ""
        typer.echo(f"{act['at']:%Y-%m-%d %H:%M}  {act['act']}{whose} by {act['by_name']}  {act['reason']}")


@app.command()
def decide(
    ids: Ids,
    database: Database,
    mrn: Annotated[str | None, typer.Option(help="The record number of the patient whose it is.")] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="It is nobody's reading; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stays with the record.")] = "",
    by: Who = None,
) -> None:
    """Say whose they are, all of them or none. The readings then flow with their original times. Exit 3: not done."""
    import psycopg

    from ingest import lane_service

    if (mrn is None) is not nobody:
        wrong("say either --mrn NUMBER or --nobody")

    async def say(conn: "AsyncConnection") -> lane_service.Trouble | None:
        trouble = None
        async with conn.transaction() as transaction:
            trouble = await lane_service.decide(
                conn, ids, mrn, reason=reason.strip(), by=by_name(by), now=right_now()
            )
            if trouble is not None:
                raise psycopg.Rollback(transaction)
        return trouble

    trouble = on_database(database, say)
    if trouble is not None:
        typer.echo(f"lamplight: {trouble.value}", err=True)
        raise typer.Exit(REFUSED)
    typer.echo(f"decided: {len(ids)}")


async def _shown(
    conn: "AsyncConnection", waiting: "list[Held]", key: str, by: str | None
) -> list[dict[str, Any]]:
    """Each with its value, what it claims and whose it may be; the look is noted."""
    from ingest import lane_service, set_aside
    from ingest import set_aside_store as store

    now, strongbox = right_now(), box(key)
    rows = await store.candidates(
        conn, [held.kind_device for held in waiting], sorted({held.gateway_id for held in waiting})
    )
    numbers = await store.record_numbers(conn, [row["patient_id"] for row in rows])
    told = []
    for held in waiting:
        await store.note(
            conn, held.refusal_id, "looked", practice_id=held.practice_id, by=by_name(by), now=now
        )
        raw = store.opened(held, strongbox)
        said = set_aside.measured(held, raw) if raw is not None else None
        told.append(
            {
                "id": held.refusal_id,
                "device": held.kind_device,
                "gateway": held.gateway_id,
                "received_at": held.received_at,
                "reason": held.reason,
                "state": held.state,
                "reading_id": held.reading_id,
                "value": set_aside.value(said) if raw is not None else "sealed: the key is not here",
                "claim": set_aside.claim(said),
                "near": [
                    {"mrn": numbers[one.patient_id], "why": one.why}
                    for one in lane_service.near(rows, held.kind_device, held.gateway_id)
                    if one.patient_id in numbers
                ],
            }
        )
    return told


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    may_be = "; ".join(f"{one['mrn']} {one['why']}" for one in row["near"])
    return (
        str(row["id"]),
        row["device"] or "-",
        row["gateway"],
        f"{row['received_at']:%Y-%m-%d %H:%M}",
        row["reason"],
        row["value"],
        row["claim"] or "-",
        may_be or "-",
    )
