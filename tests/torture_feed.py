"""What the torture suite sends: a template's usage, in chunks, with poison between, and a note of everything that was sent."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from examples.video_conference_events import generate_events
from pipelines.producer import Message, send_messages
from schemas.errors import Refused
from tests.torture_messages import Chunk, make_chunk
from tests.torture_prices import expected_rows
from tests.torture_world import World, with_our_customers

MONTHS = ("2026-10", "2026-09")
BLOCK_EVENTS = 100_000
"""Events of one month that are made at a time."""
REST_SECONDS = 0.25
"""Between two chunks, so that there is always something on its way."""
KEPT_CHUNKS = 60
"""How many of the newest chunks are kept, to be sent again when the topic is lost with what was in it."""

CODECS = ("gzip", "snappy", "lz4", "zstd", None)
"""How chunks are compressed, one after the other."""


@dataclass(frozen=True)
class Delivered:
    """A chunk, and where it went: partition -> last offset."""

    chunk: Chunk
    reached: Mapping[int, int]


class Feed:
    """Sends events in a thread of its own, as fast as it is allowed to.

    Args:
        allowed: Asked before every chunk: how many events may be sent in all by now.
        keyed: Whether messages have the key of their account; otherwise they go round the partitions.
    """

    def __init__(
        self,
        kafka: str,
        topic: str,
        folder: Path,
        world: World,
        *,
        events: int,
        seed: int,
        allowed: Callable[[], int],
        codecs: Sequence[str | None] = (None,),
        keyed: bool = True,
    ) -> None:
        self._keyed = keyed
        self.sent = 0
        self.poisoned = 0
        self.resent = 0
        """Chunks that were sent again because the broker or the topic went away: each may be in the ledger's rejects twice."""
        self.reached: dict[int, int] = {}
        """Partition -> last offset."""
        self.failure: BaseException | None = None
        self._place = kafka, topic
        self._world = world
        self._folder = folder
        self._events, self._seed, self._allowed = events, seed, allowed
        self._codecs = itertools.cycle(codecs)
        self._ended = False
        self._chunk_events = max(100, min(5_000, events // 50))
        self._recent: deque[Delivered] = deque(maxlen=KEPT_CHUNKS)
        self._again: list[Chunk] = []
        self._files = 0
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def noted(self) -> Path:
        """Folder of Parquet files of what was sent: sent/, poison/ and orders/."""
        return self._folder

    def start(self) -> None:
        for name in ("sent", "poison", "orders", "files"):
            (self._folder / name).mkdir(parents=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """Send no more chunks. What was sent is noted, and a lost topic's chunks are sent again as long as it runs."""
        self._ended = True

    def pause(self) -> None:
        """Returns when nothing is being sent; nothing will be until `resume`."""
        self._sending.acquire()

    def resume(self) -> None:
        self._sending.release()

    def lag(self, positions: Mapping[int, int]) -> int:
        """How many of the newest chunks have not reached the ledger wholly."""
        return sum(any(positions.get(p, -1) < at for p, at in each.reached.items()) for each in self._recent)

    def lose_topic(self, positions: Mapping[int, int]) -> None:
        """The topic is gone: what the ledger had not reached is sent again. Call it while paused.

        Args:
            positions: Partition -> last offset that the ledger has of the lost topic.
        """
        lost = [each.chunk for each in self._recent if any(positions.get(p, -1) < at for p, at in each.reached.items())]
        assert len(lost) < KEPT_CHUNKS, "what is lost is more than what was kept"
        self._again += lost
        self.resent += len(lost)
        self._recent.clear()
        self.reached = {}

    def write_file(self, events: int) -> tuple[Path, Callable[[], None]]:
        """A usage file of new events, and what notes them as sent once the file has been rated."""
        self._files += 1
        month = MONTHS[self._files % len(MONTHS)]
        made = generate_events(events=events, seed=self._seed + 10_000 + self._files, month=month)
        values = self._own(made, f"file{self._files}")
        path = self._folder / "files" / f"{self._files:04}.ndjson"
        path.write_bytes(b"".join(value + b"\n" for value in values))
        rows, number = expected_rows(values, month), self._files

        def note() -> None:
            rows.write_parquet(self._folder / "sent" / f"file-{number:04}.parquet")

        return path, note

    def _run(self) -> None:
        try:
            for number, (values, month) in enumerate(self._chunks()):
                while self.sent >= self._allowed() and not self._ended:
                    with self._sending:
                        self._send_again()
                    time.sleep(0.05)
                with self._sending:
                    self._send_again()
                    if self._ended:
                        return
                    chunk = make_chunk(values, number)
                    self._deliver(chunk)
                    self._note(chunk, number, month)
                time.sleep(REST_SECONDS)
        except BaseException as error:
            self.failure = error
            raise

    def _send_again(self) -> None:
        while self._again:
            self._deliver(self._again[0])
            self._again.pop(0)

    def _note(self, chunk: Chunk, number: int, month: str) -> None:
        expected_rows(chunk.events, month).write_parquet(self._folder / "sent" / f"{number:06}.parquet")
        chunk.poison.write_parquet(self._folder / "poison" / f"{number:06}.parquet")
        chunk.orders.write_parquet(self._folder / "orders" / f"{number:06}.parquet")
        self.sent += len(chunk.events)
        self.poisoned += chunk.poison.height

    def _chunks(self) -> Iterator[tuple[pl.Series, str]]:
        """Events and their month. Blocks have the same ids, so each gets its own prefix."""
        for block, first in enumerate(range(0, self._events, BLOCK_EVENTS)):
            month = MONTHS[block % len(MONTHS)]
            count = min(BLOCK_EVENTS, self._events - first)
            made = generate_events(events=count, seed=self._seed + block, month=month)
            for start in range(0, count, self._chunk_events):
                yield self._own(made[start : start + self._chunk_events], str(block)), month

    def _own(self, made: Sequence[bytes], prefix: str) -> pl.Series:
        """Events of the template as ours: with ids of their own, and those of our customers among them."""
        mine = with_our_customers(made, self._world.newcomers)
        return pl.Series([value.replace(b'"id":"', b'"id":"%s-' % prefix.encode(), 1) for value in mine], dtype=pl.Binary)

    def _deliver(self, chunk: Chunk) -> None:
        messages: list[Message] = chunk.messages if self._keyed else [(None, value) for _, value in chunk.messages]
        while True:
            try:
                delivery = asyncio.run(send_messages(*self._place, messages, compression=next(self._codecs)))
            except Refused:
                self.resent += 1
                continue
            assert delivery.delivered == len(messages)
            self.reached |= delivery.last_offsets
            self._recent.append(Delivered(chunk, delivery.last_offsets))
            return
