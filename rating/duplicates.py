"""An event is charged once, however often it is delivered."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from rating.recalled import kept_values
from rating.rejects import REJECTED, write_sentences
from rating.seen import SeenEvents, fingerprint_events
from rating.terms import Terms
from schemas.ledger import reported_quanta
from schemas.usage import RejectReason


class Fresh(NamedTuple):
    charged: pl.DataFrame  # CHARGED of events that are new
    rejected: pl.DataFrame  # REJECTED of ids that come again with another content
    duplicates: int  # events that come again unchanged


def drop_duplicates(events: pl.DataFrame, charged: pl.DataFrame, terms: Terms, seen: SeenEvents) -> Fresh:
    """Keep the first delivery of each event.

    Args:
        events: EVENTS with `event`, in arrival order.
        charged: CHARGED.
    """
    if charged.is_empty():
        return Fresh(charged, REJECTED.empty(), 0)
    marked = fingerprint_events(_contents(events, charged, terms), by="event").sort("event")
    known = seen.check(marked["id_hash"])
    if known.null_count() == marked.height and not marked["id_hash"].is_duplicated().any():
        return Fresh(charged, REJECTED.empty(), 0)
    judged = marked.with_columns(known=known).with_columns(
        again=pl.col("known").is_not_null() | ~pl.col("id_hash").is_first_distinct(),
        expected=pl.coalesce("known", pl.col("content_hash").first().over("id_hash")),
    )
    again = judged.filter("again")
    if again.is_empty():
        return Fresh(charged, REJECTED.empty(), 0)
    differs = again.filter(pl.col("content_hash") != pl.col("expected")).join(events, on="event", how="left")
    sentence = pl.format(
        "Event '{}' of source '{}' was charged before with another subscription, time, meter, quantity or value; "
        "send a correction under an id of its own.",
        "event_id",
        "event_source",
    )
    reason = RejectReason.DUPLICATE_DIFFERS
    rejected = write_sentences(differs.with_columns(reason=pl.lit(reason.value)), {reason: sentence})
    return Fresh(
        charged.join(again, on="event", how="anti", maintain_order="left"),
        REJECTED.select(rejected),
        again.height - rejected.height,
    )


def _contents(events: pl.DataFrame, charged: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`event`, its id and what the customer is charged for, one row per event and meter. What it costs us may change."""
    if terms.is_cost is not None:
        charged = charged.filter(~terms.is_cost.gather(charged["charge"]))
    again = (pl.col("event") == pl.col("event").shift(1)) & (pl.col("meter") == pl.col("meter").shift(1))
    measured = charged.filter(~again.fill_null(False))
    payers = terms.usage.select("subscription_id", "meter_id")[measured["charge"]]
    ids = events.select("event_source", "event_id")[measured["event"]]
    values = kept_values(measured, events, terms.meters).to_frame()
    told = measured.select("event", "occurred_at", reported_quanta())
    return pl.concat([told, payers, ids, values], how="horizontal")
