"""Three brokers of Apache Kafka, of which one at a time is killed; topics with gaps; lag as Kafka's own tools show it."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from tests.kafka import KafkaNode, administer, missing
from tests.stream_fakes import start_worker, wait_for_messages
from tests.stream_watch import send, wait_for, wait_until
from tests.torture import torture
from tests.torture_deeds import BROKER_DEED
from tests.torture_run import Plan

pytestmark = pytest.mark.kafka


def test_each_event_is_charged_once_and_right_though_each_broker_of_three_is_killed(tmp_path: Path) -> None:
    assert missing() is None
    outcome = torture(Plan(events=3_000, kills=3, most_workers=2, brokers_only=True), tmp_path, brokers=3)
    assert not outcome.faults(), outcome.table()
    assert outcome.verdict.events == 3_000
    assert outcome.run.deeds[BROKER_DEED] == 3


async def offsets_left(bootstrap: str, topic: str) -> dict[int, list[int]]:
    """Per partition the offsets that can still be read."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[int, list[int]] = {tp.partition: [] for tp in partitions}
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp.partition] += [record.offset for record in records]
        return found
    finally:
        await consumer.stop()


def has_gaps(offsets: list[int]) -> bool:
    return offsets[-1] - offsets[0] + 1 > len(offsets)


def test_what_a_compacted_topic_still_has_is_rated_once_and_lag_tools_see_where_we_are(
    kafka_node: KafkaNode, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    compacted = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    administer(kafka_node, lambda admin: admin.create_topics([NewTopic(topic, 4, 1, topic_configs=compacted)]))
    for first, count in [(0, 500), (970, 30), (1067, 30)]:  # 97 keys; the second time 30 of them, the third those again
        send(kafka_node.bootstrap, topic, count, first=first)
        time.sleep(0.5)  # a segment is closed by a message that comes later than segment.ms; the open one is never compacted
    left: dict[int, list[int]] = {}

    def is_compacted() -> bool:
        left.update(asyncio.run(offsets_left(kafka_node.bootstrap, topic)))
        return all(has_gaps(offsets) for offsets in left.values())

    wait_until(is_compacted)
    table, options = tmp_path / "table", {"topic": topic, "group": topic}
    worker = start_worker(table, kafka_node.bootstrap, worker_log, **options)
    count = sum(map(len, left.values()))
    assert count < 560
    wait_for_messages(table, count)
    send(kafka_node.bootstrap, topic, 100, first=2_000)
    found = wait_for_messages(table, count + 100)
    assert found.height == found["value"].n_unique() == count + 100
    wait_until(lambda: set(lag_of_group(kafka_node, topic)) == {"0"})
    worker.terminate()
    assert wait_for(worker) == 0


def lag_of_group(node: KafkaNode, group: str) -> list[str]:
    """The column LAG of kafka-consumer-groups.sh."""
    main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    said = node.tool(main, "--bootstrap-server", node.bootstrap, "--describe", "--group", group)
    return re.findall(rf"^{group} +\S+ +\d+ +\d+ +\d+ +(\d+)", said, re.MULTILINE)
