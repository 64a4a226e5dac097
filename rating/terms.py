"""The price book and the roster, compiled into what rating looks up: who pays which price when, and what it costs.

A discount keeps the list version but has terms of its own, so it is posted under a name of its own:
`<list version>/<account or subscription id>-<percent>%`, for example `2026-01-01/acme-15%`. So (price_id, price_version) on a
row always names one set of terms, and with them one function f.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from rating.agreements import compile_shares
from rating.calendars import Calendar, compile_calendars, number_windows
from rating.capacity_terms import compile_capacity, read_by
from rating.charges import Priced, compile_charges
from rating.increments import compile_increments
from rating.kernel import StepKeys, step_keys
from rating.numbers import Keys, NumberedKeys, NumberedNames
from rating.prefixes import PrefixTable, build_table
from rating.tiers import LevelSteps, lower_prices
from schemas.book import FILTERS, PRICES, TIERS, Book
from schemas.frames import INSTANT
from schemas.ledger import AGGREGATE_KEY
from schemas.roster import Roster


@dataclass(frozen=True)
class Terms:
    """One book version and one roster version, ready to rate."""

    book_version: int
    roster_version: int
    meters: pl.DataFrame  # METERS with `meter` (row number)
    holders: pl.DataFrame  # identifier, holder, valid_from, valid_to: who a subject is
    subscriptions: pl.DataFrame  # holder, subscription_id, account_id
    accounts: pl.DataFrame  # account_id, currency, zone, billing_day, charging, low_balance, overdraft
    active: pl.DataFrame  # holder, active_from, active_to: when a subscription holds any plan
    usage: pl.DataFrame  # CHARGES of usage prices, by (holder, meter)
    recurring: pl.DataFrame  # CHARGES of recurring prices
    filters: pl.DataFrame  # filter_set, dimension, values, excluded
    prices: pl.DataFrame  # LOWERED
    steps: pl.DataFrame  # STEPS
    event_prices: pl.DataFrame  # EVENT_PRICES
    cells: pl.DataFrame  # CELLS
    dynamic: pl.DataFrame  # DYNAMIC
    capacity: pl.DataFrame  # CAPACITY
    levels: dict[int, LevelSteps]  # by price
    shares: pl.DataFrame  # SHARES
    share_tiers: pl.DataFrame  # SHARE_TIERS
    calendars: dict[str, Calendar]
    during: pl.DataFrame  # DURING
    increments: pl.DataFrame  # INCREMENTS of prices that split events
    is_partial: bool = False  # some prices were left out, so what has none here may have one

    @cached_property
    def has_windows(self) -> bool:
        """Whether any price counts within hours or days."""
        return self.usage["within"].null_count() < self.usage.height

    @cached_property
    def step_keys(self) -> StepKeys:
        """Search keys of `steps`."""
        return step_keys(self.steps)

    @cached_property
    def increment_keys(self) -> StepKeys:
        """Search keys of `increments`."""
        return step_keys(self.increments)

    @cached_property
    def payers(self) -> tuple[NumberedKeys, pl.DataFrame]:
        """Numbers of each (holder, meter) of `usage`, and by number where its prices stand: `first` up to, not with, `last`."""
        keys = NumberedKeys()
        number = pl.Series("number", keys.add(_payer_keys(self.usage["holder"], self.usage["meter"])))
        rows = number.to_frame().with_row_index("row", offset=0)
        places = rows.group_by("number").agg(first=pl.col("row").min(), last=pl.col("row").max() + 1).sort("number")
        return keys, places.select("first", "last")

    def find_charges(self, holder: pl.Series, meter: pl.Series) -> pl.DataFrame:
        """Where in `usage` the prices of each holder and meter stand: rows from `first` up to, not including, `last`.

        Both are null where there is none.
        """
        keys, places = self.payers
        number = pl.Series("number", keys.find(_payer_keys(holder, meter)))
        return places.select(pl.all().gather(pl.lit(number.set(number < 0, None))))

    @cached_property
    def identifiers(self) -> NumberedNames:
        """Numbers of the identifiers of `holders`, in the order in which they first come there."""
        names = NumberedNames(["identifier"])
        names.add(self.holders)
        return names

    @cached_property
    def numbered_holders(self) -> pl.DataFrame:
        """`holders` with `subject`, the number of the identifier."""
        return self.holders.with_columns(subject=self.identifiers.find(self.holders))

    @cached_property
    def has_prepaid(self) -> bool:
        """Whether any account pays in advance."""
        return bool((self.accounts["charging"] == "prepaid").any())

    @cached_property
    def prepaid(self) -> pl.Series:
        """For each row of `usage` whether its account pays it in advance. What a carrier charges us nobody does."""
        names = self.accounts.filter(pl.col("charging") == "prepaid")["account_id"]
        return (self.usage["account_id"].is_in(names.implode()) & self.usage["carrier_id"].is_null()).alias("prepaid")

    @cached_property
    def aggregates(self) -> pl.DataFrame:
        """`counted_for`, `price_id`, `price_version` and their number `aggregate`, as `usage` has them."""
        return self.usage.select(*AGGREGATE_KEY[:3], "aggregate").unique()

    @cached_property
    def last_aggregate(self) -> int:
        """The highest number of an aggregate of `usage`; 0 when there is none."""
        return int(self.usage["aggregate"].cast(pl.Int64).to_numpy().max(initial=0))

    @cached_property
    def price_order(self) -> pl.Series:
        """For each row of `usage` the rank of its price_id among all, to sort by."""
        names = pl.Enum(self.usage["price_id"].unique().sort())
        return self.usage["price_id"].cast(names).to_physical().alias("price_order")

    @cached_property
    def is_cost(self) -> pl.Series | None:
        """For each row of `usage` whether it is a carrier's price; None where none is, so that nothing need be asked."""
        costs = self.usage["carrier_id"].is_not_null()
        return costs if costs.any() else None

    @cached_property
    def margins(self) -> pl.DataFrame | None:
        """SHARES of the margin; None where no cost can be taken off."""
        found = self.shares.filter("of_margin")
        return found if found.height and self.is_cost is not None else None

    @cached_property
    def prefix_tables(self) -> dict[int, tuple[str, PrefixTable]]:
        """For each price that goes by the longest prefix: the dimension it looks at, and its prefixes."""
        prefixed = self.cells.filter(pl.col("match") == "longest_prefix")
        listed = prefixed.group_by("price").agg(pl.col("by").first().list.first(), pl.col("values").list.first(), "cell")
        return {
            price: (name, build_table(zip(values, cells, strict=True))) for price, name, values, cells in listed.iter_rows()
        }

    @cached_property
    def dimensions(self) -> list[str]:
        """Every property that a price may look at, sorted."""
        return sorted(set(self.filters["dimension"].to_list()))


