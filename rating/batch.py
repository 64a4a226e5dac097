"""Rating: a batch of events in, exact postings out. The steps and the reason for their order:

number     rows of EVENTS get a number, so that every later frame can point at its event
measure    quantities first: they depend on the event and its meters alone
match      then who pays; a bad quantity matters only where a price would have charged it
own        what came by a partition that does not count its account is sent back
drop       duplicates after matching, because the ledger knows an event by what was charged
retract    then what takes back earlier events, of this batch or of the ledger
cover      units that were paid in advance stand for usage, so that no price counts it
count      running totals only over what is left, in order of arrival
price      f(after) - f(before), exact; or f of the event alone
share      the partner's part of the same difference
write      one row per event, price and role, and one reject per event that was not charged
settle     last, because it needs amounts: balances pay, top-ups and reservations are done
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rating.aggregates.points import Points
from rating.balance.accounts import Balances
from rating.balance.batch import Desk, is_order
from rating.count import Counted, count_usage
from rating.counters import Counters
from rating.duplicates import drop_duplicates
from rating.match import match_prices
from rating.measure import measure_usage
from rating.ownership import Owners, keep_own, keep_own_retractions
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
    balances: Balances | None = None,
    owners: Owners | None = None,
) -> Rated:
    """Rate one batch.

    Changes no state: call `advance` of counters, points and balances and `seen.remember` once the postings are in the ledger.

    Args:
        events: EVENTS, `data.<property>` columns (String) and, where there are retractions, `retracts`; in arrival order.
        points: The points of aggregates that need them; None: the book has no such meter, or nothing was rated before.
        posted: The ledger, to find what retractions take back; None: it is empty.
        balances: What prepaid accounts have left; None: nothing was ever paid in advance.
        owners: The partition that counts each account; None: there is nobody else who counts.

    Returns:
        POSTINGS ordered by (stream, stream_partition, stream_offset, stream_row); REJECTS in arrival order.
    """
    events = events.with_row_index("event")
    if RETRACTS not in events.columns:
        events = events.with_columns(pl.lit(None, pl.String).alias(RETRACTS))
    ordered = events.select(is_order() & pl.col(RETRACTS).is_null()).to_series()
    usage = events.filter(pl.col(RETRACTS).is_null() & ~ordered)
    measured = measure_usage(usage, terms.meters)
    matched = match_prices(events, measured, terms)
    strange = matched.rejected.join(usage, on="event", how="semi", maintain_order="left")
    own = keep_own(matched.charged, events, terms, owners, seen)
    fresh = drop_duplicates(events, own.charged, terms, seen)
    ledger = posted or NothingPosted()
    back = keep_own_retractions(take_back(events, fresh.charged, terms, seen, ledger), events, terms, owners)
    desk = Desk(events, ordered, fresh.charged, back, terms, balances or Balances(), seen, owners)
    events = move_times(events, back.rows)
    if back.rows.height and terms.cells.height:
        events = recall_dimensions(events, back.rows, terms.meters)
    counted = _count(fresh.charged, desk, terms, counters, points, events, ledger)
    priced = price_usage(counted.rows, events, terms, counters)
    shared = share_charges(priced, events, terms)
    postings = name_corrected(post_charges(events, desk.as_reported(priced), shared, terms), back)
    settled = desk.settle(events, priced, postings, counters)
    rejected = pl.concat([strange, own.rejected, fresh.rejected, back.rejected, counted.rejected, settled.rejected])
    return Rated(
        postings=settled.postings,
        rejects=write_rejects(events, rejected, terms),
        duplicates=fresh.duplicates + back.duplicates + desk.duplicates,
    )


def _count(
    charged: pl.DataFrame,
    desk: Desk,
    terms: Terms,
    counters: Counters,
    points: Points | None,
    events: pl.DataFrame,
    posted: Posted,
) -> Counted:
    """COUNTED of what units do not cover. Usage that is refused uses no units, so then what is left is covered anew."""
    covered = desk.cover(charged)
    while True:
        counted = count_usage(covered.charged, terms, counters, points, events, taken=covered.taken, posted=posted)
        if not desk.refuse(counted.rejected):
            return counted
        covered = desk.cover(charged)
