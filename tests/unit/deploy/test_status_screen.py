"""The status on one screen: what a newcomer looks for is there, and nothing runs over the edge."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from deploy.native import playing
from deploy.native.stack import SETTINGS_OF
from deploy.native.status import PORTS, Status, screen
from ingest.gateway.outbox import Outbox
from ingest.gateway.player import BEGUN, Start


def test_the_ports_that_people_need_are_on_the_screen():
    seen = Status(
        url="http://127.0.0.1:8080",
        servers={
            "postgres": {"up": True, "pid": 1, "ours": True, "port": 5433},
            "mosquitto": {"up": True, "pid": 4023, "ours": True, "port": 28130},
            "kafka": {"up": True, "pid": None, "ours": False, "port": None},
        },
        services={"web": {"up": True, "ready": True, "pid": 7}},
    )
    lines = screen(seen).splitlines()
    assert lines[3] == "  mosquitto   up          pid 4023      127.0.0.1:28130"
    assert lines[4] == "  kafka       yours"
    assert max(map(len, lines)) <= 79


def test_every_server_of_the_stack_has_a_port_to_be_shown():
    assert PORTS.keys() == SETTINGS_OF.keys()


def test_how_far_the_demo_is_is_read_beside_its_gateways_and_said_with_what_waits(tmp_path):
    now = datetime.now(UTC)
    begun = Start(now, now - timedelta(days=14), 4.0, now.date(), last_day_seconds=1800.0)
    path = playing.outbox(tmp_path, "gw-harbor")
    path.parent.mkdir()
    with Outbox(path) as outbox:
        outbox.put(
            [(UUID(int=n), b"reading") for n in range(150)],
            notes=[(BEGUN, msgspec.json.encode(begun).decode())],
        )
        demo = playing.look(tmp_path, ["gw-harbor", "gw-that-has-not-begun"])
    assert (demo["day"], demo["of"], demo["waiting"]) == (1, 14, 150)
    assert (demo["last_day_in_s"], demo["done_in_s"] // 60) == (52, 31)
    lines = screen(Status(demo=demo)).splitlines()
    assert lines[-2:] == [
        "  the demo plays day 1 of 14; the last begins in 52 s and takes 31 min",
        "  150 of its readings wait to be taken",
    ]
    assert max(map(len, lines)) <= 79


def test_where_nothing_plays_nothing_is_said_of_it(tmp_path):
    assert playing.look(tmp_path, ["gw-harbor"]) is None
    assert playing.look(tmp_path, []) is None
    assert "demo" not in screen(Status())


def test_a_house_where_nothing_runs_says_how_it_is_started():
    down = {"up": False, "ready": False, "pid": None, "ours": True, "port": None}
    some = Status(servers={"kafka": down | {"up": True}}, services={"web": down})
    assert screen(some).startswith("Lamplight is not all up\n")
    assert screen(Status(servers={"kafka": down}, services={"web": down})).startswith(
        "Lamplight is not up: make up starts it\n"
    )
