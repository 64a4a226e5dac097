"""docs/schemas/ is what the models say, and what the models say is true of what BOSS reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.decode import decode_batches
from pipelines.published_schemas import EXAMPLE, asyncapi_document, published_documents, write_documents
from pipelines.settings import Settings, Stream
from pipelines.workspace import Workspace
from schemas.events import ENVELOPE, LONGEST_TEXT, UsageEvent
from schemas.usage import RawBatch

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
REGENERATE = ".venv/bin/python -m pipelines.published_schemas docs/schemas"


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(published_documents()[name])
    return loaded


def test_the_folder_holds_the_published_documents_and_nothing_else() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(published_documents()), f"run {REGENERATE}"


@pytest.mark.parametrize("name", published_documents())
def test_a_published_document_is_what_the_models_generate(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == published_documents()[name], f"run {REGENERATE}"


def test_the_documents_can_be_written_anywhere(tmp_path: Path) -> None:
    written = write_documents(tmp_path / "new")
    assert [path.read_text(encoding="utf-8") for path in written] == list(published_documents().values())


def test_the_event_schema_demands_the_envelope_and_bounds_its_texts() -> None:
    event = schema("usage-event.schema.json")
    assert event["required"] == ["specversion", *ENVELOPE]
    assert set(event["properties"]) == set(UsageEvent.model_fields)
    for name in set(ENVELOPE) - {"time"}:
        assert event["properties"][name]["maxLength"] == LONGEST_TEXT


def test_the_example_is_an_event_of_the_model_and_of_the_template(tmp_path: Path) -> None:
    text = json.dumps(EXAMPLE).encode()
    assert UsageEvent.model_validate_json(text).subject == "conf-lantian"
    workspace = Workspace.create(tmp_path / "shop", "video-conference", "2026-10")
    book, _ = workspace.read_sources()
    decoded = decode_batches([RawBatch("file:x", 0, [0], [text], [1_800_000_000_000])], book)
    assert decoded.rejects.is_empty()
    assert decoded.events["data.minutes"].to_list() == ["37.5"]


def test_every_setting_has_a_meaning_and_a_default_in_the_schema() -> None:
    settings = schema("settings.schema.json")
    tables = {name for name, field in settings["properties"].items() if "$ref" in field}
    assert tables == set(Settings.model_fields) - {"kafka"}
    fields = [settings["properties"]["kafka"]]
    for table in settings["$defs"].values():
        fields += table["properties"].values()
    assert [field for field in fields if "description" not in field or "default" not in field] == []


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        return [value["$ref"]] if "$ref" in value else [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi_document()
    found = references(document)
    assert found
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_asyncapi_document_describes_the_topic_of_the_settings() -> None:
    document = asyncapi_document()
    channel = document["channels"]["usage"]
    assert channel["address"] == Stream().topic
    assert channel["bindings"]["kafka"]["partitions"] == Stream().partitions
    assert document["components"]["schemas"]["UsageEvent"]["required"] == ["specversion", *ENVELOPE]
