"""Reads usage account by account, so that memory is that of the largest range of accounts and not of the ledger.

Accounts whose usage adds up in one aggregate are read together: a total over a group is whole only with all of its accounts.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from rating.hierarchy import GROUP
from rating.terms import Terms

RANGE_ROWS = 500_000
"""Rows of the ledger in memory at a time, unless one account or group has more."""


def by_accounts(rows: pl.LazyFrame, links: pl.DataFrame | None = None, range_rows: int = RANGE_ROWS) -> Iterator[pl.DataFrame]:
    """The rows, a range of whole accounts at a time: first accounts by themselves, in order, then those of groups.

    Args:
        rows: POSTINGS.
        links: `account_id` and `counted_for` of groups that the caller will count by, beside those that the rows name.
    """
    account = pl.col("account_id")
    counts = rows.group_by("account_id").agg(rows=pl.len().cast(pl.Int64)).sort("account_id").collect()
    groups = _groups(pl.concat([posted_links(rows), *([] if links is None else [links])]))
    alone, linked = counts.join(groups, on="account_id", how="anti"), counts.join(groups, on="account_id")
    others = rows if linked.is_empty() else rows.filter(~account.is_in(linked["account_id"].implode()))
    for part in _ranges(alone.sort("account_id"), range_rows):
        yield others.filter((account >= part["account_id"][0]) & (account <= part["account_id"][-1])).collect()
    whole = linked.group_by("group").agg(pl.col("rows").sum(), account.sort()).sort(account.list.first())
    for part in _ranges(whole, range_rows):
        yield rows.filter(account.is_in(part["account_id"].explode().implode())).collect()


def group_links(terms: Terms) -> pl.DataFrame:
    """`account_id` and `counted_for` of every price that these terms count over a group."""
    return _grouped(terms.usage.lazy()).collect()


def linked_accounts(accounts: set[str], links: pl.DataFrame) -> set[str]:
    """The accounts and all that a chain of `links` leads to."""
    groups = _groups(links)
    mine = groups.filter(pl.col("account_id").is_in(sorted(accounts)))
    return accounts | set(groups.join(mine, on="group", how="semi")["account_id"])


def _ranges(counts: pl.DataFrame, range_rows: int) -> list[pl.DataFrame]:
    """The rows of `counts` cut into parts of about so many `rows`."""
    if counts.is_empty():
        return []
    return counts.with_columns(number=(pl.col("rows").cum_sum() - 1) // range_rows).partition_by("number", maintain_order=True)


def posted_links(rows: pl.LazyFrame) -> pl.DataFrame:
    """`account_id` and `counted_for` of every group that rows of POSTINGS were counted over."""
    return _grouped(rows).collect()


def _grouped(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("counted_for").str.starts_with(GROUP)).select("account_id", "counted_for").unique()


def _groups(links: pl.DataFrame) -> pl.DataFrame:
    """`account_id` and `group`: accounts that any chain of links leads to from each other have the same."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    for account, counted_for in links.iter_rows():
        above[top(account)] = top(counted_for.partition("/")[0])
    accounts = links["account_id"].unique().sort()
    return pl.DataFrame({"account_id": accounts, "group": [top(name) for name in accounts]}, schema_overrides=_GROUPS)


_GROUPS = {"account_id": pl.String(), "group": pl.String()}
