"""What may be entered about a practice and its people. Pure; what may not is a value that says why."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final
from zoneinfo import available_timezones

PASSWORD_LEAST: Final = 15
"""Characters of a password that stands alone (NIST SP 800-63B-4, 3.1.1.2)."""
OLDEST: Final = 120
"""Years of age beyond which a date of birth is a slip of the pen."""
NEEDED: Final = ("mrn", "name", "born")
"""Columns of a list of patients; `zone` may be there too."""


class Role(StrEnum):
    NURSE = "nurse"
    COORDINATOR = "coordinator"
    PHYSICIAN = "physician"
    ADMIN = "admin"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why an entry may not be made."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient as a practice enters them; `zone` is the IANA name of their own civil time."""

    mrn: str
    name: str
    born: date
    zone: str


def zone(name: str) -> str | Wrong:
    """An IANA zone.

    >>> zone("America/Chicago"), zone("CST")
    ('America/Chicago', Wrong(why='CST is no IANA zone, such as America/Chicago'))
    """
    return (
        name
        if "/" in name and name in available_timezones()
        else Wrong(f"{name or 'nothing'} is no IANA zone, such as America/Chicago")
    )


def password(said: str) -> str | Wrong:
    """A password somebody may sign in with."""
    if len(said) < PASSWORD_LEAST:
        return Wrong(f"a password has {PASSWORD_LEAST} characters or more; a few words are easiest")
    return said


def email(said: str) -> str | Wrong:
    """An address as accounts are kept: in small letters.

    >>> email("Ana@Riverside.example"), email("ana")
    ('ana@riverside.example', Wrong(why='ana is no e-mail address'))
    """
    name, _, host = said.strip().lower().rpartition("@")
    good = (
        name
        and host
        and "@" not in name
        and not any(sign.isspace() or not sign.isprintable() for sign in said.strip())
    )
    return f"{name}@{host}" if good else Wrong(f"{said} is no e-mail address")


def patient(*, mrn: str, name: str, born: str, zone_name: str, today: date) -> Patient | Wrong:
    """A patient, if every word of the entry can be one.

    >>> patient(mrn="R-1", name="Ruth Abramson", born="02/03/1944", zone_name="America/Chicago", today=date(2026, 1, 1))
    Wrong(why='born 02/03/1944 is no date, such as 1944-03-02')
    """
    mrn, name, born = mrn.strip(), name.strip(), born.strip()
    for what, said in (("record number", mrn), ("name", name)):
        if not said or not said.isprintable():
            return Wrong(f"no {what}" if not said else f"a {what} with characters that cannot be shown")
    try:
        day = date.fromisoformat(born)
    except ValueError:
        return Wrong(f"born {born or 'nothing'} is no date, such as 1944-03-02")
    if not 0 <= today.year - day.year <= OLDEST or day > today:
        return Wrong(f"born {born} cannot be")
    where = zone(zone_name.strip())
    return where if isinstance(where, Wrong) else Patient(mrn=mrn, name=name, born=day, zone=where)


def patients(lines: Iterable[str], *, zone_name: str, today: date) -> Iterator[tuple[int, Patient | Wrong]]:
    """Each row of a CSV with its line; a file without the columns needed is one wrong line.

    `zone_name`: of the practice, for rows that name none.
    """
    rows = csv.DictReader(lines)
    heads = [head.strip().lower() for head in rows.fieldnames or []]
    if lacking := [head for head in NEEDED if head not in heads]:
        yield 1, Wrong(f"no column {', '.join(lacking)}; wanted {', '.join(NEEDED)} and perhaps zone")
        return
    rows.fieldnames = heads
    try:
        for row in rows:
            told = {head: row.get(head) or "" for head in (*NEEDED, "zone")}
            where = told["zone"].strip() or zone_name
            one = patient(mrn=told["mrn"], name=told["name"], born=told["born"], zone_name=where, today=today)
            yield rows.line_num, one
    except csv.Error as error:  # a field without end: nothing behind it can be told apart
        yield rows.line_num + 1, Wrong(str(error))
