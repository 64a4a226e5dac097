"""Numbers for keys: 0, 1, 2 ... in the order in which keys first come. The index of everything that rating remembers.

A hash table with open addressing: a million keys take about 16 MB, and a batch costs the same however many keys there are.
Keys of 64 bits are numbered as they are; names (columns of text) by their hash, and every hit is verified against the names
themselves, so that two names with one hash are still two.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.compiled import compiled

Keys: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = npt.NDArray[np.int32]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads keys that differ little
_SMALLEST_BITS = 10
_FULLEST = 0.6
_GROWTH = 1.5
_LONGER = 4  # a run of names is at least so many times as long as the next, so each name is moved seldom


class NumberedKeys:
    """64-bit keys and their numbers."""

    def __init__(self) -> None:
        self._keys: Keys = np.empty(0, np.uint64)
        self._table: Numbers = np.empty(0, np.int32)
        self._used = 0
        self._grow_table(_SMALLEST_BITS)

    def __len__(self) -> int:
        return self._used

    @property
    def nbytes(self) -> int:
        """Memory that the keys and their table take."""
        return self._keys.nbytes + self._table.nbytes

    def reserve(self, count: int) -> None:
        """Make room for so many keys at once; it only saves the time of growing on the way."""
        if count > len(self._keys):
            self._keys = np.concatenate([self._keys[: self._used], np.empty(count - self._used, np.uint64)])
        if count > len(self._table) * _FULLEST:
            self._grow_table(int(count / _FULLEST).bit_length())

    def find(self, keys: Keys) -> Numbers:
        """The number of each key; -1 for one that has none."""
        found = np.empty(len(keys), np.int32)
        _find(self._table, self._shift, self._keys, keys, found)
        return found

    def add(self, keys: Keys) -> Numbers:
        """The number of each key; one that has none gets the next."""
        found = np.empty(len(keys), np.int32)
        most = self._used + len(keys)
        if most > len(self._keys):
            longer = np.empty(max(most, int(len(self._keys) * _GROWTH)), np.uint64)
            longer[: self._used] = self._keys[: self._used]
            self._keys = longer
        if most > len(self._table) * _FULLEST:
            self._grow_table(int(most / _FULLEST).bit_length())
        self._used = int(_add(self._table, self._shift, self._keys, self._used, keys, found))
        return found

    def _grow_table(self, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._table = np.empty(1 << bits, np.int32)
        _empty(self._table)
        if self._used:
            _fill(self._table, self._shift, self._keys, self._used)


class NumberedNames:
    """Rows of text and their numbers."""

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns
        self._hashes = NumberedKeys()
        self._seed = 0
        self._runs = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))]

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, names: pl.DataFrame) -> pl.Series:
        """Int64: the number of each row; -1 for one that has none.

        Args:
            names: The columns, never null.
        """
        wanted = names.select(self._columns)
        number = pl.Series("number", self._hashes.find(self._hash(wanted))).cast(pl.Int64)
        return number.zip_with(self._verify(wanted, number), pl.Series([-1], dtype=pl.Int64))

    def _verify(self, wanted: pl.DataFrame, number: pl.Series) -> pl.Series:
        """Whether each row is the name of that number. Run by run: gathering over chunks would cost eight times as much."""
        same, start = pl.repeat(False, wanted.height, dtype=pl.Boolean, eager=True), 0
        for run in self._runs:
            here = number.is_between(start, start + run.height, closed="left")
            place, part = number - start, wanted
            if not here.all():
                place, part = place.filter(here), wanted.filter(here)
            if len(place):
                there = run[place]
                equal = part.select(pl.all_horizontal(pl.col(name) == there[name] for name in self._columns)).to_series()
                same = equal if len(place) == len(same) else same.scatter(here.arg_true(), equal)
            start += run.height
        return same

    def add(self, names: pl.DataFrame) -> pl.Series:
        """Int64: the number of each row; one that has none gets the next."""
        number = self.find(names)
        unknown = number < 0
        if not unknown.any():
            return number
        missing = names.select(self._columns).filter(unknown)
        fresh = missing.unique(maintain_order=True)
        self._runs.append(fresh)
        while len(self._runs) > 1 and self._runs[-2].height < _LONGER * self._runs[-1].height:
            last = self._runs.pop()
            self._runs.append(pl.concat([self._runs.pop(), last], rechunk=True))
        self._hashes.add(self._hash(fresh))
        self._separate()
        return number.scatter(unknown.arg_true(), pl.Series(self._hashes.find(self._hash(missing))).cast(pl.Int64))

    def _separate(self) -> None:
        """Take another hash while two names share one. Seldom: once in 2^64 pairs."""
        held = pl.concat(self._runs, rechunk=False)
        while len(self._hashes) < held.height:
            self._seed += 1
            self._hashes = NumberedKeys()
            self._hashes.add(self._hash(held))

    def _hash(self, names: pl.DataFrame) -> Keys:
        parts = [
            pl.col(name).hash(self._seed * len(self._columns) + place) * (2 * place + 1)
            for place, name in enumerate(self._columns)
        ]
        return names.select(pl.sum_horizontal(parts)).to_series().to_numpy()


@compiled
def _find(table: Numbers, shift: np.uint64, keys: Keys, wanted: Keys, found: Numbers) -> None:
    last = np.uint64(len(table) - 1)
    for i in range(len(wanted)):
        key = wanted[i]
        place = (key * _SPREAD) >> shift
        number = table[place]
        while number >= 0 and keys[number] != key:
            place = (place + np.uint64(1)) & last
            number = table[place]
        found[i] = number


@compiled
def _add(table: Numbers, shift: np.uint64, keys: Keys, used: int, wanted: Keys, found: Numbers) -> int:
    last = np.uint64(len(table) - 1)
    for i in range(len(wanted)):
        key = wanted[i]
        place = (key * _SPREAD) >> shift
        number = table[place]
        while number >= 0 and keys[number] != key:
            place = (place + np.uint64(1)) & last
            number = table[place]
        if number < 0:
            number = np.int32(used)
            table[place] = number
            keys[number] = key
            used += 1
        found[i] = number
    return used


@compiled
def _empty(table: Numbers) -> None:
    """Compiled, because a large table takes seconds, and other threads must keep a session alive meanwhile."""
    for place in range(len(table)):
        table[place] = -1


@compiled
def _fill(table: Numbers, shift: np.uint64, keys: Keys, used: int) -> None:
    last = np.uint64(len(table) - 1)
    for number in range(used):
        place = (keys[number] * _SPREAD) >> shift
        while table[place] >= 0:
            place = (place + np.uint64(1)) & last
        table[place] = number
