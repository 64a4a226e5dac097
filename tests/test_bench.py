"""The benchmarks' company can be rated: every event of it is charged, by one price or by three. What is profiled exists."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import polars as pl
import pytest

from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import compile_terms

BENCH = Path(__file__).parents[1] / "bench"


def load(name: str) -> Any:
    """A program of bench/ as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fan_out", [1, 3])
def test_every_event_of_the_benchmark_is_charged(fan_out: int, tmp_path: Path) -> None:
    world = load("usage_world")
    events = pl.read_parquet(world.write_events(tmp_path, 0, fan_out, rows=1_000, holders=500))
    terms = compile_terms(world.make_book(fan_out), world.make_roster(holders=500))
    rated = rate_batch(events, terms, Counters(), SeenEvents())
    assert rated.rejects.is_empty()
    assert rated.postings.height == 1_000 * fan_out
    assert rated.postings["amount"].min() is not None


def test_every_stage_that_is_profiled_is_a_function() -> None:
    for place in load("worker_stages").STAGES.values():
        assert callable(resolve_name(place))
