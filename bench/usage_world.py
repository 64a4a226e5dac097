"""The company that the benchmarks rate: 100,000 subscriptions with three charges each, and seeded events for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl

from catalog.versions import publish_book, publish_roster
from pipelines.workspace import BOSS_TOML, Workspace
from schemas.book import BOOK_FRAMES, METERS, PLANS, PRICES, TAXES, TIERS, Book
from schemas.frames import FrameSchema
from schemas.limits import LIMITS
from schemas.roster import ACCOUNTS, IDENTIFIERS, OVERRIDES, PARTNERS, SUBSCRIPTIONS, Roster
from schemas.usage import EVENTS

HOLDERS = 100_000
"""Subscriptions."""


def make_book(fan_out: int) -> Book:
    """Three prices of three models: of one meter each, or all three of one meter that every event has (fan-out 3)."""
    names = ["minutes", "traffic", "requests"]
    meters = METERS.build(
        [
            {"meter_id": name, "event_type": name, "aggregation": "sum", "property": "value", "unit": "u"}
            | {"quantity_scale": 0, "dimensions": []}
            for name in names[: 1 if fan_out == 3 else 3]
        ]
    )
    prices, tiers = [], []
    for name, model in zip(names, ("graduated", "volume", "package"), strict=True):
        key = {"price_id": f"{name}.use", "price_version": "2026-01-01"}
        prices.append(
            key
            | {"plan_id": "pro", "charge": "usage", "meter_id": names[0] if fan_out == 3 else name, "model": model}
            | {"currency": "CNY", "included_units": Decimal(0)}
            | {"flat_at_zero": False, "tax_class": "standard", "name_en": name, "name_zh": name}
            | {"valid_from": datetime(2026, 1, 1, tzinfo=UTC)}
        )
        bounds = [0, None] if model == "package" else [0, 500, 2000, 9000, None]
        for tier, (start, end) in enumerate(pairwise(bounds)):
            tiers.append(
                key
                | {"tier": tier, "tier_from": Decimal(start or 0), "tier_to": None if end is None else Decimal(end)}
                | {"unit_price": Decimal("0.012") / 2**tier, "flat": Decimal(tier)}
                | {"package_size": Decimal(60) if model == "package" else None}
            )
    plans = PLANS.build([{"plan_id": "pro", "kind": "version", "name_en": "Pro", "name_zh": "专业版"}])
    made = {"meters": meters, "plans": plans, "prices": PRICES.build(prices), "tiers": TIERS.build(tiers)}
    return Book(1, "bench", **{name: schema.empty() for name, schema in BOOK_FRAMES.items()} | made)


def make_roster(holders: int = HOLDERS) -> Roster:
    """Subscriptions of 20,000 accounts in two zones."""
    accounts = pl.DataFrame({"number": pl.int_range(20_000, eager=True)}).select(
        *_filled(ACCOUNTS, {"country": "CN", "currency": "CNY", "language": "zh", "billing_day": 1, "payment_days": 30}),
        account_id=pl.format("account-{}", pl.col("number").cast(pl.String).str.zfill(6)),
        name=pl.format("Account {}", "number"),
        zone=pl.when(pl.col("number") % 2 == 0).then(pl.lit("Asia/Shanghai")).otherwise(pl.lit("UTC")),
    )
    numbers = pl.DataFrame({"number": pl.int_range(holders, eager=True)})
    subscriptions = numbers.select(
        *_filled(SUBSCRIPTIONS, {"plan_id": "pro", "licences": 1}),
        subscription_id=pl.format("sub-{}", pl.col("number").cast(pl.String).str.zfill(8)),
        account_id=pl.format("account-{}", (pl.col("number") % 20_000).cast(pl.String).str.zfill(6)),
        active_from=pl.datetime(2026, 1, 1, time_zone="UTC", time_unit="us"),
    )
    return Roster(
        version=1,
        digest="bench",
        accounts=ACCOUNTS.select(accounts),
        subscriptions=SUBSCRIPTIONS.select(subscriptions),
        identifiers=IDENTIFIERS.empty(),
        overrides=OVERRIDES.empty(),
        prices=PRICES.empty(),
        tiers=TIERS.empty(),
        partners=PARTNERS.empty(),
        limits=LIMITS.empty(),
    )


def _filled(schema: FrameSchema, values: dict[str, object]) -> list[pl.Expr]:
    """A literal for each column: its value or null. Columns named later replace them."""
    named = {"account_id", "name", "zone", "subscription_id", "active_from"}
    return [pl.lit(values.get(name), dtype).alias(name) for name, dtype in schema.columns.items() if name not in named]


def write_events(folder: Path, number: int, fan_out: int, rows: int = 100_000, holders: int = HOLDERS) -> Path:
    """Batch `number` of EVENTS with ids of its own, as Parquet: random subscriptions, times over a month, quantities to 600."""
    path = folder / f"events-{number}.parquet"
    if path.exists():
        return path
    place = pl.int_range(rows, dtype=pl.Int64)
    drawn = [(place + number * rows).hash(seed) for seed in (11, 12, 13)]
    types = ["minutes", "traffic", "requests"]
    kind = (place.hash(14) % 3).cast(pl.Int64)
    chosen = pl.lit(types[0])
    if fan_out == 1:
        chosen = pl.when(kind == 0).then(pl.lit(types[0])).when(kind == 1).then(pl.lit(types[1])).otherwise(pl.lit(types[2]))
    month = 28 * 86_400 * 10**6
    frame = pl.select(
        stream=pl.lit("kafka:usage@1"),
        stream_partition=pl.lit(0, pl.Int32),
        stream_offset=place + number * rows,
        event_index=pl.lit(0, pl.Int32),
        event_source=pl.lit("/meters/eu-1"),
        event_id=pl.format("{}", drawn[2]) + pl.format("-{}", place + number * rows),
        event_type=chosen,
        subject=pl.lit("sub-") + (drawn[0] % holders).cast(pl.String).str.zfill(8),
        occurred_at=pl.datetime(2026, 10, 2, time_zone="UTC", time_unit="us")
        + pl.duration(microseconds=(drawn[1] % month).cast(pl.Int64)),
        message=pl.lit(None, pl.Binary),
    ).with_columns((pl.int_range(rows).hash(15) % 600 + 1).cast(pl.String).alias("data.value"))
    EVENTS.select(frame).hstack([frame["data.value"]]).write_parquet(path, compression="zstd")
    return path


def make_workspace(folder: Path) -> Workspace:
    """A workspace with this company published; the one that is there, if there is one."""
    if (folder / "boss.toml").exists():
        return Workspace.open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "boss.toml").write_text(BOSS_TOML.format(starts="2026-10") + "port = 0\n", encoding="utf-8")
    workspace = Workspace.open(folder)
    rate = {"tax_class": "standard", "rate": Decimal("0.06"), "valid_from": datetime(2020, 1, 1, tzinfo=UTC)}
    taxes = TAXES.build([rate | {"country": "CN"}])
    publish_book(replace(make_book(1), taxes=taxes), workspace.books)
    publish_roster(make_roster(), workspace.rosters)
    return workspace


def write_messages(first: int, count: int) -> tuple[list[bytes], list[bytes]]:
    """Keys (the account) and values (one CloudEvent as JSON) of seeded events, numbered from `first`.

    A thousand events in a row are of one account, as a collector that sends JSON arrays would send them.
    """
    number = pl.int_range(count, dtype=pl.Int64) + first
    account = (number // 1000).hash(21) % 20_000
    holder = account + number.hash(22) % 5 * 20_000  # each account has five subscriptions
    minute = number.hash(23) % (27 * 24 * 60)
    kind = pl.lit(pl.Series(["minutes", "traffic", "requests"])).gather(number.hash(24) % 3)
    text = pl.format(
        '{}"specversion":"1.0","id":"{}","source":"/meters/eu-1","type":"{}","subject":"sub-{}","time":"2026-10-{}T{}:{}:07Z",'
        '"datacontenttype":"application/json","data":{}"value":{}{}{}',
        pl.lit("{"),
        number,
        kind,
        holder.cast(pl.String).str.zfill(8),
        (minute // 1440 + 2).cast(pl.String).str.zfill(2),
        (minute // 60 % 24).cast(pl.String).str.zfill(2),
        (minute % 60).cast(pl.String).str.zfill(2),
        pl.lit("{"),
        number.hash(25) % 600 + 1,
        pl.lit("}"),
        pl.lit("}"),
    )
    key = pl.format("account-{}", account.cast(pl.String).str.zfill(6))
    made = pl.select(key=key.cast(pl.Binary), value=text.cast(pl.Binary))
    return made["key"].to_list(), made["value"].to_list()
