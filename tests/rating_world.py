"""A small price book and roster to rate against, written as tests like to read them. No tests in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from rating.aggregates.points import Points
from rating.balance.accounts import Balances
from rating.batch import Rated, rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import Terms, compile_terms
from schemas.book import AGREEMENT_TIERS, AGREEMENTS, CARRIERS, FILTERS, METERS, PLANS, PRICES, TAXES, TIERS, Book
from schemas.calendar import CALENDAR_DAYS, CALENDAR_WINDOWS, CALENDARS
from schemas.ledger import AGGREGATE_KEY, POINT_COLUMNS, POSITION_KEY, POSTINGS, moves_aggregate
from schemas.limits import LIMITS
from schemas.roster import ACCOUNTS, IDENTIFIERS, OVERRIDES, PARTNERS, SUBSCRIPTIONS, Roster
from schemas.usage import EVENTS, PROPERTY, RETRACTS

Row = dict[str, object]


def instant(text: str) -> datetime:
    """'2026-10-01' or a full ISO time; UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def tiers(*rows: tuple[str | None, str] | tuple[str | None, str, str], package_size: str | None = None) -> list[Row]:
    """Tiers as (up_to, unit_price[, flat]); with a package size the price is by package."""
    size = None if package_size is None else Decimal(package_size)
    made: list[Row] = []
    below = Decimal(0)
    for number, row in enumerate(rows):
        up_to = None if row[0] is None else Decimal(row[0])
        flat = Decimal(row[2]) if len(row) == 3 else Decimal(0)
        tier: Row = {"tier": number, "tier_from": below, "tier_to": up_to, "unit_price": Decimal(row[1]), "flat": flat}
        made.append(tier | {"package_size": size})
        below = up_to or below
    return made


