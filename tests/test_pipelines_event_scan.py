"""The fast reader: what it takes it reads as the exact readers do, and what is not plain it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.event_scan import scan_messages
from pipelines.event_time import read_times, read_times_at
from pipelines.message_events import SCANNED_BYTES, read_messages
from tests.examples import examples

FIELDS = ("id", "source", "type", "subject", "time", "retracts")
PROPERTIES = ["minutes", "region"]
EVENT = b'{"id":"e1","source":"/a","type":"t","subject":"s","time":"2026-10-12T08:00:00Z","data":{"minutes":1.5,"region":"cn"}}'


def scanned(*values: bytes, longest: int = 1 << 20) -> list[bool]:
    """Of each message whether it is plain; those that are must read as the exact readers read them."""
    plain = scan_messages(values, FIELDS, PROPERTIES, longest).plain.tolist()
    fast, exact = (read_messages(values, PROPERTIES, longest, limit) for limit in (0, 1 << 40))
    assert fast.equals(exact, null_equal=True), (fast, exact)
    return [bool(good) for good in plain]


def minutes(number: bytes) -> bytes:
    return EVENT.replace(b"1.5", number)


PLAIN = [
    EVENT,
    b" \t\r" + EVENT + b"\n\n",
    b"{}",
    b'{"data":null}',
    b'{"data":{},"id":null,"more":{"a":[1,{"b":[]},"\\u4e2d\\n"],"c":-1.5e-7,"d":{}},"x":[ ],"y":false}',
    b'{"id":"1234567890123","data":{"minutes":true,"region":"' + "上海".encode() + b'","other":{"data":{"minutes":2}}}}',
    b"[]",
    b" [ ] ",
    b"[" + EVENT + b"]",
    b"[" + EVENT + b" ,\n" + EVENT + b"]",
    b'[{"id":\n"a"},{"id":"},{"}]',
    EVENT + b"\n" + EVENT,
    EVENT + b" \r\n\n " + EVENT + b"\n",
    b'{"id":\n"a"}',
    *map(minutes, (b"0", b"-3", b"1.50", b"100", b"1.000", b"0.0", b'"1.50"', b"12345678901234567890.123456789012345678900")),
]

NOT_PLAIN = [
    b"",
    b" ",
    b"null",
    b"\xef\xbb\xbf" + EVENT,
    EVENT + b",",
    EVENT + EVENT,
    EVENT + b" " + EVENT,
    EVENT + b'\n{"id":\n"a"}',
    b"[" + EVENT + b",]",
    b"[" + EVENT,
    b"[" + EVENT + b"]]",
    b"[1]",
    b'{"id":"a",}',
    b'{"id" "a"}',
    b'{"id":"a" "source":"b"}',
    b'{"id":"a","id":"b"}',
    b'{"data":{"minutes":1,"minutes":2}}',
    b'{"data":{},"data":{}}',
    b'{"\\u0069d":"a"}',
    b'{"id":"a\\nb"}',
    b'{"id":1}',
    b'{"id":"a\nb"}',
    b'{"id":"a\x00b"}',
    b'{"x":"\\x"}',
    b'{"x":"\\ud83d"}',
    b'{"x":"\\u12"}',
    b'{"x":[1,}]}',
    b'{"x":nul}',
    b'{"data":[]}',
    b'{"data":{"minutes":[1]}}',
    b'{"id":"\xff"}',
    b"{" + b'"x":' + b"[" * 100 + b"]" * 100 + b"}",
    *map(minutes, (b"1e3", b"-0", b"-0.00", b"01", b"1.", b".5", b"+1", b"NaN", b"1" * 301)),
]


@pytest.mark.parametrize("value", PLAIN)
def test_a_plain_message_is_read_as_the_exact_readers_read_it(value: bytes) -> None:
    assert scanned(value, EVENT) == [True, True]


@pytest.mark.parametrize("value", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_exact_readers_and_its_neighbours_are_not(value: bytes) -> None:
    assert scanned(EVENT, value, b"[" + EVENT + b"]") == [True, False, True]


def test_a_number_keeps_every_digit_and_loses_the_zeros_at_its_end() -> None:
    read = read_messages([minutes(b"12345678901234567890.1234567890123456789000")], PROPERTIES, 1 << 20, 0)
    assert read["data.minutes"].to_list() == ["12345678901234567890.1234567890123456789"]


def test_a_message_with_a_too_long_event_is_left_to_the_exact_readers() -> None:
    assert scanned(b"[{}," + EVENT + b"]", EVENT[:-1] + b" " * 50 + b"}", longest=len(EVENT)) == [True, False]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, st.text(max_size=14) | JSON),
        "data": st.fixed_dictionaries({}, optional={"minutes": JSON, "region": JSON, "x": JSON}) | JSON,
        "extra": JSON,
    },
)


def write(event: Any, ascii_only: bool, spaced: bool) -> bytes:
    return json.dumps(event, ensure_ascii=ascii_only, separators=None if spaced else (",", ":")).encode()


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One event, an array or lines, now and then with a byte changed, lost or doubled."""
    events = [write(event, draw(st.booleans()), draw(st.booleans())) for event in draw(st.lists(EVENTS, max_size=3))]
    value = draw(st.sampled_from([b"\n".join(events), b"[" + b",".join(events) + b"]"]))
    if value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        value = value[:place] + draw(st.sampled_from([b"", b'"', b"\\", b"}", b",", b"0", b"\xff", b"\n"])) + value[place + 1 :]
    return value


