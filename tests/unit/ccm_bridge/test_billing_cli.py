"""`lamplight ccm decide`: JSON on stdout, or one sentence on stderr and exit 2."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ccm_bridge.cli import app
from tests.unit.ccm_bridge.billing_month import NOVEMBER, work

RUN = CliRunner()
CASE = {"id": "x", "facts": NOVEMBER | {"entries": [work(25), work(25, country="PH", day=4)]}}


def test_it_answers_in_the_agreed_shape(tmp_path):
    (tmp_path / "case.json").write_text(json.dumps(CASE))
    done = RUN.invoke(app, ["decide", str(tmp_path / "case.json")])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["codes"] == {"99490": 1}
    assert said["hold"] is False
    assert said["reasons"] == ["UNDER_THRESHOLD", "NON_US_STAFF"]
    assert said["counted_minutes"] == {"CCM_STAFF": 25, "CCM_PERSONAL": 0, "RPM": 0}
    (excluded,) = said["excluded"]
    assert (excluded["entry"], excluded["seconds"], excluded["rule"]) == (1, 1500, "C11")
    assert {"rule", "outcome", "says", "compared", "source", "effective"} <= set(said["trace"][0])
    assert said["lines"][0]["allowed"] == "66.13"


def test_it_reads_a_case_from_stdin():
    done = RUN.invoke(app, ["decide", "-"], input=json.dumps(CASE))
    assert json.loads(done.stdout)["codes"] == {"99490": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "The case is not JSON."),
        ("{", "The case is not JSON."),
        ("[]", "an object is wanted"),
        (json.dumps({"facts": NOVEMBER | {"zone": "Mars"}}), "zone is not the name of a time zone"),
        (json.dumps({"facts": NOVEMBER | {"entries": [work(5) | {"seconds": "300"}]}}), "entries[0].seconds"),
    ],
    ids=["empty", "half", "a list", "a zone", "a type"],
)
def test_what_it_cannot_read_is_one_sentence_and_exit_2(tmp_path, text, says):
    (tmp_path / "case.json").write_text(text)
    done = RUN.invoke(app, ["decide", str(tmp_path / "case.json")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, says in ((tmp_path / "nowhere.json", "No such file"), (tmp_path, "Is a directory")):
        done = RUN.invoke(app, ["decide", str(path)])
        assert done.exit_code == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_what_is_merely_missing_is_a_hold_and_no_error(tmp_path):
    (tmp_path / "case.json").write_text(
        '{"id": "x", "facts": {"month": "2026-11", "zone": "America/New_York"}}'
    )
    done = RUN.invoke(app, ["decide", str(tmp_path / "case.json")])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["hold"] is True


def test_it_starts_without_the_heavy_libraries():
    heavy = ["numpy", "sklearn", "fastapi", "psycopg", "aiokafka", "jinja2"]
    script = (
        f"import ccm_bridge.cli, ccm_bridge.billing, sys; print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
