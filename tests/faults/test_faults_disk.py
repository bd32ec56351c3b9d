"""The disk under the broker, Kafka, PostgreSQL or the gateway's outbox is full while readings flow.

The limit is RLIMIT_FSIZE, put on the running process and taken off again: from one moment to the next its files cannot
grow, for root as for anybody, and whatever it does about that is its own. Printed with `-s`.
"""

import resource
import signal
import threading
import time
from pathlib import Path

import msgspec
import psycopg
import pytest

from deploy.native import unprivileged
from deploy.native.watchman import tend
from ingest import wire
from ingest.gateway.agent import SETTINGS
from ingest.gateway.outbox import Outbox
from tests.faults.ordeal import Gateway, acked_beside
from tests.ingest_home import Home, until

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(240)]

NONE, ALL = (1, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


def family(pid):
    """A process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *map(int, children)]


def limit(pid, room):
    for one in family(pid):
        try:
            resource.prlimit(one, resource.RLIMIT_FSIZE, room)
        except ProcessLookupError:
            continue


class Flow:
    """One fed gateway and one ingest, each a process of its own; whatever happens, they end with the test."""

    def __init__(self, home, folder, ingest=("deploy.cli", "run", "ingest")):
        self.home, self._command = home, ingest
        with Outbox(folder / f"{home.gateway}.sqlite") as outbox:
            settings = wire.Settings(id=home.maria, heartbeat_s=5)
            outbox.put([], notes=[(SETTINGS, msgspec.json.encode(settings).decode())])
        self.gateway = Gateway(home, home.gateway, folder)
        self._stopping = threading.Event()
        self._feeding = threading.Thread(target=self.gateway.feed, args=(self._stopping,), daemon=True)

    def __enter__(self):
        self.ingest = self.home.process(*self._command)
        self.gateway.start()
        self._feeding.start()
        try:
            self.flows("at first")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self.gateway.process.kill()
        self._feeding.join()
        self.gateway.close()
        self.ingest.kill()
        self.ingest.wait()

    @property
    def acked(self):
        return self.gateway.acknowledged()

    def flows(self, when):
        before, began = self.acked, time.monotonic()
        until(lambda: self.acked > before + 20, 60, f"acknowledgements {when}")
        return time.monotonic() - began

    def ingest_is_started_again(self):
        self.ingest.kill()
        self.ingest.wait()
        self.ingest = self.home.process(*self._command)

    def ends(self):
        """Feed no more; when everything is answered for, what was acknowledged, beside what Kafka has."""
        self._stopping.set()
        self._feeding.join()
        self.gateway.process.stdin.close()
        self.gateway.process.wait(90)
        return acked_beside(self.home, [self.gateway])


def told(capsys, what, found, *more):
    with capsys.disabled():
        print(
            f"\n  {what}: {'; '.join(more)}; made {found.made}, acknowledged {found.acked}, missing {found.missing}"
        )


def test_a_gateway_whose_disk_is_full_takes_nothing_in_says_so_and_goes_on_when_there_is_room(
    home, tmp_path, capsys
):
    full = "SELECT coalesce(outbox_full, 0) FROM ingest.gateway WHERE gateway_id = %s"
    with Flow(home, tmp_path) as flow:
        began = time.monotonic()
        limit(flow.gateway.process.pid, NONE)
        until(lambda: home.rows(full, home.gateway)[0][0] >= 0.8, 30, "the alarm on the fleet page")
        alarmed, fed = time.monotonic() - began, flow.gateway._fed
        limit(flow.gateway.process.pid, ALL)
        again = flow.flows("when there is room")
        until(lambda: flow.gateway._fed > fed, 30, "readings made after that")
        found = flow.ends()
        handed_over = flow.gateway._fed
    told(
        capsys,
        "gateway's disk full",
        found,
        f"alarm at the fleet page after {alarmed:.1f} s, answers again {again:.1f} s after room was made",
    )
    assert handed_over > fed > 0
    assert (
        found.made == handed_over
    )  # a device keeps what the outbox could not take, and nothing of it was dropped
    assert (found.acked, found.missing) == (found.made, 0)


def kafka_is_full(home, folder, ingest):
    """Kafka's disk fills, Kafka ends, whoever sees ingest stand starts it again; then there is room."""
    with Flow(home, folder, ingest) as flow:
        began = time.monotonic()
        limit(home.stack.processes.alive("kafka").pid, NONE)
        until(lambda: not home.stack.alive("kafka"), 60, "the end of a Kafka that cannot write")
        ended = time.monotonic() - began
        before = flow.acked
        flow.ingest_is_started_again()
        time.sleep(1)  # nothing may come, and nothing that must not happen can be waited for
        silent = flow.acked - before
        assert tend(home.stack, lambda _: None) == (["kafka"], [])
        again = flow.flows("when there is room")
        return ended, silent, again, flow.ends()


def test_while_kafkas_disk_is_full_nothing_is_acknowledged_and_then_everything_is(home, tmp_path, capsys):
    ended, silent, again, found = kafka_is_full(home, tmp_path, ("deploy.cli", "run", "ingest"))
    told(
        capsys,
        "Kafka's disk full",
        found,
        f"Kafka ended after {ended:.1f} s, acknowledged meanwhile {silent}",
        f"started by the watchman, answers again after {again:.1f} s",
    )
    assert silent == 0
    assert (found.acked, found.missing) == (found.made, 0)


def test_ingest_that_acknowledges_before_kafka_has_it_loses_what_a_full_disk_refused(home, tmp_path, capsys):
    """The negative control: the same counting must convict it."""
    *_, found = kafka_is_full(home, tmp_path, ("tests.faults.hasty_ingest",))
    told(capsys, "Kafka's disk full, acknowledging early", found)
    assert found.missing > 0


def test_while_postgres_cannot_write_nothing_is_acknowledged_and_then_everything_is(home, tmp_path, capsys):
    with Flow(home, tmp_path) as flow:
        began = time.monotonic()
        limit(home.stack.processes.alive("postgres").pid, NONE)
        until(
            lambda: not home.stack.alive("postgres"), 60, "the end of a PostgreSQL that cannot write its log"
        )
        ended = time.monotonic() - began
        time.sleep(1)  # what is under way
        before = flow.acked
        time.sleep(1)
        silent = flow.acked - before
        assert tend(home.stack, lambda _: None) == (["postgres"], [])
        again = flow.flows("when there is room")
        found = flow.ends()
    told(
        capsys,
        "PostgreSQL's disk full",
        found,
        f"PostgreSQL ended after {ended:.1f} s, acknowledged meanwhile {silent}",
        f"started by the watchman, answers again after {again:.1f} s",
    )
    assert silent == 0
    assert (found.acked, found.missing) == (found.made, 0)


@pytest.fixture
def deaf_to_the_limit(stack, monkeypatch):
    """The broker with the signal of the limit ignored, so that it meets the error as it would meet a full disk."""
    with monkeypatch.context() as patched:
        before = unprivileged.prefix()
        deaf = ("sh", "-c", 'trap "" XFSZ; exec "$0" "$@"')
        patched.setattr(unprivileged, "prefix", lambda: (*before, *deaf))
        stack.restart("mosquitto")
        yield
    stack.restart("mosquitto")


def test_a_broker_that_cannot_save_goes_on_and_what_it_forgets_the_gateways_still_have(
    home, deaf_to_the_limit, tmp_path, capsys
):
    with Flow(home, tmp_path) as flow:
        home.stack.freeze("mosquitto")  # so that something waits in it when it saves
        time.sleep(0.5)
        limit(home.stack.processes.alive("mosquitto").pid, NONE)
        home.stack.thaw("mosquitto")
        home.stack.processes.send("mosquitto", signal.SIGUSR1)  # save
        goes_on = flow.flows("from a broker that cannot save")
        home.stack.restart("mosquitto")  # asked to end it saves again, and cannot
        again = flow.flows("from a new broker")
        found = flow.ends()
    told(
        capsys,
        "broker's disk full",
        found,
        f"it went on (20 answers in {goes_on:.1f} s); restarted without its memory, answers after {again:.1f} s",
    )
    assert (found.acked, found.missing) == (found.made, 0)


FULL = """
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT ON ingest.reading_key EXECUTE FUNCTION no_room()"""


def test_an_archive_whose_database_has_no_room_waits_and_parks_nothing(home, tmp_path, capsys):
    """PostgreSQL itself lives through a full table space, and refuses row by row."""
    count = "SELECT count(*) FROM ingest.reading WHERE gateway_id = %s"
    log = tmp_path / "archive.log"
    with psycopg.connect(home.fresh.superuser) as conn:
        conn.execute(FULL)
    with log.open("wb") as words:
        archive = home.process("deploy.cli", "run", "archive", log=words)
    try:
        with Flow(home, tmp_path) as flow:
            until(lambda: b"DiskFull" in log.read_bytes(), 60, "the archive's complaint")
            assert home.rows(count, home.gateway) == [(0,)]
            with psycopg.connect(home.fresh.superuser) as conn:
                conn.execute("DROP TRIGGER no_room ON ingest.reading_key")
            began = time.monotonic()
            found = flow.ends()
            until(lambda: home.rows(count, home.gateway) == [(found.made,)], 60, "the archive, whole")
            whole = time.monotonic() - began
    finally:
        archive.kill()
        archive.wait()
    told(capsys, "archive without room", found, f"it waited; whole {whole:.1f} s after room was made")
    # the topic is the whole run's: other tests' records are in it, also some that are no readings at all
    parked = "SELECT error FROM pump.parked WHERE position(convert_to(%s, 'UTF8') IN value) > 0"
    assert home.rows(parked, home.gateway) == []
    assert (found.acked, found.missing) == (found.made, 0)
