"""Cuts a message into the events it carries: one JSON event, a JSON array, NDJSON lines or an Arrow stream."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from pipelines.event_table import arrow_events

ARROW_STREAM = b"\xff\xff\xff\xff"
ARROW_FILE = b"ARROW1"
_BETWEEN_MEMBERS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_SPACE = re.compile(r"[ \t\r\n]*")
_BLANK = b" \t\r\n"


@dataclass
class Parts:
    """The events of a number of messages, each as its own bytes."""

    texts: list[bytes] = field(default_factory=list)
    message: list[int] = field(default_factory=list)
    """The message each text came in, by its place in the list of messages."""
    index: list[int] = field(default_factory=list)
    """Its place inside that message."""
    guessed: set[int] = field(default_factory=set)
    """Arrays cut at every `},{`. When each text is an event the cut was right; otherwise use `cut_exactly`."""

    one_each: bool = False
    """Every message is one event; `message` and `index` are left out."""

    def add(self, message: int, texts: Sequence[bytes]) -> None:
        self.texts += texts
        self.message += [message] * len(texts)
        self.index += range(len(texts))


def cut_messages(values: Sequence[bytes]) -> Parts:
    """The events of every message, in order. What cannot be cut is one text as it is: reading it finds out why."""
    column = pl.Series(values, dtype=pl.Binary)
    if (column.bin.starts_with(b"{") & column.bin.ends_with(b"}") & ~column.bin.contains(b"\n")).all():
        return Parts(list(values), one_each=True)
    parts = Parts()
    for place, value in enumerate(values):
        if value[:1] == b"{" and value[-1:] == b"}" and b"\n" not in value:
            parts.add(place, [value])
        elif value.startswith((ARROW_STREAM, ARROW_FILE)):
            parts.add(place, _cut_arrow(value))
        else:
            bare = value.strip(_BLANK)
            if bare[:1] == b"[":
                parts.guessed.add(place)
                parts.add(place, _guess_members(bare))
            else:
                parts.add(place, _cut_lines(bare) or [value])
    return parts


def array_members(array: bytes) -> list[bytes]:
    """The members of a JSON array that is known to be one, such as a file: cut fast, checked, and cut again where need be.

    Raises:
        ValueError: It is no JSON array. RecursionError: nested too deeply.
    """
    members = _guess_members(array.strip(_BLANK))
    try:
        objects = pl.read_ndjson(b"\n".join(members), schema={"id": pl.String}).height if members else 0
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        objects = -1
    whole = all(member[:1] == b"{" and member[-1:] == b"}" for member in members)
    if whole and objects == len(members):
        return members
    return cut_array(array.decode())


def cut_exactly(value: bytes) -> list[bytes]:
    """The members of a JSON array as their own bytes; the whole message as one text when it is no such array."""
    try:
        return cut_array(value.decode())
    except (ValueError, RecursionError):
        return [value]


def cut_array(text: str) -> list[bytes]:
    """The members of a JSON array, each as it stands in the text.

    Raises:
        ValueError: It is no JSON array. RecursionError: nested too deeply.
    """
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    members: list[bytes] = []
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("no array")
    at = _skip(text, at + 1)
    closed = text[at : at + 1] == "]"
    while not closed:
        _, end = decoder.raw_decode(text, at)
        members.append(text[at:end].encode())
        at = _skip(text, end)
        if text[at : at + 1] not in ("]", ","):
            raise ValueError(f"expected , or ] at character {at}")
        closed = text[at : at + 1] == "]"
        at = _skip(text, at + 1)
    if at < len(text):
        raise ValueError(f"more text after the array at character {at}")
    return members


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _guess_members(array: bytes) -> list[bytes]:
    if array[-1:] != b"]":
        return [array]
    inner = array[1:-1].strip(_BLANK)
    return _BETWEEN_MEMBERS.sub(b"}\n{", inner).split(b"\n") if inner else []


def _cut_lines(bare: bytes) -> list[bytes]:
    """NDJSON lines. An object written over several lines is one event: its first line is not complete."""
    lines = [line for line in (line.strip(_BLANK) for line in bare.split(b"\n")) if line]
    if len(lines) > 1 and not _is_json(lines[0]) and _is_json(bare):
        return [bare]
    return lines


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _cut_arrow(value: bytes) -> list[bytes]:
    try:
        return arrow_events(value)
    except ValueError:
        return [value]
