"""Longest prefix: of all prefixes that a number begins with, the longest decides. How telephone tariffs name destinations.

Prefixes become spans of numbers, cut where a longer one begins or ends, so that finding one is one search among sorted numbers,
however many there are and however deep they nest. A number is brought to 17 digits and followed by its own length, which keeps
12 before the prefix 120 and after the prefix 12.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

DIGITS = 17
"""Digits of a number that are looked at; longer numbers are cut."""

_LENGTHS = 32


class PrefixTable(NamedTuple):
    """What holds from each number on, up to the next."""

    starts: pl.Series  # Int64, ascending from 0
    cells: pl.Series  # UInt32; null where no prefix holds


def build_table(prefixes: Iterable[tuple[str, int]]) -> PrefixTable:
    """The table of (prefix, cell); prefixes are digits, with or without a plus before them."""
    spans = []
    for prefix, cell in prefixes:
        digits = prefix.removeprefix("+")
        size = int(10 ** (DIGITS - len(digits))) * _LENGTHS
        spans.append((int(digits) * size + len(digits), (int(digits) + 1) * size, cell))
    found: dict[int, int | None] = {0: None}
    around: list[tuple[int, int]] = []  # spans that are open: where they end, and their cell
    for start, end, cell in sorted(spans):
        _close(around, start, found)
        found[start] = cell
        around.append((end, cell))
    _close(around, int(10**DIGITS) * _LENGTHS, found)
    return PrefixTable(pl.Series("starts", list(found), pl.Int64), pl.Series("cell", list(found.values()), pl.UInt32))


def find_prefixes(numbers: pl.Series, table: PrefixTable) -> pl.Series:
    """The cell of each number (String); null for what is no number or begins with no prefix."""
    digits = numbers.str.strip_prefix("+").str.head(DIGITS)
    length = digits.str.len_bytes().cast(pl.Int64)
    sizes = pl.Series([int(10 ** (DIGITS - count)) * _LENGTHS for count in range(DIGITS + 1)], dtype=pl.Int64)
    frame = pl.DataFrame({"value": digits.cast(pl.Int64, strict=False), "length": length, "size": sizes.gather(length)})
    place = frame.select(pl.when(pl.col("value") >= 0).then(pl.col("value") * pl.col("size") + pl.col("length"))).to_series()
    found = table.cells.gather(table.starts.search_sorted(place.fill_null(0), side="right") - 1)
    return found.zip_with(place.is_not_null(), pl.Series([None], dtype=pl.UInt32)).alias("cell")


def _close(around: list[tuple[int, int]], start: int, found: dict[int, int | None]) -> None:
    """Ends the spans that end at or before `start`: from there on the one around them holds again."""
    while around and around[-1][0] <= start:
        end, _ = around.pop()
        found[end] = around[-1][1] if around else None
