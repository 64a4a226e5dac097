"""Reads the roster - accounts, subscriptions, service identifiers, negotiated prices, partners - from YAML and CSV files.

Both kinds of file hold the same entries, are checked the same way and may stand beside each other.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from catalog.csv_source import read_csv
from catalog.customer_limits import read_customer_limits
from catalog.fields import to_instant
from catalog.frozen import seal_roster
from catalog.hierarchy import check_hierarchies, check_subscription_names
from catalog.negotiated import Customers, read_overrides
from catalog.problems import Place, Problems
from catalog.roster_checks import check_accounts, check_agreements, check_holdings, check_identifiers, check_tax_rates
from catalog.roster_entries import (
    AccountEntry,
    HandleEntry,
    IdentifierEntry,
    OverrideEntry,
    PartnerEntry,
    SubscriptionEntry,
    check_entries,
)
from catalog.sections import LIMIT_SECTIONS, read_sections, yaml_files
from schemas.book import Book
from schemas.frames import FrameSchema
from schemas.roster import ACCOUNTS, IDENTIFIERS, PARTNERS, SUBSCRIPTIONS, Roster

CSV_COLUMNS = {
    "accounts": [info.alias or name for name, info in AccountEntry.model_fields.items()],
    "subscriptions": [info.alias or name for name, info in SubscriptionEntry.model_fields.items()],
    "identifiers": [info.alias or name for name, info in IdentifierEntry.model_fields.items()],
    "overrides": [name for name in OverrideEntry.model_fields if name != "terms"],
    "partners": list(PartnerEntry.model_fields),
}
"""Files `<section>.csv` and the columns each may have; columns may come in any order and optional ones may be absent."""

Items = list[tuple[object, Place]]


def read_roster(folder: Path, book: Book) -> Roster:
    """The roster in all YAML and CSV files of the folder, checked against the book; version 0 until it is published.

    Raises:
        BadCatalog: With every mistake as `file:line:column: path: what is wrong and what to do`.
    """
    with _no_collection():
        return _read_roster(folder, book)


def _read_roster(folder: Path, book: Book) -> Roster:
    problems = Problems()
    items = _gather(folder, problems)
    accounts = check_entries(AccountEntry, items["accounts"], problems)
    partners = check_entries(PartnerEntry, items["partners"], problems)
    subscriptions = check_entries(SubscriptionEntry, items["subscriptions"], problems)
    identifiers = check_entries(IdentifierEntry, items["identifiers"], problems)
    overrides = check_entries(OverrideEntry, items["overrides"], problems)

    known = {"account": _ids(items["accounts"]), "partner": _ids(items["partners"])}
    check_accounts(accounts, partners, known["partner"], problems)
    check_hierarchies(accounts, known["account"], problems)
    check_agreements(book, known["partner"], folder, problems)
    check_subscription_names(subscriptions, problems)
    zones = {account.id: account.zone for account, _ in accounts}
    account_frame = _account_frame(accounts).unique("account_id", keep="first", maintain_order=True)
    holdings = _holdings(subscriptions, zones)
    check_holdings(
        holdings.frame, holdings.places, account_frame, known_accounts=known["account"], book=book, problems=problems
    )
    check_tax_rates(holdings.frame, account_frame, [place for _, place in accounts], book, problems)
    handles = _handles(subscriptions, identifiers, holdings.frame, zones)
    check_identifiers(handles.frame, handles.places, _ids(items["subscriptions"]), problems)
    unsure = _unsure_accounts(items["subscriptions"], subscriptions, holdings.frame, book)
    customers = Customers(known["account"], _ids(items["subscriptions"]), unsure, zones)
    negotiated = read_overrides(overrides, holdings.frame, customers, book, problems)
    if not problems.found:
        limits = read_customer_limits(items, account_frame, holdings.frame, book, problems)
    problems.raise_if_any()
    return seal_roster(
        {
            "accounts": account_frame,
            "subscriptions": holdings.frame,
            "identifiers": handles.frame,
            "partners": PARTNERS.build([{"partner_id": p.id} | p.model_dump(exclude={"id"}) for p, _ in partners]),
            "limits": limits,
            **negotiated,
        }
    )


@dataclass(frozen=True)
class Placed:
    """Rows, numbered in `row`, and for each the place its first column comes from."""

    frame: pl.DataFrame
    places: list[Place]


def _gather(folder: Path, problems: Problems) -> dict[str, Items]:
    sections = read_sections(folder, [*CSV_COLUMNS, *LIMIT_SECTIONS], (), problems)
    found = bool(yaml_files(folder))
    for path in sorted(folder.glob("*.csv")):
        found = True
        if path.stem not in CSV_COLUMNS:
            names = ", ".join(f"{name}.csv" for name in CSV_COLUMNS)
            problems.add_at(path, (1, 1), f"is no known roster file; known are {names}")
            continue
        source = read_csv(path, CSV_COLUMNS[path.stem], problems)
        if source is not None:
            sections.entries[path.stem] += [(row, Place(source, (index,))) for index, row in enumerate(source.rows)]
    if not found:
        problems.add_at(folder, (1, 1), "no *.yaml or *.csv file here; write the roster there or copy a template")
    return sections.entries


def _ids(items: Items) -> set[str]:
    """Ids of all entries, also of those with mistakes, so that one mistake does not bring others with it."""
    return {str(data["id"]) for data, _ in items if isinstance(data, dict) and "id" in data}


def _unsure_accounts(
    items: Items, right: Sequence[tuple[SubscriptionEntry, Place]], holdings: pl.DataFrame, book: Book
) -> set[str]:
    """Accounts with a mistake in a subscription: which plans they hold is not known."""
    kept = {(place.source.path, place.steps) for _, place in right} if len(right) < len(items) else None
    wrong = {
        str(data.get("account"))
        for data, place in items
        if kept is not None and isinstance(data, dict) and (place.source.path, place.steps) not in kept
    }
    return wrong | set(holdings.join(book.plans, on="plan_id", how="anti")["account_id"])


def _account_frame(accounts: Sequence[tuple[AccountEntry, Place]]) -> pl.DataFrame:
    names = {"account_id": "id", "partner_id": "partner", "parent_id": "parent"}
    return pl.DataFrame(
        {column: [getattr(account, names.get(column, column)) for account, _ in accounts] for column in ACCOUNTS.names()},
        schema=dict(ACCOUNTS.columns),
    ).with_row_index("row")


def _holdings(subscriptions: Sequence[tuple[SubscriptionEntry, Place]], zones: dict[str, str]) -> Placed:
    """SUBSCRIPTIONS with `row`: one row per subscription and plan it holds. A place is that of the plan's name."""
    rows: list[tuple[str, str, str, int, datetime, datetime | None]] = []
    places: list[Place] = []
    for entry, place in subscriptions:
        zone = zones.get(entry.account, "UTC")
        start, end = to_instant(entry.from_, zone), _end(entry.to, zone)
        rows.append((entry.id, entry.account, entry.plan, entry.licences, start, end))
        places.append(place.at("plan"))
        for index, addon in enumerate(entry.addons):
            addon_start = to_instant(addon.from_, zone) if addon.from_ else start
            addon_end = _end(addon.to, zone) if addon.to else end
            rows.append((entry.id, entry.account, addon.plan, addon.licences, addon_start, addon_end))
            places.append(place.at("addons", index))
    return Placed(_frame_of(rows, SUBSCRIPTIONS), places)


