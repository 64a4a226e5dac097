"""The key an event is sent with: that of the account which pays for its subject at its time.

An identifier may have belonged to one account after the other, and each counts its own usage. A retraction is keyed by its own
time, so that of an identifier that changed hands has the time of the event which it takes back. A top-up may name the account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import orjson
import polars as pl

from pipelines.event_time import read_times
from pipelines.partitions import keys_of_accounts
from schemas.balance import OrderType
from schemas.roster import Roster

Stretch = tuple[datetime | None, datetime | None, str]
"""From, to (excluded; None is open) and the key."""


_NAMES_ACCOUNT = frozenset({OrderType.TOPUP.value, OrderType.ADJUST.value, OrderType.RELEASE.value})
"""Events whose subject is an account, if there is one of that name (rating/balance/orders.py)."""


class Keys:
    """Looks up the key of events by a roster."""

    def __init__(self, roster: Roster) -> None:
        subscriptions = roster.subscriptions.select("subscription_id", "account_id").unique()
        accounts = keys_of_accounts(roster)
        self._accounts: dict[str, str] = dict(accounts.select("account_id", "key").iter_rows())
        payers = subscriptions.join(accounts, on="account_id").select("subscription_id", "key")
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

    def of(self, subject: object, time: object, kind: object = None) -> str | None:
        """The key of an event with these fields and type; None when nobody is known by that subject."""
        if not isinstance(subject, str):
            return None
        if kind in _NAMES_ACCOUNT and subject in self._accounts:
            return self._accounts[subject]
        key = self._one.get(subject)
        if key is not None or subject not in self._more:
            return key
        return _held_at(
            self._more[subject], read_times(pl.Series([time if isinstance(time, str) else None], dtype=pl.String))[0]
        )

    def of_all(self, subjects: pl.Series, times: pl.Series, kinds: pl.Series) -> pl.Series:
        """The key of every event (String), null when nobody is known by its subject.

        Args:
            subjects: String.
            times: The moment at which each happened (Datetime, UTC), null when that could not be read.
            kinds: Their types, String.
        """
        known = subjects.drop_nulls().unique()
        keys = subjects.replace_strict(known, pl.Series([self._one.get(one) for one in known], dtype=pl.String), default=None)
        shared = [one for one in known if one in self._more] if self._more else []
        if shared:
            at = subjects.is_in(shared).fill_null(False).arg_true()
            pairs = zip(subjects.gather(at), times.gather(at), strict=True)
            keys = keys.scatter(at, [_held_at(self._more[one], moment) for one, moment in pairs])
        named = kinds.is_in(list(_NAMES_ACCOUNT)).fill_null(False)
        if named.any():
            at = named.arg_true()
            found = [self._accounts.get(one, key) for one, key in zip(subjects.gather(at), keys.gather(at), strict=True)]
            keys = keys.scatter(at, pl.Series(found, dtype=pl.String))
        return keys

    def keyed(self, values: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of single events in JSON. One whose subject is unknown is keyed by that, and becomes a reject."""
        for value in values:
            try:
                event = orjson.loads(value)
                subject, time, kind = event["subject"], event.get("time"), event.get("type")
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                subject, time, kind = "", None, None  # it will be a reject, wherever it goes
            yield (self.of(subject, time, kind) or str(subject)).encode(), value


def _held_at(stretches: list[Stretch], at: datetime | None) -> str:
    for start, end, key in stretches:
        if at is not None and (start is None or start <= at) and (end is None or at < end):
            return key
    return stretches[-1][2]  # nobody's at that time: a reject, wherever it goes
