"""Taking events back: an event with `retracts` names an earlier event of its source, and undoes what that one contributed.

What the earlier event was charged with is found in the same batch or in the ledger, so the retraction needs no quantities of
its own. It is counted at the moment and in the period of the event that it takes back, whatever its own time says. An event
can be taken back once; what comes again is a duplicate. A retraction cannot be taken back: send the usage under a new id.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import polars as pl

from rating.rejects import REJECTED
from rating.seen import SeenEvents, hash_ids
from rating.terms import Terms
from schemas.frames import INSTANT, FrameSchema
from schemas.ledger import AGGREGATE_KEY, POSITION_KEY, POSTINGS, moves_aggregate
from schemas.usage import RETRACTS, RejectReason

TAKEN = FrameSchema(
    "TAKEN",
    {
        "event": pl.UInt32,  # row of EVENTS: the retraction
        "charge": pl.UInt32,
        "meter": pl.UInt32,
        "quantity_quanta": pl.Int64,  # what the event that is taken back reported, or the part of it that the price charged
        "reported_quanta": pl.Int64,
        "windows": pl.String,
        "dimensions": pl.String,
        "occurred_at": INSTANT,
        "usage_period": pl.Date,
        "counted_for": pl.String,  # whose usage adds up in the aggregate it was counted in; null: that of the charge
        "event_source": pl.String,  # of the event that is taken back
        "event_id": pl.String,
        "value": pl.String,
        "of": pl.UInt32,  # its row of EVENTS; null when it was charged by an earlier batch
    },
)
"""One row per retraction and price that had charged the event it takes back."""

_IDENTITY = ["event_source", "event_id"]
_TARGET = ["event_source", RETRACTS]


class Posted(Protocol):
    """What the ledger holds of earlier batches."""

    def events(self, ids: pl.DataFrame) -> pl.DataFrame:
        """POSTINGS of these events, and the rows that correct them.

        Args:
            ids: `account_id`, `event_source`, `event_id`.
        """
        ...

    def aggregates(self, keys: pl.DataFrame) -> pl.DataFrame:
        """POINT_COLUMNS of the rows, shares left out, of events of these aggregates.

        Args:
            keys: `account_id` (null: of any account) and AGGREGATE_KEY.
        """
        ...


class NothingPosted:
    """A ledger without rows."""

    def events(self, ids: pl.DataFrame) -> pl.DataFrame:
        return POSTINGS.empty()

    def aggregates(self, keys: pl.DataFrame) -> pl.DataFrame:
        return POSTINGS.empty()


class Retracted(NamedTuple):
    rows: pl.DataFrame  # TAKEN
    rejected: pl.DataFrame  # REJECTED
    duplicates: int
    targets: pl.DataFrame  # event_source, event_id, retracts, and the rows of the ledger they name: see name_corrected
    posted: pl.DataFrame  # POSTINGS of earlier batches that are taken back


def take_back(events: pl.DataFrame, charged: pl.DataFrame, terms: Terms, seen: SeenEvents, posted: Posted) -> Retracted:
    """Find what each retraction takes back.

    Args:
        events: EVENTS with `event` and `retracts`; rows without `retracts` are ordinary events.
        charged: CHARGED of the ordinary events of the batch that are new.
    """
    asked = events.filter(pl.col(RETRACTS).is_not_null()).select("event", *_IDENTITY, RETRACTS, "subject")
    if asked.is_empty():
        return Retracted(TAKEN.empty(), REJECTED.empty(), 0, asked, POSTINGS.empty())
    asked = asked.with_columns(_known(asked, "event_id", seen).alias("known"))
    whose = _subscriptions(asked, terms)
    here = _charged_here(asked, charged, events)
    elsewhere = asked.join(whose, on="event").join(here, on="event", how="anti")
    elsewhere = elsewhere.filter(_known(elsewhere, RETRACTS, seen))
    rows = posted.events(elsewhere.select("account_id", "event_source", pl.col(RETRACTS).alias("event_id")).unique())
    standing = _standing(rows)
    before = _charged_before(asked, standing, terms)
    found = pl.concat([here, before])
    ordinary = rows.filter(pl.col("corrects").is_null()).select("event_source", pl.col("event_id").alias(RETRACTS)).unique()
    judged = _judge(asked, found, ordinary, charged, events, whose, terms)
    good = judged.filter(pl.col("verdict") == "take")
    rejected = judged.filter(pl.col("verdict").is_in([reason.value for reason in RejectReason]))
    return Retracted(
        TAKEN.select(found.join(good, on="event", how="semi").sort("event", "charge")),
        REJECTED.select(rejected.with_columns(reason="verdict", detail=_sentence())),
        judged.height - good.height - rejected.height,
        good.select(*_IDENTITY, RETRACTS),
        standing,
    )


def move_times(events: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """The events, each retraction at the moment of the event that it takes back: prices and shares are those of that moment."""
    times = taken.select("event", at="occurred_at").unique("event")
    moved = events.join(times, on="event", how="left", maintain_order="left")
    return moved.with_columns(occurred_at=pl.coalesce("at", "occurred_at")).drop("at")


def name_corrected(postings: pl.DataFrame, retracted: Retracted) -> pl.DataFrame:
    """POSTINGS in the same order, each row of a retraction with the position of the row that it takes back."""
    if retracted.targets.is_empty():
        return postings
    party = [*AGGREGATE_KEY, "role", "partner_id", "nth"]
    nth = pl.int_range(pl.len()).over(*_IDENTITY, *party[:-1], order_by=POSITION_KEY)
    numbered = postings.with_columns(nth=nth)
    candidates = pl.concat([retracted.posted.with_columns(nth=nth), numbered])
    named = candidates.select("event_source", pl.col("event_id").alias(RETRACTS), *party, named=_position())
    both = numbered.join(retracted.targets, on=_IDENTITY, how="left", maintain_order="left").join(
        named, on=[*_TARGET, *party], how="left", nulls_equal=True, maintain_order="left"
    )
    corrects = pl.when(pl.col(RETRACTS).is_not_null()).then("named").otherwise("corrects")
    return POSTINGS.select(both.with_columns(corrects=corrects))


def _position() -> pl.Expr:
    return pl.concat_str([pl.col(name).cast(pl.String) for name in POSITION_KEY], separator="/")


def _known(rows: pl.DataFrame, event_id: str, seen: SeenEvents) -> pl.Series:
    """Whether an event of that id was charged by an earlier batch."""
    return seen.check(rows.select(hash_ids(event_id))["id_hash"]).is_not_null()


def _subscriptions(asked: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`event`, `holder`, `account_id`: the subscriptions that each retraction's subject is or ever was."""
    payers = terms.usage.select("holder", "account_id").unique()
    named = asked.select("event", identifier="subject").join(terms.holders.select("identifier", "holder"), on="identifier")
    return named.join(payers, on="holder").select("event", "holder", "account_id").unique()


