"""The stream as processes: embedded broker, worker, ledger. Whatever is done to the workers, each message arrives once."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import time
from pathlib import Path

import pytest

from pipelines.broker import embedded_broker, free_port
from pipelines.producer import send_messages
from pipelines.topic import ensure_topic
from schemas.usage import RawBatch
from tests.stream_fakes import RaterDouble, heard, start_worker, wait_for_messages
from tests.stream_watch import PARTITIONS, Feed, assert_each_once, get, messages, send, wait_for, wait_until, wait_until_ready


def test_nothing_is_lost_or_repeated_when_workers_are_killed_in_flight(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table = tmp_path / "table"
    options = {"topic": topic, "group": topic, "flush_events": 1_000}
    send(kafka, topic, 4_000)
    worker = start_worker(table, kafka, worker_log, die_after_commits=1, **options)
    assert wait_for(worker) == -signal.SIGKILL  # between the commit and the acknowledgement
    before = heard(table).height
    worker = start_worker(table, kafka, worker_log, **options)
    feed = Feed(kafka, topic, first=4_000)
    wait_for_messages(table, before + 1)
    worker.kill()  # at some moment
    worker.wait()
    before = heard(table).height
    worker = start_worker(table, kafka, worker_log, **options)
    wait_for_messages(table, before + 1)
    worker.terminate()
    assert wait_for(worker) == 0
    count = feed.end()
    send(kafka, topic, 500, count)  # so that the last one has something to do
    worker = start_worker(table, kafka, worker_log, **options)
    found = wait_for_messages(table, count + 500)
    worker.terminate()
    assert wait_for(worker) == 0
    assert_each_once(found, count + 500)


def test_two_workers_share_a_topic_and_one_takes_over_from_a_frozen_one(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table, feed = tmp_path / "table", Feed(kafka, topic)
    options = {"topic": topic, "group": topic, "flush_events": 1_000}
    frozen = start_worker(table, kafka, worker_log, **options)
    wait_for_messages(table, 1)
    other = start_worker(table, kafka, worker_log, **options)
    wait_until(lambda: heard(table)["worker"].n_unique() == 2)
    frozen.send_signal(signal.SIGSTOP)
    time.sleep(2.5)  # its session of one second is over, its partitions belong to the other one
    frozen.send_signal(signal.SIGCONT)
    time.sleep(1)
    count = feed.end()
    found = wait_for_messages(table, count)
    for worker in (frozen, other):
        worker.terminate()
    codes = [wait_for(worker) for worker in (frozen, other)]
    assert_each_once(found, count)
    assert found["worker"].n_unique() == 2
    assert codes[1] == 0
    # 1: it had messages in hand, and the ledger did not take them from it; -SIGTERM: it was just ending for that
    assert codes[0] in (0, 1, -signal.SIGTERM)
    if codes[0] == 1:
        assert "Fenced" in worker_log.read_text()


def test_the_second_of_two_workers_on_one_partition_is_fenced_and_says_so(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table = tmp_path / "table"
    asyncio.run(ensure_topic(kafka, topic, 1))  # with more, each of them might be fenced on a partition of its own
    # Two groups: Kafka gives every partition to both of them, which it never does within one group.
    workers = [start_worker(table, kafka, worker_log, topic=topic, group=f"{topic}-{name}") for name in "ab"]
    feed = Feed(kafka, topic)
    wait_until(lambda: any(worker.poll() is not None for worker in workers))
    count = feed.end()
    found = wait_for_messages(table, count)
    for worker in workers:
        worker.terminate()
    codes = sorted(wait_for(worker) for worker in workers)
    assert codes == [0, 1]
    assert "Fenced: Another worker has advanced" in worker_log.read_text()
    assert_each_once(found, count)


def test_a_worker_waits_for_its_broker_answers_for_its_health_and_stops_without_its_broker(
    topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table, broker_port, port = tmp_path / "table", free_port(), free_port()
    worker = start_worker(table, f"127.0.0.1:{broker_port}", worker_log, topic=topic, group=topic, port=port)
    wait_until(lambda: "Waiting for Kafka" in worker_log.read_text())
    time.sleep(2)
    assert worker.poll() is None
    assert len(worker_log.read_text().splitlines()) == 1, worker_log.read_text()
    with embedded_broker(tmp_path / "broker.log", broker_port) as kafka:
        wait_until_ready(port)
        send(kafka, topic, 500)
        wait_for_messages(table, 500)
        time.sleep(0.2)
        assert get(port, "healthz") == (200, json.dumps({"status": "ok"}, separators=(",", ":")))
        status, metrics = get(port, "metrics")
        assert status == 200
        assert re.search(r"^boss_events_total 500\.0$", metrics, re.MULTILINE)
        assert re.search(r"^boss_commit_seconds_count [1-9]", metrics, re.MULTILINE)
        lags = re.findall(r'^boss_lag_events\{partition="\d"\} (\S+)$', metrics, re.MULTILINE)
        assert lags == ["0.0"] * PARTITIONS
    worker.terminate()  # the broker is gone, and nobody to say goodbye to
    assert wait_for(worker) == 0


def test_a_topic_that_lost_its_messages_is_noticed(topic: str, tmp_path: Path, worker_log: Path) -> None:
    table, options = tmp_path / "table", {"topic": topic, "group": topic}
    rated = RaterDouble(table)
    rated.assign([(f"kafka:{topic}@1", partition) for partition in range(PARTITIONS)])
    for partition in range(PARTITIONS):
        values = [value for _, value in messages(250 * partition, 250)]
        rated.read([RawBatch(f"kafka:{topic}@1", partition, range(250), values, [0] * 250)])()()
    with embedded_broker(tmp_path / "broker.log") as kafka:
        send(kafka, topic, 40, first=1_000)
        worker = start_worker(table, kafka, worker_log, **options)
        assert wait_for(worker) == 1
        assert "StreamMoved: Topic" in worker_log.read_text()
        assert "set a new stream.epoch" in worker_log.read_text()
        assert heard(table).height == 1_000


def test_a_stopped_worker_commits_what_it_has_in_hand(kafka: str, topic: str, tmp_path: Path, worker_log: Path) -> None:
    table, port = tmp_path / "table", free_port()
    worker = start_worker(table, kafka, worker_log, topic=topic, group=topic, port=port, flush_seconds=60)
    wait_until_ready(port)
    send(kafka, topic, 1_000)
    time.sleep(1)
    assert heard(table).height == 0
    started = time.monotonic()
    worker.send_signal(signal.SIGINT)
    assert wait_for(worker) == 0
    assert time.monotonic() - started < 10
    assert_each_once(heard(table), 1_000)


def test_a_worker_may_read_its_ledger_for_longer_than_a_broker_may_take_to_answer(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_REQUEST_TIMEOUT", "2")  # Faust's setting, of 90 s
    send(kafka, topic, 100)
    start_worker(tmp_path / "table", kafka, worker_log, topic=topic, group=topic, assign_seconds=6)
    assert_each_once(wait_for_messages(tmp_path / "table", 100, seconds=60), 100)


def test_a_worker_whose_ledger_cannot_be_written_ends_with_the_reason_in_one_line(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table = tmp_path / "table"
    send(kafka, topic, 10)
    options = {"topic": topic, "group": topic}
    assert wait_for(start_worker(table, kafka, worker_log, **options, unwritable=True)) == 1
    lines = worker_log.read_text().splitlines()
    assert lines[-1].startswith("LedgerUnwritable: The ledger folder"), lines
    assert not any("Traceback" in line for line in lines)
    assert heard(table).is_empty()


def test_a_taken_port_is_a_clear_refusal(kafka: str, topic: str, tmp_path: Path, worker_log: Path) -> None:
    with embedded_broker(tmp_path / "other.log") as somebody:
        taken = int(somebody.rpartition(":")[2])
        worker = start_worker(tmp_path / "table", kafka, worker_log, topic=topic, group=topic, port=taken)
        assert wait_for(worker) == 1
    assert "Give it another stream.port" in worker_log.read_text()


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_messages_are_delivered_in_order_and_the_last_offsets_are_known(kafka: str, topic: str, count: int) -> None:
    seen: list[int] = []
    delivery = asyncio.run(send_messages(kafka, topic, messages(0, count), partitions=PARTITIONS, progress=seen.append))
    assert delivery.delivered == count
    assert sum(last + 1 for last in delivery.last_offsets.values()) == count
    assert seen == sorted(seen)
    assert seen[-1:] == ([count] if count else [])


def test_a_message_that_is_too_large_is_named_and_the_others_are_sent(kafka: str, topic: str) -> None:
    values = [b"a", b"b" * 2_000_000, b"c"]
    delivery = asyncio.run(send_messages(kafka, topic, zip(itertools.repeat(b"key"), values), partitions=PARTITIONS))
    assert delivery.delivered == 2
    assert [refused.index for refused in delivery.refused] == [1]
    assert "2,000,003 bytes" in delivery.refused[0].why
