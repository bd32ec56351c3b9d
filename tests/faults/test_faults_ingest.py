"""kill -9 of ingest, broker and gateways while readings flow: what a gateway was told is safe is in Kafka, every time.

Printed with `-s`: kills by target, readings made, acknowledged, missing, sent twice, and seconds until the next acknowledgement.
"""

import random
import threading

import pytest

from ingest.gateway.outbox import Outbox
from tests.faults.ordeal import ROUNDS, SEED, Gateway, endure
from tests.ingest_home import Home, until

pytestmark = [pytest.mark.stack, pytest.mark.fault, pytest.mark.timeout(600 + 30 * ROUNDS)]


@pytest.fixture
def home(stack, fresh_database):
    return Home(stack, fresh_database).furnish()


def test_nothing_acknowledged_is_missing_whoever_is_killed(home, tmp_path, capsys):
    targets = ["ingest", "broker", "gateway"] * ROUNDS
    random.Random(SEED).shuffle(targets)
    found = endure(home, tmp_path, ingest=("deploy.cli", "run", "ingest"), targets=targets)
    with capsys.disabled():
        print(f"\n  {found.told()}")
    assert found.kills == dict.fromkeys(("ingest", "broker", "gateway"), ROUNDS)
    assert found.missing == 0
    assert found.acked == found.made  # and in the end nothing was left behind either
    assert found.made > 500


def test_ingest_that_acknowledges_before_kafka_has_it_loses_readings(home, tmp_path, capsys):
    """The negative control: the same ordeal must convict the usual mistake."""
    found = endure(home, tmp_path, ingest=("tests.faults.hasty_ingest",), targets=["ingest"] * 5)
    with capsys.disabled():
        print(f"\n  acknowledging early, {found.told()}")
    assert found.missing > 0


def test_the_outbox_alone_never_forgets_through_kill_nine(home, tmp_path):
    """Made is what `put` returned from; a gateway that dies at once still has it."""
    gateway = Gateway(home, home.gateway, tmp_path)
    gateway.start()
    stopping = threading.Event()
    feeding = threading.Thread(target=gateway.feed, args=(stopping,), daemon=True)
    feeding.start()
    try:
        before = set()
        for _ in range(3):
            until(lambda known=before: len(gateway.rows() - known) > 20, 30, "rows")
            before = gateway.rows()
            gateway.kill()
            with Outbox(gateway.outbox) as outbox:
                assert {row.id for row in outbox.unsent(after=0, most=100_000)} >= before
            gateway.start()
    finally:
        stopping.set()
        feeding.join()
        gateway.close()
