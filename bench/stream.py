"""How fast the stream is: the whole worker against a bare consumer of the same topic, and how soon usage is in the ledger.

    python bench/stream.py single             one event a message, 600,000 of them waiting; memory of the worker
    python bench/stream.py arrays             JSON arrays of 1000, 2,000,000 events, one worker and two
    python bench/stream.py latency            producer to ledger at 5,000, 20,000 and 60,000 events/s

Each takes less than three minutes; `--events`, `--rates` and `--seconds` make it shorter or longer. Throughput: the topic is
filled first; then aiokafka's getmany reads it and does nothing, and then `boss worker` decodes, rates, de-duplicates and
commits it. A worker's time counts from the first commit to the last, so its start is left out; seconds of processor, which a
busy machine disturbs least, are those of the process in the same time. Two workers share the partitions from the start.
Latency: a producer sends at a fixed rate while the worker runs; an event counts as visible when the ledger's position, read
in another thread every few milliseconds, has passed it. Everything shares the machine: broker, producer and workers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from machine import describe_machine, print_table
from usage_world import make_workspace, write_messages

from ledger.table import source_id
from pipelines.dev import dev_broker, worker_process
from pipelines.partitions import partitions_of
from pipelines.producer import send_messages
from pipelines.topic import ensure_topic
from pipelines.workspace import Workspace

ARRAY = 1_000
MADE_AT_ONCE = 100_000
TICK_SECONDS = 0.02
PATIENCE_SECONDS = 300
LOOK_SECONDS = 0.05
"""How often the ledger is looked at for how far workers are; to look takes processor away from them."""
JOIN_SECONDS = 8
"""By then two workers have shared the partitions."""
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["single", "arrays", "latency"])
    parser.add_argument("--events", type=int)
    parser.add_argument("--rates", default="5000,20000,60000", help="events/s, by comma")
    parser.add_argument("--seconds", type=float, default=15)
    chosen = parser.parse_args()
    print(describe_machine("aiokafka", "faust-streaming", "polars", "deltalake"), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        if chosen.part == "latency":
            heads = ("events/s sent", "events/s wanted", "p50, ms", "p90, ms", "p99, ms", "most, ms")
            rates = chosen.rates.split(",")
            print_table(heads, [measure_latency(Path(name) / rate, int(rate), chosen.seconds) for rate in rates])
            return
        size, events = (1, 600_000) if chosen.part == "single" else (ARRAY, 2_000_000)
        workers = (1,) if chosen.part == "single" else (1, 2)
        heads = (
            *("events a message", "workers", "getmany, events/s", "workers, events/s", "ratio"),
            *("getmany, processor s a million", "workers, processor s a million", "most memory of a worker, MB"),
        )
        print_table(
            heads, [measure_throughput(Path(name) / str(many), chosen.events or events, size, many) for many in workers]
        )


def measure_throughput(folder: Path, events: int, size: int, workers: int) -> tuple[object, ...]:
    workspace = make_workspace(folder)
    with dev_broker(workspace) as running, ExitStack() as stack:
        kafka, topic = running.settings.kafka, running.settings.stream.topic
        started = [folder / f"worker-{number}.log" for number in range(workers)]
        if workers > 1:  # they must share the partitions before there is anything to read
            asyncio.run(ensure_topic(kafka, topic, running.settings.stream.partitions))
            processes = [stack.enter_context(worker_process(running, log)).pid for log in started]
            time.sleep(JOIN_SECONDS)
        delivery = asyncio.run(send_messages(kafka, topic, _grouped(events, size)))
        reached = dict(delivery.last_offsets)
        if workers == 1:
            bare, bare_busy = asyncio.run(_read_all(kafka, topic, delivery.delivered))
            processes = [stack.enter_context(worker_process(running, log)).pid for log in started]
        took, busy, counted = _watch(running, reached, processes)
        memory = max(_most_memory(process) for process in processes)
        if workers > 1:
            bare, bare_busy = asyncio.run(_read_all(kafka, topic, delivery.delivered))
    done = counted * size
    speeds = f"{events / bare:,.0f}", f"{done / took:,.0f}", f"{done / took * bare / events:.2f}"
    return size, workers, *speeds, f"{bare_busy / events * 1e6:.1f}", f"{busy / done * 1e6:.1f}", f"{memory / 1e6:,.0f}"


def _busy_seconds(process: int) -> float:
    """Seconds of processor that a process has used."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / TICK


