"""The price book: what is measured and what it costs. One immutable version, as frames.

Money and quantities are DECIMAL(38,18). A meter fixes its quantity scale s (quantities are whole quanta of 10^-s units); the
prices of that meter have at most 18 - s decimals, so quantity x price is an exact integer at scale 18.
Instants are half-open: a version is in force from `valid_from` until `valid_to` (null: still is).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from schemas.calendar import CALENDAR_DAYS, CALENDAR_WINDOWS, CALENDARS
from schemas.frames import AMOUNT, INSTANT, FrameSchema
from schemas.limits import LIMITS

METERS = FrameSchema(
    "METERS",
    {
        "meter_id": pl.String,
        "event_type": pl.String,  # CloudEvents `type` of the events it measures
        "aggregation": pl.String,  # sum | count | max | ...: docs/CATALOG.md lists them
        "property": pl.String,  # property of `data` that holds the quantity; null for count
        "money": pl.String,  # property of `data` with the price or amount that comes with the event; null: none does
        "unit": pl.String,  # as printed on the invoice
        "quantity_scale": pl.Int8,  # s: decimals a quantity may have, 0..9
        "dimensions": pl.List(pl.String),  # properties of `data` that prices may filter by
        "lasts": pl.String,  # second | minute | hour: the quantity is how long the event lasts, in this unit; null: it is not
        "time_is": pl.String,  # what the event's `time` is of it: start (or null) | end
    },
)
"""One row per meter."""

PLANS = FrameSchema(
    "PLANS",
    {
        "plan_id": pl.String,
        "kind": pl.String,  # version (a version product) | addon_bound (bound to a version's term) | addon (independent)
        "name_en": pl.String,
        "name_zh": pl.String,
    },
)
"""One row per plan: a version product or an add-on."""

CARRIERS = FrameSchema(
    "CARRIERS",
    {
        "carrier_id": pl.String,
        "name_en": pl.String,
        "name_zh": pl.String,
    },
)
"""One row per carrier or supplier whose tariff the book holds."""

PRICES = FrameSchema(
    "PRICES",
    {
        "price_id": pl.String,  # the fee item, e.g. 'meeting.minutes'; unique in the book
        "price_version": pl.String,  # '2026-01-01' for the list price; '2026-01-01/acme' for an override
        "plan_id": pl.String,  # null for a carrier's price
        "carrier_id": pl.String,  # whose tariff it is of: what we owe for the same event; null for a price of a plan
        "charge": pl.String,  # usage | recurring
        "meter_id": pl.String,  # null for recurring
        "meters": pl.List(pl.String),  # capacity: all meters it looks at, meter_id first; null otherwise
        "model": pl.String,  # docs/CATALOG.md lists them; flat for recurring
        "currency": pl.String,
        "interval": pl.String,  # recurring: month | year; null for usage
        "per": pl.String,  # a function of: period (its aggregate) | event (each by itself) | level (at every moment)
        "by": pl.List(pl.String),  # matrix: the dimensions that choose a row; null otherwise
        "match": pl.String,  # matrix: value | longest_prefix; null otherwise
        "takes": pl.String,  # dynamic: what the event brings, amount | unit_price; null otherwise
        "included_units": AMOUNT,  # units of a period before the first tier; they cost nothing
        "free_events": pl.Int64,  # per event: so many events of a period cost nothing; null: no such limit on included units
        "cap": AMOUNT,  # the most that a period costs, before the discount; null: no limit
        "floor": AMOUNT,  # the least that a period costs a subscription, after the discount; null: no limit
        "floor_prorated": pl.Boolean,  # by the days of the period on which the price is in force for it; null without a floor
        "minimum": AMOUNT,  # per event: the least and the most that one costs, before the discount; null: no limit
        "maximum": AMOUNT,
        "minimum_units": AMOUNT,  # per event: so many units are charged at least
        "round_places": pl.Int8,  # per event: decimals the amount is rounded to, before the discount; null: 18
        "round_method": pl.String,  # half_up | up
        "counted_over": pl.String,  # subscription | account | group: whose usage adds up; null: subscription
        "within": pl.String,  # hour | day: the total begins anew with each, by the account's clock; null: with each period
        "flat_at_zero": pl.Boolean,  # the first tier's flat fee is due in a period without usage too
        "calendar_id": pl.String,  # null: the price covers all time
        "windows": pl.List(pl.String),  # of that calendar: it covers only usage in these
        "split": pl.Boolean,  # true: it gets the part of an event that lies in its windows; else those that begin there, whole
        "tax_class": pl.String,  # null for a carrier's price
        "name_en": pl.String,
        "name_zh": pl.String,
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    },
)
"""One row per price version. Versions of one price do not overlap."""

TIERS = FrameSchema(
    "TIERS",
    {
        "price_id": pl.String,
        "price_version": pl.String,
        "tier": pl.Int32,  # 0, 1, 2 ...; of a matrix the row, 0 being the default
        "values": pl.List(pl.String),  # matrix: the values of the row's dimensions; null for the default and all other models
        "tier_from": AMOUNT,  # units, excluded
        "tier_to": AMOUNT,  # units, included; null is unbounded
        "unit_price": AMOUNT,  # per unit, or per package if there is a package_size; for flat per interval and licence
        "package_size": AMOUNT,  # units in a package, each begun one due whole; null: priced by unit
        "per_units": AMOUNT,  # units that unit_price is for, for example 60 seconds; null: one unit or package
        "flat": AMOUNT,  # due once when the tier is reached
        "limits": pl.List(AMOUNT),  # capacity: what the tier holds of each of the meters; null for the last
    },
)
"""One row per price version and tier; tiers join without gap from 0. Models without tiers have one."""

FILTERS = FrameSchema(
    "FILTERS",
    {
        "price_id": pl.String,
        "price_version": pl.String,
        "dimension": pl.String,
        "values": pl.List(pl.String),
        "excluded": pl.Boolean,  # false: only these values; true: every value but these (and also no value)
    },
)
"""One row per price version and dimension it looks at. A price without rows covers every event of its meter."""

TAXES = FrameSchema(
    "TAXES",
    {
        "country": pl.String,  # ISO 3166 alpha-2
        "tax_class": pl.String,
        "rate": AMOUNT,  # 0.06 is six percent
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    },
)
"""One row per country, tax class and time."""

AGREEMENTS = FrameSchema(
    "AGREEMENTS",
    {
        "agreement_id": pl.String,
        "partner_id": pl.String,
        "price_id": pl.String,  # the agreement's plans and prices, written out: one row for each price it covers
        "share": AMOUNT,  # 0.2 is twenty percent, at most 6 decimals; null with tiers or an amount per unit
        "of": pl.String,  # what it is a share of: gross, the revenue of the price | margin, less the costs of the same event
        "per_unit": AMOUNT,  # an amount for each unit that the price counts; null otherwise
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    },
)
"""One row per partner agreement and price it covers."""


AGREEMENT_TIERS = FrameSchema(
    "AGREEMENT_TIERS",
    {
        "agreement_id": pl.String,
        "tier": pl.Int32,  # 0, 1, 2 ...
        "revenue_from": AMOUNT,  # of one aggregate, excluded; at most 12 decimals
        "revenue_to": AMOUNT,  # included; null is unbounded
        "share": AMOUNT,  # of the revenue in this tier
    },
)
"""One row per agreement with tiers and tier; they join without gap from 0."""


@dataclass(frozen=True)
class Book:
    """One published version of the price book."""

    version: int
    digest: str  # sha256 over the content; equal content is the same version
    meters: pl.DataFrame
    plans: pl.DataFrame
    carriers: pl.DataFrame
    prices: pl.DataFrame
    tiers: pl.DataFrame
    filters: pl.DataFrame
    taxes: pl.DataFrame
    agreements: pl.DataFrame
    agreement_tiers: pl.DataFrame
    limits: pl.DataFrame
    calendars: pl.DataFrame = field(default_factory=CALENDARS.empty)
    calendar_windows: pl.DataFrame = field(default_factory=CALENDAR_WINDOWS.empty)
    calendar_days: pl.DataFrame = field(default_factory=CALENDAR_DAYS.empty)


BOOK_FRAMES = {
    "meters": METERS,
    "plans": PLANS,
    "carriers": CARRIERS,
    "prices": PRICES,
    "tiers": TIERS,
    "filters": FILTERS,
    "taxes": TAXES,
    "agreements": AGREEMENTS,
    "agreement_tiers": AGREEMENT_TIERS,
    "limits": LIMITS,
    "calendars": CALENDARS,
    "calendar_windows": CALENDAR_WINDOWS,
    "calendar_days": CALENDAR_DAYS,
}
"""Field of Book -> its schema; also the names of the frozen files."""
