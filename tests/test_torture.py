"""The short form of the torture suite; `make torture` runs the long one. docs/RELIABILITY.md says what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import torture
from tests.torture_run import Plan


@pytest.mark.torture
def test_each_event_is_charged_once_and_right_whatever_is_done_to_the_workers(tmp_path: Path) -> None:
    outcome = torture(Plan(events=4_000, kills=4, most_workers=2, flush_events=200), tmp_path)
    assert not outcome.faults(), outcome.table()
    assert outcome.verdict.events == 4_000
    assert outcome.run.crew.kills.total() >= 4
