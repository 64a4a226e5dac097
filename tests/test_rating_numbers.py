"""Numbers for keys and names: stable, dense, and never shared, whatever the hashes do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.compiled import compiled
from rating.numbers import Keys, NumberedKeys, NumberedNames
from tests.examples import examples

batches = st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=60), max_size=8)


@examples(30)
@given(batches=batches)
def test_keys_get_numbers_in_the_order_in_which_they_come(batches: list[list[int]]) -> None:
    keys, expected = NumberedKeys(), dict[int, int]()
    for batch in batches:
        array = np.array(batch, np.uint64)
        assert keys.find(array).tolist() == [expected.get(key, -1) for key in batch]
        for key in batch:
            expected.setdefault(key, len(expected))
        assert keys.add(array).tolist() == [expected[key] for key in batch]
        assert len(keys) == len(expected)


def test_many_keys_keep_their_numbers_while_the_table_grows() -> None:
    keys = NumberedKeys()
    everything = np.arange(0, 300_000 << 24, 1 << 24, dtype=np.uint64)
    for part in np.array_split(everything, 7):
        keys.add(part)
    assert (keys.find(everything) == np.arange(300_000)).all()
    assert (keys.find(everything + np.uint64(1)) == -1).all()


class Colliding(NumberedNames):
    """Names with few hashes, until another seed is tried often enough."""

    def _hash(self, names: pl.DataFrame) -> Keys:
        return super()._hash(names) % np.uint64(3 + 7 * self._seed)


@pytest.mark.parametrize("kind", [NumberedNames, Colliding])
@examples(20)
@given(batches=st.lists(st.lists(st.tuples(st.text("ab", max_size=3), st.text("ab", max_size=3)), max_size=9), max_size=5))
def test_names_are_told_apart_by_themselves(kind: type[NumberedNames], batches: list[list[tuple[str, str]]]) -> None:
    names, expected = kind(["left", "right"]), dict[tuple[str, str], int]()
    for batch in batches:
        frame = pl.DataFrame(batch, schema={"left": pl.String, "right": pl.String}, orient="row")
        assert names.find(frame).to_list() == [expected.get(name, -1) for name in batch]
        for name in batch:
            expected.setdefault(name, len(expected))
        assert names.add(frame).to_list() == [expected[name] for name in batch]
        assert len(names) == len(expected)


def test_commands_that_rate_nothing_do_not_load_the_compiler() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, cli; print('numba' in sys.modules)"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "False"


def test_loops_run_where_no_compiled_code_can_be_kept() -> None:
    """A function that comes from no file has no folder beside it: what a read-only installation without a home looks like."""
    made: dict[str, Any] = {}
    exec("def double(values):\n    for i in range(len(values)):\n        values[i] *= 2\n", made)
    values = np.array([1, 2], np.int64)
    compiled(made["double"])(values)
    assert values.tolist() == [2, 4]
