"""What the torture suite sends: a template's usage, in chunks, with poison between, and a note of everything that was sent."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson
import polars as pl

from examples.video_conference_events import generate_events
from pipelines.producer import Message, send_messages
from schemas.errors import Refused
from tests.torture_prices import SUBSCRIPTIONS, expected_rows

MONTHS = ("2026-10", "2026-09")
BLOCK_EVENTS = 100_000
"""Events of one month that are made at a time."""
POISON_EVERY = 100
"""Messages between two poisoned ones."""
REST_SECONDS = 0.25
"""Between two chunks, so that there is always something on its way."""


CODECS = ("gzip", "snappy", "lz4", "zstd", None)
"""How chunks are compressed, one after the other."""


class Feed:
    """Sends events in a thread of its own, as fast as it is allowed to.

    Args:
        allowed: Asked before every chunk: how many events may be sent in all by now.
    """

    def __init__(
        self,
        kafka: str,
        topic: str,
        folder: Path,
        *,
        events: int,
        seed: int,
        allowed: Callable[[], int],
        codecs: Sequence[str | None] = (None,),
    ) -> None:
        self.sent = 0
        self.poisoned = 0
        self.resent = 0
        """Chunks that were sent again because the broker went away: each may be in the topic twice."""
        self.reached: dict[int, int] = {}
        """Partition -> last offset."""
        self.failure: BaseException | None = None
        self._place = kafka, topic
        self.sent_folder, self.poison_folder = folder / "sent", folder / "poison"
        self._events, self._seed, self._allowed = events, seed, allowed
        self._codecs = itertools.cycle(codecs)
        self._chunk_events = max(100, min(5_000, events // 50))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        for place in (self.sent_folder, self.poison_folder):
            place.mkdir(parents=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            for number, (values, month) in enumerate(self._chunks()):
                while self.sent >= self._allowed():
                    time.sleep(0.05)
                messages, poison = with_poison(values, number)
                self._deliver(messages)
                expected_rows(values, month).write_parquet(self.sent_folder / f"{number:06}.parquet")
                poison.write_parquet(self.poison_folder / f"{number:06}.parquet")
                self.sent += len(values)
                self.poisoned += poison.height
                time.sleep(REST_SECONDS)
        except BaseException as error:
            self.failure = error
            raise

    def _chunks(self) -> Iterator[tuple[pl.Series, str]]:
        """Events and their month. Blocks have the same ids, so each gets its own prefix."""
        for block, first in enumerate(range(0, self._events, BLOCK_EVENTS)):
            month = MONTHS[block % len(MONTHS)]
            count = min(BLOCK_EVENTS, self._events - first)
            made = generate_events(events=count, seed=self._seed + block, month=month)
            values = pl.Series([value.replace(b'"id":"', b'"id":"%d-' % block, 1) for value in made], dtype=pl.Binary)
            for start in range(0, count, self._chunk_events):
                yield values.slice(start, self._chunk_events), month

    def _deliver(self, messages: list[Message]) -> None:
        while True:
            try:
                delivery = asyncio.run(send_messages(*self._place, messages, compression=next(self._codecs)))
            except Refused:
                self.resent += 1
                continue
            assert delivery.delivered == len(messages)
            self.reached |= delivery.last_offsets
            return


def with_poison(values: pl.Series, chunk: int) -> tuple[list[Message], pl.DataFrame]:
    """The events as keyed messages with poison after every hundredth, and the poison as `message`, `reason`.

    Beside poison there are tombstones and events sent a second time, neither of which may leave a trace.
    """
    messages: list[Message] = []
    poison: list[tuple[bytes, str]] = []
    for number, value in enumerate(values):
        event = orjson.loads(value)
        key = SUBSCRIPTIONS[event["subject"]].removeprefix("sub-").encode()
        messages.append((key, value))
        if number % POISON_EVERY == 0:
            for message, reason in _poison(event, f"{chunk}-{number}"):
                poison.append((message, reason))
                messages.append((b"stranger-%d" % (number % 7) if reason == "unknown_subject" else key, message))
            messages += [(key, None), (key, value)]
    return messages, pl.DataFrame(poison, schema={"message": pl.Binary, "reason": pl.String}, orient="row")


def _poison(event: Mapping[str, object], number: str) -> list[tuple[bytes, str]]:
    """Two or three messages that must be rejected, made of an event; no two are the same."""
    kinds: list[tuple[dict[str, object], str]] = [
        (
            {"data": {"minutes": "NaN", "gigabytes": "NaN", "ports": "NaN", "region": "cn", "call_type": "video"}},
            "bad_quantity",
        ),
        ({"time": "2090-01-01T00:00:00Z"}, "time_in_future"),
        ({"type": "weather.changed"}, "unknown_type"),
        ({"time": "2026-10-05T02:00:00"}, "time_without_zone"),
    ]
    changes, reason = kinds[hash_of(number) % len(kinds)]
    return [
        (orjson.dumps({**event, "id": f"poison-{number}", **changes}), reason),
        (orjson.dumps({**event, "id": f"poison-{number}", "subject": "stranger"}), "unknown_subject"),
        (b'{"specversion":"1.0","id":"poison-%s",' % number.encode(), "unreadable"),
    ]


def hash_of(text: str) -> int:
    """The same in every process, which `hash` is not."""
    return sum(text.encode())
