"""An aggregate has one owner, and so has a balance: the partition to which the account's key leads. What comes by another one
is not charged, and no top-up counts there.

Two workers that count for one account do not know of each other, and the second would price as if the first had counted
nothing. Whoever reads the wrong partition cannot repair that, so the event becomes a reject, to be sent again with its key.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from rating.rejects import REJECTED, write_sentences
from rating.retract import Retracted
from rating.seen import SeenEvents, hash_ids
from rating.terms import Terms
from schemas.usage import RejectReason

_IDENTITY = ["event_source", "event_id"]


class Owners(NamedTuple):
    """Which partition counts what (Int32)."""

    charges: pl.Series  # for each row of `Terms.usage`
    accounts: pl.DataFrame  # `account_id`, `owner`: every account


class Kept(NamedTuple):
    charged: pl.DataFrame  # CHARGED of events that came to their owner, and of events charged before
    rejected: pl.DataFrame  # REJECTED of the others


def keep_own(charged: pl.DataFrame, events: pl.DataFrame, terms: Terms, owners: Owners | None, seen: SeenEvents) -> Kept:
    """Leave out events that came to another partition than the one that counts their account.

    An event that was charged before may stay: wherever it comes again, it is a duplicate.

    Args:
        charged: CHARGED.
        events: EVENTS with `event`, in arrival order.
        owners: None: whoever has the event counts it.
    """
    wrong = _misplaced(charged, events, owners)
    if wrong.is_empty():
        return Kept(charged, REJECTED.empty())
    ids = events.select(*_IDENTITY)[wrong["event"]].select(hash_ids())["id_hash"]
    wrong = wrong.filter(seen.check(ids).is_null())
    kept = charged.join(wrong, on="event", how="anti", maintain_order="left")
    return Kept(kept, _told(wrong, events, terms))


def keep_own_retractions(back: Retracted, events: pl.DataFrame, terms: Terms, owners: Owners | None) -> Retracted:
    """The same of events that take others back: they move the aggregate of the event that they name."""
    wrong = _misplaced(back.rows, events, owners)
    if wrong.is_empty():
        return back
    ids = events.select(*_IDENTITY)[wrong["event"]]
    return back._replace(
        rows=back.rows.join(wrong, on="event", how="anti", maintain_order="left"),
        rejected=pl.concat([back.rejected, _told(wrong, events, terms)]),
        targets=back.targets.join(ids, on=_IDENTITY, how="anti", maintain_order="left"),
    )


def reject_misplaced_orders(
    orders: pl.DataFrame, events: pl.DataFrame, owners: Owners | None, seen: SeenEvents
) -> pl.DataFrame:
    """REJECTED of the events about a balance that came to another partition, likewise.

    Args:
        orders: `event`, `account_id`, one row per event that was understood.
        events: EVENTS with `event`.
    """
    if owners is None or orders.is_empty():
        return REJECTED.empty()
    mine = events.select("event", *_IDENTITY, place="stream_partition")
    placed = orders.join(owners.accounts, on="account_id").join(mine, on="event", maintain_order="left")
    wrong = placed.filter(pl.col("owner") != pl.col("place"))
    if wrong.is_empty():
        return REJECTED.empty()
    known = seen.check(wrong.select(hash_ids())["id_hash"])
    return _write(wrong.filter(known.is_null()).rename({"account_id": "account"}))


def _misplaced(rows: pl.DataFrame, events: pl.DataFrame, owners: Owners | None) -> pl.DataFrame:
    """`event`, `charge`, `owner`, one row per event that came to another partition."""
    if owners is None or rows.is_empty():
        return pl.DataFrame(schema={"event": pl.UInt32, "charge": pl.UInt32, "owner": pl.Int32})
    owner = owners.charges.gather(rows["charge"])
    wrong = owner != events["stream_partition"].gather(rows["event"])
    found = rows.select("event", "charge").with_columns(owner.alias("owner")).filter(wrong)
    return found.unique("event", keep="first", maintain_order=True)


def _told(wrong: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """REJECTED."""
    account = terms.usage["account_id"].gather(wrong["charge"]).alias("account")
    place = events["stream_partition"].gather(wrong["event"]).alias("place")
    return _write(wrong.with_columns(account, place))


def _write(wrong: pl.DataFrame) -> pl.DataFrame:
    """REJECTED of `event`, `account`, `owner` and `place`, the partition by which it came."""
    sentence = pl.format(
        "Account '{}' is counted on partition {}, and the event came by partition {}; send it again with the account's key, "
        "as `boss rejects retry` does.",
        "account",
        "owner",
        "place",
    )
    reason = RejectReason.WRONG_PARTITION
    judged = wrong.with_columns(pl.lit(reason.value).alias("reason"))
    return REJECTED.select(write_sentences(judged, {reason: sentence}))
