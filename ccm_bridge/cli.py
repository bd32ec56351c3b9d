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


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"lamplight ccm decide: {sentence}", err=True)
    raise typer.Exit(2)
