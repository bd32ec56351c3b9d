"""Sees to it that a throw-away stack leaves nothing: `python -m deploy.native.undertaker FOLDER`, stdin from its user.

When the other end of stdin closes, however its holder ended (return, Ctrl-C, SIGKILL), every process on record in
the folder is killed and the folder removed. After an orderly stop there is nothing left to do.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from deploy.native.processes import Processes


def bury(folder: Path) -> None:
    """Kill what runs from `folder`, last started first, and remove it."""
    processes = Processes(folder)
    for name in reversed(processes.names()):
        processes.kill(name)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def watched(folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Within this block an undertaker watches over `folder`; at the end it has done its work."""
    watcher = subprocess.Popen(
        [sys.executable, "-m", "deploy.native.undertaker", str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        yield
    finally:
        assert watcher.stdin  # noqa: S101
        watcher.stdin.close()
        watcher.wait()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    bury(Path(sys.argv[1]))
