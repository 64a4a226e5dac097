"""A carrier's tariff through the whole house: rated, replayed, re-rated, retracted, billed, settled and checked."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.replay import replay_posted
from pipelines.replay_messages import replay_batches
from pipelines.rerate import rerate
from pipelines.settle import settle
from pipelines.sql_access import query_workspace
from pipelines.whatif import compare_draft
from schemas.period import Period
from schemas.usage import RawBatch
from tests.corrections_world import NOVEMBER, OCTOBER, RECEIVED_MS, Shop, usage

CARRIERS = """
  - id: transit
    name: {en: Transit Ltd, zh: 中转}
    currency: CNY
    prices:
      - id: transit.minutes
        name: Minutes
        meter: meeting.minutes
        versions:
          - {valid_from: 2026-01-01, model: graduated, tiers: [{up_to: 1000, unit_price: 0.01}, {unit_price: 0.004}]}
      - id: transit.abroad
        name: Abroad
        meter: meeting.minutes
        currency: CNY
        where_not: {region: cn}
        versions:
          - {valid_from: 2026-01-01, model: rated_time, tiers: [{unit_price: 0.02, increment: 1}]}
"""


def costly(root: Path) -> Shop:
    """The template's company with a carrier."""
    shop = Shop(root, publish=False)
    (shop.workspace.catalog_folder / "carriers.yaml").write_text("carriers:" + CARRIERS, encoding="utf-8")
    shop.workspace.publish()
    return shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return costly(tmp_path / "shop")


def assert_replayed(shop: Shop, values: list[bytes], period: Period = OCTOBER) -> None:
    """Replay of rows and of messages reproduces every aggregate, and the ledger's checks agree."""
    posted = replay_posted(shop.workspace, period)
    assert posted.agrees, posted.differences
    sent = RawBatch("sent", 0, range(len(values)), values, [RECEIVED_MS] * len(values))
    replayed = replay_batches(shop.workspace, period, [sent])
    assert replayed.agrees, replayed.differences
    assert shop.disagreeing() == []


def sums(shop: Shop, role: str) -> dict[tuple[str, str], Decimal]:
    """Amounts by subscription and price."""
    rows = shop.postings().filter(role=role).group_by("subscription_id", "price_id").agg(pl.col("amount").sum())
    return {(who, price): amount for who, price, amount in rows.rows() if amount}


def test_a_month_with_a_carrier_is_replayed_billed_and_settled(shop: Shop) -> None:
    values = usage(600)
    shop.rate(values[:400])
    shop.rate(values[400:])
    costs = shop.postings().filter(role="cost")
    assert set(costs["price_id"]) == {"transit.minutes", "transit.abroad"}
    assert set(costs["partner_id"]) == {"transit"}
    assert_replayed(shop, values)
    before = shop.total(role="revenue")
    billed = shop.bill(OCTOBER)
    assert billed.totals.filter(role="cost")["ledger_amount"].to_list() == [shop.total(role="cost", currency="CNY")]
    assert shop.total(role="revenue", charge="usage") == before
    assert set(billed.lines["price_id"]) & set(costs["price_id"]) == set()
    assert shop.disagreeing() == []


def test_what_customers_and_partners_get_is_the_same_with_a_carrier_and_without(shop: Shop, tmp_path: Path) -> None:
    values = usage(300)
    plain = Shop(tmp_path / "plain")
    for one in (shop, plain):
        one.rate(values)
    for role in ("revenue", "share"):
        assert sums(shop, role) == sums(plain, role)


def test_the_margin_of_an_event_is_its_revenue_less_share_and_cost(shop: Shop) -> None:
    shop.rate(usage(300))
    margin = query_workspace(shop.workspace, "select * from margin where cost <> 0")
    assert margin.height > 50
    assert margin.select((pl.col("revenue") - pl.col("share") - pl.col("cost") - pl.col("margin")).abs().sum()).item() == 0
    for role in ("revenue", "share", "cost"):
        told = query_workspace(shop.workspace, f"select sum({role}) as total from margin where currency = 'CNY'")["total"][0]
        assert told == shop.total(role=role, currency="CNY")


def test_a_tariff_published_late_is_posted_for_what_was_sold_and_once(shop: Shop, tmp_path: Path) -> None:
    values = usage(500)
    late = Shop(tmp_path / "late")
    late.rate(values)
    late.append("catalog/meters.yaml", "\ncarriers:" + CARRIERS)
    for price in ("transit.minutes", "transit.abroad"):
        assert rerate(late.workspace, price, date(2026, 10, 1), date(2026, 11, 1), post=True).rows > 0
        assert rerate(late.workspace, price, date(2026, 10, 1), date(2026, 11, 1), post=True).rows == 0
    shop.rate(values)
    assert sums(late, "cost") == sums(shop, "cost")
    assert_replayed(late, values)


def test_a_new_version_of_a_tariff_moves_the_costs_after_it(shop: Shop) -> None:
    values = usage(500)
    shop.rate(values)
    before = sums(shop, "cost")
    version = "          - {valid_from: 2026-10-10, model: per_unit, unit_price: 0.5}\n"
    path = shop.workspace.catalog_folder / "carriers.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("      - id: transit.abroad", version + "      - id: transit.abroad"), encoding="utf-8")
    shop.workspace.publish()
    changed = rerate(shop.workspace, "transit.minutes", date(2026, 10, 1), date(2026, 11, 1), post=True)
    assert set(changed.changes["role"]) == {"cost"}
    assert sum(sums(shop, "cost").values()) > sum(before.values())
    assert_replayed(shop, values)


