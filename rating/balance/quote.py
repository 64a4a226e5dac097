"""What usage to come would cost: the same f as in rating, asked for one quantity at a time.

Rating prices whole batches; a reservation asks for one price again and again, to find how much can be paid for. Both read the
same steps, and a test holds them against each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import polars as pl

from rating.counted_for import name_aggregates
from rating.counters import Counters
from rating.kernel import MILLION
from rating.match import match_prices
from rating.matrix import find_cells
from rating.measure import MEASURED
from rating.steps import Step
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY
from schemas.usage import EVENTS, PROPERTY


class Ask(NamedTuple):
    """Usage that may come."""

    name: object  # what it is asked for: anything that tells asks apart
    subject: str
    meter: int  # row of Terms.meters
    occurred_at: object
    quanta: int
    dimensions: Mapping[str, str]


@dataclass(frozen=True)
class Price:
    """f of one price, of a period's aggregate or of an event by itself."""

    steps: list[Step]
    at_zero: int
    kept_millionths: int
    event_terms: tuple[int | None, int | None, int, int, bool] | None  # EVENT_PRICES; None: priced by the period

    def of_period(self, quanta: int | None) -> int:
        """f of the aggregate; None has not begun."""
        if quanta is None:
            return 0
        return self._kept(self.at_zero if quanta == 0 else self._at(quanta))

    def of_event(self, quanta: int, before_quanta: int, events_before: int) -> int:
        """f of an event of so many quanta, after so many others."""
        assert self.event_terms is not None
        free_events, free_quanta, divisor, unit, round_up = self.event_terms
        has_none = free_events is None and free_quanta is None
        left = quanta if free_quanta is None else max(free_quanta - before_quanta, 0)
        if not has_none and (free_events is None or events_before < free_events):
            quanta -= min(quanta, left)
        money = self._at(quanta) if quanta else self.at_zero
        rounded = -(-money // divisor) if round_up else _half_up(money, divisor)
        return self._kept(rounded * unit)

    def _at(self, quanta: int) -> int:
        place = bisect_left(self.steps, quanta, key=lambda step: step.from_quanta) - 1
        return self.steps[max(place, 0)].amount_at(quanta)

    def _kept(self, money: int) -> int:
        return _half_up(money * self.kept_millionths, MILLION)


Aggregate = tuple[str, str, str, date]
"""AGGREGATE_KEY of one."""


class Part(NamedTuple):
    """One price of an ask, and the aggregate that it counts in."""

    aggregate: Aggregate
    price: Price
    max_quanta: int


class Standing(NamedTuple):
    """Where an aggregate is."""

    quanta: int | None
    events: int


Standings = dict[Aggregate, Standing]


class Quotes:
    """The prices of a number of asks, found all at once, and where their aggregates stood before the batch."""

    def __init__(self, asks: list[Ask], terms: Terms, counters: Counters) -> None:
        """`refused` says why an ask has no price, as (reason, sentence)."""
        self.refused: dict[object, tuple[str, str]] = {}
        self._parts: dict[object, list[Part]] = {ask.name: [] for ask in asks}
        self.standing: Standings = {}
        if not asks:
            return
        events = _as_events(asks)
        matched = match_prices(events, _as_measured(asks), terms)
        for event, reason, detail in matched.rejected.select("event", "reason", "detail").iter_rows():
            self.refused[asks[event].name] = reason, detail
        charged = matched.charged.filter(terms.usage["carrier_id"].is_null().gather(matched.charged["charge"]))
        if charged.is_empty():
            return
        details = terms.usage.select("price", "at_zero", "kept_millionths", "max_quanta")[charged["charge"]]
        rows = charged.hstack(details).with_columns(name_aggregates(charged, terms).get_columns())
        rows = find_cells(rows.with_columns(whole=pl.col("price")), events, terms).with_columns(
            counters.before(rows.select(AGGREGATE_KEY))
        )
        for row in rows.iter_rows(named=True):
            place = row["counted_for"], row["price_id"], row["price_version"], row["usage_period"]
            price = _price(row, terms)
            self._parts[asks[row["event"]].name].append(Part(place, price, row["max_quanta"]))
            self.standing[place] = Standing(row["after_quanta"], row["events"])

    def parts(self, name: object) -> list[Part]:
        return self._parts.get(name, [])

    def cost(self, wanted: list[tuple[list[Part], int]], on_top_of: Standings | None = None) -> tuple[int, Standings]:
        """What these quantities would cost together, counted one after the other from where the aggregates stand now.

        Args:
            on_top_of: What other quantities would have moved before; as this returned it.
        """
        total = 0
        moved = dict(on_top_of or {})
        for parts, quanta in wanted:
            for place, price, _ in parts:
                before = moved.get(place) or self.standing[place]
                after = (before.quanta or 0) + quanta
                if price.event_terms is None:
                    total += price.of_period(after) - price.of_period(before.quanta)
                else:
                    total += price.of_event(quanta, before.quanta or 0, before.events)
                moved[place] = Standing(after, before.events + 1)
        return total, moved

    def room(self, parts: list[Part]) -> int:
        """The most quanta that can be rated exactly beside what is there."""
        return min((part.max_quanta - (self.standing[part.aggregate].quanta or 0) for part in parts), default=0)


def _price(row: dict[str, object], terms: Terms) -> Price:
    found = terms.steps.filter(pl.col("price") == row["price"]).select(
        "tier", "from_quanta", "base", "unit_price", "package_quanta"
    )
    event_terms = terms.event_prices.filter(pl.col("price") == row["whole"])
    return Price(
        steps=[Step(*step) for step in found.iter_rows()],
        at_zero=row["at_zero"],  # type: ignore[arg-type]
        kept_millionths=row["kept_millionths"],  # type: ignore[arg-type]
        event_terms=None if event_terms.is_empty() else event_terms.drop("price").row(0),
    )


def _as_events(asks: list[Ask]) -> pl.DataFrame:
    """EVENTS with `event` and the dimensions as `data.<name>`."""
    names = sorted({name for ask in asks for name in ask.dimensions})
    columns: dict[str, list[object]] = {
        "subject": [ask.subject for ask in asks],
        "occurred_at": [ask.occurred_at for ask in asks],
        **{f"{PROPERTY}{name}": [ask.dimensions.get(name) for ask in asks] for name in names},
    }
    rows = [{name: values[at] for name, values in columns.items()} for at in range(len(asks))]
    told = EVENTS.build([{"event_type": "usage", "event_index": 0} | row for row in rows])
    data = pl.DataFrame(
        {f"{PROPERTY}{n}": columns[f"{PROPERTY}{n}"] for n in names},
        schema=dict.fromkeys([f"{PROPERTY}{n}" for n in names], pl.String),
    )
    return pl.concat([told, data], how="horizontal").with_row_index("event")


def _as_measured(asks: list[Ask]) -> pl.DataFrame:
    return MEASURED.build(
        [
            {"event": number, "meter": ask.meter, "quantity_quanta": ask.quanta, "dimensions": ""}
            for number, ask in enumerate(asks)
        ]
    ).sort("meter", "event", maintain_order=True)


def _half_up(numerator: int, denominator: int) -> int:
    """Rounded half-up, away from zero."""
    whole, rest = divmod(abs(numerator), denominator)
    whole += rest >= denominator - rest
    return -whole if numerator < 0 else whole
