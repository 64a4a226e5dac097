"""An event in binary mode is what the same event in structured mode would be, and what it is not is refused by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st

from pipelines.binary_mode import structured_values
from pipelines.decode import Decoded, decode_batches
from pipelines.rejected import retry_rejects
from pipelines.topic import ensure_topic
from pipelines.workspace import Workspace
from schemas.usage import Header, RawBatch
from tests.stream_watch import wait_for, wait_until
from tests.test_pipelines_decode import BOOK, EVENT, RECEIVED_MS
from tests.test_pipelines_worker import start

DATA = json.dumps(EVENT["data"]).encode()


def headers(**changes: str | bytes | None) -> list[Header]:
    """Headers of a good event, with others; None leaves one out."""
    named = {f"ce_{name}": text for name, text in EVENT.items() if name != "data"} | {"content-type": "application/json"}
    named |= {name if name == "content-type" else f"ce_{name}": text for name, text in changes.items()}
    return [(name, text.encode() if isinstance(text, str) else text) for name, text in named.items() if text is not None]


def decode(*messages: tuple[list[Header], bytes | None]) -> Decoded:
    values, sent = [value for _, value in messages], [own for own, _ in messages]
    return decode_batches([RawBatch("kafka:usage@1", 3, range(len(values)), values, [RECEIVED_MS] * len(values), sent)], BOOK)


def test_headers_and_value_are_the_event() -> None:
    (binary,) = decode((headers(retracts="e0", traceparent="x"), DATA)).events.drop("message").rows(named=True)
    (structured,) = decode(([], json.dumps({**EVENT, "retracts": "e0"}).encode())).events.drop("message").rows(named=True)
    assert binary == structured


def test_structured_events_and_tombstones_keep_their_meaning_whatever_their_headers() -> None:
    event = json.dumps(EVENT).encode()
    repeated = [("content-type", b"application/cloudevents+json; charset=UTF-8"), *headers(id="other")[:-1]]
    found = decode((repeated, event), ([("traceparent", b"00-1")], event), ([("traceparent", b"00-1")], None), ([], event))
    assert found.events["event_id"].to_list() == ["e1"] * 3
    assert found.rejects.is_empty()


@pytest.mark.parametrize("value", [None, b""])
def test_an_event_without_a_value_has_no_data(value: bytes | None) -> None:
    found = decode((headers(type="called"), value))
    assert found.events["event_id"].to_list() == ["e1"]
    assert found.events["data.minutes"].to_list() == [None]


@pytest.mark.parametrize(
    ("changes", "value", "detail"),
    [
        ({"id": None}, DATA, "The event has no `id`."),
        ({"subject": ""}, DATA, "`subject` is empty."),
        ({"source": b"\xff"}, DATA, "`source` is a list; it must be a text."),
        ({}, b"[1]", "`data` is a list; it must be a JSON object."),
        ({}, b'{"minutes": 1', "`data` is a text; it must be a JSON object."),
        ({}, b"\xff", "`data` is a text; it must be a JSON object."),
        ({}, b'{}, "retracts": "e0", "x": {}', "`data` is a text; it must be a JSON object."),
        ({"content-type": "application/avro"}, DATA, "`data` is a text; it must be a JSON object."),
        ({"content-type": b"\xff"}, DATA, "`data` is a text; it must be a JSON object."),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_among_good_ones(changes: dict[str, Any], value: bytes, detail: str) -> None:
    found = decode((headers(id="before"), DATA), (headers(**changes), value), (headers(id="after"), DATA))
    assert found.events["event_id"].to_list() == ["before", "after"]
    (row,) = found.rejects.rows(named=True)
    assert (row["stream_offset"], row["reason"], row["detail"]) == (1, "missing_field", detail)
    again = decode_batches([RawBatch("retry:x", 0, [0], [row["message"]], [RECEIVED_MS])], BOOK)
    assert again.rejects["detail"].to_list() == [detail], "what is kept can be sent again and is judged alike"


def test_of_two_headers_with_one_name_the_first_counts_and_headers_cannot_speak_for_the_value() -> None:
    own: list[Header] = [*headers(data='{"minutes": 9}', data_base64="AAAA"), ("ce_id", b"second")]
    (row,) = decode((own, DATA)).events.rows(named=True)
    assert (row["event_id"], row["data.minutes"]) == ("e1", "1.5")


@given(
    data=st.dictionaries(
        st.text(max_size=5), st.recursive(st.text() | st.integers() | st.none() | st.decimals().map(str), st.lists)
    ),
    attributes=st.dictionaries(st.sampled_from(["id", "subject", "retracts", "color"]), st.text()),
    indent=st.sampled_from([None, 1]),
)
def test_whatever_attributes_and_data_are_the_structured_event_says_the_same(
    data: dict[str, Any], attributes: dict[str, str], indent: int | None
) -> None:
    own: list[Header] = [("ce_specversion", b"1.0"), *((f"ce_{name}", text.encode()) for name, text in attributes.items())]
    (text,) = structured_values([json.dumps(data, indent=indent).encode()], [own])
    assert text is not None
    assert json.loads(text) == {"specversion": "1.0", **attributes, "data": data}
    assert b"\n" not in text


async def send(bootstrap: str, topic: str, messages: list[tuple[list[Header], bytes]]) -> None:
    await ensure_topic(bootstrap, topic, 1)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for own, value in messages:
            await producer.send_and_wait(topic, value, key=b"lantian", headers=own)
    finally:
        await producer.stop()


def test_events_in_binary_mode_come_through_the_topic_and_their_rejects_can_be_retried(
    kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    shop = Workspace.create(tmp_path / "shop", "video-conference", "2026-10")
    shop.publish()
    sent = {"subject": "conf-lantian", "time": "2026-10-05T08:00:00Z"}
    data = b'{"minutes": 30, "region": "cn", "call_type": "video"}'
    good = [(headers(id=str(number), **sent), data) for number in range(3)]
    strange = (headers(**{**sent, "id": "strange", "subject": "conf-new"}), data)
    asyncio.run(send(kafka, topic, [*good, strange]))
    worker = start(shop, kafka, topic, worker_log)
    try:
        wait_until(lambda: shop.ledger().rejects.scan().collect().height == 1)
        worker.terminate()
        assert wait_for(worker) == 0
    finally:
        worker.kill()
    posted = shop.ledger().postings.scan().select(pl.col("event_id").unique().sort()).collect()
    assert posted["event_id"].to_list() == ["0", "1", "2"]
    roster = shop.roster_folder
    for file in roster.iterdir():
        file.write_text(file.read_text().replace("conf-lantian", "conf-new"))
    shop.publish()
    done = retry_rejects(shop, [], lambda _: None)
    assert (done.events, dict(done.rejects)) == (1, {})
