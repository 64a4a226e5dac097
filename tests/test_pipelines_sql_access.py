"""`boss sql`: one SELECT is answered exactly; everything else is refused and changes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ledger.book import Ledger, open_ledger
from pipelines.frame_text import plain_text, table_rows, write_frame, write_frames
from pipelines.sql_access import query, query_frames
from pipelines.warehouse import open_warehouse
from schemas.book import BOOK_FRAMES, Book
from schemas.errors import BadQuery
from schemas.ledger import POSTINGS
from schemas.roster import ROSTER_FRAMES, Roster

ROWS = POSTINGS.build(
    [
        {"stream": "s", "stream_partition": 0, "stream_offset": n, "usage_month": "2026-10", "amount": Decimal(amount)}
        for n, amount in enumerate(["0.1", "0.2", "1234567890.000000000000000001"])
    ]
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = open_ledger(tmp_path / "ledger")
    ledger.postings.append(ROWS, expected={}, reached={"s/0": 2})
    return ledger


@pytest.fixture
def warehouse(ledger: Ledger) -> Iterator[duckdb.DuckDBPyConnection]:
    book = Book(1, "", **{name: schema.empty() for name, schema in BOOK_FRAMES.items()})
    roster = Roster(1, "", **{name: schema.empty() for name, schema in ROSTER_FRAMES.items()})
    with open_warehouse(ledger, book, roster) as connection:
        yield connection


def written(frame: pl.DataFrame, format: str) -> bytes:
    target = io.BytesIO()
    write_frame(frame, format, target)
    return target.getvalue()


def test_a_select_is_answered_to_the_last_digit(warehouse: duckdb.DuckDBPyConnection) -> None:
    answer = query(warehouse, "select sum(amount) as amount from postings")
    assert answer["amount"].to_list() == [Decimal("1234567890.300000000000000001")]


@pytest.mark.parametrize(
    "text",
    [
        "with a as (select 1 as x) select x from a",
        "select 1 as x;",
        "select 1 as x; -- done",
        "from (values (1)) as t(x)",
        "values (1)",
        "select count(*) from (show tables) having count(*) > 0",
        "describe postings",
    ],
)
def test_what_reads_is_answered(warehouse: duckdb.DuckDBPyConnection, text: str) -> None:
    assert query(warehouse, text).height > 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-- nothing",
        "selct 1",
        "select 1; select 2",
        "select x from nowhere",
        "select $period",
        "create table mine as select 1",
        "drop view postings",
        "delete from plans",
        "insert into plans select * from plans",
        "with gone as (delete from plans returning *) select * from gone",
        "update plans set kind = 'x'",
        "set threads = 1",
        "reset enable_external_access",
        "pragma database_list",
        "call pragma_version()",
        "attach 'mine.duckdb'",
        "install httpfs",
        "load httpfs",
        "begin",
        "commit",
        "checkpoint",
        "vacuum",
        "export database 'mine'",
        "prepare p as select 1",
        "copy (select 1) to 'mine.csv'",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('/proc/self/environ')",
        "select * from glob('/etc/*')",
        "select * from '/etc/passwd'",
        "select * from sniff_csv('/etc/passwd')",
        "select * from query('create table mine as select 1')",
        "select interval 1 month",
    ],
)
def test_what_writes_reaches_out_or_is_no_sql_is_refused(warehouse: duckdb.DuckDBPyConnection, text: str) -> None:
    with pytest.raises(BadQuery):
        query(warehouse, text)
    assert query(warehouse, "select count(*) as n from postings")["n"].to_list() == [3], "the connection still answers"


@pytest.mark.parametrize(
    "text",
    [
        "copy (select 1 as x) to '{path}' (format parquet)",
        "with gone as (copy (select 1 as x) to '{path}' (format parquet)) select * from gone",
        "with gone as materialized (copy (select 1 as x) to '{path}' (format parquet)) select 1",
        "select (with gone as (copy (select 1 as x) to '{path}' (format parquet)) select 1)",
    ],
)
def test_a_file_of_the_ledger_cannot_be_overwritten(warehouse: duckdb.DuckDBPyConnection, ledger: Ledger, text: str) -> None:
    [path] = ledger.postings.files()
    before = Path(path).read_bytes()
    with pytest.raises(BadQuery):
        query(warehouse, text.format(path=path))
    assert Path(path).read_bytes() == before


def test_no_file_appears_beside_the_ledger(warehouse: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    path = ledger.postings.path / "mine.csv"
    with pytest.raises(BadQuery):
        query(warehouse, f"with gone as (copy (select 1) to '{path}') select * from gone")
    assert not path.exists()


def test_a_refusal_says_why_and_what_is_read(warehouse: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(BadQuery, match=r"it is no SELECT but COPY[\s\S]*One SELECT"):
        query(warehouse, "copy (select 1) to 'mine.csv'")
    with pytest.raises(BadQuery, match="there are 2 statements in it"):
        query(warehouse, "select 1; drop table plans")


def test_large_answers_come_in_batches(warehouse: duckdb.DuckDBPyConnection) -> None:
    frames = query_frames(warehouse, "select x from range(120000) as t(x)")
    assert [frame.height for frame in frames] == [0, 50_000, 50_000, 20_000]


def test_an_answer_may_be_left_half_read(warehouse: duckdb.DuckDBPyConnection) -> None:
    frames = query_frames(warehouse, "select x from range(1000000) as t(x)")
    next(frames), next(frames)
    frames.close()
    assert query(warehouse, "select 1 as x")["x"].to_list() == [1]


def test_an_answer_without_rows_keeps_its_columns(warehouse: duckdb.DuckDBPyConnection) -> None:
    answer = query(warehouse, "select amount, usage_month from postings where false")
    assert answer.schema == {"amount": pl.Decimal(38, 18), "usage_month": pl.String}
    assert written(answer, "json") == b"[]\n"
    assert written(answer, "csv") == b"amount,usage_month\n"


def test_columns_of_one_name_are_told_apart(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert query(warehouse, "select 1 as a, 2 as a, 3 as a_2").columns == ["a", "a_2", "a_2_2"]


ANSWER = """
    select 1 as whole, 1.500000::decimal(38, 18) as amount, 3::decimal(38, 4) as money, 0.000100::decimal(38, 6) as rate,
        date '2026-10-05' as day, timestamptz '2026-10-05 08:00:00.5+08' as instant, true as flag, null as nothing,
        'x,"y' as text, '{"id": 1}'::blob as message, [1, 2] as numbers, sum(2) over () as total
