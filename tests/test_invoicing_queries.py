"""The SQL texts keep to the house rules and to the subset that other engines carry; checks find wrong rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from invoicing.queries import LEDGER_CHECKS, RUN_CHECKS, STAGES, load_check, load_query
from schemas.billing import INVOICES, LINES

FOLDER = Path(__file__).parents[1] / "invoicing" / "sql"
TEXTS = sorted(FOLDER.rglob("*.sql"))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        yield opened


def body(path: Path) -> str:
    """The statement without its comments and its texts in quotes, on one line."""
    code = " ".join(line.strip() for line in path.read_text().splitlines() if not line.startswith("--"))
    return re.sub(r"'[^']*'", "''", code).replace("( ", "(")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_text_has_a_header_that_names_grain_input_and_output(path: Path) -> None:
    header = "\n".join(line for line in path.read_text().splitlines() if line.startswith("--"))
    assert "-- in:" in header
    assert "-- out:" in header
    parameters = set(re.findall(r"\$(\w+)", body(path)))
    named = re.search(r"-- args: +(.*)", header)
    assert parameters == (set(named[1].split(", ")) if named else set())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_text_keeps_to_the_portable_subset(path: Path) -> None:
    text = body(path)
    assert text == text.lower()
    assert not re.search(r"\bavg\b|\bhash\b|round_even|select \*|\.\*|qualify|\b(group|order) by all\b|\bexclude\b", text)
    assert "/" not in text
    assert not re.search(r"(?<!cast\()\b(sum|count|round|floor)\(", text)


def test_every_stage_and_check_has_its_text_and_every_text_is_used() -> None:
    named = {*STAGES, *(f"checks/{name}" for name in [*RUN_CHECKS, *LEDGER_CHECKS])}
    compared = {f"checks/{path.stem}" for path in TEXTS if path.stem.startswith("compare_")}  # by pipelines/checks.py
    line = {"line_rows", "line_postings", "line_tiers", "line_terms", "line_parties"}
    single = {"sources", "unbilled", "fresh", "older", "reached", "totals", "used_keys", "limit_costs", *line}
    assert {str(path.relative_to(FOLDER).with_suffix("")) for path in TEXTS} == named | single | compared
    assert all(load_query(name) for name in named)


def lines(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    """(account, line, net, tax) of class standard at 6 %."""
    return LINES.build(
        [
            {
                "account_id": account,
                "line": line,
                "net_amount": Decimal(net),
                "tax_amount": Decimal(tax),
                "tax_class": "standard",
                "tax_rate": Decimal("0.06"),
                "currency": "CNY",
            }
            for account, line, net, tax in rows
        ]
    )


def spread(connection: duckdb.DuckDBPyConnection, *nets: str, rate: str = "0.06") -> tuple[list[int], int]:
    """Tax of each line and of the invoice, in minor units, for lines of these net minor units."""
    frame = LINES.build([{"account_id": "acme", "line": number + 1, "tax_class": "s"} for number in range(len(nets))])
    net_lines = frame.with_columns(
        net_minor=pl.Series([Decimal(net) for net in nets]).cast(pl.Decimal(24, 0)),
        tax_rate=pl.lit(Decimal(rate)).cast(pl.Decimal(12, 10)),
        minor_unit=pl.lit(Decimal(1)).cast(pl.Decimal(5, 4)),
    )
    connection.register("net_lines", net_lines)
    connection.register("invoice_taxes", connection.sql(load_query("invoice_taxes")).pl())
    drafted = connection.sql(load_query("draft_lines")).pl()
    total = connection.sql("select tax_minor from invoice_taxes").fetchall()[0][0]
    return [int(tax) for tax in drafted.sort("line")["tax_amount"]], int(total)


def test_tax_is_spread_by_largest_remainder(connection: duckdb.DuckDBPyConnection) -> None:
    taxes, total = spread(connection, "110", "120", "130")  # 6.6, 7.2, 7.8: 21.6 in all
    assert (taxes, total) == ([7, 7, 8], 22)


def test_equal_remainders_go_to_the_earlier_line(connection: duckdb.DuckDBPyConnection) -> None:
    taxes, total = spread(connection, "10", "10", "10", rate="0.15")  # 1.5 each: 4.5, half-up 5
    assert (taxes, total) == ([2, 2, 1], 5)


@pytest.mark.parametrize("nets", [("-110", "-120", "-130"), ("1000", "-10", "7"), ("-50", "25"), ("0", "0"), ("8", "-8")])
@pytest.mark.parametrize("rate", ["0.06", "0.13", "0.0875", "0"])
def test_the_parts_of_a_tax_add_up_and_are_near_their_exact_value(
    connection: duckdb.DuckDBPyConnection, nets: tuple[str, ...], rate: str
) -> None:
    taxes, total = spread(connection, *nets, rate=rate)
    assert sum(taxes) == total
    assert all(abs(tax - Decimal(net) * Decimal(rate)) < 1 for tax, net in zip(taxes, nets, strict=True))


def test_lines_that_differ_from_their_invoice_are_found(connection: duckdb.DuckDBPyConnection) -> None:
    drafted = lines(("acme", 1, "10", "0.6"), ("beta", 1, "10", "0.6"), ("free", 1, "0", "0"), ("lost", 1, "5", "0.3"))
    money = [("acme", "10", "0.6", "10.6"), ("beta", "10", "0.7", "10.7"), ("none", "1", "0", "1")]
    made = [
        {"account_id": account, "net_amount": Decimal(net), "tax_amount": Decimal(tax), "total_amount": Decimal(total)}
        for account, net, tax, total in money
    ]
    connection.register("draft_lines", drafted)
    connection.register("draft_invoices", INVOICES.build([dict(row) for row in made]))
    wrong = connection.sql(load_check("lines_equal_invoices")).pl()
    assert wrong["account_id"].to_list() == ["beta", "lost", "none"]


@pytest.mark.parametrize(
    ("numbers", "wrong"), [([1, 2, 3], 0), ([2, 3], 1), ([1, 3], 1), ([1, 2, 2], 1), ([1, 1, 3], 1), ([], 0)]
)
def test_gaps_and_repeats_in_numbers_are_found(connection: duckdb.DuckDBPyConnection, numbers: list[int], wrong: int) -> None:
    rows = {"series": ["INV"] * len(numbers), "year": [2026] * len(numbers), "number": numbers}
    connection.register("numbered", pl.DataFrame(rows, schema={"series": pl.String, "year": pl.Int32, "number": pl.Int64}))
    assert connection.sql(load_check("numbers_are_gapless")).pl().height == wrong