@dataclass
class World:
    """Collects what is published; `terms()` compiles it. Defaults make a price for a meter 'usage' of one plan 'pro'."""

    meters: list[Row] = field(default_factory=list)
    prices: list[Row] = field(default_factory=list)
    price_tiers: list[Row] = field(default_factory=list)
    filters: list[Row] = field(default_factory=list)
    agreements: list[Row] = field(default_factory=list)
    agreement_tiers: list[Row] = field(default_factory=list)
    calendars: list[Row] = field(default_factory=list)
    calendar_windows: list[Row] = field(default_factory=list)
    calendar_days: list[Row] = field(default_factory=list)
    accounts: list[Row] = field(default_factory=list)
    subscriptions: list[Row] = field(default_factory=list)
    identifiers: list[Row] = field(default_factory=list)
    overrides: list[Row] = field(default_factory=list)
    own_prices: list[Row] = field(default_factory=list)
    own_tiers: list[Row] = field(default_factory=list)
    limits: list[Row] = field(default_factory=list)
    own_limits: list[Row] = field(default_factory=list)

    def meter(self, meter_id: str = "usage", **more: object) -> World:
        row: Row = {"aggregation": "sum", "property": "value", "unit": "unit", "quantity_scale": 0, "dimensions": []}
        self.meters.append(row | {"meter_id": meter_id, "event_type": "used"} | more)
        return self

    def price(self, price_id: str = "usage", steps: Sequence[Row] = (), *, own: bool = False, **more: object) -> World:
        """A price version; with `own` it belongs to the roster."""
        row: Row = {
            "price_version": "2026-01-01",
            "plan_id": "pro",
            "charge": "usage",
            "meter_id": "usage",
            "model": "per_unit",
            "currency": "CNY",
            "included_units": Decimal(0),
            "flat_at_zero": False,
            "tax_class": "standard",
            "name_en": price_id,
            "name_zh": price_id,
            "valid_from": instant("2026-01-01"),
        }
        row |= {"price_id": price_id} | more
        (self.own_prices if own else self.prices).append(row)
        names = {"price_id": price_id, "price_version": row["price_version"]}
        (self.own_tiers if own else self.price_tiers).extend({**step, **names} for step in steps or tiers((None, "1")))
        return self

    def cost(self, price_id: str = "telco.usage", steps: Sequence[Row] = (), carrier: str = "telco", **more: object) -> World:
        """A version of a carrier's price."""
        named: Row = {"plan_id": None, "carrier_id": carrier, "tax_class": None}
        return self.price(price_id, steps, own=False, **named | more)

    def account(self, account_id: str = "acme", **more: object) -> World:
        row: Row = {"name": account_id, "country": "CN", "currency": "CNY", "language": "en", "zone": "UTC"}
        self.accounts.append(row | {"account_id": account_id, "billing_day": 1, "payment_days": 30} | more)
        return self

    def subscription(self, subscription_id: str = "acme-1", account_id: str = "acme", **more: object) -> World:
        row: Row = {"plan_id": "pro", "licences": 1, "active_from": instant("2026-01-01")}
        self.subscriptions.append(row | {"subscription_id": subscription_id, "account_id": account_id} | more)
        return self

    def filter(
        self, price_id: str, dimension: str, *values: str, excluded: bool = False, price_version: str = "2026-01-01"
    ) -> World:
        self.filters.append(
            {
                "price_id": price_id,
                "price_version": price_version,
                "dimension": dimension,
                "values": list(values),
                "excluded": excluded,
            }
        )
        return self

    def share(
        self, price_id: str, share: str | list[tuple[str | None, str]] | None, partner_id: str = "agent", **more: object
    ) -> World:
        """An agreement on a percentage, or on tiers as (up to, percentage); None: `more` says per_unit."""
        name = f"{partner_id}-{price_id}"
        row: Row = {"agreement_id": name, "partner_id": partner_id, "price_id": price_id, "of": "gross"}
        percent = Decimal(share) if isinstance(share, str) else None
        self.agreements.append(row | {"share": percent, "valid_from": instant("2020-01-01")} | more)
        below = Decimal(0)
        for number, (up_to, part) in enumerate(share if isinstance(share, list) else []):
            end = None if up_to is None else Decimal(up_to)
            tier: Row = {"agreement_id": name, "tier": number, "revenue_from": below, "revenue_to": end, "share": Decimal(part)}
            self.agreement_tiers.append(tier)
            below = end or below
        return self

    def calendar(self, windows: Sequence[tuple[str, str, str, str, str | None]], **more: object) -> World:
        """A calendar 'clock' of windows (name, begins, ends, days, holidays); the rest is 'rest'."""
        row: Row = {"calendar_id": "clock", "otherwise": "rest", "years": []}
        self.calendars.append(row | more)
        names = ("name", "begins", "ends", "days", "holidays")
        self.calendar_windows += [{"calendar_id": "clock", **dict(zip(names, window, strict=True))} for window in windows]
        return self

    def days(self, kind: str, *days: str) -> World:
        """Days of the calendar 'clock' that are holidays or, instead of others, working."""
        self.calendar_days += [{"calendar_id": "clock", "day": date.fromisoformat(day), "kind": kind} for day in days]
        return self

    def discount(self, price_id: str, discount: str, **more: object) -> World:
        row: Row = {
            "account_id": "acme",
            "price_id": price_id,
            "discount": Decimal(discount),
            "valid_from": instant("2026-01-01"),
        }
        self.overrides.append(row | more)
        return self

    def override(self, price_id: str, price_version: str, **more: object) -> World:
        row: Row = {"account_id": "acme", "price_id": price_id, "price_version": price_version}
        self.overrides.append(row | {"valid_from": instant("2026-01-01")} | more)
        return self

    def limit(self, kind: str, limit_id: str = "limit", **more: object) -> World:
        """A commitment, cap or pool of the book if it has a `plan_id`, otherwise of the roster."""
        row: Row = {"over": "period", "fees": False, "per_licence": False, "prorated": True, "true_up": kind == "commitment"}
        row |= {"currency": "CNY", "tax_class": "standard", "name_en": limit_id, "name_zh": limit_id, "priority": 100}
        row |= {"roll_over_periods": 0, "valid_from": instant("2026-01-01")} | {"limit_id": limit_id, "kind": kind} | more
        (self.limits if "plan_id" in more else self.own_limits).append(row)
        return self

    def book(self) -> Book:
        return Book(
            version=7,
            digest="book",
            meters=METERS.build(self.meters),
            plans=PLANS.build([{"plan_id": "pro", "kind": "version", "name_en": "Pro", "name_zh": "专业版"}]),
            carriers=CARRIERS.build(
                [{"carrier_id": name} for name in sorted({str(p["carrier_id"]) for p in self.prices if p.get("carrier_id")})]
            ),
            prices=PRICES.build(self.prices),
            tiers=TIERS.build(self.price_tiers),
            filters=FILTERS.build(self.filters),
            taxes=TAXES.empty(),
            agreements=AGREEMENTS.build(self.agreements),
            agreement_tiers=AGREEMENT_TIERS.build(self.agreement_tiers),
            limits=LIMITS.build(self.limits),
            calendars=CALENDARS.build(self.calendars),
            calendar_windows=CALENDAR_WINDOWS.build(self.calendar_windows),
            calendar_days=CALENDAR_DAYS.build(self.calendar_days),
        )

    def roster(self) -> Roster:
        return Roster(
            version=3,
            digest="roster",
            accounts=ACCOUNTS.build(self.accounts),
            subscriptions=SUBSCRIPTIONS.build(self.subscriptions),
            identifiers=IDENTIFIERS.build(self.identifiers),
            overrides=OVERRIDES.build(self.overrides),
            prices=PRICES.build(self.own_prices),
            tiers=TIERS.build(self.own_tiers),
            partners=PARTNERS.empty(),
            limits=LIMITS.build(self.own_limits),
        )

    def terms(self) -> Terms:
        return compile_terms(self.book(), self.roster())


