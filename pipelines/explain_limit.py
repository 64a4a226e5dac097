"""What a line that a limit made was held against: how much was agreed, what counted, what is due and what was posted before."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from pipelines.limit_costs import COLUMNS, read_costs
from pipelines.warehouse import run_query
from rating.limits.apply import apply_limits
from rating.limits.compile import Limits
from schemas.frames import AMOUNT, FrameSchema
from schemas.limits import LimitCharge
from schemas.period import Period

LIMIT_STEPS = FrameSchema("LIMIT_STEPS", {"step": pl.String, "amount": AMOUNT, "unit": pl.String})
"""From what was agreed to what the line says, in order. One row per step."""

_AGREED = {
    LimitCharge.POOL: "in the pool, with what was kept from before",
    LimitCharge.FLOOR: "the least that the price costs in the usage period",
    LimitCharge.COMMITMENT: "committed",
    LimitCharge.OVERAGE: "committed",
    LimitCharge.CAP: "the most that is to be paid",
}
_COUNTED = {
    LimitCharge.POOL: "covered of this price",
    LimitCharge.FLOOR: "what its usage costs",
    LimitCharge.COMMITMENT: "what the lines that it covers cost",
    LimitCharge.OVERAGE: "what the lines that it covers cost",
    LimitCharge.CAP: "what the lines that it covers cost",
}


def is_limit(line: dict[str, Any]) -> bool:
    """Whether a limit made the line."""
    return line["charge"] in set(LimitCharge)


def limit_steps(connection: duckdb.DuckDBPyConnection, line: dict[str, Any], limits: Limits, starts: Period) -> pl.DataFrame:
    """LIMIT_STEPS of a line.

    Args:
        connection: A warehouse in which the line's run is cut (`reached`): what counts is what that run saw.
        line: Its row of LINES.
        limits: Those of the book and roster that the run used.
        starts: First month that is billed here.
    """
    columns = ", ".join(f"postings.{name}" for name in COLUMNS)
    connection.execute(
        f"create or replace view limit_postings as select {columns} from postings inner join reached "
        "on postings.stream = reached.stream and postings.stream_partition = reached.stream_partition "
        "where postings.stream_offset <= reached.through_offset"
    )
    dues = apply_limits(
        read_costs(connection, limits, starts, Period.parse(line["period"])), limits, starts, Period.parse(line["period"])
    )
    mine = {
        name: line[name] for name in ("account_id", "subscription_id", "charge", "price_id", "price_version", "usage_period")
    }
    due = dues.filter(**mine)
    charge = LimitCharge(line["charge"])
    size, counted, scaled = due.select("size", "counted", "scaled").row(0) if due.height else (0, 0, 0)
    owed = _money(scaled)
    scale, unit = _unit(connection, line, limits)
    rows = [
        (_AGREED[charge], Decimal(size).scaleb(-scale), unit),
        (_COUNTED[charge], Decimal(counted).scaleb(-scale), unit),
        ("due for it now", owed, line["currency"]),
        ("posted by earlier runs", owed - line["exact_amount"], line["currency"]),
        ("this line", line["exact_amount"], line["currency"]),
    ]
    known = rows if due.height else rows[2:]  # nothing is due any more: the line takes back what was
    return LIMIT_STEPS.build([{"step": step, "amount": amount, "unit": name} for step, amount, name in known])


def _unit(connection: duckdb.DuckDBPyConnection, line: dict[str, Any], limits: Limits) -> tuple[int, str]:
    """Decimals and name of what the limit is of: money, or the unit of the price that a pool covers."""
    if limits.limits.filter(pl.col("units").is_not_null(), limit_id=line["price_id"]).is_empty():
        return 18, str(line["currency"])
    text = (
        "select distinct meters.quantity_scale, meters.unit from prices inner join meters on prices.meter_id = meters.meter_id "
        "where prices.price_id = $price"
    )
    scale, unit = run_query(connection, text, {"price": line["price_version"]}).row(0)
    return int(scale), str(unit)


def _money(scaled: int) -> Decimal:
    return Decimal(scaled).scaleb(-18)