@examples(40)
@given(st.lists(messages(), max_size=4))
def test_both_roads_read_the_same_whatever_comes(values: Sequence[bytes]) -> None:
    scanned(*values)


TIMES = [
    "2026-10-12T08:00:00Z",
    "2026-10-12T08:00:00.123Z",
    "2024-02-29T23:59:59.999999999Z",
    "2026-10-12T08:00:00.1234567891234+08:00",
    "2000-02-29T00:00:00-18:00",
    "1969-12-31T23:59:59.5+00:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59+14:00",
    "2026-12-31T23:59:60Z",
    "2026-02-29T00:00:00Z",
    "2100-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-10-32T00:00:00Z",
    "2026-10-12T24:00:00Z",
    "2026-10-12T08:60:00Z",
    "2026-10-12t08:00:00z",
    "2026-10-12 08:00:00Z",
    "2026-10-12T08:00:00",
    "2026-10-12T08:00:00.Z",
    "2026-10-12T08:00:00+0800",
    "2026-10-12T08:00:00+08:60",
    "2026-10-12T08:00:00-23:59",
    "2026-10-12T08:00Z",
    "",
    "x" * 25,
]


def at_once(texts: Sequence[str]) -> pl.Series:
    """`read_times_at` of texts that stand one behind the other, each with a quote after it as in JSON."""
    blob, start, stop = b"", [], []
    for text in texts:
        start.append(len(blob))
        blob += text.encode()
        stop.append(len(blob))
        blob += b'"'
    places = [pl.Series(column, dtype=pl.Int64).to_numpy() for column in (start, stop)]
    return read_times_at(blob + b"\0" * 8, *places)


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_the_same_moment_on_both_roads_or_none(text: str) -> None:
    assert at_once([text]).to_list() == read_times(pl.Series([text])).to_list()


@given(
    st.lists(
        st.tuples(
            st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
            st.integers(0, 10**9 - 1) | st.none(),
            st.integers(-18 * 60, 18 * 60) | st.none(),
        ),
        max_size=20,
    )
)
def test_any_moment_in_any_zone_is_the_same_on_both_roads(moments: list[tuple[datetime, int | None, int | None]]) -> None:
    texts = [
        moment.strftime("%Y").zfill(4)
        + moment.strftime("-%m-%dT%H:%M:%S")
        + ("" if nanos is None else f".{nanos:09}")
        + ("Z" if zone is None else f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}:{abs(zone) % 60:02}")
        for moment, nanos, zone in moments
    ]
    assert at_once(texts).equals(read_times(pl.Series(texts, dtype=pl.String)), check_names=False)


def test_how_much_comes_at_once_changes_nothing() -> None:
    few, many = ([EVENT] * number for number in (1, 3_000))
    assert sum(map(len, few)) < SCANNED_BYTES < sum(map(len, many))
    read = read_messages(many, PROPERTIES, 1 << 20)
    assert read.drop("came_in").unique().equals(read_messages(few, PROPERTIES, 1 << 20).drop("came_in"))
    assert read["occurred_at"][0] == datetime(2026, 10, 12, 8, tzinfo=UTC)
