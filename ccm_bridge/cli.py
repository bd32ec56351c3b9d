"""The command line of care management: `lamplight ccm`."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def ccm() -> None:
    """Care management, minutes and claims."""


@app.command()
def decide(
    case: Annotated[
        Path,
        typer.Argument(help="A case as JSON: the facts of one patient and month; - reads it from stdin."),
    ],
) -> None:
    """Say which codes a month supports, which it does not, and why. Prints JSON; exit 2 where the case is unreadable."""
    import msgspec

    from ccm_bridge import billing

    try:
        said = sys.stdin.buffer.read() if str(case) == "-" else case.read_bytes()
    except OSError as error:
        _refuse(f"{case}: {error.strerror or error}")
    facts = billing.read_facts(said)
    if isinstance(facts, billing.Refused):
        _refuse(str(facts))
    answer = msgspec.json.encode(billing.decide(facts))
    typer.echo(msgspec.json.format(answer, indent=2).decode())


@app.command()
def verify(
    database: Annotated[
        str,
        typer.Option(
            envvar="LAMPLIGHT_DATABASE", help="Where the ledger is; it is only read.", show_envvar=True
        ),
    ],
    public_key: Annotated[
        Path | None, typer.Option(help="PEM of the key that signs anchors: checks that no tail was cut.")
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(help="Anchors kept outside the database, one JSON a line (lamplight ccm anchor)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON lines.")] = False,
) -> None:
    """Hash every row of every practice's ledger anew and say what does not fit. Exit 1 if anything does not."""
    import asyncio

    from ccm_bridge import anchor_store
    from ccm_bridge import verify_store as verifier

    key = anchor_store.load_public_key(public_key.read_bytes()) if public_key else None
    kept = anchors.read_text().splitlines() if anchors else None
    report = asyncio.run(verifier.verify_database(database, key=key, kept=kept))
    for line in report.as_json() if as_json else report.as_text():
        typer.echo(line)
    raise typer.Exit(1 if report.findings else 0)


@app.command()
def anchor(
    database: Annotated[str, typer.Option(envvar="LAMPLIGHT_DATABASE", show_envvar=True)],
    key: Annotated[
        Path, typer.Option(help="PEM of the Ed25519 key; made if it does not exist, readable by you alone.")
    ],
    out: Annotated[
        Path, typer.Option(help="File to which the signed heads are appended: keep it elsewhere.")
    ],
) -> None:
    """Sign today's heads of every practice's chains by hand, in the database and in a file. Repeating is harmless.

    `lamplight run ccm` does so every day where it is told LAMPLIGHT_ANCHOR_KEY.
    """
    import asyncio
    from datetime import UTC, datetime

    from ccm_bridge import anchor_store

    signer = anchor_store.load_or_make_key(key)
    lines = asyncio.run(anchor_store.anchor_database(database, signer, now=datetime.now(UTC)))
    anchor_store.keep(out, lines)
    typer.echo(f"anchors signed into {out}: {len(lines)}; public key in {key.with_suffix('.pub')}")


@app.command("make-key")
def make_key(
    file: Annotated[
        Path, typer.Argument(help="Where the Ed25519 key (PEM) is made; its public half beside it.")
    ],
) -> None:
    """Make the key that signs the ledgers' anchors, once. A key that is there stays as it is."""
    from ccm_bridge import anchor_store

    anchor_store.load_or_make_key(file)
    typer.echo(f"the key that signs is {file}; its public half is {file.with_suffix('.pub')}")


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"lamplight ccm decide: {sentence}", err=True)
    raise typer.Exit(2)
