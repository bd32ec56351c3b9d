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
    from risk.replay import KEY, OUTPUT, NoReading, reading_of, rows
    from risk.replay import replay as run
    from risk.store import packaged_model

    start = None if origin is None else datetime.fromisoformat(origin).replace(tzinfo=UTC)
    with file.open(newline="") as source:
        told = list(csv.DictReader(source))
    readings = [reading_of(row, line=line, origin=start) for line, row in enumerate(told, start=2)]
    scored = run([r for r in readings if not isinstance(r, NoReading)], Plan(budget=budget), packaged_model())
    keys = (tuple(row.get(name) or "" for name in KEY) for row in told)
    target = sys.stdout if out is None else out.open("w", newline="")
    try:
        writer = csv.writer(target)
        writer.writerow(OUTPUT)
        writer.writerows(rows(readings, scored, keys))
    finally:
        if out is not None:
            target.close()


training = typer.Typer(no_args_is_help=True, help="Learn offline what is shipped; nothing retrains itself.")
app.add_typer(training, name="train")


@training.command()
def drift(
    pressures: Annotated[
        Path, typer.Option(exists=True, help="Unchanged session means: stream, day, systolic (csv.gz).")
    ],
    fingersticks: Annotated[Path, typer.Option(exists=True, help="Fingerstick diaries (csv.gz).")],
    out: Annotated[Path, typer.Option(help="Where to write the reading with its report card.")],
    version: Annotated[str, typer.Option(help="Its name.")],
) -> None:
    """Learn to read the bank of changes, and measure how often it is wrong about unchanged people."""
    from risk.training.drift import train, write

    content = train(pressures, fingersticks, version=version)
    write(content, out)
    _card(content)


@training.command()
def glucose(
    fingersticks: Annotated[Path, typer.Option(exists=True, help="Fingerstick diaries (csv.gz).")],
    out: Annotated[Path, typer.Option(help="Where to write the forecast with its report card.")],
    version: Annotated[str, typer.Option(help="Its name.")],
) -> None:
    """Train the chances of a low glucose, judged by chain."""
    from risk.training.drift import write
    from risk.training.glucose import train

    content = train(fingersticks, version=version)
    write(content, out)
    _card(content)


def _card(content: dict[str, object]) -> None:
    import json

    typer.echo(f"{content['version']}, sha256 {str(content['checksum'])[:12]}")
    typer.echo(json.dumps(content["report"], indent=2))
