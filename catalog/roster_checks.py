"""What must hold between the entries of a roster, and between roster and book.

Large tables are checked as whole frames: a check is a query for the rows that are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import polars as pl
from stdnum import get_cc_module
from stdnum.cn import uscc
from stdnum.exceptions import ValidationError as BadNumber

from catalog.problems import Place, Problems, did_you_mean
from catalog.roster_entries import AccountEntry, PartnerEntry
from schemas.book import Book

FOREVER = pl.datetime(9999, 1, 1, time_zone="UTC")


def check_accounts(
    accounts: Sequence[tuple[AccountEntry, Place]],
    partners: Sequence[tuple[PartnerEntry, Place]],
    known_partners: set[str],
    problems: Problems,
) -> None:
    """Ids are unique, partners exist, tax ids have the right form and check digit where the country has one."""
    _check_unique("account", [(account.id, place) for account, place in accounts], problems)
    _check_unique("partner", [(partner.id, place) for partner, place in partners], problems)
    for account, place in accounts:
        for name in ("low_balance", "overdraft") if account.charging == "postpaid" else ():
            if getattr(account, name) is not None:
                problems.add(place.at(name), "belongs to a prepaid account; write 'charging: prepaid' or remove it")
        if account.partner is not None and account.partner not in known_partners:
            hint = did_you_mean(account.partner, sorted(known_partners))
            problems.add(place.at("partner"), f"there is no partner '{account.partner}'{hint}")
        if account.tax_id is not None:
            number = _tax_number(account.country)
            try:
                if number is not None:
                    number.validate(account.tax_id)
            except BadNumber as error:
                text = f"'{account.tax_id}' is no tax id of {account.country}: {str(error).rstrip('.').lower()}"
                problems.add(place.at("tax_id"), text)


def check_agreements(book: Book, known_partners: set[str], folder: Path, problems: Problems) -> None:
    """Partners of the book's agreements stand in the roster."""
    missing = book.agreements.filter(~pl.col("partner_id").is_in(sorted(known_partners)))
    for agreement, partner in missing.select("agreement_id", "partner_id").unique().rows():
        text = f"agreement '{agreement}' of the price book is with partner '{partner}'; add that partner under 'partners:'"
        problems.add_at(folder, (1, 1), text)


def check_holdings(
    holdings: pl.DataFrame,
    places: Sequence[Place],
    accounts: pl.DataFrame,
    *,
    known_accounts: set[str],
    book: Book,
    problems: Problems,
) -> None:
    """Accounts and plans exist, currencies agree, terms are in order and add-ons lie inside a version plan's term."""
    plans = book.plans.select("plan_id", "kind").join(
        book.prices.group_by("plan_id").agg(plan_currency=pl.col("currency").first()), on="plan_id", how="left"
    )
    joined = holdings.join(plans, on="plan_id", how="left").join(
        accounts.select("account_id", "currency"), on="account_id", how="left"
    )
    plan_ids = book.plans["plan_id"].to_list()
    for row, plan in joined.filter(pl.col("kind").is_null()).select("row", "plan_id").rows():
        problems.add(places[row], f"there is no plan '{plan}'{did_you_mean(plan, plan_ids)}")
    nobody = joined.filter(~pl.col("account_id").is_in(sorted(known_accounts)))
    for row, account in nobody.select("row", "account_id").rows():
        hint = did_you_mean(account, sorted(known_accounts)) if len(known_accounts) < 1000 else ""
        problems.add(places[row].entry().at("account"), f"there is no account '{account}'{hint}")
    mixed = joined.filter(pl.col("currency") != pl.col("plan_currency"))
    for row, plan, theirs, ours in mixed.select("row", "plan_id", "plan_currency", "currency").rows():
        problems.add(places[row], f"plan '{plan}' is in {theirs}, but the account is billed in {ours}")
    turned = joined.filter(pl.col("active_to") <= pl.col("active_from"))
    for row in turned.unique(["subscription_id", "active_from", "active_to"], keep="first", maintain_order=True)["row"]:
        problems.add(places[row], "its term ends before it starts; 'to' is the first day without it")
    _check_terms_of_plans(joined, places, problems)
    _check_bound_addons(joined, places, problems)


def check_tax_rates(
    holdings: pl.DataFrame, accounts: pl.DataFrame, places: Sequence[Place], book: Book, problems: Problems
) -> None:
    """The country of every account has a rate for each tax class of its plans."""
    used = (
        holdings.select("account_id", "plan_id")
        .unique()
        .join(book.prices.select("plan_id", "tax_class").unique(), on="plan_id")
        .join(accounts.select("account_id", "country", account_row="row"), on="account_id")
    )
    for row, country, tax_class in (
        used.join(book.taxes, on=["country", "tax_class"], how="anti").select("account_row", "country", "tax_class").rows()
    ):
        text = f"the price book has no tax rate for {country} and class '{tax_class}'; add one under 'taxes:'"
        problems.add(places[row].at("country"), text)


