"""Every kind of price with every way of paying, all at once: each pair keeps its promises, however the usage comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from random import Random

import polars as pl
import pytest

from pipelines.bill_run import finalize, run
from pipelines.checks import run_checks
from pipelines.replay import replay_posted
from pipelines.rerate import rerate
from schemas.ledger import Role
from schemas.period import Period
from tests.company_world import (
    ACCOUNTS,
    DISCOUNT,
    PRICES,
    TOPUPS,
    Company,
    month_of_usage,
    retractions,
    same_for_all,
    topups,
)

OCTOBER, NOVEMBER = Period(2026, 10), Period(2026, 11)
EVENTS = 70
BACK = (3, 11, 12, 30, 31, 32, 55)
"""Events that are taken back again."""

GROUP = ("parent", "child")
UNITS = ("gifted",)
"""Accounts whose units stand for usage, so that it counts less."""


def usage(seed: int) -> list[bytes]:
    return same_for_all(month_of_usage(Random(seed), EVENTS))


def rate_in_parts(company: Company, values: Sequence[bytes], random: Random) -> None:
    """In any order, cut anywhere; top-ups first, and what takes back last."""
    shuffled = random.sample(values, len(values))
    cuts = sorted(random.sample(range(len(values)), 5))
    company.rate(topups())
    for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        company.rate(shuffled[start:end])
    company.rate(retractions(BACK[:4]))
    company.rate(retractions(BACK[4:]))


def sums(company: Company, *by: str) -> dict[tuple[object, ...], Decimal]:
    """Amounts by these columns; what comes to nothing is left out."""
    rows = company.postings().group_by(by).agg(pl.col("amount").sum())
    return {tuple(row[:-1]): row[-1] for row in rows.iter_rows() if row[-1]}


def part(amount: Decimal, percent: int) -> Decimal:
    """So many percent of an amount, rounded half-up at 18 decimals as every division is."""
    return (amount * percent / 100).quantize(Decimal("1e-18"), ROUND_HALF_UP)


def require_sound(company: Company) -> None:
    checks = run_checks(company.workspace)
    assert checks.filter(~pl.col("agrees")).to_dicts() == []
    assert company.workspace.ledger().rejects.scan().collect().to_dicts() == []
    replayed = replay_posted(company.workspace, OCTOBER)
    assert replayed.agrees, replayed.differences


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """All usage of the month in one batch, then what takes back."""
    company = Company(tmp_path_factory.mktemp("together") / "company")
    company.rate([*topups(), *usage(1), *retractions(BACK)])
    return company


def test_all_that_was_written_agrees_and_is_reproduced(together: Company) -> None:
    require_sound(together)


@pytest.mark.parametrize("seed", [2, 3])
def test_orders_and_cuts_change_no_aggregate(seed: int, together: Company, tmp_path: Path) -> None:
    """Within a group who pays depends on the order, and so does which usage units stand for; what all pay does not."""
    other = Company(tmp_path / "company")
    rate_in_parts(other, usage(1), Random(seed))
    require_sound(other)
    aggregate = ("counted_for", "price_id", "price_version", "usage_period", "role", "partner_id")
    whole, parts = sums(together, *aggregate), sums(other, *aggregate)
    settled = {Role.REVENUE.value, Role.SHARE.value, Role.COST.value}

    def independent(found: dict[tuple[object, ...], Decimal]) -> dict[tuple[object, ...], Decimal]:
        return {k: v for k, v in found.items() if k[4] in settled and not any(account in str(k[0]) for account in UNITS)}

    assert independent(parts) == independent(whole)
    left = sums(together, "account_id", "role")["prepaid", "balance"]
    assert sums(other, "account_id", "role")["prepaid", "balance"] == left


@pytest.mark.parametrize("price", PRICES)
def test_how_an_account_pays_changes_no_price(price: str, together: Company) -> None:
    revenue = sums(together, "account_id", "price_id", "role")
    plain = revenue["plain", price, "revenue"]
    for account in ACCOUNTS:
        if account == "discounted":
            assert revenue[account, price, "revenue"] == part(plain, 100 - DISCOUNT)
        elif account not in UNITS and not (account in GROUP and price == "by_group"):
            assert revenue[account, price, "revenue"] == plain, account


def test_the_partner_has_its_part_of_every_price_it_was_promised(together: Company) -> None:
    found = sums(together, "account_id", "price_id", "role", "partner_id")
    for account in ("partnered", "discounted", "committed"):
        for price in ("graduated", "volume", "package", "unique", "level", "hours", "daily", "capped"):
            revenue, share = found[account, price, "revenue", None], found[account, price, "share", "agent"]
            assert share == part(revenue, 20), (account, price)
        for price in ("destination", "peak", "rest"):
            assert found[account, price, "share", "agent"] == part(found[account, price, "revenue", None], 30)
        for cost in ("telco.dialled", "telco.talk"):
            assert found[account, cost, "share", "agent"] == -part(found[account, cost, "cost", "telco"], 30)


def test_a_balance_pays_what_usage_costs_whatever_the_price(together: Company) -> None:
    found = sums(together, "account_id", "role", "charge")
    for account in ("prepaid", "gifted"):
        paid_in = sum((Decimal(str(data.get("amount", 0))) for name, data in TOPUPS if name == account), Decimal(0))
        assert found[account, "balance", "topup"] == paid_in
        assert found[account, "balance", "deduct"] == -found[account, "revenue", "usage"]


def test_taking_everything_back_leaves_nothing(tmp_path: Path) -> None:
    company = Company(tmp_path / "company")
    rate_in_parts(company, usage(4), Random(4))
    rest = [number for number in range(EVENTS) if number not in BACK]
    Random(5).shuffle(rest)
    company.rate(retractions(rest[:30]))
    company.rate(retractions(rest[30:]))
    require_sound(company)
    left = sums(company, "counted_for", "price_id", "role", "partner_id")
    assert {key: amount for key, amount in left.items() if key[2] != "balance"} == {}
    balances = sums(company, "account_id", "role")
    assert {key[0]: amount for key, amount in balances.items() if key[1] == "balance"} == {
        "prepaid": Decimal(120),
        "gifted": Decimal(40),
    }


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Company, Company]:
    """Two that end with the same usage; to the second half of it came after October's bills."""
    folder = tmp_path_factory.mktemp("billed")
    whole, late = Company(folder / "whole"), Company(folder / "late")
    values = usage(6)
    whole.rate([*topups(), *values])
    late.rate([*topups(), *values[: len(values) // 2]])
    bill(late, OCTOBER)
    late.rate(values[len(values) // 2 :])
    bill(whole, OCTOBER)
    for company in (whole, late):
        bill(company, NOVEMBER)
    return whole, late


def bill(company: Company, period: Period) -> None:
    run(company.workspace, period)
    finalize(company.workspace, period)


def invoiced(company: Company) -> dict[tuple[str, str, str], Decimal]:
    """Lines by account, price and usage period, of accounts whose own part depends on no order."""
    lines = company.workspace.ledger().lines.scan().collect()
    sums = lines.group_by("account_id", "price_id", pl.col("usage_period").cast(pl.String)).agg(pl.col("exact_amount").sum())
    return {(row[0], row[1], row[2]): row[3] for row in sums.iter_rows() if row[3] and row[0] not in (*GROUP, *UNITS)}


def test_late_usage_brings_every_limit_to_where_it_would_have_been(billed: tuple[Company, Company]) -> None:
    whole, late = billed
    require_sound(whole)
    require_sound(late)
    assert invoiced(late) == invoiced(whole)


def test_each_limit_makes_of_october_what_was_agreed(billed: tuple[Company, Company]) -> None:
    found = {key[:2]: amount for key, amount in invoiced(billed[0]).items() if key[2] == "2026-10-01"}
    owed = {account: sum(amount for key, amount in found.items() if key[0] == account) for account in ACCOUNTS}
    least = sum(amount for key, amount in found.items() if key[0] == "plain" and key[1].startswith("least"))
    assert least == 50, "usage and what is missing to the floor"
    assert owed["limited"] == 90 + 30, "usage and floor are capped, the fee is beside them"
    assert owed["credited"] == owed["plain"] - Decimal("33.33")
    assert owed["committed"] == 5000, "the commitment is the larger"
    assert found["pooled", "free.minutes"] < 0
    assert owed["pooled"] == owed["plain"] + found["pooled", "free.minutes"]


def test_rerating_every_price_makes_all_as_if_the_book_had_always_been_so(tmp_path: Path) -> None:
    always, rerated = Company(tmp_path / "always"), Company(tmp_path / "rerated")
    values = usage(11)
    always.publish_again()
    always.rate([*topups(), *values, *retractions(BACK)])
    rerated.rate([*topups(), *values, *retractions(BACK)])
    rerated.publish_again()
    for price in PRICES:
        rerate(rerated.workspace, price, date(2026, 10, 1), date(2026, 11, 1), post=True)
    for company in (always, rerated):
        require_sound(company)
        bill(company, OCTOBER)
    assert invoiced(rerated) == invoiced(always)
    left = [sums(company, "account_id", "role")["prepaid", "balance"] for company in (always, rerated)]
    assert left[0] == left[1]
