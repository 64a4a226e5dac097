"""Balances follow a re-rating: what rows of usage that are taken back had cost is given back, what is posted anew is paid."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from pipelines.posted_usage import EVENT
from rating.balance.accounts import Balances
from rating.balance.origins import Origins, paid_parts
from rating.balance.quote import Quotes
from rating.balance.rows import post_changes
from rating.balance.settle import Happened, Paid, Settlement, account_terms
from rating.balance.units import Covered
from rating.counters import Counters
from rating.rejects import REJECTED
from rating.terms import Terms
from schemas.balance import Move
from schemas.ledger import AGGREGATE_KEY, POSTINGS, Role


def pay_corrections(rows: pl.DataFrame, postings: pl.LazyFrame, balances: Balances, terms: Terms) -> pl.DataFrame:
    """POSTINGS of a re-rating with the rows of balances; `balances` then stand after them.

    A row that is taken back gives back to the buckets that paid for it, and nothing where none did. One that had cost nothing
    may cost something when it is taken back as the last of its aggregate; that goes where the aggregate's other rows went.
    What an account's balance has become is told once, after its last row. Units that stand for usage stay as they are.

    Args:
        rows: POSTINGS of the re-rating, in order.
        postings: The ledger.
        terms: The newest.
    """
    revenue = rows.filter(pl.col("role") == Role.REVENUE.value).with_row_index("event")
    back = revenue.filter(pl.col("corrects").is_not_null())
    wanted = back.select("event", *EVENT, "price_id").unique([*EVENT, "price_id"])
    theirs = postings.filter(pl.col("account_id").is_in(back["account_id"].unique().implode()))
    charged = theirs.filter((pl.col("role") == Role.REVENUE.value) & (pl.col("amount") != 0)).select(*EVENT, "price_id")
    cost = wanted.lazy().join(charged, on=[*EVENT, "price_id"], how="semi").collect()["event"]
    deducted = (pl.col("role") == Role.BALANCE.value) & (pl.col("charge") == Move.DEDUCT.value)
    deductions = theirs.filter(deducted).collect()
    paid = paid_parts(deductions.join(wanted.rename({"price_id": "value"}), on=[*EVENT, "value"]))
    beside = back.join(deductions.drop("price_id").rename({"value": "price_id"}), on=AGGREGATE_KEY, how="semi")["event"]
    prepaid = terms.accounts.filter(pl.col("charging") == "prepaid")["account_id"]
    anew = pl.col("corrects").is_null() & pl.col("account_id").is_in(prepaid.implode())
    for_nothing = pl.col("event").is_in(beside.implode()) & ~pl.col("event").is_in(cost.implode())
    concerned = revenue.filter(pl.col("event").is_in(sorted({event for event, _ in paid})) | for_nothing | anew)
    if concerned.is_empty():
        return rows
    nothing = Covered(pl.DataFrame(), pl.DataFrame(), [], REJECTED.empty(), {})
    quotes = Quotes([], terms, Counters())
    walk = Settlement(account_terms(concerned["account_id"], terms), balances, quotes, nothing, Origins({}, paid))
    last = set(concerned.group_by("account_id").agg(pl.col("event").last())["event"])
    for event, at, row in _as_paid(concerned):
        walk.happen(Happened(event, row.account_id, at, None), [row], tell=event in last)
    whole = post_changes(walk.sheet, revenue, rows, terms)
    balances.advance(whole)
    return POSTINGS.select(whole)


def _as_paid(rows: pl.DataFrame) -> Iterator[tuple[int, datetime, Paid]]:
    """Event, time and Paid of each row."""
    columns = ["event", "occurred_at", "usage_period", "after_quanta", "corrects", "account_id", "counted_for"]
    columns += ["subscription_id", "meter_id", "price_id", "price_version", "quantity_scale"]
    for row in rows.select(*columns, scaled=pl.col("amount").to_physical()).iter_rows(named=True):
        at, corrects = row.pop("occurred_at"), row.pop("corrects")
        yield row["event"], at, Paid(**row, charge=0, sign=1 if corrects is None else -1)
