"""Reads the price book a pricing owner writes (`catalog/*.yaml`) and says everything that is wrong with it in one go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from catalog.agreements import AgreementReader, CoveredPrice
from catalog.book_checks import check_cost, check_filters, check_meter, check_spans, check_tax_classes
from catalog.calendar_entries import CalendarEntry
from catalog.calendars import check_calendar
from catalog.capacity import check_measured, shared_dimensions
from catalog.during import Timed, check_split, check_windows, lower_during
from catalog.entries import (
    AgreementEntry,
    BookEntry,
    CarrierEntry,
    CarrierPriceEntry,
    Entry,
    MeterEntry,
    NameEntry,
    PlanEntry,
    PriceEntry,
    TaxEntry,
    VersionEntry,
    check_entry,
)
from catalog.fields import version_name
from catalog.frozen import seal_book
from catalog.limit_entries import LimitEntry
from catalog.limits import LimitReader, Party, price_facts
from catalog.models import Metered
from catalog.problems import Place, Problems, did_you_mean
from catalog.sections import BOOK_SECTIONS, BOOK_SETTINGS, LIMIT_SECTIONS, Sections, list_of, read_sections, yaml_files
from catalog.terms import check_terms
from schemas.book import BOOK_FRAMES, Book

Row = dict[str, object]
Owner = PlanEntry | CarrierEntry
FeeItem = PriceEntry | CarrierPriceEntry
EntryT = TypeVar("EntryT", bound=Entry)


def read_book(folder: Path) -> Book:
    """The book in all YAML files of the folder; version 0 until it is published. Writes nothing.

    Raises:
        BadCatalog: With every mistake as `file:line:column: path: what is wrong and what to do`.
    """
    problems = Problems()
    if not yaml_files(folder):
        problems.add_at(folder, (1, 1), "no *.yaml file here; write the price book there or copy a template")
    sections = read_sections(folder, BOOK_SECTIONS, BOOK_SETTINGS, problems)
    rows = _BookReader(problems, sections).read()
    if not problems.found and not rows["plans"]:
        problems.add_at(folder, (1, 1), "no plan in any file; list at least one under 'plans:'")
    problems.raise_if_any()
    return seal_book({name: schema.build(rows[name]) for name, schema in BOOK_FRAMES.items()})


@dataclass
class _BookReader:
    """Walks the sections in the order in which they refer to each other and collects rows."""

    problems: Problems
    sections: Sections
    zone: str = "UTC"
    currency: str | None = None
    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in BOOK_FRAMES})
    meters: dict[str, MeterEntry | None] = field(default_factory=dict)
    calendars: dict[str, CalendarEntry | None] = field(default_factory=dict)
    timed: dict[str, list[Timed]] = field(default_factory=dict)  # of the plan that is being read, by meter
    plans: dict[str, list[str]] = field(default_factory=dict)
    prices: set[str] = field(default_factory=set)
    ids: dict[tuple[str, str], Place] = field(default_factory=dict)
    tax_classes: list[tuple[str, Place]] = field(default_factory=list)

    def read(self) -> dict[str, list[Row]]:
        self.read_settings()
        for data, place in self.sections.entries["meters"]:
            self.read_meter(data, place)
        for data, place in self.sections.entries["calendars"]:
            self.read_calendar(data, place)
        for data, place in self.sections.entries["plans"]:
            self.read_plan(data, place)
        for data, place in self.sections.entries["carriers"]:
            self.read_carrier(data, place)
        self.read_taxes()
        self.read_agreements()
        self.read_limits()
        return self.rows

    def read_settings(self) -> None:
        for name, (data, place) in self.sections.settings.items():
            setting = check_entry(BookEntry, {name: data}, Place(place.source), self.problems)
            if setting is not None:
                self.zone = setting.zone or self.zone
                self.currency = setting.currency or self.currency

    def read_meter(self, data: object, place: Place) -> None:
        meter = check_entry(MeterEntry, data, place, self.problems)
        self.note_id("meter", data, place)
        self.meters.setdefault(_id_of(data), meter)
        if meter is None:
            return
        check_meter(meter, place, self.problems)
        self.rows["meters"].append(
            {
                "meter_id": meter.id,
                "event_type": meter.event_type,
                "aggregation": meter.aggregation,
                "property": meter.property,
                "money": meter.money,
                "unit": meter.unit,
                "quantity_scale": meter.scale,
                "dimensions": meter.dimensions,
                "lasts": meter.lasts,
                "time_is": meter.time_is,
            }
        )

    def read_calendar(self, data: object, place: Place) -> None:
        calendar = check_entry(CalendarEntry, data, place, self.problems)
        self.note_id("calendar", data, place)
        self.calendars.setdefault(_id_of(data), calendar)
        if calendar is not None:
            rows = check_calendar(calendar, place, self.problems)
            self.rows["calendars"].append(rows.calendar)
            self.rows["calendar_windows"] += rows.windows
            self.rows["calendar_days"] += rows.days

    def read_plan(self, data: object, place: Place) -> None:
        plan = check_entry(PlanEntry, data, place, self.problems, nested="prices")
        self.note_id("plan", data, place)
        price_ids = self.plans.setdefault(_id_of(data), [])
        prices = list(list_of(_under(data, "prices"), place.at("prices"), self.problems))
        if not prices and isinstance(data, dict):
            self.problems.add(place, "has no price; list at least one under 'prices:'")
        currencies = {plan.currency} if plan is not None and plan.currency else set()
        self.timed = {}
        for item, spot in prices:
            price_ids.append(_id_of(item))
            self.prices.add(_id_of(item))
            self.read_price(PriceEntry, item, spot, plan, currencies)
        kind = "addon" if plan is None else plan.kind
        for timed in self.timed.values():
            check_windows(kind, timed, self.calendars, self.problems)
        if plan is not None:
            self.rows["plans"].append({"plan_id": plan.id, "kind": plan.kind, **_names(plan.name)})

    def read_carrier(self, data: object, place: Place) -> None:
        carrier = check_entry(CarrierEntry, data, place, self.problems, nested="prices")
        self.note_id("carrier", data, place)
        prices = list(list_of(_under(data, "prices"), place.at("prices"), self.problems))
        if not prices and isinstance(data, dict):
            self.problems.add(place, "has no price; list at least one under 'prices:'")
        currencies = {carrier.currency} if carrier is not None and carrier.currency else set()
        self.timed = {}
        for item, spot in prices:
            self.read_price(CarrierPriceEntry, item, spot, carrier, currencies)
        for timed in self.timed.values():
            check_windows("version", timed, self.calendars, self.problems)
        if carrier is not None:
            self.rows["carriers"].append({"carrier_id": carrier.id, **_names(carrier.name)})

    def read_price(self, kind: type[FeeItem], data: object, place: Place, owner: Owner | None, currencies: set[str]) -> None:
        price = check_entry(kind, data, place, self.problems, nested="versions")
        self.note_id("price", data, place)
        versions = list(list_of(_under(data, "versions"), place.at("versions"), self.problems))
        if not versions and isinstance(data, dict):
            self.problems.add(place, "has no version; list at least one with valid_from under 'versions:'")
        entries = [(check_entry(VersionEntry, item, spot, self.problems), spot) for item, spot in versions]
        if price is None:
            return
        if isinstance(price, PriceEntry):
            price = check_measured(price, self.meters, place, self.problems)
        known = [(version, spot) for version, spot in entries if version is not None]
        spans = check_spans([(v.valid_from, v.valid_to, spot) for v, spot in known], self.zone, self.problems)
        terms: Row = {"plan_id": None, "carrier_id": None, "currency": self.currency_of(price, owner, place, currencies)}
        if owner is not None:
            terms["plan_id" if isinstance(owner, PlanEntry) else "carrier_id"] = owner.id
        for (version, spot), (start, end) in zip(known, spans, strict=True):
            self.read_version(price, version, spot, terms | {"valid_from": start, "valid_to": end}, place)

    def read_version(self, price: FeeItem, version: VersionEntry, place: Place, terms: Row, price_place: Place) -> None:
        charge = "usage" if price.meter is not None else "recurring"
        currency = None if terms["currency"] is None else str(terms["currency"])
        meter = self.meters.get(price.meter) if price.meter is not None else None
        meters = price.meters if isinstance(price, PriceEntry) else None
        if price.meter is not None and price.meter not in self.meters and meters is None:
            hint = did_you_mean(price.meter, list(self.meters))
            self.problems.add(price_place.at("meter"), f"there is no meter '{price.meter}'{hint}")
        metered = (
            None
            if meter is None
            else Metered(
                meter.scale, meter.unit, meter.aggregation, meter.dimensions, currency, meter.money, tuple(meters or ())
            )
        )
        lowered = check_terms(version, charge, metered, place, self.problems)
        key: Row = {"price_id": price.id, "price_version": version_name(version.valid_from)}
        at_where = {name: (place if getattr(version, name) is not None else price_place) for name in ("where", "where_not")}
        where = price.where if version.where is None else version.where
        where_not = price.where_not if version.where_not is None else version.where_not
        entries = [self.meters.get(name) for name in meters or [str(price.meter)]]
        dimensions = shared_dimensions(entries) if meter else ([] if charge == "recurring" else None)
        filters = check_filters({"where": where, "where_not": where_not}, dimensions, at_where, self.problems)
        at_during = place if version.during is not None else price_place
        during = version.during or price.during
        hours = lower_during(during, meter, self.calendars, at_during.at("during"), self.problems)
        if during is not None and charge == "recurring":
            self.problems.add(at_during.at("during"), "is for usage; a recurring price is due whatever the time", key=True)
        tax_class = None
        if isinstance(price, PriceEntry):
            tax_class = version.tax_class or price.tax_class
            self.tax_classes.append((tax_class, (place if version.tax_class else price_place).at("tax_class")))
        else:
            check_cost(version, place, self.problems)
        if lowered is None:
            return
        check_split(lowered.columns | hours, at_during.at("during", "split"), self.problems)
        if meter is not None:
            timed = key | terms | lowered.columns | hours | {"quantity_scale": meter.scale}
            self.timed.setdefault(meter.id, []).append(Timed(timed, lowered.tiers, place))
        self.rows["prices"].append(
            key
            | terms
            | lowered.columns
            | hours
            | {
                "charge": charge,
                "meter_id": price.meter,
                "meters": meters,
                "interval": price.recurring if isinstance(price, PriceEntry) else None,
                "tax_class": tax_class,
                **_names(price.name),
            }
        )
        self.rows["tiers"] += [key | tier for tier in lowered.tiers]
        self.rows["filters"] += [key | row for row in filters]

    def currency_of(self, price: FeeItem, owner: Owner | None, place: Place, seen: set[str]) -> str | None:
        """The price's currency, one and the same for all prices of a plan or carrier."""
        what = "carrier" if isinstance(owner, CarrierEntry) else "plan"
        currency = price.currency or (owner.currency if owner else None) or self.currency
        if currency is None and owner is not None and "currency" not in self.sections.settings:
            self.problems.add(place.at("currency"), f"is missing; set 'currency:' for the book, the {what} or this price")
        elif currency is not None:
            seen.add(currency)
            if len(seen) > 1:
                others = ", ".join(sorted(seen - {currency}))
                text = f"{currency}, but another price of this {what} is in {others}; a {what} has one currency"
                self.problems.add(place.at("currency"), text)
        return currency

    def read_taxes(self) -> None:
        groups: dict[tuple[str, str], list[tuple[TaxEntry, Place]]] = {}
        for data, place in self.sections.entries["taxes"]:
            tax = check_entry(TaxEntry, data, place, self.problems)
            if tax is not None:
                groups.setdefault((tax.country, tax.class_), []).append((tax, place))
        for (country, tax_class), taxes in groups.items():
            spans = check_spans([(t.valid_from, t.valid_to, place) for t, place in taxes], self.zone, self.problems)
            for (tax, _), (start, end) in zip(taxes, spans, strict=True):
                row = {"country": country, "tax_class": tax_class, "rate": tax.rate, "valid_from": start, "valid_to": end}
                self.rows["taxes"].append(row)
        known = {_text_of(data, "class", "standard") for data, _ in self.sections.entries["taxes"]}
        check_tax_classes(self.tax_classes, known, self.problems)

    def read_agreements(self) -> None:
        facts = {str(row["price_id"]): self.covered(row) for row in self.rows["prices"] if row["plan_id"] is not None}
        reader = AgreementReader(self.problems, self.zone, self.plans, self.prices, facts)
        for data, place in self.sections.entries["agreements"]:
            agreement = check_entry(AgreementEntry, data, place, self.problems)
            self.note_id("agreement", data, place)
            if agreement is not None:
                reader.read(agreement, place)
        self.rows["agreements"], self.rows["agreement_tiers"] = reader.agreements, reader.tiers

    def covered(self, price: Row) -> CoveredPrice:
        name = None if price["meter_id"] is None else str(price["meter_id"])
        meter = None if name is None else self.meters.get(name)
        return CoveredPrice(name, 0 if meter is None or meter.aggregation == "count" else meter.scale, str(price["currency"]))

    def read_limits(self) -> None:
        """Limits of plans. While anything else is wrong they are not looked at: they speak of plans and prices."""
        if self.problems.found:
            return
        taken = {str(row["price_id"]) for row in self.rows["prices"]}
        reader = LimitReader(self.problems, price_facts(self.rows["prices"], self.rows["meters"]), self.plans, taken)
        for section in LIMIT_SECTIONS:
            for data, place in self.sections.entries[section]:
                reader.read(section, data, place, self.party_of)
        self.rows["limits"] = reader.rows

    def party_of(self, entry: LimitEntry, place: Place) -> Party | None:
        """The plan that a limit of the book is for."""
        others = [name for name in ("account", "subscription") if getattr(entry, name) is not None]
        for name in others:
            self.problems.add(place.at(name), "stands in the roster; a limit of the price book is for a 'plan'", key=True)
        if entry.plan is None and not others:
            self.problems.add(place.at("plan"), "is missing; say whose limit it is")
        if entry.plan is None or others:
            return None
        if entry.plan not in self.plans:
            self.problems.add(place.at("plan"), f"there is no plan '{entry.plan}'{did_you_mean(entry.plan, list(self.plans))}")
        currency = next((str(row["currency"]) for row in self.rows["prices"] if row["plan_id"] == entry.plan), None)
        if currency is None:
            return None
        classes = frozenset(str(row["tax_class"]) for row in self.rows["taxes"])
        return Party("plan_id", entry.plan, None, currency, self.zone, None, classes)

    def note_id(self, what: str, data: object, place: Place) -> None:
        """Remembers where an id was given; notes the mistake when it is given again."""
        name = _id_of(data)
        first = self.ids.setdefault((what, name), place)
        if name and first is not place:
            self.problems.add(place.at("id"), f"there is another {what} '{name}' in {first}; ids are unique")


def _names(name: NameEntry) -> Row:
    return {"name_en": name.en, "name_zh": name.zh or name.en}


def _under(data: object, key: str) -> object:
    return data.get(key) if isinstance(data, dict) else None


def _id_of(data: object) -> str:
    return _text_of(data, "id", "")


def _text_of(data: object, key: str, default: str) -> str:
    value = _under(data, key)
    return value if isinstance(value, str) else default
