"""Prices of a level: what stands there costs its share of the period in its tier; tiers reached cost their flat fee.

    amount = sum over time of g(level) x seconds / seconds of the period, half-up at scale 18  +  flat fees at the highest level

g is the price model without its flat fees. So a third seat from the 20th to the 30th costs eleven days of the third seat's
price, whatever the first two cost, and a tier's flat fee is due whole once the level has reached it for at least a second. A
level below 0 costs nothing. Levels told by their changes and levels told by their height go by the same rule.
Source: Lago prorated graduated charges.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

import polars as pl

from rating.aggregates.follow import gather_moves
from rating.aggregates.kinds import OF_CHANGES
from rating.aggregates.points import Points
from rating.aggregates.windows import day_begins
from rating.steps import Step
from rating.terms import Terms
from rating.tiers import PRICE_LIMIT
from schemas.errors import BrokenPromise
from schemas.frames import FrameSchema

LEVEL_MONEY = FrameSchema(
    "LEVEL_MONEY",
    {"event": pl.UInt32, "charge": pl.UInt32, "level_before": pl.Int128, "level_after": pl.Int128},
)
"""One row per event and price of a level that charges it: what the aggregate costs before and after, before the discount."""

_MOMENT = ["second", "event_source", "event_id"]


def price_levels(countable: pl.DataFrame, terms: Terms, stores: Sequence[Points]) -> pl.DataFrame:
    """LEVEL_MONEY of the rows of COUNTABLE that are priced by their level, each walked in order of arrival.

    Args:
        stores: Where the points of aggregates are.
    """
    price = terms.usage["price"].gather(countable["charge"])
    rows = countable.filter(price.is_in(list(terms.levels)))
    if rows.is_empty():
        return LEVEL_MONEY.empty()
    moves, spans = gather_moves(rows, terms, stores)
    bounds = spans.select("key", begin=day_begins(spans, "usage_period"), end=day_begins(spans, "usage_period_end"))
    first = rows.unique("key", keep="first", maintain_order=True)
    prices = first.select("key", "aggregation").with_columns(terms.usage["price"].gather(first["charge"]))
    timed = moves.with_columns(second=pl.col("occurred_at").dt.epoch("s")).join(bounds, on="key").join(prices, on="key")
    ordered = timed.sort("key", "arrival", *_MOMENT)
    columns = ("key", "arrival", "weight", "quantity_quanta", *_MOMENT, "begin", "end", "price", "aggregation")
    made = list(_walk(ordered.select(columns).iter_rows(), terms))
    schema = {"key": pl.Int64, "arrival": pl.Int64, "level_before": pl.Int128, "level_after": pl.Int128}
    money = pl.DataFrame(made, schema=schema, orient="row")
    placed = rows.with_columns(arrival=pl.col("event").cast(pl.Int64) + 1)
    return LEVEL_MONEY.select(placed.join(money, on=["key", "arrival"]))


def _walk(moves: Iterator[tuple[object, ...]], terms: Terms) -> Iterator[tuple[int, int, int, int]]:
    """Key, arrival, money before and after of every move of the batch. Moves stand by key and arrival."""
    current, curve = None, None
    for key, arrival, weight, quantity, second, source, name, begin, end, price, aggregation in moves:
        if curve is None or key != current:
            units, flats = terms.levels[int(str(price))]
            current, curve = key, _Curve(int(str(begin)), int(str(end)), units, flats, aggregation in OF_CHANGES)
        before = curve.money() if arrival else 0
        curve.move((int(str(second)), str(source), str(name)), int(str(quantity)), int(str(weight)))
        if arrival:
            yield int(str(key)), int(str(arrival)), before, curve.money()


class _Curve:
    """A level over a period: where it changes, how high it stands from there on, and what it costs so far."""

    def __init__(self, begin: int, end: int, units: Sequence[Step], flats: Sequence[Step], changes: bool) -> None:
        self._seconds, self._end, self._changes = end - begin, end, changes
        self._units, self._flats = _function(units), _function(flats)
        self._moments: list[tuple[int, str, str]] = []
        self._told: list[int] = []  # what each moment told: the level, or its change
        self._levels: list[int] = []  # from each moment on
        self._peaks: list[int] = []  # the highest level up to the end of its stretch
        self._area = 0  # g(level) x seconds

    def money(self) -> int:
        peak = self._peaks[-1] if self._peaks else 0
        return (2 * self._area + self._seconds) // (2 * self._seconds) + self._flats(peak)

    def move(self, moment: tuple[int, str, str], told: int, weight: int) -> None:
        """Add a moment, or take it away; only what comes after it is worked out again."""
        place = bisect_left(self._moments, moment)
        last = max(place - 1, 0)
        self._area -= self._between(last)
        if weight > 0:
            self._moments.insert(place, moment)
            self._told.insert(place, told)
        else:
            del self._moments[place], self._told[place]
        self._level_from(place)
        self._area += self._between(last)
        self._peak_from(last)
        if self.money() >= PRICE_LIMIT:
            raise BrokenPromise("a level over time costs more than is exact; choose a coarser unit")

    def _level_from(self, place: int) -> None:
        del self._levels[place:]
        for told in self._told[place:]:
            before = self._levels[-1] if self._levels and self._changes else 0
            self._levels.append(before + told)

    def _peak_from(self, place: int) -> None:
        del self._peaks[place:]
        for at in range(place, len(self._moments)):
            before = self._peaks[-1] if self._peaks else 0
            self._peaks.append(max(before, self._levels[at]) if self._length(at) else before)

    def _between(self, place: int) -> int:
        """g(level) x seconds from this moment on."""
        return sum(self._units(self._levels[at]) * self._length(at) for at in range(place, len(self._moments)))

    def _length(self, at: int) -> int:
        until = self._moments[at + 1][0] if at + 1 < len(self._moments) else self._end
        return until - self._moments[at][0]


def _function(steps: Sequence[Step]) -> Callable[[int], int]:
    """f of a quantity, 0 below the first unit."""
    starts = [step.from_quanta for step in steps]

    def amount(quanta: int) -> int:
        return steps[bisect_left(starts, quanta) - 1].amount_at(quanta) if quanta > 0 else 0

    return amount
