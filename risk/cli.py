"""`lamplight risk`: the scorer on a file, its training, and its what-if. Light to import: the work is imported late."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

T = TypeVar("T")
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from psycopg import AsyncConnection

    from ingest.events import Reading
    from risk.replay import NoReading

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _read(file: Path, origin: str | None) -> "list[tuple[dict[str, str | None], Reading | NoReading]]":
    """The rows of a file with the readings they are, in its order."""
    import csv

    from risk.replay import instant, reading_of

    start = None if origin is None else instant(origin, None)
    with file.open(newline="", encoding="utf-8-sig") as source:
        rows: list[dict[str, str | None]] = list(csv.DictReader(source))
    return [(row, reading_of(row, line=line, origin=start)) for line, row in enumerate(rows, start=2)]


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

    from risk.measures import Plan
    from risk.replay import KEY, OUTPUT, NoReading, rows
    from risk.replay import replay as run
    from risk.store import packaged_model

    told = _read(file, origin)
    readings = [reading for _, reading in told]
    scored = run([r for r in readings if not isinstance(r, NoReading)], Plan(budget=budget), packaged_model())
    keys = (tuple(row.get(name) or "" for name in KEY) for row, _ in told)
    target = sys.stdout if out is None else out.open("w", newline="")
    try:
        writer = csv.writer(target)
        writer.writerow(OUTPUT)
        writer.writerows(rows(readings, scored, keys))
    finally:
        if out is not None:
            target.close()


@app.command("what-if")
def what_if(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="Readings, as for replay.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A limit, as systolic-high=150 or pulse-low=off.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="False trend alerts per patient-month.")] = None,
    practice: Annotated[int | None, typer.Option(help="A practice's own readings instead of a file.")] = None,
    patient: Annotated[str, typer.Option(help="Only this one of its patients.")] = "",
    days: Annotated[int, typer.Option(min=1, help="Of a practice: the days that count.")] = 28,
    zone: Annotated[str, typer.Option(help="Of a practice: its patients' civil time.")] = "UTC",
    database: Annotated[
        str, typer.Option(envvar="LAMPLIGHT_DATABASE", show_envvar=True, help="Where a practice's are.")
    ] = "",
    origin: Annotated[
        str | None, typer.Option(help="Of a file: date from which effective_at counts.")
    ] = None,
) -> None:
    """The alerts these readings make now, and would make with other limits or another budget. Changes nothing."""
    import asyncio
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from risk.measures import Plan
    from risk.replay import NoReading
    from risk.rules import LimitRefused
    from risk.store import Decided, packaged_model
    from risk.whatif import compare
    from risk.workbench_web import asked, practice_bench

    if (file is None) == (practice is None):
        raise typer.BadParameter("name a file of readings, or --practice")
    wanted = [told.partition("=")[::2] for told in set_ or ()] + (
        [("budget", str(budget))] if budget is not None else []
    )
    if not wanted:
        raise typer.BadParameter("nothing to try: --set RULE=NUMBER, --set RULE=off, or --budget")
    now = datetime.now(UTC)
    try:
        changes = [asked(None, what, "" if value == "off" else value) for what, value in wanted]
        if file is not None:
            rows = _read(file, origin)
            readings = [row for _, row in rows if not isinstance(row, NoReading)]
            names = {
                row.patient_id: told.get("patient_id") or ""
                for told, row in rows
                if not isinstance(row, NoReading)
            }
            decided, since, whose = Decided([], []), None, 0
        else:
            assert practice is not None
            told = asyncio.run(
                practice_bench(database, practice, patient=patient, days=days, zone=ZoneInfo(zone), now=now)
            )
            readings, names = told.readings(), {one: str(one) for one in told.zones}
            decided, since, whose = told.decided, told.since, practice
        then = decided
        for change in changes:
            then = then.changed(practice=whose, patient=None, what=change.what, value=change.value, at=now)
        before, after = (
            {one: plans.plan(whose, one, now) for one in names} or Plan() for plans in (decided, then)
        )
        found = compare(readings, before, after, packaged_model(), since=since)
    except LimitRefused as refused:
        raise typer.BadParameter(str(refused)) from None
    typer.echo(f"patients {found.patients}, patient-weeks {found.weeks:.1f}")
    typer.echo(
        f"alerts per patient-week: now {found.a_week(found.before):.2f}, then {found.a_week(found.after):.2f}"
    )
    for week, before_, after_ in found.by_week(ZoneInfo(zone)):
        typer.echo(f"  week of {week}: {before_:4} {after_:4}")
    for title, some in (("would be missed", found.missed), ("would be new", found.added)):
        typer.echo(f"{title}: {len(some)}")
        for one in some:
            typer.echo(
                f"  {one.at:%Y-%m-%d %H:%M}  {names[one.patient_id]}  {one.tier.value:8}  {one.reason}"
            )


models = typer.Typer(no_args_is_help=True, help="Models beside the ones that ship: in the shadow, then live.")
app.add_typer(models, name="model")
Database = Annotated[
    str, typer.Option(envvar="LAMPLIGHT_DATABASE", show_envvar=True, help="DSN of the services.")
]
By = Annotated[str, typer.Option(help="Who says so: a name people know.")]
Reason = Annotated[str, typer.Option(help="Why.")]


def _with_models(database: str, work: "Callable[[AsyncConnection[Any], datetime], Awaitable[T]]") -> "T":
    """Do something with the models in one transaction; what is refused is said and exits 1."""
    import asyncio
    from datetime import UTC, datetime

    from psycopg import AsyncConnection

    from risk.candidate import CandidateRefused

    async def done() -> "T":
        async with await AsyncConnection.connect(database) as conn, conn.transaction():
            return await work(conn, datetime.now(UTC))

    try:
        return asyncio.run(done())
    except CandidateRefused as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from None


@models.command("list")
def list_models(database: Database) -> None:
    """Every model that was ever placed, and what ships."""
    from risk.candidate import Kind, shipped
    from risk.model_store import listed

    for kind in Kind:
        typer.echo(f"{shipped(kind).version:16} {kind.value:8} ships with the product")
    for version, kind, state, by, reason, since in _with_models(database, lambda conn, _: listed(conn)):
        typer.echo(f"{version:16} {kind:8} {state:8} since {since:%Y-%m-%d %H:%M} by {by}: {reason}")


@models.command()
def shadow(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="As `risk train` wrote it.")],
    database: Database,
    by: By,
    reason: Reason,
) -> None:
    """Place a trained model in the shadow: scored beside the live one from the scorer's next start, shown to nobody."""
    from risk.candidate import Candidate
    from risk.model_store import into_shadow

    content = file.read_text(encoding="utf-8")
    _with_models(
        database,
        lambda conn, now: into_shadow(conn, Candidate.read(content), by=by, reason=reason, now=now),
    )
    typer.echo("In the shadow. Restart the risk service to begin.")


@models.command()
def promote(
    version: Annotated[str, typer.Argument(help="Of the model in the shadow.")],
    database: Database,
    by: By = "",
    reason: Reason = "",
) -> None:
    """Compare the shadow with the live model; with --by and --reason, make it the live one."""
    from risk.candidate import comparison
    from risk.model_store import promote as make_live
    from risk.model_store import rivals

    for line in comparison(*_with_models(database, lambda conn, _: rivals(conn, version))):
        typer.echo(line)
    if not (by.strip() and reason.strip()):
        typer.echo("Nothing was changed: say --by and --reason to promote it.")
        return
    _with_models(database, lambda conn, now: make_live(conn, version, by=by, reason=reason.strip(), now=now))
    typer.echo(f"{version} is live from the next start of the risk service and the web.")


@models.command()
def retire(
    version: Annotated[str, typer.Argument(help="Of a model in the shadow or live.")],
    database: Database,
    by: By,
    reason: Reason,
) -> None:
    """Take a model away; without a live one of its kind the one that ships is live again."""
    from risk.model_store import retire as take_away

    _with_models(database, lambda conn, now: take_away(conn, version, by=by, reason=reason, now=now))
    typer.echo(f"{version} is retired from the next start on.")


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
