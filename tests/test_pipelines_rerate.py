"""After a re-rating the ledger says what it would say had the price been published in time; and it says so once."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import pipelines.rerate
from cli import app
from ledger.lock import writer_lock
from ledger.state import aggregate_totals, event_ids
from ledger.table import LedgerTable
from pipelines.account_ranges import by_accounts
from pipelines.posted_usage import sum_rows
from pipelines.replay import replay_posted
from pipelines.replay_messages import replay_batches
from pipelines.rerate import Rerating, rerate
from pipelines.settle import settle
from pipelines.sql_access import query_workspace
from schemas.errors import LedgerBusy, LedgerUnwritable, Refused
from schemas.usage import RawBatch
from tests.corrections_world import NOVEMBER, OCTOBER, RECEIVED_MS, Shop, usage

FIRST, MIDDLE, END = date(2026, 10, 1), date(2026, 10, 11), date(2026, 11, 1)
MINUTES, PORTS = "pro.month.minutes", "pro.month.ports"
LIST_MINUTES = """              - {up_to: 10000, unit_price: 0.05}
              - {up_to: 100000, unit_price: 0.04}
              - {unit_price: 0.032}
"""
NEW_MINUTES = """          - valid_from: 2026-10-11
            model: graduated
            tiers:
              - {up_to: 100, unit_price: 0.06}
              - {up_to: 3000, unit_price: 0.03}
              - {unit_price: 0.02}
