"""What a rater remembers can be read back from the ledger's rows alone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import polars as pl
import pytest

from ledger.book import Ledger, open_ledger
from ledger.state import EVENT_COLUMNS, EVERYTHING, REJECT_KEY, Part, aggregate_totals, event_ids, newest_month, reject_keys
from ledger.table import LedgerTable, source_id
from schemas.errors import BrokenPromise
from schemas.ledger import AGGREGATE_KEY, POSTINGS
from schemas.usage import REJECTS

KAFKA = source_id("kafka:usage@1", 0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path)


def step(subscription: str, before: int | None, after: int, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "stream": "kafka:usage@1",
        "event_source": "meet",
        "event_id": f"{subscription}-{after}",
        "occurred_at": datetime(2026, 10, 5, tzinfo=UTC),
        "account_id": "acme",
        "subscription_id": subscription,
        "counted_for": subscription,
        "role": "revenue",
        "meter_id": "minutes",
        "price_id": "meeting.minutes",
        "price_version": "2026-01-01",
        "usage_period": date(2026, 10, 1),
        "usage_month": "2026-10",
        "quantity_quanta": after - (before or 0),
        "before_quanta": before,
        "after_quanta": after,
    }
    return row | more


def append(table: LedgerTable, rows: list[dict[str, object]]) -> None:
    position = table.position(KAFKA)
    table.append(table.schema.build(rows), expected={KAFKA: position}, reached={KAFKA: (position or 0) + len(rows)})


def events_of(table: LedgerTable, part: Part = EVERYTHING) -> pl.DataFrame:
    schema = {name: POSTINGS.columns[name] for name in EVENT_COLUMNS}
    return pl.concat([pl.DataFrame(schema=schema), *event_ids(table, part)]).unique()


def totals_of(table: LedgerTable) -> dict[str, int]:
    return dict(aggregate_totals(table).select("counted_for", "after_quanta").iter_rows())


def test_an_empty_ledger_remembers_nothing_but_has_the_columns(ledger: Ledger) -> None:
    assert aggregate_totals(ledger.postings).schema == {
        **{name: POSTINGS.columns[name] for name in AGGREGATE_KEY},
        "after_quanta": pl.Int64(),
        "events": pl.Int64(),
    }
    assert list(event_ids(ledger.postings)) == []
    assert newest_month(ledger.postings) is None
    assert reject_keys(ledger.rejects, "kafka:usage@1", 0, -1).columns == REJECT_KEY


def test_totals_do_not_depend_on_the_order_of_rows_or_on_corrections_below_the_top(ledger: Ledger) -> None:
    rows = [step("a", None, 5), step("a", 5, 12), step("a", 12, 9), step("b", None, 0), step("a", 9, 9)]
    Random(1).shuffle(rows)
    append(ledger.postings, rows[:2])
    append(ledger.postings, rows[2:])
    assert totals_of(ledger.postings) == {"a": 9, "b": 0}


def test_events_are_the_rows_of_the_aggregate_that_usage_made(ledger: Ledger) -> None:
    fee = {"event_id": None, "event_source": None}
    append(ledger.postings, [step("a", None, 5), step("a", 5, 5), step("a", 5, 9, role="share"), step("b", None, 1, **fee)])
    assert aggregate_totals(ledger.postings).select("counted_for", "after_quanta", "events").rows() == [("a", 5, 2)]


def test_a_share_does_not_count_an_aggregate_twice_and_a_cost_counts_its_own(ledger: Ledger) -> None:
    costs = [step("a", None, 7, role="cost", price_id="telco.usage")]
    append(ledger.postings, [*(step("a", None, 5, role=role) for role in ("revenue", "share")), *costs])
    assert sorted(aggregate_totals(ledger.postings)["after_quanta"].to_list()) == [5, 7]
    assert events_of(ledger.postings).height == 1


def test_each_price_version_and_period_is_an_aggregate_of_its_own(ledger: Ledger) -> None:
    append(
        ledger.postings,
        [
            step("a", None, 5),
            step("a", None, 7, price_version="2026-10-15"),
            step("a", None, 2, usage_period=date(2026, 9, 1), usage_month="2026-09"),
        ],
    )
    assert sorted(aggregate_totals(ledger.postings)["after_quanta"]) == [2, 5, 7]
    assert sorted(aggregate_totals(ledger.postings, Part(since="2026-10"))["after_quanta"]) == [5, 7]
    assert aggregate_totals(ledger.postings, Part(before="2026-10"))["after_quanta"].to_list() == [2]
    assert events_of(ledger.postings, Part(since="2026-11")).is_empty()
    assert events_of(ledger.postings, Part(accounts=["nobody"])).is_empty()
    assert newest_month(ledger.postings) == "2026-10"


def test_a_total_beyond_64_bits_stops_the_rater(ledger: Ledger) -> None:
    append(ledger.postings, [step("a", None, 2**63 - 1), step("a", None, 2**63 - 1)])
    with pytest.raises(BrokenPromise, match="beyond 64 bits"):
        aggregate_totals(ledger.postings)


def test_an_event_is_remembered_once_however_many_prices_charged_it(ledger: Ledger) -> None:
    event = {"event_id": "e-1"}
    append(
        ledger.postings,
        [
            step("a", None, 5, **event),
            step("a", None, 5, price_id="meeting.surcharge", **event),
            step("a", None, 1, meter_id="meetings", **event),
            step("a", None, 31, charge="recurring", event_source=None, event_id=None, meter_id=None),
        ],
    )
    seen = events_of(ledger.postings).sort("meter_id")
    assert seen.select("event_id", "meter_id", "quantity_quanta").rows() == [("e-1", "meetings", 1), ("e-1", "minutes", 5)]


def test_only_rejects_beyond_the_position_of_that_source_are_found(ledger: Ledger) -> None:
    def reject(stream: str, partition: int, offset: int, index: int = 0) -> dict[str, object]:
        return dict(zip(REJECT_KEY, (stream, partition, offset, index), strict=True))

    rows = [reject("k", 0, 7, 1), reject("k", 0, 7), reject("k", 0, 5), reject("k", 1, 9), reject("file:x", 0, 9)]
    append(ledger.rejects, rows)
    assert ledger.rejects.schema is REJECTS
    assert reject_keys(ledger.rejects, "k", 0, 5).rows() == [("k", 0, 7, 0), ("k", 0, 7, 1)]
