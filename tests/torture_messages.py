"""A chunk of the feed: good events as keyed messages, orders about a balance, and between them what must become a reject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import polars as pl

from pipelines.producer import Message
from tests.torture_prices import account_of
from tests.torture_world import PREPAID, bad_order, make_orders

POISON_EVERY = 100
"""Messages between two poisoned ones."""

POISON = {"message": pl.Binary, "reason": pl.String}


@dataclass(frozen=True)
class Chunk:
    """What is sent at once."""

    events: pl.Series
    """The good ones, which must be rated."""
    messages: list[Message]
    poison: pl.DataFrame
    """POISON: messages that must become rejects, each for its reason."""
    orders: pl.DataFrame
    """ORDERS_MADE: top-ups and corrections."""


def make_chunk(values: pl.Series, number: int) -> Chunk:
    """The events as messages with poison after every hundredth, and orders at the beginning.

    Beside poison there are tombstones, and events and an order sent a second time, none of which may leave a trace.
    """
    time = str(orjson.loads(values[0])["time"])
    orders, noted = make_orders(number, time, len(values))
    bad, payer = bad_order(number, time), PREPAID.encode()
    messages: list[Message] = [(payer, order) for order in (*orders, bad, orders[0])]
    poison: list[tuple[bytes, str]] = [(bad, "bad_balance")]
    for place, value in enumerate(values):
        event = orjson.loads(value)
        key = account_of(event["subject"]).encode()
        messages.append((key, value))
        if place % POISON_EVERY == 0:
            for message, reason in _poison(event, f"{number}-{place}"):
                poison.append((message, reason))
                messages.append((b"stranger-%d" % (place % 7) if reason == "unknown_subject" else key, message))
            messages += [(key, None), (key, value)]
    return Chunk(values, messages, pl.DataFrame(poison, schema=POISON, orient="row"), noted)


def _poison(event: Mapping[str, object], number: str) -> list[tuple[bytes, str]]:
    """Three messages that must be rejected, made of an event; no two are the same."""
    kinds: list[tuple[dict[str, object], str]] = [
        (
            {"data": {"minutes": "NaN", "gigabytes": "NaN", "ports": "NaN", "region": "cn", "call_type": "video"}},
            "bad_quantity",
        ),
        ({"time": "2090-01-01T00:00:00Z"}, "time_in_future"),
        ({"type": "weather.changed"}, "unknown_type"),
        ({"time": "2026-10-05T02:00:00"}, "time_without_zone"),
    ]
    changes, reason = kinds[hash_of(number) % len(kinds)]
    return [
        (orjson.dumps({**event, "id": f"poison-{number}", **changes}), reason),
        (orjson.dumps({**event, "id": f"poison-{number}", "subject": "stranger"}), "unknown_subject"),
        (b'{"specversion":"1.0","id":"poison-%s",' % number.encode(), "unreadable"),
    ]


def hash_of(text: str) -> int:
    """The same in every process, which `hash` is not."""
    return sum(text.encode())
