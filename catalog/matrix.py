"""The rows of a matrix: a unit price for each combination of dimensions, in the price book or in a CSV file beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from pydantic_core import PydanticCustomError

from catalog.csv_source import read_csv
from catalog.entries import TermsEntry
from catalog.fields import decimals_of, read_price
from catalog.models import Metered
from catalog.problems import Place, Problems, did_you_mean

PRICE = "unit_price"
PREFIX = r"\+?\d{1,17}"
Row = dict[str, object]


def check_matrix(terms: TermsEntry, metered: Metered | None, place: Place, problems: Problems) -> list[Row]:
    """TIERS of a matrix without the price's key, the default first; what is wrong is noted.

    `by` names dimensions of the meter; every row, of `rows` or of the file `table`, has one value for each and a unit_price.
    """
    by = terms.by or []
    for index, name in enumerate(by):
        if name in by[:index]:
            problems.add(place.at("by", index), f"'{name}' stands here twice; keep one")
        elif metered is not None and name not in metered.dimensions:
            problems.add(
                place.at("by", index), f"'{name}' is no dimension of the meter{did_you_mean(name, metered.dimensions)}"
            )
    if terms.match == "longest_prefix" and len(by) != 1:
        problems.add(place.at("by"), "names several dimensions; a longest_prefix is looked for in one")
    if terms.price_per is not None and terms.increment is None:
        problems.add(place.at("increment"), "is missing; a price for several units is charged by increments")
    for name in ("increment", "price_per"):
        if getattr(terms, name) == 0:
            problems.add(place.at(name), "is 0; write how many units it holds")
    if (terms.rows is None) == (terms.table is None):
        problems.add(place, "needs either 'rows' or 'table', the name of a CSV file beside this one")
    _check_decimals(terms.default, metered, place.at("default"), problems)
    made: list[Row] = [_tier(terms, 0, None, terms.default or Decimal(0))]
    seen: dict[tuple[str, ...], Place] = {}
    for data, spot in _rows(terms, by, place, problems):
        values = [_value(data, name, spot, problems) for name in by]
        if terms.match == "longest_prefix" and not re.fullmatch(PREFIX, values[0], re.ASCII):
            problems.add(
                spot.at(by[0]), f"'{values[0]}' is no prefix; write 1 to 17 digits, with or without a plus before them"
            )
        price = _price(data, metered, spot, problems)
        first = seen.setdefault(tuple(values), spot)
        if first is not spot:
            problems.add(spot, f"the row {', '.join(values)} stands in {first} too; keep one")
        made.append(_tier(terms, len(made), values, price))
    return made


def _rows(terms: TermsEntry, by: Sequence[str], place: Place, problems: Problems) -> Iterator[tuple[Row, Place]]:
    """The rows of the entry or of the file, with their places."""
    for index, row in enumerate(terms.rows or []):
        for name in row:
            if name not in (*by, PRICE):
                problems.add(place.at("rows", index, name), f"is no known key here{did_you_mean(name, [*by, PRICE])}", key=True)
        yield dict(row), place.at("rows", index)
    if terms.table is None:
        return
    path = place.source.path.parent / terms.table
    if path.name != terms.table or not path.is_file():
        problems.add(place.at("table"), f"there is no file '{terms.table}' beside this one")
        return
    source = read_csv(path, [*by, PRICE], problems)
    for number, cells in enumerate(source.rows if source is not None else []):
        assert source is not None
        yield cells, Place(source, (number,))


def _value(row: Row, name: str, place: Place, problems: Problems) -> str:
    value = row.get(name)
    if value is None:
        problems.add(place.at(name), f"'{name}' is missing; every row has a value for each dimension in 'by'")
    return str(value)


def _price(row: Row, metered: Metered | None, place: Place, problems: Problems) -> Decimal:
    spot = place.at(PRICE)
    if row.get(PRICE) is None:
        problems.add(spot, f"'{PRICE}' is missing; add it")
        return Decimal(0)
    try:
        price = read_price(str(row[PRICE]))
    except PydanticCustomError as error:
        problems.add(spot, error.message())
        return Decimal(0)
    _check_decimals(price, metered, spot, problems)
    return price


def _check_decimals(price: Decimal | None, metered: Metered | None, place: Place, problems: Problems) -> None:
    if price is not None and metered is not None and decimals_of(price) > 18 - metered.scale:
        text = f"has {decimals_of(price)} decimals; the meter counts {metered.scale} decimals, so a price at most"
        problems.add(place, f"{text} {18 - metered.scale}")


def _tier(terms: TermsEntry, number: int, values: list[str] | None, price: Decimal) -> Row:
    per_units = None if terms.increment is None else terms.price_per or Decimal(1)
    said = {"tier_to": None, "package_size": terms.increment, "per_units": per_units, "flat": terms.connect_fee or Decimal(0)}
    return said | {"tier": number, "values": values, "tier_from": Decimal(0), "unit_price": price}