def _handles(
    subscriptions: Sequence[tuple[SubscriptionEntry, Place]],
    identifiers: Sequence[tuple[IdentifierEntry, Place]],
    holdings: pl.DataFrame,
    zones: dict[str, str],
) -> Placed:
    """IDENTIFIERS with `row`: what was listed, and every subscription id as an identifier of its own from its start on.

    An identifier without own dates lives as long as the subscription, over all plans it holds.
    """
    lives = {
        name: (start, None if still_open else end)
        for name, start, end, still_open in holdings.group_by("subscription_id")
        .agg(pl.col("active_from").min(), pl.col("active_to").max(), still_open=pl.col("active_to").is_null().any())
        .rows()
    }
    rows: dict[tuple[str, str, datetime | None, datetime | None], Place] = {}

    def take(handle: HandleEntry, owner: str, zone: str, place: Place) -> None:
        start, end = lives[owner]
        start = to_instant(handle.from_, zone) if handle.from_ else start
        rows.setdefault((handle.id, owner, start, to_instant(handle.to, zone) if handle.to else end), place)

    owners: dict[str, str] = {}
    for entry, place in subscriptions:
        if entry.id not in owners:
            owners[entry.id] = zones.get(entry.account, "UTC")
            rows.setdefault((entry.id, entry.id, lives[entry.id][0], None), place.at("id"))
        for index, handle in enumerate(entry.identifiers):
            take(handle, entry.id, owners[entry.id], place.at("identifiers", index))
    for identifier, place in identifiers:
        if identifier.subscription in owners:
            take(identifier, identifier.subscription, owners[identifier.subscription], place.at("id"))
        else:
            rows.setdefault((identifier.id, identifier.subscription, None, None), place.at("id"))
    return Placed(_frame_of(list(rows), IDENTIFIERS), list(rows.values()))


def _frame_of(rows: Sequence[tuple[object, ...]], schema: FrameSchema) -> pl.DataFrame:
    """The rows as a frame with `row`; by columns, which is several times as fast as by rows."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema.columns)
    data = dict(zip(schema.names(), columns, strict=True))
    return pl.DataFrame(data, schema=dict(schema.columns)).with_row_index("row")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pauses the cycle collector: reading makes many objects that all stay, and it would visit them again and again."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _end(moment: date | datetime | None, zone: str) -> datetime | None:
    return None if moment is None else to_instant(moment, zone)
