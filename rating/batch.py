"""Rating: a batch of events in, exact postings out. The steps and the reason for their order:

number     rows of EVENTS get a number, so that every later frame can point at its event
measure    quantities first: they depend on the event and its meters alone
match      then who pays; a bad quantity matters only where a price would have charged it
drop       duplicates after matching, because the ledger knows an event by what was charged
retract    then what takes back earlier events, of this batch or of the ledger
count      running totals only over what is left, in order of arrival
price      f(after) - f(before), exact; or f of the event alone
share      the partner's part of the same difference
write      one row per event, price and role, and one reject per event that was not charged
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rating.aggregates.points import Points
from rating.count import count_usage
from rating.counters import Counters
from rating.duplicates import drop_duplicates
from rating.match import match_prices
from rating.measure import measure_usage
from rating.post import post_charges
from rating.price import price_usage
from rating.recalled import recall_dimensions
from rating.rejects import write_rejects
from rating.retract import NothingPosted, Posted, move_times, name_corrected, take_back
from rating.seen import SeenEvents
from rating.shares import share_charges
from rating.terms import Terms
from schemas.usage import RETRACTS


@dataclass(frozen=True)
class Rated:
    """What became of a batch. Every event is in `postings`, in `rejects` or counted in `duplicates`, and only in one."""

    postings: pl.DataFrame  # POSTINGS
    rejects: pl.DataFrame  # REJECTS
    duplicates: int


def rate_batch(
    events: pl.DataFrame,
    terms: Terms,
    counters: Counters,
    seen: SeenEvents,
    points: Points | None = None,
    *,
    posted: Posted | None = None,
) -> Rated:
    """Rate one batch.

    Changes no state: call `counters.advance`, `points.advance` and `seen.remember` once the postings are in the ledger.

    Args:
        events: EVENTS, `data.<property>` columns (String) and, where there are retractions, `retracts`; in arrival order.
        points: The points of aggregates that need them; None: the book has no such meter, or nothing was rated before.
        posted: The ledger, to find what retractions take back; None: it is empty.

    Returns:
        POSTINGS ordered by (stream, stream_partition, stream_offset, stream_row); REJECTS in arrival order.
    """
    events = events.with_row_index("event")
    if RETRACTS not in events.columns:
        events = events.with_columns(pl.lit(None, pl.String).alias(RETRACTS))
    usage = events.filter(pl.col(RETRACTS).is_null())
    measured = measure_usage(usage, terms.meters)
    matched = match_prices(events, measured, terms)
    strange = matched.rejected.join(usage, on="event", how="semi", maintain_order="left")
    fresh = drop_duplicates(events, matched.charged, terms, seen)
    ledger = posted or NothingPosted()
    back = take_back(events, fresh.charged, terms, seen, ledger)
    events = move_times(events, back.rows)
    if back.rows.height and terms.cells.height:
        events = recall_dimensions(events, back.rows, terms.meters)
    counted = count_usage(fresh.charged, terms, counters, points, events, taken=back.rows, posted=ledger)
    priced = price_usage(counted.rows, events, terms, counters)
    shared = share_charges(priced, events, terms)
    rejected = pl.concat([strange, fresh.rejected, back.rejected, counted.rejected])
    return Rated(
        postings=name_corrected(post_charges(events, priced, shared, terms), back),
        rejects=write_rejects(events, rejected, terms),
        duplicates=fresh.duplicates + back.duplicates,
    )