"""


def test_json_has_decimals_as_strings_and_iso_times(warehouse: duckdb.DuckDBPyConnection) -> None:
    [row] = json.loads(written(query(warehouse, ANSWER), "json"))
    assert row == {
        "whole": 1,
        "amount": "1.50",
        "money": "3.00",
        "rate": "0.0001",
        "day": "2026-10-05",
        "instant": "2026-10-05T00:00:00.500Z",
        "flag": True,
        "nothing": None,
        "text": 'x,"y',
        "message": '{"id": 1}',
        "numbers": [1, 2],
        "total": "2",
    }


def test_csv_says_the_same_in_one_line(warehouse: duckdb.DuckDBPyConnection) -> None:
    header, line = written(query(warehouse, ANSWER), "csv").decode().splitlines()
    assert header == "whole,amount,money,rate,day,instant,flag,nothing,text,message,numbers,total"
    assert line == '1,1.50,3.00,0.0001,2026-10-05,2026-10-05T00:00:00.500Z,true,,"x,""y","{""id"": 1}","[1, 2]",2'


def test_parquet_keeps_the_types_of_all_batches(warehouse: duckdb.DuckDBPyConnection) -> None:
    target = io.BytesIO()
    text = "select x, cast(x as decimal(38, 18)) as amount, date '2026-10-05' as day from range(60000) as t(x)"
    write_frames(query_frames(warehouse, text), "parquet", target)
    frame = pl.read_parquet(target.getvalue())
    assert frame.schema == {"x": pl.Int64, "amount": pl.Decimal(38, 18), "day": pl.Date}
    assert frame["x"].sort().to_list() == list(range(60_000))


def test_batches_make_one_json_document_and_one_csv_header() -> None:
    frames = [pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [3]})]
    for format, expected in [("json", b'[\n{"a":1},\n{"a":2},\n{"a":3}\n]\n'), ("csv", b"a\n1\n2\n3\n")]:
        target = io.BytesIO()
        write_frames(frames, format, target)
        assert target.getvalue() == expected


def test_bytes_that_are_no_text_are_shown_escaped() -> None:
    assert plain_text(pl.DataFrame({"message": [b"ok \xff", None]}))["message"].to_list() == ["ok \\xff", None]


def test_table_cells_are_plain_text() -> None:
    frame = pl.DataFrame({"day": [date(2026, 10, 5), None], "amount": [Decimal("1.500"), Decimal("-2.125")]})
    assert table_rows(frame) == [["2026-10-05", "1.50"], ["", "-2.125"]]


def test_another_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="'xml' is no format"):
        written(pl.DataFrame({"a": [1]}), "xml")
