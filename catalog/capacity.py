"""A price over several meters: tiers that limit each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from catalog.entries import MeterEntry, PriceEntry, TermsEntry
from catalog.fields import decimals_of
from catalog.models import Metered
from catalog.problems import Place, Problems, did_you_mean

Row = dict[str, object]


def check_measured(price: PriceEntry, known: Mapping[str, MeterEntry | None], place: Place, problems: Problems) -> PriceEntry:
    """The price says what it measures; one of several meters has the first of them as its `meter`."""
    if [price.meter, price.meters, price.recurring].count(None) != 2:
        text = "needs either 'meter' (usage) or 'recurring' (a fee per month or year)"
        problems.add(place, text if price.meters is None else f"{text}, beside 'meters' neither")
    if price.meters is None:
        return price
    for index, name in enumerate(price.meters):
        if name not in known or name in price.meters[:index]:
            hint = did_you_mean(name, list(known)) if name not in known else ", or it stands here twice"
            problems.add(place.at("meters", index), f"there is no meter '{name}'{hint}")
    check_meters([known.get(name) for name in price.meters], place.at("meters"), problems)
    return price.model_copy(update={"meter": price.meters[0]})


def shared_dimensions(meters: Sequence[MeterEntry | None]) -> list[str]:
    """What filters may look at: dimensions that all the meters have."""
    named = [meter.dimensions for meter in meters if meter is not None]
    return [name for name in (named[0] if named else []) if all(name in other for other in named)]


def check_meters(meters: Sequence[MeterEntry | None], place: Place, problems: Problems) -> None:
    """The meters of a price over several are peaks in units of one scale, so that the number of a tier is one number."""
    known = [(index, meter) for index, meter in enumerate(meters) if meter is not None]
    for index, meter in known:
        if meter.aggregation != "max":
            text = f"'{meter.id}' must be a max, not {meter.aggregation}: a tier holds the peak of each meter"
            problems.add(place.at(index), text)
        if meter.scale != known[0][1].scale:
            text = f"'{meter.id}' has the scale {meter.scale} but '{known[0][1].id}' {known[0][1].scale}; give them one scale"
            problems.add(place.at(index), text)


def check_capacity(terms: TermsEntry, metered: Metered | None, place: Place, problems: Problems) -> list[Row]:
    """TIERS without the price's key: the number of the tier and its limits, in the order of the meters.

    The last tier has no limits, so that everything is held; from tier to tier no limit falls.
    """
    if metered is None or not metered.meters:
        if metered is not None:
            problems.add(place.at("model"), "is of several meters; list them as 'meters:' of the price instead of 'meter:'")
        return []
    tiers = terms.tiers or []
    rows: list[Row] = []
    reached: dict[str, Decimal] = {}
    for index, tier in enumerate(tiers):
        spot, last = place.at("tiers", index), index == len(tiers) - 1
        limits = tier.limits or {}
        for name in limits:
            if name not in metered.meters:
                text = f"'{name}' is no meter of this price{did_you_mean(name, metered.meters)}"
                problems.add(spot.at("limits", name), text, key=True)
        if last and limits:
            problems.add(spot.at("limits"), "limits the last tier; leave it out, so that every use has a price")
        for name in metered.meters if not last else ():
            _check_limit(name, limits.get(name), reached, metered, spot, problems)
        amount = {"unit_price": Decimal(0), "package_size": None, "per_units": None, "flat": tier.flat or Decimal(0)}
        bounds: Row = {"tier_from": Decimal(index), "tier_to": None if last else Decimal(index + 1)}
        held = None if last else [limits.get(name) for name in metered.meters]
        rows.append({"tier": index, "limits": held} | bounds | amount)
    return rows


def _check_limit(
    name: str, limit: Decimal | None, reached: dict[str, Decimal], metered: Metered, place: Place, problems: Problems
) -> None:
    spot = place.at("limits", name)
    if limit is None:
        problems.add(place.at("limits"), f"says nothing of '{name}'; every tier but the last limits each meter")
        return
    if limit < reached.get(name, Decimal(0)):
        problems.add(spot, f"{limit} is below {reached[name]} of the tier before; order tiers by their limits")
    if decimals_of(limit) > metered.scale:
        problems.add(spot, f"has {decimals_of(limit)} decimals; the meter counts {metered.scale}")
    reached[name] = max(limit, reached.get(name, limit))
