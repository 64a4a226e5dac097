"""Commitments, caps and pools: whether they fit the prices and customers they speak of, and the rows that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from catalog.entries import check_entry
from catalog.fields import decimals_of, to_instant
from catalog.limit_entries import LIMIT_ENTRIES, CapEntry, CommitmentEntry, PoolEntry
from catalog.problems import Place, Problems, did_you_mean

Row = dict[str, object]
PLAN_PRIORITY, CUSTOMER_PRIORITY = 100, 200
"""Priority of a pool that names none: what comes with the plan is used before what was negotiated beside it."""
MOST_OVERAGE = Decimal(100)
Entries = CommitmentEntry | CapEntry | PoolEntry


class PriceFacts(NamedTuple):
    """What limits need to know of a price."""

    plan_id: str
    is_fee: bool
    by_total: bool  # what it costs is a function of the units of a usage period, and of nothing else
    unit: str | None
    scale: int


class Party(NamedTuple):
    """Whose limit it is."""

    key: str  # plan_id, account_id or subscription_id
    name: str
    account: str | None  # null for a plan
    currency: str
    zone: str
    billing_day: int | None
    tax_classes: frozenset[str]
    plans: frozenset[str] | None = None  # those that it holds at some time; null for a plan


FindParty = Callable[[Entries, Place], Party | None]
"""Whose an entry is; a mistake is noted, and then it is nobody's."""


def price_facts(prices: Iterable[Mapping[str, object]], meters: Iterable[Mapping[str, object]]) -> dict[str, PriceFacts]:
    """Facts of each price, of all its versions together: by the total if all are.

    Args:
        prices, meters: Rows of PRICES and METERS.
    """
    counted = {row["meter_id"]: row for row in meters}
    facts: dict[str, PriceFacts] = {}
    for row in prices:
        if row["plan_id"] is None:
            continue  # what a carrier is paid is no matter of the customer's limits
        name, meter = str(row["price_id"]), counted.get(row["meter_id"])
        before = facts.get(name)
        by_total = row["per"] != "event" and row["meters"] is None and row["within"] is None and row["counted_over"] != "group"
        facts[name] = PriceFacts(
            plan_id=str(row["plan_id"]),
            is_fee=row["charge"] == "recurring",
            by_total=by_total and (before is None or before.by_total),
            unit=None if meter is None else str(meter["unit"]),
            scale=0 if meter is None else int(str(meter["quantity_scale"] or 0)),
        )
    return facts


