"""Sends messages to a topic, many at a time, and returns when the brokers have them all.

The partition of a message is Kafka's own choice for its key (murmur2, as the Java client), so messages of one account
stay in order and meet the counters of that account in one place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from pipelines.login import OPEN, Login
from pipelines.topic import ensure_topic
from schemas.errors import Refused as NotDone

BATCH_BYTES = 256 << 10
BATCHES_IN_FLIGHT = 32
MAX_MESSAGE_BYTES = 1_000_000
"""Key and value together. Kafka's own default limit is 1,048,588 bytes for a batch with its headers."""

PATIENCE_SECONDS = 30.0
"""How long to wait for a broker that does not answer."""

Message = tuple[bytes | None, bytes | None]
"""Key and value. Without a key the messages go round the partitions; without a value it is a tombstone, which is no event."""


@dataclass(frozen=True)
class Refused:
    """A message that was not sent."""

    index: int
    """Its number, from 0, in the order given."""
    why: str


@dataclass(frozen=True)
class Delivery:
    """What became of the messages given to send_messages; delivered means acknowledged by every in-sync replica."""

    delivered: int
    last_offsets: Mapping[int, int]
    """Partition -> offset of the last message delivered to it."""
    refused: Sequence[Refused]


async def send_messages(
    bootstrap: str,
    topic: str,
    messages: Iterable[Message],
    *,
    partitions: int = 4,
    login: Login = OPEN,
    progress: Callable[[int], None] | None = None,
    compression: str | None = None,
) -> Delivery:
    """Send messages, in order per key; creates the topic with `partitions` when it is missing.

    `progress` is called with the number of messages delivered so far. A retry after a lost answer may send a batch twice;
    the ledger charges an event once. `compression`: gzip, snappy, lz4, zstd, as the brokers know it.

    Raises:
        BadWorkspace: The brokers refuse the login.
        Refused (schemas.errors): No broker answers, or Kafka did not take a batch; says how many were delivered before.
    """
    partitions = await ensure_topic(bootstrap, topic, partitions, login=login, patience_seconds=PATIENCE_SECONDS)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=False,  # the embedded broker knows no producer ids
        compression_type=compression,
        max_batch_size=BATCH_BYTES,
        max_request_size=8 * BATCH_BYTES + MAX_MESSAGE_BYTES,
        **login.options(),
    )
    sending = _Sending(producer, topic, partitions, progress or (lambda delivered: None))
    try:
        await producer.start()
        await sending.send_all(messages)
    except KafkaError as error:
        raise NotDone(
            f"Kafka did not take a batch for topic '{topic}' ({error!r}). {sending.delivered} messages were sent."
        ) from None
    finally:
        await producer.stop()
    return Delivery(sending.delivered, sending.last_offsets, sending.refused)


class _Sending:
    """Batches under construction, one per partition, and batches on their way."""

    def __init__(self, producer: Any, topic: str, partitions: int, progress: Callable[[int], None]) -> None:
        self.delivered = 0
        self.last_offsets: dict[int, int] = {}
        self.refused: list[Refused] = []
        self._producer = producer
        self._topic = topic
        self._progress = progress
        self._partition_of = lru_cache(maxsize=100_000)(lambda key: (murmur2(key) & 0x7FFFFFFF) % partitions)
        self._open: list[Any] = [None] * partitions
        self._in_flight: deque[tuple[asyncio.Future[Any], int]] = deque()

    async def send_all(self, messages: Iterable[Message]) -> None:
        self._open = [self._producer.create_batch() for _ in self._open]
        for number, (key, value) in enumerate(messages):
            size = len(value or b"") + len(key or b"")
            if size > MAX_MESSAGE_BYTES:
                self.refused.append(Refused(number, f"it has {size:,} bytes, and a message may have {MAX_MESSAGE_BYTES:,}"))
                continue
            partition = number % len(self._open) if key is None else self._partition_of(key)
            if self._open[partition].append(timestamp=None, key=key, value=value) is None:
                await self._dispatch(partition)
                self._open[partition].append(timestamp=None, key=key, value=value)
        for partition in range(len(self._open)):
            await self._dispatch(partition)
        await self._settle(0)

    async def _dispatch(self, partition: int) -> None:
        """Hand a batch over and start the next one; waits while too many are on their way."""
        batch, self._open[partition] = self._open[partition], self._producer.create_batch()
        count = batch.record_count()
        if count:
            future = await self._producer.send_batch(batch, self._topic, partition=partition)
            self._in_flight.append((future, count))
            await self._settle(BATCHES_IN_FLIGHT)

    async def _settle(self, allowed: int) -> None:
        while len(self._in_flight) > allowed:
            future, count = self._in_flight.popleft()
            first = await future
            self.delivered += count
            self.last_offsets[first.partition] = first.offset + count - 1
            self._progress(self.delivered)
