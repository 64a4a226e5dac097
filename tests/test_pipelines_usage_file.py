"""A usage file becomes the same messages every time, whatever its format, or is refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.usage_file import read_usage_file
from schemas.errors import BadFile
from schemas.events import ENVELOPE
from schemas.usage import RawBatch

NOW = 1_793_000_000_000
ROWS: list[dict[str, Any]] = [
    {
        "id": f"e{number}",
        "source": "meter",
        "type": "meeting.ended",
        "subject": "sub",
        "time": f"2026-10-01T00:00:{number:02d}Z",
        "data": {"minutes": f"{number}.250", "region": "cn, or 'hk'"},
    }
    for number in range(7)
]


def read(path: Path, chunk_rows: int = 3) -> list[RawBatch]:
    return list(read_usage_file(path, chunk_rows=chunk_rows, received_at_ms=NOW))


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(value) for batch in read(path) for value in batch.values if value is not None]


def table() -> pl.DataFrame:
    envelope = pl.DataFrame([{name: row[name] for name in ENVELOPE} for row in ROWS])
    return envelope.hstack(pl.DataFrame([row["data"] for row in ROWS]).rename(lambda name: f"data.{name}"))


def write(path: Path) -> Path:
    match path.name:
        case "usage.ndjson":
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        case "usage.json":
            path.write_text(json.dumps(ROWS))
        case "pretty.json":
            path.write_text(json.dumps(ROWS, indent=2))
        case "usage.csv":
            table().write_csv(path)
        case "bare.csv":
            table().rename(lambda name: name.removeprefix("data.")).write_csv(path)
        case "usage.tsv":
            table().write_csv(path, separator="\t")
        case "usage.parquet":
            table().write_parquet(path)
        case "struct.parquet":
            pl.DataFrame(ROWS).write_parquet(path)
    return path


NAMES = ["usage.ndjson", "usage.json", "pretty.json", "usage.csv", "bare.csv", "usage.tsv", "usage.parquet", "struct.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_events(tmp_path: Path, name: str) -> None:
    assert events(write(tmp_path / name)) == ROWS


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_known_by_the_content_of_the_file_and_its_row(tmp_path: Path, name: str) -> None:
    first = read(write(tmp_path / name), chunk_rows=3)
    (tmp_path / "copy").mkdir()
    again = read(write(tmp_path / "copy" / name), chunk_rows=2)
    assert {batch.stream for batch in first} == {batch.stream for batch in again}
    assert len(first[0].stream) == len("file:") + 16
    assert [list(batch.offsets) for batch in first] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [value for batch in first for value in batch.values] == [value for batch in again for value in batch.values]
    assert {batch.partition for batch in first} == {0}
    assert {time for batch in first for time in batch.received_at_ms} == {NOW}


def test_a_malformed_line_is_a_message_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "usage.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"id":1}\r\n\n{broken\n\xff\n{"id":2}')
    (batch,) = read(path, chunk_rows=10)
    assert list(batch.offsets) == [0, 2, 3, 4]
    assert list(batch.values) == [b'{"id":1}', b"{broken", b"\xff", b'{"id":2}']


def test_an_array_is_cut_between_its_members_and_nowhere_else(tmp_path: Path) -> None:
    rows = [{"id": "},{"}, {"id": "2", "data": {"list": [{"a": 1}, {"b": 2}]}}, 7, [], {"id": "10" * 3000}]
    path = tmp_path / "usage.json"
    path.write_text(json.dumps(rows, separators=(",", ":")))
    assert events(path) == rows


def test_an_array_of_a_hundred_thousand_events_is_read_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    path.write_text("[" + ",\n".join(['{"id":"a","data":{"x":{"y":1}}}'] * 100_000) + "]")
    assert [len(batch) for batch in read(path, chunk_rows=60_000)] == [60_000, 40_000]


def test_numbers_and_times_of_a_table_become_exact_text(tmp_path: Path) -> None:
    path = tmp_path / "usage.parquet"
    values = {
        "id": 7,
        "source": "s",
        "type": "t",
        "subject": "u",
        "time": pl.Series(["2026-10-01T08:00:00+08:00"]).str.to_datetime("%+", time_zone="UTC")[0],
        "data.exact": pl.Series(["12345678901234567.123456789"]).cast(pl.Decimal(38, 9))[0],
        "data.float": float("nan"),
        "data.absent": None,
    }
    pl.DataFrame([values], schema_overrides={"data.exact": pl.Decimal(38, 9)}).write_parquet(path)
    (event,) = events(path)
    assert event["time"] == "2026-10-01T00:00:00Z"
    assert event["data"] == {"exact": "12345678901234567.123456789", "float": "NaN", "absent": None}


def cut_off(path: Path) -> None:
    table().write_parquet(path)
    path.write_bytes(path.read_bytes()[:400])


def latin(path: Path) -> None:
    path.write_bytes("id,source,type,subject,time,ort\n1,s,t,u,2026-10-01T00:00:00Z,Köln\n".encode("latin-1"))


def ragged(path: Path) -> None:
    path.write_text("id,source,type,subject,time\n1,s,t,u,2026-10-01T00:00:00Z,more,and more\n")


BAD = [
    ("missing.ndjson", lambda path: None, "no such file"),
    ("folder", lambda path: path.mkdir(), "is a folder"),
    ("empty.ndjson", lambda path: path.write_bytes(b""), "is empty"),
    ("blank.json", lambda path: path.write_bytes(b"\xef\xbb\xbf \n\n"), "is empty"),
    ("cut.parquet", cut_off, "cut off"),
    ("text.parquet", lambda path: path.write_text("hello"), "no Parquet file"),
    ("half.json", lambda path: path.write_text('[{"id":1},{"id"'), "no complete JSON array"),
    ("deep.json", lambda path: path.write_text("[" * 100_000), "no complete JSON array"),
    ("latin.csv", latin, "not UTF-8"),
    ("ragged.csv", ragged, "cannot be read as CSV"),
    ("other.csv", lambda path: path.write_text("name,age\na,1\n"), "has no column id, source"),
]


@pytest.mark.parametrize(("name", "make", "sentence"), BAD, ids=[name for name, _, _ in BAD])
def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path: Path, name: str, make: object, sentence: str) -> None:
    assert callable(make)
    make(tmp_path / name)
    with pytest.raises(BadFile, match=sentence):
        read(tmp_path / name)
