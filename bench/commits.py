"""How long a commit to the ledger takes: in a folder, and in object storage.

    python bench/commits.py                      against the server of the tests, on this machine
    BOSS_LEDGER__LOCATION=s3://bucket/bench BOSS_LEDGER__ENDPOINT=... python bench/commits.py

Both in one run, commit by commit in turn, a batch of 1,000 rows each. The bucket keeps what was written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1]))

from ledger.book import open_ledger
from ledger.table import LedgerTable
from pipelines.settings import Settings
from pipelines.workspace import object_place
from tests.ledger_world import fill
from tests.s3 import CREDENTIALS, ObjectServer

ROWS = 1_000


def measure(tables: dict[str, LedgerTable], commits: int) -> dict[str, list[float]]:
    """Milliseconds of each commit after the first, which creates the table."""
    taken: dict[str, list[float]] = {name: [] for name in tables}
    for number in range(commits + 1):
        for name, table in tables.items():
            started = time.perf_counter()
            fill(table, number * ROWS, ROWS)
            taken[name].append((time.perf_counter() - started) * 1000)
    return {name: times[1:] for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=200)
    given = parser.parse_args()
    place = Settings().ledger
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="commits-")))
        if place.location:
            objects = object_place(place, folder / "cache")
            objects = replace(objects, location=f"{objects.location.rstrip('/')}/{uuid.uuid4().hex}")
        else:
            server = ObjectServer()
            stack.callback(server.stop)
            os.environ.update(CREDENTIALS)
            objects = server.place(folder / "cache")
        tables = {"folder": open_ledger(folder / "ledger").postings, "objects": open_ledger(objects).postings}
        for name, times in measure(tables, given.commits).items():
            print(f"{name:<8} median {median(times):6.1f} ms, p95 {quantiles(times, n=20)[-1]:6.1f} ms")


if __name__ == "__main__":
    main()
