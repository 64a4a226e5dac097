"""All limits in their order, and the rows by which the ledger comes to say what they make of a usage period.

The order is one list, and the reason for it stands beside it. A price's own cap, discount, minimum and maximum are part of
its function f and have been applied when usage was rated; invoices round and tax what comes out here.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from rating.limits.compile import ACCOUNT_WIDE, Limits, grant_limits
from rating.limits.covered import order_limits
from rating.limits.floors import raise_to_floors
from rating.limits.frames import COSTS, DUES
from rating.limits.pools import cover_by_pools
from rating.limits.windows import bound_windows
from rating.run_rows import DUE, post_changes
from schemas.ledger import Role
from schemas.limits import LimitCharge
from schemas.period import Period

CHARGES = [charge.value for charge in LimitCharge]

Costs = pl.DataFrame
Step = Callable[[Costs, pl.DataFrame, Limits, Period, Period], tuple[pl.DataFrame, Costs]]


def apply_limits(costs: pl.DataFrame, limits: Limits, first: Period, last: Period) -> pl.DataFrame:
    """DUES of all limits in the usage periods that start in the months from `first` to `last`.

    A contract counts from `first`; what came before was billed elsewhere. Nothing depends on the order of `costs`.

    Args:
        costs: COSTS of these months: usage as it was rated, and the fees of the service periods that begin in them.
    """
    grants = grant_limits(limits, first, last)
    dues = [DUES.empty()]
    for step in ORDER:
        made, costs = step(costs, grants, limits, first, last)
        dues.append(made)
    return pl.concat(dues)


def post_limits(
    period: Period, costs: pl.DataFrame, limits: Limits, posted: pl.DataFrame, starts: Period, first_offset: int = 0
) -> pl.DataFrame:
    """POSTINGS of what limits make of the usage periods up to this one, less what earlier runs posted of them.

    Args:
        costs: COSTS of the months from `starts` to `period`, the fees and zero-usage fees of this run among them.
        posted: POSTINGS of limits, of all runs so far.
        starts: First month that is billed here.
        first_offset: Offset of the run's first row; several kinds of rows share the stream `run:<period>`.
    """
    due = DUE.select(
        apply_limits(costs, limits, starts, period).with_columns(
            counted_for=pl.when(pl.col("subscription_id") == ACCOUNT_WIDE).then("account_id").otherwise("subscription_id"),
            role=pl.lit(Role.REVENUE.value),
            partner_id=pl.lit(None, pl.String),
            meter_id=pl.lit(None, pl.String),
            quantity_scale=pl.lit(0, pl.Int8),
            quanta=pl.lit(0, pl.Int64),
        )
    )
    recent = posted.filter((pl.col("usage_month") >= str(starts)) & (pl.col("usage_month") <= str(period)))
    return post_changes(period, due, recent, limits.terms, first_offset)


def _pools_of(of_units: bool) -> Step:
    def cover(costs: Costs, grants: pl.DataFrame, limits: Limits, first: Period, last: Period) -> tuple[pl.DataFrame, Costs]:
        kind = limits.limits.filter(pl.col("units").is_not_null() == of_units)["limit"]
        return _in_turn(cover_by_pools, costs, grants.filter(pl.col("limit").is_in(kind.implode())), limits, "pool")

    return cover


def _floors(costs: Costs, grants: pl.DataFrame, limits: Limits, first: Period, last: Period) -> tuple[pl.DataFrame, Costs]:
    return raise_to_floors(costs, limits, first, last)


def _windows_of(kind: str) -> Step:
    def bound(costs: Costs, grants: pl.DataFrame, limits: Limits, first: Period, last: Period) -> tuple[pl.DataFrame, Costs]:
        return _in_turn(bound_windows, costs, grants, limits, kind)

    return bound


def _in_turn(
    apply: Callable[[pl.DataFrame, Costs, Limits], tuple[pl.DataFrame, Costs]],
    costs: Costs,
    grants: pl.DataFrame,
    limits: Limits,
    kind: str,
) -> tuple[pl.DataFrame, Costs]:
    """DUES of the limits of a kind, each seeing what those before it left."""
    made = [DUES.empty()]
    for step in order_limits(limits, kind):
        mine = grants.filter(pl.col("limit").is_in(step.implode()))
        if mine.height:
            dues, costs = apply(mine, costs, limits)
            made.append(dues)
    return pl.concat(made), COSTS.select(costs)


ORDER: list[Step] = [
    _pools_of(of_units=True),  # units first: fewer of them change what there is to pay
    _pools_of(of_units=False),  # then money, as far as there is anything left to pay
    _floors,  # the least that a price costs is a promise of the customer, whatever a pool covers
    _windows_of("commitment"),  # a minimum over several lines counts what each of them has come to
    _windows_of("cap"),  # last, because the most that somebody pays is a promise about the whole bill
]
"""Limits apply in this order; each looks at what those before it left."""
