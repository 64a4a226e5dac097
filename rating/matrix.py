"""Matrix: a unit price for each combination of dimensions, and a default for all others.

Each event is priced by itself, at the row of its values; a value that is absent is no value of any row. So the order of arrival
does not matter, and the aggregate is that of the whole price. With `longest_prefix` the one dimension is a number called, and
the rows are prefixes of it.
Source: Meteroid `matrix`, Lago charge filters, Orb matrix pricing.
"""

from __future__ import annotations

import polars as pl

from rating.prefixes import find_prefixes
from rating.terms import Terms
from schemas.usage import PROPERTY


def find_cells(rows: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows with the `price` of STEPS that their values choose; as they are where the default holds or there is no matrix.

    Args:
        rows: `event` and `price`.
        events: EVENTS with `event` and the `data.<property>` columns.
    """
    for price, (name, table) in terms.prefix_tables.items():
        column, here = f"{PROPERTY}{name}", rows["price"] == price
        if here.any() and column in events.columns:
            numbers = events.select("event", number=column)
            told = rows.select("event").join(numbers, on="event", how="left", maintain_order="left")["number"]
            cells = find_prefixes(told, table)
            rows = rows.with_columns(cells.zip_with(here & cells.is_not_null(), rows["price"]).alias("price"))
    listed = terms.cells.filter(pl.col("match") == "value")
    for names in listed["by"].unique().to_list():
        mine = listed.filter(pl.col("by") == pl.lit(names, pl.List(pl.String))).select("price", "values", "cell")
        present = [f"{PROPERTY}{name}" for name in names if f"{PROPERTY}{name}" in events.columns]
        if len(present) < len(names):
            continue
        values = events.select("event", values=pl.concat_list(present))
        found = (
            rows.select("event", "price")
            .join(values, on="event", how="left", maintain_order="left")
            .join(mine, on=["price", "values"], how="left", maintain_order="left")
        )
        rows = rows.with_columns(found["cell"]).with_columns(price=pl.coalesce("cell", "price")).drop("cell")
    return rows