def test_a_new_price_of_the_customer_leaves_the_costs_alone(shop: Shop) -> None:
    values = usage(500)
    shop.rate(values)
    before = sums(shop, "cost")
    own = "\n  - {subscription: sub-lantian, price: pro.month.minutes, valid_from: 2026-10-10, unit_price: 9}\n"
    shop.append("roster/overrides.yaml", own)
    changed = rerate(shop.workspace, "pro.month.minutes", date(2026, 10, 1), date(2026, 11, 1), post=True)
    assert changed.rows > 0
    assert sums(shop, "cost") == before
    assert_replayed(shop, values)


def test_a_retraction_after_the_month_was_billed_takes_the_cost_back(shop: Shop) -> None:
    values = [value for value in usage(900) if b"meeting.ended" in value][:40]
    shop.rate(values)
    shop.bill(OCTOBER)
    gone = [json.loads(value) for value in values[::3]]
    back = [json.dumps({**event, "id": "back-" + event["id"], "retracts": event["id"], "data": {}}).encode() for event in gone]
    assert shop.rate(back).rejects == {}
    kept = Shop(shop.workspace.root.parent / "kept", publish=False)
    (kept.workspace.catalog_folder / "carriers.yaml").write_text("carriers:" + CARRIERS, encoding="utf-8")
    kept.workspace.publish()
    kept.rate([value for number, value in enumerate(values) if number % 3])
    for role in ("revenue", "share", "cost"):
        usage_rows = shop.postings().filter(role=role, charge="usage")["amount"].sum()
        assert usage_rows == kept.total(role=role)
    assert_replayed(shop, [*values, *back])
    shop.bill(NOVEMBER)
    assert shop.disagreeing() == []


def test_counters_are_rebuilt_from_the_ledger_with_those_of_costs(shop: Shop, tmp_path: Path) -> None:
    """Each batch is a writer of its own, which knows what the ledger tells."""
    values = usage(300)
    for start in range(0, 300, 60):
        shop.rate(values[start : start + 60])
    once = costly(tmp_path / "once")
    once.rate(values)
    assert sums(shop, "cost") == sums(once, "cost")
    assert shop.disagreeing() == []


def test_a_draft_is_compared_by_what_customers_pay_and_knows_no_cost(shop: Shop) -> None:
    shop.rate(usage(200))
    compared = compare_draft(shop.workspace, OCTOBER, *shop.workspace.load())
    assert compared.unpriced.is_empty()
    assert compared.totals["difference"].to_list() == [0] * compared.totals.height


AGREEMENTS = {
    "margin": "share: 33.3333%\n    of: margin",
    "tiers": "tiers: [{up_to: 1, share: 50%}, {up_to: 20, share: 12.5%}, {share: 3%}]",
    "per unit": "per_unit: 0.0007",
}


@pytest.mark.parametrize("kind", AGREEMENTS)
def test_every_kind_of_share_is_replayed_corrected_billed_and_settled(kind: str, tmp_path: Path) -> None:
    shop = costly(tmp_path / "shop")
    path = shop.workspace.catalog_folder / "agreements.yaml"
    terms = AGREEMENTS[kind]
    covered = "prices: [pro.month.minutes]" if kind == "per unit" else "plans: [video.pro.month]"
    path.write_text(
        f"agreements:\n  - id: beichen-2026\n    partner: beichen\n    {terms}\n    {covered}\n    valid_from: 2026-01-01\n",
        encoding="utf-8",
    )
    shop.workspace.publish()
    values = usage(600)
    shop.rate(values[:300])
    shop.rate(values[300:])
    shares = shop.postings().filter(role="share", charge="usage")
    assert shares.height > 20
    assert ("transit.minutes" in set(shares["price_id"])) == (kind == "margin")
    assert_replayed(shop, values)
    shop.edit(
        "catalog/carriers.yaml",
        "{unit_price: 0.004}]}",
        "{unit_price: 0.004}]}\n          - {valid_from: 2026-10-10, model: per_unit, unit_price: 0.5}",
    )
    own = "\n  - {subscription: sub-lantian, price: pro.month.minutes, valid_from: 2026-10-10, unit_price: 9}\n"
    shop.append("roster/overrides.yaml", own)
    for price in ("transit.minutes", "pro.month.minutes"):
        assert rerate(shop.workspace, price, date(2026, 10, 1), date(2026, 11, 1), post=True).rows > 0
    assert_replayed(shop, values)
    fresh = Shop(tmp_path / "fresh", publish=False)
    for folder in ("catalog", "roster"):
        for file in (shop.workspace.root / folder).iterdir():
            (fresh.workspace.root / folder / file.name).write_bytes(file.read_bytes())
    fresh.workspace.publish()
    fresh.rate(values)
    for role in ("revenue", "share", "cost"):
        assert sums(shop, role) == sums(fresh, role)
    shop.bill(OCTOBER)
    settled = settle(shop.workspace, OCTOBER)
    assert settled.lines["exact_amount"].sum() == shop.total(role="share")
    assert shop.disagreeing() == []
