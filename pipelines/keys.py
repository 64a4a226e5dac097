"""The key an event is sent with: that of the account which pays for its subject at its time.

An identifier may have belonged to one account after the other, and each counts its own usage. A retraction is keyed by its own
time, so that of an identifier that changed hands has the time of the event which it takes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import orjson
import polars as pl

from pipelines.event_time import read_times
from pipelines.partitions import keys_of_accounts
from schemas.roster import Roster

Stretch = tuple[datetime | None, datetime | None, str]
"""From, to (excluded; None is open) and the key."""


class Keys:
    """Looks up the key of events by a roster."""

    def __init__(self, roster: Roster) -> None:
        subscriptions = roster.subscriptions.select("subscription_id", "account_id").unique()
        payers = subscriptions.join(keys_of_accounts(roster), on="account_id").select("subscription_id", "key")
        listed = roster.identifiers.select("identifier", "subscription_id", "valid_from", "valid_to")
        # As in rating, a subscription goes by its own name unless the roster lists that as an identifier.
        own = payers.join(listed, left_on="subscription_id", right_on="identifier", how="anti")
        held = listed.join(payers, on="subscription_id").select("identifier", "key", "valid_from", "valid_to")
        one = held.group_by("identifier").agg(pl.col("key").unique()).filter(pl.col("key").list.len() == 1)
        self._one = dict(one.select("identifier", pl.col("key").list.first()).iter_rows())
        self._one |= dict(own.select("subscription_id", "key").iter_rows())
        self._more: dict[str, list[Stretch]] = {}
        shared = held.join(one, on="identifier", how="anti").sort("valid_from", nulls_last=False)
        for identifier, key, start, end in shared.select("identifier", "key", "valid_from", "valid_to").iter_rows():
            self._more.setdefault(identifier, []).append((start, end, key))

    def of(self, subject: object, time: object) -> str | None:
        """The key of an event with these fields; None when nobody is known by that subject."""
        if not isinstance(subject, str):
            return None
        key = self._one.get(subject)
        return key if key is not None or subject not in self._more else self._at(self._more[subject], time)

    def keyed(self, values: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of single events in JSON. One whose subject is unknown is keyed by that, and becomes a reject."""
        for value in values:
            try:
                event = orjson.loads(value)
                subject, time = event["subject"], event.get("time")
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                subject, time = "", None  # it will be a reject, wherever it goes
            yield (self.of(subject, time) or str(subject)).encode(), value

    def _at(self, stretches: list[Stretch], time: object) -> str:
        at = read_times(pl.Series([time if isinstance(time, str) else None], dtype=pl.String))[0]
        for start, end, key in stretches:
            if at is not None and (start is None or start <= at) and (end is None or at < end):
                return key
        return stretches[-1][2]  # nobody's at that time: a reject, wherever it goes
