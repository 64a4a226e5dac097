"""`boss catalog test`: rates the examples of the price book and compares what they cost with what their writer expects.

All examples are rated in one go by the same functions as real usage; each is a customer of its own, with the prices that were
negotiated with the account it names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from catalog.examples import Example, read_examples
from pipelines.limit_costs import sum_costs
from pipelines.workspace import Workspace
from rating.aggregates.points import Points
from rating.batch import rate_batch
from rating.counters import Counters
from rating.limits.apply import post_limits
from rating.limits.compile import Limits, compile_limits
from rating.recurring import post_fees
from rating.seen import SeenEvents
from rating.terms import Terms, compile_terms
from schemas.book import Book
from schemas.frames import AMOUNT, INSTANT, FrameSchema
from schemas.ledger import POSTINGS, Role
from schemas.limits import LIMITS
from schemas.period import Period
from schemas.roster import ACCOUNTS, OVERRIDES, SUBSCRIPTIONS, Roster
from schemas.usage import PROPERTY

PASSED, FAILED = "passed", "failed"
TOTAL = "total"

RESULTS = FrameSchema(
    "RESULTS",
    {
        "result": pl.String,  # passed | failed
        "example": pl.String,
        "price": pl.String,  # a price_id, 'cost: ' or 'share: ' with a price or party, or 'total'; null for rejected events
        "expected": AMOUNT,
        "found": AMOUNT,
        "detail": pl.String,  # of what failed: where the example stands, and why its events were rejected
    },
)
"""One row per amount that an example expects, per price it did not expect to be charged, and per reason of rejected events."""

ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
"""When the subscription of an example without fees began."""


class Owed(NamedTuple):
    """What an example's rows of one price, role and party add up to."""

    price: str
    role: str
    party: str | None
    amount: Decimal


@dataclass(frozen=True)
class ExampleRun:
    """What became of the examples."""

    examples: int
    failed: int
    results: pl.DataFrame  # RESULTS

    @property
    def message(self) -> str:
        """One sentence for people."""
        if not self.examples:
            return "No example in catalog/. Write some under 'examples:'; docs/CATALOG.md shows how."
        return f"{self.examples} examples: {self.examples - self.failed} passed, {self.failed} failed."


def read_workspace_examples(workspace: Workspace) -> tuple[Book, Roster, list[Example]]:
    """The drafts in catalog/ and roster/ and the examples among them.

    Raises:
        BadCatalog: With every mistake in the drafts, or else in the examples.
    """
    book, roster = workspace.read_sources()
    return book, roster, read_examples(workspace.catalog_folder, book, roster)


def run_workspace_examples(workspace: Workspace) -> ExampleRun:
    """Rate the examples in catalog/ by the drafts in catalog/ and roster/. Writes nothing; raises what reading raises."""
    return run_examples(*read_workspace_examples(workspace))


def run_examples(book: Book, roster: Roster, examples: list[Example]) -> ExampleRun:
    """Rate examples by a book and the negotiated prices of a roster."""
    if not examples:
        return ExampleRun(0, 0, RESULTS.empty())
    customers = _customers(roster, examples)
    terms = compile_terms(book, customers)
    rated = rate_batch(_events(examples), terms, Counters(), SeenEvents(), Points())
    by = ["account_id", "price_id", "role", "partner_id"]
    charged = pl.concat([rated.postings, *_fees(terms, examples)])
    charged = pl.concat([charged, *_limits(compile_limits(book, customers, terms), customers, charged, examples)])
    amounts = charged.group_by(by).agg(pl.col("amount").sum())
    found: dict[str, list[Owed]] = {}
    for customer, *owed in amounts.sort(by).iter_rows():
        found.setdefault(customer, []).append(Owed(*owed))
    refused = rated.rejects.group_by("event_source", "reason").agg(pl.len(), pl.col("detail").first()).sort("reason")
    rejects: dict[str, list[tuple[str, int, str]]] = {}
    for customer, reason, count, detail in refused.iter_rows():
        rejects.setdefault(customer, []).append((reason, count, detail))
    rows = [
        _compare(example, found.get(_name(number), []), rejects.get(_name(number), []))
        for number, example in enumerate(examples)
    ]
    failed = sum(any(row["result"] == FAILED for row in part) for part in rows)
    return ExampleRun(len(examples), failed, RESULTS.build([row for part in rows for row in part]))


