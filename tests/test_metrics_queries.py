"""Revenue metrics from hand-made fees: what each movement is called, and that a month always adds up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.queries import read_query
from schemas.metrics import FEES, MOVEMENTS, SUMMARY
from schemas.period import Period
from tests.examples import examples

Fee = tuple[str, date | None, date | None]
"""Monthly fee, and from when until when it is in force; from None is long ago, until None is open."""

LONG_AGO = date(2026, 1, 1)
OCTOBER = Period(2026, 10)


LINE_KEY = ["account_id", "subscription_id", "partner_id", "price_id", "price_version", "usage_period", "late"]
"""What lines are made by; the rows here are all of one line per role."""


class Books:
    """The tables the metrics read, on a connection of their own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.put("currencies", pl.DataFrame({"currency": ["CNY", "JPY", "KWD"], "digits": [2, 0, 3]}))
        self.bill([])

    def put(self, name: str, frame: pl.DataFrame) -> None:
        self.connection.register("incoming", frame)
        self.connection.execute(f'create or replace table "{name}" as select * from incoming')

    def bill(self, rows: list[tuple[str, str, str, str]]) -> None:
        """Rows of the run: role, charge, currency, amount."""
        names = ["role", "charge", "currency", "amount"]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
        line = {name: pl.lit(None, pl.String) for name in LINE_KEY}
        self.put("billed", frame.with_columns(pl.col("amount").cast(pl.Decimal(38, 18)), **line))

    def ask(self, query: str, **params: object) -> pl.DataFrame:
        relation = self.connection.sql(read_query(query), params=params or None)
        assert relation is not None
        frame: pl.DataFrame = relation.pl()
        return frame

    def measure(self, fees: dict[str, list[Fee]], period: Period = OCTOBER, currency: str = "CNY") -> pl.DataFrame:
        """SUMMARY of fees by account; `drafted_movements` is left for the test to read."""
        rows: list[dict[str, object]] = [
            {
                "subscription_id": f"{account}-{i}",
                "account_id": account,
                "price_id": "plan.fee",
                "currency": currency,
                "monthly_fee": Decimal(fee),
                "fee_from": start or LONG_AGO,
                "fee_to": end,
            }
            for account, held in fees.items()
            for i, (fee, start, end) in enumerate(held)
        ]
        self.put("fees", FEES.build(rows))
        days = {
            "start_day": period.first_day - timedelta(days=1),
            "end_day": period.next().first_day - timedelta(days=1),
        }
        self.put("account_mrr", self.ask("account_mrr", **days))
        self.put("drafted_movements", MOVEMENTS.select(self.ask("movements", period=str(period))))
        self.put("revenue", self.ask("revenue"))
        summary = SUMMARY.select(self.ask("summary", period=str(period)))
        self.put("drafted_summary", summary)
        self.connection.execute("create or replace table billed_lines as select * from revenue where false")
        return summary

    def movements(self) -> list[tuple[object, ...]]:
        columns = "account_id, movement, mrr_before, mrr_after, mrr_change"
        return self.connection.execute(f"select {columns} from drafted_movements order by account_id").fetchall()


@pytest.fixture
def books() -> Iterator[Books]:
    with duckdb.connect(":memory:") as connection:
        yield Books(connection)


CASES: list[tuple[str, list[Fee], str | None, str, str]] = [
    ("starts in the month", [("100", date(2026, 10, 5), None)], "new", "0", "100"),
    ("starts on the month's last day", [("100", date(2026, 10, 31), None)], "new", "0", "100"),
    ("starts on the first day of the next month", [("100", date(2026, 11, 1), None)], None, "0", "0"),
    ("stays as it was", [("100", None, None)], None, "100", "100"),
    ("ends with the month: its last day is still in force", [("100", None, date(2026, 11, 1))], None, "100", "100"),
    ("ended with the month before", [("100", None, date(2026, 10, 1))], "churn", "100", "0"),
    ("ends in the month", [("100", None, date(2026, 10, 20))], "churn", "100", "0"),
    ("is raised", [("100", None, date(2026, 10, 9)), ("130", date(2026, 10, 9), None)], "expansion", "100", "130"),
    ("is lowered", [("100", None, date(2026, 10, 9)), ("70", date(2026, 10, 9), None)], "contraction", "100", "70"),
    ("gets an add-on", [("100", None, None), ("20", date(2026, 10, 2), None)], "expansion", "100", "120"),
    ("loses one of two subscriptions", [("100", None, None), ("20", None, date(2026, 10, 2))], "contraction", "120", "100"),
    ("becomes free", [("100", None, date(2026, 10, 9)), ("0", date(2026, 10, 9), None)], "churn", "100", "0"),
    ("comes back", [("100", None, date(2026, 8, 15)), ("50", date(2026, 10, 9), None)], "reactivation", "0", "50"),
    ("changes plan without a gap", [("100", None, date(2026, 10, 9)), ("100", date(2026, 10, 9), None)], None, "100", "100"),
    ("pauses within the month", [("100", None, date(2026, 10, 3)), ("100", date(2026, 10, 9), None)], None, "100", "100"),
    ("comes and goes within the month", [("100", date(2026, 10, 3), date(2026, 10, 9))], None, "0", "0"),
    (
        "was here for days that no month's end saw",
        [("100", date(2026, 8, 3), date(2026, 8, 9)), ("50", date(2026, 10, 9), None)],
        "new",
        "0",
        "50",
    ),
    ("was free before", [("0", None, date(2026, 9, 1)), ("50", date(2026, 10, 9), None)], "new", "0", "50"),
]


