"""What last month's real usage would have cost under a draft: `boss whatif`, per customer, before anything is signed.

Today is what stands in the ledger for the period's usage, and the fees of the service periods that begin in it. Draft is the
same usage rated by the draft book and roster, and their fees. Nothing is written, and nothing is left out: usage that the
draft has no price for is listed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import polars as pl

import catalog.book_source
import catalog.roster_source
from catalog.versions import load_book, load_roster
from pipelines.account_ranges import by_accounts, group_links
from pipelines.posted_usage import posted_usage, usage_rows, without_retracted
from pipelines.rate_posted import Matched, match_posted, price_posted
from pipelines.workspace import Workspace
from rating.counters import Counters
from rating.recurring import post_fees
from rating.terms import Terms, compile_terms
from schemas.billing import MONEY
from schemas.book import Book
from schemas.frames import FrameSchema
from schemas.ledger import POSTINGS, Role
from schemas.money import divide_half_up, minor_unit_digits
from schemas.period import Period
from schemas.roster import Roster

PERCENT = pl.Decimal(18, 2)

CUSTOMERS = FrameSchema(
    "CUSTOMERS",
    {
        "account_id": pl.String,
        "name": pl.String,
        "currency": pl.String,
        "today": MONEY,  # net of tax, rounded half-up to the minor unit
        "draft": MONEY,
        "difference": MONEY,
        "percent": PERCENT,  # of today, half-up; null when that is 0
        "unpriced": pl.Int64,  # events that the draft has no price for; they are in today, not in draft
    },
)
"""One row per account and currency, the biggest mover first."""

TOTALS = FrameSchema("TOTALS", {name: dtype for name, dtype in CUSTOMERS.columns.items() if name not in {"account_id", "name"}})
"""One row per currency: the rows of CUSTOMERS added up."""

UNPRICED = FrameSchema(
    "UNPRICED",
    {
        "account_id": pl.String,
        "subscription_id": pl.String,
        "meter_id": pl.String,
        "reason": pl.String,  # a RejectReason
        "events": pl.Int64,
        "example": pl.String,  # what is wrong with the first of them
    },
)
"""One row per subscription, meter and reason: usage that the draft cannot charge."""


@dataclass(frozen=True)
class WhatIf:
    """A draft beside what was charged."""

    period: Period
    events: int  # measured events that were rated
    customers: pl.DataFrame  # CUSTOMERS
    totals: pl.DataFrame  # TOTALS
    unpriced: pl.DataFrame  # UNPRICED

    @property
    def message(self) -> str:
        """One sentence for people."""
        lost = int(self.unpriced["events"].sum())
        without = f" The draft has no price for {lost:,} of them." if lost else ""
        return f"{self.period}: {self.events:,} events rated with the draft.{without} Nothing was written."


def read_draft(workspace: Workspace, book_folder: Path | None, roster_folder: Path | None) -> tuple[Book, Roster]:
    """The draft: folders of YAML as in catalog/ and roster/; what is not given is the newest published version.

    Raises:
        BadCatalog: With every mistake in the folders.
        NothingPublished: There is no version to stand in.
    """
    book = catalog.book_source.read_book(book_folder) if book_folder else load_book(workspace.books)
    roster = catalog.roster_source.read_roster(roster_folder, book) if roster_folder else load_roster(workspace.rosters)
    return book, roster


def compare_draft(workspace: Workspace, period: Period, book: Book, roster: Roster) -> WhatIf:
    """Rate the period's posted usage by a draft and set it beside what stands in the ledger, range of accounts by range."""
    terms = _without_costs(compile_terms(book, roster))
    today, draft, unpriced, events = [], [], [UNPRICED.empty()], 0
    rows = usage_rows(workspace.ledger().postings.scan(), str(period), str(period))
    for part in by_accounts(rows, group_links(terms)):
        usage = posted_usage(without_retracted(part).filter(pl.col("role") == Role.REVENUE.value))
        matched = match_posted(usage, terms)
        priced = price_posted(matched, matched.charged, Counters())
        charged = part.filter(pl.col("role") == Role.REVENUE.value).with_columns(scaled=pl.col("amount").to_physical())
        today.append(_by_account(charged))
        draft.append(priced.by_account())
        unpriced.append(_without_price(usage, matched, priced.rejected))
        events += usage.height
    published = workspace.load()
    today.append(_fees(period, compile_terms(*published)))
    draft.append(_fees(period, terms))
    lost = pl.concat(unpriced).sort("account_id", "subscription_id", "meter_id", "reason")
    accounts = pl.concat([roster.accounts, published[1].accounts]).unique("account_id", keep="first", maintain_order=True)
    customers = _customers(pl.concat(today), pl.concat(draft), lost, accounts)
    return WhatIf(period, events, customers, _totals(customers), lost)


