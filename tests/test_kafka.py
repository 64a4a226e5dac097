"""The stream against a real Apache Kafka: exactly once through kills and restarts, and every way a topic can betray us."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.codec import has_lz4, has_snappy, has_zstd

from pipelines.broker import free_port
from pipelines.producer import send_messages
from pipelines.topic import ensure_topic
from tests.kafka import KafkaNode, administer
from tests.stream_fakes import heard, start_worker, wait_for_messages
from tests.stream_watch import Feed, assert_each_once, get, messages, send, wait_for, wait_until, wait_until_ready

pytestmark = pytest.mark.kafka

CODECS = ["gzip", *(name for name, known in [("snappy", has_snappy()), ("lz4", has_lz4()), ("zstd", has_zstd())] if known)]


def test_each_message_arrives_once_though_worker_and_broker_are_killed(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table = tmp_path / "table"
    options = {"topic": topic, "group": topic, "flush_events": 1_000, "session_seconds": 2.0}
    send(kafka_node.bootstrap, topic, 2_000)
    worker = start_worker(table, kafka_node.bootstrap, worker_log, die_after_commits=1, **options)
    assert wait_for(worker, 40) == -signal.SIGKILL
    feed = Feed(kafka_node.bootstrap, topic, first=2_000)
    workers = [start_worker(table, kafka_node.bootstrap, worker_log, **options) for _ in range(2)]
    before = heard(table).height
    wait_for_messages(table, before + 1_000)
    workers[0].kill()
    workers[0].wait()
    before = heard(table).height
    wait_for_messages(table, before + 1_000)
    count = feed.end()  # a producer that retries through a restart may send twice, which is not what is tested here
    kafka_node.stop(signal.SIGKILL)
    kafka_node.start()
    send(kafka_node.bootstrap, topic, 2_000, first=count)
    found = wait_for_messages(table, count + 2_000, seconds=60)
    workers[1].terminate()
    assert wait_for(workers[1], 40) == 0
    assert_each_once(found, count + 2_000)
    repeated = [line for line in worker_log.read_text().splitlines() if "Unable connect" in line]
    assert len(repeated) < 10, "a broker that is away may not flood the log"


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_messages_are_read(codec: str, kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path) -> None:
    asyncio.run(send_messages(kafka_node.bootstrap, topic, messages(0, 5_000), compression=codec))
    worker = start_worker(tmp_path / "table", kafka_node.bootstrap, worker_log, topic=topic, group=topic)
    found = wait_for_messages(tmp_path / "table", 5_000)
    worker.terminate()
    assert wait_for(worker) == 0
    assert_each_once(found, 5_000)


async def send_transactions(bootstrap: str, topic: str) -> None:
    """Five committed transactions of 100 messages and between them aborted ones of 50."""
    await ensure_topic(bootstrap, topic, 4)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
    await producer.start()
    try:
        for number in range(5):
            async with producer.transaction():
                for key, value in messages(100 * number, 100):
                    await producer.send(topic, value, key=key)
            await producer.begin_transaction()
            for key, _ in messages(0, 50):
                await producer.send(topic, b"taken back", key=key)
            await producer.abort_transaction()
    finally:
        await producer.stop()


async def committed_lag(bootstrap: str, topic: str, group: str) -> dict[int, int]:
    """End of each partition less the offset the group has committed: what an ordinary lag tool shows."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(4)]
        ends = await consumer.end_offsets(partitions)
        return {tp.partition: ends[tp] - (await consumer.committed(tp) or 0) for tp in partitions}
    finally:
        await consumer.stop()


def test_transactions_leave_gaps_and_what_was_taken_back_is_not_rated(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    asyncio.run(send_transactions(kafka_node.bootstrap, topic))
    table, port = tmp_path / "table", free_port()
    options = {"topic": topic, "group": topic, "port": port}
    worker = start_worker(table, kafka_node.bootstrap, worker_log, die_after_commits=1, **options)
    assert wait_for(worker, 40) == -signal.SIGKILL
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options)
    found = wait_for_messages(table, 500)
    wait_until_ready(port)
    wait_until(lambda: re.findall(r"^boss_lag_events{.*} (.*)$", get(port, "metrics")[1], re.MULTILINE) == ["0.0"] * 4)
    worker.terminate()
    assert wait_for(worker) == 0
    assert_each_once(found, 500)
    # The last messages of each partition are aborted ones and markers, which nobody rates.
    lag = asyncio.run(committed_lag(kafka_node.bootstrap, topic, topic))
    assert all(0 <= behind <= 60 for behind in lag.values()), lag


