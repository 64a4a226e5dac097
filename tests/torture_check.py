"""Looks at a ledger after torture, with DuckDB on its files and not with the product: is every event there once, and right?

What was sent stands in Parquet files that the feed wrote; what was made of it in the files that the Delta log names.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from tests.torture_balances import BALANCE_COUNTS, Total, wrong_balances
from tests.torture_prices import amounts_of

AGGREGATE = "counted_for, price_id, price_version, usage_period"

ORDER = "life, stream_partition, stream_offset, stream_row"
"""In which the rows of an account came about. A life is what an epoch names: 1, 2, 3 ..."""

COUNTS = {
    "events": "select count(*) from sent",
    "postings": "select count(*) from postings",
    "rejects": "select count(*) from rejects",
    "balance_rows": "select count(*) from postings where role in ('balance', 'hold', 'notice')",
    "books": "select max(book_version) from postings",
    "rosters": "select max(roster_version) from postings",
    "sent_back": """
        select count(*) from rejects join sent
            on rejects.reason = 'wrong_partition' and sent.event_id = try_cast(decode(message) as json) ->> '$.id'
    """,
    "lost": "select count(*) from (select event_source, event_id from sent except select event_source, event_id from revenue)",
    "duplicated": """
        select (select count(*) from (
                    select 1 from postings group by event_source, event_id, price_id, role, partner_id having count(*) > 1))
             + (select count(*) from (
                    select 1 from postings group by stream, stream_partition, stream_offset, stream_row having count(*) > 1))
    """,
    "wrong_events": """
        select count(*) from revenue full join sent using (event_source, event_id)
        where (revenue.subscription_id, revenue.price_id, revenue.usage_period, revenue.quantity_quanta)
            is distinct from (sent.subscription_id, sent.price_id, sent.usage_period, sent.quanta)
    """,
    "wrong_counters": f"""
        with counted as (
            select after_quanta, before_quanta, highest,
                sum(quantity_quanta) over steps as total,
                max(quantity_quanta) over steps as peak,
                lag(after_quanta) over steps as previous
            from revenue join sent using (event_source, event_id)
            window steps as (
                partition by revenue.{AGGREGATE.replace(", ", ", revenue.")}
                order by {ORDER} rows unbounded preceding
            )
        )
        select count(*) from counted
        where after_quanta <> case when highest then peak else total end
            or coalesce(before_quanta, 0) <> coalesce(previous, 0)
    """,
    "torn_aggregates": f"""
        select count(*) from (
            select 1 from revenue group by life, {AGGREGATE} having count(distinct stream_partition) > 1)
    """,
    "rejects_lost": "select count(*) from (select message from poison except select message from rejects)",
    "rejects_repeated": """
        select count(*) from (
            select 1 from rejects group by stream, stream_partition, stream_offset, event_index having count(*) > 1)
    """,
    "wrong_rejects": """
        select count(*) from rejects left join (select distinct message, reason from poison) as poison using (message)
        where rejects.reason is distinct from poison.reason and (rejects.reason <> 'wrong_partition'
            or (try_cast(decode(message) as json) ->> '$.id')
                not in (select event_id from sent union all select order_id from orders))
    """,
    **BALANCE_COUNTS,
}
"""Figure -> query."""
FIGURES = ("events", "postings", "rejects", "balance_rows", "books", "rosters", "sent_back")
"""All others are faults and must be 0."""


@dataclass(frozen=True)
class Verdict:
    """What the check found. Everything after the FIGURES is a fault and must be 0."""

    events: int
    postings: int
    rejects: int
    balance_rows: int
    books: int
    rosters: int
    """The newest versions that rows were rated with."""
    sent_back: int
    """Rejects of good events that came by a partition which does not count their account any more. They were sent again."""
    lost: int
    duplicated: int
    wrong_events: int
    """Rows with another subscription, price, period or quantity than the event says, and rows of events nobody sent."""
    wrong_counters: int
    torn_aggregates: int
    rejects_lost: int
    rejects_repeated: int
    wrong_rejects: int
    """Rejects with another reason than the message was made for, and rejects of messages that were good and not sent back."""
    wrong_numbers: int
    """Rows of a balance that are not the next of their account."""
    orders_lost: int
    wrong_orders: int
    """Top-ups and corrections with another amount or bucket than was sent, twice, or never sent."""
    wrong_deductions: int
    """Events of a prepaid account that took from its balance something else than they cost."""
    wrong_balances: int
    """Buckets and balances that do not hold what was put in less what usage costs."""
    wrong_amounts: int

    def faults(self) -> dict[str, int]:
        """What is not 0 and should be."""
        names = [field.name for field in fields(self) if field.name not in FIGURES]
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def check_ledger(ledger: Path, noted: Path) -> Verdict:
    """Compare the ledger in a folder with what was sent: `noted` has folders sent/, poison/ and orders/ of Parquet files."""
    with duckdb.connect() as connection:
        for table in ("postings", "rejects"):
            files = [str(path) for path in live_files(ledger / table)]
            connection.read_parquet(files, hive_partitioning=False).create_view(f"{table}_as_they_are")
            connection.execute(f"""
                create view {table} as
                select *, cast(split_part(stream, '@', 2) as integer) as life from {table}_as_they_are
            """)
        connection.execute("create view revenue as select * from postings where role = 'revenue' and charge = 'usage'")
        for name in ("sent", "poison", "orders"):
            connection.read_parquet(str(noted / name / "*.parquet")).create_view(name)
        counts = {name: _number(connection, query) for name, query in COUNTS.items()}
        totals = _totals_sent(connection)
        return Verdict(
            **counts,
            wrong_balances=wrong_balances(connection, totals),
            wrong_amounts=_wrong_amounts(connection, totals),
        )


def missing(ledger: Path, noted: Path) -> int:
    """How much of what was sent is not in the ledger yet."""
    if not all(DeltaTable.is_deltatable(str(ledger / table)) for table in ("postings", "rejects")):
        return 1
    found = check_ledger(ledger, noted)
    return found.lost + found.rejects_lost + found.orders_lost


def live_files(table: Path) -> list[Path]:
    """The files that the newest version of a table consists of."""
    return [table / uri.split(f"/{table.name}/", 1)[1] for uri in DeltaTable(table).file_uris()]


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _totals_sent(connection: duckdb.DuckDBPyConnection) -> list[Total]:
    """Subscription, price, period and quanta of every aggregate, of what was sent."""
    return [
        (subscription, price, period, int(quanta))
        for subscription, price, period, quanta in connection.execute("""
            select subscription_id, price_id, usage_period, if(any_value(highest), max(quanta), sum(quanta))
            from sent group by all
        """).fetchall()
    ]


def _wrong_amounts(connection: duckdb.DuckDBPyConnection, totals: list[Total]) -> int:
    """Sums per aggregate and role that are not what the whole of its events costs."""
    wanted = {
        (subscription, price, period, role): amount
        for subscription, price, period, quanta in totals
        for role, amount in amounts_of(subscription, price, quanta).items()
    }
    found = {
        tuple(key): amount
        for *key, amount in connection.execute("""
            select subscription_id, price_id, usage_period, role, sum(amount)
            from postings where charge = 'usage' group by all
        """).fetchall()
    }
    return sum(wanted.get(key) != found.get(key) for key in wanted | found)
