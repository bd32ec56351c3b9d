"""Processes are ours by pid and birth: strangers are left alone, nothing of ours is left behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deploy.native.ports import Ports, free
from deploy.native.processes import NotReadyError, Processes, kept_by, tick_of, until
from deploy.native.progress import quiet

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()",
]


@pytest.fixture
def processes(tmp_path):
    owned = Processes(tmp_path)
    yield owned
    for name in owned.names():
        owned.kill(name)


def start(processes, name, command=FOREVER):
    return processes.start(name, command, env=os.environ, cwd=Path("/"))


def wait_for(condition, within=20):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_second_start_finds_the_first(processes):
    assert start(processes, "one") == start(processes, "one")


def test_another_instance_finds_stops_and_forgets_it(processes, tmp_path):
    birth = start(processes, "one")
    other = Processes(tmp_path)
    assert other.alive("one") == birth
    assert other.stop("one")
    assert tick_of(birth.pid) is None or processes.alive("one") is None
    assert other.names() == []


def test_a_stranger_who_has_the_pid_now_is_left_alone(processes, tmp_path):
    birth = start(processes, "one")
    processes.kill("one")
    wait_for(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") > birth.tick + 1)
    stranger = subprocess.Popen(FOREVER)
    try:
        record = tmp_path / "run/one.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "pid": stranger.pid}))
        assert processes.alive("one") is None
        processes.stop("one")
        processes.kill("one")
        assert stranger.poll() is None
        assert birth.pid != stranger.pid
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_of_an_earlier_boot_is_not_ours(processes, tmp_path):
    start(processes, "one")
    record = tmp_path / "run/one.json"
    said = json.loads(record.read_text())
    record.write_text(json.dumps({**said, "boot": "another"}))
    assert processes.alive("one") is None
    record.write_text(json.dumps(said))


def test_who_does_not_stop_when_asked_is_killed_in_the_end(processes):
    start(processes, "one", STUBBORN)
    wait_for(lambda: "up" in processes.tail("one"))
    assert not processes.stop("one", within=0.2)
    assert processes.alive("one") is None


def test_a_frozen_process_is_thawed_to_be_stopped(processes):
    start(processes, "one")
    processes.send("one", signal.SIGSTOP)
    assert processes.stop("one")


def test_names_are_in_the_order_of_starting(processes):
    for name in ("c", "a", "b"):
        start(processes, name)
    assert processes.names() == ["c", "a", "b"]


def test_one_that_dies_while_starting_is_told_with_its_last_words(processes):
    start(processes, "one", [sys.executable, "-c", "print('no such luck'); raise SystemExit(1)"])
    with pytest.raises(NotReadyError, match="no such luck"):
        until(
            lambda: False,
            what="one",
            within=20,
            say=quiet,
            alive=lambda: processes.alive("one") is not None,
            tail=lambda: processes.tail("one"),
        )


def test_an_undertaker_buries_what_a_killed_test_run_left(tmp_path):
    folder = tmp_path / "stack"
    script = textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from deploy.native import undertaker
        from deploy.native.processes import Processes
        with undertaker.watched(Path({str(folder)!r})):
            birth = Processes(Path({str(folder)!r})).start("one", {FOREVER!r}, env=os.environ, cwd=Path("/"))
            print(birth.pid, flush=True)
            sys.stdin.read()
    """)
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(run.stdout.readline())
    assert tick_of(pid) is not None
    run.kill()
    run.communicate()
    wait_for(lambda: tick_of(pid) is None and not folder.exists())


def test_a_port_is_kept_while_free_and_changed_when_a_stranger_has_it(tmp_path):
    import socket

    first = Ports(tmp_path, {}).choose("mqtt")
    assert Ports(tmp_path, {}).choose("mqtt") == first
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", first))
        stranger.listen()
        assert not free(first)
        second = Ports(tmp_path, {}).choose("mqtt")
    assert second != first
    assert Ports(tmp_path, {})["mqtt"] == second


def test_a_preferred_port_is_taken_when_free_and_never_twice(tmp_path):
    port = Ports(tmp_path / "a", {}).choose("any")
    ports = Ports(tmp_path / "b", {"web": port, "mqtt": port})
    assert ports.choose("web") == port
    assert ports.choose("mqtt") != port


def test_the_pid_to_kill_is_that_of_what_is_kept_and_not_of_its_keeper(processes):
    birth = start(processes, "one", [sys.executable, "-m", "deploy.keeper", *FOREVER])
    wait_for(lambda: kept_by(birth.pid) != birth.pid)
    kept = kept_by(birth.pid)
    os.kill(kept, signal.SIGKILL)
    wait_for(lambda: kept_by(birth.pid) not in (birth.pid, kept))
    assert processes.alive("one") == birth
