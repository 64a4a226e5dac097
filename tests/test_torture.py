"""The short form of the torture suite; `make torture` runs the long one. docs/RELIABILITY.md says what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import torture
from tests.torture_run import Plan
from tests.torture_worker import POINTS


@pytest.mark.torture
def test_each_event_is_charged_once_and_right_though_a_worker_is_killed_at_every_point_of_a_batch(tmp_path: Path) -> None:
    outcome = torture(Plan(events=4_000, kills=len(POINTS), points_only=True), tmp_path)
    assert not outcome.faults(), outcome.table()
    assert outcome.verdict.events == 4_000 + 2_000, "those that were sent and those of a file"
    assert all(outcome.run.crew.kills[point] for point in POINTS), outcome.table()
    assert outcome.verdict.books > 1, "no worker has taken the price book that was published meanwhile"
    assert outcome.verdict.balance_rows > 100
