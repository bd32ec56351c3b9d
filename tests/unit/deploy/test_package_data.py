"""An installed Lamplight has the files that its code reads: templates, styles, migrations, diaries, tables."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("ingest", "risk", "alerts", "ccm_bridge", "deploy")
PATTERNS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
READ_BY_OTHER_PROGRAMS = ("grafana", "prometheus", "mosquitto", "timescaledb")  # folders in deploy/


def data(room: str) -> list[Path]:
    return [
        path.relative_to(ROOT)
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".sh")
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_every_data_file_of_a_room_is_packaged(room):
    for path in data(room):
        if room == "deploy" and (len(path.parts) == 2 or path.parts[1] in READ_BY_OTHER_PROGRAMS):
            continue
        assert any(fnmatch(path.name, pattern) for pattern in PATTERNS), f"{path} would be missing"
