"""A log serves who works; it never stops them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FULL = """
import os, resource, structlog
from deploy import logs
logs.configure("test", human=False)
log = structlog.get_logger()
log.warning("there is room")
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
for _ in range(1_000):
    log.warning("there is none")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.warning("there is room again")
"""


def test_a_line_that_the_full_disk_under_the_log_does_not_take_is_lost_and_its_writer_goes_on(tmp_path):
    written = tmp_path / "log"
    with written.open("wb") as log:
        done = subprocess.run([sys.executable, "-c", FULL], cwd=ROOT, stderr=log, timeout=60, check=False)
    assert done.returncode == 0
    assert "there is room" in written.read_text().splitlines()[0]
    assert "there is room again" in written.read_text()