def _most_memory(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def _grouped(events: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Messages of `size` events of one account each: the event itself, or a JSON array."""
    for first in range(0, events, MADE_AT_ONCE):
        keys, values = write_messages(first, min(MADE_AT_ONCE, events - first))
        if size == 1:
            yield from zip(keys, values, strict=True)
            continue
        for start in range(0, len(values), size):
            yield keys[start], b"[" + b",".join(values[start : start + size]) + b"]"


async def _read_all(kafka: str, topic: str, messages: int) -> tuple[float, float]:
    """Seconds, and seconds of processor, that getmany needs for all messages of the topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(await _partitions(consumer, topic))]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        started, busy, found = time.perf_counter(), time.process_time(), 0
        while found < messages:
            polled = await consumer.getmany(timeout_ms=1000, max_records=5_000)
            found += sum(map(len, polled.values()))
        return time.perf_counter() - started, time.process_time() - busy
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.force_metadata_update()
    return consumer._client.cluster.partitions_for_topic(topic)


def _watch(running: Workspace, reached: dict[int, int], processes: list[int]) -> tuple[float, float, int]:
    """Seconds, seconds of processor and messages between the workers' first commit and their last."""
    postings = running.ledger().postings
    sources = {source_id(running.stream_name, number): offset for number, offset in reached.items()}
    first: tuple[float, float, int] | None = None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        have = postings.positions(sources)
        done = sum(position + 1 for position in have.values() if position is not None)
        now, busy = time.perf_counter(), sum(map(_busy_seconds, processes))
        if done and first is None:
            first = now, busy, done
        if first is not None and have == sources:
            if done == first[2]:
                raise SystemExit("Everything came in one commit: give more --events.")
            return now - first[0], busy - first[1], done - first[2]
        time.sleep(LOOK_SECONDS)
    raise SystemExit(f"The worker did not get through in {PATIENCE_SECONDS} s.")


def _position(postings, running: Workspace, partition: int) -> int:
    position = postings.position(source_id(running.stream_name, partition))
    return -1 if position is None else position


@dataclass
class Sent:
    """What was sent: per batch its partition, last offset, number of events and the moment before it was sent."""

    batches: list[tuple[int, int, int, float]] = field(default_factory=list)
    seconds: float = 0.0


def measure_latency(folder: Path, rate: int, seconds: float) -> tuple[object, ...]:
    workspace = make_workspace(folder)
    with dev_broker(workspace) as running, worker_process(running, folder / "worker.log"):
        warm = asyncio.run(_send_at(running, rate, 3.0, first=0))
        _wait_for(running, warm)
        seen: list[tuple[float, dict[int, int]]] = []
        ended = threading.Event()
        watcher = threading.Thread(target=_record, args=(running, seen, ended))
        watcher.start()
        sent = asyncio.run(_send_at(running, rate, seconds, first=10**8))
        _wait_for(running, sent)
        time.sleep(0.1)
        ended.set()
        watcher.join()
    waits = pl.DataFrame(_waits(sent, seen), schema=["ms", "events"], orient="row").sort("ms")
    total = waits["events"].sum()
    passed = waits["events"].cum_sum()
    marks = [waits["ms"][passed.search_sorted(total * share)] for share in (0.5, 0.9, 0.99)]
    return f"{total / sent.seconds:,.0f}", f"{rate:,}", *(f"{mark:,.0f}" for mark in (*marks, waits["ms"].max()))


async def _send_at(running: Workspace, rate: int, seconds: float, first: int) -> Sent:
    """One batch per tick and partition, each sent at its time. Accounts come mixed, each on the partition of its key."""
    stream, sent = running.settings.stream, Sent()
    partitions = await ensure_topic(running.settings.kafka, stream.topic, stream.partitions)
    each = max(1, round(rate * TICK_SECONDS))
    ticks = int(seconds / TICK_SECONDS)
    parts = _by_tick_and_partition(first, ticks, each, partitions)
    producer = AIOKafkaProducer(bootstrap_servers=running.settings.kafka, max_batch_size=1 << 20, enable_idempotence=False)
    await producer.start()
    waiting = []
    started = time.perf_counter()
    for tick in range(ticks):
        await asyncio.sleep(max(0.0, started + tick * TICK_SECONDS - time.perf_counter()))
        for partition, messages in parts[tick].items():
            batch = producer.create_batch()
            for key, value in messages:
                batch.append(timestamp=None, key=key, value=value)
            now = time.perf_counter()
            future = await producer.send_batch(batch, stream.topic, partition=partition)
            waiting.append((partition, len(messages), now, future))
    for partition, count, moment, future in waiting:
        reply = await future
        sent.batches.append((partition, reply.offset + count - 1, count, moment))
    sent.seconds = time.perf_counter() - started
    await producer.stop()
    return sent


def _by_tick_and_partition(first: int, ticks: int, each: int, partitions: int) -> list[dict[int, list[tuple[bytes, bytes]]]]:
    """So many messages for every tick, by partition."""
    keys, values = write_messages(first, ticks * each)
    found: list[dict[int, list[tuple[bytes, bytes]]]] = [defaultdict(list) for _ in range(ticks)]
    owner = partitions_of([key.decode() for key in keys], partitions)
    order = pl.int_range(len(keys), eager=True).shuffle(seed=7).to_list()
    for place, number in enumerate(order):
        found[place // each][int(owner[number])].append((keys[number], values[number]))
    return found


def _record(running: Workspace, seen: list[tuple[float, dict[int, int]]], ended: threading.Event) -> None:
    """The ledger's positions, again and again, each with the moment at which it was known."""
    postings = running.ledger().postings
    sources = {source_id(running.stream_name, number): number for number in range(running.settings.stream.partitions)}
    while not ended.wait(0.005):
        have = postings.positions(sources)
        seen.append((time.perf_counter(), {sources[name]: -1 if at is None else at for name, at in have.items()}))


def _wait_for(running: Workspace, sent: Sent) -> None:
    postings = running.ledger().postings
    last = {partition: offset for partition, offset, _, _ in sent.batches}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(_position(postings, running, number) < offset for number, offset in last.items()):
        if time.monotonic() > deadline:
            raise SystemExit(f"The worker did not get through in {PATIENCE_SECONDS} s.")
        time.sleep(0.05)


def _waits(sent: Sent, seen: list[tuple[float, dict[int, int]]]) -> Iterator[tuple[float, int]]:
    """Milliseconds until each batch was visible, and how many events it had."""
    for partition in {batch[0] for batch in sent.batches}:
        looks = iter(seen)
        moment, have = next(looks)
        for _, offset, events, started in (batch for batch in sent.batches if batch[0] == partition):
            while have[partition] < offset:
                moment, have = next(looks)
            yield (moment - started) * 1000, events


if __name__ == "__main__":
    main()
