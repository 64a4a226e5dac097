"""Looks at a ledger after torture, with DuckDB on its files and not with the product: is every event there once, and right?

What was sent stands in Parquet files that the feed wrote; what was made of it in the files that the Delta log names.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from tests.torture_prices import amounts_of

AGGREGATE = "counted_for, price_id, price_version, usage_period"

COUNTS = {
    "events": "select count(*) from sent",
    "postings": "select count(*) from postings",
    "rejects": "select count(*) from rejects",
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
                order by stream_partition, stream_offset, stream_row rows unbounded preceding
            )
        )
        select count(*) from counted
        where after_quanta <> case when highest then peak else total end
            or coalesce(before_quanta, 0) <> coalesce(previous, 0)
    """,
    "torn_aggregates": f"""
        select count(*) from (
            select 1 from revenue group by {AGGREGATE} having count(distinct (stream, stream_partition)) > 1)
    """,
    "rejects_lost": "select count(*) from (select message from poison except select message from rejects)",
    "rejects_repeated": """
        select count(*) from (
            select 1 from rejects group by stream, stream_partition, stream_offset, event_index having count(*) > 1)
    """,
    "wrong_rejects": """
        select count(*) from rejects left join (select distinct message, reason from poison) as poison using (message)
        where rejects.reason is distinct from poison.reason
    """,
}
"""Figure -> query. All but the first three must be 0."""


@dataclass(frozen=True)
class Verdict:
    """What the check found. Everything after `rejects` is a fault and must be 0."""

    events: int
    postings: int
    rejects: int
    lost: int
    duplicated: int
    wrong_events: int
    """Rows with another subscription, price, period or quantity than the event says, and rows of events nobody sent."""
    wrong_counters: int
    torn_aggregates: int
    rejects_lost: int
    rejects_repeated: int
    wrong_rejects: int
    """Rejects with another reason than the message was made for, and rejects of messages that were good."""
    wrong_amounts: int

    def faults(self) -> dict[str, int]:
        """What is not 0 and should be."""
        names = [field.name for field in fields(self)][3:]
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def check_ledger(ledger: Path, sent: Path, poison: Path) -> Verdict:
    """Compare the ledger in a folder with what was sent, which is in folders of Parquet files."""
    with duckdb.connect() as connection:
        for table in ("postings", "rejects"):
            files = [str(path) for path in live_files(ledger / table)]
            connection.read_parquet(files, hive_partitioning=False).create_view(table)
        connection.execute("create view revenue as select * from postings where role = 'revenue' and charge = 'usage'")
        connection.read_parquet(str(sent / "*.parquet")).create_view("sent")
        connection.read_parquet(str(poison / "*.parquet")).create_view("poison")
        counts = {name: _number(connection, query) for name, query in COUNTS.items()}
        return Verdict(**counts, wrong_amounts=_wrong_amounts(connection))


def live_files(table: Path) -> list[Path]:
    """The files that the newest version of a table consists of."""
    return [table / uri.split(f"/{table.name}/", 1)[1] for uri in DeltaTable(table).file_uris()]


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _wrong_amounts(connection: duckdb.DuckDBPyConnection) -> int:
    """Sums per aggregate and role that are not what the whole of its events costs."""
    totals = connection.execute("""
        select subscription_id, price_id, usage_period, if(any_value(highest), max(quanta), sum(quanta))
        from sent group by all
    """).fetchall()
    wanted = {
        (subscription, price, period, role): amount
        for subscription, price, period, quanta in totals
        for role, amount in amounts_of(subscription, price, int(quanta)).items()
    }
    found = {
        tuple(key): amount
        for *key, amount in connection.execute("""
            select subscription_id, price_id, usage_period, role, sum(amount)
            from postings where charge = 'usage' group by all
        """).fetchall()
    }
    return sum(wanted.get(key) != found.get(key) for key in wanted | found)
