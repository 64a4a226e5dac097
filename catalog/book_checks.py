"""What must hold between the entries of a price book."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from catalog.entries import MeterEntry, VersionEntry
from catalog.fields import to_instant
from catalog.problems import Place, Problems, did_you_mean
from schemas.balance import RESERVED

Span = tuple[datetime, datetime | None]


def check_meter(meter: MeterEntry, place: Place, problems: Problems) -> None:
    """A count counts events; every other aggregation needs a property with the quantity, unique one with any text."""
    if meter.event_type.startswith(RESERVED):
        problems.add(place.at("event_type"), f"'{RESERVED}' begins the types that BOSS keeps for itself; choose another")
    if meter.aggregation == "count":
        if meter.property is not None:
            problems.add(place.at("property"), "does not belong to a count, which counts events; remove it")
        if meter.scale != 0:
            problems.add(place.at("scale"), "does not belong to a count, which has no decimals; remove it")
    elif meter.property is None:
        problems.add(place.at("property"), f"is missing; name the property of 'data' whose values {meter.aggregation} takes")
    if meter.money is not None and meter.aggregation not in ("sum", "count"):
        problems.add(place.at("money"), f"comes with each event, so the meter must be a sum or count, not {meter.aggregation}")
    if meter.aggregation == "unique" and meter.scale != 0:
        problems.add(place.at("scale"), "does not belong to unique, which counts values; remove it")
    if meter.lasts is not None and meter.aggregation != "sum":
        problems.add(place.at("lasts"), f"belongs to a sum of times; {meter.aggregation} adds up no times", key=True)
    for index, name in enumerate(meter.dimensions):
        if name in meter.dimensions[:index]:
            problems.add(place.at("dimensions", index), f"'{name}' stands here twice; keep one")


def check_cost(version: VersionEntry, place: Place, problems: Problems) -> None:
    """A carrier's price costs nothing without an event, and is on no invoice."""
    if version.flat_at_zero:
        problems.add(place.at("flat_at_zero"), "is for a price of a plan; a carrier's price is due with its events", key=True)
    if version.floor is not None:
        problems.add(place.at("floor"), "is for a price of a plan; a carrier's price is due with its events", key=True)
    if version.tax_class is not None:
        problems.add(place.at("tax_class"), "is for invoices; a carrier's price is on none, remove it", key=True)


def check_spans(
    moments: Sequence[tuple[date | datetime, date | datetime | None, Place]], zone: str, problems: Problems
) -> list[Span]:
    """Half-open spans of versions that follow each other; one without an end lasts until the next starts."""
    spans: list[Span] = []
    for index, (begin, finish, place) in enumerate(moments):
        start = to_instant(begin, zone)
        following = to_instant(moments[index + 1][0], zone) if index + 1 < len(moments) else None
        end = to_instant(finish, zone) if finish is not None else None
        if end is not None and end <= start:
            problems.add(place.at("valid_to"), f"{finish} is not after valid_from {begin}")
        if following is not None and following <= start:
            problems.add(
                moments[index + 1][2].at("valid_from"),
                f"{moments[index + 1][0]} is not after {begin} of the version before; order versions by valid_from",
            )
        elif following is not None and end is not None and following < end:
            problems.add(place.at("valid_to"), f"{finish} is after the next version starts ({moments[index + 1][0]})")
        spans.append((start, end if end is not None else following))
    return spans


def check_filters(
    filters: Mapping[str, Mapping[str, list[str]]],
    dimensions: Sequence[str] | None,
    places: Mapping[str, Place],
    problems: Problems,
) -> list[dict[str, object]]:
    """FILTERS rows (without the price's key) of `where` and `where_not`.

    `dimensions` are those of the meter; none for a recurring price, None when the meter is unknown.
    """
    rows: list[dict[str, object]] = []
    for name, wanted in filters.items():
        for dimension, values in wanted.items():
            spot = places[name].at(name, dimension)
            if dimensions is not None and dimension not in dimensions:
                hint = did_you_mean(dimension, dimensions)
                problems.add(spot, f"'{dimension}' is no dimension of the meter{hint}", key=True)
            if not values:
                problems.add(spot, "names no value; list at least one")
            if name == "where_not" and dimension in filters["where"]:
                problems.add(spot, f"'{dimension}' stands in where too; keep one of them", key=True)
            rows.append({"dimension": dimension, "values": sorted(set(values)), "excluded": name == "where_not"})
    return rows


def check_tax_classes(used: Iterable[tuple[str, Place]], known: set[str], problems: Problems) -> None:
    """Every tax class of a price has a rate in some country."""
    for tax_class, place in used:
        if tax_class not in known:
            hint = did_you_mean(tax_class, sorted(known))
            problems.add(place, f"tax class '{tax_class}' has no rate under 'taxes:'{hint}")


def check_mentions(what: str, names: Sequence[str], known: Iterable[str], place: Place, problems: Problems) -> None:
    """Every name in the list exists."""
    existing = list(known)
    for index, name in enumerate(names):
        if name not in existing:
            problems.add(place.at(index), f"there is no {what} '{name}'{did_you_mean(name, existing)}")
