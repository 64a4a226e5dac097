"""The benchmarks' company can be rated: every event of it is charged, by one price or by three."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import compile_terms

WORLD = Path(__file__).parents[1] / "bench" / "usage_world.py"


@pytest.mark.parametrize("fan_out", [1, 3])
def test_every_event_of_the_benchmark_is_charged(fan_out: int, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("usage_world", WORLD)
    assert spec is not None
    assert spec.loader is not None
    world = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(world)
    events = pl.read_parquet(world.write_events(tmp_path, 0, fan_out, rows=1_000, holders=500))
    terms = compile_terms(world.make_book(fan_out), world.make_roster(holders=500))
    rated = rate_batch(events, terms, Counters(), SeenEvents())
    assert rated.rejects.is_empty()
    assert rated.postings.height == 1_000 * fan_out
    assert rated.postings["amount"].min() is not None