def _name(number: int) -> str:
    """The account, subscription and event source of an example."""
    return f"example-{number}"


def _compare(example: Example, owed: list[Owed], rejects: list[tuple[str, int, str]]) -> list[dict[str, object]]:
    """RESULTS rows of one example."""
    rows: list[dict[str, object]] = []
    found = {one.price: one.amount for one in owed if one.role == Role.REVENUE.value}

    def add(good: bool, price: str | None, expected: Decimal | None, amount: Decimal | None, why: str) -> None:
        detail = why if good else f"{example.place}: {why}".removesuffix(": ")
        row: dict[str, object] = {
            "result": PASSED if good else FAILED,
            "example": example.name,
            "price": price,
            "expected": expected,
        }
        rows.append(row | {"found": amount, "detail": detail or None})

    for price, expected in example.expected.items():
        amount = found.get(price, Decimal(0))
        add(amount == expected, price, expected, amount, "")
    if example.expected:
        for price, amount in found.items():
            if price not in example.expected and amount:
                add(False, price, Decimal(0), amount, "not expected to cost anything; list it under 'expect'")
    for role, wanted in ((Role.COST.value, example.expected_cost), (Role.SHARE.value, example.expected_share)):
        mine = [one for one in owed if one.role == role]
        for name, expected in wanted.items():
            amount = sum((one.amount for one in mine if name in (one.price, one.party)), Decimal(0))
            add(amount == expected, f"{role}: {name}", expected, amount, "")
        for one in mine if wanted else ():
            if one.amount and not {one.price, one.party} & wanted.keys():
                why = f"not expected to be owed; list it under 'expect_{role}'"
                add(False, f"{role}: {one.price}", Decimal(0), one.amount, why)
    if example.total is not None:
        amount = sum(found.values(), Decimal(0))
        add(amount == example.total, TOTAL, example.total, amount, "")
    for reason, count, detail in rejects:
        add(reason == example.rejected, None, None, None, f"rejected as {reason}: {count} x {detail}")
    if example.rejected is not None and not any(reason == example.rejected for reason, _, _ in rejects):
        add(False, None, None, None, f"expected to be rejected as {example.rejected.value}, but was charged")
    return rows


def _customers(roster: Roster, examples: list[Example]) -> Roster:
    """A roster of one account and subscription per example, with the negotiated prices of the account it names."""
    accounts = {row["account_id"]: row for row in roster.accounts.iter_rows(named=True)}
    nobody = {"country": "CN", "language": "en", "billing_day": 1, "payment_days": 30}
    made: dict[str, list[dict[str, object]]] = {"accounts": [], "subscriptions": []}
    overrides, limits = [roster.overrides.clear()], [roster.limits.clear()]
    for number, example in enumerate(examples):
        name = {"account_id": _name(number), "name": _name(number)}
        known = accounts.get(example.account_id, nobody | {"currency": example.currency, "zone": example.zone})
        account = dict(known) | name | {"partner_id": example.partner_id}
        made["accounts"].append(account)
        start = ALWAYS if example.licences is None else _period_start(example, int(str(account["billing_day"])))
        held = {"subscription_id": _name(number), "account_id": _name(number), "licences": example.licences or 1}
        made["subscriptions"] += [held | {"plan_id": plan, "active_from": start} for plan in dict.fromkeys(example.plans)]
        mine = pl.col("subscription_id").is_null() | pl.col("subscription_id").eq_missing(pl.lit(example.subscription_id))
        own = roster.overrides.filter(pl.col("account_id").eq_missing(pl.lit(example.account_id)) & mine)
        own_id = pl.when(pl.col("subscription_id").is_not_null()).then(pl.lit(_name(number)))
        overrides.append(own.with_columns(account_id=pl.lit(_name(number)), subscription_id=own_id))
        for column, owner in (("account_id", example.account_id), ("subscription_id", example.subscription_id)):
            theirs = roster.limits.filter(pl.col(column).is_not_null() & pl.col(column).eq_missing(pl.lit(owner, pl.String)))
            limits.append(theirs.with_columns(pl.lit(_name(number)).alias(column)))
    return replace(
        roster,
        accounts=ACCOUNTS.build(made["accounts"]),
        subscriptions=SUBSCRIPTIONS.build(made["subscriptions"]),
        identifiers=roster.identifiers.clear(),
        overrides=OVERRIDES.select(pl.concat(overrides)),
        limits=LIMITS.select(pl.concat(limits)),
    )


