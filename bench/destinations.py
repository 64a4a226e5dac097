"""How fast calls are priced by the longest prefix of the number called, on one core.

    python bench/destinations.py

A million calls to a tariff of 20,000 and of 100,000 prefixes of 2 to 9 digits, charged 60/6. `find` looks the prefix up; `find
and price` also works out the exact amount. The floor is a DuckDB join on one thread of calls that carry their prefix already
with the same tariff, and one multiplication: it finds nothing and knows no increments.
"""

from __future__ import annotations

import os
from decimal import Decimal

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported

import duckdb
import numpy as np
import polars as pl
from machine import describe_machine, print_table, time_in_turns

from rating.kernel import find_steps, price_quanta, step_keys
from rating.prefixes import build_table, find_prefixes
from rating.tiers import lower_prices
from schemas.book import PRICES, TIERS

CALLS = 1_000_000
ROUNDS = 7


def main() -> None:
    print(describe_machine("polars", "duckdb"), end="\n\n")
    heads = ("prefixes", "find, calls/s", "find and price, calls/s", "DuckDB join, calls/s", "find and price / join")
    print_table(heads, [measure(count) for count in (20_000, 100_000)])


def measure(count: int) -> tuple[str, ...]:
    rng = np.random.default_rng(1)
    prefixes = make_prefixes(rng, count)
    lowered = lower_prices(make_price().with_columns(quantity_scale=pl.lit(0, pl.Int8)), make_tariff(rng, prefixes))
    cells = lowered.cells.select(pl.col("values").list.first(), "cell")
    table, keys = build_table(cells.iter_rows()), step_keys(lowered.steps)
    dialled = [prefixes[i] for i in rng.integers(0, count, CALLS)]
    calls = pl.DataFrame(
        {
            "prefix": dialled,
            "number": [f"{prefix}{rest:06d}" for prefix, rest in zip(dialled, rng.integers(0, 10**6, CALLS), strict=True)],
            "seconds": rng.integers(1, 3600, CALLS),
            "at_zero": pl.zeros(CALLS, pl.Int128, eager=True),
        }
    )

    def price() -> pl.Series:
        cell = find_prefixes(calls["number"], table).fill_null(0)
        rows = calls.select(cell.alias("price"), "seconds", "at_zero")
        return price_quanta(rows, "seconds", lowered.steps, find_steps(rows, "seconds", keys))

    connection = duckdb.connect(config={"threads": 1})
    connection.register("frame", calls.select("prefix", "seconds"))
    connection.execute("create table calls as select * from frame")
    connection.register("cells", cells.rename({"values": "prefix"}))
    connection.execute("create table tariff as select prefix, cast(cell as decimal(18, 0)) as rate from cells")
    join = "create or replace table priced as select prefix, seconds * rate as amount from calls join tariff using (prefix)"

    works = [lambda: find_prefixes(calls["number"], table), price, lambda: connection.execute(join)]
    find, whole, floor = (CALLS / seconds for seconds in time_in_turns(works, ROUNDS))
    assert price().null_count() == 0
    return f"{count:,}", f"{find:,.0f}", f"{whole:,.0f}", f"{floor:,.0f}", f"{whole / floor:.2f}"


def make_prefixes(rng: np.random.Generator, count: int) -> list[str]:
    """So many different prefixes; short ones hold longer ones, as in a real tariff."""
    found: dict[str, None] = {}
    while len(found) < count:
        for digits, start in zip(rng.integers(2, 10, count), rng.integers(10**9, 10**10, count), strict=True):
            found[str(start)[:digits]] = None
    return list(found)[:count]


def make_price() -> pl.DataFrame:
    """PRICES of one tariff: 60/6, per minute."""
    row: dict[str, object] = {"price_id": "calls", "price_version": "2026-01-01", "plan_id": "p", "charge": "usage"}
    row |= {"meter_id": "seconds", "model": "matrix", "currency": "CNY", "per": "event", "by": ["called"]}
    row |= {"match": "longest_prefix", "included_units": Decimal(0), "minimum_units": Decimal(60), "flat_at_zero": False}
    return PRICES.build([row])


def make_tariff(rng: np.random.Generator, prefixes: list[str]) -> pl.DataFrame:
    """TIERS of the tariff: the default and a row for each prefix."""
    rates = rng.integers(1, 5000, len(prefixes) + 1)
    shared: dict[str, object] = {"price_id": "calls", "price_version": "2026-01-01", "tier_from": Decimal(0)}
    shared |= {"package_size": Decimal(6), "per_units": Decimal(60), "flat": Decimal(0)}
    rows = [
        shared
        | {"tier": tier, "values": None if tier == 0 else [prefixes[tier - 1]], "unit_price": Decimal(int(rate)) / 10_000}
        for tier, rate in enumerate(rates)
    ]
    return TIERS.build(rows)


if __name__ == "__main__":
    main()
