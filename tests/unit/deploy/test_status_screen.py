"""The status on one screen: what a newcomer looks for is there, and nothing runs over the edge."""

from deploy.native.stack import SETTINGS_OF
from deploy.native.status import PORTS, Status, screen


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
