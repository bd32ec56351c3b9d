"""The demo's rota and chain: somebody is on call at any hour, seeding again adds no second, and its calls become files."""

import smtplib
import socket
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from aiosmtpd.controller import Controller

from deploy.demo import CHAIN, PRACTICES, seed
from deploy.mailbox import Mailbox
from deploy.settings import read

pytestmark = pytest.mark.stack


async def test_somebody_is_on_call_at_any_hour_and_seeding_again_changes_nothing(fresh_database, tmp_path):
    told = read(
        {"LAMPLIGHT_DATABASE": fresh_database.pipeline, "LAMPLIGHT_DEMO_FILE": str(tmp_path / "demo.json")}
    )
    found = []
    for _ in range(2):
        await seed(told)
        with psycopg.connect(fresh_database.superuser) as conn:
            shifts = conn.execute(
                "SELECT practice_id, starts_at, ends_at FROM alerts.shift ORDER BY 1, 2"
            ).fetchall()
            rungs = conn.execute("SELECT count(*) FROM alerts.rung").fetchone()
        found.append((shifts, rungs))
    assert found[0] == found[1] == (shifts, (len(CHAIN) * len(PRACTICES),))
    for practice in PRACTICES:
        spans = [(begins, ends) for number, begins, ends in shifts if number == practice]
        now = datetime.now(UTC)
        assert spans[0][0] <= now < now + timedelta(days=12) <= spans[-1][1]
        assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_the_demos_mail_is_kept_as_files(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(Mailbox(tmp_path), hostname="127.0.0.1", port=port)
    server.start()
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            text = "Subject: somebody is needed\r\n\r\nx"
            client.sendmail("lamplight@localhost", ["ana@riverside.example"], text)
    finally:
        server.stop()
    (kept,) = tmp_path.iterdir()
    assert "X-Kept-For: ana@riverside.example\r\nSubject: somebody is needed" in kept.read_bytes().decode()
