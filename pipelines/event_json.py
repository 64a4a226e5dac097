"""Reads JSON events exactly: fast where a batch is plain, number by number where it is not.

Most events are plain and Polars reads them whole. It prints numbers as the shortest float64, takes a number where a text
should stand, and so on; `_ODD` finds every event where that could matter, and those are read one by one with decimals
instead of floats. Both roads give the same text for the same number: a plain decimal without exponent and without trailing
zeros after the point. Of equal keys in one object the first one counts, as in Polars.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from schemas.events import ENVELOPE
from schemas.usage import PROPERTY, RETRACTS, RejectReason

TEXTS = (*ENVELOPE, RETRACTS)
"""What is read beside `data`: texts, all of them."""
_COLON = r'"[ \t\r]*:[ \t\r]*'
_ODD = (
    # More than 15 digits, or an exponent: a float64 could round it.
    "(?-u)" + _COLON + "-?(?:[0-9.]{17}|[0-9.]+[eE])",
    # A key written with escapes, or half a character.
    r"(?-u)\\u(?:00[2-7]|[dD][89a-fA-F])",
    # More than one line.
    r"\n",
)
"""Apart and not as one expression: each is found by a fast search for how it begins."""
_LOOKS_ALIKE = r"^(?:-?[0-9.]+|true|false|[\[{].*)$"
"""What Polars makes of a number, a boolean or a list where a text should stand. A text may look the same."""
_WRONG_TYPE = rf'(?-u)"(?:{"|".join(TEXTS)}){_COLON}[!#-~]'
"""Something else where a text should stand, as it looks in JSON."""
_SMALL = 64
"""Below this many events a batch that Polars refuses is read one by one instead of being halved again."""
_LARGEST_EXPONENT = 400
"""Numbers beyond 10^400 keep their exponent: written out they would be longer than any event."""

Row = tuple[str | None, ...]


def read_events(texts: Sequence[bytes], properties: Sequence[str]) -> pl.DataFrame:
    """The events in `texts`, one JSON object each.

    Returns:
        One row per text, in order: the ENVELOPE fields, `retracts` and `data.<property>` as String, null where absent, then
        `reason` and `detail` (see REJECTS) of what is no event; the fields that could be read are there all the same.
    """
    strings = _as_strings(texts)
    plain = strings.str.starts_with("{") & strings.str.ends_with("}")
    for odd_sign in _ODD:
        plain &= ~strings.str.contains(odd_sign)
    plain = plain.fill_null(False)
    if plain.all():
        return _read_plain(texts, properties)
    even, odd = plain.arg_true(), (~plain).arg_true()
    read = pl.concat([_read_plain([texts[i] for i in even], properties), _read_each([texts[i] for i in odd], properties)])
    return read[pl.concat([even, odd]).arg_sort()]


def _as_strings(texts: Sequence[bytes]) -> pl.Series:
    """The texts; null where one is not UTF-8."""
    try:
        return pl.Series(texts, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series([_utf8_or_none(text) for text in texts], dtype=pl.String)


def _utf8_or_none(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def _read_plain(texts: Sequence[bytes], properties: Sequence[str]) -> pl.DataFrame:
    """Events that look plain. Where Polars refuses them the batch is halved until the culprits are found."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        **dict.fromkeys(TEXTS, pl.String),
        "data": pl.Struct(dict.fromkeys(properties or [""], pl.String)),
    }
    try:
        # Each text starts with { and ends with } on one line, so one row each means that row i is text i.
        frame = pl.read_ndjson(b"\n".join(texts), schema=schema)
        certain = frame.height == len(texts)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        certain = False
    if certain:
        data = [pl.col("data").struct.field(name).alias(PROPERTY + name) for name in properties]
        none = pl.lit(None, pl.String)
        return _check_texts(frame.select(*TEXTS, *data, none.alias("reason"), none.alias("detail")), texts, properties)
    if len(texts) <= _SMALL:
        return _read_each(texts, properties)
    middle = len(texts) // 2
    return pl.concat([_read_plain(texts[:middle], properties), _read_plain(texts[middle:], properties)])


