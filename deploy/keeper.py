"""Keeps one command running: `python -m deploy.keeper COMMAND ...`. For machines without systemd, Docker or Kubernetes.

Restarts what crashed, with back-off; passes SIGTERM on; ends when the command ends well or says that it was called
wrongly (exit 2). Should the keeper itself be killed, the kernel takes the child along: nothing runs unkept.
"""

import ctypes
import signal
import subprocess
import sys
import time
from types import FrameType

FIRST_WAIT_S, LONGEST_WAIT_S, CALM_S = 0.2, 5.0, 30.0
PR_SET_PDEATHSIG = 1
CALLED_WRONGLY = 2


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def keep(command: list[str]) -> int:
    """Run `command` until it ends well; returns its exit code."""
    child: subprocess.Popen[bytes] | None = None
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if child is not None and child.poll() is None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    wait = FIRST_WAIT_S
    while not stopping:
        started = time.monotonic()
        child = subprocess.Popen(command, preexec_fn=_die_with_parent)  # noqa: PLW1509, S603 - no threads here; our own command
        code = child.wait()
        if stopping or code in (0, CALLED_WRONGLY):
            return code
        wait = FIRST_WAIT_S if time.monotonic() - started > CALM_S else min(wait * 2, LONGEST_WAIT_S)
        print(f"keeper: ended with {code}, again in {wait:.1f} s", file=sys.stderr, flush=True)  # noqa: T201 - its log
        time.sleep(wait)
    return 0


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
