"""Rates usage that the ledger knows already, by the same functions as the stream, under whatever terms one wants to see.

    match -> (the caller chooses) -> count -> price -> share

Decoding, measuring and de-duplication are left out: posted usage is measured and has each event once. What is rated belongs
to a subscription, so no identifier is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from pipelines.posted_usage import EVENT, SUMS
from rating.aggregates.points import Points
from rating.balance.units import less_covered
from rating.count import count_usage
from rating.counted_for import name_aggregates, number_aggregates
from rating.counters import Counters
from rating.match import match_prices
from rating.measure import MEASURED
from rating.post import name_roles
from rating.price import price_usage
from rating.recalled import recalled_properties
from rating.shares import share_charges, sold_by
from rating.terms import Terms
from schemas.frames import INSTANT
from schemas.ledger import POSITION_KEY, Role
from schemas.usage import EVENTS, RejectReason

_TENS = pl.Series("tens", [10**exponent for exponent in range(19)], dtype=pl.Int128)


@dataclass(frozen=True)
class Matched:
    """Posted usage beside the prices that charge it. `event` numbers the rows of POSTED_USAGE."""

    terms: Terms
    events: pl.DataFrame  # EVENTS with `event` and the dimensions as `data.<name>`
    charged: pl.DataFrame  # CHARGED, by (event, charge)
    rejected: pl.DataFrame  # REJECTED: usage without a price, or that cannot be rated exactly
    covered: pl.DataFrame  # event, meter, more: what units stand for, in quanta of the meter; no price of ours counts it

    def names(self) -> pl.DataFrame:
        """`charged` with the `counted_for`, `price_id` and `price_version` that are posted."""
        return self.charged.with_columns(name_aggregates(self.charged, self.terms).get_columns())


@dataclass(frozen=True)
class Priced:
    """Amounts of charged usage."""

    terms: Terms
    rows: pl.DataFrame  # PRICED
    shares: pl.DataFrame  # SHARED
    rejected: pl.DataFrame  # REJECTED: beyond what can be rated exactly

    def steps(self, events: pl.DataFrame) -> pl.DataFrame:
        """What `Counters.advance` and `Points.advance` take over of these rows, as if they stood in the ledger."""
        meters = self.terms.usage.select("meter_id")[self.rows["charge"]]
        origin = events.select(*POSITION_KEY[:3], *EVENT, "occurred_at")[self.rows["event"]]
        moved = self.rows.select(
            "usage_period", "quantity_quanta", "value", pl.col("before_quanta").fill_null(0), "after_quanta"
        )
        return pl.concat([name_aggregates(self.rows, self.terms), meters, origin, moved], how="horizontal").with_columns(
            *name_roles(self.rows["charge"], self.terms),
            stream_row=pl.int_range(pl.len(), dtype=pl.Int32),
            corrects=pl.lit(None, pl.String),
        )

    def sums(self) -> pl.DataFrame:
        """SUMS of these rows, the partners' parts of them, and what balances pay for them."""
        amount = pl.col("revenue_after") - pl.col("revenue_before")
        step = pl.col("after_quanta") - pl.col("before_quanta").fill_null(0)
        aggregate = number_aggregates(self.rows, self.terms).alias("aggregate")
        rows = self.rows.with_columns(aggregate, amount=amount, step=step)
        owed = rows.with_columns(name_roles(self.rows["charge"], self.terms))
        shares = self.shares.drop("amount").hstack(rows.drop("amount")[self.shares["row"]])
        shares = shares.with_columns(self.shares["amount"], role=pl.lit(Role.SHARE.value))
        paid = owed.filter(self.terms.prepaid.gather(owed["charge"]) & (pl.col("amount") != 0))
        paid = paid.with_columns(
            role=pl.lit(Role.BALANCE.value), amount=pl.lit(0, pl.Int128) - pl.col("amount"), step=pl.lit(0, pl.Int64)
        )
        parts = (owed, shares, paid) if paid.height else (owed, shares)
        both = pl.concat([frame.select(*_SUMMED, "charge", "counted_for", "step", "amount") for frame in parts])
        sums = both.group_by(_SUMMED).agg(
            pl.col("charge", "counted_for").first(), quanta=pl.col("step").sum(), scaled=pl.col("amount").sum()
        )
        details = self.terms.usage.select("account_id", "currency")[sums["charge"]]
        return SUMS.select(sums.hstack(details).with_columns(name_aggregates(sums, self.terms).get_columns()))

    def by_account(self) -> pl.DataFrame:
        """`account_id`, `currency` and `scaled`: what each account owes for its own events, scale 18."""
        is_cost = self.terms.usage["carrier_id"].gather(self.rows["charge"]).is_not_null()
        owed = self.rows if not is_cost.any() else self.rows.filter(~is_cost)
        amount = (owed["revenue_after"] - owed["revenue_before"]).alias("scaled")
        accounts = self.terms.usage.select("account_id", "currency")[owed["charge"]]
        return accounts.with_columns(amount).group_by("account_id", "currency").agg(pl.col("scaled").sum())


