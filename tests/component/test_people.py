"""A practice of one's own, from the command line to the first sign-in and the first reading's owner."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest
from typer.testing import CliRunner

from deploy import database, people_cli
from deploy.settings import Secret
from deploy.web import session
from ingest import assignment_cli

pytestmark = pytest.mark.stack

PASSWORD = "a lamp in every window"
NURSE = ("--name", "Ana Ruiz", "--role", "nurse", "--credential", "RN")


@pytest.fixture
def lamplight(fresh_database):
    def typed(*words, given="", app=people_cli.app):
        return CliRunner().invoke(
            app,
            [str(word) for word in words],
            input=given,
            env={"LAMPLIGHT_DATABASE": fresh_database.pipeline},
        )

    return typed


@pytest.fixture
def practice(lamplight):
    for number, name in ((1, "Riverside"), (2, "Hillcrest")):
        done = lamplight("practice", name, "--zone", "America/Chicago")
        assert (done.exit_code, done.output) == (0, f"practice {number}\n")
    return 1


async def signs_in(fresh_database, email, password):
    """Whether the site lets this person in."""
    async with database.pool(Secret(fresh_database.web), size=1) as pool:
        outcome, _ = await session.sign_in(pool, email, password, now=datetime.now(UTC))
    return outcome is session.Outcome.SIGNED_IN


async def test_whoever_has_an_account_signs_in_until_it_ends(lamplight, practice, fresh_database):
    def typed(*words, given=""):
        return asyncio.to_thread(lamplight, *words, given=given)

    done = await typed(
        "staff", "Ana@Riverside.example", "--practice", practice, *NURSE, given=f"{PASSWORD}\n"
    )
    assert (done.exit_code, done.output) == (0, "done\n")
    assert await signs_in(fresh_database, "ana@riverside.example", PASSWORD)
    assert (
        await typed("password", "ana@riverside.example", given="another lamp, another window\n")
    ).exit_code == 0
    assert not await signs_in(fresh_database, "ana@riverside.example", PASSWORD)
    with psycopg.connect(fresh_database.superuser) as conn:
        assert conn.execute("SELECT count(*) FROM who.session WHERE ended_at IS NULL").fetchone() == (0,)
    assert await signs_in(fresh_database, "ana@riverside.example", "another lamp, another window")
    assert (await typed("leave", "ana@riverside.example")).exit_code == 0
    assert not await signs_in(fresh_database, "ana@riverside.example", "another lamp, another window")
    gone = await typed("password", "ana@riverside.example", given=f"{PASSWORD}\n")
    assert (gone.exit_code, gone.stderr) == (3, "lamplight: the account of ana@riverside.example was ended\n")
    assert (await typed("password", "ana@riverside.example", "--back", given=f"{PASSWORD}\n")).exit_code == 0
    assert await signs_in(fresh_database, "ana@riverside.example", PASSWORD)


@pytest.mark.parametrize(
    ("words", "given", "code", "why"),
    [
        (("staff", "ana", "--practice", 1, *NURSE), PASSWORD, 2, "ana is no e-mail address"),
        (("staff", "a@b.example", "--practice", 1, *NURSE), "too short", 2, "a password has 15 characters or more"),
        (("staff", "a@b.example", "--practice", 9, *NURSE), PASSWORD, 3, "there is no practice 9"),
        (("leave", "a@b.example"), "", 3, "a@b.example has no account"),
        (("practice", "Third", "--zone", "CST"), "", 2, "CST is no IANA zone"),
        (("patient", "R-1", "--practice", 9, "--name", "R", "--born", "1944-03-02"), "", 2, "there is no practice 9"),
        (("patient", "R-1", "--practice", 1, "--name", "R", "--born", "2.3.44"), "", 3, "born 2.3.44 is no date"),
    ],
)  # fmt: skip
def test_what_cannot_be_entered_says_why_and_changes_nothing(
    lamplight, practice, fresh_database, words, given, code, why
):
    done = lamplight(*words, given=given)
    assert done.exit_code == code and why in done.stderr
    with psycopg.connect(fresh_database.superuser) as conn:
        for table, there in (("practice", 2), ("staff", 0), ("patient", 0)):
            assert conn.execute(f"SELECT count(*) FROM who.{table}").fetchone() == (there,)


def test_an_address_is_one_persons_in_all_practices(lamplight, practice):
    assert lamplight("staff", "a@b.example", "--practice", 1, *NURSE, given=PASSWORD).exit_code == 0
    again = lamplight("staff", "A@B.example", "--practice", 2, *NURSE, given=PASSWORD)
    assert again.exit_code == 3 and "has an account already" in again.stderr


def test_a_list_of_patients_is_entered_once_and_a_bad_row_stops_nobody(lamplight, practice, tmp_path):
    file = tmp_path / "patients.csv"
    file.write_text(
        "mrn,name,born,zone\nR-1,Ruth Abramson,1944-03-02,\nR-2,Lin Zhao,1953-02-30,\nR-3,Oto Berg,1950-01-01,America/Denver\n"
    )
    first = lamplight("import", file, "--practice", practice)
    assert (first.exit_code, first.stdout) == (3, "entered 2, there already 0, not entered 1\n")
    assert first.stderr == "lamplight: line 3: born 1953-02-30 is no date, such as 1944-03-02\n"
    file.write_text(file.read_text().replace("1953-02-30", "1953-02-03").replace("Oto", "Otto"))
    again = lamplight("import", file, "--practice", practice)
    assert (again.exit_code, again.stdout) == (3, "entered 1, there already 1, not entered 1\n")
    assert again.stderr == "lamplight: line 4: R-3 is Oto Berg, born 1950-01-01, America/Denver\n"
    assert (
        lamplight("patient", "R-1", "--practice", 2, "--name", "Nina", "--born", "1960-01-01").exit_code == 0
    )
    listed = lamplight("list").output.splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["1", "Riverside", "America/Chicago", "3"],
        ["2", "Hillcrest", "America/Chicago", "1"],
    ]


def test_a_patient_who_was_entered_can_have_a_cuff(lamplight, practice):
    assert (
        lamplight("patient", "R-1", "--practice", 1, "--name", "Ruth", "--born", "1944-03-02").exit_code == 0
    )
    for words in (("register", "cuff-9", "--practice", 1), ("give", "cuff-9", "--mrn", "R-1")):
        done = lamplight(*words, app=assignment_cli.app)
        assert done.exit_code == 0, done.output
    assert "R-1" in lamplight("list", app=assignment_cli.app).output
