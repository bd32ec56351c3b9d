"""`lamplight risk`: the scorer on a file, its training, and its what-if. Light to import: the work is imported late."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="Readings, one row each, in order of arrival.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the scores; standard output if not given.")
    ] = None,
    budget: Annotated[float, typer.Option(help="False trend alerts per patient-month.")] = 0.25,
    origin: Annotated[
        str | None, typer.Option(help="Date from which effective_at counts days, if it is a number.")
    ] = None,
) -> None:
    """Score a file with the very code that runs live, one output row per input row."""
    import csv
    import sys
    from datetime import UTC, datetime

    from risk.measures import Plan
    from risk.replay import KEY, OUTPUT, reading_of, rows
    from risk.replay import replay as run
    from risk.store import packaged_model

    start = None if origin is None else datetime.fromisoformat(origin).replace(tzinfo=UTC)
    with file.open(newline="") as source:
        told = list(csv.DictReader(source))
    readings = [reading_of(row, line=line, origin=start) for line, row in enumerate(told, start=2)]
    scored = run(readings, Plan(budget=budget), packaged_model())
    keys = (tuple(row.get(name) or "" for name in KEY) for row in told)
    target = sys.stdout if out is None else out.open("w", newline="")
    try:
        writer = csv.writer(target)
        writer.writerow(OUTPUT)
        writer.writerows(rows(scored, keys))
    finally:
        if out is not None:
            target.close()
