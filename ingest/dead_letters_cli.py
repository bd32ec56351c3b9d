"""`lamplight ingest dead-letters`: what was refused, why, and getting it through the door again. Heavy imports are late."""

from typing import TYPE_CHECKING, Annotated, Any, NoReturn
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
Alike = Annotated[
    bool, typer.Option("--alike", help="Everything open of the same kind too, however much it is.")
]
HEADINGS = ("times", "open", "gateway", "device", "hop", "reason", "last", "newest")


@app.command(name="list")
def list_(
    database: Database,
    each: Annotated[
        UUID | None,
        typer.Option("--each", metavar="ID", help="Every kept one of this one's kind, one a line."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Lines at most.", min=1, max=1000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """What was refused, one line a kind (gateway, device, reason), however often; those with something open first."""
    from ingest import set_aside_store as store
    from ingest.set_aside import kind_line

    async def look(conn: "AsyncConnection") -> tuple[list[dict[str, Any]], list["Held"]]:
        if each is None:
            return await store.kinds(conn, limit=limit), []
        one = await store.held(conn, each) or _nothing(each)
        return [], await store.alike(conn, one.kind, limit=limit)

    kinds, samples = on_database(database, look)
    if as_json:
        for row in kinds:
            typer.echo(json_line(row))
        for one in samples:
            typer.echo(json_line(_plain(one)))
        return
    if each is not None:
        as_table(
            [("id", "state", "tries", "received", "detail")]
            + [
                (str(o.refusal_id), o.state, str(o.tries), f"{o.received_at:%Y-%m-%d %H:%M}", o.detail)
                for o in samples
            ]
        )
        return
    if not kinds:
        typer.echo("nothing was refused")
        return
    as_table([HEADINGS, *map(kind_line, kinds)])
    if dropped := sum(row["times"] - row["kept"] for row in kinds):
        typer.echo(
            f"{dropped:,} of these were beyond what is kept of one kind and hour: counted, and only in refused.v1"
        )


@app.command()
def show(
    refusal_id: Annotated[UUID, typer.Argument(metavar="ID")],
    database: Database,
    key: Key,
    by: Who = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """One refusal with its bytes, what we understand of them, and who did what with it. Your look is written down."""
    from zoneinfo import ZoneInfo

    from ingest import devices, set_aside, understood, wire
    from ingest import set_aside_store as store

    now = right_now()

    async def look(conn: "AsyncConnection") -> tuple["Held", bytes | None, list[dict[str, Any]]]:
        async with conn.transaction():
            one = await store.held(conn, refusal_id) or _nothing(refusal_id)
            await store.note(conn, refusal_id, "looked", practice_id=one.practice_id, by=by_name(by), now=now)
            return one, store.opened(one, box(key)), await store.history(conn, refusal_id)

    one, raw, acts = on_database(database, look)
    form, text = set_aside.shown(raw) if raw is not None else ("sealed", "cannot be opened with this key")
    family = wire.topic(f"v1/{one.gateway_id}/{one.place or wire.CANONICAL}").family
    told = None
    if raw is not None and family in devices.FAMILIES:
        told = understood.report(
            devices.decode(family, raw), family=family, received_at=one.received_at, zone=ZoneInfo("UTC")
        )
    if as_json:
        typer.echo(
            json_line({**_plain(one), "raw_form": form, "raw": text, "understood": told, "acts": acts})
        )
        return
    for name, value in (
        ("id", one.refusal_id), ("state", set_aside.STATES[one.state]), ("gateway", one.gateway_id),
        ("device", one.device_id or "-"), ("place", one.place or "-"), ("hop", one.hop), ("reason", one.reason),
        ("detail", one.detail), ("received", one.received_at.isoformat()), ("tries", one.tries),
        ("last answer", set_aside.words(one.answer) or "-"), ("reading", one.reading_id or "-"), (form, text),
    ):  # fmt: skip
        typer.echo(f"{name:12} {value}")
    if told is not None:
        value = set_aside.value(set_aside.measured(one, raw or b""))
        typer.echo(f"{'understood':12} {told['type']}: {told.get('reason') or value or family}")
    for act in acts:
        typer.echo(f"{act['at']:%Y-%m-%d %H:%M}  {act['act']} by {act['by_name']}  {act['reason']}")


@app.command()
def replay(
    ids: Ids,
    database: Database,
    alike: Alike = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the door's answer.", min=0)] = 15.0,
    by: Who = None,
) -> None:
    """Bring it to the door again, as it came then. Twice makes no second reading. Exit 3: the door said no again."""
    from collections import Counter

    from ingest import set_aside_store as store
    from ingest.replay import NEWS, READING
    from ingest.set_aside import words

    async def order(conn: "AsyncConnection") -> dict[UUID, str]:
        asked: dict[UUID, UUID] = {}
        said = dict.fromkeys(ids, "on its way already")
        who, now = by_name(by), right_now()
        async with conn.transaction():
            for one in ids:
                held = await store.held(conn, one) or _nothing(one)
                if (replay_id := await store.ask_again(conn, one, by=who, now=now)) is not None:
                    asked[replay_id] = one
                if alike:
                    asked |= await store.ask_kind_again(conn, held.kind, by=who, now=now)
        return said | await _answered(conn, asked, wait)

    answers = on_database(database, order)
    if alike:
        for answer, times in Counter(answers.values()).most_common():
            typer.echo(f"{times:,}  {words(answer)}")
    else:
        for one, answer in answers.items():
            typer.echo(f"{one}  {words(answer)}")
    if any(answer not in (READING, NEWS) for answer in answers.values()):
        raise typer.Exit(REFUSED)


async def _answered(conn: "AsyncConnection", asked: dict[UUID, UUID], wait: float) -> dict[UUID, str]:
    """What the door said to each, of what was asked of it (order: refusal), as far as it has in that time."""
    import asyncio

    from ingest import set_aside_store as store

    said = dict.fromkeys(asked.values(), "ordered; ingest has not taken it yet")
    left = dict(asked)
    try:
        async with asyncio.timeout(wait):
            while left:
                for replay_id, answer in (await store.answers(conn, list(left))).items():
                    said[left.pop(replay_id)] = answer
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    return said


@app.command()
def resolve(
    ids: Ids,
    database: Database,
    reason: Annotated[str, typer.Option(help="Why nothing more is to be done.")],
    alike: Alike = False,
    by: Who = None,
) -> None:
    """Close it with a reason; it stays where it is, with its bytes. Exit 3: one of them was not open."""
    from ingest import set_aside_store as store

    if not reason.strip() or "\x00" in reason:
        wrong("--reason needs words")

    async def close(conn: "AsyncConnection") -> tuple[dict[UUID, bool], int]:
        done: dict[UUID, bool] = {}
        beside = 0
        who, now, why = by_name(by), right_now(), reason.strip()
        async with conn.transaction():
            for one in ids:
                held = await store.held(conn, one) or _nothing(one)
                done[one] = await store.resolve(conn, one, by=who, now=now, reason=why)
                if alike:
                    beside += len(await store.resolve_kind(conn, held.kind, by=who, now=now, reason=why))
        return done, beside

    done, beside = on_database(database, close)
    for one, closed in done.items():
        typer.echo(f"{one}  {'closed' if closed else 'was not open'}")
    if beside:
        typer.echo(f"{beside:,} of the same kind  closed")
    if not all(done.values()):
        raise typer.Exit(REFUSED)


@app.command()
def seal(database: Database, key: Key) -> None:
    """Seal the bytes that were kept before there was a key; safe to repeat."""
    from ingest import set_aside_store as store

    async def all_of_them(conn: "AsyncConnection") -> int:
        count = 0
        while True:
            async with conn.transaction():
                done = await store.seal_open_ones(conn, box(key))
            if not done:
                return count
            count += done

    typer.echo(f"sealed: {on_database(database, all_of_them):,}")


def _plain(one: "Held") -> dict[str, Any]:
    return {name: value for name, value in one._asdict().items() if name != "raw"}


def _nothing(refusal_id: UUID) -> NoReturn:
    wrong(f"nothing set aside has the id {refusal_id}")
