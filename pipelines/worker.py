"""One worker: reads the usage topic and keeps the ledger up to date, each event exactly once.

    topic -> transport (one delivery per poll and partition) -> sink (collects) -> rater (rates, commits) -> acknowledge

Any failure ends the worker with its reason; nothing half-done stays behind, and the next start continues from the ledger. A
stop by SIGTERM or SIGINT commits what is in flight first.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaConnectionError

from pipelines.allocator import keep_what_lives, return_freed_memory
from pipelines.health import Health
from pipelines.leaving import exit_after
from pipelines.login import OPEN, Login
from pipelines.logs import start_logging
from pipelines.notices import Teller
from pipelines.patience import PatientTables
from pipelines.rater import RateResult
from pipelines.settings import Stream
from pipelines.sink import FlushLimits, Rates, Sink
from pipelines.topic import ensure_topic
from pipelines.topic_life import Topic, TopicLife
from pipelines.transport import METADATA_SECONDS, Consumer, Transport, Wiring, read_plain_records
from schemas.errors import BadWorkspace, Refused

log = structlog.stdlib.get_logger("boss.worker")

STOP_SECONDS = 5.0
"""How long leaving the group and closing connections may take; the ledger is complete before that."""

REBALANCE_SECONDS = 60.0
"""How long the group waits for a member to come to a rebalance. One that is reading a large ledger back comes late, and is not
dead: its heartbeats go on, and those of a dead one end with its session. Less than Faust waits for an answer, 90 s."""

MESSAGES_PER_POLL = 5_000
"""Bounds memory where messages are short."""


def run_stream(rater: Rates, kafka: str, stream: Stream, login: Login = OPEN, teller: Teller | None = None) -> None:
    """Read `stream.topic` of the brokers `kafka` until told to stop by SIGTERM or SIGINT. For the main thread of a process.

    Raises:
        BadWorkspace: The brokers refuse the login.
        StreamMoved: The topic is not the one the ledger has positions for.
        Fenced: Another worker has taken over one of our partitions. Starting again is all that is needed.
        LedgerUnwritable and other BossErrors: As raised by the rater. Nothing of those messages is lost.
    """
    start_logging()
    return_freed_memory()
    read_plain_records()
    asyncio.run(_run(rater, kafka, stream, login, teller))


async def _run(rater: Rates, kafka: str, stream: Stream, login: Login, teller: Teller | None) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    reach = asyncio.ensure_future(ensure_topic(kafka, stream.topic, stream.partitions, login=login))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([reach, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not reach.done():
        reach.cancel()
        return
    reach.result()
    stopped.cancel()
    with tempfile.TemporaryDirectory(prefix="boss-") as folder:
        await Worker(rater, kafka, stream, login, Path(folder), teller=teller).run(stop)


class Worker:
    """One member of the consumer group: the Faust app, its sink, and the reason it stops."""

    def __init__(
        self, rater: Rates, kafka: str, stream: Stream, login: Login, folder: Path, *, teller: Teller | None = None
    ) -> None:
        """Make it inside the event loop it will run in.

        Args:
            folder: An empty folder that Faust wants to have.
            teller: Who sends notices; None: nobody does.
        """
        self._teller = teller
        self._stream = stream
        self._name = f"kafka:{stream.topic}@{stream.epoch}"
        self._reason: BaseException | None = None
        self._failed = asyncio.Event()
        self.health = Health()
        limits = FlushLimits(stream.flush_seconds, stream.flush_events, stream.flush_megabytes << 20)
        self.sink = Sink(rater, limits, self._record)
        self.app = self._make_app(kafka, login, folder)
        self.health.serve(self.app)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises what made it fail."""
        self._check_port()
        flushing = asyncio.ensure_future(self.sink.run())
        flushing.add_done_callback(self._flushing_ended)
        crashed = asyncio.ensure_future(self._start_and_watch())
        if self._teller is not None:
            self._teller.start()
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._failed)]
        try:
            await asyncio.wait([*waits, crashed], return_when=asyncio.FIRST_COMPLETED)
            if not self._failed.is_set() and crashed.done():
                await self._fail(crashed.exception() or RuntimeError("Faust stopped by itself."))
            if self._reason is None:
                log.info("stopping", committing=self.sink.waiting_messages)
                await self._drain_or_fail()
            self.health.ready = False
            exit_after(STOP_SECONDS, code=0 if self._reason is None else 1)
            await self.app.stop()
        finally:
            for task in (flushing, crashed, *waits):
                task.cancel()
            self.sink.close()
            if self._teller is not None:
                self._teller.close()
        if self._reason is not None:
            raise self._reason
        log.info("stopped", events=self.health.events, flushes=self.health.flushes)

    def _make_app(self, kafka: str, login: Login, folder: Path) -> Any:
        stream = self._stream
        app = faust.App(
            stream.group,
            broker=[f"kafka://{server.strip()}" for server in kafka.split(",")],
            broker_credentials=_credentials(login),
            store="memory://",
            TableManager=PatientTables,
            datadir=str(folder),
            topic_partitions=stream.partitions,
            topic_disable_leader=True,
            topic_allow_declare=False,  # ensure_topic has made it
            stream_wait_empty=True,
            stream_buffer_maxsize=4,  # deliveries, not events
            broker_max_poll_records=MESSAGES_PER_POLL,
            broker_session_timeout=stream.session_seconds,
            broker_heartbeat_interval=max(0.3, stream.session_seconds / 4),
            broker_rebalance_timeout=max(REBALANCE_SECONDS, 2 * stream.session_seconds),
            broker_commit_interval=1.0,
            consumer_metadata_max_age_ms=METADATA_SECONDS * 1000,
            worker_redirect_stdouts=False,
            web_enabled=stream.port > 0,
            web_bind=stream.host,
            web_host=stream.host,
            web_port=stream.port or 6066,
            web_router_enabled=False,
            web_tables_enabled=False,
        )
        wiring = Wiring(stream.topic, self._name, self._resume, self.sink.drain, self._fail)
        app.transport = Transport(app.conf.broker_consumer, app, wiring)
        topic = app.topic(stream.topic, key_serializer="raw", value_serializer="raw", value_type=bytes)

        async def collect(deliveries: Any) -> None:
            # noack: Faust would acknowledge when the loop goes on, which is long before the ledger has the events.
            async for event in deliveries.noack().events():
                consumer: Consumer = app.consumer
                try:
                    if not await consumer.admit(event.message, event.value):
                        continue
                except Exception as error:
                    await self._fail(error)
                    return
                batch = event.value.batch
                event.value = event.message.value = None  # Faust keeps both until the ledger has the messages
                await self.sink.put(batch, _acknowledge(deliveries, event))

        app.agent(topic, name="collect")(collect)
        app.on_partitions_assigned.connect(self._assigned)
        return app

    async def _start_and_watch(self) -> None:
        """Start the app; returns when it crashed, raising its reason.

        Raises:
            Refused: The broker answered a moment ago and went away before Faust had reached it.
        """
        try:
            await self.app.start()
        except KafkaConnectionError:
            raise Refused(
                "Kafka went away while the worker was starting. Nothing is lost. Start it again; it waits for a broker."
            ) from None
        self.health.watch_lag(self.app.consumer.lag_events)
        await self.app.wait_until_stopped()
        if self.app.crash_reason is not None:
            raise self.app.crash_reason

    async def _resume(self, partitions: Sequence[int], life: TopicLife) -> Mapping[int, int | None]:
        """The ledger's positions of the partitions we were assigned, with the rater's state rebuilt for them."""
        self.health.ready = False
        try:
            topic = Topic(self._stream.topic, self._name, life)
            positions = await self.sink.assign([(self._name, partition) for partition in sorted(partitions)], topic)
        except Exception as error:
            await self._fail(error)
            raise
        found = {partition: position for (_, partition), position in positions.items()}
        log.info("reading", stream=self._name, ledger_has=found)
        if self._teller is not None:
            self._teller.assign(sorted(found))
        self.health.ready = True
        return found

    async def _assigned(self, app: Any, assigned: set[Any], **options: Any) -> None:
        if not assigned:
            self.health.ready = False
            log.warning("nothing to read", stream=self._name, why="more workers than partitions, or the topic is gone")

    def _record(self, result: RateResult, seconds: float) -> None:
        """One flush reached the ledger."""
        if not self.health.flushes:  # by now everything is loaded and compiled
            keep_what_lives()
        self.health.record(result, seconds)
        if self._teller is not None:
            self._teller.hear(result.notices)

    async def _fail(self, reason: BaseException) -> None:
        """Stop with this reason; the first one counts."""
        if self._reason is None:
            self._reason = reason
            self.health.failure = str(reason) or repr(reason)
            log.error("failed", reason=self.health.failure)
            self._failed.set()

    def _flushing_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.ensure_future(self._fail(error))  # noqa: RUF006 - the loop runs on until the app is stopped

    async def _drain_or_fail(self) -> None:
        """Everything collected reaches the ledger before anything is torn down."""
        draining = asyncio.ensure_future(self.sink.drain())
        failing = asyncio.ensure_future(self._failed.wait())
        await asyncio.wait([draining, failing], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        failing.cancel()

    def _check_port(self) -> None:
        if not self._stream.port:
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._stream.host, self._stream.port))
            except OSError as error:
                raise BadWorkspace(
                    f"The worker cannot serve /healthz and /metrics on {self._stream.host}:{self._stream.port} "
                    f"({error.strerror}). Give it another stream.port, or 0 for none."
                ) from None


def _credentials(login: Login) -> Any:
    """The login as Faust knows it."""
    if login.by_password:
        return faust.SASLCredentials(
            username=login.user, password=login.password, ssl_context=login.tls, mechanism=login.mechanism
        )
    return None if login.tls is None else faust.SSLCredentials(login.tls)


def _acknowledge(deliveries: Any, event: Any) -> Callable[[], Any]:
    return lambda: deliveries.ack(event)
