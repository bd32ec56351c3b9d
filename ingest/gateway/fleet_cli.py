"""`lamplight gateway`, the fleet's part: enrol, approve, renew, revoke, and commands down to a gateway."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar
from uuid import UUID, uuid4

import typer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from ingest import wire

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")

Database = Annotated[str, typer.Option(help="DSN of lamplight_pipeline", envvar="LAMPLIGHT_DATABASE")]
GatewayId = Annotated[str, typer.Argument(help="The gateway's name, as in its certificate.")]
BY = "command line"
COME_BACK_S = 2.0


@app.command()
def enrol(
    gateway_id: Annotated[str, typer.Option("--id", help="The name it shall have.")],
    folder: Annotated[
        Path, typer.Option(help="Where its key and certificate are kept. The key stays there.")
    ],
    server: Annotated[
        str | None,
        typer.Option(help="Origin of the webhooks service; without it the request is a file to carry."),
    ] = None,
    practice: Annotated[int | None, typer.Option(help="The practice's number, with --server.")] = None,
    wait: Annotated[int, typer.Option(help="Seconds to wait for the admin's yes.")] = 600,
) -> None:
    """Make a key and ask for a certificate. Say the fingerprint to the admin; it must be the one on their page."""
    from ingest import fleet
    from ingest.gateway import credential

    files, pem = credential.make(folder, gateway_id)
    asked = fleet.understood(pem)
    if isinstance(asked, str):
        _wrong(asked)
    typer.echo(f"request      {folder / gateway_id}.csr\nfingerprint  {asked.fingerprint}")
    if server is None:
        typer.echo(
            "An admin approves it with `lamplight gateway approve FILE --practice N --out CERTIFICATE`."
        )
        return
    if practice is None:
        _wrong("--server needs --practice")
    status, told = _http(f"{server}/enrol", {"practice": practice, "request": pem})
    if status != 202:  # noqa: PLR2004 - accepted
        _wrong(str(told.get("detail", f"the server answered {status}")))
    typer.echo("waiting for an admin's yes under Devices, Fleet")
    end = datetime.now(UTC).timestamp() + wait
    while datetime.now(UTC).timestamp() < end:
        status, told = (
            _http(f"{server}/enrol/{told_id(told)}", None) if "request_id" in told else (status, told)
        )
        if told.get("state") == "refused":
            _wrong("the admin refused it")
        if told.get("state") == "issued":
            (folder / "ca.crt").write_text(str(told["authority"]))
            trouble = credential.accept(files, str(told["certificate"]), gateway_id, now=datetime.now(UTC))
            if trouble is not None:
                _wrong(f"the certificate that came is not good: {trouble}")
            typer.echo(f"certificate  {files.cert}, valid until {credential.ends(files):%Y-%m-%d}")
            return
        told = {"request_id": str(asked.request_id)}
        _sleep(COME_BACK_S)
    _wrong("nobody has said yes yet; the same command goes on waiting")


def told_id(told: dict[str, Any]) -> str:
    """The request's id, which must be one: it becomes part of an address."""
    return str(UUID(str(told["request_id"])))


@app.command()
def requests(database: Database) -> None:
    """Show who waits for a certificate."""

    async def look(conn: "AsyncConnection") -> list[tuple[Any, ...]]:
        cursor = await conn.execute(
            """SELECT request_id, practice_id, gateway_id, fingerprint, asked_at FROM ingest.enrolment
                WHERE state = 'waiting' ORDER BY asked_at"""
        )
        return await cursor.fetchall()

    for request_id, practice, gateway_id, fingerprint, asked_at in _with(database, look):
        typer.echo(
            f"{gateway_id}  practice {practice}  {fingerprint}  {asked_at:%Y-%m-%d %H:%M}  {request_id}"
        )


@app.command()
def approve(
    request: Annotated[
        str, typer.Argument(help="A request's file or id, or the name of a gateway that waits.")
    ],
    database: Database,
    practice: Annotated[int | None, typer.Option(help="With a file: whose gateway it becomes.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the certificate here; `ca.crt` goes beside it.")
    ] = None,
    wait: Annotated[int, typer.Option(help="Seconds to wait for the authority's signature.")] = 30,
) -> None:
    """Approve a request, after comparing its fingerprint with the one the gateway shows."""
    from ingest import fleet, fleet_store

    path = Path(request)
    asked = fleet.understood(path.read_text()) if path.is_file() else None
    if isinstance(asked, str):
        _wrong(asked)

    async def do(conn: "AsyncConnection") -> tuple[UUID, str, str | None]:
        now = datetime.now(UTC)
        if asked is not None:
            if practice is None:
                _wrong("--practice says whose gateway it becomes")
            if not await fleet_store.ask(conn, asked, practice_id=practice, now=now):
                _wrong("too many requests wait there, or there is no such practice")
        cursor = await conn.execute(
            """SELECT request_id, fingerprint FROM ingest.enrolment
                WHERE state = 'waiting' AND (request_id::text = %(said)s OR gateway_id = %(said)s)""",
            {"said": str(asked.request_id) if asked is not None else request},
        )
        found = await cursor.fetchall()
        if len(found) != 1:
            _wrong("no such request waits" if not found else "several wait under this name: give the id")
        return *found[0], await fleet_store.approve(conn, found[0][0], by=BY, now=now)

    request_id, fingerprint, trouble = _with(database, do)
    if trouble is not None:
        _wrong(trouble)
    typer.echo(f"approved     {fingerprint}")
    if out is not None:
        _collect(database, request_id, out, wait)


