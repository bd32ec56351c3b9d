"""The system's Chromium, for the browser tests: found, or installed where we are root."""

import os
import shutil
import subprocess
from pathlib import Path

from deploy.native.progress import Say, ticking

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = "Chromium for the browser tests; install the package chromium"


def find() -> Path | None:
    """The browser of this machine."""
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def provide(say: Say) -> Path | None:
    """Find it, or install it where that is allowed; None, and one line that says what to do, otherwise."""
    if (there := find()) is not None:
        return there
    if os.geteuid() == 0 and shutil.which("apt-get"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with ticking(say, "installing Chromium for the browser tests (package chromium)"):
            for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
                subprocess.run(["apt-get", "--quiet", *words], env=env, capture_output=True, check=False)
    if find() is None:
        say(f"missing: {ADVICE}")
    return find()
