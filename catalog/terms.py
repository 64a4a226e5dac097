"""Whether the numbers of a price fit its model and its meter, and the columns and tiers they become.

Upper bounds of tiers are inclusive; the last tier has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from catalog.capacity import check_capacity
from catalog.counting import check_counting
from catalog.entries import TermsEntry, TierEntry
from catalog.fields import MAX_UNITS, decimals_of
from catalog.matrix import check_matrix
from catalog.models import MODELS, OF_EVENT, OF_PERIOD, USAGE_MODELS, Metered, Model
from catalog.problems import Place, Problems
from catalog.units import convert_units

NUMBERS = tuple(name for name in TermsEntry.model_fields if name != "model")
TIER_NUMBERS = tuple(name for name in TierEntry.model_fields if name not in ("from_", "up_to"))
OF_LEVEL = ("per_unit", "graduated", "volume")
LEVELS = ("time_average", "average_of_changes")
"""Models and aggregations of a price that is of the level at every moment."""

PRICE_OF = ("unit_price", "rate", "factor", "price", "fee")
"""Where terms or a tier may say what a unit or package costs; one of them."""


@dataclass(frozen=True)
class Lowered:
    """A version's terms as the columns of PRICES and TIERS hold them."""

    columns: dict[str, object]
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
        if model != "capacity":
            _check_tiers(terms.tiers or [], MODELS[model], place.at("tiers"), problems)
        _check_floor(terms, place, problems)
        per = _check_per(terms, model, place, problems)
        _check_meter(terms, model, metered, place, problems)
        if model == "dynamic":
            _check_dynamic(terms, metered, place, problems)
        if per == "level" and metered is not None and metered.aggregation not in LEVELS:
            text = f"prices a level, so the meter must be a time_average or average_of_changes, not {metered.aggregation}"
            problems.add(place.at("per"), text)
        if per == "event" and metered is not None and metered.aggregation not in ("sum", "count"):
            text = f"prices each event by itself, so the meter must be a sum or count, not {metered.aggregation}"
            problems.add(place.at("model"), text)
        check_counting(terms, metered, place, problems)
        tiers = _lower_tiers_of(model, terms, metered, place, problems)
        columns = _lower(terms, model, per)
        if terms.units is not None and metered is not None and len(problems.found) == count:
            columns, tiers = convert_units(columns, tiers, terms.units, metered, place, problems)
        if len(problems.found) == count:
            return Lowered(columns, tiers)
    return None


def _lower_tiers_of(
    model: str, terms: TermsEntry, metered: Metered | None, place: Place, problems: Problems
) -> list[dict[str, object]]:
    if model == "matrix":
        return check_matrix(terms, metered, place, problems)
    if metered is not None and metered.meters and model != "capacity":
        problems.add(place.at("model"), f"{model} is of one meter; a price of several has the model capacity")
    if model == "capacity":
        for index, tier in enumerate(terms.tiers or []):
            _check_tier_numbers(tier, MODELS[model], place.at("tiers", index), problems)
        return check_capacity(terms, metered, place, problems)
    return _lower_tiers(terms)


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


def _check_per(terms: TermsEntry, model: str, place: Place, problems: Problems) -> str:
    """What is priced: as the terms say, or each event by itself where a price without tiers has numbers of an event."""
    of_event = [name for name in OF_EVENT if getattr(terms, name, None) is not None]
    of_period = [name for name in OF_PERIOD if getattr(terms, name, None)]
    by_numbers = "event" if of_event and terms.tiers is None else "period"
    per = MODELS[model].per or terms.per or by_numbers
    if per == "level" and model not in OF_LEVEL:
        problems.add(place.at("per"), f"a level is priced by {', '.join(OF_LEVEL)}, not by {model}")
    for name in of_event if per != "event" else ():
        problems.add(
            place.at(name), "is of each event, but this price is of a whole period; say 'per: event' or remove it", key=True
        )
    for name in of_period if per != "period" else ():
        what = "each event" if per == "event" else "a level"
        problems.add(place.at(name), f"is of a whole period, but this price is of {what}; remove it", key=True)
    minimum, maximum = terms.minimum, terms.maximum
    if minimum is not None and maximum is not None and minimum > maximum:
        problems.add(place.at("minimum"), f"{minimum} is more than the maximum {maximum}")
    return per


def _check_floor(terms: TermsEntry, place: Place, problems: Problems) -> None:
    if terms.prorate is not None and terms.floor is None:
        problems.add(
            place.at("prorate"), "says how the floor of a part of a period is found, but there is no 'floor'", key=True
        )
    if terms.floor is not None and terms.cap is not None and terms.floor > terms.cap:
        problems.add(place.at("floor"), f"{terms.floor} is more than the cap {terms.cap}")


