"""Compiled loops, and the folder in which numba keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from rating.compiled import compiled


def double(numbers: np.ndarray) -> None:
    for i in range(len(numbers)):
        numbers[i] *= 2


def test_a_full_disk_where_compiled_loops_are_kept_is_no_reason_not_to_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", no_room)
    numbers = np.array([1, 2, 3])
    loop = compiled(double)
    loop(numbers)
    loop(numbers)
    assert numbers.tolist() == [4, 8, 12]
