"""The sink: commits in order, acknowledges after the commit only, is bounded, and stops at the first failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from pipelines.rater import Commit, Rate, RateResult, Source
from pipelines.sink import FlushLimits, Sink
from pipelines.topic_life import Topic
from schemas.errors import BrokenPromise, Fenced
from schemas.usage import RawBatch

NEVER = 3600.0


class Rater:
    """Remembers what it was given; can be held up or made to fail."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.commits = 0
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def assign(self, sources: Sequence[Source], topic: Topic | None = None) -> Mapping[Source, int | None]:
        return dict.fromkeys(sources, max(self.offsets, default=None))

    def read(self, batches: Sequence[RawBatch]) -> Rate:
        return lambda: lambda: self._commit(batches)

    def _commit(self, batches: Sequence[RawBatch]) -> RateResult:
        assert self.go.wait(5)
        if self.error:
            raise self.error
        self.offsets += [offset for batch in batches for offset in batch.offsets]
        self.commits += 1
        return RateResult(events=sum(map(len, batches)))


def batch(first: int, count: int = 10, size: int = 1) -> RawBatch:
    return RawBatch("kafka:usage@1", 0, range(first, first + count), [b"x" * size] * count, [0] * count)


class Desk:
    """A running sink with its rater, and the last offsets of acknowledged batches."""

    def __init__(self, limits: FlushLimits) -> None:
        self.rater = Rater()
        self.acknowledged: list[int] = []
        self.reported = 0
        self.sink = Sink(self.rater, limits, self.report)
        self.running = asyncio.ensure_future(self.sink.run())

    def report(self, result: RateResult, seconds: float) -> None:
        self.reported += result.events

    async def put(self, given: RawBatch) -> None:
        async def acknowledge() -> None:
            self.acknowledged.append(given.offsets[-1])

        await self.sink.put(given, acknowledge)


def with_desk(limits: FlushLimits, work: Callable[[Desk], Awaitable[None]]) -> Desk:
    async def run() -> Desk:
        desk = Desk(limits)
        try:
            await asyncio.wait_for(work(desk), 10)
        finally:
            desk.rater.go.set()
            desk.running.cancel()
            desk.sink.close()
        return desk

    return asyncio.run(run())


def test_messages_are_committed_in_order_and_acknowledged_after_the_commit() -> None:
    async def work(desk: Desk) -> None:
        desk.rater.go.clear()
        for first in range(0, 100, 10):
            await desk.put(batch(first))
        await asyncio.sleep(0.1)
        assert desk.acknowledged == []
        desk.rater.go.set()
        assert await desk.sink.drain()

    desk = with_desk(FlushLimits(seconds=0.01), work)
    assert desk.rater.offsets == list(range(100))
    assert desk.acknowledged == list(range(9, 100, 10))
    assert desk.reported == 100


@pytest.mark.parametrize(
    "limits",
    [
        FlushLimits(seconds=0.05),
        FlushLimits(seconds=NEVER, messages=10),
        FlushLimits(seconds=NEVER, data_bytes=1_000),
    ],
    ids=["time", "messages", "bytes"],
)
def test_each_limit_alone_brings_messages_to_the_ledger(limits: FlushLimits) -> None:
    async def work(desk: Desk) -> None:
        await desk.put(batch(0, 10, size=100))
        while not desk.acknowledged:
            await asyncio.sleep(0.01)

    assert with_desk(limits, work).rater.offsets == list(range(10))


def test_a_slow_ledger_holds_the_reading_up_instead_of_filling_the_memory() -> None:
    async def work(desk: Desk) -> None:
        desk.rater.go.clear()
        putting = asyncio.ensure_future(put_many(desk))
        await asyncio.sleep(0.2)
        assert not putting.done()
        assert desk.sink.waiting_messages < 20 + 10
        desk.rater.go.set()
        await putting
        assert await desk.sink.drain()

    async def put_many(desk: Desk) -> None:
        for first in range(0, 1_000, 10):
            await desk.put(batch(first))

    assert with_desk(FlushLimits(seconds=NEVER, messages=20), work).rater.offsets == list(range(1_000))


def test_after_a_failure_nothing_is_acknowledged_and_nobody_waits() -> None:
    async def work(desk: Desk) -> None:
        desk.rater.error = Fenced(["kafka:usage@1/0"])
        for first in range(0, 1_000, 10):
            await desk.put(batch(first))
        assert not await desk.sink.drain()
        with pytest.raises(Fenced):
            await desk.running

    desk = with_desk(FlushLimits(seconds=0.01, messages=20), work)
    assert desk.acknowledged == []
    assert desk.rater.offsets == []


