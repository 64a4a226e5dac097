"""The transport's own bookkeeping, without a broker: what is published, what is admitted, what is noticed."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from pipelines import transport
from pipelines.deliveries import Deliveries, Delivery
from pipelines.logs import NoFlood
from pipelines.transport import Consumer, FetchThread, Wiring
from schemas.errors import BrokenPromise, StreamMoved
from schemas.usage import RawBatch

USAGE_0 = TP("usage", 0)


def delivery(offsets: list[int], follows: int, generation: int = 1, partition: int = 0) -> Delivery:
    batch = RawBatch("kafka:usage@1", partition, offsets, [b""] * len(offsets), [0] * len(offsets))
    return Delivery(batch, generation, follows)


def opened(last: dict[int, int]) -> Deliveries:
    deliveries = Deliveries()
    deliveries.close()
    deliveries.open(last)
    return deliveries


def test_deliveries_in_order_are_admitted_also_with_gaps_in_the_offsets() -> None:
    deliveries = opened({0: 9, 1: -1})
    assert deliveries.admit(delivery([10, 11], follows=9))
    assert deliveries.admit(delivery([0], follows=-1, partition=1))
    assert deliveries.admit(delivery([15, 19], follows=11))  # 12..14: a transaction's marker, or compacted away


def test_a_delivery_read_before_the_last_seek_is_refused() -> None:
    deliveries = opened({0: 9})
    assert deliveries.close() == 2
    assert not deliveries.admit(delivery([10], follows=9, generation=1))
    assert not deliveries.admit(delivery([10], follows=9, generation=2)), "nothing is admitted until the seek is done"
    deliveries.open({0: 9})
    assert deliveries.admit(delivery([10], follows=9, generation=2))
    assert not deliveries.admit(delivery([0], follows=-1, generation=2, partition=5)), "not our partition"


@pytest.mark.parametrize("follows", [8, 10, 12])
def test_a_delivery_that_does_not_follow_the_one_before_is_a_broken_promise(follows: int) -> None:
    deliveries = opened({0: 9})
    assert deliveries.admit(delivery([10, 11], follows=9))
    with pytest.raises(BrokenPromise, match="continues from the ledger"):
        deliveries.admit(delivery([13], follows=follows))


def consumer() -> Any:
    """A Consumer with its bookkeeping only."""
    made = object.__new__(Consumer)
    made._delivered = defaultdict(deque)
    made._acked = defaultdict(list)
    made._acked_index = defaultdict(set)
    return made


def acknowledge(made: Any, offset: int) -> None:
    """What Faust's Consumer.ack does to the two collections."""
    made._acked[USAGE_0].append(offset)
    made._acked_index[USAGE_0].add(offset)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_published_offsets_never_pass_an_unacknowledged_delivery(steps: list[int], random: Any) -> None:
    ends = [sum(steps[: n + 1]) for n in range(len(steps))]  # last offsets, with gaps of any size
    made = consumer()
    made._delivered[USAGE_0].extend((end, 1) for end in ends)
    order = list(ends)
    random.shuffle(order)
    acknowledged: set[int] = set()
    published = 0
    for end in order:
        acknowledge(made, end)
        acknowledged.add(end)
        published = made._new_offset(USAGE_0) or published
        pending = [other for other in ends if other not in acknowledged]
        assert published == 1 + max((e for e in ends if not pending or e < pending[0]), default=-1)
    assert not made._acked[USAGE_0]


class Message:
    """Faust keeps weak references to them; its agent, or we, a strong one to the last."""


