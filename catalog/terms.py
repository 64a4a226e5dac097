"""The price models: which numbers each takes, what is wrong with them, and the tiers they become.

    per_unit              unit_price for every unit
    graduated             each unit at the price of the tier it falls into
    volume                all units at the price of the tier that the total reaches
    stair_step            the flat fee of the tier that the total reaches
    package               price for every begun package of package_size units
    percentage            rate of an amount of money
    graduated_percentage  each part of an amount at the rate of the tier it falls into
    multiplier            an amount of money times factor
    flat                  fee per month or year and licence (recurring prices)

Upper bounds of tiers are inclusive; the last tier has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from catalog.entries import TermsEntry, TierEntry
from catalog.fields import MAX_UNITS, decimals_of
from catalog.problems import Place, Problems


class Model(NamedTuple):
    """What a price model takes."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()  # what its tiers may say beside from and up_to
    of_money: bool = False  # the meter counts money


ANY_USAGE = ("included", "cap")
"""What every price of usage may have."""

MODELS = {
    "per_unit": Model(("unit_price",), ANY_USAGE),
    "graduated": Model(("tiers",), ("flat_at_zero", *ANY_USAGE), ("unit_price", "package_size", "price", "flat")),
    "volume": Model(("tiers",), ("flat_at_zero", *ANY_USAGE), ("unit_price", "package_size", "price", "flat")),
    "stair_step": Model(("tiers",), ("flat_at_zero", *ANY_USAGE), ("flat",)),
    "package": Model(("package_size", "price"), ANY_USAGE),
    "percentage": Model(("rate",), ANY_USAGE, of_money=True),
    "graduated_percentage": Model(("tiers",), ("flat_at_zero", *ANY_USAGE), ("rate", "flat"), of_money=True),
    "multiplier": Model(("factor",), ANY_USAGE, of_money=True),
    "flat": Model(("fee",)),
}
USAGE_MODELS = tuple(name for name in MODELS if name != "flat")
NUMBERS = tuple(name for name in TermsEntry.model_fields if name != "model")
TIER_NUMBERS = ("unit_price", "rate", "package_size", "price", "flat")
PRICE_OF = ("unit_price", "rate", "factor", "price", "fee")
"""Where terms or a tier may say what a unit or package costs; one of them."""


class Metered(NamedTuple):
    """What a price of usage counts, as far as its terms must fit it."""

    scale: int  # decimals of a quantity
    unit: str
    currency: str | None  # of the price; None when it is not known


@dataclass(frozen=True)
class Lowered:
    """A version's terms as the columns of PRICES and TIERS hold them."""

    model: str
    included_units: Decimal
    cap: Decimal | None
    flat_at_zero: bool
    tiers: list[dict[str, object]]


def check_terms(terms: TermsEntry, charge: str, metered: Metered | None, place: Place, problems: Problems) -> Lowered | None:
    """The terms lowered to tiers, or None with the mistakes noted.

    `charge` is usage or recurring; `metered` is None when there is no meter or it is unknown.
    """
    model = terms.model or ("flat" if charge == "recurring" else None)
    if model is None:
        problems.add(place.at("model"), f"is missing; choose one of {', '.join(USAGE_MODELS)}")
        return None
    if charge == "recurring" and model != "flat":
        problems.add(place.at("model"), f"a recurring price takes flat, not {model}")
        return None
    if charge == "usage" and model == "flat":
        problems.add(place.at("model"), f"flat is for recurring prices; use one of {', '.join(USAGE_MODELS)}")
        return None
    count = len(problems.found)
    _check_numbers(terms, model, place, problems)
    if len(problems.found) == count:
        _check_tiers(terms.tiers or [], MODELS[model], place.at("tiers"), problems)
        _check_meter(terms, model, metered, place, problems)
    return _lower(terms, model) if len(problems.found) == count else None


def _check_numbers(terms: TermsEntry, model: str, place: Place, problems: Problems) -> None:
    required = MODELS[model].required
    allowed = required + MODELS[model].optional
    for name in NUMBERS:
        value = getattr(terms, name, None)
        if value is None and name in required:
            problems.add(place.at(name), f"is missing; the model {model} needs it")
        elif value is not None and name not in allowed:
            problems.add(place.at(name), f"does not belong to the model {model}, which takes {', '.join(allowed)}", key=True)
    if terms.package_size == 0:
        problems.add(place.at("package_size"), "is 0; a package holds at least some units")
    if terms.tiers == []:
        problems.add(place.at("tiers"), "is empty; write at least one tier")


