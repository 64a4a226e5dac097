"""Every notice is sent, also when the worker died before it could be, and under the same id each time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiokafka import AIOKafkaConsumer

from ledger.table import source_id
from pipelines.balances import list_notices
from pipelines.notices import Teller, send_notices, unsent_notices
from pipelines.producer import send_messages
from pipelines.topic import ensure_topic
from pipelines.workspace import Workspace
from schemas.errors import Refused
from tests.stream_watch import PARTITIONS, wait_for, wait_until
from tests.test_pipelines_balances import PREPAID, STORY, rate, topup
from tests.test_pipelines_worker import start

STREAM = "kafka:usage@1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "mobile", "telecom", "2026-10")
    customers = made.root / "roster" / "customers.yaml"
    customers.write_text(customers.read_text().replace("{id: piper, ", PREPAID, 1))
    made.publish()
    return made


def read_topic(kafka: str, topic: str, count: int) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            return [json.loads((await asyncio.wait_for(anext(consumer), 20)).value) for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(read())


def tell(workspace: Workspace, kafka: str, topic: str) -> None:
    """A worker takes the partition over, and ends."""
    teller = Teller(workspace.ledger(), STREAM, topic, kafka)
    teller.start()
    teller.assign([0])
    teller.close()


def sent(workspace: Workspace) -> int:
    return int(workspace.ledger().sent_notices.scan().select(pl.len()).collect().item())


def test_a_notice_is_an_event_whose_id_is_its_place_in_the_ledger(workspace: Workspace, kafka: str, topic: str) -> None:
    rate(workspace, *STORY, stream=STREAM)
    tell(workspace, kafka, topic)
    wait_until(lambda: sent(workspace) == 2)
    told = read_topic(kafka, topic, 2)
    assert [event["id"] for event in told] == list_notices(workspace)["notice_id"].to_list()
    assert [event["type"] for event in told] == ["boss.balance.low", "boss.balance.exhausted"]
    assert told[1]["subject"] == "piper"
    assert told[1]["data"] == {"balance": "-0.3", "currency": "GBP", "level": "exhausted"}


def test_after_a_crash_between_commit_and_sending_they_are_sent(workspace: Workspace, kafka: str, topic: str) -> None:
    rate(workspace, *STORY, stream=STREAM)  # committed; nobody told
    tell(workspace, kafka, topic)
    wait_until(lambda: sent(workspace) == 2)
    rate(workspace, topup("t9", "09T10:00", amount="10"), stream=STREAM)
    tell(workspace, kafka, topic)
    wait_until(lambda: sent(workspace) == 3)
    assert [event["type"].rpartition(".")[2] for event in read_topic(kafka, topic, 3)] == ["low", "exhausted", "restored"]


def test_after_a_crash_between_sending_and_noting_they_are_sent_again_under_the_same_id(
    workspace: Workspace, kafka: str, topic: str
) -> None:
    rate(workspace, *STORY, stream=STREAM)
    send_notices(unsent_notices(workspace.ledger(), STREAM, {0: None}), topic, kafka)  # and died before noting it
    tell(workspace, kafka, topic)
    wait_until(lambda: sent(workspace) == 2)
    ids = [event["id"] for event in read_topic(kafka, topic, 4)]
    assert ids[:2] == ids[2:]
    noted = workspace.ledger().sent_notices.position(source_id(STREAM, 0))
    assert noted is not None
    assert unsent_notices(workspace.ledger(), STREAM, {0: noted}).is_empty()


def test_notices_of_another_stream_or_partition_are_not_ours(workspace: Workspace) -> None:
    rate(workspace, *STORY, stream=STREAM)
    assert unsent_notices(workspace.ledger(), "kafka:usage@2", {0: None}).is_empty()
    assert unsent_notices(workspace.ledger(), STREAM, {1: None}).is_empty()
    assert unsent_notices(workspace.ledger(), STREAM, {}).is_empty()


def test_without_a_broker_they_wait(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Refused("No broker answers.")

    monkeypatch.setattr("pipelines.notices.send_notices", refuse)
    rate(workspace, *STORY, stream=STREAM)
    tell(workspace, "nowhere:1", "topic")
    assert sent(workspace) == 0


def test_a_worker_tells_what_happens_while_it_rates(workspace: Workspace, kafka: str, topic: str, worker_log: Path) -> None:
    asyncio.run(ensure_topic(kafka, topic, PARTITIONS))
    settings = workspace.root / "boss.toml"
    settings.write_text(settings.read_text().replace("[stream]", f'[stream]\nnotices_topic = "{topic}-notices"', 1))
    asyncio.run(send_messages(kafka, topic, [(b"piper", value) for value in STORY]))
    worker = start(workspace, kafka, topic, worker_log)
    try:
        wait_until(lambda: sent(workspace) == 2)
        worker.terminate()
        assert wait_for(worker) == 0
    finally:
        worker.kill()
    assert [event["type"] for event in read_topic(kafka, f"{topic}-notices", 2)] == [
        "boss.balance.low",
        "boss.balance.exhausted",
    ]
