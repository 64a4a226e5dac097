"""The price models: which numbers each takes.

    per_unit              unit_price for every unit
    graduated             each unit at the price of the tier it falls into
    volume                all units at the price of the tier that the total reaches
    stair_step            the flat fee of the tier that the total reaches
    capacity              the flat fee of the smallest tier that holds the peak of every meter
    package               price for every begun package of package_size units
    percentage            rate of an amount of money
    graduated_percentage  each part of an amount at the rate of the tier it falls into
    multiplier            an amount of money times factor
    rated_time            a call, by increments begun
    matrix                a unit_price for each combination of dimensions
    dynamic               the price comes with the event
    flat                  fee per month or year and licence (recurring prices)

A price is a function of what a period adds up to, or, where it says so, of each event by itself.
"""

from __future__ import annotations

from typing import NamedTuple


class Model(NamedTuple):
    """What a price model takes."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()  # what its tiers may say beside from and up_to
    tier_needs: tuple[str, ...] = ()
    of_money: bool = False  # the meter counts money
    per: str | None = None  # period or event, where it can only be the one


OF_PERIOD = ("flat_at_zero", "cap", "units")
OF_EVENT = ("fixed", "connect_fee", "free_events", "minimum", "maximum", "minimum_units", "rounding")
"""Numbers that only make sense for what is priced by the period, or event by event."""

_FLOOR = ("floor", "prorate")
_COUNTED = ("included", "counted_over", "within")
_ANY = (*_COUNTED, "units", "cap", "per", "free_events", "minimum", "maximum", "rounding", *_FLOOR)
_PLAIN = ("fixed", *_ANY)
_TIERED = ("flat_at_zero", *_ANY)
_PACKED = ("unit_price", "package_size", "price", "flat")
_CALL = ("connect_fee", "minimum_units", *_COUNTED, "free_events", "minimum", "maximum", "rounding", *_FLOOR)
_MATRIX = (
    "match",
    "connect_fee",
    "minimum_units",
    "increment",
    "price_per",
    *_COUNTED,
    "free_events",
    "minimum",
    "maximum",
    "rounding",
    *_FLOOR,
)

MODELS = {
    "per_unit": Model(("unit_price",), _PLAIN),
    "graduated": Model(("tiers",), _TIERED, _PACKED),
    "volume": Model(("tiers",), _TIERED, _PACKED),
    "stair_step": Model(("tiers",), _TIERED, ("flat",)),
    "capacity": Model(("tiers",), ("flat_at_zero", "cap", *_FLOOR), ("limits", "flat"), ("flat",), per="period"),
    "package": Model(("package_size", "price"), _ANY),
    "percentage": Model(("rate",), _PLAIN, of_money=True),
    "graduated_percentage": Model(("tiers",), _TIERED, ("rate", "flat"), of_money=True),
    "multiplier": Model(("factor",), _PLAIN, of_money=True),
    "rated_time": Model(("tiers",), _CALL, ("unit_price", "per", "increment"), ("unit_price", "increment"), per="event"),
    "matrix": Model(("by", "default"), ("rows", "table", *_MATRIX), per="event"),
    "dynamic": Model(("takes",), ("included", "free_events", "minimum", "maximum", "rounding", *_FLOOR), per="event"),
    "flat": Model(("fee",), per="period"),
}
USAGE_MODELS = tuple(name for name in MODELS if name != "flat")


class Metered(NamedTuple):
    """What a price of usage counts, as far as its terms must fit it."""

    scale: int  # decimals of a quantity
    unit: str
    aggregation: str
    dimensions: list[str]
    currency: str | None  # of the price; None when it is not known
    money: str | None = None  # property with the money that comes with the event
    meters: tuple[str, ...] = ()  # of a price over several
