"""A total over a hierarchy of accounts through the whole: rated, billed, replayed, re-rated, tried out as a draft."""

from __future__ import annotations

import shutil
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path

import orjson
import polars as pl
import pytest

import pipelines.replay
import pipelines.rerate
from catalog.book_source import read_book
from catalog.roster_source import read_roster
from pipelines.account_ranges import by_accounts
from pipelines.keys import Keys
from pipelines.posted_usage import usage_rows
from pipelines.rater import Rater
from pipelines.replay import replay_posted
from pipelines.replay_messages import replay_batches
from pipelines.rerate import rerate
from pipelines.settings import Limits
from pipelines.whatif import compare_draft, read_draft
from schemas.usage import RawBatch
from tests.corrections_world import OCTOBER, RECEIVED_MS, Shop, usage

MINUTES, PORTS = "pro.month.minutes", "pro.month.ports"
GROUP = ["huaxing", "lantian", "pine"]
TIERS = "            model: graduated\n            tiers:\n              - {up_to: 10000, unit_price: 0.05}\n"
SHARED_TIERS = TIERS.replace("            tiers", "            counted_over: group\n            tiers")
PEAK = "            model: volume          # all"


def strangers(root: Path) -> Shop:
    """The template's company, not published yet, without terms of minutes that are one customer's own."""
    shop = Shop(root, publish=False)
    overrides = root / "roster" / "overrides.yaml"
    head, _, own = overrides.read_text(encoding="utf-8").partition("  - account: huaxing")
    overrides.write_text(head + own[own.index("  - account: nordlicht") :], encoding="utf-8")
    return shop


def family(root: Path, *, shared: bool = True) -> Shop:
    """Lantian and pine below huaxing; minutes in tiers and the peak of ports count over the group."""
    shop = strangers(root)
    join(root)
    if shared:
        share(root)
    shop.workspace.publish()
    return shop


def join(root: Path) -> None:
    accounts = root / "roster" / "accounts.yaml"
    text = accounts.read_text(encoding="utf-8")
    for account in ("lantian", "pine"):
        text = text.replace(f"  - id: {account}\n", f"  - id: {account}\n    parent: huaxing\n")
    accounts.write_text(text, encoding="utf-8")


def share(root: Path) -> None:
    plans = root / "catalog" / "plans.yaml"
    text = plans.read_text(encoding="utf-8")
    head, _, rest = text.partition(TIERS)
    rest = rest.replace(PEAK, f"            counted_over: group\n{PEAK}", 1)
    plans.write_text(head + SHARED_TIERS.replace("10000", "3000") + rest, encoding="utf-8")


def oracle(minutes: Decimal) -> Decimal:
    """The graduated price of minutes with its first tier cut to 3000."""
    return min(minutes, Decimal(3000)) * Decimal("0.05") + max(minutes - 3000, Decimal(0)) * Decimal("0.04")


def retracting(value: bytes) -> bytes:
    told = orjson.loads(value)
    return orjson.dumps(told | {"id": f"back-{told['id']}", "retracts": told["id"], "data": {}})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = family(tmp_path_factory.mktemp("family") / "shop")
    values = usage(900)
    made.rate(values[::2])
    made.rate(values[1::2])
    return made


def group_rows(shop: Shop, price: str) -> pl.DataFrame:
    return shop.postings().filter(pl.col("price_id") == price, pl.col("role") == "revenue", pl.col("account_id").is_in(GROUP))


def test_a_group_is_charged_for_its_total_and_each_account_for_its_own_events(shop: Shop) -> None:
    rows = group_rows(shop, MINUTES)
    assert rows["counted_for"].unique().to_list() == ["group:huaxing"]
    total = Decimal(rows["quantity_quanta"].sum()).scaleb(-3)
    assert total > 3000
    assert sum(rows["amount"].to_list()) == oracle(total)
    assert rows.filter(pl.col("account_id") == "pine")["amount"].sum() > 0
    ports = group_rows(shop, PORTS)
    assert (ports["after_quanta"] - ports["before_quanta"]).sum() == ports["quantity_quanta"].max()


def test_the_month_is_replayed_from_rows_and_from_messages_whatever_is_in_memory_at_a_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.replay, "by_accounts", partial(by_accounts, range_rows=1))
    replayed = replay_posted(shop.workspace, OCTOBER)
    assert (replayed.agrees, replayed.events) == (True, 900), replayed.differences
    values = usage(900)
    sent = RawBatch("sent", 0, range(900), values[::2] + values[1::2], [RECEIVED_MS] * 900)
    assert replay_batches(shop.workspace, OCTOBER, [sent]).agrees
    assert shop.disagreeing() == []


def test_accounts_that_are_counted_together_are_read_together(shop: Shop) -> None:
    rows = usage_rows(shop.ledger.postings.scan(), "2026-10", "2026-10")
    read = [part["account_id"].unique().sort().to_list() for part in by_accounts(rows, range_rows=1)]
    assert read == [["nordlicht"], ["qingshan"], GROUP]
    links = pl.DataFrame({"account_id": ["nordlicht", "pine"], "counted_for": ["group:x", "group:x"]})
    together = [part["account_id"].unique().sort().to_list() for part in by_accounts(rows, links, range_rows=1)]
    assert together == [["qingshan"], ["huaxing", "lantian", "nordlicht", "pine"]]


