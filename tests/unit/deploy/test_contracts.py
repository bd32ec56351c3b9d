"""The documents others rely on say what the code says, and every reference in them leads somewhere."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from deploy import contracts
from deploy.bus import TOPICS
from ingest import wire
from ingest.devices import FAMILIES
from ingest.webhooks import VENDORS

DOCS = Path(__file__).parents[3] / "docs"
ASYNCAPI, OPENAPI = contracts.asyncapi(), contracts.openapi()


@pytest.mark.parametrize("name", contracts.MAKERS)
def test_the_document_is_what_the_code_says(name):
    assert (DOCS / name).read_text() == contracts.documents()[name], "run `./lamplight contracts docs`"


def references(document):
    return set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))


@pytest.mark.parametrize("document", [ASYNCAPI, OPENAPI], ids=["asyncapi", "openapi"])
def test_every_reference_leads_somewhere(document):
    for reference in references(document):
        found = document
        for part in reference.split("/"):
            assert part in found, reference
            found = found[part]


def test_every_kafka_topic_and_every_mqtt_topic_of_ours_is_told():
    told = {channel["address"] for channel in ASYNCAPI["channels"].values()}
    assert set(TOPICS) <= told
    table = re.findall(r"^\| `([^`]+)` \|", wire.__doc__, re.MULTILINE)
    assert {row.replace("<", "{").replace(">", "}") for row in table} <= told


def test_every_family_and_every_vendor_is_named():
    assert ASYNCAPI["channels"]["familyReading"]["parameters"]["family"]["enum"] == sorted(FAMILIES)
    text = OPENAPI["paths"]["/hooks/{vendor}/{source}"]["post"]["description"]
    assert all(f"`{vendor}`" in text for vendor in VENDORS)


def test_no_private_name_and_no_secret_stands_in_the_documents():
    assert not re.search(r'"_[A-Z]', json.dumps([ASYNCAPI, OPENAPI]))


def test_what_the_documents_call_a_reading_is_what_the_decoder_takes():
    schema = ASYNCAPI["components"]["schemas"]["BloodPressure"]
    assert schema["required"] == ["kind", "device"]
    assert schema["additionalProperties"] is False
    assert msgspec.json.decode(contracts.documents()["asyncapi.json"])["asyncapi"] == "3.0.0"


def test_writing_twice_changes_nothing(tmp_path):
    assert set(contracts.write(tmp_path)) == set(contracts.MAKERS)
    assert contracts.write(tmp_path) == []
