"""What may be entered about a practice and its people."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.entries import PASSWORD_LEAST, Patient, Wrong, email, password, patient, patients, zone

TODAY = date(2026, 3, 2)
RUTH = {
    "mrn": "R-1",
    "name": "Ruth Abramson",
    "born": "1944-03-02",
    "zone_name": "America/Chicago",
    "today": TODAY,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mrn": " "}, "no record number"),
        ({"name": ""}, "no name"),
        ({"name": "Ruth\x00"}, "a name with characters that cannot be shown"),
        ({"born": "1944-13-02"}, "born 1944-13-02 is no date, such as 1944-03-02"),
        ({"born": ""}, "born nothing is no date, such as 1944-03-02"),
        ({"born": "2026-03-03"}, "born 2026-03-03 cannot be"),
        ({"born": "1894-03-02"}, "born 1894-03-02 cannot be"),
        ({"zone_name": "Chicago"}, "Chicago is no IANA zone, such as America/Chicago"),
    ],
)
def test_an_entry_that_cannot_be_says_why(change, why):
    assert patient(**{**RUTH, **change}) == Wrong(why)


def test_who_is_born_today_can_be_a_patient():
    assert isinstance(patient(**{**RUTH, "born": "2026-03-02"}), Patient)


def test_a_list_of_patients_is_read_row_by_row_each_with_its_line():
    told = patients(
        [
            "Born,MRN,Name,zone,more\n",
            '1944-03-02,R-1,"Abramson, Ruth",,x\n',
            "1950-01-01,,Nobody,,\n",
            "1951-01-01,R-3,Lin Zhao,America/Denver\n",
        ],
        zone_name="America/Chicago",
        today=TODAY,
    )
    assert list(told) == [
        (2, Patient(mrn="R-1", name="Abramson, Ruth", born=date(1944, 3, 2), zone="America/Chicago")),
        (3, Wrong("no record number")),
        (4, Patient(mrn="R-3", name="Lin Zhao", born=date(1951, 1, 1), zone="America/Denver")),
    ]  # fmt: skip


@pytest.mark.parametrize("lines", [[], ["name;mrn;born\n"], ["mrn,name\n", "R-1,Ruth\n"]])
def test_a_list_without_its_columns_is_wrong_as_a_whole(lines):
    ((line, told),) = patients(lines, zone_name="America/Chicago", today=TODAY)
    assert line == 1 and "wanted mrn, name, born" in told.why


@given(st.lists(st.text(max_size=40), max_size=8))
def test_any_list_ends_in_entries_or_reasons(lines):
    for line, told in patients(["mrn,name,born\n", *lines], zone_name="America/Chicago", today=TODAY):
        assert line >= 2
        assert told.why if isinstance(told, Wrong) else told.mrn.isprintable() and told.born <= TODAY


@given(st.text(max_size=60))
def test_any_words_are_a_zone_an_address_or_a_password_or_say_why(said):
    assert zone(said) == said or zone(said).why
    told = email(said)
    assert told.why if isinstance(told, Wrong) else told == told.lower() and told.count("@") == 1
    assert password(said) == said if len(said) >= PASSWORD_LEAST else password(said).why
