"""Examples that a pricing owner writes beside a price: this usage, by this plan, costs that much.

They stand under `examples:` in any file of the price book, are checked as strictly as the prices, and are no part of the
published book.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from catalog.book_checks import check_mentions
from catalog.entries import Entry, check_entry
from catalog.fields import Amount, Count, Flag, Id, Moment, Price, Text, Units, Values, decimals_of, to_instant
from catalog.problems import Place, Problems, did_you_mean
from catalog.sections import BOOK_SECTIONS, BOOK_SETTINGS, list_of, read_sections
from schemas.book import Book
from schemas.roster import Roster
from schemas.usage import RejectReason

MOST_EVENTS = 1_000_000
AS_ONE_EVENT = ("sum", "max", "min", "latest", "hourly_max", "daily_max", "peak")
AS_MANY_EVENTS = ("count", "unique")
"""Aggregations of which a total can be said: as the quantity of one event, or as the number of events."""

Row = dict[str, object]


class UsageEntry(Entry):
    meter: Id | None = None
    quantity: Units | None = None
    type: Text | None = None
    data: dict[Text, Text] = Field(default_factory=dict)
    at: Moment | None = None
    times: Annotated[Count, Field(ge=1, le=MOST_EVENTS)] = 1


class ExampleEntry(Entry):
    name: Text
    plan: Values
    account: Id | None = None
    subscription: Id | None = None
    partner: Id | None = None
    licences: Annotated[Count, Field(ge=1)] | None = None
    at: Moment
    usage: list[UsageEntry] = Field(default_factory=list, max_length=10_000)
    closed: Flag = False
    expect: dict[Text, Amount] = Field(default_factory=dict)
    expect_cost: dict[Text, Amount] = Field(default_factory=dict)
    expect_share: dict[Text, Amount] = Field(default_factory=dict)
    total: Price | None = None
    rejected: (
        Literal[
            "missing_field",
            "bad_quantity",
            "negative_quantity",
            "bad_price",
            "quantity_too_large",
            "no_price",
        ]
        | None
    ) = None


@dataclass(frozen=True)
class ExampleUsage:
    """One event, or so many alike."""

    event_type: str
    data: dict[str, str]
    numbered: str | None
    """The property that is another value in each of the events: that of a meter of unique values."""
    occurred_at: datetime
    times: int


@dataclass(frozen=True)
class Example:
    """What somebody who holds these plans uses, and what it should cost."""

    name: str
    place: str  # file:line:column
    plans: list[str]
    account_id: str | None  # whose zone, billing day and negotiated prices count; None: nobody's in particular
    subscription_id: str | None  # whose negotiated prices count too
    partner_id: str | None  # who gets the shares
    currency: str
    zone: str
    licences: int | None  # None: recurring fees are left out
    at: datetime
    usage: list[ExampleUsage]
    closed: bool  # what limits make when the usage period is closed is wanted too
    expected: dict[str, Decimal]  # by price_id; empty: only the total is said
    expected_cost: dict[str, Decimal]  # by price or carrier; empty: nothing is said of costs
    expected_share: dict[str, Decimal]  # by price or partner; empty: nothing is said of shares
    total: Decimal | None
    rejected: RejectReason | None


def read_examples(folder: Path, book: Book, roster: Roster) -> list[Example]:
    """All examples in the price book's files, in the order of files and lines.

    Args:
        folder: The files that `book` was read from.

    Raises:
        BadCatalog: With every mistake in them as `file:line:column: path: what is wrong and what to do`.
    """
    sections = read_sections(folder, BOOK_SECTIONS, BOOK_SETTINGS, Problems())
    zone = sections.settings["zone"][0] if "zone" in sections.settings else "UTC"
    problems = Problems()
    reader = _ExampleReader(problems, book, roster, str(zone))
    read = [reader.read(data, place) for data, place in sections.entries["examples"]]
    problems.raise_if_any()
    return [example for example in read if example is not None]


class _ExampleReader:
    """Checks examples against the book and the roster they speak of."""

    def __init__(self, problems: Problems, book: Book, roster: Roster, zone: str) -> None:
        self.problems = problems
        self.zone = zone
        self.meters = {str(row["meter_id"]): row for row in book.meters.iter_rows(named=True)}
        self.accounts = {str(row["account_id"]): row for row in roster.accounts.iter_rows(named=True)}
        self.owners = dict(roster.subscriptions.select("subscription_id", "account_id").rows())
        self.plans = {str(name): dict[str, str]() for name in book.plans["plan_id"]}
        for plan, price, currency in _plan_prices(book).select("plan_id", "price_id", "currency").unique().rows():
            self.plans[plan][price] = currency
        self.carriers = {str(name) for name in book.carriers["carrier_id"]}
        self.costs = {str(name) for name in book.prices.filter(pl.col("plan_id").is_null())["price_id"]}
        self.partners = {str(name) for name in book.agreements["partner_id"]}
        self.floored = set(pl.concat([book.prices, roster.prices]).filter(pl.col("floor").is_not_null())["price_id"])
        self.limits = pl.concat([book.limits, roster.limits])
        self.names: dict[str, Place] = {}

    def read(self, data: object, place: Place) -> Example | None:
        entry = check_entry(ExampleEntry, data, place, self.problems)
        if entry is None:
            return None
        first = self.names.setdefault(entry.name, place)
        if first is not place:
            self.problems.add(place.at("name"), f"there is another example '{entry.name}' in {first}; say what differs")
        count = len(self.problems.found)
        if not entry.plan:
            self.problems.add(place.at("plan"), "names no plan; say whose prices are meant")
        check_mentions("plan", entry.plan, self.plans, place.at("plan"), self.problems)
        account_id = self.account_of(entry, place)
        account = self.accounts.get(account_id or "")
        zone = self.zone if account is None else str(account["zone"])
        currency = self.currency_of(entry, account, place)
        partner = entry.partner or (None if account is None or account["partner_id"] is None else str(account["partner_id"]))
        self.check_known("partner", entry.partner, self.partners, place)
        self.check_expected(entry, place)
        self.check_parties(entry, partner, place)
        items = list(list_of(data.get("usage") if isinstance(data, dict) else None, place.at("usage"), self.problems))
        usage = [self.read_usage(use, entry, zone, spot) for use, (_, spot) in zip(entry.usage, items, strict=True)]
        if sum(use.times for use in usage if use is not None) > MOST_EVENTS:
            self.problems.add(place.at("usage"), f"is more than {MOST_EVENTS} events; an example needs fewer")
        if len(self.problems.found) > count:
            return None
        return Example(
            name=entry.name,
            place=str(place),
            plans=entry.plan,
            account_id=account_id,
            subscription_id=entry.subscription,
            partner_id=partner,
            currency=currency,
            zone=zone,
            licences=entry.licences,
            at=to_instant(entry.at, zone),
            usage=[use for use in usage if use is not None],
            closed=entry.closed,
            expected=entry.expect,
            expected_cost=entry.expect_cost,
            expected_share=entry.expect_share,
            total=entry.total,
            rejected=None if entry.rejected is None else RejectReason(entry.rejected),
        )

    def account_of(self, entry: ExampleEntry, place: Place) -> str | None:
        if entry.subscription is None:
            self.check_known("account", entry.account, self.accounts, place)
            return entry.account
        self.check_known("subscription", entry.subscription, self.owners, place)
        owner = self.owners.get(entry.subscription)
        if entry.account is not None and owner is not None and entry.account != owner:
            text = (
                f"'{entry.account}' does not hold the subscription '{entry.subscription}', '{owner}' does; name one of the two"
            )
            self.problems.add(place.at("account"), text)
        return owner

    def check_known(self, what: str, name: str | None, known: Iterable[str], place: Place) -> None:
        names = list(known)
        if name is not None and name not in names:
            self.problems.add(place.at(what), f"there is no {what} '{name}'{did_you_mean(name, names)}")

    def currency_of(self, entry: ExampleEntry, account: Row | None, place: Place) -> str:
        """The one currency of the plans, and of the account if there is one."""
        of_plans = {currency for plan in entry.plan for currency in self.plans.get(plan, {}).values()}
        currencies = sorted(of_plans | ({str(account["currency"])} if account else set()))
        if len(currencies) > 1:
            self.problems.add(place.at("plan"), f"is in {' and '.join(currencies)}; plans and account have one currency")
        return currencies[0] if currencies else ""

    def check_expected(self, entry: ExampleEntry, place: Place) -> None:
        said = (entry.expect, entry.expect_cost, entry.expect_share)
        if not any(said) and entry.total is None and entry.rejected is None:
            self.problems.add(place, "expects nothing; write 'expect:' with an amount for each price, 'total:' or 'rejected:'")
        prices = [price for plan in entry.plan for price in self.plans.get(plan, {})]
        prices += self.limits_of(entry, prices) if entry.closed else []
        for price in entry.expect:
            if price not in prices and all(plan in self.plans for plan in entry.plan):
                text = f"there is no price '{price}' in {', '.join(entry.plan)}{did_you_mean(price, prices)}"
                self.problems.add(place.at("expect", price), text, key=True)

    def check_parties(self, entry: ExampleEntry, partner: str | None, place: Place) -> None:
        """Costs are named by carrier or its price, shares by partner or a price that charges the usage."""
        sold = {price for plan in entry.plan for price in self.plans.get(plan, {})}
        known = {"expect_cost": self.carriers | self.costs, "expect_share": self.partners | sold | self.costs}
        for key, names in known.items():
            for name in getattr(entry, key):
                if name not in names:
                    text = f"there is no party or price '{name}' here{did_you_mean(name, sorted(names))}"
                    self.problems.add(place.at(key, name), text, key=True)
        if entry.expect_share and partner is None:
            self.problems.add(place.at("expect_share"), "is nobody's; name a 'partner:', or an account that has one", key=True)

    def limits_of(self, entry: ExampleEntry, prices: list[str]) -> list[str]:
        """By which names limits post: floors of these prices, and the limits of the plans and the customer."""
        of_plan = pl.col("plan_id").is_in(entry.plan)
        account = entry.account or self.owners.get(entry.subscription or "")
        of_account = pl.col("account_id").eq_missing(pl.lit(account, pl.String))
        of_one = pl.col("subscription_id").eq_missing(pl.lit(entry.subscription, pl.String))
        mine = of_plan | (of_account & pl.col("account_id").is_not_null()) | (of_one & pl.col("subscription_id").is_not_null())
        found = [str(name) for name in self.limits.filter(mine)["limit_id"]]
        return [f"{price}/floor" for price in prices if price in self.floored] + found + [f"{name}/overage" for name in found]

    def read_usage(self, use: UsageEntry, entry: ExampleEntry, zone: str, place: Place) -> ExampleUsage | None:
        moment = to_instant(use.at or entry.at, zone)
        if (use.meter is None) == (use.type is None):
            self.problems.add(place, "needs either 'meter' and 'quantity' (a total) or 'type' and 'data' (an event)")
            return None
        if use.type is not None:
            return self.read_event(use, use.type, moment, place)
        self.check_known("meter", use.meter, self.meters, place)
        meter = self.meters.get(use.meter or "")
        if meter is None:
            return None
        counted, quantity = str(meter["aggregation"]), use.quantity
        self.check_data(use, _beside_quantity(meter), place)
        if quantity is None:
            self.problems.add(place.at("quantity"), "is missing; say how much is used")
            return None
        if counted not in AS_ONE_EVENT + AS_MANY_EVENTS:
            self.problems.add(
                place.at("quantity"), f"says too little for {counted}, which needs times; write events with 'type'"
            )
            return None
        if decimals_of(quantity) > int(str(meter["quantity_scale"])):
            text = f"has {decimals_of(quantity)} decimals; the meter counts {meter['quantity_scale']}"
            self.problems.add(place.at("quantity"), text)
        name = None if meter["property"] is None else str(meter["property"])
        if counted in AS_MANY_EVENTS:
            if quantity * use.times > MOST_EVENTS:
                self.problems.add(place.at("quantity"), f"is more than {MOST_EVENTS} events; an example needs fewer")
                return None
            return ExampleUsage(str(meter["event_type"]), use.data, name, moment, int(quantity) * use.times)
        told = use.data if name is None else use.data | {name: f"{quantity:f}"}
        return ExampleUsage(str(meter["event_type"]), told, None, moment, use.times)

    def read_event(self, use: UsageEntry, event_type: str, moment: datetime, place: Place) -> ExampleUsage:
        """An event as it would be sent; every key of its data must be read by a meter."""
        if use.quantity is not None:
            self.problems.add(place.at("quantity"), "belongs to 'meter'; an event says it in 'data'", key=True)
        readers = [meter for meter in self.meters.values() if meter["event_type"] == event_type]
        if not readers:
            hint = did_you_mean(event_type, sorted({str(meter["event_type"]) for meter in self.meters.values()}))
            self.problems.add(place.at("type"), f"no meter measures '{event_type}'{hint}")
            return ExampleUsage(event_type, use.data, None, moment, use.times)
        names = {str(meter["property"]) for meter in readers if meter["property"] is not None}
        names.update(name for meter in readers for name in _beside_quantity(meter))
        self.check_data(use, sorted(names), place)
        return ExampleUsage(event_type, use.data, None, moment, use.times)

    def check_data(self, use: UsageEntry, known: list[str], place: Place) -> None:
        for name in use.data:
            if name not in known:
                hint = did_you_mean(name, known)
                self.problems.add(place.at("data", name), f"no meter of this usage reads '{name}'{hint}", key=True)


def _beside_quantity(meter: Row) -> list[str]:
    """The properties that a meter reads beside its quantity."""
    money = [] if meter["money"] is None else [str(meter["money"])]
    return [str(name) for name in _list(meter["dimensions"])] + money


def _plan_prices(book: Book) -> pl.DataFrame:
    return book.prices.filter(pl.col("plan_id").is_not_null())


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