def _check_texts(read: pl.DataFrame, texts: Sequence[bytes], properties: Sequence[str]) -> pl.DataFrame:
    """Reads again, one by one, the events in which something else stood where a text should."""
    alike = read.select(pl.any_horizontal(pl.col(TEXTS).str.contains(_LOOKS_ALIKE)).fill_null(False)).to_series().arg_true()
    wrong = alike.filter(_as_strings([texts[i] for i in alike]).str.contains(_WRONG_TYPE))
    if wrong.is_empty():
        return read
    kept = pl.Series(sorted(set(range(read.height)) - set(wrong)), dtype=wrong.dtype)
    return pl.concat([read[kept], _read_each([texts[i] for i in wrong], properties)])[pl.concat([kept, wrong]).arg_sort()]


def _read_each(texts: Sequence[bytes], properties: Sequence[str]) -> pl.DataFrame:
    """Events read one by one, every digit kept."""
    names = [*TEXTS, *(PROPERTY + name for name in properties), "reason", "detail"]
    rows = [_read_one(text, properties) for text in texts]
    return pl.DataFrame([pl.Series(name, [row[at] for row in rows], pl.String) for at, name in enumerate(names)])


class _Number(str):
    """A JSON number: its exact text."""


def _read_one(text: bytes, properties: Sequence[str]) -> Row:
    no_data: Row = (None,) * len(properties)
    no_envelope: Row = (None,) * len(TEXTS)
    try:
        value = load_exactly(text)
    except ValueError as error:
        return *no_envelope, *no_data, RejectReason.UNREADABLE, str(error)
    if not isinstance(value, dict):
        return *no_envelope, *no_data, RejectReason.UNREADABLE, f"This is {_kind(value)}, not a JSON object."
    fields = [value.get(name) for name in TEXTS]
    envelope: Row = tuple(field if type(field) is str else None for field in fields)
    for name, field in zip(TEXTS, fields, strict=True):
        if field is not None and type(field) is not str:
            return *envelope, *no_data, RejectReason.MISSING_FIELD, f"`{name}` is {_kind(field)}; it must be a text."
    data = value.get("data")
    if data is not None and not isinstance(data, dict):
        return *envelope, *no_data, RejectReason.MISSING_FIELD, f"`data` is {_kind(data)}; it must be a JSON object."
    return *envelope, *(_as_text((data or {}).get(name)) for name in properties), None, None


def load_exactly(text: bytes | str) -> object:
    """The JSON value with numbers as their exact decimal text.

    Raises:
        ValueError: It is no JSON, no UTF-8, nested too deeply or holds half a character; the message is a sentence.
    """
    try:
        string = text if isinstance(text, str) else text.decode()
        value: object = _DECODER.decode(string)
        if "\\u" in string:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise ValueError(f"Not UTF-8: byte {error.start} cannot be read.") from None
    except UnicodeEncodeError:
        raise ValueError("Not Unicode: an escape such as \\ud800 is half a character.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"No JSON: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise ValueError("Nested too deeply to be read.") from None
    return value


def _first_of_equal_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(reversed(pairs))


def _whole(literal: str) -> _Number:
    return _Number("0" if literal == "-0" else literal)


def _write_out(literal: str) -> _Number:
    """1.50 -> 1.5, 1e3 -> 1000."""
    try:
        number = Decimal(literal)
    except ArithmeticError:
        return _Number(literal)
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        return _Number(literal)
    written = f"{number:f}"
    return _Number(written.rstrip("0").rstrip(".") if "." in written else written)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, _Number):
        return "a number"
    names = {str: "a text", bool: "true or false", dict: "an object", list: "a list"}
    return names[type(value)]


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


_DECODER = json.JSONDecoder(
    parse_float=_write_out, parse_int=_whole, parse_constant=_Number, object_pairs_hook=_first_of_equal_keys
)
