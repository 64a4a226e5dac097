"""What the transport hands over, and the check that none of it is missing, repeated or from before a seek.

Around a rebalance Faust drops messages it has fetched, and may hand over some that were read before the last seek. Rating a
later message before an earlier one would move the ledger's position past it: the earlier one would be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.errors import BrokenPromise
from schemas.usage import RawBatch


class Delivery(NamedTuple):
    """What one poll brought of one partition: the value of a Faust message."""

    batch: RawBatch
    generation: int  # the seek it was read after
    follows: int  # last offset of the delivery before it, or the position it was sought to - 1


class Deliveries:
    """Lets every delivery through once and in order, and only those of the newest seek."""

    def __init__(self) -> None:
        self._generation = 0
        self._last: dict[int, int] = {}

    def close(self) -> int:
        """Before a seek: admit nothing of what was read so far. Returns the generation of what will be read after it."""
        self._generation += 1
        self._last = {}
        return self._generation

    def open(self, last: Mapping[int, int]) -> None:
        """Partitions that will be read, each with the offset before its first."""
        self._last = dict(last)

    def admit(self, delivery: Delivery) -> bool:
        """False for a stale delivery: the newer seek reads it again.

        Raises:
            BrokenPromise: The delivery before this one never came. A restart reads it from the topic.
        """
        partition = delivery.batch.partition
        if delivery.generation != self._generation or partition not in self._last:
            return False
        if delivery.follows != self._last[partition]:
            raise BrokenPromise(
                f"Partition {partition}: read up to offset {self._last[partition]}, but the next messages follow offset "
                f"{delivery.follows}. Nothing of them was rated. Start the worker again; it continues from the ledger."
            )
        self._last[partition] = delivery.batch.offsets[-1]
        return True