def test_an_assignment_drops_what_is_collected_and_says_where_the_ledger_ends() -> None:
    async def work(desk: Desk) -> None:
        await desk.put(batch(0))
        assert await desk.sink.drain()
        await desk.put(batch(10))
        positions = await desk.sink.assign([("kafka:usage@1", 0)])
        assert positions == {("kafka:usage@1", 0): desk.rater.offsets[-1]}
        assert desk.sink.waiting_messages == 0

    assert with_desk(FlushLimits(seconds=NEVER), work).rater.offsets[:10] == list(range(10))


def test_while_draining_late_messages_are_committed_at_once() -> None:
    async def work(desk: Desk) -> None:
        assert await desk.sink.drain()
        await desk.put(batch(0))
        while not desk.acknowledged:
            await asyncio.sleep(0.01)

    assert with_desk(FlushLimits(seconds=NEVER), work).rater.commits == 1


class ThreeSteps(Rater):
    """Notes the first offsets of what was read and rated; can be held up in rating too, and made to fail there."""

    def __init__(self) -> None:
        super().__init__()
        self.was_read: list[int] = []
        self.rated: list[int] = []
        self.may_rate = threading.Event()
        self.may_rate.set()
        self.unratable: Exception | None = None

    def read(self, batches: Sequence[RawBatch]) -> Rate:
        self.was_read += [batch.offsets[0] for batch in batches]
        return lambda: self._rate(batches)

    def _rate(self, batches: Sequence[RawBatch]) -> Commit:
        assert self.may_rate.wait(5)
        if self.unratable:
            raise self.unratable
        self.rated += [batch.offsets[0] for batch in batches]
        return lambda: self._commit(batches)


def test_a_batch_is_read_and_another_rated_while_the_one_before_is_committed_and_all_in_order() -> None:
    async def work(desk: Desk) -> None:
        desk.rater = rater = ThreeSteps()
        desk.sink._rater = rater
        rater.go.clear()
        for first in (0, 10, 20, 30):
            await desk.put(batch(first))
            await asyncio.sleep(0.1)
        assert (rater.rated, rater.was_read) == ([0, 10], [0, 10, 20])
        assert desk.acknowledged == []
        rater.go.set()
        assert await desk.sink.drain()

    assert with_desk(FlushLimits(seconds=0.01), work).acknowledged == [9, 19, 29, 39]


def test_when_rating_fails_nothing_after_it_is_rated_and_what_was_rated_before_is_committed() -> None:
    async def work(desk: Desk) -> None:
        desk.rater = rater = ThreeSteps()
        desk.sink._rater = rater
        await desk.put(batch(0))
        assert await desk.sink.drain()
        rater.may_rate.clear()
        rater.unratable = BrokenPromise("a total went backwards")
        for first in (10, 20):
            await desk.put(batch(first))
            await asyncio.sleep(0.1)
        assert rater.was_read == [0, 10, 20]
        rater.may_rate.set()
        with pytest.raises(BrokenPromise):
            await desk.running
        assert not await desk.sink.drain()

    desk = with_desk(FlushLimits(seconds=0.01), work)
    assert (desk.rater.offsets, desk.acknowledged) == ([*range(10)], [9])


def test_when_a_commit_fails_the_batch_that_was_rated_meanwhile_is_not_committed_either() -> None:
    async def work(desk: Desk) -> None:
        desk.rater = rater = ThreeSteps()
        desk.sink._rater = rater
        rater.go.clear()
        rater.error = Fenced(["kafka:usage@1/0"])
        for first in (0, 10):
            await desk.put(batch(first))
            await asyncio.sleep(0.1)
        assert rater.rated == [0, 10]
        rater.go.set()
        with pytest.raises(Fenced):
            await desk.running
        rater.error = None
        assert not await desk.sink.drain()

    desk = with_desk(FlushLimits(seconds=0.01), work)
    assert desk.acknowledged == []
    assert desk.rater.offsets == []


def test_a_failure_is_noticed_when_no_more_messages_come() -> None:
    async def work(desk: Desk) -> None:
        desk.rater.error = Fenced(["kafka:usage@1/0"])
        await desk.put(batch(0))
        with pytest.raises(Fenced):
            await desk.running

    with_desk(FlushLimits(seconds=0.01), work)
