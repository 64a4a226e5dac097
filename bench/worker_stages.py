"""Where a worker's time goes: seconds of processor for a million events, from messages in memory to rows in the ledger.

    python bench/worker_stages.py                     one event a message, and JSON arrays of 1000
    python bench/worker_stages.py --threads 2         with as many threads of Polars

No broker and no consumer, and one step after the other, so the sum is what a core would have to do. Of every stage the best of
the rounds counts: a busy machine makes the others slower, and never this one faster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

BATCH = 50_000
WARM = 3
STAGES = {
    "join the messages and find the events": "pipelines.message_events:scan_messages",
    "columns of text, times": "pipelines.message_events:_told",
    "judge": "pipelines.decode:_judge",
    "all other decoding": "pipelines.rater:decode_batches",
    "measure": "rating.batch:measure_usage",
    "match": "rating.batch:match_prices",
    "de-duplicate": "rating.batch:drop_duplicates",
    "count": "rating.batch:count_usage",
    "price": "rating.batch:price_usage",
    "share": "rating.batch:share_charges",
    "post": "rating.batch:post_charges",
    "all other rating": "pipelines.rater:rate_batch",
    "sort": "ledger.delta:_ordered",
    "write Parquet": "polars:DataFrame.write_parquet",
    "digest, statistics, file": "ledger.table:write_files",
    "chain and Delta commit": "ledger.table:LedgerTable._commit",
    "all other appending": "ledger.table:LedgerTable.append",
    "remember counters and ids": "pipelines.remembered:Remembered.advance",
    "all the rest": "pipelines.rater:Rater.process",
}
"""Stage -> the function that does it. What a stage inside it takes is taken off."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.size:
        for stage, seconds in profile(chosen.size, chosen.rounds).items():
            print(f"{stage};{seconds}")
        return
    from machine import describe_machine, print_table

    print(describe_machine("polars", "deltalake", "numba"), end="\n\n")
    found = [_in_child(size, chosen.rounds, chosen.threads) for size in (1, 1_000)]
    rows = [(stage, *(f"{part[stage]:.2f}" for part in found)) for stage in STAGES]
    sums = [sum(part.values()) for part in found]
    rows.append(("**sum**", *(f"**{seconds:.2f}**" for seconds in sums)))
    rows.append(("events a second of processor", *(f"{1e6 / seconds:,.0f}" for seconds in sums)))
    print_table(("seconds of processor a million events", "one a message", "arrays of 1000"), rows)


def _in_child(size: int, rounds: int, threads: int) -> dict[str, float]:
    """A process of its own, because Polars takes its number of threads from the environment when it is imported."""
    environment = os.environ | {"POLARS_MAX_THREADS": str(threads), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, "--size", str(size), "--rounds", str(rounds)]
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line.rpartition(";") for line in answer.splitlines() if ";" in line]
    return {stage: float(seconds) for stage, _, seconds in lines}


def profile(size: int, rounds: int) -> dict[str, float]:
    """Seconds of processor a million events, by stage."""
    from usage_world import make_workspace, write_messages

    from pipelines.rater import Rater
    from schemas.usage import RawBatch

    taken = _watch_stages()
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        workspace = make_workspace(Path(name) / "workspace")
        rater = Rater(workspace, workspace.ledger(), workspace.settings.limits)
        rater.assign([("bench", 0)])
        for number in range(WARM + rounds):
            _, values = write_messages(number * BATCH, BATCH)
            if size > 1:
                values = [b"[" + b",".join(values[first : first + size]) + b"]" for first in range(0, BATCH, size)]
            offsets = range(number * len(values), (number + 1) * len(values))
            taken.clear()
            done = rater.process([RawBatch("bench", 0, offsets, values, [time.time_ns() // 10**6] * len(values))])
            assert done.postings == BATCH
            if number >= WARM:
                best = {stage: min(best.get(stage, taken[stage]), taken[stage]) for stage in STAGES}
    return {stage: seconds / BATCH * 1e6 for stage, seconds in best.items()}


def _watch_stages() -> defaultdict[str, float]:
    """From here on every stage adds what it takes, without the stages inside it."""
    from importlib import import_module

    taken: defaultdict[str, float] = defaultdict(float)
    inside: list[float] = []

    def watched(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            inside.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                seconds = time.process_time() - started
                taken[stage] += seconds - inside.pop()
                if inside:
                    inside[-1] += seconds

        return run

    for stage, place in STAGES.items():
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, watched(stage, getattr(owner, name)))
    return taken


if __name__ == "__main__":
    main()
