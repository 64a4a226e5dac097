"""Pools: units or money of a usage period that several prices share. What a pool covers is given back.

    units   f(q) - f(q - covered)   per aggregate, prices in the order in which the pool names them
    money   covered                 as far as the lines go, in the same order

Units come before money, because fewer units change what is left to pay; among pools the lower priority is used first.
What is left of a pool may be kept for some periods more; what expires first is used first.
Source: Lago prepaid and included units, Stigg and Metronome rollover credits, TM Forum 654 buckets shared by several services.
"""

from __future__ import annotations

from collections import deque

import polars as pl

from rating.kernel import apply_factor, find_steps, price_quanta
from rating.limits.compile import Limits
from rating.limits.covered import cover_lines
from rating.limits.frames import DUES, PARTY
from rating.terms import Terms
from schemas.limits import LimitCharge

AGGREGATE = ["counted_for", "price_id", "price_version", "month"]
"""What a running aggregate is counted by; `month` stands for its usage period."""


def cover_by_pools(grants: pl.DataFrame, costs: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """DUES of pools that concern different parties, and COSTS less what they cover.

    Args:
        grants: GRANTS of these pools, of all usage periods from the first one that counts. All of units or all of money.
    """
    told = limits.limits.select(
        "limit", "limit_id", of_units=pl.col("units").is_not_null(), periods="roll_over_periods", kept="kept"
    )
    of_units = bool(told.join(grants, on="limit", how="semi")["of_units"].any())
    wanted = _wanted(costs, limits.terms) if of_units else costs.select(pl.col("scaled").clip(lower_bound=0))["scaled"]
    lines = cover_lines(grants, costs, limits)
    asked = lines.with_columns(wanted.gather(lines["line"]).cast(pl.Int128).alias("wanted")).filter(pl.col("wanted") > 0)
    demand = asked.group_by("grant").agg(pl.col("wanted").sum())
    rows = grants.with_row_index("grant").join(demand, on="grant", how="left").join(told, on="limit")
    open_to = rows.select("grant", available=_available(rows.with_columns(pl.col("wanted").fill_null(0))))
    names = costs.select("subscription_id", "price_version")[asked["line"]]
    order = asked.hstack(names).join(open_to, on="grant").sort("grant", "place", "subscription_id", "price_version", "line")
    before = pl.col("wanted").cum_sum().over("grant") - pl.col("wanted")
    used = order.with_columns(
        covered=pl.max_horizontal(pl.lit(0, pl.Int128), pl.min_horizontal("wanted", pl.col("available") - before))
    ).filter(pl.col("covered") > 0)
    used = used.with_columns(_money_back(used, costs, limits.terms) if of_units else used["covered"].alias("back"))
    return _dues(used, rows, costs, limits), _less(costs, used, of_units)


def _wanted(costs: pl.DataFrame, terms: Terms) -> pl.Series:
    """Quanta of each line that a pool of units can cover: of usage whose price is a function of them."""
    known = costs.select("price_id", "price_version").join(
        _functions(terms), on=["price_id", "price_version"], how="left", maintain_order="left"
    )
    can = known["price"].is_not_null() & ~costs["fee"]
    return costs.select(pl.when(can).then(pl.col("quanta")).otherwise(0).clip(lower_bound=0).fill_null(0))["quanta"]


def _functions(terms: Terms) -> pl.DataFrame:
    """price_id, price_version as they are posted -> `price`, `at_zero` and `kept_millionths`: one function each."""
    named = ["price_id", "price_version"]
    functions = terms.usage.select(*named, "price", "at_zero", "kept_millionths").unique(named, keep="first")
    return functions.join(terms.event_prices, on="price", how="anti").join(terms.capacity, on="price", how="anti")


def _money_back(used: pl.DataFrame, costs: pl.DataFrame, terms: Terms) -> pl.Series:
    """f(q) - f(q - covered) of each line, as `back`.

    Where subscriptions share an aggregate each line's part comes off what the lines before it left, so the parts add up.
    """
    whole = costs.select(pl.col("quanta").sum().over(AGGREGATE))["quanta"]
    lines = costs.select(AGGREGATE)[used["line"]].with_columns(whole.gather(used["line"]), used["covered"].cast(pl.Int64))
    rows = lines.join(_functions(terms), on=["price_id", "price_version"], how="left", maintain_order="left").with_columns(
        rest=pl.col("quanta") - pl.col("covered").cum_sum().over(AGGREGATE)
    )
    rows = rows.with_columns(quanta=pl.col("rest") + pl.col("covered"))
    prices = [
        price_quanta(rows, name, terms.steps, find_steps(rows, name, terms.step_keys)).alias(f"{name}_price")
        for name in ("quanta", "rest")
    ]
    kept = pl.col("kept_millionths")
    back = apply_factor(pl.col("quanta_price"), kept) - apply_factor(pl.col("rest_price"), kept)
    return rows.with_columns(prices).select(back.alias("back"))["back"]


def _available(rows: pl.DataFrame) -> pl.Series:
    """What each grant has to give: its own size and what earlier ones left. One row per grant, in the order of `rows`.

    A queue of buckets is followed for each pool and party by itself: what is left depends on every period before.
    """
    if not (rows["periods"] > 0).any():
        return rows["size"].alias("available")
    placed = rows.with_columns(
        index=pl.col("month").str.slice(0, 4).cast(pl.Int64) * 12 + pl.col("month").str.slice(5, 2).cast(pl.Int64)
    ).sort("limit", *PARTY, "month")
    available: list[int] = []
    owner: tuple[object, ...] = ()
    balance = RollingBalance(0, None)
    columns = ["limit", *PARTY, "index", "size", "wanted", "periods", "kept"]
    for limit, account, subscription, index, size, wanted, periods, kept in placed.select(columns).iter_rows():
        if owner != (limit, account, subscription):
            owner, balance = (limit, account, subscription), RollingBalance(periods, kept)
        available.append(balance.use(index, size, wanted))
    order = placed.select("grant").with_columns(pl.Series("available", available, pl.Int128))
    return rows.select("grant").join(order, on="grant", how="left", maintain_order="left")["available"]


class RollingBalance:
    """What a pool has left, in buckets by the period in which they were given; the oldest is used first."""

    def __init__(self, periods: int, kept: int | None) -> None:
        self._periods = periods  # for how many periods more a bucket is kept
        self._kept = kept  # the most that goes on from one period to the next
        self._buckets: deque[tuple[int, int]] = deque()  # period given, what is left

    def use(self, period: int, size: int, wanted: int) -> int:
        """Open a period with a new bucket, take what is wanted as far as it goes, and return what there was to give."""
        carried = [(given, left) for given, left in self._buckets if given + self._periods >= period]
        beyond = 0 if self._kept is None else max(0, sum(left for _, left in carried) - self._kept)
        self._buckets = deque([*_take(carried, beyond), (period, size)])  # what may not go on is what would expire first
        available = sum(left for _, left in self._buckets)
        self._buckets = deque(_take(self._buckets, min(wanted, available)))
        return available


def _take(buckets: list[tuple[int, int]] | deque[tuple[int, int]], amount: int) -> list[tuple[int, int]]:
    """The buckets without so much, taken from the first on; empty ones fall away."""
    rest = []
    for given, left in buckets:
        taken = min(left, amount)
        amount -= taken
        if left > taken:
            rest.append((given, left - taken))
    return rest


def _dues(used: pl.DataFrame, rows: pl.DataFrame, costs: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """DUES: what is given back, one row per pool, subscription and price covered."""
    lines = costs.select(*PARTY, "price_id")[used["line"]]
    given = used.select("grant", "available", "covered", "back").hstack(lines)
    summed = given.group_by("grant", *PARTY, "price_id", maintain_order=True).agg(
        pl.col("available").first(), pl.col("covered", "back").sum()
    )
    told = rows.select("grant", "limit_id", "usage_period", "usage_period_end")
    return DUES.select(
        summed.join(told, on="grant")
        .join(limits.prices, on="price_id", how="left")
        .filter(pl.col("back") != 0)
        .select(
            *PARTY,
            pl.col("limit_id").alias("price_id"),
            pl.col("price_id").alias("price_version"),
            pl.lit(LimitCharge.POOL.value).alias("charge"),
            *("usage_period", "usage_period_end", "currency", "tax_class"),
            pl.col("available").alias("size"),
            pl.col("covered").alias("counted"),
            scaled=pl.lit(0, pl.Int128) - pl.col("back"),  # Int128 has no negative sign in Polars
        )
    )


def _less(costs: pl.DataFrame, used: pl.DataFrame, of_units: bool) -> pl.DataFrame:
    """COSTS less what was covered."""
    taken = used.group_by("line").agg(pl.col("covered", "back").sum())
    left = costs.with_row_index("line").join(taken, on="line", how="left", maintain_order="left")
    covered = pl.col("covered").fill_null(0).cast(pl.Int64) if of_units else pl.lit(0, pl.Int64)
    return left.with_columns(quanta=pl.col("quanta") - covered, scaled=pl.col("scaled") - pl.col("back").fill_null(0)).drop(
        "line", "covered", "back"
    )