def _check_tiers(tiers: list[TierEntry], model: Model, place: Place, problems: Problems) -> None:
    """Tiers join without gap from 0, in order, and the last is unbounded."""
    reached = Decimal(0)
    for index, tier in enumerate(tiers):
        spot = place.at(index)
        last = index == len(tiers) - 1
        _check_tier_numbers(tier, model, spot, problems)
        if tier.increment and tier.up_to is not None and (tier.up_to - reached) % tier.increment:
            text = f"the slot is {tier.up_to - reached} long, which is no whole number of increments of {tier.increment}"
            problems.add(spot.at("up_to"), text)
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
    for name in model.tier_needs:
        if given and name not in given:
            problems.add(place.at(name), "is missing; a tier of this model needs it")
    for name in ("package_size", "per", "increment"):
        if getattr(tier, name) == 0:
            problems.add(place.at(name), "is 0; write how many units it holds")
    if tier.price is not None and tier.unit_price is not None:
        problems.add(place.at("price"), "is the price of a package; a tier has that or a unit_price", key=True)


def _check_dynamic(terms: TermsEntry, metered: Metered | None, place: Place, problems: Problems) -> None:
    """The meter says where the money stands; included units need a price of a unit."""
    if metered is not None and metered.money is None:
        problems.add(
            place.at("model"), "takes its price from the event, so the meter must say 'money:', the property that holds it"
        )
    if terms.takes == "amount" and terms.included is not None:
        problems.add(place.at("included"), "needs the price of a unit, but this price takes an amount; remove it", key=True)


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
    for spot, amount in _quantities(terms, place) if terms.units is None else [(place.at("units", "per"), terms.units.per)]:
        if amount is not None and decimals_of(amount) > scale:
            problems.add(spot, f"has {decimals_of(amount)} decimals; the meter counts {scale}")
        elif amount is not None and amount * 10**scale > MAX_UNITS:
            problems.add(spot, f"is too large; this meter counts up to {MAX_UNITS.scaleb(-scale):f} units")


def _unit_prices(terms: TermsEntry, place: Place) -> Iterator[tuple[Place, Decimal | None]]:
    for name in ("unit_price", "rate", "factor"):
        yield place.at(name), getattr(terms, name, None)
    for index, tier in enumerate(terms.tiers or []):
        if tier.increment is None:
            yield place.at("tiers", index, "unit_price"), tier.unit_price
        yield place.at("tiers", index, "rate"), tier.rate


def _quantities(terms: TermsEntry, place: Place) -> Iterator[tuple[Place, Decimal | None]]:
    for name in ("package_size", "included", "minimum_units", "increment", "price_per"):
        yield place.at(name), getattr(terms, name, None)
    for index, tier in enumerate(terms.tiers or []):
        for name in ("up_to", "package_size", "per", "increment"):
            yield place.at("tiers", index, name), getattr(tier, name)


def _lower(terms: TermsEntry, model: str, per: str) -> dict[str, object]:
    """What the terms say in the columns of PRICES."""
    rounding = terms.rounding
    numbers = {name: getattr(terms, name, None) for name in ("free_events", "cap", "minimum", "maximum", "minimum_units")}
    return numbers | {
        "floor": terms.floor,
        "floor_prorated": None if terms.floor is None else terms.prorate is not False,
        "model": model,
        "per": per,
        "by": terms.by,
        "match": None if terms.by is None else terms.match or "value",
        "takes": terms.takes,
        "included_units": terms.included or Decimal(0),
        "round_places": None if rounding is None else rounding.places,
        "round_method": None if rounding is None else rounding.method,
        "counted_over": terms.counted_over or "subscription",
        "within": terms.within,
        "flat_at_zero": bool(terms.flat_at_zero),
    }


def _lower_tiers(terms: TermsEntry) -> list[dict[str, object]]:
    """TIERS without the price's key. A fee of each event or call is the flat fee of the first tier, due with its first unit."""
    rows: list[dict[str, object]] = []
    start = Decimal(0)
    for index, tier in enumerate(terms.tiers or [None]):
        said = terms if tier is None else tier
        up_to = None if tier is None else tier.up_to
        size = said.package_size if tier is None else tier.package_size or tier.increment
        rows.append(
            {
                "tier": index,
                "tier_from": start,
                "tier_to": up_to,
                "unit_price": _price_of(said),
                "package_size": size,
                "per_units": None if tier is None or tier.increment is None else tier.per or Decimal(1),
                "flat": (tier.flat if tier is not None else None) or Decimal(0),
            }
        )
        start = up_to or start
    fee = terms.fixed or terms.connect_fee
    if fee is not None:
        rows[0]["flat"] = fee
    return rows


def _price_of(said: TermsEntry | TierEntry) -> Decimal:
    """What a unit or package costs; 0 for a tier that is only flat."""
    given = [value for name in PRICE_OF if (value := getattr(said, name, None)) is not None]
    return Decimal(given[0]) if given else Decimal(0)
