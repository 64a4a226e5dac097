"""How long a bill run takes over a compacted ledger, against DuckDB's bare group-by of the same files.

    python bench/bill_run.py                       5 million events
    python bench/bill_run.py --millions 50 --keep FOLDER    more, in a folder that is kept and used again

The ledger is made by rating seeded events of 100,000 subscriptions and compacted as `boss ledger compact` does. The bill run
is `boss bill preview`: recurring fees, lines, taxes, invoices and outcomes of 20,000 accounts, and the check against the
ledger; it writes nothing. The floor sums amount and quantity per account, subscription, price version and period. Each runs
in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import polars as pl
from machine import describe_machine, peak_bytes, print_table
from usage_world import HOLDERS, make_workspace, write_events

import pipelines.bill_run
from ledger.maintain import compact
from ledger.table import source_id
from pipelines.workspace import Workspace
from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import compile_terms
from schemas.period import Period

BATCH = 500_000
PERIOD = Period(2026, 10)
SOURCE = source_id("kafka:usage@1", 0)
GROUP_BY = """
select account_id, subscription_id, price_id, price_version, usage_period, sum(amount), sum(quantity_quanta), count(*)
from read_parquet({files}) where role = 'revenue' group by all
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--part", choices=["bill", "floor"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        seconds = bill(chosen.keep) if chosen.part == "bill" else group(chosen.keep)
        print(f"{seconds};{peak_bytes()}")
        return
    print(describe_machine("polars", "duckdb", "deltalake"), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = chosen.keep or Path(name) / "workspace"
        fill(folder, chosen.millions)
        bills, floors = [_in_child("bill", folder) for _ in range(3)], [_in_child("floor", folder) for _ in range(3)]
    took, floor = (sorted(seconds for seconds, _ in parts)[1] for parts in (bills, floors))
    memory, floor_memory = (max(peak for _, peak in parts) / 1e6 for parts in (bills, floors))
    heads = ("million rows", "bill run, s", "group-by, s", "ratio", "peak memory, MB", "of the group-by, MB")
    print_table(
        heads,
        [
            (
                chosen.millions,
                f"{took:.1f}",
                f"{floor:.1f}",
                f"{took / floor:.1f}",
                *(f"{size:,.0f}" for size in (memory, floor_memory)),
            )
        ],
    )


def _in_child(part: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "--part", part, "--keep", str(folder)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()[-1]
    seconds, peak = answer.split(";")
    return float(seconds), float(peak)


def fill(folder: Path, millions: int, *, compacted: bool = True) -> None:
    """Rate events into the ledger until it has as many rows, and compact the month. One that is there is taken as it is."""
    workspace = make_workspace(folder)
    book, roster = workspace.load()
    terms, counters, seen = compile_terms(book, roster), Counters(), SeenEvents()
    postings = workspace.ledger().postings
    position = postings.position(SOURCE)
    if position is not None:
        assert position + 1 == millions * 10**6, "this folder holds another number of rows"
        return

    for number in range(millions * 10**6 // BATCH):
        events = write_events(folder, number, 1, BATCH)
        rated = rate_batch(pl.read_parquet(events), terms, counters, seen)
        assert rated.postings.height == BATCH
        before = None if number == 0 else number * BATCH - 1
        postings.append(rated.postings, expected={SOURCE: before}, reached={SOURCE: (number + 1) * BATCH - 1})
        counters.advance(rated.postings)
        events.unlink()  # the seeded ids never come again, so they need not be remembered
    if compacted:
        compact(postings, str(PERIOD))


def bill(folder: Path) -> float:
    workspace = Workspace.open(folder)
    started = time.perf_counter()
    drafted = pipelines.bill_run.preview(workspace, PERIOD)
    seconds = time.perf_counter() - started
    assert drafted.invoices.height > 0
    return seconds


def group(folder: Path) -> float:
    files = Workspace.open(folder).ledger().postings.files()
    started = time.perf_counter()
    connection = duckdb.connect(config={"memory_limit": "4GB"})
    connection.execute("set preserve_insertion_order = false")
    rows = connection.sql(GROUP_BY.format(files=files)).to_arrow_table()
    seconds = time.perf_counter() - started
    assert 0 < rows.num_rows <= 3 * HOLDERS
    return seconds


if __name__ == "__main__":
    main()
