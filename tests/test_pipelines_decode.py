"""Input is judged in one place: every event is read exactly or rejected with its reason, and nothing else is touched."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decode import Decoded, decode_batches
from pipelines.event_table import json_events
from schemas.book import BOOK_FRAMES, METERS, Book
from schemas.usage import EVENTS, REJECTS, RawBatch
from tests.examples import examples

METER = {
    "meter_id": "minutes",
    "event_type": "meeting.ended",
    "aggregation": "sum",
    "property": "minutes",
    "unit": "minute",
    "quantity_scale": 3,
    "dimensions": ["region", "call_type"],
}
COUNT = {"meter_id": "calls", "event_type": "called", "aggregation": "count", "unit": "call", "quantity_scale": 0}
FRAMES = {name: schema.empty() for name, schema in BOOK_FRAMES.items()}
BOOK = Book(version=1, digest="", **{**FRAMES, "meters": METERS.build([METER, {**COUNT, "dimensions": []}])})
RECEIVED = datetime(2026, 10, 12, 9, tzinfo=UTC)
RECEIVED_MS = int(RECEIVED.timestamp() * 1000)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/conference",
    "type": "meeting.ended",
    "subject": "conf-1",
    "time": "2026-10-12T08:00:00.123Z",
    "data": {"minutes": 1.5, "region": "cn"},
}


def event(**changes: Any) -> bytes:
    """A good event with other fields; `...` leaves a field out."""
    return json.dumps({name: value for name, value in {**EVENT, **changes}.items() if value is not ...}).encode()


def raw(minutes: str) -> bytes:
    """A good event with this JSON text as its minutes."""
    return event(data={"minutes": "HERE", "region": "cn"}).replace(b'"HERE"', minutes.encode())


def batch(values: Sequence[bytes | None], offsets: Sequence[int] | None = None) -> RawBatch:
    return RawBatch("kafka:usage@1", 3, offsets or range(len(values)), values, [RECEIVED_MS] * len(values))


def decode(*values: bytes | None, **limits: Any) -> Decoded:
    return decode_batches([batch(values)], BOOK, **limits)


def reject(value: bytes, **limits: Any) -> tuple[str, str]:
    """(reason, detail) of a message that holds one bad event; good ones around it must not notice."""
    decoded = decode(event(id="before"), value, event(id="after"), **limits)
    assert decoded.events["event_id"].to_list() == ["before", "after"]
    (row,) = decoded.rejects.iter_rows(named=True)
    assert (row["stream"], row["stream_partition"], row["stream_offset"], row["event_index"]) == ("kafka:usage@1", 3, 1, 0)
    assert row["message"] == value
    return row["reason"], row["detail"]


def read_minutes(value: bytes) -> str:
    (minutes,) = decode(value).events["data.minutes"]
    assert isinstance(minutes, str)
    return minutes


def test_an_event_becomes_a_row_with_its_origin_and_the_properties_of_the_book() -> None:
    decoded = decode(event())
    assert decoded.rejects.equals(REJECTS.empty())
    assert decoded.events.columns == [*EVENTS.names(), "retracts", "data.call_type", "data.minutes", "data.region"]
    EVENTS.select(decoded.events)
    assert decoded.events.row(0, named=True) == {
        "stream": "kafka:usage@1",
        "stream_partition": 3,
        "stream_offset": 0,
        "event_index": 0,
        "event_source": "/conference",
        "event_id": "e1",
        "event_type": "meeting.ended",
        "subject": "conf-1",
        "occurred_at": datetime(2026, 10, 12, 8, 0, 0, 123_000, tzinfo=UTC),
        "message": event(),
        "retracts": None,
        "data.call_type": None,
        "data.minutes": "1.5",
        "data.region": "cn",
    }


@pytest.mark.parametrize("minutes", [1.5, 1e20], ids=["plain", "one by one"])
def test_what_an_event_takes_back_is_read_beside_its_data(minutes: float) -> None:
    decoded = decode(event(retracts="e0", data={"minutes": minutes}), event(retracts=None, data={"minutes": minutes}))
    assert decoded.events["retracts"].to_list() == ["e0", None]


def test_a_table_may_have_a_column_of_what_is_taken_back() -> None:
    table = pl.DataFrame({"id": ["a"], "retracts": ["e0"], "minutes": [3]})
    assert [json.loads(text) for text in json_events(table)] == [{"id": "a", "retracts": "e0", "data": {"minutes": "3"}}]


def test_nothing_comes_of_nothing() -> None:
    for decoded in (decode_batches([], BOOK), decode_batches([batch([])], BOOK), decode(None, b"[]", b" [ ] ")):
        assert decoded.events.is_empty()
        assert decoded.events.width == EVENTS.empty().width + 4
        assert decoded.rejects.equals(REJECTS.empty())


def test_a_book_that_reads_no_property_still_decodes() -> None:
    bare = Book(version=1, digest="", **{**FRAMES, "meters": METERS.build([{**COUNT, "dimensions": []}])})
    decoded = decode_batches([batch([event(), event(data=...), b"["])], bare)
    assert decoded.events.columns == [*EVENTS.names(), "retracts"]
    assert decoded.events.height == 2
    assert decoded.rejects.height == 1


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30).map(
    lambda number: number if number.adjusted() > -300 else Decimal(0)
)


@examples(75)
@given(decimals)
def test_a_quantity_is_read_exactly_as_a_number_and_as_a_string(number: Decimal) -> None:
    ways = [str(number).replace("E+", "e"), f"{number:f}", str(number)]
    as_numbers = decode(*map(raw, ways)).events["data.minutes"]
    assert [Decimal(text) for text in as_numbers] == [number] * 3
    assert decode(*[raw(f'"{way}"') for way in ways]).events["data.minutes"].to_list() == ways


@examples(20)
@given(st.lists(decimals, min_size=1, max_size=8))
def test_a_number_reads_the_same_whatever_stands_beside_it(numbers: list[Decimal]) -> None:
    texts = [f"{number:f}" for number in numbers]
    together = decode(*[raw(text) for text in texts], b"poison").events["data.minutes"].to_list()
    assert together == [read_minutes(raw(text)) for text in texts]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1.50", "1.5"),
        ("5.0", "5"),
        ("100", "100"),
        ("-0", "0"),
        ("0.30000000000000000001", "0.30000000000000000001"),
        ("100000000000000000.5", "100000000000000000.5"),
        ("1e30", "1" + "0" * 30),
        ("1E-7", "0.0000001"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("9" * 5000, "9" * 5000),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("true", "true"),
        ("[1]", "[1]"),
        ('"1.50"', "1.50"),
        ('"\\u0031"', "1"),
    ],
)
def test_numbers_keep_their_value_and_what_is_no_number_is_left_for_rating_to_refuse(written: str, read: str) -> None:
    assert read_minutes(raw(written)) == read


@pytest.mark.parametrize(
    ("value", "reason", "part"),
    [
        (b"", "unreadable", "No JSON"),
        (b"  ", "unreadable", "No JSON"),
        (b"hello", "unreadable", "No JSON"),
        (b'{"id":', "unreadable", "No JSON"),
        (b'{"id":"a"}{"id":"b"}', "unreadable", "No JSON"),
        (b'{"id":"a"},{"id":"b"}', "unreadable", "No JSON"),
        (b'{"id":"a",}', "unreadable", "No JSON"),
        (b'[{"id":"a"', "unreadable", "No JSON"),
        (b"[" * 100_000, "unreadable", "too deeply"),
        (b'{"a":' * 100_000, "unreadable", "too deeply"),
        (b'{"id":' + b"[" * 100_000 + b"}", "unreadable", "too deeply"),
        (b'{"id":"\xff"}', "unreadable", "Not UTF-8: byte 7"),
        (event(id="\ud800"), "unreadable", "half a character"),
        (b"7", "unreadable", "a number, not a JSON object"),
        (b"null", "unreadable", "null, not a JSON object"),
        (b"\xff\xff\xff\xff broken arrow", "unreadable", "Not UTF-8"),
        (event(id=...), "missing_field", "no `id`"),
        (event(source=None), "missing_field", "no `source`"),
        (event(type=""), "missing_field", "`type` is empty"),
        (event(subject=7), "missing_field", "`subject` is a number"),
        (event(id=True), "missing_field", "`id` is true or false"),
        (event(id={"a": 1}), "missing_field", "`id` is an object"),
        (event(time=...), "missing_field", "no `time`"),
        (event(time=1_791_000_000), "missing_field", "`time` is a number"),
        (event(retracts=7), "missing_field", "`retracts` is a number"),
        (event(data=5), "missing_field", "`data` is a number"),
        (event(data=[{"minutes": 1}]), "missing_field", "`data` is a list"),
        (event(id="x" * 257), "too_large", "257 characters; at most 256"),
        (event(padding="x" * (1 << 20)), "too_large", "at most 1048576 are allowed"),
        (event(time="yesterday"), "bad_time", "'yesterday'"),
        (event(time=""), "missing_field", "`time` is empty"),
        (event(time="2026-02-30T00:00:00Z"), "bad_time", "no RFC 3339 time"),
        (event(time="2026-10-12 08:00:00Z"), "bad_time", "no RFC 3339 time"),
        (event(time="2026-10-12T08:00Z"), "bad_time", "no RFC 3339 time"),
        (event(time="2026-10-12T08:00:00+0800"), "bad_time", "no RFC 3339 time"),
        (event(time="2026-10-12T24:00:00Z"), "bad_time", "no RFC 3339 time"),
        (event(time="0000-01-01T00:00:00Z"), "bad_time", "before 2000-01-01"),
        (event(time="1970-01-01T00:00:00Z"), "bad_time", "before 2000-01-01"),
        (event(time="1999-12-31T23:59:59.999999Z"), "bad_time", "before 2000-01-01"),
        (event(time="2026-10-12T08:00:00"), "time_without_zone", "names no zone"),
        (event(time="2026-10-12 08:00:00.5"), "time_without_zone", "names no zone"),
        (event(time="2090-01-01T00:00:00Z"), "time_in_future", "received at 2026-10-12T09:00:00Z"),
        (event(time="9999-12-31T23:59:59Z"), "time_in_future", "more than 86400 seconds"),
    ],
)
def test_a_bad_event_is_rejected_with_its_reason_and_its_own_bytes(value: bytes, reason: str, part: str) -> None:
    assert (got := reject(value))[0] == reason, got
    assert part in got[1]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-12T08:00:00Z", "2026-10-12T08:00:00"),
        ("2026-10-12t08:00:00z", "2026-10-12T08:00:00"),
        ("2026-10-12T08:00:00+08:00", "2026-10-12T00:00:00"),
        ("2026-10-11T20:30:00-05:30", "2026-10-12T02:00:00"),
        ("2026-10-12T08:00:00.123456Z", "2026-10-12T08:00:00.123456"),
        ("2026-10-11T23:59:59.9999999Z", "2026-10-11T23:59:59.999999"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999"),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00"),
    ],
)
def test_a_time_is_read_in_any_zone_to_the_microsecond_and_never_rounded_up(text: str, moment: str) -> None:
    assert decode(event(time=text)).events["occurred_at"].to_list() == [datetime.fromisoformat(moment).replace(tzinfo=UTC)]


def test_an_event_may_be_ahead_of_its_arrival_by_the_allowed_skew() -> None:
    edge = (RECEIVED + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%S")
    assert decode(event(time=edge + "Z"), clock_skew_seconds=60).rejects.is_empty()
    assert reject(event(time=edge + ".000001Z"), clock_skew_seconds=60)[0] == "time_in_future"


def test_ids_that_look_like_numbers_are_texts_all_the_same() -> None:
    ids = ["7", "-1.5", "true", "[1]", "{}", "007", "1e3", "null"]
    assert decode(*[event(id=text) for text in ids]).events["event_id"].to_list() == ids


def test_of_equal_keys_the_first_one_counts_on_both_roads() -> None:
    twice = event().replace(b'"id": "e1"', b'"id": "first", "id": "second"')
    precise = twice.replace(b"1.5", b"1.50000000000000000001")
    assert decode(twice, precise).events["event_id"].to_list() == ["first", "first"]


def test_characters_beyond_ascii_arrive_as_they_are() -> None:
    escaped = event(subject="会议-😀")
    plain = json.dumps({**EVENT, "subject": "会议-😀"}, ensure_ascii=False).encode()
    assert decode(escaped, plain).events["subject"].to_list() == ["会议-😀"] * 2


def test_one_poison_message_among_many_is_found_and_costs_only_itself() -> None:
    values: list[bytes | None] = [event(id=f"e{number}") for number in range(3_000)]
    values[1_234] = b'{"id":"broken}'
    values[2_345] = None
    decoded = decode(*values)
    assert decoded.rejects["stream_offset"].to_list() == [1_234]
    expected = [number for number in range(3_000) if number not in (1_234, 2_345)]
    assert decoded.events["stream_offset"].to_list() == expected
    assert decoded.events["event_id"].to_list() == [f"e{number}" for number in expected]


def test_order_and_offsets_are_kept_over_gaps_and_partitions() -> None:
    first = RawBatch("a", 0, [5, 9, 1_000_000_000_000], [event(id="1"), b"x", event(id="2")], [RECEIVED_MS] * 3)
    second = RawBatch("b", 7, [2, 3], [None, event(id="3")], [RECEIVED_MS] * 2)
    decoded = decode_batches([first, second], BOOK)
    origin = ["stream", "stream_partition", "stream_offset", "event_id"]
    assert decoded.events.select(origin).rows() == [("a", 0, 5, "1"), ("a", 0, 1_000_000_000_000, "2"), ("b", 7, 3, "3")]
    assert decoded.rejects.select(origin[:3]).rows() == [("a", 0, 9)]


def members(count: int = 3) -> list[bytes]:
    return [event(id=f"m{number}") for number in range(count)]


@pytest.mark.parametrize("between", [b",", b", ", b",\n", b"\n , \r\n"])
def test_an_array_is_its_members_each_with_its_own_bytes(between: bytes) -> None:
    decoded = decode(b" [" + between.join(members()) + b"]\n", event(id="single"))
    assert decoded.events.select("stream_offset", "event_index", "event_id").rows() == [
        (0, 0, "m0"),
        (0, 1, "m1"),
        (0, 2, "m2"),
        (1, 0, "single"),
    ]
    assert decoded.events["message"].to_list() == [*members(), event(id="single")]


def test_a_bad_member_of_an_array_is_rejected_alone() -> None:
    bad = [b"7", event(id=7), event(time="never"), b'{"a": "},{"}', b"[]"]
    texts = [part for pair in zip(members(5), bad, strict=True) for part in pair]
    decoded = decode(b"[" + b",".join(texts) + b"]")
    assert decoded.events["event_index"].to_list() == [0, 2, 4, 6, 8]
    assert decoded.rejects["event_index"].to_list() == [1, 3, 5, 7, 9]
    assert decoded.rejects["message"].to_list() == bad
    reasons = ["unreadable", "missing_field", "bad_time", "missing_field", "unreadable"]
    assert decoded.rejects["reason"].to_list() == reasons


def test_an_array_is_not_cut_inside_a_text_or_a_nested_list() -> None:
    tricky = [
        event(id="},{"),
        event(data={"minutes": "1", "rooms": [{"a": 1}, {"b": 2}]}),
        json.dumps(EVENT, indent=2).encode(),
    ]
    decoded = decode(b"[" + b", ".join(tricky) + b"]")
    assert decoded.rejects.is_empty()
    assert decoded.events["message"].to_list() == tricky


@pytest.mark.parametrize("broken", [b"[%s, %s", b"[%s %s]", b"[%s,,%s]", b"[%s, %s]]", b"[%s, %s,]", b"[%s, %s}", b"[%s, %s]}"])
def test_a_broken_array_is_kept_whole(broken: bytes) -> None:
    value = broken % tuple(members(2))
    assert reject(value)[0] == "unreadable"


def test_lines_are_events_and_a_bad_line_is_rejected_alone() -> None:
    decoded = decode(b"\r\n".join([members()[0], b"", b"{broken", members()[1]]) + b"\n")
    assert decoded.events.select("event_index", "event_id").rows() == [(0, "m0"), (2, "m1")]
    assert decoded.rejects.select("event_index", "message").rows() == [(1, b"{broken")]


def test_one_event_over_several_lines_is_one_event() -> None:
    value = json.dumps(EVENT, indent=2).encode()
    assert decode(value).events.select("event_id", "message").rows() == [("e1", value)]


def test_a_too_large_member_is_rejected_without_its_neighbours() -> None:
    large = event(padding="x" * 2_000)
    decoded = decode(b"[" + b",".join([members()[0], large, members()[1]]) + b"]", max_event_bytes=1_024)
    assert decoded.events["event_id"].to_list() == ["m0", "m1"]
    assert decoded.rejects.select("event_index", "reason", "message").rows() == [(1, "too_large", large)]


def arrow_table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            **{name: [EVENT[name]] * 2 for name in ("source", "type", "subject")},
            "id": ["a", "b"],
            "time": [RECEIVED, RECEIVED + timedelta(microseconds=1)],
            "data.minutes": pl.Series(["12345678901234567.125", None], dtype=pl.String).cast(pl.Decimal(38, 3)),
            "region": ["cn", 'a "quoted" one'],
        }
    )


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_an_arrow_table_is_one_event_per_row(kind: str) -> None:
    buffer = io.BytesIO()
    if kind == "stream":
        arrow_table().write_ipc_stream(buffer)
    else:
        arrow_table().write_ipc(buffer)
    decoded = decode(event(), buffer.getvalue())
    assert decoded.rejects.is_empty()
    assert decoded.events.select("stream_offset", "event_index", "event_id", "data.minutes", "data.region").rows() == [
        (0, 0, "e1", "1.5", "cn"),
        (1, 0, "a", "12345678901234567.125", "cn"),
        (1, 1, "b", None, 'a "quoted" one'),
    ]
    assert decoded.events["occurred_at"][2] == RECEIVED + timedelta(microseconds=1)
    again = decode(*decoded.events["message"].to_list()[1:])
    assert again.events["event_id"].to_list() == ["a", "b"]


def test_arrow_times_without_a_zone_are_refused_by_name() -> None:
    buffer = io.BytesIO()
    arrow_table().with_columns(pl.col("time").dt.replace_time_zone(None)).write_ipc_stream(buffer)
    assert decode(buffer.getvalue()).rejects["reason"].to_list() == ["time_without_zone"] * 2


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*EVENT, "minutes"]), inner, max_size=4),
    max_leaves=8,
)


@examples(50)
@given(st.lists(st.binary(max_size=30) | json_values.map(lambda value: json.dumps(value).encode()), max_size=6))
def test_whatever_comes_in_every_event_is_read_or_rejected_and_good_ones_survive(values: list[bytes]) -> None:
    decoded = decode(event(id="first"), *values, event(id="last"))
    assert {0, len(values) + 1} <= set(decoded.events["stream_offset"])
    seen = set(decoded.events["stream_offset"]) | set(decoded.rejects["stream_offset"])
    empty = {place + 1 for place, value in enumerate(values) if value.split() == [b"[]"] or value.strip() == b"[]"}
    assert seen | empty == set(range(len(values) + 2))
