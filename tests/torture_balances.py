"""Looks at the balance of a prepaid account after torture: is every top-up in it once, and did usage take what it cost?"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import duckdb

from tests.torture_prices import amounts_of
from tests.torture_world import EXACT, PREPAID

Total = tuple[str, str, date, int]
"""Subscription, price, period and quanta of an aggregate."""

MADE = "role = 'balance' and charge in ('topup', 'adjust')"

BALANCE_COUNTS = {
    "wrong_numbers": """
        select count(*) from (
            select after_quanta, row_number() over (
                partition by account_id order by life, stream_partition, stream_offset, stream_row) as number
            from postings where role in ('balance', 'hold', 'notice'))
        where after_quanta <> number
    """,
    "orders_lost": f"select count(*) from (select order_id from orders except select event_id from postings where {MADE})",
    "wrong_orders": f"""
        select count(*) from (
            select event_id, any_value(price_id) as bucket, any_value(amount) as amount, any_value(account_id) as account_id
                , count(*) as times
            from postings where {MADE} group by event_id) as made
        left join orders on order_id = event_id
        where made.bucket is distinct from orders.bucket or made.amount is distinct from orders.amount
            or made.times <> 1 or account_id <> '{PREPAID}'
    """,
    "wrong_deductions": f"""
        with cost as (
            select event_source, event_id, sum(amount) as amount
            from postings where role = 'revenue' and account_id = '{PREPAID}' group by all having sum(amount) <> 0),
        taken as (
            select event_source, event_id, sum(amount) as amount
            from postings where role = 'balance' and charge = 'deduct' group by all)
        select count(*) from cost full join taken using (event_source, event_id)
        where -cost.amount is distinct from taken.amount
    """,
}
"""Figure -> query; all must be 0."""


def wrong_balances(connection: duckdb.DuckDBPyConnection, totals: list[Total]) -> int:
    """1 when all that was put in, less what the second price list says usage costs, is not what the rows add up to."""
    put_in = _amount(connection, "select coalesce(sum(amount), 0) from orders")
    left = _amount(connection, "select coalesce(sum(amount), 0) from postings where role = 'balance'")
    for subscription, price, _, quanta in totals:
        if subscription == f"sub-{PREPAID}":
            put_in = EXACT.subtract(put_in, amounts_of(subscription, price, quanta)["revenue"])
    return int(put_in != left)


def _amount(connection: duckdb.DuckDBPyConnection, query: str) -> Decimal:
    row = connection.execute(query).fetchone()
    assert row is not None
    return Decimal(row[0])
