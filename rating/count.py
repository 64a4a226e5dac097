"""Running totals: where each aggregate stands before and after every event of the batch."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import polars as pl

from rating.aggregates.follow import follow_points
from rating.aggregates.kinds import KEPT
from rating.aggregates.points import Points
from rating.capacity import as_reported, number_recalled, number_tiers
from rating.counted_for import name_aggregates, number_aggregates, owners
from rating.counters import Counters
from rating.level_prices import price_levels
from rating.recalled import kept_values
from rating.rejects import REJECTED
from rating.retract import TAKEN, NothingPosted, Posted
from rating.terms import Terms
from schemas.errors import BrokenPromise
from schemas.frames import INSTANT, FrameSchema
from schemas.ledger import POINT_COLUMNS
from schemas.usage import RejectReason

COUNTED = FrameSchema(
    "COUNTED",
    {
        "event": pl.UInt32,
        "charge": pl.UInt32,  # row of Terms.usage
        "dimensions": pl.String,
        "usage_period": pl.Date,
        "counted_for": pl.String,  # whose usage adds up in its aggregate; null: that of the charge
        "quantity_quanta": pl.Int64,  # what the price charges of it; of a retraction the same with the opposite sign
        "reported_quanta": pl.Int64,  # what the event reported, where that is more; else null
        "windows": pl.String,
        "value": pl.String,  # what unique tells apart, or the money that came with the event; null otherwise
        "before_quanta": pl.Int64,  # null: the aggregate begins with this row
        "after_quanta": pl.Int64,
        "level_before": pl.Int128,  # of a price of a level what the aggregate costs before and after; null for all others
        "level_after": pl.Int128,
    },
)
"""One row per event and price that charges it."""

COUNTABLE = FrameSchema(
    "COUNTABLE",
    {
        "event": pl.UInt32,
        "charge": pl.UInt32,
        "dimensions": pl.String,
        "usage_period": pl.Date,
        "counted_for": pl.String,
        "quantity_quanta": pl.Int64,
        "reported_quanta": pl.Int64,
        "windows": pl.String,
        "value": pl.String,
        "key": pl.Int64,  # (counted_for, price, price version) in the high bits, the usage period's day in the low
        "aggregation": pl.String,
        "max_quanta": pl.Int64,
        "occurred_at": INSTANT,
        "event_source": pl.String,  # of the point; null where no aggregation needs points
        "event_id": pl.String,
        "weight": pl.Int64,  # 1, or -1 where the event takes back another
        "of": pl.UInt32,  # the event that it takes back, if that is of this batch
        "begun": pl.Int64,  # where the aggregate stood before the batch; null if it had not begun
    },
)
"""One row per event and price that charges it, with all that its aggregate looks at. By (event, charge)."""


class Counted(NamedTuple):
    rows: pl.DataFrame  # COUNTED
    rejected: pl.DataFrame  # REJECTED: the running total would leave what is exact


def count_usage(
    charged: pl.DataFrame,
    terms: Terms,
    counters: Counters,
    points: Points | None = None,
    events: pl.DataFrame | None = None,
    *,
    taken: pl.DataFrame | None = None,
    posted: Posted | None = None,
) -> Counted:
    """Carry each aggregate through the batch in order of arrival.

    sum and count: after = before + quantity. max: after = the larger of before and quantity. All others are worked out from
    their points (rating/aggregates/kinds.py), and may fall. In any case the steps of an aggregate add up to where it stands.

    Args:
        charged: CHARGED, by (event, charge).
        points: The points of aggregates that need them; None: there are none before this batch.
        events: EVENTS with `event`. Needed where an aggregation needs points, for ids and values.
        taken: TAKEN: what retractions of this batch take back.
        posted: The ledger. Asked for the points of a max when an event of it is taken back.
    """
    back = TAKEN.empty() if taken is None else taken
    if charged.is_empty() and back.is_empty():
        return Counted(COUNTED.empty(), REJECTED.empty())
    reported = _with_begun(_with_taken(charged, back, terms, events), terms, counters)
    if terms.capacity.is_empty():
        return _count(reported, terms, points, posted)
    counted = _count(number_tiers(reported, terms), terms, points, posted)
    return counted._replace(rows=as_reported(counted.rows, reported))


def _count(countable: pl.DataFrame, terms: Terms, points: Points | None, posted: Posted | None) -> Counted:
    """COUNTED of COUNTABLE, and what has to be refused."""
    recalled = _recall_max(countable, terms, posted or NothingPosted())
    known = [points if points is not None else Points(), recalled]
    counted = _carry(countable, terms, known)
    over = counted.filter(pl.col("after") > pl.col("max_quanta"))
    if over.is_empty():
        return Counted(_counted(counted, _price_levels(countable, terms, known)), REJECTED.empty())
    refused = _refuse_overflow(countable, over, terms, known)
    rest = _without(countable, refused)
    orphans = _orphans(countable, refused)
    kept = _counted(_carry(rest, terms, known), _price_levels(rest, terms, known))
    return Counted(kept, _name_refused(refused, orphans))


def _price_levels(countable: pl.DataFrame, terms: Terms, known: list[Points]) -> pl.DataFrame | None:
    return price_levels(countable, terms, known) if terms.levels else None


def _name_refused(refused: list[int], orphans: list[int]) -> pl.DataFrame:
    """REJECTED for events beyond the limit, and for retractions of them."""
    large, unknown = RejectReason.QUANTITY_TOO_LARGE, RejectReason.UNKNOWN_RETRACTION
    sentences = {
        large: "With this event the period's total would be more than can be rated exactly. "
        "Check the quantities, split the subscription or choose a coarser unit.",
        unknown: "The event it takes back was refused in the same batch, so there is nothing to take back.",
    }
    rows = [(event, large) for event in refused] + [(event, unknown) for event in orphans]
    made: list[dict[str, object]] = [
        {"event": event, "reason": reason.value, "detail": sentences[reason]} for event, reason in rows
    ]
    return REJECTED.build(made)


def _orphans(countable: pl.DataFrame, refused: list[int]) -> list[int]:
    """Retractions whose event is refused."""
    of_refused = pl.col("of").is_in(refused).fill_null(False) & ~pl.col("event").is_in(refused)
    return countable.filter(of_refused)["event"].unique().to_list()


def _without(countable: pl.DataFrame, refused: list[int]) -> pl.DataFrame:
    """The rows without those of refused events and of what takes them back."""
    return countable.filter(~pl.col("event").is_in(refused) & ~pl.col("of").is_in(refused).fill_null(False))


def _with_taken(charged: pl.DataFrame, taken: pl.DataFrame, terms: Terms, events: pl.DataFrame | None) -> pl.DataFrame:
    """The rows of events and of retractions together, with the points that they add or take away."""
    none = pl.lit(None, pl.UInt32).alias("of")
    added = _with_point(_with_details(charged, terms), terms, events, wanted=taken.height > 0).with_columns(none)
    if taken.is_empty():
        return added
    values = added.select(pl.col("event").alias("of"), "charge", here="value")
    removed = _with_details(taken, terms).with_columns(weight=pl.lit(-1, pl.Int64))
    removed = removed.join(values, on=["of", "charge"], how="left").with_columns(value=pl.coalesce("here", "value"))
    return pl.concat([added, removed.select(added.columns)]).sort("event", "charge")


def _recall_max(countable: pl.DataFrame, terms: Terms, posted: Posted) -> Points:
    """The points of every max of which an event is taken back: one number cannot say what the largest is without it."""
    recalled = Points()
    rows = countable.filter((pl.col("aggregation") == "max") & (pl.col("weight") < 0)).unique("key")
    if rows.height:
        keys = name_aggregates(rows, terms).with_columns(rows["usage_period"], owners(rows, terms))
        found = posted.aggregates(keys).select(POINT_COLUMNS)
        recalled.load(found if terms.capacity.is_empty() else number_recalled(found, terms))
    return recalled


def _with_details(charged: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    largest = terms.usage["max_quanta"].gather(charged["charge"])
    aggregation = terms.meters["aggregation"].gather(charged["meter"])
    return charged.with_columns(largest, aggregation, weight=pl.lit(1, pl.Int64))


def _with_point(detailed: pl.DataFrame, terms: Terms, events: pl.DataFrame | None, *, wanted: bool) -> pl.DataFrame:
    """`event_source`, `event_id` and `value` where points or values are kept or they are wanted; otherwise null."""
    none = [pl.lit(None, pl.String).alias(name) for name in ("event_source", "event_id", "value")]
    looks = bool(set(terms.meters["aggregation"]) & set(KEPT)) or terms.meters["money"].null_count() < terms.meters.height
    if not wanted and not looks:
        return detailed.with_columns(none)
    if events is None:
        raise BrokenPromise("an aggregation that needs points is counted without the events")
    told = detailed.hstack(events.select("event_source", "event_id")[detailed["event"]])
    return told.with_columns(kept_values(told, events, terms.meters))


def _with_begun(rows: pl.DataFrame, terms: Terms, counters: Counters) -> pl.DataFrame:
    """COUNTABLE."""
    begun = counters.before(name_aggregates(rows, terms).with_columns(rows["usage_period"]))["after_quanta"].alias("begun")
    key = number_aggregates(rows, terms) * (1 << 24) + rows["usage_period"].to_physical() + (1 << 23)
    return COUNTABLE.select(rows.with_columns(begun, key.alias("key")))


def _carry(countable: pl.DataFrame, terms: Terms, known: list[Points]) -> pl.DataFrame:
    """COUNTABLE with `after` and `before` of each row, by (key, event).

    `after` is Int128, so that nothing wraps before it is judged.
    """
    shrinking = (pl.col("aggregation") == "max") & (pl.col("weight") < 0)
    shrunk = countable.filter(shrinking)["key"].unique()
    needs_points = pl.col("aggregation").is_in(list(KEPT)) | pl.col("key").is_in(shrunk.implode())
    rest = countable.filter(needs_points)
    if rest.is_empty():
        return _carry_numbers(countable)
    followed = follow_points(rest, terms, known).sort("key", "event")
    first = pl.col("key").ne_missing(pl.col("key").shift(1))
    stepped = followed.with_columns(
        before=pl.when(first).then(pl.col("begun").cast(pl.Int128)).otherwise(pl.col("after").shift(1))
    )
    numbers = _carry_numbers(countable.filter(~needs_points))
    return pl.concat([numbers.select(stepped.columns), stepped])


def _carry_numbers(countable: pl.DataFrame) -> pl.DataFrame:
    """The same for aggregates that are one running number.

    One pass over rows sorted by aggregate instead of a window per aggregate, which costs ten times as much: a running sum
    less what it was where the aggregate begins, and a running maximum that each aggregate starts above the one before.
    """
    quantity = pl.col("quantity_quanta").cast(pl.Int128) * pl.col("weight")
    begun = pl.col("begun").fill_null(0).cast(pl.Int128)
    above = pl.col("number").cast(pl.Int128) * (1 << 64)
    summed = begun + pl.col("sum") - pl.when("first").then(pl.col("sum") - quantity).otherwise(None).forward_fill()
    highest = (above + pl.max_horizontal(begun, quantity)).cum_max() - above
    return (
        countable.sort("key", maintain_order=True)
        .with_columns(first=pl.col("key").ne_missing(pl.col("key").shift(1)), sum=quantity.cum_sum())
        .with_columns(number=pl.col("first").cum_sum())
        .with_columns(after=pl.when(pl.col("aggregation") == "max").then(highest).otherwise(summed))
        .with_columns(before=pl.when("first").then(pl.col("begun").cast(pl.Int128)).otherwise(pl.col("after").shift(1)))
    )


def _counted(carried: pl.DataFrame, levels: pl.DataFrame | None) -> pl.DataFrame:
    """COUNTED.

    Args:
        levels: LEVEL_MONEY; None: no price is of a level.
    """
    quanta = [pl.col(name).cast(pl.Int64).alias(f"{name}_quanta") for name in ("before", "after")]
    none = [pl.lit(None, pl.Int128).alias(name) for name in ("level_before", "level_after")]
    if levels is None:
        carried = carried.with_columns(none)
    else:
        carried = carried.join(levels, on=["event", "charge"], how="left", maintain_order="left")
    return COUNTED.select(carried.with_columns(*quanta, quantity_quanta=pl.col("quantity_quanta") * pl.col("weight")))


def _refuse_overflow(countable: pl.DataFrame, over: pl.DataFrame, terms: Terms, known: list[Points]) -> list[int]:
    """Events that would carry an aggregate beyond its limit, as if they had come one by one: what still fits is kept.

    Refusing one event makes room for the next, so of each subscription only the first can be named at a time. Where all of
    its aggregates are sums, one walk over their rows finds them all.
    """
    whose = terms.usage["holder"]
    refused: list[int] = []
    troubled = countable.with_columns(whose.gather(countable["charge"]))
    over = over.with_columns(whose.gather(over["charge"]))
    while over.height:
        troubled = troubled.join(over.select("holder").unique(), on="holder", how="semi", maintain_order="left")
        if troubled["aggregation"].is_in(["sum", "count", "max"]).all():
            return refused + _walk_sums(troubled, over)
        refused += over.group_by("holder").agg(pl.col("event").min())["event"].to_list()
        troubled = _without(troubled, refused)
        carried = _carry(troubled.drop("holder"), terms, known)
        over = carried.filter(pl.col("after") > pl.col("max_quanta"))
        over = over.with_columns(whose.gather(over["charge"]))
    return refused


def _walk_sums(countable: pl.DataFrame, over: pl.DataFrame) -> list[int]:
    """Events refused by the sums they belong to. A max cannot overflow: its quantities were judged one by one."""
    rows = countable.filter(pl.col("key").is_in(over["key"].unique().to_list())).sort("event")
    step = pl.col("quantity_quanta") * pl.col("weight")
    parts: dict[tuple[int, int | None], list[tuple[int, int, int]]] = defaultdict(list)
    totals: dict[int, int] = {}
    for event, of, key, quantity, limit, begun in rows.select("event", "of", "key", step, "max_quanta", "begun").iter_rows():
        parts[event, of].append((key, quantity, limit))
        totals.setdefault(key, begun or 0)
    refused: set[int] = set()
    for (event, of), charges in parts.items():
        if of in refused:
            continue
        if any(totals[key] + quantity > limit for key, quantity, limit in charges):
            refused.add(event)
            continue
        for key, quantity, _ in charges:
            totals[key] += quantity
    return sorted(refused)
