"""Reads plain JSON events at the speed of their bytes: one pass over all messages finds where each wanted text stands.

Plain is a message that is an event, an array of events or lines of events, in which every wanted field is a text without
escapes, a plain number, true, false or null, and stands there once. Nothing is guessed: the whole message is checked against
the grammar of JSON, and one that is not plain, or no JSON at all, is left to the slower readers, which read the same events
the same way (event_json.py) and find out what is wrong. Numbers keep every digit; zeros at the end of a fraction are cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.text_views import LONGEST_TEXT_BYTES, Bytes, Places, view_bytes, view_texts
from rating.compiled import compiled, part

Flags: TypeAlias = npt.NDArray[np.bool_]

_DEEPEST = 60
_LONGEST_NUMBER = 300
_UNMET = -2
_TAIL = b"\0" * 8
"""No JSON holds a zero byte, so it ends every text, number and space: the loops need not look for the end."""
_INSIDE = np.array([byte >= 32 and byte != 34 and byte != 92 for byte in range(256)])
"""Of every byte, whether a text goes on with it."""
_WORDS = np.frombuffer(b"truenullfalsedata", np.uint8)


@dataclass(frozen=True)
class Scanned:
    """The events of plain messages, one each in order of arrival."""

    text: bytes
    """All messages, with zero bytes between them."""
    origin: npt.NDArray[np.int32]
    """By event: the message it came in, and its place inside."""
    places: Places
    """By event: from where to where (excluded) it stands in `text`, then the same of every field; below 0 is absent or null."""
    plain: Flags
    """By message, whether its events are here."""

    def __len__(self) -> int:
        return int(self.origin.shape[1])

    def field(self, number: int) -> tuple[Places, Places]:
        """From where to where the field of every event stands."""
        return self.places[2 * number + 2], self.places[2 * number + 3]

    def texts(self, number: int) -> pl.Series:
        """The field of every event, as String."""
        return view_texts(self.text, *self.field(number))

    def events(self) -> pl.Series:
        """Every event as it was received, as Binary."""
        return view_bytes(self.text, self.places[0], self.places[1])


def scan_messages(values: Sequence[bytes], fields: Sequence[str], properties: Sequence[str], longest_event: int) -> Scanned:
    """Find the events of plain messages.

    Args:
        fields: Names at the top of an event whose texts are wanted.
        properties: Names inside `data` whose texts, numbers or truths are wanted. In `Scanned` they come after the fields.
        longest_event: A message with an event of more bytes is not plain.
    """
    text = b"\0".join([*values, _TAIL[1:]])
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    ends = np.cumsum(sizes + 1) - 1
    names = [name.encode() for name in (*fields, *properties)]
    named, name_ends = (
        np.frombuffer(b"".join(names) + _TAIL, np.uint8),
        np.cumsum([len(name) for name in names], dtype=np.int64),
    )
    letters = np.frombuffer(text, np.uint8)
    most, plain = int(np.count_nonzero(letters == 123)), _are_utf8(values, text)
    places, origin = np.empty((2 * len(names) + 2, most), np.int64), np.empty((2, most), np.int32)
    if len(text) > LONGEST_TEXT_BYTES:
        plain[:] = False
    wanted = letters, ends - sizes, ends, longest_event, named, name_ends, len(fields)
    events = _scan(*wanted, places, origin, plain)
    return Scanned(text, origin[:, :events], places[:, :events], plain)


def _are_utf8(values: Sequence[bytes], text: bytes) -> Flags:
    """Of each message, whether it is UTF-8. Most often all of them are, which is seen at once."""
    if text.isascii() or _is_utf8(text):
        return np.ones(len(values), np.bool_)
    return np.array([_is_utf8(value) for value in values], np.bool_)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@part
def _stands(words: Bytes, begin: int, end: int, text: Bytes, at: int) -> bool:
    """Whether the word that `words` has from `begin` to `end` (excluded) stands here."""
    while begin < end and words[begin] == text[at]:
        begin += 1
        at += 1
    return begin == end


@part
def _skip_space(text: Bytes, at: int) -> int:
    while text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9:
        at += 1
    return at


@part
def _is_hex(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102


@part
def _skip_text(text: Bytes, at: int) -> tuple[int, bool]:
    """(place of the closing quote of the text whose first character is at `at`, whether it has no escapes); -1: no text."""
    bare = True
    while True:
        while _INSIDE[text[at]]:
            at += 1
        byte = text[at]
        if byte == 34:
            return at, bare
        if byte < 32:
            return -1, False
        at += 1
        bare = False
        byte = text[at]
        at += 1
        if byte == 117:
            for digit in range(4):
                if not _is_hex(text[at + digit]):
                    return -1, False
            if (text[at] | 32) == 100 and text[at + 1] >= 56:  # half a character
                return -1, False
            at += 4
        elif not (
            byte == 34 or byte == 92 or byte == 47 or byte == 98 or byte == 102 or byte == 110 or byte == 114 or byte == 116
        ):
            return -1, False


@part
def _skip_digits(text: Bytes, at: int) -> int:
    while 48 <= text[at] <= 57:
        at += 1
    return at


@part
def _skip_number(text: Bytes, at: int) -> tuple[int, int]:
    """(end of the number that begins here, end of what is shown of it); the latter -1: not plain; both: no number."""
    begin = at
    below = text[at] == 45
    if below:
        at += 1
    whole = at
    at = _skip_digits(text, at)
    if at == whole or (text[whole] == 48 and at - whole > 1):
        return -1, -1
    shown = at
    if text[at] == 46:
        fraction = at + 1
        at = _skip_digits(text, fraction)
        if at == fraction:
            return -1, -1
        shown = at
        while text[shown - 1] == 48:
            shown -= 1
        if shown == fraction:
            shown -= 1
    if text[at] == 69 or text[at] == 101:
        at += 1
        if text[at] == 43 or text[at] == 45:
            at += 1
        power = at
        at = _skip_digits(text, at)
        return (-1, -1) if at == power else (at, -1)
    zero_below = below and shown == whole + 1 and text[whole] == 48
    return (at, -1) if zero_below or at - begin > _LONGEST_NUMBER else (at, shown)


@part
def _skip_word(text: Bytes, at: int) -> int:
    """The end of true, false or null; -1 if it is none."""
    if _stands(_WORDS, 8, 13, text, at):
        return at + 5
    return at + 4 if _stands(_WORDS, 0, 4, text, at) or _stands(_WORDS, 4, 8, text, at) else -1


@part
def _skip_scalar(text: Bytes, at: int) -> int:
    """The end of a text, number or word; -1 if it is none."""
    byte = text[at]
    if byte == 34:
        quote, _ = _skip_text(text, at + 1)
        return quote + 1 if quote >= 0 else -1
    if byte == 45 or 48 <= byte <= 57:
        end, _ = _skip_number(text, at)
        return end
    return _skip_word(text, at)


@part
def _skip_key(text: Bytes, at: int) -> tuple[int, int, bool]:
    """(the value behind the key that begins here, the key's end, whether it has no escapes); -1: there is none."""
    if text[at] != 34:
        return -1, -1, False
    quote, bare = _skip_text(text, at + 1)
    if quote < 0:
        return -1, -1, False
    at = _skip_space(text, quote + 1)
    return (_skip_space(text, at + 1), quote, bare) if text[at] == 58 else (-1, -1, False)


@part
def _skip_value(text: Bytes, at: int) -> int:
    """The end of the value that begins here, whatever it holds; -1 if it is none."""
    depth, objects = 0, 0  # of each level one bit: whether it is an object
    while True:
        byte = text[at]
        if byte == 123 or byte == 91:
            inside = _skip_space(text, at + 1)
            if text[inside] == byte + 2:  # } or ]: empty
                at = inside + 1
            else:
                if depth == _DEEPEST:
                    return -1
                depth += 1
                objects = objects * 2 + (1 if byte == 123 else 0)
                at = _skip_key(text, inside)[0] if byte == 123 else inside
                if at < 0:
                    return -1
                continue
        else:
            at = _skip_scalar(text, at)
            if at < 0:
                return -1
        while depth > 0:  # a value has ended
            at = _skip_space(text, at)
            if text[at] == 44:
                at = _skip_space(text, at + 1)
                if objects & 1:
                    at, _, _ = _skip_key(text, at)
                    if at < 0:
                        return -1
                break
            if text[at] != (125 if objects & 1 else 93):
                return -1
            at += 1
            depth -= 1
            objects >>= 1
        else:
            return at


@part
def _find_name(text: Bytes, start: int, stop: int, names: Bytes, name_ends: Places, low: int, high: int) -> int:
    """The number of the name that stands here, among those from `low` to `high` (excluded); -1 if it is none of them."""
    for number in range(low, high):
        begin = name_ends[number - 1] if number else 0
        if name_ends[number] - begin == stop - start and _stands(names, begin, name_ends[number], text, start):
            return number
    return -1


@part
def _read_wanted(text: Bytes, at: int, only_text: bool) -> tuple[int, int, int]:
    """(end of the value, from where, to where its text stands); end -1: not plain; from -1: null."""
    byte = text[at]
    if byte == 34:
        quote, bare = _skip_text(text, at + 1)
        return (quote + 1, at + 1, quote) if bare else (-1, -1, -1)
    if byte == 110:
        return _skip_word(text, at), -1, -1
    if only_text:
        return -1, -1, -1
    if byte == 45 or 48 <= byte <= 57:
        end, shown = _skip_number(text, at)
        return (end, at, shown) if shown >= 0 else (-1, -1, -1)
    end = _skip_word(text, at)
    return end, at, end


@part
def _scan_event(text: Bytes, at: int, names: Bytes, name_ends: Places, fields: int, places: Places, event: int) -> int:
    """The end of the event that begins here, its wanted texts noted; -1: not plain."""
    if text[at] != 123:
        return -1
    for number in range(len(name_ends)):
        places[2 * number + 2, event] = _UNMET
    inside, data_met = False, False  # whether we are in `data`, and were
    begun = True  # an object has begun: no comma is due
    at = _skip_space(text, at + 1)
    while True:
        if not (begun and text[at] == 125):
            key = at + 1
            value, key_end, bare = _skip_key(text, at)
            if value < 0 or not bare:
                return -1
            if not inside and key_end - key == 4 and _stands(_WORDS, 13, 17, text, key):
                if data_met or (text[value] != 123 and text[value] != 110):
                    return -1
                data_met = True
                if text[value] == 123:
                    inside, begun = True, True
                    at = _skip_space(text, value + 1)
                    continue
                at = _skip_word(text, value)
            else:
                low, high = (fields, len(name_ends)) if inside else (0, fields)
                number = _find_name(text, key, key_end, names, name_ends, low, high)
                if number < 0:
                    at = _skip_value(text, value)
                elif places[2 * number + 2, event] != _UNMET:
                    return -1
                else:
                    at, start, stop = _read_wanted(text, value, not inside)
                    places[2 * number + 2, event], places[2 * number + 3, event] = start, stop
            if at < 0:
                return -1
            at = _skip_space(text, at)
            if text[at] == 44:
                begun = False
                at = _skip_space(text, at + 1)
                continue
            if text[at] != 125:
                return -1
        at += 1  # an object has ended
        if not inside:
            return at
        inside = False
        at = _skip_space(text, at)
        if text[at] == 44:
            begun = False
            at = _skip_space(text, at + 1)
        elif text[at] == 125:
            begun = True
        else:
            return -1


@part
def _has_line_end(text: Bytes, at: int, end: int) -> bool:
    found = False
    for place in range(at, end):
        found = found or text[place] == 10
    return found


@compiled
def _scan(
    text: Bytes, begins: Places, ends: Places, longest_event: int, names: Bytes, name_ends: Places, fields: int,
    places: Places, origin: npt.NDArray[np.int32], plain: Flags,
) -> int:  # fmt: skip
    """Notes the events of every message that is plain so far; returns how many there are."""
    event = 0
    for number in range(len(begins)):
        if not plain[number]:
            continue
        begun, end = event, ends[number]
        at = _skip_space(text, begins[number])
        array, good = text[at] == 91, False
        if array:
            at = _skip_space(text, at + 1)
            good = text[at] == 93
            at += 1 if good else 0
        while not good:
            after = _scan_event(text, at, names, name_ends, fields, places, event)
            if after < 0 or after - at > longest_event:
                break
            places[0, event], places[1, event] = at, after
            origin[0, event], origin[1, event] = number, event - begun
            event += 1
            at = _skip_space(text, after)
            if array and text[at] == 44:
                at = _skip_space(text, at + 1)
            elif array:
                good = text[at] == 93
                at += 1
                break
            elif at == end:
                good = True
            elif not _has_line_end(text, after, at):
                break
        good = good and _skip_space(text, at) == end
        if good and not array and event - begun > 1:  # lines: each event on one of its own
            for line in range(begun, event):
                good = good and not _has_line_end(text, places[0, line], places[1, line])
        plain[number] = good
        if not good:
            event = begun
    return event
