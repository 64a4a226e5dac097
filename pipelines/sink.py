"""Collects deliveries and hands them to the rater; a message is acknowledged only when the ledger has it.

    collected -> read -> rated -> committed -> acknowledged

While one batch of messages is committed the next is rated, a third is decoded, and others are collected. Each of the three has
a thread, and batches pass them in order. What may be collected is bounded, so a slow disk slows the reading down instead of
filling the memory. When a step fails nothing more is acknowledged and `run` raises: a restart continues from the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.rater import Commit, Rate, RateResult, Source
from pipelines.topic_life import Topic
from schemas.usage import RawBatch

Acknowledge = Callable[[], Awaitable[object]]


class Rates(Protocol):
    """The stateful part: pipelines.rater.Rater. What `read` returns runs in a second thread, and what that returns in a third.

    Nothing of the three is under way when `assign` is called.
    """

    def assign(self, sources: Sequence[Source], topic: Topic | None = None) -> Mapping[Source, int | None]: ...

    def read(self, batches: Sequence[RawBatch]) -> Rate: ...


@dataclass(frozen=True)
class FlushLimits:
    """When collected messages are committed: whichever comes first.

    `seconds` is counted from the commit before, so that messages which come after a pause need not wait for others.
    """

    seconds: float = 0.5
    messages: int = 50_000
    data_bytes: int = 28 << 20


FlushReport = Callable[[RateResult, float], None]
"""Called after every commit with what became of the messages and the seconds it took in all."""


class Sink:
    """Messages on their way from the topic to the ledger."""

    def __init__(self, rater: Rates, limits: FlushLimits, report: FlushReport) -> None:
        self._rater = rater
        self._limits = limits
        self._report = report
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rater")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._rating: asyncio.Task[None] | None = None  # of the batch that was read last
        self._writing: asyncio.Task[None] | None = None  # of the batch that was rated last
        self._last_flush = time.monotonic()
        self._collected: list[tuple[RawBatch, Acknowledge]] = []
        self._messages = 0
        self._data_bytes = 0
        self._busy = asyncio.Lock()  # held while messages are being read
        self._arrived = asyncio.Event()  # something is collected
        self._hurry = asyncio.Event()  # commit without waiting for the timer
        self._room = asyncio.Event()
        self._ended = False
        self._draining = False

    @property
    def waiting_messages(self) -> int:
        return self._messages

    async def assign(self, sources: Sequence[Source], topic: Topic | None = None) -> Mapping[Source, int | None]:
        """Take over these sources: drop what is collected, rebuild the rater's state, return the ledger's positions."""
        async with self._busy:
            await self._committed()
            self._take()
            self._draining, self._last_flush = False, time.monotonic()
            return await asyncio.get_running_loop().run_in_executor(self._worker, self._rater.assign, sources, topic)

    async def put(self, batch: RawBatch, acknowledge: Acknowledge) -> None:
        """Collect a batch; returns when there is room for the next one, at once when the sink has ended."""
        self._collected.append((batch, acknowledge))
        self._messages += len(batch)
        self._data_bytes += sum(map(len, filter(None, batch.values)))
        self._arrived.set()
        if self._draining or self._full():
            self._hurry.set()
        while self._full() and not self._ended:
            self._room.clear()
            await self._room.wait()

    async def drain(self) -> bool:
        """Commit what is collected now, and from here on whatever comes, without delay, until the next assignment.

        Returns whether the ledger has all of it; false when the sink has ended.
        """
        self._draining = True
        while self._collected and not self._ended:
            self._hurry.set()
            self._room.clear()
            await self._room.wait()
        async with self._busy:
            with suppress(Exception):  # `run` raises it
                await self._committed()
                return not self._ended
        return False

    async def run(self) -> None:
        """Commit every so often until cancelled.

        Raises:
            Fenced, LedgerUnwritable, ...: What the rater raised. Nothing of those messages was acknowledged.
        """
        try:
            while True:
                await self._arrived.wait()
                await _first(self._hurry.wait(), self._last_flush + self._limits.seconds - time.monotonic())
                await self._flush()
        finally:
            self._ended = True
            self._room.set()

    def close(self) -> None:
        """End the threads once they are idle. What was not committed is read again by the next worker."""
        for thread in (self._reader, self._worker, self._writer):
            thread.shutdown(wait=False, cancel_futures=True)

    async def _flush(self) -> None:
        """Read what is collected, and leave it to be rated after the batch before it."""
        async with self._busy:
            taken, self._last_flush = self._take(), time.monotonic()
            if not taken:
                await self._committed()
                return
            started = time.perf_counter()
            acknowledges = [acknowledge for _, acknowledge in taken]
            batches = [batch for batch, _ in taken]
            del taken  # once they are decoded nobody needs the messages
            rate = await asyncio.get_running_loop().run_in_executor(self._reader, self._rater.read, batches)
            del batches
            await _done(self._rating)
            self._rating = self._begin(self._rate(rate, acknowledges, started))

    async def _rate(self, rate: Rate, acknowledges: Sequence[Acknowledge], started: float) -> None:
        """Rate a batch, and leave it to be committed after the batch before it."""
        commit = await asyncio.get_running_loop().run_in_executor(self._worker, rate)
        await _done(self._writing)
        self._writing = self._begin(self._write(commit, acknowledges, started))

    async def _write(self, commit: Commit, acknowledges: Sequence[Acknowledge], started: float) -> None:
        result = await asyncio.get_running_loop().run_in_executor(self._writer, commit)
        for acknowledge in acknowledges:
            await acknowledge()
        self._report(result, time.perf_counter() - started)

    async def _committed(self) -> None:
        """Wait until nothing is under way. Raises what made a step fail."""
        await _done(self._rating)
        await _done(self._writing)

    def _begin(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        begun = asyncio.ensure_future(step)
        begun.add_done_callback(self._look_at)
        return begun

    def _look_at(self, step: asyncio.Task[None]) -> None:
        """A failure must be noticed also when no more messages come."""
        if not step.cancelled() and step.exception() is not None:
            self._arrived.set()
            self._hurry.set()

    def _take(self) -> list[tuple[RawBatch, Acknowledge]]:
        taken, self._collected = self._collected, []
        self._messages = self._data_bytes = 0
        self._arrived.clear()
        self._hurry.clear()
        self._room.set()
        return taken

    def _full(self) -> bool:
        return self._messages >= self._limits.messages or self._data_bytes >= self._limits.data_bytes


async def _done(step: asyncio.Task[None] | None) -> None:
    """Wait for the step, if there is one. Raises what made it fail."""
    if step is not None:
        await asyncio.shield(step)


async def _first(wanted: Awaitable[object], seconds: float) -> None:
    """Wait for it, but not longer."""
    try:
        await asyncio.wait_for(wanted, max(0.0, seconds))
    except TimeoutError:
        return
