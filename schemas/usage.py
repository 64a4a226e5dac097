"""Usage on its way in: the CloudEvent at the edge, the frames it becomes, and the rejects it may end as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from schemas.frames import INSTANT, FrameSchema

Header = tuple[str, bytes | None]
"""Name and value of a header of a Kafka message."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Messages of one source as they came, in offset order: one Kafka poll of a partition, or a slice of a file."""

    stream: str
    partition: int
    offsets: Sequence[int]  # strictly increasing; gaps are allowed
    values: Sequence[bytes | None]  # None is a tombstone: no event
    received_at_ms: Sequence[int]  # when the broker (or we, for a file) got the message, ms since 1970 UTC
    headers: Sequence[Sequence[Header]] | None = None  # of each message; None when no message has any

    def __len__(self) -> int:
        return len(self.values)


PROPERTY = "data."
"""Prefix of the columns of EVENTS that hold the event's `data`, one per property the price book's meters name."""

RETRACTS = "retracts"
"""Column beside EVENTS, and CloudEvents extension: the id of the event of the same source that this one takes back, or null."""

EVENTS = FrameSchema(
    "EVENTS",
    {
        "stream": pl.String,  # where the event came from: 'kafka:usage@1', 'file:9f86d081884c7d65'
        "stream_partition": pl.Int32,
        "stream_offset": pl.Int64,  # Kafka offset, or row in the file
        "event_index": pl.Int32,  # place inside its message; 0 when a message is one event
        "event_source": pl.String,
        "event_id": pl.String,
        "event_type": pl.String,
        "subject": pl.String,  # a subscription or one of its service identifiers
        "occurred_at": INSTANT,
        "message": pl.Binary,  # the event as it was received, kept for rejects only
    },
)
"""One row per event that could be read, in arrival order. Followed by `data.<property>` columns (String, null if absent)."""

USAGE = FrameSchema(
    "USAGE",
    {
        "event": pl.UInt32,  # row of EVENTS
        "meter_id": pl.String,
        "quantity_quanta": pl.Int64,  # what this event adds, in quanta of the meter: units x 10^quantity_scale
        "dimensions": pl.String,  # the meter's dimensions as 'region=cn,call_type=pstn', in the meter's order
    },
)
"""One row per event and meter that measures it."""

REJECTS = FrameSchema(
    "REJECTS",
    {
        "stream": pl.String,
        "stream_partition": pl.Int32,
        "stream_offset": pl.Int64,
        "event_index": pl.Int32,
        "event_source": pl.String,  # null when the message could not be read that far
        "event_id": pl.String,
        "reason": pl.String,  # a RejectReason
        "detail": pl.String,  # one sentence with the offending value
        "message": pl.Binary,  # the event as it was received, so that it can be sent again
        "book_version": pl.Int32,
        "roster_version": pl.Int32,
    },
)
"""One row per event that was not charged, with the reason. The origin is (stream, partition, offset, index)."""


class RejectReason(StrEnum):
    """Why an event was not charged. docs/ERRORS.md says what to do about each."""

    UNREADABLE = "unreadable"  # no JSON object, or not UTF-8
    TOO_LARGE = "too_large"  # more bytes than an event may have
    MISSING_FIELD = "missing_field"  # id, source, type, subject, time or a property that a meter needs
    BAD_TIME = "bad_time"  # no RFC 3339 time
    TIME_WITHOUT_ZONE = "time_without_zone"
    TIME_IN_FUTURE = "time_in_future"  # later than it was received, beyond the allowed clock skew
    BAD_QUANTITY = "bad_quantity"  # not a number, NaN, infinite, or finer than the meter's scale
    NEGATIVE_QUANTITY = "negative_quantity"
    BAD_PRICE = "bad_price"  # the price or amount that should come with the event is absent, no number, below zero or too fine
    QUANTITY_TOO_LARGE = "quantity_too_large"  # one event, or the running total, beyond what is exact
    UNKNOWN_TYPE = "unknown_type"  # no meter measures this event type
    UNKNOWN_SUBJECT = "unknown_subject"  # no subscription or identifier of that name
    NOT_SUBSCRIBED = "not_subscribed"  # the subject exists, but had no subscription at that time
    NO_PRICE = "no_price"  # subscribed, but no price of the plan covers this meter and these dimensions then
    DUPLICATE_DIFFERS = "duplicate_differs"  # the id was charged before with another content
    WRONG_PARTITION = "wrong_partition"  # the account is counted on another partition of the topic
    UNKNOWN_RETRACTION = "unknown_retraction"  # it takes back an event that has not been charged
    BAD_BALANCE = "bad_balance"  # a top-up, adjustment or reservation whose data is wrong
    NOT_PREPAID = "not_prepaid"  # the account has no balance
    UNKNOWN_RESERVATION = "unknown_reservation"  # the session has nothing reserved, or has it already
