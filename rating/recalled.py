"""What a row of the ledger still knows of its event's `data`: the dimensions of its meter, and the one value it keeps.

A meter keeps a value where a number is not enough to say what was charged: what `unique` tells apart, and the money that comes
with the event. Retractions, replay, what-if and re-rating read them back, so none of them needs the message again.
"""

from __future__ import annotations

from hashlib import sha256

import polars as pl

from schemas.usage import PROPERTY

KEPT_CHARACTERS = 256
"""Characters of a value that a row of the ledger holds; of a longer one it holds the SHA-256."""


def valued_meters(meters: pl.DataFrame) -> pl.DataFrame:
    """`meter` and `name`: the meters whose rows keep a value, and the property that it is."""
    name = pl.when(pl.col("aggregation") == "unique").then("property").otherwise("money")
    return meters.select("meter", name=name).drop_nulls("name")


def kept_values(rows: pl.DataFrame, events: pl.DataFrame, meters: pl.DataFrame) -> pl.Series:
    """`value` of each row (String): null where its meter keeps none or the event lacks it.

    Args:
        rows: `event` and `meter`.
        events: EVENTS with the `data.<property>` columns.
        meters: METERS with `meter`.
    """
    values = pl.Series("value", [None], pl.String).new_from_index(0, rows.height)
    for meter, name in valued_meters(meters).iter_rows():
        column = f"{PROPERTY}{name}"
        if column in events.columns:
            values = _shortened(events[column]).gather(rows["event"]).zip_with(rows["meter"] == meter, values)
    return values.alias("value")


def _shortened(values: pl.Series) -> pl.Series:
    """The values; of those that are too long for a row of the ledger a digest."""
    long = (values.str.len_chars() > KEPT_CHARACTERS).fill_null(False).arg_true()
    return values.scatter(long, [sha256(text.encode()).hexdigest() for text in values.gather(long)]) if len(long) else values


def recalled_properties(meters: pl.DataFrame) -> dict[str, pl.Expr]:
    """`data.<name>` read out of a row's `dimensions` ('region=cn,call_type=pstn', in the meter's order) and `value`, by name.

    A dimension ends where the next name of the meter begins, so it may hold commas. The rows need `meter_id` too.
    """
    columns: dict[str, pl.Expr] = {}

    def add(meter_id: str, name: str, value: pl.Expr) -> None:
        before = columns.get(name, pl.lit(None, pl.String))
        columns[name] = pl.when(pl.col("meter_id") == meter_id).then(value).otherwise(before)

    for meter_id, names in meters.select("meter_id", "dimensions").iter_rows():
        for place, name in enumerate(names or []):
            following = "|".join(f",{_escape(after)}=" for after in names[place + 1 :])
            end = f"(?:{following}|$)" if following else "$"
            add(meter_id, name, pl.col("dimensions").str.extract(f"(?s)(?:^|,){_escape(name)}=(.*?){end}"))
    for meter, name in valued_meters(meters).iter_rows():
        add(meters.row(by_predicate=pl.col("meter") == meter, named=True)["meter_id"], name, pl.col("value"))
    return {name: value.alias(f"{PROPERTY}{name}") for name, value in columns.items()}


def recall_dimensions(events: pl.DataFrame, taken: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """EVENTS in which a retraction has the properties of the event that it takes back, as far as its rows know them.

    Args:
        events: EVENTS with `event`.
        taken: TAKEN (rating/retract.py).
        meters: METERS with `meter`.
    """
    told = taken.select("event", "meter", "dimensions", "value").join(meters.select("meter", "meter_id"), on="meter")
    columns = recalled_properties(meters)
    if told.is_empty() or not columns:
        return events
    read = told.select("event", *columns.values()).group_by("event").agg(pl.all().drop_nulls().first())
    both = events.join(read.with_columns(recalled=True), on="event", how="left", maintain_order="left", suffix="_recalled")
    present = [f"{PROPERTY}{name}" for name in columns if f"{PROPERTY}{name}_recalled" in both.columns]
    own = [pl.when("recalled").then(f"{name}_recalled").otherwise(name).alias(name) for name in present]
    return both.with_columns(own).drop("recalled", *(f"{name}_recalled" for name in present))


def _escape(name: str) -> str:
    return "".join(sign if sign.isalnum() else f"\\x{{{ord(sign):x}}}" for sign in name)
