"""compose.yaml, the scrape list and the broker's settings say the same as the code they belong to."""

import re
from pathlib import Path

from deploy.cli import Service
from deploy.native import mosquitto
from deploy.native.services import BY_HAND, PLAYERS
from deploy.settings import read

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text()
OWN_TO_THE_PLACE = {
    "listener",
    "cafile",
    "certfile",
    "keyfile",
    "crlfile",
    "acl_file",
    "persistence_location",
    "log_dest",
}


def lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")}


def settings(text: str) -> set[str]:
    return {line for line in lines(text) if line.split()[0] not in OWN_TO_THE_PLACE}


def test_every_lamplight_name_in_compose_is_a_setting():
    names = set(re.findall(r"LAMPLIGHT_\w+", COMPOSE))
    assert names
    numbers = ("PORT", "PARTITIONS", "REPLICATION")
    read({name: "1" if name.endswith(numbers) else "x" for name in names})


def test_compose_runs_every_service_and_prometheus_scrapes_each():
    assert set(re.findall(r"command: \[run, (\w+)\]", COMPOSE)) == set(Service)
    scraped = re.findall(r'"(\w+):9100"', (DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert sorted(scraped) == sorted(Service)


def test_the_demo_gateways_are_the_local_stacks_and_each_has_a_certificate():
    assert set(re.findall(r"--id, ([\w-]+)", COMPOSE)) == set(PLAYERS)
    assert set(re.findall(r"--gateway, ([\w-]+)", COMPOSE)) == {*PLAYERS, BY_HAND}
    for player in PLAYERS:
        assert f"LAMPLIGHT_MQTT_CERT: /certificates/{player}.crt" in COMPOSE


def test_every_image_is_pinned_to_a_version():
    for image in re.findall(r"image: (\S+)", COMPOSE):
        assert re.search(r":(v?\d+\.\d+\.\d+|local)", image), image


def test_compose_publishes_nothing_beyond_this_machine():
    for ports in re.findall(r"ports: \[(.*)\]", COMPOSE):
        assert all(port.strip().startswith('"127.0.0.1:') for port in ports.split(",")), ports


def test_every_password_in_compose_is_one_that_the_script_makes():
    asked = set(re.findall(r"\$\{(\w+)_PASSWORD:\?", COMPOSE))
    made = re.search(r"for name in ([A-Z ]+);", (DEPLOY / "secrets.sh").read_text())
    assert made
    assert asked == set(made[1].split())


def test_the_broker_in_compose_has_the_settings_and_the_access_list_of_the_local_one():
    assert settings((DEPLOY / "mosquitto" / "mosquitto.conf").read_text()) == settings(
        mosquitto.CONFIGURATION
    )
    assert lines((DEPLOY / "mosquitto" / "acl").read_text()) == lines(mosquitto.ACCESS)
