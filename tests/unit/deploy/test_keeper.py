"""The keeper: restarts what crashed, stops what should stop, leaves nothing unkept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def start(tmp_path: Path, body: str) -> subprocess.Popen[bytes]:
    script = tmp_path / "child.py"
    script.write_text(
        f"import os, sys, time, signal, pathlib\nhere = pathlib.Path({str(tmp_path)!r})\n{body}"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.keeper", sys.executable, str(script)],
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
    )


def wait_for(condition, within=10.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


LIVES = """
n = len(list(here.glob("pid-*")))
(here / f"pid-{n}").write_text(str(os.getpid()))
time.sleep(60)
"""


def test_a_killed_child_is_started_again_and_sigterm_ends_both(tmp_path):
    keeper = start(tmp_path, LIVES)
    wait_for(lambda: (tmp_path / "pid-0").exists() and (tmp_path / "pid-0").read_text())
    os.kill(int((tmp_path / "pid-0").read_text()), signal.SIGKILL)
    wait_for(lambda: (tmp_path / "pid-1").exists() and (tmp_path / "pid-1").read_text())
    keeper.terminate()
    keeper.wait(10)
    child = int((tmp_path / "pid-1").read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists())


def test_a_child_called_wrongly_is_not_started_again(tmp_path):
    keeper = start(tmp_path, 'open(here / "runs", "a").write("x")\nsys.exit(2)')
    assert keeper.wait(10) == 2
    assert (tmp_path / "runs").read_text() == "x"


def test_when_the_keeper_is_killed_its_child_goes_too(tmp_path):
    keeper = start(tmp_path, LIVES)
    wait_for(lambda: (tmp_path / "pid-0").exists() and (tmp_path / "pid-0").read_text())
    child = int((tmp_path / "pid-0").read_text())
    keeper.kill()
    keeper.wait(10)
    wait_for(
        lambda: (
            not Path(f"/proc/{child}").exists()
            or "Z" in Path(f"/proc/{child}/stat").read_text().split(")")[1][:3]
        )
    )
