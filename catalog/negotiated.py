"""Negotiated prices: a customer's own terms for one fee item, or a discount on its list price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from catalog.during import Timed, check_own_terms
from catalog.entries import TermsEntry
from catalog.fields import to_instant, version_name
from catalog.models import Metered
from catalog.problems import Place, Problems, did_you_mean
from catalog.roster_checks import overlaps
from catalog.roster_entries import OverrideEntry
from catalog.terms import check_terms
from schemas.book import PRICES, TIERS, Book
from schemas.roster import OVERRIDES

Row = dict[str, object]
WAYS = ("discount", "unit_price", "fee", "terms")


@dataclass(frozen=True)
class Customers:
    """Who is on the roster, also with mistakes."""

    accounts: set[str]
    subscriptions: set[str]
    unsure: set[str]  # accounts whose plans are not known, because of a mistake in a subscription
    zones: dict[str, str]  # in which an account's days start


def read_overrides(
    entries: Sequence[tuple[OverrideEntry, Place]],
    holdings: pl.DataFrame,
    customers: Customers,
    book: Book,
    problems: Problems,
) -> dict[str, pl.DataFrame]:
    """The frames overrides, prices and tiers of a roster, with the mistakes noted.

    Own terms take everything else - plan, meter, currency, names, filters - from the list price in force when they start.
    """
    accounts = {entry.account for entry, _ in entries if entry.account is not None}
    subscriptions = {entry.subscription for entry, _ in entries if entry.subscription is not None}
    concerned = holdings.filter(
        pl.col("account_id").is_in(sorted(accounts)) | pl.col("subscription_id").is_in(sorted(subscriptions))
    )
    reader = _OverrideReader(problems, _Book(book), customers, _Holdings(concerned))
    for entry, place in entries:
        reader.read(entry, place)
    overrides = OVERRIDES.build(reader.overrides)
    for level in (["account_id"], ["subscription_id"]):
        rows = overrides.with_row_index("row").filter(pl.col("subscription_id").is_null() == (level == ["account_id"]))
        for row, before in overlaps(rows, [*level, "price_id"], "valid_from", "valid_to").select("row", "row_before").rows():
            text = f"the same customer has another override of this price at that time ({reader.places[before]}); end one first"
            problems.add(reader.places[row].at("price"), text)
    return {"overrides": overrides, "prices": PRICES.build(reader.prices), "tiers": TIERS.build(reader.tiers)}


class _Book:
    """The list prices, by id."""

    def __init__(self, book: Book) -> None:
        self.versions: dict[str, list[Row]] = {}
        for row in book.prices.filter(pl.col("carrier_id").is_null()).sort("price_id", "valid_from").rows(named=True):
            self.versions.setdefault(row["price_id"], []).append(row)
        self.tiers = book.tiers
        self.meters: dict[str, dict[str, Any]] = {row["meter_id"]: row for row in book.meters.rows(named=True)}

    def metered(self, listed: Row) -> Metered | None:
        """What a list price counts; None when it is recurring."""
        meter = self.meters.get(str(listed["meter_id"]))
        if meter is None:
            return None
        scale, unit, aggregation = int(str(meter["quantity_scale"])), str(meter["unit"]), str(meter["aggregation"])
        dimensions, currency = list(meter["dimensions"] or []), str(listed["currency"])
        several = listed["meters"]
        meters = tuple(map(str, several)) if isinstance(several, list) else ()
        return Metered(scale, unit, aggregation, dimensions, currency, meter["money"], meters)

    def tiers_of(self, listed: Row) -> list[Row]:
        """TIERS of a list version, in order."""
        key = {name: listed[name] for name in ("price_id", "price_version")}
        return self.tiers.filter(**key).sort("tier").rows(named=True)

    def in_force(self, price_id: str, moment: datetime) -> Row:
        """The list version in force then; the first one before any is."""
        versions = self.versions[price_id]
        earlier = [row for row in versions if _instant(row["valid_from"]) <= moment]
        return earlier[-1] if earlier else versions[0]


class _Holdings:
    """Which plans accounts and subscriptions hold."""

    def __init__(self, holdings: pl.DataFrame) -> None:
        self.account_of: dict[str, str] = dict(holdings.select("subscription_id", "account_id").rows())
        self.by_account = _plans_by(holdings, "account_id")
        self.by_subscription = _plans_by(holdings, "subscription_id")


@dataclass
class _OverrideReader:
    problems: Problems
    book: _Book
    customers: Customers
    holdings: _Holdings
    overrides: list[Row] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    prices: list[Row] = field(default_factory=list)
    tiers: list[Row] = field(default_factory=list)

    def read(self, entry: OverrideEntry, place: Place) -> None:
        account = self.account_of(entry, place)
        self.check_price(entry, account, place)
        given = [way for way in WAYS if getattr(entry, way) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "says nothing about the price"
            self.problems.add(place, f"{found}; give exactly one of {', '.join(WAYS)}")
        zone = self.customers.zones.get(account or "", "UTC")
        start = to_instant(entry.valid_from, zone)
        end = to_instant(entry.valid_to, zone) if entry.valid_to is not None else None
        if end is not None and end <= start:
            self.problems.add(place.at("valid_to"), f"{entry.valid_to} is not after valid_from {entry.valid_from}")
        if account is None or entry.price not in self.book.versions or len(given) != 1:
            return
        row: Row = {"account_id": account, "subscription_id": entry.subscription, "price_id": entry.price}
        row |= {"discount": entry.discount, "valid_from": start, "valid_to": end}
        if given != ["discount"]:
            who = f"{account}/{entry.subscription}" if entry.subscription else account
            row["price_version"] = f"{version_name(entry.valid_from)}/{who}"
            self.add_terms(entry, row, place)
        self.overrides.append(row)
        self.places.append(place)

    def account_of(self, entry: OverrideEntry, place: Place) -> str | None:
        if (entry.account is None) == (entry.subscription is None):
            self.problems.add(place, "needs either 'account' or 'subscription'")
            return None
        if entry.subscription is not None:
            if entry.subscription not in self.customers.subscriptions:
                self.problems.add(place.at("subscription"), f"there is no subscription '{entry.subscription}'")
            return self.holdings.account_of.get(entry.subscription)
        if entry.account not in self.customers.accounts:
            self.problems.add(place.at("account"), f"there is no account '{entry.account}'")
            return None
        return entry.account

    def check_price(self, entry: OverrideEntry, account: str | None, place: Place) -> None:
        """The price exists and one of the customer's plans has it."""
        if entry.price not in self.book.versions:
            hint = did_you_mean(entry.price, list(self.book.versions))
            self.problems.add(place.at("price"), f"there is no price '{entry.price}' in the price book{hint}")
            return
        if account is None or account in self.customers.unsure:
            return
        plan = self.book.versions[entry.price][0]["plan_id"]
        if entry.subscription is not None:
            who, plans = f"subscription '{entry.subscription}'", self.holdings.by_subscription[entry.subscription]
        else:
            who, plans = f"account '{account}'", self.holdings.by_account.get(account, set())
        if plan not in plans:
            self.problems.add(place.at("price"), f"price '{entry.price}' is of plan '{plan}', which {who} does not hold")

    def add_terms(self, entry: OverrideEntry, row: Row, place: Place) -> None:
        start = _instant(row["valid_from"])
        listed = self.book.in_force(entry.price, start)
        terms, spot = _own_terms(entry, place)
        lowered = check_terms(terms, str(listed["charge"]), self.book.metered(listed), spot, self.problems)
        if lowered is None:
            return
        if listed["split"]:
            scale = {"quantity_scale": self.book.meters[str(listed["meter_id"])]["quantity_scale"]}
            list_price = Timed(listed | scale, self.book.tiers_of(listed), spot)
            check_own_terms(list_price, Timed(listed | lowered.columns | scale, lowered.tiers, spot), self.problems)
        key: Row = {"price_id": entry.price, "price_version": row["price_version"]}
        own: Row = {"valid_from": start, "valid_to": row["valid_to"]}
        self.prices.append(listed | key | lowered.columns | own)
        self.tiers += [key | tier for tier in lowered.tiers]


def _own_terms(entry: OverrideEntry, place: Place) -> tuple[TermsEntry, Place]:
    """The terms and where they stand; `unit_price` and `fee` alone are short for the model that takes just them."""
    if entry.terms is not None:
        return entry.terms, place.at("terms")
    model = "per_unit" if entry.unit_price is not None else "flat"
    return TermsEntry.model_construct(model=model, unit_price=entry.unit_price, fee=entry.fee), place


def _plans_by(holdings: pl.DataFrame, key: str) -> dict[str, set[str]]:
    grouped = holdings.group_by(key).agg(pl.col("plan_id").unique()).rows()
    return {name: set(plans) for name, plans in grouped}


def _instant(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value