NOTHING_COVERED = pl.DataFrame(schema={"event": pl.UInt32, "meter": pl.UInt32, "more": pl.Int64})
_SUMMED = ["aggregate", "usage_period", "role", "partner_id"]


def match_posted(usage: pl.DataFrame, terms: Terms) -> Matched:
    """Find the prices that these terms have for posted usage.

    Args:
        usage: POSTED_USAGE. Each row is matched for itself, also where several meters read one event. A carrier's price needs
            no price of the customer beside it: what is posted was sold.
    """
    own = terms.usage.select(pl.col("subscription_id").alias("identifier"), "holder").unique()
    always = pl.lit(None, INSTANT)
    known = replace(terms, holders=own.with_columns(always.alias("valid_from"), always.alias("valid_to")))
    numbered = usage.with_row_index("event")
    events = _as_events(numbered, terms)
    found = match_prices(events, _as_measured(numbered, terms), known, sold=True)
    if not (usage["covered_quanta"] != 0).any():
        return Matched(terms, events, found.charged, found.rejected, NOTHING_COVERED)
    parts = numbered.filter(pl.col("covered_quanta") != 0).with_columns(quantity_quanta="covered_quanta")
    covered = _as_measured(parts, terms).select("event", "meter", more="quantity_quanta").drop_nulls()
    return Matched(terms, events, less_covered(found.charged, covered, terms), found.rejected, covered)


def price_posted(
    matched: Matched,
    charged: pl.DataFrame,
    counters: Counters,
    points: Points | None = None,
    sold: pl.DataFrame | None = None,
) -> Priced:
    """Count and price what was matched. Within an aggregate rows are counted in the order of `charged`.

    Args:
        charged: The rows of `matched.charged` that are wanted, in the order in which they were charged.
        points: The points of aggregates that look at all their events; None: there are none before these.
        sold: EVENT, `price_id` and `currency` of what customers were charged by, for shares of the margin; None: `matched` says
            it.
    """
    counted = count_usage(charged, matched.terms, counters, points, matched.events)
    rows = price_usage(counted.rows, matched.events, matched.terms, counters)
    by = sold_by(matched.charged, matched.terms) if sold is None else _numbered(sold, matched.events)
    return Priced(matched.terms, rows, share_charges(rows, matched.events, matched.terms, by), counted.rejected)


def _numbered(sold: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """`sold` with `event` in the place of ids: once for every row that an event has."""
    return events.select("event", *EVENT).join(sold, on=EVENT).drop(EVENT)


def _as_events(usage: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """EVENTS with `event` and `data.<property>` for what rows of the terms' meters keep of it: dimensions and one value."""
    placed = usage.with_columns(
        event_index=pl.lit(0, pl.Int32),
        event_type=pl.col("meter_id"),
        subject=pl.col("subscription_id"),
        message=pl.lit(b"", pl.Binary),
    )
    return placed.select("event", *EVENTS.names(), *recalled_properties(terms.meters).values())


def _as_measured(usage: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """MEASURED in quanta of the terms' meters; usage of a meter that they do not have is left out."""
    meters = terms.meters.select("meter_id", "meter", wanted_scale="quantity_scale")
    known = usage.join(meters, on="meter_id", maintain_order="left")
    shift = (pl.col("wanted_scale") - pl.col("quantity_scale")).cast(pl.Int64)
    if (known["wanted_scale"] == known["quantity_scale"]).all():
        measured = known.with_columns(problem=pl.lit(None, pl.String))
    else:
        factor = _TENS.gather(known.select(shift.abs())["wanted_scale"]).alias("factor")
        rescaled = known.with_columns(factor).select(*known.drop("quantity_quanta").columns, _rescaled(shift))
        measured = rescaled.unnest("rescaled")
    return MEASURED.select(measured.sort("meter", "event"))


def _rescaled(shift: pl.Expr) -> pl.Expr:
    """`quantity_quanta` at the wanted scale and `problem`: finer than the meter counts, or too large."""
    quanta, factor = pl.col("quantity_quanta").cast(pl.Int128), pl.col("factor")
    scaled = pl.when(shift >= 0).then(quanta * factor).otherwise(quanta // factor)
    problem = (
        pl.when((shift < 0) & (quanta % factor != 0))
        .then(pl.lit(RejectReason.BAD_QUANTITY.value))
        .when(scaled > 2**63 - 1)
        .then(pl.lit(RejectReason.QUANTITY_TOO_LARGE.value))
    )
    fits = pl.when(problem.is_null()).then(scaled).cast(pl.Int64)
    return pl.struct(fits.alias("quantity_quanta"), problem.alias("problem")).alias("rescaled")
