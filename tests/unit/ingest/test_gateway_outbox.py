"""The outbox: on disk before anybody is told, never overwritten, never sent twice once settled, back again on request."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from ingest.gateway.outbox import ALARM, FullError, Outbox

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[3]


def rows(*numbers, size=10):
    return [(UUID(int=n), b"x" * size) for n in numbers]


def unsent(outbox):
    return [row.id.int for row in outbox.unsent(after=0, most=1_000)]


def test_what_was_put_is_there_after_the_file_is_opened_again(tmp_path):
    with Outbox(tmp_path / "o") as outbox:
        outbox.put(rows(1, 2, 3), notes=[("played", "3")])
        outbox.settle([UUID(int=2)], now=NOON)
    with Outbox(tmp_path / "o") as outbox:
        assert unsent(outbox) == [1, 3]
        assert (outbox.depth, outbox.note("played"), outbox.note("nothing")) == (2, "3", None)


def test_every_commit_reaches_the_disk(tmp_path):
    with Outbox(tmp_path / "o") as outbox:
        assert outbox._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert outbox._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_put_returned_from_survives_kill_9(tmp_path):
    program = f"""
import os, sys
from uuid import UUID
from ingest.gateway.outbox import Outbox
outbox = Outbox({str(tmp_path / "o")!r})
for n in range(1, 51):
    outbox.put([(UUID(int=n), b"reading")])
    os.write(1, b"%d\\n" % n)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    told = [int(line) for line in done.stdout.split()]
    with Outbox(tmp_path / "o") as outbox:
        assert unsent(outbox) == told == list(range(1, 51))


def test_refused_rows_are_kept_with_their_reason_and_not_sent_again():
    with Outbox(":memory:") as outbox:
        outbox.put(rows(1))
        outbox.settle([UUID(int=1)], now=NOON, refused="unknown-device")
        assert (outbox.depth, outbox.counts()) == (0, (0, 1, 0))


def test_acknowledged_rows_stay_fourteen_days_and_come_back_when_asked_for():
    with Outbox(":memory:") as outbox:
        outbox.put(rows(1, 2, 3))
        outbox.settle([UUID(int=1)], now=NOON - timedelta(days=15))
        outbox.settle([UUID(int=2)], now=NOON - timedelta(days=3))
        outbox.settle([UUID(int=3)], now=NOON)
        assert outbox.forget(now=NOON) == 1
        assert outbox.reopen(NOON - timedelta(days=1)) == 1
        assert unsent(outbox) == [3]
        assert outbox.reopen(NOON - timedelta(days=9)) == 1
        assert unsent(outbox) == [2, 3]


def test_a_full_outbox_gives_up_what_is_settled_and_never_what_is_unsent():
    with Outbox(":memory:", room=600_000) as outbox:
        outbox.put(rows(*range(1, 501), size=1_000))
        assert outbox.fullness > ALARM
        assert outbox.alarming
        outbox.settle([UUID(int=n) for n in range(1, 501)], now=NOON)
        outbox.put(rows(*range(501, 701), size=1_000))  # full: the settled make room
        outbox.put(rows(*range(701, 1101), size=1_000))
        with pytest.raises(FullError, match="600 unsent in 600000 bytes"):
            outbox.put(rows(5_000))
        assert unsent(outbox) == list(range(501, 1101))


def test_a_full_disk_is_said_as_such_and_costs_nothing_that_was_there(tmp_path):
    with Outbox(tmp_path / "o") as outbox:
        outbox.put(rows(1))
        outbox._db.execute("PRAGMA max_page_count = 20")
        with pytest.raises(FullError, match="disk under the outbox is full with 1 unsent"):
            outbox.put(rows(*range(2, 200), size=4_000))
        assert unsent(outbox) == [1]
        assert outbox.fullness == 1.0  # the heartbeat says so, and somebody is told
        assert outbox.alarming
        outbox._db.execute("PRAGMA max_page_count = 100000")
        outbox.put(rows(2))
        assert unsent(outbox) == [1, 2]
        assert not outbox.alarming


def test_a_broken_file_is_an_error_and_not_an_empty_outbox(tmp_path):
    (tmp_path / "o").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Outbox(tmp_path / "o")


class OutboxAgainstModel(RuleBasedStateMachine):
    """Whatever is done in whatever order, the outbox is a dictionary of rows with three states."""

    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        self.outbox, self.model, self.order = Outbox(":memory:"), {}, []

    def teardown(self):
        self.outbox.close()

    @rule(target=ids, n=st.integers(1, 12))
    def put(self, n):
        new = self.outbox.put(rows(n))
        assert new == (n not in self.model)
        if new:
            self.model[n] = ("unsent", None)
            self.order.append(n)
        return n

    @rule(n=ids, hour=st.integers(0, 600), refused=st.booleans())
    def settle(self, n, hour, refused):
        at = NOON + timedelta(hours=hour)
        self.outbox.settle([UUID(int=n)], now=at, refused="no" if refused else None)
        if self.model.get(n, ("", None))[0] == "unsent":
            self.model[n] = ("refused" if refused else "acked", at)

    @rule(hour=st.integers(0, 600))
    def reopen(self, hour):
        since = NOON + timedelta(hours=hour)
        self.outbox.reopen(since)
        self.model = {
            n: ("unsent", None) if s == "acked" and at >= since else (s, at)
            for n, (s, at) in self.model.items()
        }

    @rule(hour=st.integers(0, 1200))
    def forget(self, hour):
        now = NOON + timedelta(hours=hour)
        self.outbox.forget(now=now)
        gone = {n for n, (s, at) in self.model.items() if s != "unsent" and at < now - timedelta(days=14)}
        self.model = {n: v for n, v in self.model.items() if n not in gone}
        self.order = [n for n in self.order if n not in gone]

    @invariant()
    def agrees(self):
        expected = [n for n in self.order if self.model[n][0] == "unsent"]
        assert unsent(self.outbox) == expected
        assert self.outbox.depth == len(expected)


TestOutboxAgainstModel = OutboxAgainstModel.TestCase
TestOutboxAgainstModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
