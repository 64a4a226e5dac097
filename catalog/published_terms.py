"""What must never change once it is published: the terms under a price version's name, and a negotiated discount.

Ledger rows name a price and its version; `amount = f(after) - f(before)` only adds up while f stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from catalog.row_text import described

TERM_COLUMNS = [
    "plan_id",
    "carrier_id",
    "charge",
    "meter_id",
    "meters",
    "model",
    "currency",
    "interval",
    "per",
    "by",
    "match",
    "takes",
    "included_units",
    "free_events",
    "cap",
    "floor",
    "floor_prorated",
    "minimum",
    "maximum",
    "minimum_units",
    "round_places",
    "round_method",
    "counted_over",
    "within",
    "flat_at_zero",
    "calendar_id",
    "windows",
    "split",
    "tax_class",
    "valid_from",
]
TIER_COLUMNS = ["tier", "values", "tier_to", "unit_price", "package_size", "per_units", "flat", "limits"]
METER_COLUMNS = ["aggregation", "unit", "quantity_scale", "money", "lasts", "time_is"]
PRICE_KEY = ["price_id", "price_version"]
TERM_FRAMES = [
    *("meters", "prices", "tiers", "filters", "overrides", "limits"),
    *("calendars", "calendar_windows", "calendar_days"),
]
"""Frames, of a book or a roster, that hold terms."""


def terms_of(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Columns `name` and `terms`, one row per price version and per discount: who it is and what it says, as text.

    May end and may be renamed: valid_to and names are no terms. How the meter counts is part of the terms.
    """
    parts = [_price_terms(frames)]
    if "overrides" in frames:
        parts.append(_discount_terms(frames["overrides"]))
    if "limits" in frames:
        parts.append(_limit_terms(frames["limits"]))
    if "calendars" in frames:
        parts += [_calendar_terms(frames), _year_terms(frames)]
    return pl.concat(parts)


def changed_terms(old: pl.DataFrame, new: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Name, old parts and new parts of the terms that both have and say differently."""
    both = old.join(new, on="name", suffix="_new").filter(pl.col("terms") != pl.col("terms_new")).sort("name")
    return [(name, _only_in(before, after), _only_in(after, before)) for name, before, after in both.rows()]


def _only_in(terms: str, other: str) -> str:
    return "; ".join(part for part in terms.split("; ") if part not in other.split("; ")) or "nothing"


def _price_terms(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    prices, tiers = frames["prices"], frames["tiers"]
    lines = [
        prices.select(*PRICE_KEY, described(prices, TERM_COLUMNS).alias("terms")),
        tiers.select(*PRICE_KEY, described(tiers, TIER_COLUMNS).alias("terms")),
    ]
    if "filters" in frames:
        filters = frames["filters"]
        lines.append(filters.select(*PRICE_KEY, described(filters, ["dimension", "excluded", "values"]).alias("terms")))
    if "meters" in frames:
        meters = frames["meters"]
        counting = meters.select("meter_id", described(meters, METER_COLUMNS).alias("terms"))
        lines.append(prices.select(*PRICE_KEY, "meter_id").join(counting, on="meter_id").select(*PRICE_KEY, "terms"))
    grouped = pl.concat(lines).group_by(PRICE_KEY, maintain_order=True).agg(pl.col("terms").str.join("; "))
    return grouped.select(pl.format("price {} version {}", *PRICE_KEY).alias("name"), pl.col("terms"))


def _limit_terms(limits: pl.DataFrame) -> pl.DataFrame:
    terms = [name for name in limits.columns if name not in {"limit_id", "name_en", "name_zh", "valid_to"}]
    parts = pl.concat_str([described(limits, [name]) for name in terms], separator="; ")
    return limits.select(pl.format("limit {}", "limit_id").alias("name"), parts.alias("terms"))


def _discount_terms(overrides: pl.DataFrame) -> pl.DataFrame:
    who = pl.coalesce(pl.format("subscription {}", "subscription_id"), pl.format("account {}", "account_id"))
    since = pl.col("valid_from").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    discounts = overrides.filter(pl.col("discount").is_not_null())
    return discounts.select(
        pl.format("discount on {} of {} from {}", "price_id", who, since).alias("name"),
        described(overrides, ["discount"]).alias("terms"),
    )


def _calendar_terms(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    calendars, windows = frames["calendars"], frames["calendar_windows"]
    lines = [
        calendars.select("calendar_id", described(calendars, ["zone", "otherwise"]).alias("terms")),
        windows.select("calendar_id", described(windows, ["name", "begins", "ends", "days", "holidays"]).alias("terms")),
    ]
    grouped = pl.concat(lines).group_by("calendar_id", maintain_order=True).agg(pl.col("terms").str.join("; "))
    return grouped.select(pl.format("calendar {}", "calendar_id").alias("name"), "terms")


def _year_terms(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What the days of each year are. A year may be added; what one has said stays."""
    days = frames["calendar_days"]
    listed = days.select("calendar_id", pl.col("day").dt.strftime("%Y").alias("years"), pl.format("{} {}", "kind", "day"))
    joined = listed.group_by("calendar_id", "years", maintain_order=True).agg(terms=pl.col("kind").str.join("; "))
    years = frames["calendars"].select("calendar_id", "years").explode("years", empty_as_null=False)
    return years.join(joined, on=["calendar_id", "years"], how="left", maintain_order="left").select(
        pl.format("calendar {} in {}", "calendar_id", "years").alias("name"), pl.col("terms").fill_null("no holiday")
    )
