"""From an event to those who pay for it: subject -> subscription -> the prices in force at that moment.

Every price of the subscription's plans on the meter that reads the event, and whose filters accept it, charges it, and beside
them every carrier's price that does. An event is all or nothing: one quantity that cannot be charged makes the whole event a
reject.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from rating.during import hold_windows
from rating.dynamic import judge_money
from rating.periods import local_day, period_start
from rating.rejects import name_problems, name_strangers
from rating.terms import Terms
from rating.windows import name_windows
from schemas.frames import INSTANT, FrameSchema
from schemas.usage import PROPERTY, RejectReason

CHARGED = FrameSchema(
    "CHARGED",
    {
        "event": pl.UInt32,  # row of EVENTS
        "charge": pl.UInt32,  # row of Terms.usage
        "meter": pl.UInt32,  # row of Terms.meters
        "quantity_quanta": pl.Int64,  # 0 or more
        "reported_quanta": pl.Int64,  # of the whole event, where the price charges a part of it; else null
        "windows": pl.String,  # of the price's calendar; null without one
        "dimensions": pl.String,
        "occurred_at": INSTANT,
        "usage_period": pl.Date,
        "counted_for": pl.String,  # whose usage adds up in its aggregate; null: that of the charge
    },
)
"""One row per event and price that charges it, by (event, charge)."""


class Matched(NamedTuple):
    charged: pl.DataFrame  # CHARGED
    rejected: pl.DataFrame  # REJECTED


def match_prices(events: pl.DataFrame, measured: pl.DataFrame, terms: Terms, *, sold: bool = False) -> Matched:
    """Find the prices that charge each measured event.

    Args:
        events: EVENTS with `event` and the `data.<property>` columns.
        measured: MEASURED.
        sold: The customer is known to be charged for every event, though maybe in another row. Otherwise a carrier's price
            counts only where a price of the customer does.
    """
    subjects = _find_holders(events, terms)
    priced = _price_candidates(events, measured, subjects, terms)
    if terms.is_cost is not None and not sold:
        priced = _sold(priced, terms.is_cost, events.height)
    problems = (
        priced.filter(pl.col("problem").is_not_null()).sort("event", "meter").unique("event", keep="first", maintain_order=True)
    )
    bad = name_problems(events, problems.select("event", "meter", "problem", "max_quanta"), terms.meters)
    matched = np.zeros(events.height, np.bool_)
    matched[priced["event"].to_numpy()] = True
    strange = name_strangers(events.filter(~pl.Series(matched)), measured, subjects, terms)
    charged = priced.join(problems, on="event", how="anti") if problems.height else priced
    return Matched(_with_period(_ordered(charged), terms), pl.concat([strange, bad]))


def _find_holders(events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`event`, `holder`, `occurred_at`: whose usage each event is, by event. Events of unknown subjects have no row."""
    subject = terms.identifiers.find(events.select(identifier="subject")).alias("subject")
    named = pl.DataFrame([events["event"], events["occurred_at"], subject]).filter(subject >= 0)
    holders = terms.numbered_holders.select("subject", "holder", "valid_from", "valid_to")
    if holders.height == len(terms.identifiers):  # one holder each: the number is the row
        found = pl.concat([named, holders[named["subject"]].drop("subject")], how="horizontal")
    else:
        found = named.join(holders, on="subject", maintain_order="left")
    return found.filter(_in_force("valid_from", "valid_to")).select("event", "holder", "occurred_at")


def _price_candidates(events: pl.DataFrame, measured: pl.DataFrame, subjects: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """One row per event and price that accepts it, with `problem` where its quantity cannot be charged."""
    nobody = pl.repeat(None, events.height, dtype=pl.UInt32, eager=True)
    holder = nobody.scatter(subjects["event"], subjects["holder"]).gather(measured["event"]).alias("holder")
    at = events["occurred_at"].gather(measured["event"])
    pairs = measured.hstack([holder, at]).filter(pl.col("holder").is_not_null())
    found = pairs.hstack(terms.find_charges(pairs["holder"], pairs["meter"])).filter(pl.col("first").is_not_null())
    if (found["last"] - found["first"] == 1).all():
        found = found.with_columns(charge=pl.col("first"))
    else:
        found = found.with_columns(charge=pl.int_ranges("first", "last", dtype=pl.UInt32)).explode("charge")
    details = terms.usage.select("charged_from", "charged_to", "filter_set", "during", "max_quanta")[found["charge"]]
    candidates = found.hstack(details).filter(_in_force("charged_from", "charged_to"))
    if terms.dynamic.height:
        candidates = judge_money(candidates, events, terms)
    too_large = pl.col("quantity_quanta") > pl.col("max_quanta")
    accepted = _accepted(candidates, events, terms).with_columns(
        problem=pl.when(too_large).then(pl.lit(RejectReason.QUANTITY_TOO_LARGE.value)).otherwise("problem")
    )
    return hold_windows(accepted, terms)


def _accepted(candidates: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The candidates whose price has no filters, or whose every filter accepts the event."""
    if candidates["filter_set"].null_count() == candidates.height:
        return candidates
    for dimension in terms.dimensions:
        column = f"{PROPERTY}{dimension}"
        value = events.select("event", value=pl.col(column) if column in events.columns else pl.lit(None, pl.String))
        wanted = terms.filters.filter(pl.col("dimension") == dimension).select("filter_set", "values", "excluded")
        named = pl.col("values").list.contains(pl.col("value")) & pl.col("value").is_not_null()
        candidates = (
            candidates.join(value, on="event", how="left")
            .join(wanted, on="filter_set", how="left")
            .filter(pl.col("values").is_null() | (named != pl.col("excluded")))
            .drop("value", "values", "excluded")
        )
    return candidates


def _sold(candidates: pl.DataFrame, is_cost: pl.Series, events: int) -> pl.DataFrame:
    """The candidates without the costs of events that no price of the customer charges."""
    cost = is_cost.gather(candidates["charge"])
    sold = np.zeros(events, np.bool_)
    sold[candidates["event"].filter(~cost).to_numpy()] = True
    return candidates.filter(~cost | pl.Series(sold).gather(candidates["event"]))


def _ordered(charged: pl.DataFrame) -> pl.DataFrame:
    """By (event, charge), as one number: sorting by two columns would cost three times as much."""
    order = pl.col("event").cast(pl.UInt64) * (1 << 32) + pl.col("charge")
    place = charged.select(order).to_series()
    return charged if place.is_sorted() else charged[place.arg_sort()]


def _with_period(charged: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """CHARGED, with the usage period the event falls into in its account's zone."""
    where = terms.usage.select("zone", "billing_day")[charged["charge"]]
    placed = pl.concat([charged, where], how="horizontal")
    days = placed.with_columns(local_day(placed, "occurred_at").alias("day"))
    period = period_start(pl.col("day"), pl.col("billing_day"))
    return CHARGED.select(days.with_columns(name_windows(placed, terms), usage_period=period))


def _in_force(start: str, end: str) -> pl.Expr:
    """Half-open; a null end or start is open."""
    return (pl.col(start).is_null() | (pl.col(start) <= pl.col("occurred_at"))) & (
        pl.col(end).is_null() | (pl.col("occurred_at") < pl.col(end))
    )