"""
LANTIAN_PORTS = "\n  - {account: lantian, price: pro.month.ports, valid_from: 2026-10-01, discount: 12.5%}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


def publish_minutes(shop: Shop) -> None:
    """A list price of minutes from 11 October on, published after usage of those days was rated."""
    shop.edit("catalog/plans.yaml", LIST_MINUTES, LIST_MINUTES + NEW_MINUTES)


def publish_ports(shop: Shop) -> None:
    """A discount that was negotiated for October and entered late."""
    shop.append("roster/overrides.yaml", LANTIAN_PORTS)


def rerated(shop: Shop, price: str = MINUTES, first: date = FIRST, end: date = END) -> Rerating:
    return rerate(shop.workspace, price, first, end, post=True)


def standing(shop: Shop) -> list[tuple[object, ...]]:
    """Every aggregate that holds anything, with its state and exact amount, per role and partner."""
    sums = sum_rows(shop.postings().filter(pl.col("event_id").is_not_null()))
    held = sums.filter((pl.col("quanta") != 0) | (pl.col("scaled") != 0))
    return sorted(held.rows(), key=str)


def in_time(folder: Path, values: list[bytes]) -> Shop:
    """A company that had published both prices before any usage came."""
    other = Shop(folder / "in-time")
    publish_minutes(other)
    publish_ports(other)
    other.rate(values)
    return other


def test_usage_rated_too_early_costs_what_it_would_have_cost_in_time(shop: Shop, tmp_path: Path) -> None:
    values = usage(900)
    shop.rate(values)
    publish_minutes(shop)
    publish_ports(shop)
    assert rerated(shop, MINUTES).posted
    assert rerated(shop, PORTS).posted
    assert standing(shop) == standing(in_time(tmp_path, values))
    assert shop.disagreeing() == []
    replayed = replay_posted(shop.workspace, OCTOBER)
    assert (replayed.agrees, replayed.events) == (True, 900), replayed.differences
    sent = RawBatch("sent", 0, range(900), values, [RECEIVED_MS] * 900)
    assert replay_batches(shop.workspace, OCTOBER, [sent]).agrees


@pytest.mark.parametrize("aggregation", ["min", "latest", "hourly_max", "unit_hours", "unique"])
def test_aggregates_that_look_at_all_their_events_are_rated_anew_and_replayed(aggregation: str, tmp_path: Path) -> None:
    values = [value for value in usage(4000) if b"ports.sampled" in value][:200]
    peak = "aggregation: max\n    property: ports\n"
    late, right = (Shop(tmp_path / name, publish=False) for name in ("late", "right"))
    for shop in (late, right):
        shop.edit("catalog/meters.yaml", peak, peak.replace("max", aggregation))
    late.rate(values[::2])
    for shop in (late, right):
        publish_ports(shop)
    late.rate(values[1:100:2])
    assert rerated(late, PORTS, MIDDLE).rows > 0
    assert rerated(late, PORTS).rows > 0
    late.rate(values[101::2])
    right.rate(values)
    assert standing(late) == standing(right)
    assert late.disagreeing() == []
    assert replay_posted(late.workspace, OCTOBER).agrees
    sent = RawBatch("sent", 0, range(200), values, [RECEIVED_MS] * 200)
    assert replay_batches(late.workspace, OCTOBER, [sent]).agrees


def test_the_second_time_there_is_nothing_to_post(shop: Shop) -> None:
    shop.rate(usage(400))
    publish_minutes(shop)
    first = rerated(shop)
    version = shop.ledger.postings.version()
    again = rerated(shop)
    assert first.rows > 0
    assert (again.rows, again.changes.height, shop.ledger.postings.version()) == (0, 0, version)
    assert "says already" in again.message


def test_what_was_broken_off_is_finished_by_the_next_attempt(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = usage(600)
    shop.rate(values)
    publish_minutes(shop)
    publish_ports(shop)
    monkeypatch.setattr(pipelines.rerate, "by_accounts", partial(by_accounts, range_rows=1))
    append, calls = LedgerTable.append, iter((True, False))

    def append_once(table: LedgerTable, *arguments: Any, **more: Any) -> None:
        if not next(calls):
            raise LedgerUnwritable(table.path, "no space")
        append(table, *arguments, **more)

    with monkeypatch.context() as broken:
        broken.setattr(LedgerTable, "append", append_once)
        with pytest.raises(LedgerUnwritable):
            rerated(shop)
    assert shop.postings()["corrects"].drop_nulls().len() > 0
    assert shop.disagreeing() == []
    rerated(shop)
    rerated(shop, PORTS)
    assert standing(shop) == standing(in_time(tmp_path, values))
    assert shop.disagreeing() == []


def test_a_dry_run_tells_the_difference_and_writes_nothing(shop: Shop) -> None:
    shop.rate(usage(400))
    publish_minutes(shop)
    before = shop.postings()
    told = rerate(shop.workspace, MINUTES, FIRST, END, post=False)
    assert shop.postings().equals(before)
    posted = rerated(shop)
    assert posted.changes.equals(told.changes)
    differences = posted.changes.filter(role="revenue")["difference"].to_list()
    assert sum(differences, Decimal(0)) == shop.total(role="revenue") - sum(before.filter(role="revenue")["amount"].to_list())


def test_later_usage_goes_on_where_the_re_rating_left_the_aggregates(shop: Shop, tmp_path: Path) -> None:
    values = usage(900)
    first = values[::2]
    shop.rate(first)
    publish_minutes(shop)
    publish_ports(shop)
    shop.rate(values[1:600:2])
    rerated(shop, MINUTES)
    rerated(shop, PORTS)
    shop.rate(values[601::2])
    assert standing(shop) == standing(in_time(tmp_path, values))
    assert shop.disagreeing() == []
    assert replay_posted(shop.workspace, OCTOBER).agrees


def test_an_event_sent_again_after_a_re_rating_is_still_a_duplicate(shop: Shop) -> None:
    values = usage(400)
    shop.rate(values)
    ids = pl.concat(event_ids(shop.ledger.postings)).unique()
    publish_minutes(shop)
    rerated(shop)
    assert pl.concat(event_ids(shop.ledger.postings)).unique().sort(ids.columns).equals(ids.sort(ids.columns))
    again = shop.rate(values)
    assert (again.duplicates, again.postings, again.rejects) == (400, 0, {})


def test_every_correction_names_the_row_it_takes_back_and_no_row_twice(shop: Shop) -> None:
    shop.rate(usage(400))
    publish_minutes(shop)
    rerating = rerated(shop)
    rows = shop.postings()
    back = rows.filter(pl.col("corrects").is_not_null())
    position = pl.concat_str("stream", "stream_partition", "stream_offset", "stream_row", separator="/")
    named = rows.with_columns(position.alias("position")).join(back, left_on="position", right_on="corrects", suffix="_back")
    assert named.height == back.height == back["corrects"].n_unique() > 0
    assert (named["amount"] + named["amount_back"] == 0).all()
    assert (named["quantity_quanta"] + named["quantity_quanta_back"] == 0).all()
    assert (named["role"] == named["role_back"]).all()
    assert set(back["stream"]) == {rerating.stream}


def test_a_range_that_cuts_an_aggregate_moves_only_its_days(shop: Shop) -> None:
    shop.rate(usage(600))
    publish_minutes(shop)
    cut = date(2026, 10, 20)
    rerated(shop, first=cut)
    minutes = shop.postings().filter(price_id=MINUTES, account_id="pine", role="revenue")
    totals = aggregate_totals(shop.ledger.postings).filter(price_id=MINUTES, counted_for="sub-pine")
    day = pl.col("occurred_at").dt.convert_time_zone("Asia/Shanghai").dt.date()
    stands = minutes.filter(pl.col("corrects").is_null()).unique(["event_source", "event_id"])
    expected = {"2026-01-01": stands.filter(day < cut), "2026-10-11": stands.filter(day >= cut)}
    for version, rows in expected.items():
        (found,) = totals.filter(price_version=version).select("after_quanta", "events").rows()
        assert found == (rows["quantity_quanta"].sum(), rows.height)
    assert shop.disagreeing() == []
    assert replay_posted(shop.workspace, OCTOBER).agrees


def test_a_price_that_is_withdrawn_again_takes_everything_back(shop: Shop) -> None:
    shop.rate(usage(500))
    before = standing(shop)
    publish_ports(shop)
    rerated(shop, PORTS)
    assert standing(shop) != before
    shop.edit("roster/overrides.yaml", LANTIAN_PORTS, "")
    rerated(shop, PORTS)
    assert standing(shop) == before
    assert shop.disagreeing() == []
    assert replay_posted(shop.workspace, OCTOBER).agrees


def test_a_final_month_is_corrected_on_late_lines_of_the_next_bill_and_statement(shop: Shop, tmp_path: Path) -> None:
    values = usage(700)
    shop.rate(values)
    shop.bill(OCTOBER)
    settle(shop.workspace, OCTOBER)
    publish_minutes(shop)
    publish_ports(shop)
    rerated(shop, MINUTES)
    rerated(shop, PORTS)
    shop.rate(usage(200, seed=2, month="2026-11"))
    shop.bill(NOVEMBER)
    settlement = settle(shop.workspace, NOVEMBER)
    assert shop.disagreeing() == []

    fresh = in_time(tmp_path, values)
    owed = fresh.total(role="revenue", charge="usage") - shop.total(role="revenue", charge="usage", stream="file:0001")
    lines = shop.ledger.lines.scan().filter(pl.col("late")).collect()
    assert set(lines["period"]) == {"2026-11"}
    assert owed != 0
    assert sum(lines["exact_amount"].to_list(), Decimal(0)) == owed
    shares = fresh.total(role="share") - shop.total(role="share", stream="file:0001")
    late = settlement.lines.filter(pl.col("late"))
    assert sum(late["exact_amount"].to_list(), Decimal(0)) == shares


def test_the_margin_of_an_event_is_that_of_its_new_price(shop: Shop, tmp_path: Path) -> None:
    values = usage(300)
    shop.rate(values)
    publish_ports(shop)
    rerated(shop, PORTS)
    fresh = in_time(tmp_path, values)
    text = "select event_id, margin from margin where account_id = 'lantian' and event_id like '%ports%' order by event_id"
    mine = query_workspace(shop.workspace, text)
    assert mine.height > 0
    assert sum(mine["margin"]) == sum(query_workspace(fresh.workspace, text)["margin"])


def test_fees_unknown_prices_and_an_empty_range_are_refused(shop: Shop) -> None:
    for price, first, end, told in (
        ("pro.month.fee", FIRST, END, "recurring fee"),
        ("nothing", FIRST, END, "no price nothing"),
        (MINUTES, END, FIRST, "is no day"),
    ):
        with pytest.raises(Refused, match=told):
            rerate(shop.workspace, price, first, end, post=False)


def test_nothing_is_posted_while_a_worker_writes(shop: Shop) -> None:
    shop.rate(usage(100))
    publish_minutes(shop)
    with writer_lock(shop.workspace.ledger_folder, exclusive=False), pytest.raises(LedgerBusy):
        rerated(shop)
    assert shop.postings()["corrects"].null_count() == shop.postings().height


def test_the_command_writes_only_with_post(shop: Shop) -> None:
    shop.rate(usage(200))
    publish_minutes(shop)
    common = ["rerate", "--price", MINUTES, "--from", "2026-10-01", "--to", "2026-11-01", "-w", str(shop.workspace.root)]
    dry = CliRunner().invoke(app, common)
    assert "would be posted" in dry.stderr
    assert "2026-10-11" in dry.stdout
    posted = CliRunner().invoke(app, [*common, "--post"])
    assert "posted as rerate:" in posted.stderr
    assert "says already" in CliRunner().invoke(app, common).stderr
    assert CliRunner().invoke(app, [*common[:4], "October", *common[5:]]).exit_code == 2
