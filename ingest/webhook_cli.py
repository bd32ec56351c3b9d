"""`lamplight ingest webhook`: let a vendor's cloud post for a practice. Secrets are shown once and kept sealed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from ingest.webhook_store import Webhooks

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")

Database = Annotated[str, typer.Option(help="DSN of lamplight_pipeline", envvar="LAMPLIGHT_DATABASE")]
Key = Annotated[
    str, typer.Option(help="seals secrets in the database; KEY or NEW,OLD", envvar="LAMPLIGHT_VENDOR_KEY")
]
Source = Annotated[str, typer.Argument(help="The source's id, as `add` printed it.")]


@app.callback()
def webhook() -> None:
    """Vendors' clouds that post readings."""


@app.command()
def add(
    vendor: Annotated[
        str, typer.Argument(help="tenovi, smart-meter, telli, withings, ihealth, validic, impilo")
    ],
    database: Database,
    key: Key,
    practice: Annotated[int, typer.Option(help="Whose patients its devices belong to.")],
    source: Annotated[
        str | None, typer.Option(help="An id of your own; without it one is made from vendor and practice.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="header, basic, hmac or url, if the vendor does other than usual.")
    ] = None,
    header: Annotated[str | None, typer.Option(help="The header it sends, likewise.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="The secret, if the vendor made it; - reads it from standard input.")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="Our id at the vendor, where data is fetched.")
    ] = None,
    client_secret: Annotated[
        str | None, typer.Option(help="And our secret there; - reads it from standard input.")
    ] = None,
    client_more: Annotated[
        list[str] | None,
        typer.Option(
            help="What else the vendor gave us, NAME=VALUE: for ihealth redirect_uri, sc, sv_bp, sv_glucose."
        ),
    ] = None,
) -> None:
    """Register a source; prints where the vendor shall post and the secret it needs, once."""
    import secrets

    from ingest.webhook_store import Client
    from ingest.webhooks import VENDORS, Scheme, Vendor
    from ingest.webhooks import Source as Made

    try:
        of = Vendor(vendor)
        how = VENDORS[of].scheme if scheme is None else Scheme(scheme)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    word = _typed(secret) or secrets.token_urlsafe(32)
    made = Made(
        source_id=source or f"cloud-{of.value}-{practice}",
        vendor=of,
        scheme=how,
        header=(header or VENDORS[of].header or "x-signature").lower(),
        secrets=(word,),
    )
    ours = None
    if client_id is not None and client_secret is not None:
        more = dict(_pair(one) for one in client_more or ())
        ours = Client(client_id=client_id, client_secret=_typed(client_secret) or "", more=more)
    if not _with(database, key, lambda hooks: hooks.add(made, practice_id=practice, client=ours)):
        typer.echo(f"lamplight: the id {made.source_id} is taken; give another with --source", err=True)
        raise typer.Exit(1)
    typer.echo(f"POST to   /hooks/{of.value}/{made.source_id}{'?key=' + word if how is Scheme.URL else ''}")
    match how:
        case Scheme.HEADER:
            typer.echo(f"header    {made.header}: {word}")
        case Scheme.BASIC:
            typer.echo(f"user      {made.source_id}\npassword  {word}")
        case Scheme.HMAC:
            typer.echo(
                f"header    {made.header}: sha256=HMAC-SHA256 of the body, hexadecimal, under\nsecret    {word}"
            )
    if not VENDORS[of].documented and scheme is None:
        typer.echo("note      how this vendor proves itself is not public: agree on this with its support")


@app.command()
def rotate(
    source: Source,
    database: Database,
    key: Key,
    *,
    end: Annotated[bool, typer.Option(help="The former secret is valid no longer.")] = False,
) -> None:
    """Make a new secret, valid beside the present one until `rotate --end`."""
    import secrets

    word = None if end else secrets.token_urlsafe(32)
    if not _with(database, key, lambda hooks: hooks.rotate(source, word)):
        typer.echo("lamplight: there is no such source, or no former secret to end", err=True)
        raise typer.Exit(1)
    typer.echo("only the newest secret is valid now" if word is None else f"secret    {word}")


@app.command()
def connect(
    source: Source,
    database: Database,
    key: Key,
    account: Annotated[
        str, typer.Option(help="The person's id at the vendor (Withings: userid; iHealth: UserID).")
    ],
    refresh_token: Annotated[str, typer.Option(help="- reads it from standard input.")],
) -> None:
    """Remember how to fetch one person's data from a vendor that only says that data waits."""
    from ingest.webhook_store import Tokens

    tokens = Tokens(access="", refresh=_typed(refresh_token) or "")
    if not _with(database, key, lambda hooks: hooks.connect(source, account, tokens)):
        typer.echo("lamplight: there is no such source", err=True)
        raise typer.Exit(1)
    typer.echo("connected; its access token is fetched with the first data")


def _pair(said: str) -> tuple[str, str]:
    name, is_there, value = said.partition("=")
    if not is_there:
        raise typer.BadParameter("write NAME=VALUE", param_hint="--client-more")
    return name, value


def _typed(said: str | None) -> str | None:
    """Secrets need not stand in the shell's history."""
    import sys

    return sys.stdin.readline().strip() if said == "-" else said


def _with(database: str, key: str, work: "Callable[[Webhooks], Awaitable[T]]") -> T:
    from psycopg_pool import AsyncConnectionPool

    from ingest.seal import Seal
    from ingest.webhook_store import Webhooks

    async def do() -> T:
        async with AsyncConnectionPool(database, min_size=1, max_size=1, open=False) as pool:
            return await work(Webhooks(pool, Seal(key.split(","))))

    return asyncio.run(do())
