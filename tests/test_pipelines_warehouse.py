"""The ledger as SQL: right types, one snapshot, closed doors."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pipelines.warehouse import open_warehouse, run_query
from tests.billing_world import Office, minutes_world, used


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "it's a folder", minutes_world())


def opened(office: Office, version: int | None = None) -> duckdb.DuckDBPyConnection:
    book, roster = office.workspace.load()
    return open_warehouse(office.ledger, book, roster, version=version)


def test_tables_have_the_types_of_their_schema_with_and_without_rows(office: Office) -> None:
    for _ in range(2):
        with opened(office) as connection:
            for name, table in office.ledger.tables().items():
                assert run_query(connection, f"select * from {name}").schema == table.schema.empty().schema, name
        office.rate(used("a", "8"))


def test_a_version_shows_the_rows_it_had(office: Office) -> None:
    office.rate(used("a", "8"))
    version = office.ledger.postings.version()
    office.rate(used("b", "8"))
    with opened(office, version) as then, opened(office) as now:
        rows = [run_query(connection, "select event_id from postings").height for connection in (then, now)]
    assert rows == [1, 2]


def test_parameters_are_given_by_name(office: Office) -> None:
    office.rate(used("a", "8"), used("b", "16"))
    with opened(office) as connection:
        found = run_query(connection, "select event_id from postings where quantity_quanta > $least", {"least": 10})
    assert found["event_id"].to_list() == ["b"]


def test_currencies_know_their_minor_unit(office: Office) -> None:
    text = "select currency, digits, factor from currencies where currency in ('CNY', 'JPY', 'KWD') order by currency"
    with opened(office) as connection:
        assert run_query(connection, text).rows() == [("CNY", 2, 100), ("JPY", 0, 1), ("KWD", 3, 1000)]


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_csv('/etc/hostname')",
        "copy (select 1) to '{folder}/out.csv'",
        "attach '{folder}/other.db'",
        "set enable_external_access = true",
        "set memory_limit = '100GB'",
    ],
)
def test_nothing_else_can_be_read_written_or_set(office: Office, tmp_path: Path, text: str) -> None:
    with opened(office) as connection, pytest.raises(duckdb.Error):
        connection.execute(text.format(folder=tmp_path))
