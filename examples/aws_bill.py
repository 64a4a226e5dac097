"""Rates a real AWS bill again: does BOSS come to the on-demand cost that AWS stated?

Takes an AWS Cost and Usage Report as Parquet, turns its rate and amount columns into those of FOCUS, and goes the way of
focus_bill.py: a price book of the rates, one customer, one event per priced row, each amount compared with the stated cost.

    python examples/aws_bill.py aws_cur_sample.parquet aws-workspace
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import polars as pl

from examples.focus_bill import compare, plan_meters, prepare, rate_workspace, write_workspace
from schemas.errors import BadFile

NUMBERS = {
    "lineItem/UsageAmount": "PricingQuantity",
    "pricing/publicOnDemandRate": "ListUnitPrice",
    "pricing/publicOnDemandCost": "ListCost",
}
OTHERS = {"bill/BillingEntity": "ProviderName", "lineItem/UsageStartDate": "ChargePeriodStart", "pricing/unit": "PricingUnit"}
LINE_TYPE = "lineItem/LineItemType"


class AwsBill(NamedTuple):
    priced: pl.DataFrame  # as focus_bill.prepare makes it
    tax_rows: int  # rows of tax; they have no rate
    other_rows: int  # rows without a rate that are no tax


def read_bill(path: Path) -> AwsBill:
    """The report's rows that have an on-demand rate, in the columns of FOCUS. Its line ids repeat, so `Id` is the row."""
    try:
        report = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadFile(path, f"cannot be read as Parquet: {error}") from None
    missing = [name for name in (*NUMBERS, *OTHERS, LINE_TYPE) if name not in report.columns]
    if missing:
        raise BadFile(path, f"is no AWS Cost and Usage Report with on-demand costs; it lacks {', '.join(missing)}")
    rows = report.with_row_index("Id").with_columns(pl.col("Id").cast(pl.String))
    priced = pl.all_horizontal(pl.col(list(NUMBERS)).is_not_null())
    bill = rows.filter(priced).rename(NUMBERS | OTHERS)
    plain = [pl.Series(name, [f"{Decimal(text):f}" for text in bill[name]], pl.String) for name in NUMBERS.values()]
    day_and_time = pl.col("ChargePeriodStart").str.slice(0, 19).str.replace("T", " ")
    unpriced = rows.filter(~priced)[LINE_TYPE]
    taxes = int((unpriced == "Tax").sum())
    return AwsBill(prepare(bill.with_columns(plain).with_columns(day_and_time)), taxes, len(unpriced) - taxes)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Rates an AWS bill by its on-demand rates and compares with its stated costs.")
    parser.add_argument("bill", type=Path, help="an AWS Cost and Usage Report as Parquet")
    parser.add_argument("folder", type=Path, help="where the workspace is made")
    chosen = parser.parse_args(arguments)
    bill = read_bill(chosen.bill)
    write_workspace(bill.priced, plan_meters(bill.priced), chosen.folder)
    for row in compare(bill.priced, rate_workspace(chosen.folder)).iter_rows(named=True):
        print(f"{row['ProviderName']}: {row['equal_at_10_decimals']} of {row['rows']} priced rows equal at 10 decimals")
    print(f"Not rated: {bill.tax_rows} tax rows, {bill.other_rows} others without a rate")


if __name__ == "__main__":
    main()