@dataclass
class LimitReader:
    """Reads the entries of one source, the book or the roster, beside the limits that are known already."""

    problems: Problems
    prices: dict[str, PriceFacts]
    plans: Mapping[str, list[str]]  # plan -> its prices in the order of the book
    taken: set[str]  # ids of all prices, carriers' too
    known: list[Row] = field(default_factory=list)  # LIMITS of the book, while the roster is read
    rows: list[Row] = field(default_factory=list)
    ids: dict[str, Place | None] = field(default_factory=dict)  # None: of the book, while the roster is read
    of_account: dict[str | None, list[tuple[Row, Place]]] = field(default_factory=dict)

    def read(self, section: str, data: object, place: Place, find_party: FindParty) -> None:
        kind, model = LIMIT_ENTRIES[section]
        entry = check_entry(model, data, place, self.problems)
        if entry is None:
            return
        count = len(self.problems.found)
        self.check_id(entry.id, place)
        party = find_party(entry, place)
        covers = self.find_covers(entry, place)
        self.check_numbers(entry, place)
        if party is None or len(self.problems.found) > count:
            return
        self.check_holds(entry, party, place)
        start = to_instant(entry.valid_from, party.zone)
        end = None if entry.valid_to is None else to_instant(entry.valid_to, party.zone)
        if end is not None and end <= start:
            self.problems.add(place.at("valid_to"), f"{entry.valid_to} is not after valid_from {entry.valid_from}")
        row: Row = {
            "limit_id": entry.id,
            "kind": kind,
            party.key: party.name,
            "covers": covers or None,
            "fees": entry.fees,
            "amount": entry.amount,
            "prorated": entry.prorate is not False,
            "per_licence": False,
            "true_up": False,
            "over": "period",
            "priority": 0,
            "roll_over_periods": 0,
            "currency": party.currency,
            "name_en": entry.name.en,
            "name_zh": entry.name.zh or entry.name.en,
            "valid_from": start,
            "valid_to": end,
        }
        row |= self.lower_pool(entry, party, place) if isinstance(entry, PoolEntry) else self.lower_money(entry, party, place)
        if isinstance(entry, PoolEntry):
            self.check_pools(row, party, place)
        else:
            self.check_cap(row, party, place)
        self.rows.append(row)
        self.of_account.setdefault(party.account, []).append((row, place))

    def check_id(self, name: str, place: Place) -> None:
        """A limit is posted under its id as a price is, so it shares no name with one."""
        self.ids = self.ids or {str(row["limit_id"]): None for row in self.known}
        if name in self.taken:
            self.problems.add(place.at("id"), f"there is a price '{name}'; limits and prices have different ids")
        if name in self.ids:
            where = self.ids[name] or "the price book"
            self.problems.add(place.at("id"), f"there is another limit '{name}' in {where}; ids are unique")
        self.ids.setdefault(name, place)

    def check_holds(self, entry: Entries, party: Party, place: Place) -> None:
        """What a customer's limit covers is of plans that the customer holds."""
        for index, name in enumerate(entry.covers if party.plans is not None else ()):
            plan = self.prices[name].plan_id if name in self.prices else name
            if plan not in (party.plans or ()):
                text = f"'{name}' is of plan '{plan}', which {party.key.removesuffix('_id')} '{party.name}' does not hold"
                self.problems.add(place.at("covers", index), text)

    def find_covers(self, entry: Entries, place: Place) -> list[str]:
        """The prices it names, those of plans written out, in order and once each."""
        found: list[str] = []
        for index, name in enumerate(entry.covers):
            spot = place.at("covers", index)
            if name in self.prices:
                if self.prices[name].is_fee and not entry.fees:
                    self.problems.add(spot, f"'{name}' is a recurring fee; say 'fees: true' or remove it")
                found.append(name)
            elif name in self.plans:
                found += [price for price in self.plans[name] if price in self.prices]
            else:
                known = [*self.prices, *self.plans]
                self.problems.add(spot, f"there is no price or plan '{name}'{did_you_mean(name, known)}")
        kept = [name for name in dict.fromkeys(found) if entry.fees or not self.prices[name].is_fee]
        if found and not kept and not any(name in self.prices for name in entry.covers):
            self.problems.add(place.at("covers"), "covers only recurring fees; say 'fees: true' or name prices of usage")
        return kept

    def check_numbers(self, entry: Entries, place: Place) -> None:
        if entry.amount == 0:
            self.problems.add(place.at("amount"), "is 0; write how much it is, or leave the entry out")
        if isinstance(entry, PoolEntry):
            return
        if entry.over == "term" and entry.valid_to is None:
            self.problems.add(place.at("valid_to"), "is missing; an amount over a term needs the day on which the term ends")
        if entry.over == "term" and entry.prorate is not None:
            self.problems.add(place.at("prorate"), "does not belong to an amount over a term, which is due whole", key=True)
        if entry.over == "period" and entry.spent is not None:
            self.problems.add(place.at("spent"), "is of a term; say 'over: term' or remove it", key=True)
        if isinstance(entry, CommitmentEntry):
            factor = entry.overage_factor
            if not entry.true_up and factor is None:
                self.problems.add(place, "does nothing; with 'true_up: false' it needs an 'overage_factor'")
            if factor is not None and (factor > MOST_OVERAGE or decimals_of(factor) > 6 or factor == 1):
                text = f"{factor} should be a factor other than 1, at most {MOST_OVERAGE}, with at most 6 decimals"
                self.problems.add(place.at("overage_factor"), text)

    def lower_money(self, entry: CommitmentEntry | CapEntry, party: Party, place: Place) -> Row:
        if entry.tax_class not in party.tax_classes:
            hint = did_you_mean(entry.tax_class, sorted(party.tax_classes))
            self.problems.add(place.at("tax_class"), f"tax class '{entry.tax_class}' has no rate under 'taxes:'{hint}")
        if entry.over == "term":
            self.check_term(entry, party, place)
        row: Row = {"over": entry.over, "spent": entry.spent, "tax_class": entry.tax_class}
        if isinstance(entry, CommitmentEntry):
            row |= {"true_up": entry.true_up, "overage_factor": entry.overage_factor}
        return row

    def check_term(self, entry: CommitmentEntry | CapEntry, party: Party, place: Place) -> None:
        """A term is made of whole usage periods, because that is what is added up."""
        if party.billing_day is None:
            self.problems.add(place.at("over"), "a plan has no term; write a commitment over a term in the roster")
            return
        for name, moment in (("valid_from", entry.valid_from), ("valid_to", entry.valid_to)):
            if moment is None:
                continue
            local = to_instant(moment, party.zone).astimezone(ZoneInfo(party.zone))
            if local.day != party.billing_day or (local.hour, local.minute, local.second) != (0, 0, 0):
                text = (
                    f"{moment} is not the start of a usage period; a term begins and ends on day {party.billing_day} of a month"
                )
                self.problems.add(place.at(name), text)

    def lower_pool(self, entry: PoolEntry, party: Party, place: Place) -> Row:
        if (entry.amount is None) == (entry.units is None):
            self.problems.add(place, "needs either 'units' or 'amount' (money)")
        if entry.units == 0:
            self.problems.add(place.at("units"), "is 0; write how much is in the pool")
        if entry.per is not None and party.key != "plan_id":
            self.problems.add(place.at("per"), "only a pool of a plan knows how many licences there are; remove it", key=True)
        if entry.units is not None:
            self.check_units(entry, place)
        roll = entry.roll_over
        default = PLAN_PRIORITY if party.key == "plan_id" else CUSTOMER_PRIORITY
        return {
            "units": entry.units,
            "per_licence": entry.per == "licence",
            "priority": default if entry.priority is None else entry.priority,
            "roll_over_periods": 0 if roll is None else roll.periods,
            "roll_over_up_to": None if roll is None else roll.up_to,
        }

    def check_units(self, entry: PoolEntry, place: Place) -> None:
        """All prices count the same unit, to the same decimal, and cost by the period's total."""
        if entry.fees:
            self.problems.add(place.at("fees"), "does not belong to a pool of units, which covers usage", key=True)
        covers = [(name, self.prices[name]) for name in self.find_covers(entry, place)]
        if not covers:
            self.problems.add(place.at("covers"), "is missing; name the prices whose units are in the pool")
            return
        for name, price in covers:
            if not price.by_total:
                text = f"'{name}' is not priced by the total of a unit, so units cannot be taken off it; use a pool of money"
                self.problems.add(place.at("covers"), text)
        counted = sorted({(price.unit or "", price.scale) for _, price in covers})
        if len(counted) > 1:
            told = ", ".join(f"{unit} with {scale} decimals" for unit, scale in counted)
            self.problems.add(place.at("covers"), f"is in {told}; the meters of a pool count one unit with the same scale")
        scale = max(scale for _, scale in counted)
        for spot, units in (("units", entry.units), ("roll_over", entry.roll_over.up_to if entry.roll_over else None)):
            if units is not None and decimals_of(units) > scale:
                self.problems.add(place.at(spot), f"{units} has {decimals_of(units)} decimals; the meter counts {scale}")

    def check_pools(self, row: Row, party: Party, place: Place) -> None:
        """No two pools of one customer stand at the same place for the same price: which is used first must be said."""
        others = [(other, "the price book") for other in self.known]
        others += [(other, str(spot)) for other, spot in self.of_account.get(party.account, [])]
        for other, where in others:
            if other["kind"] != "pool":
                continue
            kinds = (other["units"] is None) == (row["units"] is None)
            if not kinds or other["priority"] != row["priority"] or not _meet_in_time(other, row):
                continue
            mine, theirs = set(_names(row["covers"])), set(_names(other["covers"]))
            both = sorted(mine & theirs) if mine and theirs else sorted(mine | theirs) or ["everything"]
            if both:
                text = f"{row['priority']} is that of pool '{other['limit_id']}' too ({where}), and both cover {both[0]}; "
                self.problems.add(place.at("priority"), text + "the lower number is used first, so give one another")

    def check_cap(self, row: Row, party: Party, place: Place) -> None:
        """A customer who may not pay more than a cap cannot be committed to more."""
        for other, spot in self.of_account.get(party.account, []):
            same = other.get(party.key) == party.name and other["over"] == row["over"] and _meet_in_time(other, row)
            pair = {str(other["kind"]): other, str(row["kind"]): row}
            if not same or pair.keys() != {"cap", "commitment"} or pair["cap"]["covers"] is not None:
                continue
            if Decimal(str(pair["cap"]["amount"])) < Decimal(str(pair["commitment"]["amount"])):
                cap, commitment = (pair[kind]["limit_id"] for kind in ("cap", "commitment"))
                text = f"the cap '{cap}' is less than the commitment '{commitment}' ({spot}), which could never be charged"
                self.problems.add(place.at("amount"), text)


def _names(covers: object) -> list[str]:
    return covers if isinstance(covers, list) else []


def _meet_in_time(one: Row, other: Row) -> bool:
    far = datetime.max.replace(tzinfo=ZoneInfo("UTC"))
    return bool((one["valid_to"] or far) > other["valid_from"] and (other["valid_to"] or far) > one["valid_from"])  # type: ignore[operator]
