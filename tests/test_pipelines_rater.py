"""A batch is read and rated while those before it are committed: the ledger has the same rows, a failure loses all of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ledger.table import LedgerTable
from pipelines.rater import Rater
from pipelines.settings import Limits
from schemas.errors import Fenced, LedgerUnwritable
from schemas.ledger import POSITION_KEY
from schemas.usage import RawBatch
from tests.corrections_world import RECEIVED_MS, Shop, usage

SOURCE = ("kafka:usage@1", 0)


def retraction(value: bytes) -> bytes:
    event = json.loads(value)
    return json.dumps(event | {"id": f"back-{event['id']}", "retracts": event["id"], "time": "2026-10-30T10:00:00Z"}).encode()


def three_months() -> list[list[bytes]]:
    """Batches that retract and repeat what the batch before had, and that begin months."""
    batches: list[list[bytes]] = []
    for month in ("2026-08", "2026-09", "2026-10"):
        events = usage(90, seed=7, month=month)
        batches += [events[:30], [retraction(events[0]), *events[20:60]], [retraction(events[40]), *events[55:], b"{}"]]
    return batches


def as_batches(values: Sequence[Sequence[bytes]]) -> list[RawBatch]:
    made, first = [], 0
    for some in values:
        made.append(RawBatch(*SOURCE, range(first, first + len(some)), list(some), [RECEIVED_MS] * len(some)))
        first += len(some)
    return made


def a_rater(folder: Path) -> tuple[Shop, Rater]:
    shop = Shop(folder)
    rater = Rater(shop.workspace, shop.ledger, Limits(remember_months=1))
    rater.assign([SOURCE])
    return shop, rater


def rows(shop: Shop) -> tuple[pl.DataFrame, pl.DataFrame]:
    return (
        shop.ledger.postings.scan().collect().sort(POSITION_KEY),
        shop.ledger.rejects.scan().collect().sort("stream_offset", "event_index"),
    )


def test_rated_ahead_or_one_by_one_the_ledger_has_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = as_batches(three_months())
    one_by_one, rater = a_rater(tmp_path / "one-by-one")
    for batch in batches:
        rater.process([batch])

    ahead, rater = a_rater(tmp_path / "ahead")
    hold_up(monkeypatch, seconds=0.05)
    with ThreadPoolExecutor(1) as writing:
        rates, commits = [rater.read([batch]) for batch in batches[:2]], []
        for batch in batches[2:]:  # two are always read ahead
            commits.append(writing.submit(rates.pop(0)()))
            rates.append(rater.read([batch]))
        commits += [writing.submit(rate()) for rate in rates]
        assert sum(commit.result().events for commit in commits) == sum(map(len, batches))
    for expected, found in zip(rows(one_by_one), rows(ahead), strict=True):
        assert found.equals(expected)


def hold_up(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Every append takes so long that the next batch is rated before it is done, unless rating waits for it."""
    append, pause = LedgerTable.append, threading.Event()

    def slowly(*arguments: Any, **options: Any) -> None:
        pause.wait(seconds)
        append(*arguments, **options)

    monkeypatch.setattr(LedgerTable, "append", slowly)


def test_what_was_rated_ahead_is_refused_when_the_commit_before_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, rater = a_rater(tmp_path)
    first, second, third = as_batches([part[:10] for part in three_months()[:3]])
    rater.process([first])
    before = rows(shop)[0]
    after = RawBatch(*SOURCE, third.offsets, usage(10, seed=3), third.received_at_ms)
    lost, ahead = [rate() for rate in [rater.read([second]), rater.read([after])]]

    def full(*arguments: Any, **options: Any) -> None:
        raise LedgerUnwritable(shop.ledger.postings.path, "no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(LedgerTable, "append", full)
        with pytest.raises(LedgerUnwritable):
            lost()
    with pytest.raises(Fenced):
        ahead()
    assert rows(shop)[0].equals(before)
    assert rater.assign([SOURCE]) == {SOURCE: first.offsets[-1]}
    assert rater.process([second]).events == 10


def test_after_a_failure_the_same_messages_can_be_processed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, rater = a_rater(tmp_path)
    (batch,) = as_batches([usage(20)])

    def full(*arguments: Any, **options: Any) -> None:
        raise LedgerUnwritable(shop.ledger.postings.path, "no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(LedgerTable, "append", full)
        with pytest.raises(LedgerUnwritable):
            rater.process([batch])
    done = rater.process([batch])
    assert (done.events, done.duplicates) == (20, 0)
    assert rater.process([batch]).events == 0
