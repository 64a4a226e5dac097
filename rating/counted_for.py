"""Whose usage adds up in one aggregate: a subscription's, an account's, or that of a whole hierarchy of accounts.

Who that is stands in `counted_for`: the subscription's id, `account:<id>`, or `group:<id of the root account>`. An event is
charged to the subscription that used it all the same; only the running total is shared, so the rows of an aggregate add up to
f of what all of them used, in whatever order it came.
"""

from __future__ import annotations

import polars as pl

from rating.hierarchy import GROUP
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY

_NAMES = AGGREGATE_KEY[:3]


def name_aggregates(rows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`counted_for`, `price_id` and `price_version` of each row's aggregate.

    Args:
        rows: `charge` (row of Terms.usage) and `counted_for`, null where it is that of the charge.
    """
    names = terms.usage.select(_NAMES)[rows["charge"]]
    return names if _all_own(rows) else names.with_columns(counted_for=pl.coalesce(rows["counted_for"], "counted_for"))


def number_aggregates(rows: pl.DataFrame, terms: Terms) -> pl.Series:
    """Int64: a number for each row's (counted_for, price_id, price_version), the same for the same three.

    Args:
        rows: As in `name_aggregates`.
    """
    own = terms.usage["aggregate"].gather(rows["charge"]).cast(pl.Int64)
    if _all_own(rows):
        return own
    other = rows["counted_for"].is_not_null()
    names = name_aggregates(rows, terms).filter(other)
    known = names.join(terms.aggregates, on=_NAMES, how="left", maintain_order="left")["aggregate"]
    further = names.select(pl.struct(_NAMES).rank("dense").cast(pl.Int64)).to_series() + terms.last_aggregate
    return own.scatter(other.arg_true(), known.cast(pl.Int64).zip_with(known.is_not_null(), further))


def owners(rows: pl.DataFrame, terms: Terms) -> pl.Series:
    """`account_id` of each row's aggregate: the account whose rows it consists of; null where it goes over accounts.

    Args:
        rows: As in `name_aggregates`.
    """
    grouped = name_aggregates(rows, terms)["counted_for"].str.starts_with(GROUP)
    none = pl.Series([None], dtype=pl.String)
    return none.zip_with(grouped, terms.usage["account_id"].gather(rows["charge"])).alias("account_id")


def _all_own(rows: pl.DataFrame) -> bool:
    return rows["counted_for"].null_count() == rows.height