def one_price(
    model: str = "per_unit", steps: Sequence[Row] = (), *, aggregation: str = "sum", scale: int = 0, **more: object
) -> World:
    """A world with one meter, one price of it, one account and one subscription `acme-1`."""
    world = World().meter(aggregation=aggregation, quantity_scale=scale)
    return world.price("usage", steps, own=False, model=model, **more).account(partner_id="agent").subscription()


def event(event_id: str, data: Mapping[str, str | None] | str = "1", **more: object) -> Row:
    """An event of `acme-1`; plain text is its property `value`."""
    values: Mapping[str, str | None] = {"value": data} if isinstance(data, str) else data
    row: Row = {"event_source": "meter", "event_type": "used", "subject": "acme-1", "occurred_at": instant("2026-10-15")}
    return row | {"event_id": event_id} | {f"{PROPERTY}{name}": value for name, value in values.items()} | more


def arriving(*events: Row, offset: int = 0) -> pl.DataFrame:
    """EVENTS in this order, one message each from `offset` on."""
    properties = sorted({name for row in events for name in row if name.startswith(PROPERTY) or name == RETRACTS})
    schema = dict(EVENTS.columns) | {name: pl.String() for name in properties}
    rows = [
        {"stream": "file:test", "stream_partition": 0, "stream_offset": offset + place, "event_index": 0, "message": b"{}"}
        | row
        for place, row in enumerate(events)
    ]
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=schema, strict=True)


class Desk:
    """Rates batch after batch and keeps the ledger, as a worker does."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.counters = Counters()
        self.seen = SeenEvents()
        self.points = Points()
        self.balances = Balances()
        self.results: list[Rated] = []
        self._offset = 0

    def rate(self, *events: Row) -> Rated:
        batch = arriving(*events, offset=self._offset)
        rated = rate_batch(batch, self.terms, self.counters, self.seen, self.points, posted=self, balances=self.balances)
        self._offset += len(events)
        self.counters.advance(rated.postings)
        self.seen.remember(rated.postings)
        self.points.advance(rated.postings, self.terms.meters)
        self.balances.advance(rated.postings)
        self.seen.remember_orders(rated.postings)
        self.results.append(rated)
        return rated

    def events(self, ids: pl.DataFrame) -> pl.DataFrame:
        """POSTINGS of these events and of what corrects them, as the ledger would find them."""
        position = pl.concat_str([pl.col(name).cast(pl.String) for name in POSITION_KEY], separator="/")
        found = self.postings.join(ids, on=ids.columns, how="semi")
        corrections = self.postings.join(found.select(corrects=position), on="corrects", how="semi")
        return pl.concat([found, corrections]).unique(POSITION_KEY)

    def aggregates(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Rows of these aggregates, shares left out, as the ledger would find them."""
        return self.postings.filter(moves_aggregate()).join(keys, on=AGGREGATE_KEY, how="semi").select(POINT_COLUMNS)

    @property
    def postings(self) -> pl.DataFrame:
        return pl.concat([POSTINGS.empty(), *(result.postings for result in self.results)])

    @property
    def reasons(self) -> list[str]:
        return [reason for result in self.results for reason in result.rejects["reason"].to_list()]

    def total(self, role: str = "revenue", **where: object) -> Decimal:
        """Sum of the amounts of a role, as the ledger would add them up."""
        rows = self.postings.filter(pl.col("role") == role, **where)
        return sum(rows["amount"].to_list(), Decimal(0))
