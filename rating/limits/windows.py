"""Commitments and caps: money held against an amount, in each usage period or over a contract.

    T = what the lines that it covers cost, added up from the first usage period of the contract (or in this one alone),
        with what was spent of a contract before billing began here

    commitment   max(0, amount - T)              when its last usage period is closed: what is missing
    overage      (T - amount) x (factor - 1)     as far as T is beyond the amount: it costs so many times
    cap          -max(0, T - amount)             what is beyond is given back

Overage and cap are functions of T, so a usage period of a contract owes f(T with it) - f(T before it).
Source: Lago minimum commitments, Flexprice commitments with overage factor and true-up, AWS and Google spend commitments.
"""

from __future__ import annotations

import polars as pl

from rating.kernel import MILLION, apply_factor
from rating.limits.compile import Limits
from rating.limits.covered import cover_lines
from rating.limits.frames import COSTS, DUES, PARTY
from schemas.errors import BrokenPromise
from schemas.limits import LimitCharge

MOST = 10**34
"""Money, at scale 18, below which a factor of at most 100 stays exact."""


def bound_windows(grants: pl.DataFrame, costs: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """DUES of commitments and caps that concern different parties, and COSTS with them.

    Args:
        grants: GRANTS of these limits, of all usage periods from the first one that counts.
    """
    told = limits.limits.select(
        "limit", "limit_id", "kind", "over", "version", "true_up", "overage_factor", "currency", "tax_class", "spent"
    )
    covered = cover_lines(grants, costs, limits)
    money = covered.with_columns(costs["scaled"].gather(covered["line"])).group_by("grant").agg(pl.col("scaled").sum())
    window = ["limit", *PARTY, pl.when(pl.col("over") == "period").then("month")]
    rows = (
        grants.with_row_index("grant")
        .join(money, on="grant", how="left")
        .join(told, on="limit")
        .join(limits.spans.group_by("limit", *PARTY).agg(pl.col("to_day").max()), on=["limit", *PARTY])
        .sort("month")
        .with_columns(pl.col("scaled").fill_null(0))
        .with_columns(reached=pl.col("scaled").cum_sum().over(window) + pl.col("spent").to_physical().fill_null(0))
    )
    if rows.filter((pl.col("reached").abs() >= MOST) | (pl.col("size") >= MOST)).height:
        raise BrokenPromise("a commitment or cap, or what it is held against, is beyond what is exact")
    dues = pl.concat([_true_ups(rows), _overages(rows), _caps(rows)])
    dues = DUES.select(dues.filter(pl.col("scaled") != 0))
    return dues, pl.concat([costs, added_costs(dues)])


def added_costs(dues: pl.DataFrame, price_id: str | None = None) -> pl.DataFrame:
    """COSTS of what limits added.

    Args:
        price_id: Column that names the price it is added to; None: it is not of one price.
    """
    price = pl.lit(None, pl.String) if price_id is None else pl.col(price_id)
    return COSTS.select(
        dues.select(
            *PARTY,
            pl.lit(None, pl.String).alias("counted_for"),
            price.alias("price_id"),
            pl.lit(None, pl.String).alias("price_version"),
            pl.lit(False).alias("fee"),
            pl.col("usage_period").dt.strftime("%Y-%m").alias("month"),
            pl.lit(None, pl.Int64).alias("quanta"),
            "scaled",
        )
    )


def _true_ups(rows: pl.DataFrame) -> pl.DataFrame:
    closed = (pl.col("over") == "period") | (pl.col("usage_period_end") >= pl.col("to_day"))
    missing = (pl.col("size") - pl.col("reached")).clip(lower_bound=0)
    due = rows.filter((pl.col("kind") == "commitment") & pl.col("true_up") & closed)
    return due.select(*_told(LimitCharge.COMMITMENT, pl.col("limit_id"), missing))


def _overages(rows: pl.DataFrame) -> pl.DataFrame:
    extra = pl.col("overage_factor").to_physical() // 10**12 - MILLION
    due = rows.filter((pl.col("kind") == "commitment") & pl.col("overage_factor").is_not_null())
    beyond = apply_factor(_beyond(pl.col("reached")), extra) - apply_factor(_beyond(_before()), extra)
    return due.select(*_told(LimitCharge.OVERAGE, pl.col("limit_id") + "/overage", beyond))


def _caps(rows: pl.DataFrame) -> pl.DataFrame:
    back = _beyond(_before()) - _beyond(pl.col("reached"))
    return rows.filter(pl.col("kind") == "cap").select(*_told(LimitCharge.CAP, pl.col("limit_id"), back))


def _before() -> pl.Expr:
    return pl.col("reached") - pl.col("scaled")


def _beyond(money: pl.Expr) -> pl.Expr:
    return (money - pl.col("size")).clip(lower_bound=0)


def _told(charge: LimitCharge, price_id: pl.Expr, scaled: pl.Expr) -> list[pl.Expr]:
    return [
        pl.col(*PARTY),
        price_id.alias("price_id"),
        pl.col("version").alias("price_version"),
        pl.lit(charge.value).alias("charge"),
        pl.col("usage_period", "usage_period_end", "currency", "tax_class", "size"),
        pl.col("reached").alias("counted"),
        scaled.cast(pl.Int128).alias("scaled"),
    ]