def _without_costs(terms: Terms) -> Terms:
    """The terms of customers alone: what usage costs us is no part of the comparison."""
    return terms if terms.is_cost is None else replace(terms, usage=terms.usage.filter(~terms.is_cost))


def _by_account(amounts: pl.DataFrame) -> pl.DataFrame:
    """`account_id`, `currency` and the sum of `scaled`."""
    return amounts.group_by("account_id", "currency").agg(pl.col("scaled").sum()).select("account_id", "currency", "scaled")


def _fees(period: Period, terms: Terms) -> pl.DataFrame:
    """Fees of the service periods that begin in the month: what a run of the month before, and no earlier one, would post."""
    fees = post_fees(period.previous(), terms, POSTINGS.empty(), period)
    revenue = fees.filter(pl.col("role") == Role.REVENUE.value)
    return _by_account(revenue.with_columns(scaled=pl.col("amount").to_physical()))


def _without_price(usage: pl.DataFrame, matched: Matched, refused: pl.DataFrame) -> pl.DataFrame:
    """UNPRICED of these events: those that no price of the draft charges, and those it cannot charge exactly."""
    rejected = pl.concat([matched.rejected, refused]).sort("event")
    told = rejected.hstack(usage.select("account_id", "subscription_id", "meter_id")[rejected["event"]])
    groups = told.group_by("account_id", "subscription_id", "meter_id", "reason", maintain_order=True)
    return UNPRICED.select(groups.agg(events=pl.len().cast(pl.Int64), example=pl.col("detail").first()))


def _customers(today: pl.DataFrame, draft: pl.DataFrame, unpriced: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """CUSTOMERS of both sides' amounts."""
    by = ["account_id", "currency"]
    both = _by_account(today).join(_by_account(draft), on=by, how="full", coalesce=True, suffix="_draft")
    events = unpriced.group_by("account_id").agg(unpriced=pl.col("events").sum())
    money = _rounded(both)
    told = (
        money.join(accounts.select("account_id", "name"), on="account_id", how="left")
        .join(events, on="account_id", how="left")
        .with_columns(
            pl.when(pl.col("scaled").is_not_null()).then("unpriced").fill_null(0).alias("unpriced"),
            difference=(pl.col("draft") - pl.col("today")).cast(MONEY),
        )
        .with_columns(moved=pl.col("difference").abs())
        .sort("moved", "account_id", "currency", descending=[True, False, False])
    )
    return CUSTOMERS.select(told.with_columns(_percent(told)))


def _rounded(both: pl.DataFrame) -> pl.DataFrame:
    """`today` and `draft` in MONEY, rounded half-up to the minor unit of the row's currency."""
    currencies = both["currency"].unique()
    steps = [10 ** (18 - minor_unit_digits(currency)) for currency in currencies]
    fours = [10 ** (4 - minor_unit_digits(currency)) for currency in currencies]
    units = pl.DataFrame(
        {"currency": currencies, "step": steps, "four": fours}, schema_overrides={"step": pl.Int128, "four": pl.Int128}
    )
    joined = both.join(units, on="currency")
    names = {"today": "scaled", "draft": "scaled_draft"}
    return joined.with_columns(
        _to_money(divide_half_up(pl.col(scaled).fill_null(0), pl.col("step")) * pl.col("four")).alias(name)
        for name, scaled in names.items()
    )


def _to_money(ten_thousandths: pl.Expr) -> pl.Expr:
    return (ten_thousandths.cast(pl.Decimal(38, 0)) * pl.lit("0.0001").cast(MONEY)).cast(MONEY)


def _percent(rows: pl.DataFrame) -> pl.Series:
    """difference / today in percent, half-up to two places; null where today is 0."""
    amounts = rows.select(pl.col("today", "difference").to_physical()).iter_rows()
    percents = [_hundredths(difference, abs(today)) if today else None for today, difference in amounts]
    return pl.Series("percent", percents, PERCENT)


def _hundredths(part: int, whole: int) -> Decimal:
    """part / whole in percent: integers, because a quotient would be rounded twice."""
    count = (abs(part) * 20_000 + whole) // (2 * whole)
    return Decimal(-count if part < 0 else count).scaleb(-2)


def _totals(customers: pl.DataFrame) -> pl.DataFrame:
    sums = customers.group_by("currency").agg(pl.col("today", "draft", "difference", "unpriced").sum()).sort("currency")
    money = sums.with_columns(pl.col("today", "draft", "difference").cast(MONEY))
    return TOTALS.select(money.with_columns(_percent(money)))
