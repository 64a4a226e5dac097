"""Hierarchies of accounts: each account belongs to the one at the top, and has it to itself when it has no parent."""

from __future__ import annotations

import polars as pl

from schemas.errors import BrokenPromise

ACCOUNT, GROUP = "account:", "group:"
"""How `counted_for` begins where usage adds up over an account, or over the accounts of a hierarchy. No subscription may."""

_DOUBLINGS = 40
"""A chain of parents twice as long takes one more."""


def root_accounts(accounts: pl.DataFrame) -> pl.DataFrame:
    """`account_id` and `root_id`, one row per account. A parent that is not among the accounts counts as none.

    Args:
        accounts: ACCOUNTS.

    Raises:
        BrokenPromise: An account is above itself; the catalog refuses such a roster.
    """
    has_parent = accounts["parent_id"].is_in(accounts["account_id"].implode()).fill_null(False)
    roots = accounts.select("account_id", root_id=pl.when(has_parent).then("parent_id").otherwise("account_id"))
    if not has_parent.any():
        return roots
    for _ in range(_DOUBLINGS):
        higher = roots.select(root_id="account_id", above="root_id")
        raised = roots.join(higher, on="root_id", how="left", maintain_order="left")
        if raised["above"].equals(raised["root_id"]):
            break
        roots = raised.select("account_id", root_id="above")
    circular = roots.filter(pl.col("root_id").is_in(accounts.filter(has_parent)["account_id"].implode()))
    if circular.height:
        raise BrokenPromise(f"account {circular['account_id'][0]} has no root: an account above it is its own parent")
    return roots


def counted_for() -> pl.Expr:
    """Whose usage adds up in the aggregates of a charge, from `counted_over`, `subscription_id`, `account_id` and `root_id`."""
    over = pl.col("counted_over")
    return (
        pl.when(over == "account")
        .then(pl.concat_str(pl.lit(ACCOUNT), "account_id"))
        .when(over == "group")
        .then(pl.concat_str(pl.lit(GROUP), "root_id"))
        .otherwise("subscription_id")
        .alias("counted_for")
    )