def test_a_topic_that_was_deleted_and_created_again_is_noticed_by_running_and_by_new_workers(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table, options = tmp_path / "table", {"topic": topic, "group": topic}
    send(kafka_node.bootstrap, topic, 4_000)
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options)
    wait_for_messages(table, 4_000)
    administer(kafka_node, lambda admin: admin.delete_topics([topic]))
    wait_until(lambda: topic not in administer(kafka_node, lambda admin: admin.list_topics()))
    send(kafka_node.bootstrap, topic, 100)
    assert wait_for(worker, 60) == 1
    assert worker_log.read_text().count("StreamMoved: Topic") == 1
    assert wait_for(start_worker(table, kafka_node.bootstrap, worker_log, **options), 40) == 1
    assert worker_log.read_text().count("StreamMoved: Topic") == 2
    assert heard(table).height == 4_000


def test_messages_that_retention_removed_before_they_were_rated_are_noticed(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table, options = tmp_path / "table", {"topic": topic, "group": topic}
    send(kafka_node.bootstrap, topic, 2_000)
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options)
    wait_for_messages(table, 2_000)
    worker.terminate()
    assert wait_for(worker) == 0
    send(kafka_node.bootstrap, topic, 2_000, first=2_000)
    everything = {TopicPartition(topic, number): RecordsToDelete(-1) for number in range(4)}
    administer(kafka_node, lambda admin: admin.delete_records(everything))
    assert wait_for(start_worker(table, kafka_node.bootstrap, worker_log, **options), 40) == 1
    assert "the topic begins at offset" in worker_log.read_text()
    assert wait_for_messages(table, 2_000).height == 2_000
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options, epoch="2")
    send(kafka_node.bootstrap, topic, 100, first=4_000)
    assert wait_for_messages(table, 2_100).height == 2_100
    worker.terminate()
    assert wait_for(worker) == 0


def test_a_topic_created_again_that_has_grown_past_our_position_is_noticed_by_running_and_by_new_workers(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table, options = tmp_path / "table", {"topic": topic, "group": topic}
    send(kafka_node.bootstrap, topic, 400)
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options)
    wait_for_messages(table, 400)
    administer(kafka_node, lambda admin: admin.delete_topics([topic]))
    wait_until(lambda: topic not in administer(kafka_node, lambda admin: admin.list_topics()))
    send(kafka_node.bootstrap, topic, 4_000, first=1_000)
    assert wait_for(worker, 60) == 1
    assert wait_for(start_worker(table, kafka_node.bootstrap, worker_log, **options), 40) == 1
    assert worker_log.read_text().count("it was deleted and created again. Stop all workers") >= 2
    before = heard(table)
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options, epoch="2")
    new = {value for _, value in messages(1_000, 4_000)}
    wait_until(lambda: new <= set(heard(table)["value"]))
    worker.terminate()
    assert wait_for(worker) == 0
    assert heard(table).height == before.height + 4_000


def test_a_topic_that_got_more_partitions_is_refused_until_the_epoch_is_new(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    table, options = tmp_path / "table", {"topic": topic, "group": topic}
    send(kafka_node.bootstrap, topic, 1_000)
    workers = [start_worker(table, kafka_node.bootstrap, worker_log, **options) for _ in range(2)]
    wait_for_messages(table, 1_000)
    administer(kafka_node, lambda admin: admin.create_partitions({topic: NewPartitions(8)}))
    assert [wait_for(worker, 60) for worker in workers] == [1, 1]
    assert wait_for(start_worker(table, kafka_node.bootstrap, worker_log, **options), 40) == 1
    assert "has 8 partitions, and the ledger knows it as" in worker_log.read_text()
    send(kafka_node.bootstrap, topic, 1_000, first=1_000)
    assert heard(table).height == 1_000
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options, epoch="2")
    found = wait_for_messages(table, 3_000)  # this rater knows no ids: the first thousand comes again
    worker.terminate()
    assert wait_for(worker) == 0
    assert found["value"].n_unique() == 2_000
