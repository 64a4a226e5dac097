"""Faust's Kafka transport, changed so that one Faust message is one poll of one partition.

Faust spends about 100 microseconds on every message (tasks, queue, acknowledgement). Here a message carries everything
a poll brought of a partition, so that cost is paid once per some thousand events. The ledger, not Kafka, says where
reading resumes: Kafka's committed offset is only published for lag tools.

What stock Faust does that would lose or repeat usage, and what is done here instead:

- Its offset bookkeeping commits past unacknowledged messages when offsets have gaps (`_add_gap` includes the message's own
  offset; `_new_offset` is off by one). Ours is a queue per partition in the order of delivery.
- A fetch position out of range silently becomes the earliest offset. Here it is StreamMoved.
- Messages it drops around a rebalance are only harmless if reading starts again behind them. Every delivery names the
  seek it was read after and the offset it follows, so `Deliveries` sees a stale one, or a hole, before anything is rated.
- It reads uncommitted messages of transactional producers, and a failed commit of offsets crashes it. Here neither.

And one thing of aiokafka's that only costs: it makes an object of Python's out of each record. Here they stay as they are read.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipelines.deliveries import Deliveries, Delivery
from pipelines.topic import topic_moved, unreadable
from pipelines.topic_life import Topic, TopicLife, check_life, read_life
from schemas.errors import BrokenPromise, StreamMoved
from schemas.usage import RawBatch

FETCH_WAIT_MS = 50
"""How long the broker may hold a fetch when there is nothing new; Faust's fixed 1500 would be added to every latency."""

FETCHED_BYTES = 2 << 20
"""What one answer of a broker brings, of all partitions together; a longer batch of a producer comes alone. Bounds memory: the
embedded broker knows no limit for a single partition."""

METADATA_SECONDS = 15
"""How soon new partitions, or a topic that was created again, are noticed."""

END_GRACE_SECONDS = 3.0
"""How long a topic may look shorter than our position. A new partition leader may lag behind for a moment."""

MOST_GAPS = 3
"""How often in a row messages are read again because the delivery before them is missing."""

_HEADERS = attrgetter("headers")


@dataclass(frozen=True)
class Wiring:
    """What the transport needs from the rest of the worker."""

    topic: str
    stream: str
    resume: Callable[[Sequence[int], TopicLife], Awaitable[Mapping[int, int | None]]]
    """Partitions -> the last offset the ledger has of each; anything buffered is dropped. Must be repeatable. Raises when the
    ledger's positions are of another life of the topic."""
    drain: Callable[[], Awaitable[bool]]
    """Commit what is buffered now; true when it is in the ledger, false when the worker has failed."""
    fail: Callable[[BaseException], Awaitable[None]]
    """Stop the worker with this reason."""


class PlainRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of a fetch as the compiled reader makes them: the same fields for half the time."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:
        return record


def read_plain_records() -> None:
    """From here on all consumers of this process hand out plain records; aiokafka has no setting for it."""
    fetcher.PartitionRecords = PlainRecords


class FetchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that polls. Seeks and polls both run here, so a poll belongs to exactly one seek."""

    logger = driver.logger

    def __post_init__(self) -> None:
        super().__post_init__()
        self._generation = 0
        self._last: dict[TP, int] = {}  # last offset returned, or the position sought to - 1
        self._short_since: dict[TP, float] = {}
        self._life: TopicLife | None = None
        self._looked = 0.0

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no settings for these; they are read when the consumer starts, which is later.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetch_max_bytes = FETCHED_BYTES
        consumer._auto_offset_reset = "none"
        consumer._isolation_level = "read_committed"
        return consumer

    async def read_life(self) -> TopicLife:
        """The life of the topic that is read now. Waits while no broker knows it: it was created a moment ago."""
        while True:
            try:
                life = await read_life(self._ensure_consumer()._client, self.consumer.wiring.topic)
            except KafkaError as error:
                if not error.retriable:
                    raise
                life = None
            if life is not None:
                self._life, self._looked = life, time.monotonic()
                return life
            await asyncio.sleep(0.1)

    async def _check_life(self, consumer: Any) -> None:
        """StreamMoved when the topic has more partitions now, or was created again, though it is longer than our position."""
        if self._life is None or time.monotonic() - self._looked < METADATA_SECONDS:
            return
        self._looked = time.monotonic()
        wiring = self.consumer.wiring
        try:
            life = await read_life(consumer._client, wiring.topic)
            if life is not None:
                check_life(Topic(wiring.topic, wiring.stream, self._life), life)
        except KafkaError as error:
            self.log.info("The topic could not be looked at (%r); later.", error)
        except StreamMoved as moved:
            await self._fail(moved)

    async def seek_to(self, starts: Mapping[TP, int], generation: int) -> None:
        """Read on from these offsets; later polls carry this generation. Raises IllegalStateError if no longer assigned."""
        consumer = self._ensure_consumer()
        for tp, offset in starts.items():
            consumer.seek(TopicPartition(tp.topic, tp.partition), offset)
        self._generation = generation
        self._last = {tp: offset - 1 for tp, offset in starts.items()}
        self._short_since.clear()

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> dict[TP, list[tuple[Any, Delivery]]]:
        await self._check_life(consumer)
        try:
            polled = await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)
        except NoOffsetForPartitionError:  # from before our first seek
            return {}
        except OffsetOutOfRangeError as error:
            await self._check_out_of_range(error)
            return {}
        except IllegalStateError:  # part of a rebalance, for Faust to handle
            raise
        except KafkaError as error:
            await self._fail(unreadable(self.consumer.wiring.topic, error))
            return {}
        # No await from here on: the records belong to the seek that is in force now (aiokafka drops those of earlier ones).
        found = {}
        for key, records in polled.items():
            tp = TP(key.topic, key.partition)
            if tp in self._last:
                found[tp] = [(records[-1], self._deliver(tp, records))]
        await self._check_ends(consumer)
        return found

    def _deliver(self, tp: TP, records: list[Any]) -> Delivery:
        first, last = records[0].offset, records[-1].offset
        whole = last - first + 1 == len(records)  # no gaps from transactions or compaction
        batch = RawBatch(
            self.consumer.wiring.stream,
            tp.partition,
            range(first, last + 1) if whole else [record.offset for record in records],
            [record.value for record in records],
            [record.timestamp for record in records],
            [record.headers for record in records] if any(map(_HEADERS, records)) else None,
        )
        follows, self._last[tp] = self._last[tp], last
        return Delivery(batch, self._generation, follows)

    async def _check_out_of_range(self, error: OffsetOutOfRangeError) -> None:
        """Only an offset we sought counts; aiokafka may have tried Kafka's own committed offset before that."""
        for key, offset in error.args[0].items():
            last = self._last.get(TP(key.topic, key.partition))
            if last is not None and offset >= last + 1:
                await self._fail(self._moved(key.partition, last, f"the topic has no offset {offset}"))

    async def _check_ends(self, consumer: Any) -> None:
        """StreamMoved when a partition ends before our position.

        Apache Kafka answers such a fetch with 'out of range', the embedded broker with silence. The end of a partition is
        taken from the fetch responses: the embedded broker's ListOffsets(latest) is too low when the last batch holds
        more than one record, and would raise false alarms.
        """
        for tp, last in self._last.items():
            key = TopicPartition(tp.topic, tp.partition)
            end = consumer.highwater(key) if key in consumer.assignment() else None
            if end is None or end > last:
                self._short_since.pop(tp, None)
            elif time.monotonic() - self._short_since.setdefault(tp, time.monotonic()) > END_GRACE_SECONDS:
                await self._fail(self._moved(tp.partition, last, f"the partition ends before offset {end}"))

    def _moved(self, partition: int, last: int, why: str) -> StreamMoved:
        return topic_moved(self.consumer.wiring.topic, self.consumer.wiring.stream, partition, last, why)

    async def _fail(self, reason: BaseException) -> None:
        asyncio.run_coroutine_threadsafe(self.consumer.wiring.fail(reason), self.consumer.loop)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Publish positions for lag tools. Failure is no harm, the ledger has them; an empty commit would be an error."""
        consumer = self._ensure_consumer()
        mine = {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        mine = {tp: offset for tp, offset in mine.items() if tp in consumer.assignment()}
        if not mine:
            return False
        try:
            await consumer.commit(mine)
        except (KafkaError, IllegalStateError) as error:
            self.log.info("Kafka did not take the committed offsets (%r); the ledger has them.", error)
            return False
        return True


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Delivers polls, acknowledges them in order and resumes where the ledger ends."""

    logger = driver.logger

    def __init__(self, transport: Transport, *args: Any, **kwargs: Any) -> None:
        self.wiring = transport.wiring
        self.deliveries = Deliveries()
        self._delivered: dict[TP, deque[tuple[int, int]]] = defaultdict(deque)  # (last offset, messages), in order
        self._seeking = asyncio.Lock()
        self._gaps = 0  # since the last delivery that was admitted
        super().__init__(transport, *args, **kwargs)

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: tuple[Any, Delivery]) -> ConsumerMessage:
        """A Faust message whose offset is the last one of its delivery."""
        newest, delivery = record
        last = delivery.batch.offsets[-1]
        self._delivered[tp].append((last, len(delivery.batch)))
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last,
            newest.timestamp / 1000.0,
            newest.timestamp_type,
            (),
            None,
            delivery,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps need no bookkeeping: what is acknowledged is a delivery, not an offset."""

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to publish: behind the last of the deliveries acknowledged without a gap, in order of delivery."""
        queue, acked, reached = self._delivered[tp], self._acked_index[tp], None
        while queue and queue[0][0] in acked:
            reached = queue.popleft()[0]
            acked.discard(reached)
        self._acked[tp] = [offset for offset in self._acked[tp] if offset in acked]
        return None if reached is None else reached + 1

    async def admit(self, message: Any, delivery: Delivery) -> bool:
        """Whether it is the next of its partition. If not it is forgotten: it is stale, or read again with what is missing.

        Faust clears its queue when a rebalance is over. When two follow each other, that is after the second has sought, and
        what was read since then is gone.

        Raises:
            BrokenPromise: The delivery before this one is missing, and reading again does not bring it.
        """
        try:
            admitted = self.deliveries.admit(delivery)
        except BrokenPromise:
            self._gaps += 1
            if self._gaps > MOST_GAPS:
                raise
            self.log.info("Messages were dropped by a rebalance before they were rated; reading them again.")
            with suppress(IllegalStateError):  # the next rebalance has begun, and will seek
                await self.perform_seek()
            admitted = False
        if admitted:
            self._gaps = 0
        else:
            self.forget(message)
        return admitted

    def forget(self, message: Any) -> None:
        """A stale message: it will be read again, nobody acknowledges it, and a rebalance must not wait for it."""
        self._unacked_messages.discard(message)

    def _forget_all(self, tps: Sequence[TP]) -> None:
        for tp in tps:
            self._delivered.pop(tp, None)
            self._acked.pop(tp, None)
            self._acked_index.pop(tp, None)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        try:
            await super().on_partitions_revoked(revoked)  # comes to wait_empty
        finally:
            self._forget_all(list(revoked))

    async def wait_empty(self) -> None:
        """Before partitions are given away and at shutdown: commit now instead of waiting for the timer.

        What is not acknowledged then never will be: it was dropped from Faust's queue, or from the sink by a second seek, and
        is read again after the next one. Faust would wait for it for ever, because its agent still holds the last message.
        """
        await self.wiring.drain()
        self.deliveries.close()
        self._unacked_messages.clear()
        await super().wait_empty()

    async def perform_seek(self) -> None:
        """Read on behind the ledger's positions. Runs on every assignment, sometimes twice.

        Raises:
            StreamMoved: The topic begins after the position (retention), so events are missing that nobody rated.
        """
        async with self._seeking:
            tps = [TP(tp.topic, tp.partition) for tp in self.assignment() if tp.topic == self.wiring.topic]
            if not tps:
                return
            generation = self.deliveries.close()
            earliest = {TP(tp.topic, tp.partition): first for tp, first in (await self.earliest_offsets(*tps)).items()}
            try:
                life = await self._thread.call_thread(self._thread.read_life)
            except KafkaError as error:
                await self.wiring.fail(unreadable(self.wiring.topic, error))
                return
            positions = await self.wiring.resume([tp.partition for tp in tps], life)
            starts = {}
            for tp in tps:
                last = positions[tp.partition]
                starts[tp] = earliest[tp] if last is None else last + 1
                if starts[tp] < earliest[tp]:
                    why = f"the topic begins at offset {earliest[tp]}"
                    await self.wiring.fail(topic_moved(tp.topic, self.wiring.stream, tp.partition, starts[tp] - 1, why))
                    return
            self._forget_all(tps)
            self.deliveries.open({tp.partition: start - 1 for tp, start in starts.items()})
            await self._thread.call_thread(self._thread.seek_to, starts, generation)
            for tp, start in starts.items():
                self._read_offset[tp] = self._committed_offset[tp] = start or None
            await self._commit({tp: start for tp, start in starts.items() if start})

    def lag_events(self) -> dict[int, int]:
        """Per partition, messages in the topic that are not in the ledger yet: not read, or read and not acknowledged."""
        lag = {}
        for tp in self.assignment():
            key = TopicPartition(tp.topic, tp.partition)
            state = self._thread._ensure_consumer()._subscription.subscription.assignment.state_value(key)
            if state is None or not state.has_valid_position or state.highwater is None:
                continue
            acked = self._acked_index[tp]
            waiting = sum(messages for last, messages in self._delivered[tp] if last not in acked)
            lag[tp.partition] = max(0, state.highwater - state.position) + waiting
        return lag


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the consumer above."""

    Consumer = Consumer

    def __init__(self, url: Any, app: Any, wiring: Wiring) -> None:
        self.wiring = wiring
        super().__init__(url, app)