def test_each_account_has_an_invoice_of_its_own_events_and_they_add_up_to_the_group(tmp_path: Path) -> None:
    shop = family(tmp_path / "shop")
    shop.rate(usage(900))
    shop.bill(OCTOBER)
    lines = shop.ledger.lines.scan().filter(price_id=MINUTES).collect()
    mine = lines.filter(pl.col("account_id").is_in(GROUP))
    assert mine["account_id"].sort().to_list() == GROUP
    rows = group_rows(shop, MINUTES)
    assert sum(mine["exact_amount"].to_list()) == sum(rows["amount"].to_list())
    assert sum(mine["quantity"].to_list()) == Decimal(rows["quantity_quanta"].sum()).scaleb(-3)
    assert shop.disagreeing() == []


def test_usage_that_is_taken_back_leaves_the_group_and_the_month_agrees(tmp_path: Path) -> None:
    shop = family(tmp_path / "shop")
    values = usage(600)
    shop.rate(values)
    gone = [value for value in values if b"meeting.ended" in value or b"ports.sampled" in value][:40]
    shop.rate([retracting(value) for value in gone])
    rows = group_rows(shop, MINUTES)
    assert sum(rows["amount"].to_list()) == oracle(Decimal(rows["quantity_quanta"].sum()).scaleb(-3))
    replayed = replay_posted(shop.workspace, OCTOBER).differences.filter(pl.col("role") == "revenue")
    assert replayed.is_empty()
    assert shop.disagreeing() == []


def test_accounts_that_join_later_are_brought_together_by_a_rerating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late, right = strangers(tmp_path / "late"), family(tmp_path / "right")
    share(late.workspace.root)
    late.workspace.publish()
    values = usage(900)
    late.rate(values)
    right.rate(values)
    assert set(late.postings().filter(price_id=MINUTES)["counted_for"]) == {"group:huaxing", "group:lantian", "group:pine"}
    join(late.workspace.root)
    late.workspace.publish()
    monkeypatch.setattr(pipelines.rerate, "by_accounts", partial(by_accounts, range_rows=1))
    for price in (MINUTES, PORTS):
        assert rerate(late.workspace, price, date(2026, 10, 1), date(2026, 11, 1), post=True).rows > 0
        again = rerate(late.workspace, price, date(2026, 10, 1), date(2026, 11, 1), post=True)
        assert again.rows == 0, again.changes
        assert late.total(price_id=price, role="revenue") == right.total(price_id=price, role="revenue")
    assert replay_posted(late.workspace, OCTOBER).agrees
    assert late.disagreeing() == []


def test_a_draft_that_counts_over_the_group_is_compared_account_by_account(tmp_path: Path) -> None:
    shop, right = family(tmp_path / "shop", shared=False), family(tmp_path / "right")
    values = usage(900)
    shop.rate(values)
    right.rate(values)
    shutil.copytree(right.workspace.root / "catalog", tmp_path / "draft")
    draft = compare_draft(shop.workspace, OCTOBER, *read_draft(shop.workspace, tmp_path / "draft", None))
    moved = dict(draft.customers.select("account_id", "difference").rows())
    assert moved["nordlicht"] == moved["qingshan"] == 0
    for account in GROUP:
        exact = right.total(account_id=account, role="revenue") - shop.total(account_id=account, role="revenue")
        assert abs(moved[account] - exact) <= Decimal("0.01")
    assert sum(moved.values()) != 0


def test_usage_travels_under_the_root_of_its_group(shop: Shop) -> None:
    root = shop.workspace.root
    keys = Keys(read_roster(root / "roster", read_book(root / "catalog")))
    assert [keys.of(name, "2026-10-05T08:00:00Z") for name in ("conf-lantian", "sub-pine", "sub-huaxing", "conf-qingshan")] == [
        "huaxing",
        "huaxing",
        "huaxing",
        "qingshan",
    ]


def test_old_usage_of_one_account_is_added_to_what_the_whole_group_had_used(tmp_path: Path) -> None:
    values = [value for value in usage(900, month="2026-06") if b"meeting.ended" in value]
    pines = [value for value in values if b"conf-pine" in value]
    rows = []
    for months in (1, 120):
        shop = family(tmp_path / f"keeps-{months}")
        worker = Rater(shop.workspace, shop.ledger, Limits(remember_months=months))
        worker.assign([("kafka:usage@1", 0)])
        offset = 0
        for batch in ([v for v in values if v not in pines], usage(20), pines[:5], [retracting(pines[0]), *pines[5:]]):
            worker.process(
                [RawBatch("kafka:usage@1", 0, range(offset, offset + len(batch)), batch, [RECEIVED_MS] * len(batch))]
            )
            offset += len(batch)
            worker.assign([("kafka:usage@1", 0)])
        rows.append(shop.postings().sort("stream_offset", "stream_row"))
        assert shop.disagreeing() == []
    assert rows[0].equals(rows[1])