def _period_start(example: Example, billing_day: int) -> datetime:
    """The moment at which the usage period begins that the example is in."""
    zone = ZoneInfo(example.zone)
    day = example.at.astimezone(zone).date()
    period = Period.of(day) if day.day >= billing_day else Period.of(day).previous()
    return datetime.combine(period.first_day.replace(day=billing_day), time(), zone).astimezone(UTC)


def _fees(terms: Terms, examples: list[Example]) -> list[pl.DataFrame]:
    """POSTINGS of the fees of the service periods that begin with the examples that have licences."""
    posted = []
    for number, example in enumerate(examples):
        mine = terms.recurring.filter(pl.col("subscription_id") == _name(number))
        if example.licences is None or mine.is_empty():
            continue
        zone = ZoneInfo(example.zone)
        first_day = mine["active_from"][0].astimezone(zone).date()
        period = Period.of(first_day)
        fees = post_fees(period, replace(terms, recurring=mine), POSTINGS.empty(), period)
        posted.append(fees.filter(pl.col("usage_period") == first_day))
    return posted


def _limits(limits: Limits, roster: Roster, charged: pl.DataFrame, examples: list[Example]) -> list[pl.DataFrame]:
    """POSTINGS of what limits make when the usage periods of the examples that are closed end, one month after the other."""
    billing_days = dict(roster.accounts.select("account_id", "billing_day").rows())
    closed: dict[Period, list[str]] = {}
    for number, example in enumerate(examples):
        if example.closed:
            first_day = _period_start(example, billing_days[_name(number)]).astimezone(ZoneInfo(example.zone)).date()
            closed.setdefault(Period.of(first_day), []).append(_name(number))
    posted = []
    for period, names in closed.items():
        costs = sum_costs(charged, roster.accounts, limits, period, period)
        made = post_limits(period, costs, limits, POSTINGS.empty(), period)
        posted.append(made.filter(pl.col("account_id").is_in(names)))
    return posted


def _events(examples: list[Example]) -> pl.DataFrame:
    """EVENTS with `data.<property>`, in the order of the examples; a use of n times is n rows."""
    uses = [(number, use) for number, example in enumerate(examples) for use in example.usage]
    names = sorted({name for _, use in uses for name in (*use.data, *([use.numbered] if use.numbered else []))})
    columns: dict[str, list[object]] = {
        "event_source": [_name(number) for number, _ in uses],
        "event_type": [use.event_type for _, use in uses],
        "occurred_at": [use.occurred_at for _, use in uses],
        "times": [use.times for _, use in uses],
        "numbered": [use.numbered for _, use in uses],
    }
    columns |= {PROPERTY + name: [use.data.get(name) for _, use in uses] for name in names}
    schema: dict[str, pl.DataType] = dict.fromkeys(columns, pl.String()) | {"occurred_at": INSTANT, "times": pl.Int64()}
    frame = pl.DataFrame(columns, schema=schema)
    frame = frame.with_columns(row=pl.int_ranges(0, "times")).explode("row", empty_as_null=False).with_row_index("offset")
    number = pl.col("offset").cast(pl.String)
    distinct = [
        pl.when(pl.col("numbered") == name).then(number).otherwise(PROPERTY + name).alias(PROPERTY + name) for name in names
    ]
    return frame.with_columns(distinct).select(
        pl.lit("examples").alias("stream"),
        pl.lit(0, pl.Int32).alias("stream_partition"),
        pl.col("offset").cast(pl.Int64).alias("stream_offset"),
        pl.lit(0, pl.Int32).alias("event_index"),
        "event_source",
        number.alias("event_id"),
        "event_type",
        pl.col("event_source").alias("subject"),
        "occurred_at",
        pl.lit(b"", pl.Binary).alias("message"),
        *(PROPERTY + name for name in names),
    )
