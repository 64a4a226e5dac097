"""`boss rekey`: reads a topic that is not keyed by account, and sends its messages on to the usage topic by the right key.

    source topic -> poll -> rekeyed (pure) -> forward, until acknowledged -> commit the offsets

At least once: offsets are committed after the brokers have what they stand for, so a process that is killed leaves some
messages to be sent again, and the ledger charges an event once. The events of an account that came by one partition keep their
order. Several processes share the partitions as members of one consumer group.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

import catalog.versions
from pipelines.forward import Forwarder
from pipelines.keys import Keys
from pipelines.leaving import exit_after
from pipelines.login import Login
from pipelines.logs import start_logging
from pipelines.rekey_health import RekeyHealth
from pipelines.rekeyed import Letter, Rekeyer
from pipelines.topic import ensure_topic, find_topic, unreadable
from pipelines.topic_life import TopicLife, read_life
from pipelines.workspace import Workspace
from schemas.errors import BadWorkspace, Refused, StreamMoved

log = structlog.stdlib.get_logger("boss.rekey")

POLL_MS = 200
"""How long a poll waits for messages; so soon a stop is heeded."""

MESSAGES_PER_POLL = 5_000
BYTES_AT_A_TIME = 8 << 20
"""Messages of so many bytes are sent and committed together."""

LIFE_SECONDS = 15
RETRY_SECONDS = 1.0
STOP_SECONDS = 5.0
"""How long what is in hand may take at the end, and leaving the group after that."""


def run_rekey(workspace: Workspace) -> int:
    """Send the messages of `rekey.topic` on to `stream.topic`, keyed by account, until told to stop by SIGTERM or SIGINT.

    Returns the exit code 0; for the main thread of a process.

    Raises:
        Refused: No Kafka is configured, nothing is published, the topic does not exist, or Kafka will never take a message.
        BadWorkspace: No topic is given, or it is the usage topic; the brokers refuse the login; the port is taken.
        StreamMoved: The topic was created again, or messages were removed from it before they were sent on.
    """
    settings = workspace.settings
    if not settings.kafka:
        raise Refused("There is no Kafka to read from. Set BOSS_KAFKA, or start `boss dev`, which brings a small one.")
    source = settings.rekey.topic
    if not source:
        raise BadWorkspace(
            "Which topic is to be re-keyed? Write its name as rekey.topic in boss.toml, or set BOSS_REKEY__TOPIC."
        )
    if source == settings.stream.topic:
        raise BadWorkspace(
            f"rekey.topic and stream.topic are both '{source}': every message would come round again. Give rekey.topic the "
            "topic that your producers write to."
        )
    workspace.versions()
    start_logging()
    asyncio.run(_run(workspace))
    return 0


async def _run(workspace: Workspace) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    health = RekeyHealth()
    with health.serving(workspace.settings.rekey.host, workspace.settings.rekey.port):
        await Stage(workspace, health).run(stop)


class Stage(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of the group: what it has in hand, and the reason it stops."""

    def __init__(self, workspace: Workspace, health: RekeyHealth) -> None:
        """Make it inside the event loop it will run in."""
        settings = workspace.settings
        self._workspace, self._health, self._login = workspace, health, workspace.login()
        self._kafka, self._source, self._target = settings.kafka, settings.rekey.topic, settings.stream.topic
        self._forwarder = Forwarder(self._kafka, self._target, self._login)
        self._consumer: Any = None
        self._rekeyer: tuple[tuple[int, int], Rekeyer] | None = None
        self._idle = asyncio.Event()  # nothing is in hand, so partitions may be given away
        self._idle.set()
        self._stopping = False
        self._life: TopicLife | None = None
        self._looked = 0.0
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, finish what is in hand, and leave. Raises what made it fail."""
        working = asyncio.ensure_future(self._work())
        stopped = asyncio.ensure_future(stop.wait())
        waits: list[asyncio.Future[Any]] = [working, stopped, self._failed]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        self._stopping = True
        if not self._failed.done():
            await asyncio.wait([working, self._failed], timeout=STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        failure = _failure_of(self._failed) or _failure_of(working)
        self._health.fail(failure)
        exit_after(STOP_SECONDS, code=1 if failure else 0)
        for task in (working, stopped, self._failed):
            task.cancel()
        self._idle.set()
        await _quietly(asyncio.wait([working], timeout=STOP_SECONDS))
        if self._consumer is not None:
            await _quietly(self._consumer.stop())
        await _quietly(self._forwarder.stop())
        if failure:
            raise failure
        log.info("stopped", **self._health.counts())

    async def _work(self) -> None:
        settings = self._workspace.settings
        await ensure_topic(self._kafka, self._target, settings.stream.partitions, login=self._login)
        await find_topic(self._kafka, self._source, self._login)
        await self._forwarder.start()
        self._consumer = await self._join()
        while not self._stopping:
            polled = await self._poll()
            if polled:
                # From the poll to here nothing else has run, so none of these partitions was given away meanwhile.
                self._idle.clear()
                try:
                    await self._send_on(polled)
                finally:
                    self._idle.set()

    async def _join(self) -> Any:
        """A consumer that has joined the group. Waits while a broker is away."""
        settings = self._workspace.settings
        while True:
            consumer = make_consumer(self._kafka, settings.rekey.group, settings.stream.session_seconds, self._login)
            consumer.subscribe([self._source], listener=self)
            self._consumer = consumer
            try:
                await consumer.start()
                return consumer
            except KafkaError as error:
                await _quietly(consumer.stop())
                if not error.retriable:
                    raise unreadable(self._source, error) from None
                log.info("waiting for Kafka", topic=self._source, why=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _poll(self) -> Mapping[TopicPartition, Sequence[Any]]:
        await self._look_at_life()
        try:
            polled: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                timeout_ms=POLL_MS, max_records=MESSAGES_PER_POLL
            )
            return polled
        except NoOffsetForPartitionError as error:  # the group reads it for the first time
            await self._consumer.seek_to_beginning(*error.args)
        except OffsetOutOfRangeError as error:
            places = ", ".join(f"partition {tp.partition} has no offset {offset}" for tp, offset in error.args[0].items())
            raise self._moved(f"{places}. Its messages were removed before they were sent on, or it was emptied") from None
        except IllegalStateError:  # part of a rebalance
            await asyncio.sleep(POLL_MS / 1000)
        except KafkaError as error:
            if not error.retriable:
                raise unreadable(self._source, error) from None
            await asyncio.sleep(POLL_MS / 1000)
        return {}

    async def _send_on(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Send messages on and commit their offsets, a part at a time."""
        for letters in parts_of(letters_of(polled)):
            started = time.perf_counter()
            rekeyed = await asyncio.to_thread((await self._newest_rekeyer()).rekey, letters)
            await self._forwarder.send(rekeyed.letters)
            reached = {letter.partition: letter.offset + 1 for letter in letters}
            await self._commit(reached)
            self._health.record(len(letters), rekeyed, time.perf_counter() - started)
            for partition, offset in reached.items():
                self._note_lag(partition, offset)

    async def _commit(self, offsets: Mapping[int, int]) -> None:
        """Note in Kafka how far messages were sent on. When we were put out of the group, whoever reads on sends them again."""
        life = "" if self._life is None or self._life.identity is None else str(self._life.identity)
        mine = {TopicPartition(self._source, p): OffsetAndMetadata(offset, life) for p, offset in offsets.items()}
        try:
            await self._consumer.commit(mine)
        except (KafkaError, IllegalStateError) as error:
            log.info("offsets not committed, their messages are sent again", why=type(error).__name__)

    async def _newest_rekeyer(self) -> Rekeyer:
        """By the newest published roster and the usage topic's partitions as they are now."""
        _, version = self._workspace.versions()
        partitions = await self._forwarder.partitions()
        if self._rekeyer is None or self._rekeyer[0] != (version, partitions):
            roster = await asyncio.to_thread(catalog.versions.load_roster, self._workspace.rosters)
            keys = await asyncio.to_thread(Keys, roster)
            rekeyer = Rekeyer(keys, partitions, self._workspace.settings.limits.max_event_bytes)
            self._rekeyer = (roster.version, partitions), rekeyer
            log.info("keys", roster_version=roster.version, topic=self._target, partitions=partitions)
        return self._rekeyer[1]

    # --------------------------------------------------------------------------------------- the group

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before partitions are given away, what is in hand of them is sent and committed."""
        self._health.ready = False
        await self._idle.wait()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        log.info("reading", topic=self._source, partitions=sorted(tp.partition for tp in assigned))
        try:
            await self._compare_life(list(assigned))
            self._health.ready = bool(assigned)
        except Exception as error:  # what is raised here would only be logged
            if not self._failed.done():
                self._failed.set_exception(error)

    # ------------------------------------------------------------------------------- life of the topic

    async def _look_at_life(self) -> None:
        """Now and then: is it the topic that we began to read?"""
        if time.monotonic() - self._looked < LIFE_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            self._check_life(await read_life(self._consumer._client, self._source))
        except KafkaError as error:
            log.info("the topic could not be looked at, later", why=type(error).__name__)

    async def _compare_life(self, assigned: Sequence[TopicPartition]) -> None:
        """Is it the topic in which offsets were committed? Its id was noted beside them."""
        if not assigned:
            return
        try:
            life = await read_life(self._consumer._client, self._source)
            committed = await self._consumer._coordinator.fetch_committed_offsets(assigned)
        except KafkaError as error:
            log.info("the topic could not be looked at, later", why=type(error).__name__)
            return
        self._check_life(life)
        identities = {found.metadata for found in committed.values() if found.offset >= 0 and found.metadata}
        if life is not None and life.identity is not None and identities - {str(life.identity)}:
            raise self._moved("it was deleted and created again")

    def _check_life(self, life: TopicLife | None) -> None:
        if life is None:  # no broker knows it at this moment
            return
        known, self._life = self._life, life
        if known is not None and known.identity != life.identity:
            raise self._moved("it was deleted and created again")

    def _moved(self, why: str) -> StreamMoved:
        group = self._workspace.settings.rekey.group
        return StreamMoved(
            f"Topic '{self._source}' is not the one that group '{group}' has read: {why}. Set a new rekey.group (any new name) "
            "and start again: the topic is then read from its beginning, and events that were rated before are recognised by "
            "their ids."
        )

    def _note_lag(self, partition: int, offset: int) -> None:
        tp = TopicPartition(self._source, partition)
        end = self._consumer.highwater(tp) if tp in self._consumer.assignment() else None
        if end is not None:
            self._health.lag[partition] = max(0, end - offset)


def _failure_of(task: asyncio.Future[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


async def _quietly(closing: Coroutine[Any, Any, object]) -> None:
    """Wait for it, however it ends: without a broker the libraries' own tasks are cancelled, which they pass on to us."""
    task = asyncio.ensure_future(closing)
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("Kafka was not left in order", why=repr(error))


def make_consumer(kafka: str, group: str, session_seconds: float, login: Login) -> Any:
    """A consumer of committed messages whose offsets nobody commits but us. Make it inside an event loop."""
    return AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",  # an offset that is gone must be noticed
        isolation_level="read_committed",
        session_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=int(max(0.3, session_seconds / 4) * 1000),
        rebalance_timeout_ms=int(max(10.0, 2 * session_seconds) * 1000),
        metadata_max_age_ms=LIFE_SECONDS * 1000,
        fetch_max_wait_ms=100,
        **login.options(),
    )


def letters_of(polled: Mapping[TopicPartition, Sequence[Any]]) -> Iterator[Letter]:
    """The records of a poll, partition by partition."""
    for tp, records in polled.items():
        for record in records:
            yield Letter(tp.partition, record.offset, record.key, record.value, record.headers)


def parts_of(letters: Iterable[Letter], most_bytes: int = BYTES_AT_A_TIME) -> Iterator[list[Letter]]:
    """The letters in parts of about so many bytes, each of at least one."""
    part: list[Letter] = []
    size = 0
    for letter in letters:
        part.append(letter)
        size += len(letter.value or b"")
        if size >= most_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part
