"""The house rules that imports and names can show."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("ingest", "risk", "alerts", "ccm_bridge")
LEFT = {"ingest": None, "risk": "ingest", "alerts": "risk", "ccm_bridge": "alerts"}
EDGES = {
    "service.py",
    "store.py",
    "stream.py",
    "mqtt.py",
    "web.py",
    "cli.py",
    "archive.py",
    "notify.py",
    "training.py",
    "cloud_call.py",
    "withings_cloud.py",
    "ihealth_cloud.py",
}
WORLD = {
    "psycopg",
    "psycopg_pool",
    "aiokafka",
    "paho",
    "fastapi",
    "starlette",
    "sqlite3",
    "socket",
    "ssl",
    "subprocess",
    "urllib",
    "httpx",
}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time")}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_edge(path: Path) -> bool:
    return (
        path.name in EDGES
        or path.stem.endswith(("_store", "_service", "_web", "_cli"))
        or "gateway" in path.parts
        or "training" in path.parts
    )


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_the_events_of_the_room_to_its_left(room):
    others = {*ROOMS, "deploy", "tests"} - {room}
    for path in modules(room):
        for name in imports(path):
            top = name.split(".")[0]
            if top in others:
                allowed = LEFT[room] and (
                    name == f"{LEFT[room]}.events" or name.startswith(f"{LEFT[room]}.events.")
                )
                assert allowed or name == LEFT[room], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_pure_modules_touch_no_edge_of_the_world(room):
    for path in modules(room):
        if is_edge(path):
            continue
        touched = {
            name
            for name in imports(path)
            if name.split(".")[0] in WORLD and not name.startswith("urllib.parse")
        }
        assert not touched, f"{path.relative_to(ROOT)} is a rule module but imports {sorted(touched)}"


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_reads_the_environment_and_rules_read_no_clock(room):
    for path in modules(room):
        assert "os.environ" not in path.read_text(), f"{path.relative_to(ROOT)} reads the environment"
        if path.name.endswith("cli.py") or "gateway" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                base = getattr(node.func.value, "id", getattr(node.func.value, "attr", None))
                assert (base, node.func.attr) not in CLOCKS, (
                    f"{path.relative_to(ROOT)}:{node.lineno} reads a clock"
                )


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_reads_another_rooms_tables(room):
    schema = {"ccm_bridge": "ccm"}.get(room, room)
    foreign = {"ingest", "risk", "alerts", "ccm"} - {schema}
    spoken = re.compile(
        r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(" + "|".join(sorted(foreign)) + r")\.\w+"
    )  # SQL is written in capitals here; `from risk.events import` is not SQL
    for path in modules(room):
        found = spoken.search(path.read_text())
        assert not found, f"{path.relative_to(ROOT)} speaks SQL to another room: {found and found.group()}"


def test_every_module_says_in_its_docstring_what_lives_there():
    for room in (*ROOMS, "deploy"):
        for path in modules(room):
            assert ast.get_docstring(ast.parse(path.read_text())), (
                f"{path.relative_to(ROOT)} has no docstring"
            )


def test_no_file_has_a_name_that_takes_anything():
    for room in (*ROOMS, "deploy"):
        for path in modules(room):
            assert path.stem not in {
                "utils",
                "util",
                "common",
                "helpers",
                "helper",
                "shared",
                "misc",
                "manager",
            }, path


def test_every_path_named_in_the_readme_exists():
    for name in re.findall(
        r"`((?:ingest|risk|alerts|ccm_bridge|deploy|tests|docs)/[\w./-]*)`", (ROOT / "README.md").read_text()
    ):
        assert (ROOT / name).exists(), f"README names {name}, which does not exist"
