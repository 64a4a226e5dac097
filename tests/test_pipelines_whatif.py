"""What-if shows each customer's month under a draft, exactly, and leaves nothing out."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from cli import app
from pipelines.whatif import WhatIf, compare_draft, read_draft
from tests.corrections_world import OCTOBER, Shop, usage

INTERNATIONAL = "- {valid_from: 2026-01-01, model: per_unit, unit_price: 0.98}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(tmp_path_factory.mktemp("whatif") / "shop")
    made.rate(usage(800))
    return made


@pytest.fixture
def draft(shop: Shop, tmp_path: Path) -> Path:
    """Copies of catalog/ and roster/ to change."""
    for name in ("catalog", "roster"):
        shutil.copytree(shop.workspace.root / name, tmp_path / "draft" / name)
    return tmp_path / "draft"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def compared(shop: Shop, draft: Path) -> WhatIf:
    return compare_draft(shop.workspace, OCTOBER, *read_draft(shop.workspace, draft / "catalog", draft / "roster"))


def test_the_published_catalog_as_a_draft_moves_nothing(shop: Shop, draft: Path) -> None:
    result = compared(shop, draft)
    assert result.customers["account_id"].to_list() == ["huaxing", "lantian", "nordlicht", "pine", "qingshan"]
    assert result.customers["today"].equals(result.customers["draft"].alias("today"))
    assert set(result.customers["percent"]) == {Decimal("0.00")}
    assert result.unpriced.is_empty()
    usage_of_huaxing = shop.total(account_id="huaxing", role="revenue")
    assert result.customers["today"][0] == round(usage_of_huaxing + 50 * 300 + 800, 2)


def test_a_higher_price_moves_those_who_use_it_by_their_usage(shop: Shop, draft: Path) -> None:
    change(draft / "catalog" / "plans.yaml", INTERNATIONAL, INTERNATIONAL.replace("0.98", "1.96"))
    before = shop.ledger.postings.version()
    result = compared(shop, draft)
    charged = shop.postings().filter(price_id="pro.month.pstn.international")
    moved = dict(result.customers.filter(pl.col("difference") != 0).select("account_id", "difference").rows())
    sums = dict(charged.filter(role="revenue").group_by("account_id").agg(pl.col("amount").sum()).rows())
    assert moved
    assert set(moved) == set(sums)
    for account, difference in moved.items():
        assert abs(difference - sums[account]) <= Decimal("0.01"), "doubling a price adds what it has charged"
    assert result.customers["difference"].abs().is_sorted(descending=True)
    assert shop.ledger.postings.version() == before


def test_a_lower_fee_counts_once_for_each_licence(shop: Shop, draft: Path) -> None:
    change(draft / "catalog" / "plans.yaml", "fee: 300}", "fee: 290}")
    differences = dict(compared(shop, draft).customers.select("account_id", "difference").rows())
    assert (differences["huaxing"], differences["pine"], differences["nordlicht"]) == (-500, -80, 0)


def test_a_negotiated_price_in_a_draft_roster_moves_only_its_customer(shop: Shop, draft: Path) -> None:
    with (draft / "roster" / "overrides.yaml").open("a") as file:
        file.write("\n  - {account: pine, price: pro.month.ports, valid_from: 2026-01-01, discount: 50%}\n")
    result = compare_draft(shop.workspace, OCTOBER, *read_draft(shop.workspace, None, draft / "roster"))
    moved = result.customers.filter(pl.col("difference") != 0)
    assert moved["account_id"].to_list() == ["pine"]
    ports = shop.total(account_id="pine", price_id="pro.month.ports", role="revenue")
    assert moved["difference"][0] == -ports / 2
    today, difference = moved.select("today", "difference").row(0)
    assert moved["percent"][0] == round(difference * 100 / today, 2)


def test_usage_that_the_draft_cannot_charge_is_listed(shop: Shop, draft: Path) -> None:
    path = draft / "catalog" / "plans_eur.yaml"
    text = path.read_text()
    path.write_text(text[: text.index("      - id: team.eur.pstn")])
    result = compared(shop, draft)
    listed = result.unpriced.row(0, named=True)
    calls = shop.postings().filter(price_id="team.eur.pstn", role="revenue").height
    assert result.unpriced.height == 1
    assert (listed["account_id"], listed["meter_id"], listed["reason"]) == ("nordlicht", "pstn.minutes", "no_price")
    assert listed["events"] == calls > 0
    assert result.customers.filter(account_id="nordlicht")["unpriced"].to_list() == [calls]
    assert f"no price for {calls} of them" in result.message


def test_a_plan_that_the_draft_does_not_have_leaves_its_usage_unpriced(shop: Shop, draft: Path) -> None:
    (draft / "catalog" / "plans_eur.yaml").unlink()
    result = compare_draft(shop.workspace, OCTOBER, *read_draft(shop.workspace, draft / "catalog", None))
    row = result.customers.filter(account_id="nordlicht").row(0, named=True)
    assert (row["draft"], row["difference"], row["percent"]) == (0, -row["today"], -100)
    assert row["unpriced"] == shop.postings().filter(account_id="nordlicht").height


def test_usage_keeps_its_size_when_the_draft_meter_counts_finer(shop: Shop, draft: Path) -> None:
    change(draft / "catalog" / "meters.yaml", "unit: port\n", "unit: port\n    scale: 2\n")
    assert set(compared(shop, draft).customers["difference"]) == {0}


def test_the_command_prints_customers_totals_and_what_has_no_price(shop: Shop, draft: Path) -> None:
    (draft / "catalog" / "plans_eur.yaml").unlink()
    common = ["whatif", "--period", "2026-10", "-w", str(shop.workspace.root)]
    told = CliRunner().invoke(app, [*common, "--book", str(draft / "catalog")])
    assert told.exit_code == 0
    assert "Totals" in told.stdout
    assert "No price in the draft" in told.stdout
    assert "Nothing was written" in told.stderr
    data = CliRunner().invoke(app, [*common, "--book", str(draft / "catalog"), "--format", "csv"])
    assert data.stdout.splitlines()[0] == "account_id,name,currency,today,draft,difference,percent,unpriced"
    assert CliRunner().invoke(app, common).exit_code == 2
