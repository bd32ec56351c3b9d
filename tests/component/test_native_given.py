"""Servers that somebody else runs are used, and never started, stopped or changed."""

import pytest

from deploy.native.install import MissingError
from deploy.native.stack import Stack

pytestmark = pytest.mark.stack


def test_a_stack_of_given_servers_starts_nothing_and_points_at_them(stack, tmp_path):
    guest = Stack(tmp_path, given=stack.environment())
    assert guest.ours == []
    with guest:
        assert guest.environment() == stack.environment()
        assert guest.processes.names() == []
    assert all(stack.alive(name) for name in ("postgres", "mosquitto", "kafka"))


def test_one_server_may_be_given_and_the_others_ours(stack, tmp_path):
    guest = Stack(tmp_path, given={"LAMPLIGHT_KAFKA": stack.kafka})
    assert guest.ours == ["postgres", "mosquitto"]
    assert guest.kafka == stack.kafka
    with pytest.raises(RuntimeError, match="kafka is somebody else's here"):
        guest.restart("kafka")


def test_a_server_described_by_half_is_told_with_what_lacks(tmp_path):
    with pytest.raises(MissingError, match="give LAMPLIGHT_DATABASE_WEB, LAMPLIGHT_DATABASE_OWNER too"):
        Stack(tmp_path, given={"LAMPLIGHT_DATABASE": "host=127.0.0.1"}).start()