@pytest.mark.parametrize("drained", [True, False])
def test_nobody_waits_for_a_message_that_was_dropped_and_will_never_be_acknowledged(
    drained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drain() -> bool:
        return drained

    async def wait_for_the_unacknowledged(made: Any) -> None:
        waited_for.append(len(made._unacked_messages))

    last, waited_for, made = Message(), list[int](), consumer()
    made.wiring, made.deliveries, made._unacked_messages = SimpleNamespace(drain=drain), opened({0: 9}), WeakSet([last])
    monkeypatch.setattr(driver.Consumer, "wait_empty", wait_for_the_unacknowledged)
    asyncio.run(made.wait_empty())
    assert waited_for == [0]
    assert not made.deliveries.admit(delivery([10], follows=9)), "what was read before the partitions are given away is stale"


class SeekingConsumer(Consumer):
    """Has its bookkeeping only; a seek opens partition 0 behind offset 9, unless it is `in_vain`."""

    def __init__(self, in_vain: bool = False) -> None:
        self.deliveries, self.in_vain, self.seeks = opened({0: 9}), in_vain, 0
        self._gaps, self._unacked_messages, self.log = 0, WeakSet[Message](), logging.getLogger("transport")

    async def perform_seek(self) -> None:
        self.seeks += 1
        if not self.in_vain:
            self.deliveries.close()
            self.deliveries.open({0: 9})

    def take(self, *given: Delivery) -> list[bool]:
        return [asyncio.run(self.admit(Message(), each)) for each in given]


def test_messages_that_a_rebalance_dropped_are_read_again() -> None:
    made = SeekingConsumer()
    gone_on = [delivery([12], follows=11), delivery([13], follows=12)]
    again = [delivery([10, 11], follows=9, generation=2), delivery([12, 13], follows=11, generation=2)]
    assert made.take(*gone_on, *again) == [False, False, True, True]
    assert made.seeks == 1, "what was read before the seek is stale"


def test_a_worker_fails_when_reading_again_does_not_bring_what_is_missing() -> None:
    made = SeekingConsumer(in_vain=True)
    with pytest.raises(BrokenPromise, match="Start the worker again"):
        made.take(*[delivery([12], follows=11)] * 9)
    assert made.seeks == 3


class FakeKafka:
    """As much of AIOKafkaConsumer as the end check asks for."""

    def __init__(self, end: int | None) -> None:
        self.end = end

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("usage", 0)}

    def highwater(self, tp: TopicPartition) -> int | None:
        return self.end


def check_ends(last: int, end: int | None, monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the fetch thread reports after the topic looked like this for longer than the grace."""
    monkeypatch.setattr(transport, "END_GRACE_SECONDS", -1.0)
    reasons: list[BaseException] = []

    async def fail(reason: BaseException) -> None:
        reasons.append(reason)

    async def check() -> None:
        thread = object.__new__(FetchThread)
        wiring = Wiring("usage", "kafka:usage@1", SimpleNamespace(), SimpleNamespace(), fail)  # type: ignore[arg-type]
        thread.consumer = SimpleNamespace(wiring=wiring, loop=asyncio.get_running_loop())
        thread._last, thread._short_since = {USAGE_0: last}, {}
        await thread._check_ends(FakeKafka(end))
        await asyncio.sleep(0.05)

    asyncio.run(check())
    return reasons


def test_a_topic_that_ends_before_the_ledgers_position_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    (reason,) = check_ends(last=999, end=40, monkeypatch=monkeypatch)
    assert isinstance(reason, StreamMoved)
    assert "up to offset 999" in str(reason)
    assert "ends before offset 40" in str(reason)


@pytest.mark.parametrize(("last", "end"), [(-1, 0), (999, 1000), (999, 5000), (999, None)])
def test_a_topic_that_reaches_the_ledgers_position_is_fine(last: int, end: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_ends(last, end, monkeypatch) == []


def record(name: str, level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, message, (), None)


def test_a_library_says_the_same_thing_once_and_we_say_everything() -> None:
    quiet = NoFlood(seconds=60)
    assert quiet.filter(record("aiokafka", logging.ERROR, "Unable to connect"))
    assert not any(quiet.filter(record("aiokafka", logging.ERROR, "Unable to connect")) for _ in range(100))
    assert quiet.filter(record("aiokafka", logging.ERROR, "something else"))
    assert not quiet.filter(record("faust.app", logging.INFO, "Starting..."))
    assert all(quiet.filter(record("boss.worker", logging.INFO, "reading")) for _ in range(3))


def test_left_out_lines_are_counted() -> None:
    quiet = NoFlood(seconds=0)
    assert quiet.filter(record("aiokafka", logging.ERROR, "gone"))
    quiet._said["aiokafka", "gone"] = (0.0, 41)
    again = record("aiokafka", logging.ERROR, "gone")
    assert quiet.filter(again)
    assert again.msg == "gone (and 41 more)"
