"""The interfaces that others write against, generated from the models: JSON Schemas and the AsyncAPI document of the topic.

    python -m pipelines.published_schemas docs/schemas

writes them anew. A test fails while the files in docs/schemas differ from what the models say.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from pipelines.binary_mode import PREFIX
from pipelines.settings import Settings, Stream
from schemas.balance import ORDER_DATA
from schemas.events import ENVELOPE, EXTENSION_NAME, UsageEvent
from schemas.usage import RETRACTS

Schema = dict[str, Any]

EXAMPLE = {
    "specversion": "1.0",
    "id": "meeting-8841",
    "source": "/conference/cn",
    "type": "meeting.ended",
    "subject": "conf-lantian",
    "time": "2026-10-05T10:30:00+08:00",
    "datacontenttype": "application/json",
    "data": {"minutes": "37.5", "region": "cn", "call_type": "video"},
}
"""An event of the template `video-conference`."""

TABLE_COLUMNS = (
    f"One row per event. Columns {', '.join(ENVELOPE)}; data as `data.<property>` columns, as a struct column `data`, or in "
    "any other column. Decimals and texts keep every digit; times need a zone. Null is absent."
)

BINARY_DATA = "`data` of the event; its attributes are headers. No value: an event without data."


class _WithoutTitles(GenerateJsonSchema):
    """JSON Schema whose fields have no made-up titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def published_documents() -> dict[str, str]:
    """File name -> content of every published document. The same models give the same bytes."""
    documents = {
        "usage-event.schema.json": _with_head("urn:boss-billing:usage-event", usage_event_schema()),
        "settings.schema.json": _with_head("urn:boss-billing:settings", settings_schema()),
        "balance-events.schema.json": _with_head("urn:boss-billing:balance-events", balance_events_schema()),
        "asyncapi.json": asyncapi_document(),
    }
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents.items()}


def usage_event_schema() -> Schema:
    """What a producer writes. Decoding reads a little more than this (it does not look at `specversion`)."""
    schema = _schema_of(UsageEvent)
    schema["required"] = ["specversion", *schema["required"]]
    schema["propertyNames"] = {"pattern": EXTENSION_NAME}
    schema["examples"] = [EXAMPLE]
    return schema


def balance_events_schema() -> Schema:
    """Events about balances: a usage event of one of these types, with this data."""
    return {
        "title": "Events about balances",
        "description": "Each is a usage event (usage-event.schema.json) of a type of BOSS. docs/EVENTS.md explains them.",
        "oneOf": [
            {"properties": {"type": {"const": kind.value}, "data": _schema_of(model)}, "required": ["type", "data"]}
            for kind, model in ORDER_DATA.items()
        ],
    }


def binary_headers() -> Schema:
    """The headers of an event in binary mode: its attributes, all of them texts."""
    event = _schema_of(UsageEvent)["properties"]
    names = ("specversion", *ENVELOPE, RETRACTS)
    headers = {PREFIX + name: {"type": "string", "description": event[name]["description"]} for name in names}
    return {
        "type": "object",
        "properties": headers,
        "required": [PREFIX + name for name in ("specversion", *ENVELOPE)],
        "patternProperties": {f"^{PREFIX}[a-z0-9]{{1,20}}$": {"type": "string"}},
    }


def settings_schema() -> Schema:
    """boss.toml, for editors that complete and check TOML."""
    return _schema_of(Settings) | {"title": "boss.toml"}


def asyncapi_document() -> Schema:
    """The usage topic as AsyncAPI 3.0, seen from BOSS, which receives."""
    stream = Stream()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "BOSS usage events",
            "version": "1.0.0",
            "description": "Usage goes in as CloudEvents 1.0, keyed by root account. docs/EVENTS.md explains it.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "The cluster that the setting `kafka` (BOSS_KAFKA) names.",
                "variables": {"bootstrap": {"default": "127.0.0.1:9092", "description": "host:port of a broker"}},
            }
        },
        "channels": {
            "usage": {
                "address": stream.topic,
                "description": "Usage events of all customers; the setting `stream.topic` may name another topic.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages()},
                "bindings": {
                    "kafka": {
                        "partitions": stream.partitions,
                        "topicConfiguration": {"cleanup.policy": ["delete"]},
                        "bindingVersion": "0.5.0",
                    }
                },
            }
        },
        "operations": {
            "rateUsage": {
                "action": "receive",
                "channel": {"$ref": "#/channels/usage"},
                "summary": "Rate every event once, into the ledger or the rejects.",
                "bindings": {
                    "kafka": {"groupId": {"type": "string", "default": stream.group}, "bindingVersion": "0.5.0"},
                },
            }
        },
        "components": {"messages": _messages(), "schemas": {"UsageEvent": usage_event_schema()}},
    }


def _messages() -> dict[str, Schema]:
    """What one Kafka message may be."""
    event = {"$ref": "#/components/schemas/UsageEvent"}
    return {
        "event": _message("One event", "application/cloudevents+json", event),
        "binaryEvent": _message("One event in binary mode", "application/json", {"type": "object", "description": BINARY_DATA})
        | {"headers": binary_headers()},
        "eventArray": _message(
            "A JSON array of events", "application/cloudevents-batch+json", {"type": "array", "items": event}
        ),
        "eventLines": _message(
            "Events as NDJSON",
            "application/x-ndjson",
            {"type": "string", "description": "One UsageEvent per line, lines end with a line feed."},
        ),
        "eventTable": _message(
            "Events as an Arrow IPC stream or file",
            "application/vnd.apache.arrow.stream",
            {"type": "string", "format": "binary", "description": TABLE_COLUMNS},
        ),
    }


def _message(title: str, content_type: str, payload: Schema) -> Schema:
    key = {
        "type": "string",
        "description": "The account that pays for the subject; every event of a message is that account's.",
    }
    bindings = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
    return {"title": title, "contentType": content_type, "payload": payload, "bindings": bindings}


def _schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(schema_generator=_WithoutTitles)


def _with_head(name: str, schema: Schema) -> Schema:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **schema}


def write_documents(folder: Path) -> list[Path]:
    """Write every published document into `folder`; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in published_documents().items():
        (folder / name).write_text(content, encoding="utf-8")
        written.append(folder / name)
    return written


if __name__ == "__main__":
    for path in write_documents(Path(sys.argv[1])):
        print(path)