def _collect(database: str, request_id: UUID, out: Path, wait: int) -> None:
    """The certificate, as soon as the authority has signed."""
    from ingest import fleet_store

    for _ in range(max(1, wait)):
        found = _with(database, lambda conn: fleet_store.standing(conn, request_id))
        if found is not None and found.certificate is not None:
            out.write_text(found.certificate)
            (out.parent / "ca.crt").write_text(found.authority or "")
            typer.echo(f"certificate  {out}")
            return
        _sleep(1.0)
    _wrong("not signed yet: does `lamplight run authority` run?")


@app.command()
def revoke(gateway_id: GatewayId, database: Database) -> None:
    """End a gateway: ingest refuses what it brings at once, the broker throws it out within seconds."""
    from ingest import fleet_store

    if not _with(database, lambda conn: fleet_store.revoke(conn, gateway_id, now=datetime.now(UTC))):
        _wrong("no such gateway, or it is revoked already")
    typer.echo(f"revoked      {gateway_id}")


@app.command()
def resync(
    gateway_id: GatewayId,
    database: Database,
    since: Annotated[datetime, typer.Option(help="Acknowledged from then on: send it again (UTC).")],
) -> None:
    """Have a gateway send again what it was acknowledged for; it keeps 14 days."""
    from ingest import wire

    _tell(database, gateway_id, wire.Resync(id=uuid4(), since=since.replace(tzinfo=UTC)))


@app.command("set")
def set_(
    gateway_id: GatewayId,
    database: Database,
    heartbeat_s: Annotated[
        float | None, typer.Option(min=5, max=3600, help="Seconds between heartbeats.")
    ] = None,
    in_flight: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Readings on their way at once.")
    ] = None,
) -> None:
    """Change how a gateway works, also after its next start."""
    from ingest import wire

    _tell(database, gateway_id, wire.Settings(id=uuid4(), heartbeat_s=heartbeat_s, in_flight=in_flight))


@app.command()
def commands(gateway_id: GatewayId, database: Database) -> None:
    """Show what a gateway was told lately and what it answered."""

    async def look(conn: "AsyncConnection") -> list[tuple[Any, ...]]:
        cursor = await conn.execute(
            """SELECT asked_at, kind, coalesce(outcome, CASE WHEN told_at IS NULL THEN 'not told' ELSE 'told' END), detail
                 FROM ingest.command WHERE gateway_id = %s ORDER BY asked_at DESC LIMIT 20""",
            (gateway_id,),
        )
        return await cursor.fetchall()

    for asked_at, kind, outcome, detail in _with(database, look):
        typer.echo(f"{asked_at:%Y-%m-%d %H:%M:%S}  {kind:12}{outcome:10}{detail}")


def _tell(database: str, gateway_id: str, command: "wire.Command") -> None:
    from ingest import fleet_store

    def do(conn: "AsyncConnection") -> Awaitable[bool]:
        return fleet_store.tell(conn, gateway_id, command, by=BY, now=datetime.now(UTC))

    if not _with(database, do):
        _wrong("no such gateway, or it is revoked")
    typer.echo(f"told once it is there; `lamplight gateway commands {gateway_id}` shows its answer")


def _wrong(sentence: str) -> NoReturn:
    typer.echo(f"lamplight: {sentence}", err=True)
    raise typer.Exit(1)


def _sleep(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _http(url: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
    """GET, or POST of a JSON body; (0, {}) when nobody answers."""
    import json
    import urllib.error
    import urllib.request

    if not url.startswith(("https://", "http://")):
        _wrong("--server is an origin such as https://hooks.example.org")
    data = json.dumps(body).encode() if body is not None else None
    asked = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - just looked
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read(65_536))
    except urllib.error.HTTPError as error:
        try:
            return error.code, json.loads(error.read(65_536))
        except ValueError:
            return error.code, {}
    except (OSError, ValueError):
        return 0, {}


def _with(database: str, work: "Callable[[AsyncConnection], Awaitable[T]]") -> T:
    import psycopg

    async def do() -> T:
        async with await psycopg.AsyncConnection.connect(database) as conn:
            return await work(conn)

    return asyncio.run(do())
