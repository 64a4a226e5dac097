"""Columns of text that stand in a larger text: views as Arrow has them, so that nothing is copied."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from rating.compiled import compiled

Bytes: TypeAlias = npt.NDArray[np.uint8]
Places: TypeAlias = npt.NDArray[np.int64]

LONGEST_TEXT_BYTES = (1 << 31) - 1
"""A view says in 31 bits where it begins."""


def view_texts(text: bytes, start: Places, stop: Places) -> pl.Series:
    """String: what stands in `text` from `start` to `stop` (excluded); null where `start` is below 0. It must be UTF-8."""
    return _view(text, start, stop, pa.string_view(), pl.String())


def view_bytes(text: bytes, start: Places, stop: Places) -> pl.Series:
    """The same as Binary."""
    return _view(text, start, stop, pa.binary_view(), pl.Binary())


def _view(text: bytes, start: Places, stop: Places, kind: pa.DataType, dtype: pl.DataType) -> pl.Series:
    words = np.empty((len(start), 4), np.int32)
    absent = _write_views(np.frombuffer(text, np.uint8), start, stop, words.view(np.uint8), words)
    if absent == len(start):
        return pl.repeat(None, absent, dtype=dtype, eager=True)
    present = pa.py_buffer(np.packbits(start >= 0, bitorder="little")) if absent else None
    array = pa.Array.from_buffers(kind, len(start), [present, pa.py_buffer(words), pa.py_buffer(text)])
    return pl.Series(array, dtype=dtype)


@compiled
def _write_views(text: Bytes, start: Places, stop: Places, views: Bytes, words: npt.NDArray[np.int32]) -> int:
    """Sixteen bytes each: the size, then the text itself when it is short, else how and where it begins.

    Returns how many are absent.
    """
    absent = 0
    for i in range(len(start)):
        size = stop[i] - start[i] if start[i] >= 0 else 0
        absent += start[i] < 0
        words[i, 0] = size
        words[i, 1], words[i, 2], words[i, 3] = 0, 0, 0
        for place in range(size if size <= 12 else 4):
            views[i, 4 + place] = text[start[i] + place]
        if size > 12:
            words[i, 3] = start[i]
    return absent
