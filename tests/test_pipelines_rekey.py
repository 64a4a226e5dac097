"""`boss rekey` as processes: a topic of devices reaches the accounts' own partitions, whatever is done on the way."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipelines.broker import embedded_broker, free_port
from pipelines.partitions import partitions_of
from pipelines.workspace import Workspace
from tests.rekey_killed import POINTS
from tests.rekey_world import (
    ACCOUNTS,
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
from tests.stream_watch import PARTITIONS, get
from tests.test_pipelines_worker import meeting, start


def assert_in_order(source: Sequence[Any], sent_on: Sequence[Any], events: int) -> None:
    """Each event came on, by its account's partition, and those of an account and a source partition first in their order."""
    came_by = {number: (partition, place) for place, (partition, _, number) in enumerate(events_in(source))}
    arrived: dict[int, tuple[int, str]] = {}
    for partition, subject, number in events_in(sent_on):
        arrived.setdefault(number, (partition, subject))
    assert sorted(arrived) == list(range(events))
    last: dict[tuple[str, int], int] = {}
    for number, (partition, subject) in arrived.items():
        account = ACCOUNTS[subject]
        assert partition == partitions_of([account], PARTITIONS)[0]
        source_partition, place = came_by[number]
        assert last.get((account, source_partition), -1) < place, "events of one account changed places"
        last[account, source_partition] = place


def test_each_event_is_charged_once_and_bad_ones_are_rejected_though_rekey_is_killed_at_every_point(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path, worker_log: Path
) -> None:
    source, log, random = f"{topic}-devices", tmp_path / "rekey.log", Random(5)
    sent = [devices(6_000), devices(6_000, first=6_000)]
    send_devices(kafka, source, sent[0])
    worker = start(shop, kafka, topic, worker_log, BOSS_STREAM__FLUSH_EVENTS="2000")
    for point in POINTS:
        passes = str(random.randint(1, 4))
        killed = start_rekey(shop, kafka, source, topic, log, module="tests.rekey_killed", REKEY_POINT=f"{point}:{passes}")
        assert wait_for(killed) == -signal.SIGKILL, log.read_text()
    members = [start_rekey(shop, kafka, source, topic, log, module="tests.rekey_killed") for _ in range(2)]
    wait_until(lambda: log.read_text().count("event='reading'") >= len(POINTS) + 2)
    send_devices(kafka, source, sent[1])
    time.sleep(random.uniform(0, 0.5))
    members[0].kill()  # at some moment, with messages in hand
    bad = sorted({*sent[0].bad, *sent[1].bad})
    wait_until(lambda: charged(shop).height == 12_000 and rejected(shop) == bad)
    for process in (members[1], worker):
        process.terminate()
        assert wait_for(process) == 0, log.read_text()
    assert_charged_once(shop, 12_000)
    assert "Traceback" not in log.read_text()


