"""Gives messages that came by any key the key of the account which pays for their events, so that its own worker counts them.

A message whose events are counted on one partition passes on as it is. One that mixes accounts of several partitions is cut
into messages, one an account, each event in its own bytes. Nothing is dropped and nothing guessed: what belongs to nobody, or
cannot be read, passes on by the key it came with, and the worker that gets it writes the reject.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import polars as pl
from aiokafka.partitioner import murmur2

from pipelines.binary_mode import structured_values
from pipelines.keys import Keys
from pipelines.message_events import read_messages
from pipelines.message_parts import ARROW_FILE, ARROW_STREAM
from pipelines.producer import MAX_MESSAGE_BYTES
from schemas.usage import Header

LONGEST_PIECE_BYTES = MAX_MESSAGE_BYTES // 2
"""Rows of an Arrow message are longer as JSON. Pieces of other messages are never longer than the message."""


class Letter(NamedTuple):
    """A message on its way from one topic to another."""

    partition: int
    """Of the topic it came from."""
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


@dataclass(frozen=True)
class Rekeyed:
    """Where letters go, and what was seen in them."""

    letters: Mapping[int, Sequence[Letter]]
    """By partition of the usage topic, those of one source partition in the order in which they came."""
    events: int
    split: int
    """Letters that mixed accounts of several partitions."""
    unowned: int
    """Events whose subject nobody is known by, and what is no event."""


class Rekeyer:
    """Knows the way to the partitions of a usage topic, by a roster."""

    def __init__(self, keys: Keys, partitions: int, max_event_bytes: int) -> None:
        self._keys = keys
        self._partitions = partitions
        self._max_event_bytes = max_event_bytes
        self._partition_of: Callable[[bytes], int] = lru_cache(maxsize=100_000)(
            lambda key: (murmur2(key) & 0x7FFFFFFF) % partitions
        )

    def rekey(self, letters: Sequence[Letter]) -> Rekeyed:
        """Give each letter the key of its account.

        Args:
            letters: In order of offset per partition.
        """
        values = [letter.value for letter in letters]
        if any(letter.headers for letter in letters):
            values = structured_values(values, [letter.headers for letter in letters])
        places = [place for place, value in enumerate(values) if value is not None]
        events = self._read([value for value in values if value is not None])
        owners = _owners(events, len(places))
        found: dict[int, list[Letter]] = defaultdict(list)
        ways: list[tuple[str | None, bool]] = [(None, False)] * len(letters)
        for place, way in zip(places, owners, strict=True):
            ways[place] = way
        pieces = self._cut(events.filter(pl.col("mixed")), places, letters)
        for place, (letter, (owner, mixed)) in enumerate(zip(letters, ways, strict=True)):
            if mixed:
                for piece in pieces[place]:
                    found[self._way(piece)].append(piece)
            elif owner is None:
                found[self._way(letter)].append(letter)
            else:
                key = owner.encode()
                found[self._partition_of(key)].append(letter if letter.key == key else letter._replace(key=key))
        return Rekeyed(found, events.height, len(pieces), events["owner"].null_count())

    def _way(self, letter: Letter) -> int:
        """The partition of its key. Without one: always the same for a source partition, so that order is kept."""
        return letter.partition % self._partitions if letter.key is None else self._partition_of(letter.key)

    def _read(self, values: Sequence[bytes]) -> pl.DataFrame:
        """`came_in`, `message`, `owner` (null: nobody) and `mixed`, whether its message mixes partitions; a row per event."""
        read = read_messages(values, [], self._max_event_bytes)
        owner = self._keys.of_all(read["subject"], read["occurred_at"], read["type"]).alias("owner")
        events = read.select("came_in", "message").with_columns(owner)
        if events.height == len(values) and (events["came_in"].diff().drop_nulls() == 1).all():
            return events.with_columns(mixed=pl.lit(False))
        known = owner.drop_nulls().unique()
        partitions = pl.Series([self._partition_of(key.encode()) for key in known], dtype=pl.Int32)
        counted_on = owner.replace_strict(known, partitions, default=None, return_dtype=pl.Int32).alias("counted_on")
        spread = pl.col("counted_on").max().over("came_in") != pl.col("counted_on").min().over("came_in")
        return events.with_columns(counted_on).with_columns(mixed=spread.fill_null(False)).drop("counted_on")

    def _cut(self, mixed: pl.DataFrame, places: Sequence[int], letters: Sequence[Letter]) -> dict[int, list[Letter]]:
        """The pieces of each letter that mixes partitions, by its place."""
        pieces: dict[int, list[Letter]] = {}
        for (came_in,), events in mixed.group_by("came_in", maintain_order=True):
            place = places[int(str(came_in))]
            pieces[place] = list(_pieces(letters[place], events["owner"].to_list(), events["message"].to_list()))
        return pieces


def _owners(events: pl.DataFrame, messages: int) -> list[tuple[str | None, bool]]:
    """Of each message the first owner among its events, None when there is none, and whether it mixes partitions."""
    if events.height == messages == events["came_in"].n_unique():
        return [(owner, False) for owner in events["owner"]]
    found: list[tuple[str | None, bool]] = [(None, False)] * messages
    first = events.group_by("came_in").agg(pl.col("owner").drop_nulls().first(), pl.col("mixed").first())
    for came_in, owner, mixed in first.iter_rows():
        found[came_in] = (owner, mixed)
    return found


def _pieces(letter: Letter, owners: Sequence[str | None], texts: Sequence[bytes]) -> Iterator[Letter]:
    """A letter cut by owner, in order of their first events. What nobody owns stays with the first one.

    So the first piece begins with what the letter began with, and all others hold events only: each is read as before.
    """
    first = next(owner for owner in owners if owner is not None)
    parts: dict[str, list[bytes]] = {first: []}
    for owner, text in zip(owners, texts, strict=True):
        parts.setdefault(owner or first, []).append(text)
    value = letter.value or b""
    is_array = value.lstrip(b" \t\r\n")[:1] == b"["
    grows = value.startswith((ARROW_STREAM, ARROW_FILE))
    for owner, members in parts.items():
        for group in _bounded(members) if grows else [members]:
            whole = b"[" + b",".join(group) + b"]" if is_array else b"\n".join(group)
            yield letter._replace(key=owner.encode(), value=whole)


def _bounded(texts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The texts in groups that fit into a message."""
    group: list[bytes] = []
    size = 0
    for text in texts:
        if group and size + len(text) > LONGEST_PIECE_BYTES:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text) + 1
    yield group
