"""Which buckets pay an amount, and which ones get it back."""

from __future__ import annotations

from datetime import datetime

from rating.balance.accounts import Account
from schemas.balance import MAIN

Parts = list[tuple[str, int]]
"""Buckets and what each gives (above 0) or gets back (below 0), money at scale 18."""


def draw(account: Account, at: datetime, scaled: int) -> Parts:
    """The buckets that pay an amount above 0: those in force in their order, and for what nothing covers the main one."""
    parts: dict[str, int] = {}
    for bucket in account.paying(None, at):
        part = min(scaled, max(bucket.left, 0))
        if part:
            parts[bucket.name] = part
            scaled -= part
    if scaled:
        parts[MAIN] = parts.get(MAIN, 0) + scaled
    return list(parts.items())


def give_back(account: Account, at: datetime, scaled: int, taken: Parts) -> Parts:
    """The buckets that get an amount above 0 back, the last to pay first.

    First those that paid the event that is taken back (`taken`), each what it paid; then what usage has taken of any bucket in
    force. What no bucket has paid goes to the main one.
    """
    parts: dict[str, int] = {}

    def give(name: str, most: int) -> None:
        nonlocal scaled
        part = min(scaled, most)
        if part > 0:
            parts[name] = parts.get(name, 0) - part
            scaled -= part

    for name, paid in reversed(taken):
        give(name, paid)
    for bucket in reversed(account.paying(None, at)):
        give(bucket.name, bucket.used + parts.get(bucket.name, 0))
    give(MAIN, scaled)
    return list(parts.items())
