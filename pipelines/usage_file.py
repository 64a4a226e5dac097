"""Reads a usage file as messages: NDJSON, a JSON array, CSV or Parquet, one event per line or row.

The file's content names the stream and the row is the offset, so the same file twice is the same messages twice and a run
that was broken off continues where it stopped. A malformed line is still a message; decoding rejects it with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from pipelines.event_table import json_events
from pipelines.message_parts import array_members
from schemas.errors import BadFile
from schemas.events import ENVELOPE
from schemas.usage import RawBatch

_BOM = b"\xef\xbb\xbf"
_PARQUET = b"PAR1"
_BLOCK_BYTES = 1 << 20
_LONGEST_LINE = 64 << 20
"""A longer line is cut there: it is no event, and one line must not fill the memory."""


def read_usage_file(path: Path, *, chunk_rows: int, received_at_ms: int) -> Iterator[RawBatch]:
    """The file's events as messages, `chunk_rows` at a time, in the order of the file.

    NDJSON, CSV and Parquet are read in pieces; a JSON array is read as a whole. `offset` is the number of the line (NDJSON,
    blank lines counted) or of the row, from 0. CSV and Parquet have columns id, source, type, subject, time, and data as
    `data.<property>` or as any other column; an empty CSV field is an absent one.

    Raises:
        BadFile: It is missing, a folder or empty (at once), or damaged (when the reading gets there).
    """
    stream = f"file:{_digest(path)}"
    rows = _reader(path)(path, chunk_rows)
    return (RawBatch(stream, 0, offsets, values, [received_at_ms] * len(values)) for offsets, values in rows)


Rows = tuple[list[int], list[bytes | None]]
"""Offsets and events."""


def _digest(path: Path) -> str:
    """The first 16 hexadecimal digits of the content's SHA-256."""
    if path.is_dir():
        raise BadFile(path, "is a folder. Name one usage file.")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        raise BadFile(path, "there is no such file. Check the name.") from None
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error.strerror}). Check its permissions.") from None
    return digest


def _reader(path: Path) -> Callable[[Path, int], Iterator[Rows]]:
    """Chooses by content, and by the name's ending between CSV and NDJSON."""
    with path.open("rb") as file:
        start = file.read(_BLOCK_BYTES).removeprefix(_BOM)
    if not start.strip():
        raise BadFile(path, "is empty. A usage file has one event per line.")
    if start.startswith(_PARQUET):
        return _read_parquet
    first = start.lstrip()[:1]
    if path.suffix.lower() in (".parquet", ".pq"):
        raise BadFile(path, "is no Parquet file, although its name says so. Make it again, or give it the right ending.")
    if first == b"[":
        return _read_array
    if path.suffix.lower() in (".csv", ".tsv") or (first != b"{" and _looks_like_csv(start)):
        return _read_csv
    return _read_lines


def _looks_like_csv(start: bytes) -> bool:
    header = start.split(b"\n", 1)[0].strip().replace(b'"', b"").split(b",")
    return {b"id", b"type"} <= {name.strip() for name in header}


def _read_lines(path: Path, chunk_rows: int) -> Iterator[Rows]:
    with path.open("rb") as file:
        lines = enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""))
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        events = ((number, line.strip()) for number, line in lines)
        yield from _chunks(((number, line) for number, line in events if line), chunk_rows)


def _read_array(path: Path, chunk_rows: int) -> Iterator[Rows]:
    try:
        members = array_members(path.read_bytes().removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        raise BadFile(path, f"is no complete JSON array ({error}). Export it again, or write one event per line.") from None
    yield from _chunks(enumerate(members), chunk_rows)


def _chunks(events: Iterable[tuple[int, bytes]], chunk_rows: int) -> Iterator[Rows]:
    numbered = iter(events)
    while chunk := list(islice(numbered, chunk_rows)):
        yield [number for number, _ in chunk], [event for _, event in chunk]


def _read_parquet(path: Path, chunk_rows: int) -> Iterator[Rows]:
    damaged = BadFile(path, "is no complete Parquet file; it was probably cut off while it was copied. Copy it again.")
    try:
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        raise damaged from None
    _check_columns(path, pl.scan_parquet(path).collect_schema().names())
    for start in range(0, rows, chunk_rows):
        try:
            table = pl.scan_parquet(path).slice(start, chunk_rows).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            raise damaged from None
        yield list(range(start, start + table.height)), list(json_events(table))


def _read_csv(path: Path, chunk_rows: int) -> Iterator[Rows]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    start = 0
    try:
        csv = pl.scan_csv(path, separator=separator, infer_schema=False)
        _check_columns(path, csv.collect_schema().names())
        for table in csv.collect_batches(chunk_size=chunk_rows, maintain_order=True):
            for part in table.iter_slices(chunk_rows):
                yield list(range(start, start + part.height)), list(json_events(part))
                start += part.height
    except pl.exceptions.PolarsError as error:
        raise _bad_csv(path, error) from None


def _check_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in ENVELOPE if name not in names]
    if missing:
        raise BadFile(path, f"has no column {', '.join(missing)}. Its columns are {', '.join(names)}.")


def _bad_csv(path: Path, error: Exception) -> BadFile:
    if "utf-8" in str(error).lower() or "utf8" in str(error).lower():
        return BadFile(path, "is not UTF-8. Save it as CSV in UTF-8 and try again.")
    return BadFile(path, f"cannot be read as CSV ({str(error).splitlines()[0]}). Check the number of fields and the quotes.")
