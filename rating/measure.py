"""What an event measures: one row per event and meter that reads it, with its quantity in whole quanta."""

from __future__ import annotations

import polars as pl

from rating.aggregates.kinds import NEGATIVE
from rating.quantities import read_quantities
from schemas.frames import FrameSchema
from schemas.usage import PROPERTY, RejectReason

MEASURED = FrameSchema(
    "MEASURED",
    {
        "event": pl.UInt32,  # row of EVENTS
        "meter": pl.UInt32,  # row of Terms.meters
        "quantity_quanta": pl.Int64,  # null when there is a problem; below zero only where the aggregation allows it
        "problem": pl.String,  # the RejectReason; null when the quantity is good
        "dimensions": pl.String,  # 'region=cn,call_type=pstn' in the meter's order; absent ones left out
    },
)
"""One row per event and meter of its type, by (meter, event)."""


def measure_usage(events: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Read every event by every meter of its type.

    Args:
        events: EVENTS with `event` (row number) and `data.<property>` columns; a column that is absent counts as null.
        meters: METERS with `meter`.

    Returns:
        MEASURED. A bad quantity is a row with a problem: whether it matters depends on whether that meter has a price.
    """
    measured = [MEASURED.empty()]
    types = set(events["event_type"].unique().to_list())
    for meter in meters.filter(pl.col("event_type").is_in(list(types))).iter_rows(named=True):
        mine = events.filter(pl.col("event_type") == meter["event_type"])
        read = _read(mine, meter["property"], meter["aggregation"], meter["quantity_scale"])
        numbers = mine.select(
            "event", meter=pl.lit(meter["meter"], pl.UInt32), dimensions=_dimensions(mine, meter["dimensions"])
        )
        measured.append(MEASURED.select(pl.concat([numbers, read], how="horizontal")))
    return pl.concat(measured)


def _read(events: pl.DataFrame, name: str | None, aggregation: str, scale: int) -> pl.DataFrame:
    """`quantity_quanta` and `problem` of each event; a count counts 1 whatever the event says, unique whatever the value is."""
    if aggregation == "count":
        counted = events.select("event", quantity_quanta=pl.lit(1, pl.Int64), problem=pl.lit(None, pl.String))
        return counted.drop("event")
    column = f"{PROPERTY}{name}"
    texts = events[column] if column in events.columns else pl.Series(column, [None] * events.height, pl.String)
    if aggregation == "unique":
        absent = pl.lit(RejectReason.MISSING_FIELD.value)
        value = texts.alias("value").to_frame()
        return value.select(
            quantity_quanta=pl.when(pl.col("value").is_not_null()).then(pl.lit(1, pl.Int64)),
            problem=pl.when(pl.col("value").is_null()).then(absent),
        )
    if aggregation in NEGATIVE:
        sizes = read_quantities(texts.str.strip_prefix("-"), scale)
        below = texts.str.starts_with("-").alias("below").to_frame()
        quantity = pl.when("below").then(-pl.col("quantity_quanta")).otherwise("quantity_quanta")
        return sizes.hstack(below).select(quantity.alias("quantity_quanta"), "problem")
    return read_quantities(texts, scale)


def _dimensions(events: pl.DataFrame, names: list[str] | None) -> pl.Expr:
    present = [name for name in names or [] if f"{PROPERTY}{name}" in events.columns]
    if not present:
        return pl.lit("")
    return pl.concat_str([f"{name}=" + pl.col(f"{PROPERTY}{name}") for name in present], separator=",", ignore_nulls=True)