def check_identifiers(
    handles: pl.DataFrame, places: Sequence[Place], known_subscriptions: set[str], problems: Problems
) -> None:
    """Subscriptions exist, and at one time an identifier belongs to one subscription."""
    lost = handles.filter(pl.col("valid_from").is_null() & ~pl.col("subscription_id").is_in(sorted(known_subscriptions)))
    for row, subscription in lost.select("row", "subscription_id").rows():
        problems.add(places[row].entry().at("subscription"), f"there is no subscription '{subscription}'")
    placed = handles.filter(pl.col("valid_from").is_not_null())
    for row in placed.filter(pl.col("valid_to") <= pl.col("valid_from"))["row"]:
        problems.add(places[row], "its time ends before it starts")
    clashes = overlaps(placed, ["identifier"], "valid_from", "valid_to")
    for row, before, identifier in clashes.select("row", "row_before", "identifier").rows():
        owner = handles["subscription_id"][before]
        text = f"identifier '{identifier}' belongs to subscription '{owner}' at the same time ({places[before]}); end one first"
        problems.add(places[row], text)


def overlaps(frame: pl.DataFrame, keys: Sequence[str], start: str, end: str) -> pl.DataFrame:
    """Rows that start before an earlier row of the same keys has ended, with that row's number as `row_before`.

    Every row but the first of a group is held against the one before; spans are half-open, a null end is open.
    """
    ordered = frame.filter(pl.struct(keys).is_duplicated()).sort([*keys, start, "row"])
    return ordered.with_columns(
        end_before=pl.coalesce(pl.col(end), FOREVER).cum_max().shift(1).over(keys),
        row_before=pl.col("row").shift(1).over(keys),
    ).filter(pl.col(start) < pl.col("end_before"))


def _check_terms_of_plans(joined: pl.DataFrame, places: Sequence[Place], problems: Problems) -> None:
    owners = joined.group_by("subscription_id").agg(pl.col("account_id").n_unique().alias("owners"))
    shared = joined.join(owners.filter(pl.col("owners") > 1), on="subscription_id").unique("subscription_id", keep="last")
    for row, subscription in shared.select("row", "subscription_id").rows():
        problems.add(places[row].entry().at("account"), f"subscription '{subscription}' has two accounts; it belongs to one")
    twice = overlaps(joined, ["subscription_id", "plan_id"], "active_from", "active_to")
    for row, before, plan in twice.select("row", "row_before", "plan_id").rows():
        text = f"the subscription holds plan '{plan}' already at that time ({places[before]}); raise its licences or end one"
        problems.add(places[row], text)
    versions = overlaps(joined.filter(pl.col("kind") == "version"), ["subscription_id"], "active_from", "active_to")
    others = versions.join(twice.select("row"), on="row", how="anti")
    for row, before in others.select("row", "row_before").rows():
        text = f"the subscription holds another version plan at that time ({places[before]}); end one before the other starts"
        problems.add(places[row], text)


def _check_bound_addons(joined: pl.DataFrame, places: Sequence[Place], problems: Problems) -> None:
    """A bound add-on's term lies inside the term of version plans that follow each other without a gap."""
    end = pl.coalesce("active_to", FOREVER)
    stretches = (
        joined.filter(pl.col("kind") == "version")
        .sort("subscription_id", "active_from", "row")
        .with_columns(begins=(pl.col("active_from") > end.cum_max().shift(1)).fill_null(True).over("subscription_id"))
        .with_columns(stretch=pl.col("begins").cum_sum().over("subscription_id"))
        .group_by("subscription_id", "stretch")
        .agg(version_from=pl.col("active_from").min(), version_to=end.max())
    )
    unknown = joined.filter(pl.col("kind").is_null())
    bound = joined.filter(pl.col("kind") == "addon_bound").join(unknown, on="subscription_id", how="anti")
    covered = bound.join(stretches, on="subscription_id").filter(
        (pl.col("version_from") <= pl.col("active_from")) & (end <= pl.col("version_to"))
    )
    for row, plan in bound.join(covered.select("row"), on="row", how="anti").select("row", "plan_id").rows():
        text = f"add-on '{plan}' is bound to a version plan, but its term is not inside one of this subscription; shorten it"
        problems.add(places[row], text)


def _check_unique(what: str, names: Iterable[tuple[str, Place]], problems: Problems) -> None:
    seen: dict[str, Place] = {}
    for name, place in names:
        if name in seen:
            problems.add(place.at("id"), f"there is another {what} '{name}' in {seen[name]}; ids are unique")
        seen.setdefault(name, place)


@cache
def _tax_number(country: str) -> ModuleType | None:
    """The module that checks a country's tax ids of companies, if there is one."""
    module = uscc if country == "CN" else get_cc_module(country.lower(), "vat")
    return module if isinstance(module, ModuleType) else None
