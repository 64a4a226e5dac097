"""Rates a real cloud bill again: does BOSS come to the cost that the provider stated?

Makes a workspace out of a bill in the FOCUS format (finops.org): a price book of its list prices, one customer, and one event
per row with the row's quantity. Rates it with the product's own functions and compares each row with its ListCost.

    python examples/focus_bill.py focus_1_0_sample.parquet focus-workspace

Exactness: a meter counts at most 9 decimals, and a bill may have 11. Such a quantity is counted in a smaller unit, 10^-k of
the bill's own, and its price is that of the smaller unit; quantity x price stays what it was. This works as long as the
decimals of quantity and price together are at most 18, and the script says so where they are more.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from catalog.book_source import read_book
from catalog.roster_source import read_roster
from pipelines.decode import decode_batches
from pipelines.usage_file import read_usage_file
from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import compile_terms
from schemas.errors import BadFile

METER_DECIMALS = 9
HALF_A_CENT = Decimal("0.005")
NEEDED = ["Id", "ProviderName", "ChargePeriodStart", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ListCost"]


def read_bill(path: Path) -> pl.DataFrame:
    """The usable rows of a FOCUS bill: one per charge with a list price. Quantities, prices and costs stay text.

    A quantity below zero takes usage back. Rating refuses one, so its size is rated and its cost compared by size; `taken_back`
    marks the row.
    """
    try:
        bill = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadFile(path, f"cannot be read as Parquet: {error}") from None
    missing = [name for name in NEEDED if name not in bill.columns]
    if missing:
        raise BadFile(path, f"is no FOCUS bill with list prices; it lacks {', '.join(missing)}")
    numbers = ["PricingQuantity", "ListUnitPrice", "ListCost"]
    texts = bill.with_columns(pl.col(name).cast(pl.String) for name in numbers)
    return prepare(texts.filter(pl.all_horizontal(pl.col(numbers).is_not_null())))


def prepare(bill: pl.DataFrame) -> pl.DataFrame:
    """The NEEDED columns of priced rows, all text, with `price` (the list price in its shortest form) and `taken_back`."""
    return (
        bill.select(NEEDED)
        .with_columns(taken_back=pl.col("PricingQuantity").str.starts_with("-"))
        .with_columns(pl.col("PricingQuantity", "ListCost").str.strip_prefix("-"), price=_without_zeros("ListUnitPrice"))
    )


def _without_zeros(name: str) -> pl.Expr:
    """0.0450 -> 0.045, 3.00 -> 3"""
    text = pl.col(name)
    return (
        pl.when(text.str.contains(".", literal=True)).then(text.str.strip_chars_end("0").str.strip_suffix(".")).otherwise(text)
    )


def _decimals(text: pl.Expr) -> pl.Expr:
    return text.str.splitn(".", 2).struct.field("field_1").str.len_bytes().fill_null(0).cast(pl.Int64)


def plan_meters(bill: pl.DataFrame) -> pl.DataFrame:
    """One meter per distinct price and unit.

    Returns:
        `price`, `PricingUnit`, `meter`, `scale` (decimals counted), `shift` (k: it counts in 10^-k of the bill's unit).

    Raises:
        BadFile: Quantity and price of one meter have more than 18 decimals together.
    """
    finest = _decimals(_without_zeros("PricingQuantity")).max()
    meters = bill.group_by("price", "PricingUnit").agg(decimals=finest).sort("price", "PricingUnit").with_row_index("number")
    beyond = meters.filter(pl.col("decimals") + _decimals(pl.col("price")) > 18)
    if not beyond.is_empty():
        raise BadFile("the bill", f"has quantities and prices with more than 18 decimals together:\n{beyond}")
    shift = pl.max_horizontal(pl.col("decimals") - METER_DECIMALS, 0)
    return meters.select(
        "price",
        "PricingUnit",
        pl.format("price-{}", "number").alias("meter"),
        (pl.col("decimals") - shift).alias("scale"),
        shift=shift,
    )


def write_workspace(bill: pl.DataFrame, meters: pl.DataFrame, folder: Path) -> None:
    """The catalog, the roster and the events as files. JSON is YAML, so that is how the lists are written."""
    start = "2000-01-01"
    prices = [
        {
            "id": row["meter"],
            "name": f"{row['price']} per {row['PricingUnit']}",
            "meter": row["meter"],
            "versions": [
                {"valid_from": start, "model": "per_unit", "unit_price": f"{Decimal(row['price']).scaleb(-row['shift']):f}"}
            ],
        }
        for row in meters.iter_rows(named=True)
    ]
    counted = [
        {
            "id": row["meter"],
            "event_type": row["meter"],
            "aggregation": "sum",
            "property": "quantity",
            "unit": row["PricingUnit"] if not row["shift"] else f"10^-{row['shift']} {row['PricingUnit']}",
            "scale": row["scale"],
        }
        for row in meters.iter_rows(named=True)
    ]
    plan = {"id": "list", "kind": "version", "name": "List prices", "prices": prices}
    tax = {"country": "US", "class": "standard", "rate": "0%", "valid_from": start}
    book = {"zone": "UTC", "currency": "USD", "meters": counted, "plans": [plan], "taxes": [tax]}
    account = {
        "id": "customer",
        "name": "The customer of the bill",
        "country": "US",
        "currency": "USD",
        "language": "en",
        "zone": "UTC",
    }
    subscription = {"id": "bill", "account": "customer", "plan": "list", "licences": 1, "from": start}
    for name, content in {"catalog": book, "roster": {"accounts": [account], "subscriptions": [subscription]}}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{name}.yaml").write_text(dated(json.dumps(content, indent=1, ensure_ascii=False), start))
    (folder / "usage.ndjson").write_text("".join(f"{event}\n" for event in _events(bill, meters)))


def dated(text: str, start: str) -> str:
    """YAML reads a date only without quotes."""
    return text.replace(f'"{start}"', start)


def _events(bill: pl.DataFrame, meters: pl.DataFrame) -> list[str]:
    rows = bill.join(meters, on=["price", "PricingUnit"], how="left", maintain_order="left")
    return [
        json.dumps(
            {
                "specversion": "1.0",
                "id": row["Id"],
                "source": "/focus",
                "type": row["meter"],
                "subject": "bill",
                "time": row["ChargePeriodStart"].replace(" ", "T") + "Z",
                "data": {"quantity": f"{Decimal(row['PricingQuantity']).scaleb(row['shift']):f}"},
            }
        )
        for row in rows.iter_rows(named=True)
    ]


def rate_workspace(folder: Path) -> pl.DataFrame:
    """The amount of each event: `event_id`, `amount` (exact).

    Raises:
        BadFile: An event was rejected; names the reasons.
    """
    book = read_book(folder / "catalog")
    terms = compile_terms(book, read_roster(folder / "roster", book))
    counters, seen = Counters(), SeenEvents()
    posted: list[pl.DataFrame] = []
    for messages in read_usage_file(folder / "usage.ndjson", chunk_rows=100_000, received_at_ms=4_000_000_000_000):
        decoded = decode_batches([messages], book)
        rated = rate_batch(decoded.events, terms, counters, seen)
        rejects = pl.concat([decoded.rejects, rated.rejects])
        if not rejects.is_empty():
            raise BadFile(
                folder / "usage.ndjson", f"has events that were rejected:\n{rejects.select('event_id', 'reason', 'detail')}"
            )
        counters.advance(rated.postings)
        seen.remember(rated.postings)
        posted.append(rated.postings)
    return pl.concat(posted).select("event_id", "amount")


def compare(bill: pl.DataFrame, amounts: pl.DataFrame) -> pl.DataFrame:
    """Per provider: rows, how many agree at 10 decimals (rounded half-up), how many within half a cent."""
    both = bill.join(amounts, left_on="Id", right_on="event_id", how="left", validate="1:1")
    stated = pl.col("ListCost").cast(pl.Decimal(38, 18))
    rounded = pl.col("amount").round(10, mode="half_away_from_zero")
    return (
        both.with_columns(equal=rounded == stated, near=(pl.col("amount") - stated).abs() <= HALF_A_CENT)
        .group_by("ProviderName")
        .agg(
            pl.len().alias("rows"),
            pl.col("equal").sum().alias("equal_at_10_decimals"),
            pl.col("near").sum().alias("within_half_a_cent"),
            pl.col("taken_back").sum(),
            pl.col("amount").sum().alias("amount"),
        )
        .sort("ProviderName")
    )


def rate_bill(path: Path, folder: Path) -> pl.DataFrame:
    """The whole way from a FOCUS file to the comparison."""
    bill = read_bill(path)
    write_workspace(bill, plan_meters(bill), folder)
    return compare(bill, rate_workspace(folder))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Rates a FOCUS bill by its list prices and compares with its stated costs.")
    parser.add_argument("bill", type=Path, help="a FOCUS 1.0 bill as Parquet")
    parser.add_argument("folder", type=Path, help="where the workspace is made")
    chosen = parser.parse_args(arguments)
    result = rate_bill(chosen.bill, chosen.folder)
    for row in result.iter_rows(named=True):
        print(
            f"{row['ProviderName']}: {row['equal_at_10_decimals']} of {row['rows']} equal at 10 decimals, "
            f"{row['within_half_a_cent']} within half a cent, {row['taken_back']} of them usage taken back"
        )
    print(f"All: {result['within_half_a_cent'].sum()} of {result['rows'].sum()} within half a cent")


if __name__ == "__main__":
    main()
