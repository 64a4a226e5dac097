"""A month of usage of the `video-conference` template's customers, made up from a seed.

The same seed gives the same events. Office hours are busy and weekends quiet in each customer's own zone; meetings, traffic,
telephone minutes, port and storage samples carry what catalog/templates/video_conference/README.md says they carry.

    python examples/video_conference_events.py --events 200000 --seed 1 --month 2026-10 > usage.ndjson
"""

from __future__ import annotations

import argparse
import sys
from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from random import Random
from typing import NamedTuple

import polars as pl


class Customer(NamedTuple):
    """Who sends events under one service identifier."""

    subject: str
    zone: str
    weight: int  # of all events
    ports: int  # at a busy moment
    regions: Sequence[str]
    call_types: Sequence[str]


CALLS = ("video", "video", "video", "audio")
CUSTOMERS = (
    Customer("conf-huaxing-bj", "Asia/Shanghai", 26, 420, ("cn", "cn", "cn", "cn", "hk", "sg"), (*CALLS, "webinar")),
    Customer("conf-huaxing-sh", "Asia/Shanghai", 14, 260, ("cn", "cn", "cn", "hk"), (*CALLS, "webinar")),
    Customer("conf-lantian", "Asia/Shanghai", 20, 150, ("cn", "cn", "cn", "us"), CALLS),
    Customer("conf-qingshan", "Asia/Shanghai", 22, 230, ("cn", "cn", "hk", "de"), (*CALLS, "webinar")),
    Customer("conf-pine", "Asia/Shanghai", 8, 60, ("cn", "us", "sg"), CALLS),
    Customer("conf-nordlicht", "Europe/Berlin", 10, 45, ("de", "gb", "cn"), CALLS),
)
KINDS = {"meeting.ended": 62, "traffic.metered": 20, "pstn.ended": 8, "ports.sampled": 6, "storage.sampled": 4}
"""Event type -> its share of all events, in percent."""
BUSY = (1, 1, 1, 1, 1, 2, 4, 12, 45, 90, 100, 80, 30, 60, 95, 100, 85, 50, 25, 20, 18, 12, 6, 2)
"""How busy each hour of a local day is."""
WEEKEND_BUSY = 0.2


def generate_events(*, events: int, seed: int, month: str) -> list[bytes]:
    """CloudEvents as JSON, in order of time; exactly `events` of them, all within the month of each customer's zone."""
    return list(_written(_drawn(events, Random(seed), date.fromisoformat(f"{month}-01"))))


def _drawn(events: int, random: Random, first_day: date) -> pl.DataFrame:
    """One row per event: who, what, when, and three numbers between 0 and 1 that the quantities are made of."""
    days = monthrange(first_day.year, first_day.month)[1]
    day_weights = [WEEKEND_BUSY if first_day.replace(day=day + 1).weekday() >= 5 else 1.0 for day in range(days)]
    return pl.DataFrame(
        {
            "customer": random.choices(range(len(CUSTOMERS)), [customer.weight for customer in CUSTOMERS], k=events),
            "type": random.choices(list(KINDS), list(KINDS.values()), k=events),
            "day": random.choices(range(days), day_weights, k=events),
            "hour": random.choices(range(24), BUSY, k=events),
            "within": [random.random() for _ in range(events)],
            "size": [random.random() for _ in range(events)],
            "choice": [random.random() for _ in range(events)],
        },
        schema_overrides={"customer": pl.UInt32, "day": pl.Int64, "hour": pl.Int64},
    ).with_columns(
        local=pl.lit(first_day).cast(pl.Datetime("ms"))
        + pl.duration(days="day", hours="hour")
        + pl.duration(milliseconds=(pl.col("within") * 3_600_000).floor().cast(pl.Int64))
    )


def _written(drawn: pl.DataFrame) -> pl.Series:
    """The events as bytes, sorted by time; an id is its place in that order."""
    customers = pl.DataFrame(CUSTOMERS, schema=list(Customer._fields), orient="row").with_row_index("customer")
    events = drawn.join(customers, on="customer", how="left").with_columns(
        time=pl.coalesce(_instant(zone) for zone in sorted({customer.zone for customer in CUSTOMERS})),
        region=_one_of("regions"),
        call_type=_one_of("call_types"),
    )
    events = events.sort("time", "customer", "within", "size").with_row_index("number")
    text = pl.format(
        '{}"specversion":"1.0","id":"{}-{}","source":"/conference/{}","type":"{}","subject":"{}","time":"{}",'
        '"datacontenttype":"application/json","data":{}{}',
        pl.lit("{"),
        pl.col("type").str.split(".").list.first(),
        pl.col("number").cast(pl.String).str.zfill(7),
        "region",
        "type",
        "subject",
        pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
        _data(),
        pl.lit("}"),
    )
    return events.select(text.cast(pl.Binary)).to_series()


def _instant(zone: str) -> pl.Expr:
    """The local time in a zone as an instant; null for other zones. Hours count from local midnight, so no time is missing."""
    midnight = pl.col("local").dt.truncate("1d")
    instant = midnight.dt.replace_time_zone(zone).dt.convert_time_zone("UTC") + (pl.col("local") - midnight)
    return pl.when(pl.col("zone") == zone).then(instant)


def _one_of(choices: str) -> pl.Expr:
    """One of the customer's list, by `choice`."""
    return pl.col(choices).list.get((pl.col("choice") * pl.col(choices).list.len()).floor().cast(pl.UInt32))


def _data() -> pl.Expr:
    """The `data` of each event. Minutes are JSON numbers and gigabytes strings, because both must be read exactly."""
    small = pl.col("size") * pl.col("size")
    busy = pl.lit(pl.Series(BUSY)).gather(pl.col("hour"))
    minutes = _decimal(1_000 + small * 179_000, 3)
    ports = (1 + pl.col("ports") * busy / 100 * (0.6 + 0.4 * pl.col("size"))).floor().cast(pl.Int64)
    stored = _decimal((pl.col("ports") * 0.4 + pl.col("day") * pl.col("ports") * 0.02 + pl.col("size")) * 1e9, 9)
    moved = _decimal(1_000_000 + small * 2_500_000_000, 9)
    open_, close = pl.lit("{"), pl.lit("}")
    return (
        pl.when(pl.col("type") == "meeting.ended")
        .then(pl.format('{}"minutes":{},"region":"{}","call_type":"{}"{}', open_, minutes, "region", "call_type", close))
        .when(pl.col("type") == "traffic.metered")
        .then(pl.format('{}"gigabytes":"{}","region":"{}"{}', open_, moved, "region", close))
        .when(pl.col("type") == "pstn.ended")
        .then(pl.format('{}"minutes":{},"region":"{}"{}', open_, minutes, "region", close))
        .when(pl.col("type") == "ports.sampled")
        .then(pl.format('{}"ports":{}{}', open_, ports, close))
        .otherwise(pl.format('{}"gigabytes":"{}"{}', open_, stored, close))
    )


def _decimal(quanta: pl.Expr, scale: int) -> pl.Expr:
    """A whole number of 10^-scale units as a decimal text."""
    whole = quanta.floor().cast(pl.Int64)
    return pl.format("{}.{}", whole // 10**scale, (whole % 10**scale).cast(pl.String).str.zfill(scale))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Writes a month of made-up usage to standard output, one event per line.")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--month", default="2026-10", help="YYYY-MM")
    chosen = parser.parse_args(arguments)
    for value in generate_events(events=chosen.events, seed=chosen.seed, month=chosen.month):
        sys.stdout.buffer.write(value + b"\n")


if __name__ == "__main__":
    main()
