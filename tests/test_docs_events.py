"""docs/EVENTS.md tells the truth to those who send: its events are charged, its numbers are read so, its producer works."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import cli
from pipelines.rater import Rater, RateResult
from pipelines.rejected import open_rejects
from pipelines.topic import ensure_topic
from pipelines.workspace import Workspace
from schemas.events import UsageEvent
from schemas.usage import Header, RawBatch
from tests.stream_watch import PARTITIONS, wait_for, wait_until
from tests.test_pipelines_worker import start

PAGE = Path(__file__).parents[1] / "docs" / "EVENTS.md"
TEXT = PAGE.read_text(encoding="utf-8")
RECEIVED_MS = 1_800_000_000_000
NUMBERS = re.findall(r"^\| `([^`]+)` \| ([\w.]+) \|$", TEXT.partition("\n## Numbers")[2].partition("\n## ")[0], re.MULTILINE)


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def messages() -> list[bytes]:
    """The page's event, array and lines, and a table like the one it describes, of two more samples."""
    table = pl.DataFrame(
        {
            "id": ["sample-5", "sample-6"],
            "source": "/ports",
            "type": "ports.sampled",
            "subject": "conf-lantian",
            "time": pl.Series(["2026-10-05T02:20:00", "2026-10-05T02:25:00"]).str.to_datetime(time_zone="UTC"),
            "data.ports": pl.Series(["38", "37"], dtype=pl.Decimal(9, 2)),
        }
    )
    arrow = io.BytesIO()
    table.write_ipc_stream(arrow)
    return [text.encode() for text in (*examples("json"), *examples("ndjson"))] + [arrow.getvalue()]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.create(tmp_path_factory.mktemp("events") / "shop", "video-conference", "2026-10")
    made.publish()
    return made


def rate(workspace: Workspace, stream: str, values: Iterable[bytes], headers: list[list[Header]] | None = None) -> RateResult:
    listed = list(values)
    rater = Rater(workspace, workspace.ledger(), workspace.settings.limits)
    rater.assign([(stream, 0)])
    return rater.process([RawBatch(stream, 0, range(len(listed)), listed, [RECEIVED_MS] * len(listed), headers)])


def test_every_json_event_of_the_page_keeps_to_the_published_model() -> None:
    lines = [line for block in examples("ndjson") for line in block.splitlines()]
    event, array = map(json.loads, examples("json"))
    events = [event, *array, *map(json.loads, lines)]
    assert len(events) == 5
    for event in events:
        UsageEvent.model_validate_json(json.dumps(event))


def test_event_array_lines_and_table_are_charged_and_charged_once(workspace: Workspace) -> None:
    first = rate(workspace, "file:first", messages())
    assert (first.events, first.duplicates, dict(first.rejects)) == (7, 0, {})
    again = rate(workspace, "file:again", messages())
    assert (again.postings, again.duplicates, dict(again.rejects)) == (0, 7, {})


@pytest.mark.parametrize(("written", "meaning"), NUMBERS)
def test_a_number_is_read_as_the_page_says(written: str, meaning: str, workspace: Workspace) -> None:
    event = json.loads(examples("json")[0]) | {"id": f"number {written}", "data": None}
    data = f'{{"minutes": {written}, "region": "cn", "call_type": "video"}}'
    done = rate(workspace, f"file:{written}", [json.dumps(event).replace('"data": null', f'"data": {data}').encode()])
    if re.fullmatch(r"[\d.]+", meaning):
        assert not done.rejects
        posted = workspace.ledger().postings.scan().filter(event_id=event["id"], role="revenue").collect()
        assert posted["quantity_quanta"].unique().to_list() == [round(float(meaning) * 1_000)]
    else:
        assert dict(done.rejects) == {meaning: 1}


def test_the_page_has_numbers_of_every_kind() -> None:
    assert len(NUMBERS) == 12


def test_messages_without_an_event_give_nothing(workspace: Workspace) -> None:
    assert rate(workspace, "file:empty", [b"[]"]).events == 0


def test_the_event_in_binary_mode_is_charged(workspace: Workspace) -> None:
    head, _, value = examples("binary")[0].strip().partition("\n\n")
    headers: list[Header] = [(name, text.encode()) for name, text in (line.split(": ", 1) for line in head.splitlines())]
    done = rate(workspace, "file:binary", [value.encode()], [headers])
    assert (done.events, done.postings > 0, dict(done.rejects)) == (1, True, {})
    posted = workspace.ledger().postings.scan().filter(event_id="meeting-8842", role="revenue").collect()
    assert posted["quantity_quanta"].unique().to_list() == [12_250]
    without = rate(workspace, "file:no headers", [value.encode()])
    assert dict(without.rejects) == {"missing_field": 1}


def test_the_producer_of_the_page_sends_what_a_worker_charges(kafka: str, topic: str, tmp_path: Path, worker_log: Path) -> None:
    fresh = Workspace.create(tmp_path / "shop", "video-conference", "2026-10")
    fresh.publish()
    asyncio.run(ensure_topic(kafka, topic, PARTITIONS))
    names: dict[str, Any] = {}
    exec(examples("python")[0], names)
    asyncio.run(names["send_usage"](kafka, topic, [("lantian", message) for message in messages()]))
    worker = start(fresh, kafka, topic, worker_log)
    try:
        posted = fresh.ledger().postings
        wait_until(lambda: posted.scan().select(pl.col("event_id").n_unique()).collect().item() == 7)
        worker.terminate()
        assert wait_for(worker) == 0
    finally:
        worker.kill()
    assert posted.scan().select(pl.col("stream_partition").n_unique()).collect().item() == 1
    assert open_rejects(fresh.ledger()).is_empty()


def test_the_queries_of_the_page_run(workspace: Workspace) -> None:
    rate(workspace, "file:query", messages())
    for line in examples("console")[0].splitlines():
        command = re.findall(r'"[^"]+"|\S+', line.removeprefix("$ boss "))
        arguments = [word.strip('"') for word in command]
        done = CliRunner().invoke(cli.app, arguments, env={"BOSS_WORKSPACE": str(workspace.root)})
        assert done.exit_code == 0, done.output
    assert "meeting-8841" in done.output
