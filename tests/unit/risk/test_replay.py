"""`lamplight risk replay`: one row out per row in, whatever the row."""

import csv
import io
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from risk.cli import app
from risk.events import Tier
from risk.replay import Episodes, NoReading, reading_of, replay, rows
from risk.scoring import score
from tests.unit.risk.diary import a_reading

HEADER = "patient_id,effective_at,kind,systolic,diastolic,pulse,glucose_mgdl,context,flag\n"


def run(tmp_path, text, *options):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(text)
    result = CliRunner().invoke(
        app, ["replay", str(source), "--out", str(out), *options], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(out.read_text())))


def test_the_columns_are_those_promised(tmp_path):
    (row,) = run(tmp_path, HEADER + "a,2026-01-01T07:00:00,bp,186,90,70,,,\n")
    assert list(row) == [
        "patient_id", "effective_at", "kind", "tier", "concern", "alert", "drift_score", "p_low_24h", "p_low_7d",
        "reasons", "p_high_7d",
    ]  # fmt: skip
    assert (row["patient_id"], row["tier"], row["concern"], row["alert"]) == (
        "a",
        "critical",
        "high_pressure",
        "1",
    )
    assert "186" in row["reasons"] and "Repeat in 5 minutes" in row["reasons"]


def test_missing_columns_are_allowed_and_days_may_be_counted(tmp_path):
    told = run(
        tmp_path,
        "patient_id,effective_at,kind,systolic\na,0.3,bp,150\na,1.3,bp,151\n",
        "--origin",
        "2026-01-01",
    )
    assert [row["effective_at"] for row in told] == ["0.3", "1.3"]


def test_an_instant_stays_an_instant_beside_an_origin_and_a_sugar_needs_no_kind(tmp_path):
    told = run(
        tmp_path,
        "patient_id,effective_at,glucose_mgdl\na,2026-01-01T07:00:00Z,52\na,2.5,51\n",
        "--origin",
        "2026-01-01",
    )
    assert [row["tier"] for row in told] == ["critical", "critical"]


@pytest.mark.parametrize("told", ["inf", "-5", "1e9", "281"])
def test_what_ingest_would_make_no_reading_of_is_none_here(tmp_path, told):
    (row,) = run(tmp_path, HEADER + f"a,2026-01-01T07:00:00,bp,{told},90,70,,,\n")
    assert (row["tier"], row["alert"]) == ("routine", "0")
    assert row["reasons"] == f"line 2: systolic cannot be {told}"


def test_a_meters_high_and_low_are_emergencies_in_every_spelling(tmp_path):
    told = run(
        tmp_path,
        HEADER
        + "".join(
            f"{n},2026-01-01,glucose,,,,{said},,\n" for n, said in enumerate(("HI", "0Hi", "Lo", "0Lo"))
        ),
    )
    assert {row["tier"] for row in told} == {"critical"}
    assert [row["concern"] for row in told] == ["high_glucose"] * 2 + ["low_glucose"] * 2


def test_a_row_that_is_no_reading_says_why_and_stops_nobody(tmp_path):
    told = run(
        tmp_path,
        HEADER + "a,2026-01-01,glucose,,,,3A,,\na,not a day,bp,130,80,,,,\na,2026-01-02,bp,190,80,,,,\n",
    )
    assert ["line 2" in told[0]["reasons"], "line 3" in told[1]["reasons"], told[2]["tier"]] == [
        True,
        True,
        "critical",
    ]


def test_a_shifted_copy_is_shown_and_not_judged(tmp_path):
    (row,) = run(tmp_path, HEADER + "a,2026-01-01,bp,190,80,,,,tz_shadow_duplicate\n")
    assert (row["tier"], row["alert"]) == ("routine", "0")


def test_a_budget_moves_the_line_and_not_the_statistic(tmp_path):
    text = HEADER + "".join(
        f"a,{datetime(2026, 1, 1 + n // 2 % 28, 8 + 12 * (n % 2), tzinfo=UTC).replace(month=1 + n // 56).isoformat()},bp,"
        f"{132 + (n * 7) % 9 + (9 if n > 80 else 0)},80,,,,\n"
        for n in range(100)
    )
    few, many = run(tmp_path, text, "--budget", "0.05"), run(tmp_path, text, "--budget", "2")
    assert [row["drift_score"] for row in few] == [row["drift_score"] for row in many]
    assert sum("drift" in row["concern"] for row in few) <= sum("drift" in row["concern"] for row in many)


def test_an_episode_opens_once_worsens_once_and_opens_again_after_a_quiet_week():
    episodes = Episodes()

    def opens(day, systolic):
        _, scored = score(None, a_reading(day, systolic=systolic))
        return episodes.opens(scored)

    assert [opens(0, 165.0), opens(0.5, 166.0), opens(1, 185.0), opens(1.5, 165.0), opens(9, 165.0)] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_rows_keep_their_order_when_some_are_no_readings():
    told = [
        reading_of({"patient_id": "a", "effective_at": text}, line=n)
        for n, text in enumerate(("2026-01-01", "?", "2026-01-02"))
    ]
    assert isinstance(told[1], NoReading)
    scored = replay([one for one in told if not isinstance(one, NoReading)])
    out = list(rows(told, scored, [("a",), ("b",), ("c",)]))
    assert [row[0] for row in out] == ["a", "b", "c"]
    assert out[0][1] == Tier.ROUTINE.value
