"""Commitments, caps and pools that were agreed with one customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from catalog.limit_entries import LimitEntry
from catalog.limits import LimitReader, Party, price_facts
from catalog.problems import Place, Problems, did_you_mean
from catalog.sections import LIMIT_SECTIONS
from schemas.book import Book
from schemas.limits import LIMITS


def read_customer_limits(
    items: Mapping[str, Sequence[tuple[object, Place]]],
    accounts: pl.DataFrame,
    holdings: pl.DataFrame,
    book: Book,
    problems: Problems,
) -> pl.DataFrame:
    """LIMITS of the roster, with the mistakes noted.

    Args:
        items: Entries by section.
        accounts: ACCOUNTS.
        holdings: SUBSCRIPTIONS.
    """
    plans: dict[str, list[str]] = {plan: [] for plan in book.plans["plan_id"]}
    sold = book.prices.filter(pl.col("plan_id").is_not_null())
    for plan, price in sold.select("plan_id", "price_id").unique(maintain_order=True).rows():
        plans[plan].append(price)
    facts = price_facts(book.prices.iter_rows(named=True), book.meters.iter_rows(named=True))
    reader = LimitReader(problems, facts, plans, set(book.prices["price_id"]), known=book.limits.rows(named=True))
    parties = _Parties(problems, accounts, holdings, book)
    for section in LIMIT_SECTIONS:
        for data, place in items[section]:
            reader.read(section, data, place, parties.find)
    return LIMITS.build(reader.rows)


class _Parties:
    """Accounts and subscriptions by name."""

    def __init__(self, problems: Problems, accounts: pl.DataFrame, holdings: pl.DataFrame, book: Book) -> None:
        self.problems = problems
        self.accounts = {row["account_id"]: row for row in accounts.iter_rows(named=True)}
        self.owners: dict[str, str] = dict(holdings.select("subscription_id", "account_id").rows())
        self.plans = {
            (key, name): set(held)
            for key in ("account_id", "subscription_id")
            for name, held in holdings.group_by(key).agg(pl.col("plan_id").unique()).rows()
        }
        self.classes: dict[str, set[str]] = {}
        for country, tax_class in book.taxes.select("country", "tax_class").rows():
            self.classes.setdefault(country, set()).add(tax_class)

    def find(self, entry: LimitEntry, place: Place) -> Party | None:
        if entry.plan is not None:
            self.problems.add(place.at("plan"), "stands in the price book; a limit of the roster is for a customer", key=True)
        if (entry.account is None) == (entry.subscription is None):
            self.problems.add(place, "needs either 'account' or 'subscription'")
            return None
        what, name = ("account", entry.account) if entry.account is not None else ("subscription", entry.subscription)
        known = self.accounts if what == "account" else self.owners
        if name not in known:
            hint = did_you_mean(str(name), list(known)) if len(known) < 1000 else ""
            self.problems.add(place.at(what), f"there is no {what} '{name}'{hint}")
            return None
        account = self.accounts[name if what == "account" else self.owners[str(name)]]
        return Party(
            f"{what}_id",
            str(name),
            account["account_id"],
            account["currency"],
            account["zone"],
            account["billing_day"],
            frozenset(self.classes.get(account["country"], ())),
            frozenset(self.plans.get((f"{what}_id", str(name)), ())),
        )