@pytest.mark.parametrize(("case", "fees", "movement", "before", "after"), CASES, ids=[case[0] for case in CASES])
def test_an_account_that(books: Books, case: str, fees: list[Fee], movement: str | None, before: str, after: str) -> None:
    books.measure({"acme": fees})
    change = Decimal(after) - Decimal(before)
    expected = [("acme", movement, Decimal(before), Decimal(after), change)] if movement else []
    assert books.movements() == expected, case


def test_the_summary_of_a_month_is_one_line(books: Books) -> None:
    books.bill(
        [("revenue", "usage", "CNY", "33.335"), ("revenue", "recurring", "CNY", "500"), ("share", "usage", "CNY", "6.667")]
    )
    summary = books.measure(
        {
            "arrives": [("100", date(2026, 10, 5), None)],
            "grows": [("100", None, date(2026, 10, 9)), ("130", date(2026, 10, 9), None)],
            "leaves": [("40.5", None, date(2026, 10, 20))],
            "returns": [("9", None, date(2026, 8, 15)), ("50", date(2026, 10, 9), None)],
            "saves": [("100", None, date(2026, 10, 9)), ("70", date(2026, 10, 9), None)],
            "stays": [("10", None, None)],
        }
    )
    assert summary.to_dicts() == [
        {
            "period": "2026-10",
            "currency": "CNY",
            "mrr_start": Decimal("250.5"),
            "mrr_new": Decimal(100),
            "mrr_expansion": Decimal(30),
            "mrr_contraction": Decimal(-30),
            "mrr_churn": Decimal("-40.5"),
            "mrr_reactivation": Decimal(50),
            "mrr_end": Decimal(360),
            "paying_accounts": 5,
            "arpa": Decimal(72),
            "usage_revenue": Decimal("33.34"),
            "share_cost": Decimal("6.67"),
        }
    ]
    assert books.ask("check_summary").is_empty()


@pytest.mark.parametrize(
    ("currency", "fees", "arpa"),
    [
        ("CNY", ["0.01", "0"], "0.01"),
        ("CNY", ["0.01", "0.02"], "0.02"),
        ("CNY", ["1", "1", "1.01"], "1.00"),
        ("JPY", ["1", "2"], "2"),
        ("KWD", ["0.001", "0.002"], "0.002"),
    ],
)
def test_arpa_is_rounded_half_up_over_the_accounts_that_pay(books: Books, currency: str, fees: list[str], arpa: str) -> None:
    summary = books.measure({f"a{i}": [(fee, None, None)] for i, fee in enumerate(fees)}, currency=currency)
    assert summary["arpa"].to_list() == [Decimal(arpa)]


def test_without_a_paying_account_there_is_no_average(books: Books) -> None:
    books.bill([("revenue", "usage", "CNY", "5")])
    summary = books.measure({})
    assert summary.select("mrr_end", "paying_accounts", "arpa", "usage_revenue").rows() == [(Decimal(0), 0, None, Decimal(5))]


def test_a_years_fee_counts_a_twelfth_rounded_per_account(books: Books) -> None:
    summary = books.measure({"a": [("8.333333333333333333", None, None)], "b": [("8.335", None, None)]})
    assert summary["mrr_end"].to_list() == [Decimal("16.67")]


def test_the_summary_check_finds_usage_revenue_that_the_invoices_do_not_have(books: Books) -> None:
    books.bill([("revenue", "usage", "CNY", "5")])
    books.measure({})
    other = pl.DataFrame(
        {"currency": ["CNY"], "usage_revenue": [Decimal(4)]}, schema_overrides={"usage_revenue": pl.Decimal(38, 4)}
    )
    books.put("billed_lines", other)
    assert books.ask("check_summary").select("rule", "left_amount", "right_amount").rows() == [
        ("usage revenue = invoice lines", Decimal(5), Decimal(4))
    ]


def test_the_summary_check_finds_a_movement_that_is_missing(books: Books) -> None:
    summary = books.measure({"acme": [("100", date(2026, 10, 5), None)]})
    books.put("drafted_summary", summary.with_columns(mrr_new=pl.lit("0").cast(pl.Decimal(38, 4))))
    assert books.ask("check_summary")["rule"].to_list() == ["start + movements = end"]


days = st.integers(0, 110).map(lambda n: date(2026, 6, 1) + timedelta(days=n))
one_fee = st.tuples(st.decimals("0", "500", places=3).map(str), days, st.one_of(st.none(), days)).filter(
    lambda fee: fee[2] is None or fee[2] > fee[1]
)
histories = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.lists(one_fee, min_size=1, max_size=4), max_size=4)


@examples(7)
@given(histories)
def test_start_plus_movements_is_end_and_the_next_month_starts_there(fees: dict[str, list[Fee]]) -> None:
    with duckdb.connect(":memory:") as connection:
        books = Books(connection)
        end = Decimal(0)
        known: set[object] = set()
        for period in (Period(2026, 6).plus(months) for months in range(4)):
            rows = books.measure(fees, period).to_dicts()
            row = rows[0] if rows else {"mrr_start": Decimal(0), "mrr_end": Decimal(0)}
            moved = [
                row.get(f"mrr_{name}", Decimal(0)) for name in ("new", "expansion", "contraction", "churn", "reactivation")
            ]
            assert row["mrr_start"] == end
            assert row["mrr_start"] + sum(moved, Decimal(0)) == row["mrr_end"]
            assert books.ask("check_summary").is_empty()
            arrived = {account for account, movement, *_ in books.movements() if movement == "new"}
            assert not arrived & known, "an account is new once"
            known |= arrived
            end = row["mrr_end"]
