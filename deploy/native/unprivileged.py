"""Running servers that refuse to be root, when we are root."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

NOBODY = 65534


class RefusedRootError(Exception):
    """Neither way of giving up root works here; the message says what would."""


@cache
def prefix() -> tuple[str, ...]:
    """What to put before a command so that it does not run as root; nothing for an ordinary user.

    A user namespace of one account is first choice: inside it the server is `nobody`, outside the files stay
    root's own, so a data folder below root's closed home works. Where the kernel or a container forbids such
    namespaces, `setpriv` changes the account, and `own` hands it the folder.
    """
    if os.geteuid() != 0:
        return ()
    namespace = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    if (
        shutil.which("unshare")
        and subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
    ):
        return namespace
    if shutil.which("setpriv"):
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    raise RefusedRootError(
        "PostgreSQL refuses to run as root and this machine has neither unshare nor setpriv (package util-linux)"
    )


def own(folder: Path) -> None:
    """Let the unprivileged account have a server's folder; nothing to do inside a user namespace or without root.

    Raises RefusedRootError when that account cannot get as far as the folder.
    """
    if not prefix() or prefix()[0] != "setpriv":
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    reach = subprocess.run([*prefix(), "test", "-x", str(folder)], capture_output=True, check=False)
    if reach.returncode:
        raise RefusedRootError(
            f"the unprivileged account cannot reach {folder}: a folder above it is closed to others; "
            "put the project elsewhere or run as an ordinary user"
        )