def _charged_here(asked: pl.DataFrame, charged: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """TAKEN of retractions whose event came before them in this batch."""
    if charged.is_empty():
        return TAKEN.empty()
    ids = events.select(*_IDENTITY)[charged["event"]]
    rows = charged.rename({"event": "of"}).hstack(ids)
    pairs = rows.join(asked.select("event", "event_source", event_id=RETRACTS), on=_IDENTITY).filter(
        pl.col("of") < pl.col("event")
    )
    return TAKEN.select(pairs.with_columns(value=pl.lit(None, pl.String)))


def _standing(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that no other row has taken back."""
    gone = rows.select(pl.col("corrects").drop_nulls().unique())
    kept = rows.filter(pl.col("corrects").is_null()).with_columns(_position().alias("position"))
    return kept.join(gone, left_on="position", right_on="corrects", how="anti").drop("position")


def _charged_before(asked: pl.DataFrame, standing: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """TAKEN of retractions whose event an earlier batch charged; `charge` is null where its price is no longer known."""
    at = pl.col("occurred_at")
    names = ["subscription_id", "price_id", "price_version"]
    charges = terms.usage.with_row_index("charge").select(
        *("charge", *names, "charged_from", "charged_to", "meter"), own="counted_for"
    )
    rows = (
        standing.drop("charge")
        .filter(moves_aggregate())
        .join(asked.select("event", "event_source", event_id=RETRACTS), on=_IDENTITY)
    )
    priced = (
        rows.join(charges, on=names, how="left")
        .with_columns(now=((pl.col("charged_from") <= at) & (at < pl.col("charged_to"))).fill_null(False))
        .sort("event", "now", "charge", descending=[False, True, False])
        .unique(["event", *AGGREGATE_KEY], keep="first", maintain_order=True)
    )
    other = pl.when(pl.col("counted_for").ne_missing(pl.col("own"))).then("counted_for")
    return TAKEN.select(priced.with_columns(of=pl.lit(None, pl.UInt32), counted_for=other))


def _judge(
    asked: pl.DataFrame,
    found: pl.DataFrame,
    ordinary: pl.DataFrame,
    charged: pl.DataFrame,
    events: pl.DataFrame,
    whose: pl.DataFrame,
    terms: Terms,
) -> pl.DataFrame:
    """`asked` with `verdict`: take, again (it adds nothing), or the reason for which it is refused."""
    holders = found.select("event", pl.col("charge")).with_columns(terms.usage["holder"].gather(found["charge"]))
    strange = holders.join(whose, on=["event", "holder"], how="anti").select("event").unique().with_columns(strange=True)
    lost = found.filter(pl.col("charge").is_null()).select("event").unique().with_columns(lost=True)
    there = found.select("event").unique().with_columns(found=True)
    once = ordinary.with_columns(was=True)
    taken_ids = events.select(*_IDENTITY)[charged["event"]].unique().with_columns(other=True)
    judged = (
        asked.join(there, on="event", how="left")
        .join(strange, on="event", how="left")
        .join(lost, on="event", how="left")
        .join(once, on=_TARGET, how="left")
        .join(taken_ids, on=_IDENTITY, how="left")
        .sort("event")
    )
    good = pl.col("found").is_not_null() & pl.col("strange").is_null() & pl.col("lost").is_null() & pl.col("other").is_null()
    gone = pl.col("found").is_null() & pl.col("was").is_not_null()
    differs, unknown = RejectReason.DUPLICATE_DIFFERS.value, RejectReason.UNKNOWN_RETRACTION.value
    first_of_id, first_of_target = pl.struct(_IDENTITY).is_first_distinct(), pl.struct(_TARGET).is_first_distinct()
    firm = judged.with_columns(
        verdict=pl.when(pl.col("other").is_not_null() | (pl.col("known") & ~gone))
        .then(pl.lit(differs))
        .when(gone)
        .then(pl.lit("again"))
        .when(~good)
        .then(pl.lit(unknown))
        .otherwise(pl.lit("take"))
    )
    takers = firm.filter(pl.col("verdict") == "take")
    narrowed = takers.with_columns(
        verdict=pl.when(~first_of_target).then(pl.lit("again")).when(~first_of_id).then(pl.lit(differs)).otherwise("verdict")
    )
    return pl.concat([firm.filter(pl.col("verdict") != "take"), narrowed]).sort("event")


def _sentence() -> pl.Expr:
    differs = pl.format(
        "Event '{}' of source '{}' was charged before and took back nothing or another event; "
        "send the retraction under an id of its own.",
        "event_id",
        "event_source",
    )
    lost = pl.format(
        "The price that charged event '{}' is no longer in the price book and roster; publish it again and retry.", RETRACTS
    )
    other = pl.format("Event '{}' was charged to another subscription than '{}'; mend the subject.", RETRACTS, "subject")
    none = pl.format("No event '{}' of source '{}' has been charged so far; retry when it has come.", RETRACTS, "event_source")
    return (
        pl.when(pl.col("verdict") == RejectReason.DUPLICATE_DIFFERS.value)
        .then(differs)
        .when(pl.col("lost").is_not_null())
        .then(lost)
        .when(pl.col("strange").is_not_null())
        .then(other)
        .otherwise(none)
    )
