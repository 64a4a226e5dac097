"""Invoice numbers: gapless in each series and year, INV-2026-000001, INV-2026-000002 ...

Tax law wants a sequence without holes, so numbers are given when a run becomes final and never before.
"""

from __future__ import annotations

import polars as pl

from schemas.billing import INVOICES
from schemas.errors import BrokenPromise

PATTERN = r"^([A-Z0-9]+)-(\d{4})-(\d{6,})$"


def read_numbers(invoices: pl.DataFrame) -> pl.DataFrame:
    """One row per numbered invoice: series, year, number.

    Raises:
        BrokenPromise: A number was not made by this module.
    """
    parts = invoices.select(pl.col("invoice_no").str.extract_groups(PATTERN).alias("parts")).unnest("parts")
    numbers = parts.select(series=pl.col("1"), year=pl.col("2").cast(pl.Int32), number=pl.col("3").cast(pl.Int64))
    if numbers["number"].null_count():
        raise BrokenPromise("the invoices hold a number that is not of the form INV-2026-000001")
    return numbers


def number_invoices(draft: pl.DataFrame, issued: pl.DataFrame, series: str) -> pl.DataFrame:
    """INVOICES with their numbers: by year of issue and account_id, following on the numbers already given.

    Args:
        draft: INVOICES of one run, without numbers.
        issued: INVOICES that are final.
        series: Prefix of the numbers.
    """
    highest = read_numbers(issued).filter(pl.col("series") == series).group_by("year").agg(taken=pl.col("number").max())
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("year")
    numbered = (
        draft.with_columns(year=pl.col("issue_date").dt.year().cast(pl.Int32))
        .sort("year", "account_id", "currency")
        .join(highest, on="year", how="left", maintain_order="left")
        .with_columns(number=pl.col("taken").fill_null(0) + place)
        .with_columns(
            invoice_no=pl.format(
                "{}-{}-{}", pl.lit(series), pl.col("year"), pl.col("number").cast(pl.String).str.pad_start(6, "0")
            )
        )
    )
    return INVOICES.select(numbered)
