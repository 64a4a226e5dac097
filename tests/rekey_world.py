"""What the tests of `boss rekey` share: its process, and a topic of devices in which every kind of message stands."""

from __future__ import annotations

import asyncio
import io
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipelines.binary_mode import structured_values
from pipelines.message_events import read_messages
from pipelines.topic import ensure_topic, find_topic
from pipelines.workspace import Workspace
from schemas.usage import Header
from tests import stream_watch
from tests.test_pipelines_worker import meeting

ACCOUNTS = {
    "conf-qingshan": "qingshan",
    "conf-lantian": "lantian",
    "conf-huaxing-bj": "huaxing",
    "conf-huaxing-sh": "huaxing",
    "conf-pine": "pine",
}
SUBJECTS = list(ACCOUNTS)
SOURCE_PARTITIONS = 3
PATIENCE_SECONDS = 150
"""Several processes start one after the other, which takes its time on a busy machine."""

BAD = {  # text of an event -> the reason of its reject
    "unreadable": b'{"specversion":"1.0","cut',
    "unknown_subject": meeting(-7, subject="nobody"),
    "time_without_zone": meeting(-1, time="2026-10-05T02:00:00"),
    "unknown_type": meeting(-6, type="weather.changed"),
    "bad_quantity": meeting(-3, data={"minutes": "NaN", "region": "cn", "call_type": "video"}),
}


@dataclass
class Sent:
    """What stands in a topic of devices."""

    messages: list[tuple[bytes | None, bytes | None, list[Header]]] = field(default_factory=list)
    """Key (of a device, or none), value, headers."""
    events: int = 0
    bad: list[tuple[str, bytes]] = field(default_factory=list)
    """(reason, text) of every event that must be a reject."""


def devices(count: int, first: int = 0) -> Sent:
    """About `count` events from `first` on, in messages of every format; two of three messages mix accounts."""
    sent, number, turn = Sent(), first, 0
    while number < first + count:
        turn += 1
        many = [meeting(n, subject=SUBJECTS[n % 5 if turn % 3 else turn % 5]) for n in range(number, number + 12)]
        key = None if turn % 4 == 0 else f"device-{turn % 17}".encode()
        form = turn % 6
        if form == 0:
            sent.messages += [(key, text, []) for text in many]
        elif form == 1:
            sent.messages.append((key, b"[%s]" % b", ".join(many), [("content-type", b"application/cloudevents-batch+json")]))
        elif form == 2:
            reason, text = [*BAD.items()][turn // 6 % len(BAD)]
            sent.messages.append((key, b"\n".join([*many[:5], text, *many[5:]]), []))
            sent.bad.append((reason, text))
        elif form == 3:
            sent.messages.append((key, _arrow(many), []))
        elif form == 4:
            sent.messages += [(key, *_binary(text)) for text in many]
        else:
            sent.messages += [(key, _pretty(many), []), (b"tomb", None, []), (key, b"[]", [])]
        number += 12
    sent.events = number - first
    return sent


def _arrow(texts: Sequence[bytes]) -> bytes:
    rows = [event | event.pop("data") for event in map(orjson.loads, texts)]
    out = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(out)
    return out.getvalue()


def _binary(text: bytes) -> tuple[bytes, list[Header]]:
    event = orjson.loads(text)
    data = orjson.dumps(event.pop("data"))
    return data, [*((f"ce_{name}", value.encode()) for name, value in event.items()), ("content-type", b"application/json")]


def _pretty(texts: Sequence[bytes]) -> bytes:
    return orjson.dumps([orjson.loads(text) for text in texts], option=orjson.OPT_INDENT_2)


def send_devices(kafka: str, topic: str, sent: Sent) -> None:
    """Put it into a topic, in order per key."""
    asyncio.run(_send(kafka, topic, sent))


async def _send(kafka: str, topic: str, sent: Sent) -> None:
    await ensure_topic(kafka, topic, SOURCE_PARTITIONS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        going = [await producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in sent.messages]
        await asyncio.gather(*going)
    finally:
        await producer.stop()


def start_rekey(
    workspace: Workspace, kafka: str, source: str, target: str, log: Path, *, module: str = "cli", **more: str
) -> subprocess.Popen[bytes]:
    """A `boss rekey`; `more` are variables of its environment. As the module `tests.rekey_killed` it takes few at a time."""
    environment = {
        "BOSS_KAFKA": kafka,
        "BOSS_STREAM__TOPIC": target,
        "BOSS_STREAM__SESSION_SECONDS": "1",
        "BOSS_REKEY__TOPIC": source,
        "BOSS_REKEY__GROUP": f"rekey-{source}",
        "BOSS_REKEY__PORT": "0",
        **more,
    }
    return stream_watch.start_module(module, ["rekey", "--workspace", str(workspace.root)], log, environment)


async def read_topic(kafka: str, topic: str) -> list[Any]:
    """Everything that stands in a topic, in order by partition; the embedded broker does not tell where a topic ends."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    found: list[Any] = []
    try:
        await consumer._client.force_metadata_update()
        count = await find_topic(kafka, topic)
        consumer.assign([TopicPartition(topic, partition) for partition in range(count)])
        while polled := await consumer.getmany(timeout_ms=1_500):
            found += [record for records in polled.values() for record in records]
    finally:
        await consumer.stop()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def events_in(records: Sequence[Any]) -> list[tuple[int, str, int]]:
    """(partition, subject, number) of every good event in these messages, in order."""
    values = structured_values([record.value for record in records], [record.headers for record in records])
    held = [(record.partition, value) for record, value in zip(records, values, strict=True) if value is not None]
    read = read_messages([value for _, value in held], [], 1 << 20)
    return [
        (held[came_in][0], subject, int(name.removeprefix("meeting-")))
        for came_in, subject, name in read.select("came_in", "subject", "id").iter_rows()
        if name is not None and not name.startswith("meeting--")
    ]


def charged(workspace: Workspace) -> pl.DataFrame:
    """`event_id`, `rows`, one row per event with revenue in the ledger."""
    rows = workspace.ledger().postings.scan().filter(pl.col("role") == "revenue")
    return rows.group_by("event_id").agg(rows=pl.len()).collect()


def assert_charged_once(workspace: Workspace, events: int) -> None:
    """So many events, each by every price and for every party once."""
    assert charged(workspace).height == events, "lost"
    postings = workspace.ledger().postings.scan().collect()
    assert postings.select("event_source", "event_id", "price_id", "role", "partner_id").is_unique().all()


def rejected(workspace: Workspace) -> list[tuple[str, bytes]]:
    """(reason, text) of every reject, each once: what is sent twice is rejected twice."""
    frame = workspace.ledger().rejects.scan().select("reason", "message").unique().collect()
    return sorted(frame.iter_rows())


def wait_until(true: Callable[[], bool]) -> None:
    stream_watch.wait_until(true, PATIENCE_SECONDS)


def wait_for(process: subprocess.Popen[bytes]) -> int:
    return stream_watch.wait_for(process, PATIENCE_SECONDS)
