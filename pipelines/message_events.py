"""The events of a number of messages: read in one pass where they are plain, otherwise by the slower readers."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.event_json import TEXTS, read_events
from pipelines.event_scan import Scanned, scan_messages
from pipelines.event_time import read_times, read_times_at
from pipelines.message_parts import Parts, cut_exactly, cut_messages
from schemas.usage import PROPERTY, RejectReason

SCANNED_BYTES = 1 << 18
"""Messages of fewer bytes are read by the slower readers, so that a command with a few events need not compile the scanner."""


def read_messages(
    values: Sequence[bytes], properties: Sequence[str], max_event_bytes: int, scanned_bytes: int = SCANNED_BYTES
) -> pl.DataFrame:
    """Every event of the messages, in order of arrival.

    Returns:
        One row per event: `came_in` (UInt32), the place of its message in `values`; `event_index` (Int32), its place inside;
        the ENVELOPE fields, `retracts` and `data.<property>` as String, null where absent; `reason` and `detail` (see REJECTS)
        of what is no event; `message` (Binary), the event as it was received; `occurred_at`, null where `time` is none.
    """
    if sum(map(len, values)) < scanned_bytes:
        return _read_slowly(values, properties, max_event_bytes)
    scanned = scan_messages(values, TEXTS, properties, max_event_bytes)
    read = _told(scanned, properties)
    if scanned.plain.all():
        return read
    others = pl.Series("came_in", (~scanned.plain).nonzero()[0], dtype=pl.UInt32)
    slow = _read_slowly([values[place] for place in others], properties, max_event_bytes)
    slow = slow.with_columns(others.gather(slow["came_in"]))
    return pl.concat([read, slow]).sort("came_in", maintain_order=True).rechunk()


def load_scanner() -> None:
    """Compile the scanner, or load it, now: for a process that would otherwise do it while messages wait."""
    read_messages([b'{"id":"1","data":{}}'], [], 1 << 20, scanned_bytes=0)


def _told(scanned: Scanned, properties: Sequence[str]) -> pl.DataFrame:
    names = [*TEXTS, *(PROPERTY + name for name in properties)]
    time = TEXTS.index("time")
    none = pl.repeat(None, len(scanned), dtype=pl.String, eager=True)
    return pl.DataFrame(
        [
            pl.Series("came_in", scanned.origin[0]).cast(pl.UInt32),
            pl.Series("event_index", scanned.origin[1]),
            *(scanned.texts(field).alias(name) for field, name in enumerate(names)),
            none.alias("reason"),
            none.alias("detail"),
            scanned.events().alias("message"),
            read_times_at(scanned.text, *scanned.field(time)).alias("occurred_at"),
        ]
    )


def _read_slowly(values: Sequence[bytes], properties: Sequence[str], max_event_bytes: int) -> pl.DataFrame:
    parts = cut_messages(values)
    read = _read_parts(parts, properties, max_event_bytes)
    wrong = _wrong_guesses(parts, read)
    if wrong:
        parts = _cut_again(parts, values, wrong)
        read = _read_parts(parts, properties, max_event_bytes)
    came_in = range(len(values)) if parts.one_each else parts.message
    index = pl.zeros(read.height, pl.Int32, eager=True) if parts.one_each else pl.Series(parts.index, dtype=pl.Int32)
    text, times = pl.Series("message", parts.texts, dtype=pl.Binary), read_times(read["time"]).alias("occurred_at")
    origin = [pl.Series("came_in", came_in, dtype=pl.UInt32), index.alias("event_index")]
    return pl.concat([pl.DataFrame(origin), read, pl.DataFrame([text, times])], how="horizontal")


def _wrong_guesses(parts: Parts, read: pl.DataFrame) -> set[int]:
    """The arrays in which a text turned out to be no event."""
    if not parts.guessed:
        return set()
    return {parts.message[i] for i in read["reason"].is_not_null().arg_true()} & parts.guessed


def _read_parts(parts: Parts, properties: Sequence[str], max_event_bytes: int) -> pl.DataFrame:
    """The events of all parts; the too long ones are not looked at."""
    longest = max(map(len, parts.texts), default=0)
    if longest <= max_event_bytes:
        return read_events(parts.texts, properties)
    read = read_events([text if len(text) <= max_event_bytes else b"{}" for text in parts.texts], properties)
    size = pl.Series("size", [len(text) for text in parts.texts])
    reason = pl.when(size > max_event_bytes).then(pl.lit(RejectReason.TOO_LARGE.value)).otherwise("reason")
    sentence = pl.format("The event has {} bytes; at most {} are allowed.", size, max_event_bytes)
    return read.with_columns(reason=reason, detail=pl.when(size > max_event_bytes).then(sentence).otherwise("detail"))


def _cut_again(parts: Parts, values: Sequence[bytes], wrong: set[int]) -> Parts:
    """The same parts, with the arrays that were cut in the wrong place (or hold what is no event) cut exactly."""
    again = Parts()
    done: set[int] = set()
    for text, message, index in zip(parts.texts, parts.message, parts.index, strict=True):
        if message not in wrong:
            again.texts.append(text)
            again.message.append(message)
            again.index.append(index)
        elif message not in done:
            done.add(message)
            again.add(message, cut_exactly(values[message]))
    return again
