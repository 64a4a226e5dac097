"""The price models: which numbers each takes, what is wrong with them, and the tiers they become.

    per_unit    unit_price for every unit
    graduated   each unit at the price of the tier it falls into
    volume      all units at the price of the tier that the total reaches
    package     price for every begun package of package_size units, after free_units
    flat        fee per month or year and licence (recurring prices)

Upper bounds of tiers are inclusive; the last tier has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from catalog.entries import TermsEntry, TierEntry
from catalog.fields import MAX_UNITS, decimals_of
from catalog.problems import Place, Problems

USAGE_MODELS = ("per_unit", "graduated", "volume", "package")

REQUIRED = {
    "per_unit": ("unit_price",),
    "graduated": ("tiers",),
    "volume": ("tiers",),
    "package": ("package_size", "price"),
    "flat": ("fee",),
}
OPTIONAL = {"graduated": ("flat_at_zero",), "volume": ("flat_at_zero",), "package": ("free_units",)}
NUMBERS = ("unit_price", "tiers", "flat_at_zero", "package_size", "price", "free_units", "fee")


@dataclass(frozen=True)
class Lowered:
    """A version's terms as the columns of PRICES and TIERS hold them."""

    model: str
    free_units: Decimal
    package_size: Decimal | None
    flat_at_zero: bool
    tiers: list[dict[str, object]]


def check_terms(terms: TermsEntry, charge: str, scale: int | None, place: Place, problems: Problems) -> Lowered | None:
    """The terms lowered to tiers, or None with the mistakes noted.

    `charge` is usage or recurring; `scale` is the quantity scale of the meter, None when there is none or it is unknown.
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
        _check_tiers(terms.tiers or [], place.at("tiers"), problems)
        _check_scale(terms, scale, place, problems)
    return _lower(terms, model) if len(problems.found) == count else None


def _check_numbers(terms: TermsEntry, model: str, place: Place, problems: Problems) -> None:
    required = REQUIRED[model]
    allowed = required + OPTIONAL.get(model, ())
    for name in NUMBERS:
        value = getattr(terms, name)
        if value is None and name in required:
            problems.add(place.at(name), f"is missing; the model {model} needs it")
        elif value is not None and name not in allowed:
            problems.add(place.at(name), f"does not belong to the model {model}, which takes {', '.join(allowed)}", key=True)
    if terms.package_size == 0:
        problems.add(place.at("package_size"), "is 0; a package holds at least some units")
    if terms.tiers == []:
        problems.add(place.at("tiers"), "is empty; write at least one tier")


def _check_tiers(tiers: list[TierEntry], place: Place, problems: Problems) -> None:
    """Tiers join without gap from 0, in order, and the last is unbounded."""
    reached = Decimal(0)
    for index, tier in enumerate(tiers):
        spot = place.at(index)
        last = index == len(tiers) - 1
        if tier.unit_price is None and tier.flat is None:
            problems.add(spot, "has no price; give it unit_price, flat or both")
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


def _check_scale(terms: TermsEntry, scale: int | None, place: Place, problems: Problems) -> None:
    """Quantities have at most the meter's decimals, unit prices at most 18 less those, so that a product is exact."""
    if scale is None:
        return
    prices = [(place.at("unit_price"), terms.unit_price)]
    units = [(place.at("package_size"), terms.package_size), (place.at("free_units"), terms.free_units)]
    for index, tier in enumerate(terms.tiers or []):
        prices.append((place.at("tiers", index, "unit_price"), tier.unit_price))
        units.append((place.at("tiers", index, "up_to"), tier.up_to))
    for spot, price in prices:
        if price is not None and decimals_of(price) > 18 - scale:
            text = f"has {decimals_of(price)} decimals; the meter counts {scale} decimals, so a price at most {18 - scale}"
            problems.add(spot, text)
    for spot, amount in units:
        if amount is not None and decimals_of(amount) > scale:
            problems.add(spot, f"has {decimals_of(amount)} decimals; the meter counts {scale}")
        elif amount is not None and amount * 10**scale > MAX_UNITS:
            problems.add(spot, f"is too large; this meter counts up to {MAX_UNITS.scaleb(-scale):f} units")


def _lower(terms: TermsEntry, model: str) -> Lowered:
    price = terms.unit_price or terms.price or terms.fee
    single = TierEntry.model_construct(unit_price=price)
    rows: list[dict[str, object]] = []
    start = Decimal(0)
    for index, tier in enumerate(terms.tiers or [single]):
        unit_price, flat = tier.unit_price or Decimal(0), tier.flat or Decimal(0)
        rows.append({"tier": index, "tier_from": start, "tier_to": tier.up_to, "unit_price": unit_price, "flat": flat})
        start = tier.up_to or start
    return Lowered(model, terms.free_units or Decimal(0), terms.package_size, bool(terms.flat_at_zero), rows)
