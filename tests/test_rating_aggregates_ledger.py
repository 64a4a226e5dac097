"""Aggregates with points in a workspace: a worker that starts anew finds them in the ledger, and the bill run bills them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import polars as pl
import pytest

from pipelines.checks import run_checks
from pipelines.rater import Rater, RateResult
from pipelines.rejected import retry_rejects
from schemas.usage import RawBatch
from tests.billing_world import NOVEMBER, OCTOBER, Office
from tests.rating_world import Row, World, tiers

SOURCE = ("file:aggregates", 0)


def message(name: str, value: str, at: str, **more: object) -> bytes:
    row: Row = {"specversion": "1.0", "id": name, "source": "meter", "type": "used", "subject": "acme-1", "time": at}
    return orjson.dumps(row | {"data": {"value": value}} | more)


def world(aggregation: str) -> World:
    made = World().meter(aggregation=aggregation).price("usage", tiers((None, "0.5")))
    return made.account(name="Acme").subscription()


class Shop(Office):
    """An office whose events come as messages; every batch is rated by a worker that has just started."""

    sent = 0

    def send(self, *messages: bytes) -> RateResult:
        rater = Rater(self.workspace, self.ledger, self.workspace.settings.limits)
        rater.assign([SOURCE])
        received = [int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)] * len(messages)
        offsets = range(self.sent, self.sent + len(messages))
        self.sent += len(messages)
        return rater.process([RawBatch(*SOURCE, offsets, list(messages), received)])

    def rows(self) -> pl.DataFrame:
        return (
            self.ledger.postings.scan().filter(pl.col("event_id").is_not_null()).collect().sort("stream_offset", "stream_row")
        )

    def total(self) -> int:
        """Where the only aggregate stands."""
        return int((self.rows()["after_quanta"] - self.rows()["before_quanta"]).sum())


TIMES = {"early": "2026-10-10T09:10:00Z", "middle": "2026-10-10T09:40:00Z", "late": "2026-10-31T23:00:00Z"}
TOTALS: Mapping[str, int] = {
    "sum": 15,
    "count": 3,
    "max": 7,
    "min": 3,
    "unique": 3,
    "latest": 5,
    "hourly_max": 12,
    "daily_max": 12,
    "unit_hours": 3628,
    "peak": 15,
}
"""What 3 early, 7 in the middle and 5 late amount to."""


@pytest.mark.parametrize("aggregation", TOTALS)
def test_a_worker_that_starts_anew_finds_the_points_in_the_ledger(aggregation: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", world(aggregation))
    shop.send(message("late", "5", TIMES["late"]), message("early", "3", TIMES["early"]))
    shop.send(message("middle", "7", TIMES["middle"]))
    assert shop.total() == TOTALS[aggregation]
    assert run_checks(shop.workspace)["agrees"].all()


def test_a_level_is_billed_until_the_end_of_the_period(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", world("unit_hours"))
    shop.send(message("high", "10", "2026-10-31T12:00:00Z"))
    shop.send(message("low", "1", "2026-10-31T22:00:00Z"))
    shop.bill(OCTOBER)
    assert shop.lines(OCTOBER).select("quantity", "exact_amount", "events").rows() == [(102, 51, 2)]


def test_a_row_that_does_not_lead_on_from_another_is_found(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", world("latest"))
    shop.send(message("early", "3", TIMES["early"]), message("late", "5", TIMES["late"]))
    broken = shop.rows().with_columns(before_quanta=pl.lit(4, pl.Int64), event_id=pl.lit("made up"))
    shop.post(broken.drop("stream", "stream_partition", "stream_offset", "stream_row").to_dicts()[-1:])
    checks = run_checks(shop.workspace).filter(~pl.col("agrees"))
    assert checks.select("check", "left", "right").rows() == [("aggregates: sum of steps = last state", 1, 0)]


def taking_back(name: str, of: str) -> bytes:
    return message(name, "", TIMES["late"], retracts=of)


LEFT: Mapping[str, int] = {
    **TOTALS,
    "sum": 8,
    "count": 2,
    "max": 5,
    "unique": 2,
    "hourly_max": 8,
    "daily_max": 8,
    "unit_hours": 1559,
    "peak": 8,
}
"""The same without the 7 in the middle."""


@pytest.mark.parametrize("aggregation", TOTALS)
def test_a_worker_that_starts_anew_finds_what_is_taken_back(aggregation: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", world(aggregation))
    shop.send(message("late", "5", TIMES["late"]), message("middle", "7", TIMES["middle"]))
    assert shop.send(taking_back("r", "middle"), taking_back("x", "none")).rejects == {"unknown_retraction": 1}
    shop.send(message("early", "3", TIMES["early"]))
    assert shop.total() == LEFT[aggregation]
    assert (
        shop.send(taking_back("r", "middle"), taking_back("s", "middle"), message("middle", "7", TIMES["middle"])).duplicates
        == 3
    )
    assert shop.send(message("r", "7", TIMES["middle"])).rejects == {"duplicate_differs": 1}
    assert shop.total() == LEFT[aggregation]
    assert run_checks(shop.workspace)["agrees"].all()


def test_a_retraction_of_a_closed_period_is_a_late_line_of_the_next_run(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", world("sum"))
    shop.send(message("a", "10", TIMES["early"]), message("b", "4", TIMES["early"]))
    shop.bill(OCTOBER)
    shop.send(taking_back("r", "a"), message("c", "1", "2026-11-02T00:00:00Z"))
    shop.bill(NOVEMBER)
    lines = shop.lines(NOVEMBER).select("usage_period", "late", "quantity", "exact_amount").sort("usage_period")
    assert lines.rows() == [(date(2026, 10, 1), True, -10, -5), (date(2026, 11, 1), False, 1, Decimal("0.5"))]


def test_an_event_that_was_rejected_can_be_taken_back_once_it_is_charged(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", world("sum"))
    assert shop.send(taking_back("r", "a")).rejects == {"unknown_retraction": 1}
    shop.send(message("a", "10", TIMES["early"]))
    assert retry_rejects(shop.workspace, [], lambda _: None).postings == 1
    assert shop.total() == 0
