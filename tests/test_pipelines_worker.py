"""The whole stream with the real rater: `boss worker` on a workspace, good and bad events, and a kill on the way."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from types import SimpleNamespace

import orjson
import polars as pl
import pytest
from aiokafka.errors import KafkaConnectionError

from pipelines.producer import send_messages
from pipelines.worker import Worker
from pipelines.workspace import Workspace
from schemas.errors import Refused
from tests.stream_watch import PARTITIONS, start_module, wait_for, wait_until


def meeting(number: int, **changes: object) -> bytes:
    event = {
        "specversion": "1.0",
        "id": f"meeting-{number}",
        "source": "/conference/cn",
        "type": "meeting.ended",
        "subject": "conf-qingshan",
        "time": "2026-10-05T02:00:00Z",
        "data": {"minutes": "1.5", "region": "cn", "call_type": "video"},
    }
    return orjson.dumps(event | changes)


POISON = {  # and a tombstone between them, which is no event at all
    "unreadable": b'{"specversion":"1.0",',
    "time_without_zone": meeting(-1, time="2026-10-05T02:00:00"),
    "time_in_future": meeting(-2, time="2090-01-01T00:00:00Z"),
    "bad_quantity": meeting(-3, data={"minutes": "NaN", "region": "cn", "call_type": "video"}),
    "negative_quantity": meeting(-4, data={"minutes": "-1", "region": "cn", "call_type": "video"}),
    "missing_field": meeting(-5, data={}),
    "unknown_type": meeting(-6, type="weather.changed"),
    "unknown_subject": meeting(-7, subject="nobody"),
}


def start(workspace: Workspace, kafka: str, topic: str, log: Path, **more: str) -> subprocess.Popen[bytes]:
    """A `boss worker`; `more` are variables of its environment."""
    environment = {
        "BOSS_KAFKA": kafka,
        "BOSS_STREAM__TOPIC": topic,
        "BOSS_STREAM__GROUP": topic,
        "BOSS_STREAM__SESSION_SECONDS": "1",
        "BOSS_STREAM__FLUSH_EVENTS": "200",
        "BOSS_STREAM__PORT": "0",
        **more,
    }
    return start_module("cli", ["worker", "--workspace", str(workspace.root)], log, environment)


def send(kafka: str, topic: str, values: list[bytes | None]) -> None:
    keyed = [(b"qingshan", value) for value in values]
    assert asyncio.run(send_messages(kafka, topic, keyed, partitions=PARTITIONS)).delivered == len(values)


def counts(workspace: Workspace) -> tuple[int, int]:
    ledger = workspace.ledger()
    events = ledger.postings.scan().select(pl.struct("event_source", "event_id").n_unique()).collect().item()
    return events, ledger.rejects.scan().select(pl.len()).collect().item()


def test_a_broker_that_goes_away_while_the_worker_starts_is_a_reason_and_no_traceback() -> None:
    async def start() -> None:
        raise KafkaConnectionError("Unable to bootstrap")

    starting = object.__new__(Worker)
    starting.app = SimpleNamespace(start=start)
    with pytest.raises(Refused, match="Start it again; it waits for a broker"):
        asyncio.run(starting._start_and_watch())


def test_good_events_are_posted_once_and_bad_ones_rejected_once_through_a_kill(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    workspace = Workspace.create(tmp_path / "workspace", "video-conference", "2026-10")
    workspace.publish()
    send(kafka, topic, [*(meeting(number) for number in range(1_000)), None, *POISON.values()])
    worker = start(workspace, kafka, topic, worker_log)
    wait_until(lambda: counts(workspace)[0] > 0)
    worker.kill()
    worker.wait()
    again = [meeting(number) for number in range(100)]  # sent twice, as after a producer's retry
    changed = [meeting(5, data={"minutes": "99", "region": "cn", "call_type": "video"})]
    send(kafka, topic, [*again, *changed, *(meeting(number) for number in range(1_000, 2_000))])
    worker = start(workspace, kafka, topic, worker_log)
    wait_until(lambda: counts(workspace) == (2_000, len(POISON) + 1))
    worker.terminate()
    assert wait_for(worker) == 0, worker_log.read_text()
    ledger = workspace.ledger()
    rejects = ledger.rejects.scan().collect()
    assert sorted(rejects["reason"]) == sorted([*POISON, "duplicate_differs"])
    assert rejects.select("stream_partition", "stream_offset", "event_index").is_unique().all()
    postings = ledger.postings.scan().filter(meter_id="meeting.minutes").collect()
    assert postings.height >= 2_000
    assert postings.select("event_id", "price_id", "role", "partner_id").is_unique().all()
