"""What others may rely on, written from the code: an AsyncAPI 3 document of MQTT and Kafka, an OpenAPI of the webhooks.

`lamplight contracts docs` writes both; a test compares what is written there with what the code says.
"""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

import alerts.events
import ingest.events
import risk.events
from ingest import enrol_web, webhooks, wire
from ingest.devices import FAMILIES, canonical
from ingest.webhook_service import Door, Lane
from ingest.webhook_web import app as webhook_app

ASYNCAPI: Final = "asyncapi.json"
OPENAPI: Final = "openapi-webhooks.json"
VERSION: Final = "1"
SCHEMAS: Final = "#/components/schemas/"
GATEWAY: Final = "{gateway}"


def documents() -> dict[str, str]:
    """Name → text of each document."""
    return {name: json.dumps(made(), indent=1, ensure_ascii=False) + "\n" for name, made in MAKERS.items()}


def write(folder: Path) -> list[str]:
    """Write what differs; returns the names of what was written."""
    written = []
    for name, text in documents().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            written.append(name)
    return written


# MQTT and Kafka ------------------------------------------------------------------------------------------------------

MQTT: Final[Sequence[tuple[str, str, str, str, tuple[Any, ...]]]] = (
    # (channel, topic, Lamplight receives or sends, what it is for, what is said)
    ("reading", wire.readings(GATEWAY), "receive", "One reading, in our own format. QoS 1.", canonical.MESSAGES),
    ("familyReading", f"{wire.readings(GATEWAY)}/{{family}}", "receive", "What a device of that family sends. QoS 1.", ()),
    ("heartbeat", wire.heartbeat(GATEWAY), "receive", "A gateway is alive. QoS 0: never queued.", (wire.Heartbeat,)),
    ("status", wire.status(GATEWAY), "receive", "Online or offline; also the last will. QoS 1.", (wire.Status,)),
    ("answer", wire.done(GATEWAY), "receive", "What became of a command. QoS 1.", (wire.Done,)),
    ("renewal", wire.renewal(GATEWAY), "receive", "The next certificate, please. QoS 1.", (wire.Renewal,)),
    ("ack", wire.answers(GATEWAY), "send", "The acknowledgement: only now may a reading be forgotten. QoS 1.",
     (wire.Answer,)),
    ("command", wire.commands(GATEWAY), "send", "What a gateway shall do. QoS 1.",
     (wire.Resync, wire.Settings, wire.Certificate)),
)  # fmt: skip


def kafka() -> Sequence[tuple[str, str, str, tuple[Any, ...]]]:
    """(channel, topic, key, what is said): every tagged event of the room that writes the topic."""
    refused = ingest.events.Refused
    readings = tuple(one for one in _tagged(ingest.events) if one is not refused)
    return (
        ("readings", ingest.events.READINGS, "patient_id", readings),
        ("refused", ingest.events.REFUSED, "device_id, else gateway_id", (refused,)),
        ("scores", risk.events.SCORES, "patient_id", _tagged(risk.events)),
        ("alerts", alerts.events.ALERTS, "patient_id", _tagged(alerts.events)),
    )


def _tagged(module: ModuleType) -> tuple[Any, ...]:
    """The events of a room, in the order of its module: a struct that is sent carries its name."""
    return tuple(
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, msgspec.Struct)
        and one.__module__ == module.__name__
        and one.__struct_config__.tag is not None
    )


def asyncapi() -> dict[str, Any]:
    """The document; operations are told from Lamplight's side."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}

    def channel(name: str, server: str, address: str, action: str, title: str, said: Sequence[Any]) -> None:
        named = {one.__name__.strip("_"): one for one in said}
        for key in named:
            messages[key] = {
                "name": key,
                "contentType": "application/json",
                "payload": {"$ref": SCHEMAS + key},
            }
        found = {key: {"$ref": f"#/components/messages/{key}"} for key in named}
        if not found:
            messages["FamilyPayload"] = {
                "name": "FamilyPayload",
                "description": "Bytes as the family's devices send them; see `lamplight ingest decode --family`.",
            }
            found = {"FamilyPayload": {"$ref": "#/components/messages/FamilyPayload"}}
        parameters: dict[str, Any] = {}
        if "{gateway}" in address:
            parameters["gateway"] = {
                "description": "The common name of the client certificate; no other is let through."
            }
        if "{family}" in address:
            parameters["family"] = {"description": "Which decoder reads it.", "enum": sorted(FAMILIES)}
        channels[name] = {
            "address": address,
            "title": title,
            "servers": [{"$ref": f"#/servers/{server}"}],
            "messages": found,
            **({"parameters": parameters} if parameters else {}),
        }
        operations[f"{action}{name[0].upper()}{name[1:]}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": title,
        }

    for name, address, action, title, said in MQTT:
        channel(name, "mqtt", address, action, title, said)
    for name, address, key, said in kafka():
        channel(name, "kafka", address, "send", f"{address}; the record's key is {key}.", said)
    every = [one for *_, said in (*MQTT, *kafka()) for one in said]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lamplight",
            "version": VERSION,
            "description": "Readings from homes over MQTT v5, and what Lamplight says of them on Kafka. A PUBACK of the "
            "MQTT broker promises nothing durable; the message on `ack/{gateway}` does.",
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "mqtt": {
                "host": "mqtt.example.org:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5",
                "description": "TLS with a client certificate, whose name is user and client id.",
                "security": [{"type": "X509"}],
            },
            "kafka": {"host": "kafka.example.org:9092", "protocol": "kafka"},
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": _schemas(every)},
    }


def _schemas(types: Sequence[Any]) -> dict[str, Any]:
    """The JSON Schema of each type and of what it is made of; private names lose their underscore."""
    _, found = msgspec.json.schema_components(types, ref_template=SCHEMAS + "{name}")
    text = re.sub(rf'"({SCHEMAS})?_([A-Z])', r'"\1\2', json.dumps(found))
    schemas: dict[str, Any] = json.loads(text)
    return {
        name.strip("_"): schema
        for name, schema in sorted(schemas.items(), key=lambda pair: pair[0].strip("_"))
    }


# The webhooks ----------------------------------------------------------------------------------------------------------


def openapi() -> dict[str, Any]:
    """The document of what `lamplight run webhooks` serves, with each vendor's usual proof."""
    nothing: Any = None
    made = webhook_app(Door(nothing, Lane(nothing, clock=nothing, meter=nothing), clock=nothing), nothing)

    @asynccontextmanager
    async def nowhere() -> Any:
        yield nothing

    made.include_router(enrol_web.router(nowhere, nothing))
    told: dict[str, Any] = made.openapi()
    post = told["paths"]["/hooks/{vendor}/{source}"]["post"]
    proofs = [
        f"| `{vendor}` | {rule.scheme} | {f'`{rule.header}`' if rule.header else '`?key=`'} | "
        f"{'the vendor says so' if rule.documented else 'to be agreed with the vendor'} |"
        for vendor, rule in webhooks.VENDORS.items()
    ]
    table = ["| vendor | proof | where | why |", "|---|---|---|---|", *proofs]
    post["description"] = "How each vendor proves itself unless its source says otherwise:\n\n" + "\n".join(
        table
    )
    for path in told["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None) if operation["operationId"] != "enrol" else None
    for unused in ("HTTPValidationError", "ValidationError"):
        told.get("components", {}).get("schemas", {}).pop(unused, None)
    return told


MAKERS: Final[dict[str, Callable[[], dict[str, Any]]]] = {ASYNCAPI: asyncapi, OPENAPI: openapi}
