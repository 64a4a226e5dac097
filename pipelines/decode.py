"""The one place where input is judged: messages become events, or rejects with the reason and where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from pipelines.binary_mode import structured_values
from pipelines.event_time import judge_times
from pipelines.message_events import read_messages
from schemas.book import Book
from schemas.events import ENVELOPE, LONGEST_TEXT
from schemas.frames import INSTANT
from schemas.usage import EVENTS, PROPERTY, REJECTS, RETRACTS, RawBatch, RejectReason

_ORIGIN = {"stream": pl.String, "stream_partition": pl.Int32, "stream_offset": pl.Int64, "received_at": pl.Int64}


class Decoded(NamedTuple):
    """What a number of messages held, in order of arrival."""

    events: pl.DataFrame
    """EVENTS with `retracts`, and `data.<property>` for every property and dimension that a meter of the book names."""
    rejects: pl.DataFrame
    """REJECTS; the version columns are null."""


def named_properties(book: Book) -> list[str]:
    """Every property of `data` that a meter of the book counts, tells apart or takes money from, sorted."""
    meters = book.meters
    names = {
        *meters["property"].drop_nulls(),
        *meters["money"].drop_nulls(),
        *meters["dimensions"].explode(empty_as_null=False).drop_nulls(),
    }
    return sorted(names)


def decode_batches(
    batches: Sequence[RawBatch],
    book: Book,
    *,
    max_event_bytes: int = 1 << 20,
    clock_skew_seconds: int = 86_400,
    also: Sequence[str] = (),
) -> Decoded:
    """Every event of the messages, judged by its envelope: present, bounded, at a time that can be.

    A message is one CloudEvent in JSON or in binary mode, a JSON array or NDJSON lines of them, or an Arrow stream. None (a
    tombstone) and a message without any event in it, such as an empty array, give nothing. Never raises for what a message
    holds.

    Args:
        batches: Messages in offset order per source.
        book: Names the properties to read.
        max_event_bytes: Longer events are rejected unread.
        clock_skew_seconds: How much later than its arrival an event may claim to have happened.
        also: Properties to read beside those of the book.
    """
    origin, values = _flatten(batches)
    properties = sorted({*named_properties(book), *also})
    read = read_messages(values, properties, max_event_bytes)
    came_in = read["came_in"]
    came_from = origin if came_in.equals(pl.Series(range(origin.height), dtype=pl.UInt32)) else origin[came_in]
    # Polars 2.1 panics in pl.format when the first chunk of a column is empty; one chunk each keeps later stages safe.
    events = pl.concat([came_from, read.drop("came_in")], how="horizontal").rechunk()
    return _judge(events, properties, clock_skew_seconds)


def _flatten(batches: Sequence[RawBatch]) -> tuple[pl.DataFrame, list[bytes]]:
    """One row of origin per message that is no tombstone, and the messages."""
    frames = [pl.DataFrame(schema=_ORIGIN)]
    values: list[bytes | None] = []
    for batch in batches:
        frame = pl.DataFrame({"stream_offset": batch.offsets, "received_at": batch.received_at_ms}, schema_overrides=_ORIGIN)
        frames.append(
            frame.select(
                pl.lit(batch.stream).alias("stream"),
                pl.lit(batch.partition, pl.Int32).alias("stream_partition"),
                "stream_offset",
                "received_at",
            )
        )
        values += batch.values if batch.headers is None else structured_values(batch.values, batch.headers)
    origin = pl.concat(frames).with_columns(pl.col("received_at").cast(pl.Datetime("ms", "UTC")).cast(INSTANT))
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        origin = origin.filter(pl.Series([value is not None for value in values], dtype=pl.Boolean))
    return origin, present


def _judge(events: pl.DataFrame, properties: Sequence[str], clock_skew_seconds: int) -> Decoded:
    """Separates the events from what is none."""
    faults: list[tuple[str | pl.Expr, str | pl.Expr]] = [("reason", "detail"), *map(_judge_text, ENVELOPE)]
    time = judge_times(pl.col("time"), pl.col("occurred_at"), pl.col("received_at"), clock_skew_seconds)
    reason = pl.coalesce(*(reason for reason, _ in faults), time[0])
    detail = pl.coalesce(*(detail for _, detail in faults), time[1])
    judged = events.with_columns(reason=reason).rename({"source": "event_source", "id": "event_id", "type": "event_type"})
    good = judged["reason"].is_null()
    columns = [*EVENTS.names(), RETRACTS, *(PROPERTY + name for name in properties)]
    if good.all():
        return Decoded(judged.select(columns), REJECTS.empty())
    refused = events.filter(~good).rechunk().with_columns(reason=reason, detail=detail)
    none = pl.lit(None, pl.Int32)
    refused = refused.with_columns(event_source="source", event_id="id", book_version=none, roster_version=none)
    return Decoded(judged.filter(good).select(columns), REJECTS.select(refused))


def _judge_text(name: str) -> tuple[pl.Expr, pl.Expr]:
    """(reason, sentence) of an envelope field that is absent, empty or too long."""
    text = pl.col(name)
    absent, empty = text.is_null(), text == ""
    long = text.str.len_chars() > LONGEST_TEXT
    reason = pl.when(absent | empty).then(pl.lit(RejectReason.MISSING_FIELD.value))
    detail = pl.when(absent).then(pl.lit(f"The event has no `{name}`.")).when(empty).then(pl.lit(f"`{name}` is empty."))
    if name == "time":
        return reason, detail
    sentence = pl.format(f"`{name}` has {{}} characters; at most {LONGEST_TEXT} are allowed.", text.str.len_chars())
    return reason.when(long).then(pl.lit(RejectReason.TOO_LARGE.value)), detail.when(long).then(sentence)
