"""Puts messages into a topic in their order, and does not give up: each batch is in before the next of its partition leaves.

So the order in which messages first stand in a partition is that in which they were given, whatever happens to brokers and
to us. After a lost answer a batch may stand there twice; the ledger charges an event once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from pipelines.login import OPEN, Login
from pipelines.rekeyed import Letter
from schemas.errors import Refused

log = structlog.stdlib.get_logger("boss.forward")

BATCH_BYTES = 256 << 10
RETRY_SECONDS = 0.5
METADATA_SECONDS = 15
"""How soon new partitions are noticed."""

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class Forwarder:
    """A producer of one topic. Make and use it inside one event loop."""

    def __init__(self, bootstrap: str, topic: str, login: Login = OPEN) -> None:
        self._topic = topic
        self._batch_bytes = BATCH_BYTES
        self._away = False  # whether the brokers do not take messages, and we have said so
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=False,  # the embedded broker knows no producer ids
            max_batch_size=BATCH_BYTES,
            metadata_max_age_ms=METADATA_SECONDS * 1000,
            **login.options(),
        )

    async def start(self) -> None:
        """Raises KafkaError when no broker answers."""
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def partitions(self) -> int:
        """How many the topic has now."""
        return len(await self._producer.partitions_for(self._topic))

    async def send(self, letters: Mapping[int, Sequence[Letter]]) -> None:
        """Returns when every in-sync replica has all letters. Waits for brokers that are away.

        Args:
            letters: By partition.

        Raises:
            Refused: Kafka will never take one of them; says which and why.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for partition, own in letters.items():
                    group.create_task(self._send(partition, own))
        except* Refused as refused:
            raise refused.exceptions[0] from None

    async def _send(self, partition: int, letters: Sequence[Letter]) -> None:
        at = 0
        while at < len(letters):
            batch = self._producer.create_batch()
            count = self._fill(batch, letters, at)
            try:
                await (await self._producer.send_batch(batch, self._topic, partition=partition))
            except _TOO_LARGE as error:
                if count == 1:
                    raise _refused(self._topic, letters[at], error) from None
                self._batch_bytes = max(1, self._batch_bytes // 2)
            except KafkaError as error:
                if not error.retriable:
                    raise _refused(self._topic, letters[at], error) from None
                self._say_away(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._away = False
                at += count

    def _fill(self, batch: object, letters: Sequence[Letter], at: int) -> int:
        """Put letters into an empty batch, the first in any case. Returns how many."""
        count = size = 0
        for letter in letters[at:]:
            size += len(letter.value or b"") + len(letter.key or b"")
            if count and size > self._batch_bytes:
                break
            added = batch.append(timestamp=None, key=letter.key, value=letter.value, headers=list(letter.headers))  # type: ignore[attr-defined]
            if added is None:
                break
            count += 1
        batch.close()  # type: ignore[attr-defined]
        return count

    def _say_away(self, error: KafkaError) -> None:
        if not self._away:
            self._away = True
            log.warning("waiting for Kafka", topic=self._topic, why=type(error).__name__)


def _refused(topic: str, letter: Letter, error: KafkaError) -> Refused:
    place = f"offset {letter.offset} of partition {letter.partition}"
    if isinstance(error, _TOO_LARGE):
        size = len(letter.value or b"")
        return Refused(
            f"The message at {place} has {size:,} bytes, and topic '{topic}' takes no such message. Raise its "
            "max.message.bytes, then start again. Nothing is lost: that message is the next one."
        )
    return Refused(
        f"Topic '{topic}' does not take the message at {place} ({error!r}). Look at its settings and our rights, then start "
        "again. Nothing is lost: that message is the next one."
    )