def _payer_keys(holder: pl.Series, meter: pl.Series) -> Keys:
    """holder x 2^32 + meter."""
    return (holder.cast(pl.UInt64) * (1 << 32) + meter.cast(pl.UInt64)).to_numpy()


_VERSION = ["price_id", "price_version"]


def compile_terms(book: Book, roster: Roster) -> Terms:
    """Compile a published book and roster.

    Raises:
        BrokenPromise: The catalog let something through that cannot be rated exactly (no tiers, too many decimals).
    """
    meters = book.meters.with_row_index("meter").with_columns(
        quantity_scale=pl.when(pl.col("aggregation") == "count").then(pl.lit(0, pl.Int8)).otherwise("quantity_scale")
    )
    prices, during = number_windows(_all_prices(book, roster, meters))
    tiers = pl.concat([TIERS.select(book.tiers), TIERS.select(roster.tiers)])
    lowered = lower_prices(prices, tiers)
    holders = roster.subscriptions.select(pl.col("subscription_id").unique(maintain_order=True)).with_row_index("holder")
    filters = _filter_sets(book)
    priced = read_by(prices.join(lowered.prices, on=_VERSION), meters)
    shares, share_tiers = compile_shares(book, prices)
    usage, recurring = compile_charges(book, roster, Priced(priced, filters, shares), holders)
    return Terms(
        book_version=book.version,
        roster_version=roster.version,
        meters=meters,
        holders=_holders(roster, holders),
        subscriptions=roster.subscriptions.select("subscription_id", "account_id").unique().join(holders, on="subscription_id"),
        accounts=roster.accounts.select(
            *("account_id", "currency", "zone", "billing_day", "charging", "low_balance", "overdraft")
        ),
        active=roster.subscriptions.join(holders, on="subscription_id").select("holder", "active_from", "active_to"),
        usage=usage,
        recurring=recurring,
        filters=filters.select("filter_set", "dimension", "values", "excluded"),
        prices=lowered.prices,
        steps=lowered.steps,
        event_prices=lowered.event_prices,
        cells=lowered.cells,
        dynamic=lowered.dynamic,
        levels=lowered.levels,
        capacity=compile_capacity(prices.join(lowered.prices, on=_VERSION), tiers, meters),
        shares=shares,
        share_tiers=share_tiers,
        calendars=compile_calendars(book),
        during=during,
        increments=compile_increments(prices.join(lowered.prices, on=_VERSION), tiers),
    )


def _all_prices(book: Book, roster: Roster, meters: pl.DataFrame) -> pl.DataFrame:
    """List prices and own terms together, with `meter` and `quantity_scale` (0 for recurring)."""
    listed, own = PRICES.select(book.prices), PRICES.select(roster.prices)
    return (
        pl.concat([listed, own])
        .join(meters.select("meter_id", "meter", "quantity_scale"), on="meter_id", how="left", maintain_order="left")
        .with_columns(pl.col("quantity_scale").fill_null(0))
    )


def _holders(roster: Roster, holders: pl.DataFrame) -> pl.DataFrame:
    """Who a subject is: the roster's identifiers, and each subscription under its own name if the roster does not list it."""
    listed = roster.identifiers.join(holders, on="subscription_id").select("identifier", "holder", "valid_from", "valid_to")
    own = holders.join(roster.identifiers, left_on="subscription_id", right_on="identifier", how="anti").select(
        pl.col("subscription_id").alias("identifier"),
        "holder",
        pl.lit(None, INSTANT).alias("valid_from"),
        pl.lit(None, INSTANT).alias("valid_to"),
    )
    return pl.concat([listed, own])


def _filter_sets(book: Book) -> pl.DataFrame:
    """FILTERS with `filter_set`, the number of the price version they belong to."""
    filters = FILTERS.select(book.filters)
    numbers = filters.select("price_id", "price_version").unique(maintain_order=True).with_row_index("filter_set")
    return filters.join(numbers, on=["price_id", "price_version"])
