"""The rows of a re-rating: which usage belongs elsewhere now, what is taken back for it, and what is posted anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from pipelines.posted_usage import EVENT, posted_usage, sold_prices, standing_rows, without_retracted
from pipelines.rate_posted import match_posted, price_posted
from pipelines.replay import VERSIONS
from pipelines.take_back import Wanted, take_back
from rating.aggregates.points import Points, kept_meters
from rating.balance.units import add_covered
from rating.counters import Counters
from rating.periods import local_day
from rating.post import post_charges
from schemas.errors import BrokenPromise, Refused
from schemas.ledger import AGGREGATE_KEY, POINT_COLUMNS, POSTINGS, Role, moves_aggregate
from schemas.usage import RejectReason

_INEXACT = [RejectReason.QUANTITY_TOO_LARGE.value, RejectReason.BAD_QUANTITY.value]
_PLACE = ["counted_for", "price_version", "usage_period"]


def correct_rows(rows: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """POSTINGS that bring the price's usage of these accounts to the newest terms; none when it is there already.

    Args:
        rows: POSTINGS of usage events of whole accounts: of the meters concerned, or all of them for a carrier's price.
    """
    usage = _with_range(posted_usage(without_retracted(rows)), wanted)
    everything = standing_rows(rows)
    standing = everything.filter(pl.col("price_id") == wanted.price_id)
    sold = everything.filter(pl.col("role") == Role.REVENUE.value).select(EVENT).unique()
    placed = _placed(usage, standing.filter(moves_aggregate()), sold, wanted)
    moved = placed.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in _PLACE))
    if moved.is_empty():
        return POSTINGS.empty()
    lost = moved.drop_nulls("price_version").select(_PLACE).unique()
    taken = standing.join(lost, on=lost.columns, how="semi", maintain_order="left")
    emptied = rows.filter(pl.col("price_id") == wanted.price_id).join(lost, on=lost.columns, how="semi")
    back = take_back(taken, emptied, wanted)
    left = rows.filter(moves_aggregate() & (pl.col("price_id") == wanted.price_id))
    anew = _post_anew(
        _to_post(usage, placed, moved, taken), left.join(lost, on=lost.columns, how="anti"), sold_prices(rows), wanted, back
    )
    return pl.concat([back, *anew])


def _with_range(usage: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """POSTED_USAGE with `event`, its row, and `in_range`: whether it happened on one of the days."""
    zoned = usage.join(wanted.zones, on="account_id", how="left", maintain_order="left")
    day = local_day(zoned, "occurred_at")
    inside = (day >= wanted.first_day) & (day < wanted.end_day)
    return usage.with_columns(inside.alias("in_range")).with_row_index("event")


def _placed(usage: pl.DataFrame, standing: pl.DataFrame, sold: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """One row per event of the range that the price charges or has charged: where it stands, and where it belongs (`_new`).

    A carrier's price belongs to events that were sold: those that the customer is charged for.
    """
    inside = usage.filter("in_range")
    ids = inside.select("event", *EVENT, "meter_id")
    old = standing.select(*EVENT, "meter_id", *_PLACE).join(ids, on=[*EVENT, "meter_id"])
    if wanted.is_cost:
        inside = inside.join(sold, on=EVENT, how="semi", maintain_order="left")
    matched = match_posted(inside.drop("event", "in_range"), wanted.of(wanted.versions))
    _require_exact(matched.rejected, wanted)
    found = matched.names().with_columns(event=inside["event"].gather(matched.charged["event"]))
    new = found.select("event", *(pl.col(name).alias(f"{name}_new") for name in _PLACE))
    return old.select("event", *_PLACE).join(new, on="event", how="full", coalesce=True)


def _to_post(usage: pl.DataFrame, placed: pl.DataFrame, moved: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """`usage` that is posted anew, with the versions to rate it by: null are the newest.

    Usage of the range goes by the newest; what is taken back with it although it lies outside, by the versions it had.
    """
    charges = taken.filter(moves_aggregate())
    again = usage.join(charges.select(*EVENT, "meter_id", *VERSIONS), on=[*EVENT, "meter_id"])
    outside = again.filter(~pl.col("in_range")).select("event", *VERSIONS)
    belongs = placed.filter(pl.col("price_version_new").is_not_null()).select("event")
    kept = again.filter("in_range").select("event").join(belongs, on="event", how="semi")
    new = moved.select("event").join(belongs, on="event", how="semi")
    none = [pl.lit(None, pl.Int32).alias(name) for name in VERSIONS]
    chosen = pl.concat([outside, pl.concat([kept, new]).unique().with_columns(none)])
    return usage.join(chosen, on="event").sort("event")


def _post_anew(
    usage: pl.DataFrame, left: pl.DataFrame, sold: pl.DataFrame, wanted: Wanted, back: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """POSTINGS of this usage, by its old versions first. Aggregates that lost nothing go on where their rows `left` them."""
    counters, points = Counters(), Points()
    counters.load(_totals(left))
    points.load(_of_kept(left, wanted))
    newest = pl.col("book_version").is_null()
    groups = usage.filter(~newest).select(VERSIONS).unique().sort(VERSIONS).rows()
    following = wanted.first_offset if back.is_empty() else int(back["stream_offset"][-1]) + 1
    for versions in [*groups, None]:
        by = newest if versions is None else pl.all_horizontal(pl.col(n) == v for n, v in zip(VERSIONS, versions, strict=True))
        mine = usage.filter(by).drop("event", "in_range", *VERSIONS)
        if mine.is_empty():
            continue
        matched = match_posted(mine, wanted.of(versions or wanted.versions))
        if matched.charged["event"].n_unique() != mine.height:
            raise BrokenPromise(f"usage of {wanted.price_id} finds no price in the versions it was rated by")
        offset = pl.col("event").cast(pl.Int64) + following
        place = [pl.lit(wanted.stream).alias("stream"), pl.lit(0, pl.Int32).alias("stream_partition")]
        placed = replace(matched, events=matched.events.with_columns(*place, offset.alias("stream_offset")))
        priced = price_posted(placed, placed.charged, counters, points, sold)
        _require_exact(priced.rejected, wanted)
        reported = add_covered(priced.rows, placed.covered, placed.terms)
        rows = post_charges(placed.events, reported, priced.shares, placed.terms)
        counters.advance(rows)
        points.advance(rows, placed.terms.meters)
        following += mine.height
        yield rows


def _totals(charges: pl.DataFrame) -> pl.DataFrame:
    """What `Counters.load` takes: AGGREGATE_KEY, `after_quanta` and `events` of these rows."""
    step = pl.col("after_quanta") - pl.col("before_quanta").fill_null(0)
    sign = pl.when(pl.col("corrects").is_null()).then(1).otherwise(-1).cast(pl.Int64)
    return charges.group_by(AGGREGATE_KEY).agg(after_quanta=step.sum(), events=sign.sum()).filter(pl.col("events") > 0)


def _of_kept(charges: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """What `Points.load` takes of these rows."""
    meters = kept_meters(wanted.of(wanted.versions).meters)
    return charges.filter(pl.col("meter_id").is_in(meters)).select(POINT_COLUMNS)


def _require_exact(rejected: pl.DataFrame, wanted: Wanted) -> None:
    inexact = rejected.filter(pl.col("reason").is_in(_INEXACT))
    if inexact.height:
        raise Refused(f"{inexact.height} events cannot be rated by the newest {wanted.price_id}: {inexact['detail'][0]}")
