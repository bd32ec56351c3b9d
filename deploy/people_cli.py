"""`lamplight people`: practices, those who sign in, and patients. Heavy imports are late."""

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deploy.entries import Patient, Role, Wrong
from deploy.entries import email as address
from deploy.entries import password as usable
from deploy.entries import patient as entry
from deploy.entries import patients as entries
from deploy.entries import zone as civil_time
from ingest.terminal_cli import REFUSED, Database, as_table, on_database, right_now, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from deploy.people import Added, Person, Practice

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The address that signs in.")]
Number = Annotated[int, typer.Option("--practice", help="The practice, by its number.")]
Zone = Annotated[str | None, typer.Option(help="IANA zone of their civil time; default: the practice's.")]


@app.command()
def practice(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    database: Database,
    zone: Annotated[str, typer.Option(help="IANA zone: decides months and service hours.")],
) -> None:
    """Enter a practice; prints its number."""
    from deploy import people

    if not name.strip():
        wrong("a practice has a name")
    where = _good(civil_time(zone))
    typer.echo(
        f"practice {on_database(database, lambda conn: people.add_practice(conn, name.strip(), where))}"
    )


@app.command()
def staff(
    email: Email,
    database: Database,
    number: Number,
    name: Annotated[str, typer.Option(help="As colleagues and auditors read it.")],
    role: Annotated[Role, typer.Option(help="What they may do.")],
    credential: Annotated[
        str | None, typer.Option(help="RN, LPN, MA, MD: whose minutes count for what.")
    ] = None,
) -> None:
    """Give somebody an account; asks for the password, or reads it from standard input. Exit 3: not done."""
    from deploy import people

    who = _good(address(email))
    if not name.strip():
        wrong("a person has a name")
    hashed = _password()
    _said(
        on_database(
            database,
            lambda conn: people.add_staff(
                conn, number, who, name=name, role=role, credential=credential, password_hash=hashed
            ),
        )
    )


@app.command()
def password(
    email: Email,
    database: Database,
    back: Annotated[bool, typer.Option("--back", help="Also an account that was ended.")] = False,
) -> None:
    """Give an account a new password; whoever was signed in with it is signed out. Exit 3: not done."""
    from deploy import people

    who, hashed = _good(address(email)), _password()
    _said(on_database(database, lambda conn: people.change_password(conn, who, hashed, back=back)))


@app.command()
def leave(email: Email, database: Database) -> None:
    """End an account at once; what the person did stays theirs. Exit 3: not done."""
    from deploy import people

    who = _good(address(email))
    _said(on_database(database, lambda conn: people.leave(conn, who)))


@app.command()
def patient(
    mrn: Annotated[str, typer.Argument(metavar="MRN", help="The practice's record number.")],
    database: Database,
    number: Number,
    name: Annotated[str, typer.Option(help="As it stands in the record.")],
    born: Annotated[str, typer.Option(help="1944-03-02")],
    zone: Zone = None,
) -> None:
    """Enter a patient; the same again changes nothing. Exit 3: not done."""

    def told(of_practice: str, today: date) -> list[tuple[int, Patient | Wrong]]:
        return [(0, entry(mrn=mrn, name=name, born=born, zone_name=zone or of_practice, today=today))]

    _enter(database, number, told)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False)],
    database: Database,
    number: Number,
) -> None:
    """Enter patients from a CSV with the columns mrn, name, born and perhaps zone; good rows are kept. Exit 3: not all."""

    def told(of_practice: str, today: date) -> list[tuple[int, Patient | Wrong]]:
        try:
            lines = file.read_text("utf-8-sig").splitlines(keepends=True)
        except UnicodeDecodeError:
            wrong(f"{file} is not UTF-8")
        return list(entries(lines, zone_name=of_practice, today=today))

    _enter(database, number, told)


@app.command(name="list")
def list_(
    database: Database,
    number: Annotated[int | None, typer.Option("--practice", help="Only this one's, by its number.")] = None,
) -> None:
    """Practices with how many patients they have, and everybody who has an account."""
    from deploy import people

    async def look(conn: "AsyncConnection") -> "tuple[list[Practice], list[Person]]":
        return await people.practices(conn), await people.staff(conn, number)

    practices, accounts = on_database(database, look)
    if not practices:
        typer.echo("no practice yet; `lamplight people practice NAME --zone ZONE` enters one")
        return
    as_table(
        [("practice", "name", "zone", "patients"), *(p for p in practices if number in (None, p.practice_id))]
    )
    if accounts:
        typer.echo()
        states = [
            (
                one.practice_id,
                one.email,
                one.name,
                one.role,
                one.credential or "-",
                "" if one.active else "ended",
            )
            for one in accounts
        ]
        as_table([("practice", "signs in as", "name", "role", "credential", ""), *states])


def _enter(
    database: str, number: int, told: "Callable[[str, date], list[tuple[int, Patient | Wrong]]]"
) -> None:
    """Enter each that may be, in one transaction, and say what became of all of them."""
    from deploy import people

    async def do(conn: "AsyncConnection") -> "list[tuple[int, Added]]":
        here = next((one for one in await people.practices(conn) if one.practice_id == number), None)
        if here is None:
            wrong(f"there is no practice {number}; `lamplight people list` shows them")
        async with conn.transaction():
            return [
                (
                    line,
                    people.Added(fresh=False, wrong=one)
                    if isinstance(one, Wrong)
                    else await people.add_patient(conn, number, one),
                )
                for line, one in told(here.zone, right_now().date())
            ]

    done = on_database(database, do)
    for line, one in done:
        if one.wrong:
            typer.echo(f"lamplight: {f'line {line}: ' if line else ''}{one.wrong.why}", err=True)
    fresh, not_done = sum(one.fresh for _, one in done), sum(one.wrong is not None for _, one in done)
    typer.echo(f"entered {fresh}, there already {len(done) - fresh - not_done}, not entered {not_done}")
    if not_done:
        raise typer.Exit(REFUSED)


def _password() -> str:
    """Typed twice at a terminal, or one line of standard input; its hash."""
    from deploy.web.session import hash_password

    if sys.stdin.isatty():
        said = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        said = sys.stdin.readline().rstrip("\r\n")
    return hash_password(_good(usable(said)))


def _good(told: "T | Wrong") -> T:
    if isinstance(told, Wrong):
        wrong(told.why)
    return told


def _said(trouble: Wrong | None) -> None:
    if trouble is not None:
        typer.echo(f"lamplight: {trouble.why}", err=True)
        raise typer.Exit(REFUSED)
    typer.echo("done")
