"""Hours and days in which a price counts anew: an allowance of each day, the largest of each hour priced alone.

A window has an aggregate of its own within the usage period: its `counted_for` is followed by the hour or the day of the
account's clock, `acme-1/2026-10-03` or `acme-1/2026-10-03T14+0800`. The hour that is there twice in autumn is two windows.
"""

from __future__ import annotations

import polars as pl

from rating.terms import Terms

_LABELS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H%z"}


def name_windows(charged: pl.DataFrame, terms: Terms) -> pl.Series:
    """`counted_for` of each row: of the window it falls into; null where the price counts over whole usage periods.

    Args:
        charged: `charge` (row of Terms.usage), `occurred_at` and `zone`.
    """
    if not terms.has_windows:
        return pl.Series("counted_for", [None], pl.String).new_from_index(0, charged.height)
    told = pl.concat(
        [charged.select("occurred_at", "zone"), terms.usage.select("counted_for", "within")[charged["charge"]]],
        how="horizontal",
    )
    window: pl.Expr = pl.lit(None, pl.String)
    for within, zone in (
        told.filter(pl.col("within").is_not_null()).select("within", "zone").unique().sort("within", "zone").iter_rows()
    ):
        label = pl.col("occurred_at").dt.convert_time_zone(zone).dt.strftime(_LABELS[within])
        here = (pl.col("within") == within) & (pl.col("zone") == zone)
        window = pl.when(here).then(label).otherwise(window)
    return told.select(counted_for=pl.concat_str("counted_for", window, separator="/")).to_series()