def test_what_nobody_disturbs_is_sent_once_and_in_order_and_told_in_numbers(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log, port = f"{topic}-devices", tmp_path / "rekey.log", free_port()
    sent = devices(3_000)
    send_devices(kafka, source, sent)
    stage = start_rekey(shop, kafka, source, topic, log, BOSS_REKEY__PORT=str(port))
    wait_until(lambda: f"boss_rekey_messages_total {len(sent.messages)}.0" in get(port, "metrics")[1])
    metrics = get(port, "metrics")[1]
    assert get(port, "healthz") == (200, '{"status": "ok"}')
    assert get(port, "readyz")[0] == 200
    assert get(port, "elsewhere")[0] == 404
    assert f"boss_rekey_events_total {sent.events + len(sent.bad)}.0" in metrics
    assert set(re.findall(r"^boss_rekey_lag_messages{.*} (.*)$", metrics, re.MULTILINE)) == {"0.0"}
    found = asyncio.run(read_topic(kafka, topic))
    assert sum(record.value is None for record in found) == sum(value is None for _, value, _ in sent.messages) > 0
    assert_in_order(asyncio.run(read_topic(kafka, source)), found, 3_000)
    assert len(events_in(found)) == 3_000
    stage.send_signal(signal.SIGTERM)
    assert wait_for(stage) == 0, log.read_text()
    split = int(float(re.findall(r"^boss_rekey_split_total (.*)$", metrics, re.MULTILINE)[0]))
    assert split > 0
    assert f"split={split}" in log.read_text()
    stage = start_rekey(shop, kafka, source, topic, log)  # it continues where the first one ended
    wait_until(lambda: log.read_text().count("event='reading'") == 2)
    time.sleep(1)
    stage.terminate()
    assert wait_for(stage) == 0, log.read_text()
    assert len(asyncio.run(read_topic(kafka, topic))) == len(found)


def test_a_frozen_process_is_replaced_and_does_no_harm_when_it_goes_on(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log = f"{topic}-devices", tmp_path / "rekey.log"
    send_devices(kafka, source, devices(1_200))
    frozen = start_rekey(shop, kafka, source, topic, log, module="tests.rekey_killed")
    wait_until(lambda: "event='keys'" in log.read_text())
    frozen.send_signal(signal.SIGSTOP)
    other = start_rekey(shop, kafka, source, topic, log, module="tests.rekey_killed")
    send_devices(kafka, source, devices(1_200, first=1_200))
    wait_until(lambda: numbers_in(kafka, topic) == {*range(2_400)})  # its session of one second is over
    frozen.send_signal(signal.SIGCONT)
    send_devices(kafka, source, devices(1_200, first=2_400))
    wait_until(lambda: numbers_in(kafka, topic) == {*range(3_600)})
    for stage in (frozen, other):
        stage.terminate()
    assert [wait_for(stage) for stage in (frozen, other)] == [0, 0], log.read_text()
    assert_in_order(asyncio.run(read_topic(kafka, source)), asyncio.run(read_topic(kafka, topic)), 3_600)
    assert "Traceback" not in log.read_text()


def numbers_in(kafka: str, topic: str) -> set[int]:
    return {number for _, _, number in events_in(asyncio.run(read_topic(kafka, topic)))}


def test_rekey_waits_for_its_broker_and_stops_without_it(topic: str, shop: Workspace, tmp_path: Path) -> None:
    source, log, port = f"{topic}-devices", tmp_path / "rekey.log", free_port()
    stage = start_rekey(shop, f"127.0.0.1:{port}", source, topic, log)
    wait_until(lambda: "Waiting for Kafka" in log.read_text())
    time.sleep(2)
    assert stage.poll() is None
    assert len(log.read_text().splitlines()) == 1, log.read_text()
    with embedded_broker(tmp_path / "broker.log", port) as kafka:
        send_devices(kafka, source, devices(600))
        wait_until(lambda: stage.poll() is not None or "event='reading'" in log.read_text())
        if stage.poll() is not None:  # the broker was there before the topic
            assert f"There is no topic '{source}'" in log.read_text()
            stage = start_rekey(shop, kafka, source, topic, log)
        wait_until(lambda: "event='keys'" in log.read_text())
    before = len(log.read_text().splitlines())
    time.sleep(5)  # the broker is away
    assert stage.poll() is None
    assert len(log.read_text().splitlines()) < before + 12, "a broker that is away may not flood the log"
    stage.terminate()
    assert wait_for(stage) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_roster_published_meanwhile_is_taken_with_the_next_messages(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path
) -> None:
    source, log = f"{topic}-devices", tmp_path / "rekey.log"
    send_messages_of(kafka, source, "conf-lantian", "conf-renamed")
    stage = start_rekey(shop, kafka, source, topic, log)
    wait_until(lambda: "event='keys'" in log.read_text())
    for file in shop.roster_folder.iterdir():
        file.write_text(file.read_text().replace("conf-lantian", "conf-renamed"))
    shop.publish()
    send_messages_of(kafka, source, "conf-lantian", "conf-renamed")
    wait_until(lambda: log.read_text().count("event='keys'") == 2)
    stage.terminate()
    assert wait_for(stage) == 0, log.read_text()
    keys = [(record.key, record.value) for record in asyncio.run(read_topic(kafka, topic))]
    own, other = meeting(0, subject="conf-lantian"), meeting(1, subject="conf-renamed")
    assert sorted(keys) == sorted([(b"lantian", own), (b"device", other), (b"device", own), (b"lantian", other)])


def send_messages_of(kafka: str, topic: str, *subjects: str) -> None:
    values = [meeting(number, subject=subject) for number, subject in enumerate(subjects)]
    send_devices(kafka, topic, Sent([(b"device", value, []) for value in values]))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"BOSS_REKEY__TOPIC": ""}, "Which topic is to be re-keyed?"),
        ({"BOSS_REKEY__TOPIC": "usage"}, "rekey.topic and stream.topic are both 'usage'"),
        ({"BOSS_REKEY__TOPIC": "nowhere"}, "There is no topic 'nowhere' in Kafka at"),
    ],
)
def test_a_topic_that_cannot_be_rekeyed_is_refused(
    settings: dict[str, str], sentence: str, kafka: str, shop: Workspace, tmp_path: Path
) -> None:
    log = tmp_path / "rekey.log"
    assert wait_for(start_rekey(shop, kafka, "x", "usage", log, **settings)) == 1
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("boss: ")]
    assert sentence in line


def test_a_taken_port_is_a_clear_refusal(kafka: str, topic: str, shop: Workspace, tmp_path: Path) -> None:
    log, taken = tmp_path / "rekey.log", kafka.rpartition(":")[2]
    assert wait_for(start_rekey(shop, kafka, "x", topic, log, BOSS_REKEY__PORT=taken)) == 1
    assert "Give it another rekey.port" in log.read_text()
