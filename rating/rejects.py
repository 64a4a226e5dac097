"""Why an event is not charged, in one sentence that names the value and says what to do."""

from __future__ import annotations

import polars as pl

from rating.terms import Terms
from schemas.frames import FrameSchema
from schemas.usage import PROPERTY, REJECTS, RejectReason

REJECTED = FrameSchema("REJECTED", {"event": pl.UInt32, "reason": pl.String, "detail": pl.String})
"""One row per event that is not charged."""

_SHOWN = 60
"""Characters of an offending value that a sentence quotes."""


def name_strangers(unmatched: pl.DataFrame, measured: pl.DataFrame, subjects: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """REJECTED for events that no price charges: the first of type, subject, subscription and price that is missing.

    Args:
        unmatched: EVENTS with `event` that found no price.
        measured: MEASURED of the whole batch.
        subjects: `event`, `holder`, `occurred_at` of the whole batch.
    """
    if unmatched.is_empty():
        return REJECTED.empty()
    metered = measured.select("event").unique().with_columns(metered=pl.lit(True))
    known = terms.holders.select(subject="identifier").unique().with_columns(known=pl.lit(True))
    at = pl.col("occurred_at")
    active = (
        subjects.join(unmatched.select("event"), on="event", how="semi")
        .join(terms.active, on="holder")
        .filter((pl.col("active_from") <= at) & (pl.col("active_to").is_null() | (at < pl.col("active_to"))))
        .select("event")
        .unique()
        .with_columns(active=pl.lit(True))
    )
    time = at.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    kind, subject = _quoted(pl.col("event_type")), _quoted(pl.col("subject"))
    sentences = {
        RejectReason.UNKNOWN_TYPE: pl.format(
            "No meter measures events of type {}; add one to the catalog or mend the type.", kind
        ),
        RejectReason.UNKNOWN_SUBJECT: pl.format(
            "No subscription or identifier is called {}; add it to the roster or mend the subject.", subject
        ),
        RejectReason.NOT_SUBSCRIBED: pl.format(
            "{} had no subscription at {}; check its term in the roster and the event's time.", subject, time
        ),
        RejectReason.NO_PRICE: pl.format(
            "No price of {}'s plans covers events of type {} with these dimensions at {}; add a price to the plan.",
            subject,
            kind,
            time,
        ),
    }
    reason = (
        pl.when(pl.col("metered").is_null())
        .then(pl.lit(RejectReason.UNKNOWN_TYPE.value))
        .when(pl.col("known").is_null())
        .then(pl.lit(RejectReason.UNKNOWN_SUBJECT.value))
        .when(pl.col("active").is_null())
        .then(pl.lit(RejectReason.NOT_SUBSCRIBED.value))
        .otherwise(pl.lit(RejectReason.NO_PRICE.value))
    )
    judged = (
        unmatched.join(metered, on="event", how="left")
        .join(known, on="subject", how="left")
        .join(active, on="event", how="left")
        .with_columns(reason=reason)
    )
    return REJECTED.select(write_sentences(judged, sentences))


def name_problems(events: pl.DataFrame, problems: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """REJECTED for events whose quantity cannot be charged.

    Args:
        problems: `event`, `meter`, `problem` (a RejectReason), one row per event.
    """
    found = [REJECTED.empty()]
    for (meter,), mine in problems.group_by("meter", maintain_order=True):
        row = meters.row(by_predicate=pl.col("meter") == meter, named=True)
        told = mine.join(events, on="event", how="left")
        value = _property(told, row["property"])
        what = f"'{row['property']}' of meter {row['meter_id']}"
        shown = _quoted(value.fill_null(""))
        sentences = {
            RejectReason.MISSING_FIELD: pl.lit(f"The event has no property {what}; send it."),
            RejectReason.BAD_QUANTITY: pl.format(
                f"Property {what} is {{}}; send a plain number with at most {row['quantity_scale']} decimals.", shown
            ),
            RejectReason.BAD_PRICE: pl.format(
                f"Property '{row['money']}' of meter {row['meter_id']}, the price that comes with the event, is {{}}; send a "
                "plain number of 0 or more with fewer decimals or digits.",
                _quoted(_property(told, row["money"])),
            ),
            RejectReason.NEGATIVE_QUANTITY: pl.format(f"Property {what} is {{}}; a quantity cannot be below zero.", shown),
            RejectReason.NO_PRICE: pl.lit(
                f"A part of what meter {row['meter_id']} measured has no price: a window of its calendar has none in the "
                "plans, or the calendar lacks the holidays of that year. Add what is missing, publish and retry."
            ),
            RejectReason.QUANTITY_TOO_LARGE: pl.format(
                f"Property {what} is {{}}; that is more than can be rated exactly. Split it or choose a coarser unit.", shown
            ),
        }
        found.append(REJECTED.select(write_sentences(told.with_columns(reason="problem"), sentences)))
    return pl.concat(found)


def _property(events: pl.DataFrame, name: str | None) -> pl.Expr:
    """The property of `data`, null where there is no such column."""
    column = f"{PROPERTY}{name}"
    return pl.col(column) if column in events.columns else pl.lit(None, pl.String)


def write_sentences(judged: pl.DataFrame, sentences: dict[RejectReason, pl.Expr]) -> pl.DataFrame:
    """The rows with `detail`: the sentence that belongs to their `reason`.

    In one chunk: Polars 2.1 panics in pl.format when the first chunk of a column is empty, which filters leave behind.
    """
    chosen: pl.Expr = pl.lit(None, pl.String)
    for reason, sentence in sentences.items():
        chosen = pl.when(pl.col("reason") == reason.value).then(sentence).otherwise(chosen)
    return judged.rechunk().select(pl.all(), detail=chosen)


def write_rejects(events: pl.DataFrame, rejected: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """REJECTS, in arrival order, each with the event as it was received."""
    told = rejected.sort("event").join(events, on="event", how="left", maintain_order="left")
    return REJECTS.select(
        told.with_columns(
            book_version=pl.lit(terms.book_version, pl.Int32), roster_version=pl.lit(terms.roster_version, pl.Int32)
        )
    )


def _quoted(value: pl.Expr) -> pl.Expr:
    """The value in quotes, cut short."""
    text = value.fill_null("")
    cut = pl.when(text.str.len_chars() > _SHOWN).then(text.str.head(_SHOWN) + "...").otherwise(text)
    return pl.format("'{}'", cut)