def _check_tiers(tiers: list[TierEntry], model: Model, place: Place, problems: Problems) -> None:
    """Tiers join without gap from 0, in order, and the last is unbounded."""
    reached = Decimal(0)
    for index, tier in enumerate(tiers):
        spot = place.at(index)
        last = index == len(tiers) - 1
        _check_tier_numbers(tier, model, spot, problems)
        if tier.from_ is not None and tier.from_ != reached:
            word = "leaves a gap" if tier.from_ > reached else "overlaps"
            problems.add(spot.at("from"), f"{word}: the tier starts at {tier.from_} but the one before ends at {reached}")
        if tier.up_to is None and not last:
            problems.add(spot.at("up_to"), "is missing; only the last tier is without an upper bound")
        if tier.up_to is not None and last:
            problems.add(spot.at("up_to"), "bounds the last tier; leave it out (or null), so that every quantity has a price")
        if tier.up_to is not None and tier.up_to <= reached:
            problems.add(spot.at("up_to"), f"{tier.up_to} is not above {reached}, where the tier starts; order tiers by up_to")
        reached = max(reached, tier.up_to or reached)


def _check_tier_numbers(tier: TierEntry, model: Model, place: Place, problems: Problems) -> None:
    given = [name for name in TIER_NUMBERS if getattr(tier, name) is not None]
    for name in given:
        if name not in model.tier:
            text = f"does not belong to a tier of this model, which takes {', '.join(model.tier)}"
            problems.add(place.at(name), text, key=True)
    if not given:
        problems.add(place, f"has no price; a tier of this model takes {', '.join(model.tier)}")
    if (tier.package_size is None) != (tier.price is None):
        lacks = "package_size" if tier.package_size is None else "price"
        problems.add(place.at(lacks), "is missing; a package has a package_size and a price")
    if tier.package_size == 0:
        problems.add(place.at("package_size"), "is 0; a package holds at least some units")
    if tier.price is not None and tier.unit_price is not None:
        problems.add(place.at("price"), "is the price of a package; a tier has that or a unit_price", key=True)


def _check_meter(terms: TermsEntry, model: str, metered: Metered | None, place: Place, problems: Problems) -> None:
    """Quantities have at most the meter's decimals, unit prices at most 18 less those, so that a product is exact."""
    if metered is None:
        return
    if MODELS[model].of_money and metered.currency not in (None, metered.unit):
        text = f"{model} is of an amount of money, so the meter's unit must be {metered.currency}, not {metered.unit}"
        problems.add(place.at("model"), text)
    scale = metered.scale
    for spot, price in _unit_prices(terms, place):
        if price is not None and decimals_of(price) > 18 - scale:
            text = f"has {decimals_of(price)} decimals; the meter counts {scale} decimals, so a price at most {18 - scale}"
            problems.add(spot, text)
    for spot, amount in _quantities(terms, place):
        if amount is not None and decimals_of(amount) > scale:
            problems.add(spot, f"has {decimals_of(amount)} decimals; the meter counts {scale}")
        elif amount is not None and amount * 10**scale > MAX_UNITS:
            problems.add(spot, f"is too large; this meter counts up to {MAX_UNITS.scaleb(-scale):f} units")


def _unit_prices(terms: TermsEntry, place: Place) -> Iterator[tuple[Place, Decimal | None]]:
    for name in ("unit_price", "rate", "factor"):
        yield place.at(name), getattr(terms, name, None)
    for index, tier in enumerate(terms.tiers or []):
        yield place.at("tiers", index, "unit_price"), tier.unit_price
        yield place.at("tiers", index, "rate"), tier.rate


def _quantities(terms: TermsEntry, place: Place) -> Iterator[tuple[Place, Decimal | None]]:
    for name in ("package_size", "included"):
        yield place.at(name), getattr(terms, name, None)
    for index, tier in enumerate(terms.tiers or []):
        yield place.at("tiers", index, "up_to"), tier.up_to
        yield place.at("tiers", index, "package_size"), tier.package_size


def _lower(terms: TermsEntry, model: str) -> Lowered:
    rows: list[dict[str, object]] = []
    start = Decimal(0)
    for index, tier in enumerate(terms.tiers or [None]):
        said = terms if tier is None else tier
        up_to = None if tier is None else tier.up_to
        rows.append(
            {
                "tier": index,
                "tier_from": start,
                "tier_to": up_to,
                "unit_price": _price_of(said),
                "package_size": said.package_size,
                "flat": (tier.flat if tier is not None else None) or Decimal(0),
            }
        )
        start = up_to or start
    return Lowered(model, terms.included or Decimal(0), terms.cap, bool(terms.flat_at_zero), rows)


def _price_of(said: TermsEntry | TierEntry) -> Decimal:
    """What a unit or package costs; 0 for a tier that is only flat."""
    given = [value for name in PRICE_OF if (value := getattr(said, name, None)) is not None]
    return Decimal(given[0]) if given else Decimal(0)
