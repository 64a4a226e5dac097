"""`boss rekey` against a real Apache Kafka: killed with its broker, a usage topic that grows, a source created again."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from pipelines.checks import run_checks
from pipelines.rejected import open_rejects, retry_rejects
from pipelines.workspace import Workspace
from tests.kafka import KafkaNode, administer
from tests.rekey_world import (
    SOURCE_PARTITIONS,
    Sent,
    assert_charged_once,
    charged,
    devices,
    events_in,
    read_topic,
    rejected,
    send_devices,
    start_rekey,
    wait_for,
    wait_until,
)
from tests.test_pipelines_worker import meeting, start

pytestmark = pytest.mark.kafka

KILLED = "tests.rekey_killed"
SESSION = {"BOSS_STREAM__SESSION_SECONDS": "5"}
"""Long enough for a busy machine: shorter ones end by themselves there."""


def assert_agrees(shop: Workspace, events: int) -> None:
    assert_charged_once(shop, events)
    checks = run_checks(shop)
    assert checks["agrees"].all(), checks


def test_each_event_is_charged_once_though_rekey_and_the_broker_are_killed(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path, worker_log: Path
) -> None:
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    sent = [devices(3_600, first=3_600 * number) for number in range(3)]
    send_devices(kafka, source, sent[0])
    worker = start(shop, kafka, topic, worker_log, BOSS_STREAM__FLUSH_EVENTS="2000", **SESSION)
    killed = start_rekey(shop, kafka, source, topic, log, module=KILLED, REKEY_POINT="partly sent:3", **SESSION)
    assert wait_for(killed) == -signal.SIGKILL
    members = [start_rekey(shop, kafka, source, topic, log, module=KILLED, **SESSION) for _ in range(2)]
    wait_until(lambda: charged(shop).height == 3_600)
    send_devices(kafka, source, sent[1])
    kafka_node.stop(signal.SIGKILL)  # with messages in hand
    kafka_node.start()
    send_devices(kafka, source, sent[2])
    members[0].kill()
    bad = sorted({bad for part in sent for bad in part.bad})
    wait_until(lambda: charged(shop).height == 10_800 and rejected(shop) == bad)
    for process in (members[1], worker):
        process.terminate()
        assert wait_for(process) == 0, log.read_text()
    assert_agrees(shop, 10_800)
    assert "Traceback" not in log.read_text()
    assert len(log.read_text().splitlines()) < 150, "a broker that is away may not flood the log"


def test_the_usage_topic_gets_more_partitions_while_producers_go_on(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path, worker_log: Path
) -> None:
    """The steps of docs/OPERATIONS.md, with a `boss rekey` in front of the topic."""
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    sent = [devices(3_000, first=3_000 * number) for number in range(3)]
    send_devices(kafka, source, sent[0])
    worker, stage = start(shop, kafka, topic, worker_log, **SESSION), start_rekey(shop, kafka, source, topic, log, **SESSION)
    wait_until(lambda: charged(shop).height == 3_000)
    stage.terminate()  # 1. stop `boss rekey`
    assert wait_for(stage) == 0
    send_devices(kafka, source, sent[1])  # producers do not notice
    wait_until(lambda: rejected(shop) == sorted(set(sent[0].bad)))  # 2. the workers have rated all of the usage topic
    worker.terminate()  # 3. stop the workers
    assert wait_for(worker) == 0
    administer(kafka_node, lambda admin: admin.create_partitions({topic: NewPartitions(7)}))  # 4. change the topic
    # 5. a new epoch, 6. workers, `boss rekey`
    workers = [start(shop, kafka, topic, worker_log, BOSS_STREAM__EPOCH="2", **SESSION) for _ in range(2)]
    stage = start_rekey(shop, kafka, source, topic, log, **SESSION)
    send_devices(kafka, source, sent[2])
    wait_until(lambda: charged(shop).height == 9_000)
    assert open_rejects(shop.ledger(), ["wrong_partition"]).is_empty()
    assert "partitions=4" in log.read_text()
    assert "partitions=7" in log.read_text()
    for process in (stage, *workers):
        process.terminate()
        assert wait_for(process) == 0, worker_log.read_text()
    assert_agrees(shop, 9_000)


def test_a_usage_topic_that_grows_under_rekey_is_noticed_and_what_came_wrong_is_charged_when_retried(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path, worker_log: Path
) -> None:
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    send_devices(kafka, source, devices(1_200))
    worker, stage = start(shop, kafka, topic, worker_log, **SESSION), start_rekey(shop, kafka, source, topic, log, **SESSION)
    wait_until(lambda: charged(shop).height == 1_200)
    worker.terminate()
    assert wait_for(worker) == 0
    administer(kafka_node, lambda admin: admin.create_partitions({topic: NewPartitions(7)}))
    events = 1_200
    while "partitions=7" not in log.read_text():  # until then by the old partitions
        send_devices(kafka, source, devices(60, first=events))
        events += 60
        time.sleep(1)
    worker = start(shop, kafka, topic, worker_log, BOSS_STREAM__EPOCH="2", **SESSION)
    wait_until(lambda: charged(shop).height + misplaced(shop) == events)
    for process in (stage, worker):
        process.terminate()
        assert wait_for(process) == 0, worker_log.read_text()
    assert misplaced(shop) > 0
    retry_rejects(shop, ["wrong_partition"], lambda _: None)
    assert_agrees(shop, events)


def misplaced(shop: Workspace) -> int:
    return open_rejects(shop.ledger(), ["wrong_partition"]).height


def test_a_source_that_was_created_again_ends_rekey_and_a_new_group_reads_it_from_its_beginning(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    send_devices(kafka, source, devices(600))
    stage = start_rekey(shop, kafka, source, topic, log, **SESSION)
    wait_until(lambda: "event='keys'" in log.read_text())
    administer(kafka_node, lambda admin: admin.delete_topics([source]))  # and with it what was committed of it
    wait_until(lambda: source not in administer(kafka_node, lambda admin: admin.list_topics()))
    send_devices(kafka, source, devices(3_000, first=600))  # longer than the old one was
    assert wait_for(stage) == 1
    why = ("it was deleted and created again", "Its messages were removed before they were sent on, or it was emptied")
    assert any(f"{reason}. Set a new rekey.group" in log.read_text() for reason in why), "whichever is noticed first"
    stage = start_rekey(shop, kafka, source, topic, log, BOSS_REKEY__GROUP=f"again-{source}", **SESSION)
    wait_until(lambda: {number for _, _, number in events_in(asyncio.run(read_topic(kafka, topic)))} == {*range(3_600)})
    stage.terminate()
    assert wait_for(stage) == 0


def test_offsets_of_another_life_of_the_source_are_not_gone_on_from(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    send_devices(kafka, source, devices(600))
    stale = {TopicPartition(source, number): OffsetAndMetadata(1, "77") for number in range(SOURCE_PARTITIONS)}
    asyncio.run(commit(kafka, f"rekey-{source}", stale))
    assert wait_for(start_rekey(shop, kafka, source, topic, log, **SESSION)) == 1
    assert "it was deleted and created again. Set a new rekey.group" in log.read_text()
    assert asyncio.run(read_topic(kafka, topic)) == []


async def commit(kafka: str, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
    finally:
        await consumer.stop()


def test_messages_that_were_removed_before_they_were_sent_on_are_noticed(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    send_devices(kafka, source, devices(600))
    stage = start_rekey(shop, kafka, source, topic, log, **SESSION)
    wait_until(lambda: "event='keys'" in log.read_text())
    stage.terminate()
    assert wait_for(stage) == 0
    send_devices(kafka, source, devices(600, first=600))
    everything = {TopicPartition(source, number): RecordsToDelete(-1) for number in range(SOURCE_PARTITIONS)}
    administer(kafka_node, lambda admin: admin.delete_records(everything))
    assert wait_for(start_rekey(shop, kafka, source, topic, log, **SESSION)) == 1
    assert "Its messages were removed before they were sent on" in log.read_text()


def test_a_message_that_the_usage_topic_does_not_take_stops_rekey_and_is_named(
    kafka_node: KafkaNode, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log, kafka = f"{topic}-devices", tmp_path / "rekey.log", kafka_node.bootstrap
    small = NewTopic(topic, 4, 1, topic_configs={"max.message.bytes": "20000"})
    administer(kafka_node, lambda admin: admin.create_topics([small]))
    long = b"[%s]" % b",".join(meeting(number) for number in range(200))
    send_devices(kafka, source, Sent([*devices(3_000).messages, (b"device", long, [])]))
    assert wait_for(start_rekey(shop, kafka, source, topic, log, **SESSION)) == 1
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("boss: ")]
    assert f"has {len(long):,} bytes, and topic '{topic}' takes no such message. Raise its max.message.bytes" in line
    larger = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "1000000"})
    administer(kafka_node, lambda admin: admin.alter_configs([larger]))
    stage = start_rekey(shop, kafka, source, topic, log, **SESSION)
    good = range(3_000)
    wait_until(lambda: {number for _, _, number in events_in(asyncio.run(read_topic(kafka, topic)))} == {*good})
    stage.terminate()
    assert wait_for(stage) == 0
