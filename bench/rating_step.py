"""How fast the rating step is, against what DuckDB needs to read, join and write the same rows.

    python bench/rating_step.py                      batches of 100,000 events, memory, growth at 1 M and 5 M events
    python bench/rating_step.py --growth 1,5,50      growth at other numbers of million events
    python bench/rating_step.py --profile            where the time of a batch goes

A batch: read events from Parquet, rate them (measure, match, de-duplicate, count, price), write POSTINGS to Parquet (zstd),
advance the counters and remember the ids. The floor: one DuckDB statement that reads the same Parquet, joins the same
100,000 subscriptions x 3 charges and writes as many rows of the same columns, zstd too, without rating anything. The narrow
floor writes only the event's own columns and the number of the charge.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

BATCH = 100_000


@dataclass(frozen=True)
class Case:
    threads: int
    fan_out: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", default="1,5", help="millions of events, by comma")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        name, *numbers = chosen.case.split(",")
        {"floor": run_floor, "growth": run_growth, "memory": run_memory}[name](*map(int, numbers))
        return
    if chosen.profile:
        profile_step()
        return
    from machine import describe_machine, print_table

    print(describe_machine("polars", "duckdb", "numba", "numpy"), end="\n\n")
    cases = [Case(threads, fan_out) for fan_out in (1, 3) for threads in (1, 2)]
    floors = [_in_child(case.threads, "floor", case.fan_out, case.threads, chosen.rounds) for case in cases]
    heads = ("fan-out", "threads", "events/s", "rows/s", "DuckDB floor, events/s", "ratio", "narrow floor, events/s", "ratio")
    rows = []
    for case, seconds in zip(cases, floors, strict=True):
        rate, wide, narrow = (BATCH / float(part) for part in seconds)
        shown = (f"{rate:,.0f}", f"{rate * case.fan_out:,.0f}", f"{wide:,.0f}", f"{rate / wide:.2f}")
        rows.append((case.fan_out, case.threads, *shown, f"{narrow:,.0f}", f"{rate / narrow:.2f}"))
    print_table(heads, rows)
    print()
    grown = [_in_child(2, "growth", int(millions)) for millions in chosen.growth.split(",")]
    print_table(
        ("million events", "seconds", "events/s", "processor seconds a million", "counters", "ids", "memory, MB"), grown
    )
    print()
    print_table(
        ("million", "counters, bytes each", "ids, bytes each"), [_in_child(2, "memory", millions) for millions in (1, 4)]
    )


def _in_child(threads: int, *case: object) -> list[str]:
    """A process of its own, because Polars takes its number of threads from the environment when it is imported."""
    environment = os.environ | {"POLARS_MAX_THREADS": str(threads), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, "--case", ",".join(map(str, case))]
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return answer.strip().splitlines()[-1].split(";")


class Step:
    """The rating step with its state, as a worker has it."""

    def __init__(self, fan_out: int) -> None:
        from usage_world import make_book, make_roster

        from rating.counters import Counters
        from rating.seen import SeenEvents
        from rating.terms import compile_terms

        self.fan_out = fan_out
        self.book, self.roster = make_book(fan_out), make_roster()
        self.terms = compile_terms(self.book, self.roster)
        self.counters, self.seen = Counters(), SeenEvents()

    def run(self, events: Path, written: Path) -> int:
        import polars as pl

        from rating.batch import rate_batch

        rated = rate_batch(pl.read_parquet(events), self.terms, self.counters, self.seen)
        rated.postings.write_parquet(written, compression="zstd", compression_level=1)  # as the ledger does
        self.counters.advance(rated.postings)
        self.seen.remember(rated.postings)
        assert rated.rejects.is_empty()
        assert rated.duplicates == 0
        return rated.postings.height


def floor_sql(events: Path, written: Path, wide: bool) -> str:
    """Read, join, write. Wide: every column of POSTINGS, from the event, from the charge, or a constant."""
    from schemas.ledger import POSTINGS

    own = {
        "stream_row": "0::integer", "dimensions": "''", "role": "'revenue'", "partner_id": "null::varchar",
        "charge": "'usage'", "tier": "0::integer", "book_version": "1::integer", "roster_version": "1::integer",
        "usage_period": "date '2026-10-01'", "usage_period_end": "date '2026-11-01'", "usage_month": "'2026-10'",
        "quantity_quanta": 'cast(e."data.value" as bigint)', "before_quanta": "0::bigint",
        "after_quanta": 'cast(e."data.value" as bigint)', "amount": "c.price",
        "value": "null::varchar", "corrects": "null::varchar", "windows": "null::varchar", "reported_quanta": "null::bigint",
    }  # fmt: skip
    events_own = {"stream", "stream_partition", "stream_offset", "event_source", "event_id", "occurred_at"}
    columns = [
        f"{own[name]} as {name}" if name in own else f"e.{name}" if name in events_own else f"c.{name}"
        for name in POSTINGS.names()
    ]
    if not wide:
        columns = ["e.event_id", "e.subject", "e.event_type", "e.occurred_at", 'e."data.value"', "c.number"]
    return (
        f"copy (select {', '.join(columns)} from read_parquet('{events}') e "
        "join charges c on e.subject = c.subscription_id and e.event_type = c.event_type) "
        f"to '{written}' (format parquet, compression zstd, compression_level 1)"
    )


def run_floor(fan_out: int, threads: int, rounds: int) -> None:
    import duckdb
    from machine import time_in_turns
    from usage_world import write_events

    step = Step(fan_out)
    database = duckdb.connect()
    database.execute(f"set threads = {threads}")
    database.execute("set preserve_insertion_order = false")
    charges = step.terms.usage.join(step.terms.meters.select("meter", "event_type"), on="meter").with_row_index("number")
    named = charges.select(
        "number", "event_type", "subscription_id", "counted_for", "account_id", "price_id", "price_version", "meter_id",
        "quantity_scale", "currency", "tax_class",
    )  # fmt: skip
    database.register("given", named.to_arrow())
    database.execute("create table charges as select *, cast(0.0123 as decimal(38,18)) as price from given")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = count()
        for _ in range(5):
            rows = step.run(write_events(folder, next(numbers), fan_out), folder / "step.parquet")
        assert rows == BATCH * fan_out
        batches = [write_events(folder, next(numbers), fan_out) for _ in range(rounds)]
        fresh, wide, narrow = iter(batches), iter(batches), iter(batches)
        seconds = time_in_turns(
            [
                lambda: step.run(next(fresh), folder / "step.parquet"),
                lambda: database.execute(floor_sql(next(wide), folder / "wide.parquet", True)),
                lambda: database.execute(floor_sql(next(narrow), folder / "narrow.parquet", False)),
            ],
            rounds,
        )
        for written in ("wide", "narrow"):
            assert database.execute(f"select count(*) from '{folder}/{written}.parquet'").fetchone() == (BATCH * fan_out,)
    print(";".join(map(str, seconds)))


def run_growth(millions: int) -> None:
    """One after the other, as a stream would: nothing may grow with what came before."""
    from machine import peak_bytes
    from usage_world import write_events

    step = Step(1)
    taken = processor = 0.0
    with tempfile.TemporaryDirectory() as name:
        for number in range(millions * 10**6 // BATCH):
            events = write_events(Path(name), number, 1)
            started, busy = time.perf_counter(), time.process_time()
            step.run(events, Path(name) / "step.parquet")
            taken += time.perf_counter() - started
            processor += time.process_time() - busy
            events.unlink()
    rate = f"{millions * 10**6 / taken:,.0f}"
    processor /= millions
    print(f"{millions};{taken:.1f};{rate};{processor:.1f};{len(step.counters):,};{len(step.seen):,};{peak_bytes() / 1e6:,.0f}")


def run_memory(millions: int) -> None:
    """Bytes that a counter and an id keep, and by how much the process has grown, with what loading left behind."""
    import gc
    from datetime import date

    import polars as pl
    from machine import kept_bytes, resident_bytes

    from rating.counters import Counters
    from rating.seen import SeenEvents

    rows = millions * 10**6
    number = pl.int_range(rows, dtype=pl.Int64)
    kept = []
    for state in (Counters(), SeenEvents()):
        gc.collect()
        before = resident_bytes()
        if isinstance(state, Counters):
            state.load(
                pl.select(
                    counted_for=pl.lit("sub-") + (number // 3).cast(pl.String).str.zfill(8),
                    price_id=pl.lit("price-") + (number % 3).cast(pl.String),
                    price_version=pl.lit("2026-01-01"),
                    usage_period=pl.lit(date(2026, 10, 1)),
                    after_quanta=number,
                    events=number,
                )
            )
        else:
            state.add(
                pl.select(
                    event_source=pl.lit("/meters/eu-1"),
                    event_id=pl.lit("id-") + number.cast(pl.String),
                    subscription_id=pl.lit("sub-") + (number // 3).cast(pl.String).str.zfill(8),
                    occurred_at=pl.datetime(2026, 10, 1, time_zone="UTC", time_unit="us"),
                    meter_id=pl.lit("minutes"),
                    quantity_quanta=number,
                    value=pl.lit(None, pl.String),
                )
            )
        gc.collect()
        kept += [kept_bytes(state) / rows, (resident_bytes() - before) / rows]
    print(f"{millions};{';'.join(f'{size:.0f}' for size in kept)}")


def profile_step() -> None:
    """Seconds of processor, not of the clock, so that it can be read on a busy machine too."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    from usage_world import write_events

    step = Step(1)
    with tempfile.TemporaryDirectory() as name:
        batches = [write_events(Path(name), number, 1) for number in range(15)]
        for events in batches[:5]:
            step.run(events, Path(name) / "step.parquet")
        profile = cProfile.Profile(time.process_time)
        profile.enable()
        for events in batches[5:]:
            step.run(events, Path(name) / "step.parquet")
        profile.disable()
    pstats.Stats(profile).sort_stats("cumulative").print_stats("rating/|parquet|numba|collect", 45)


if __name__ == "__main__":
    main()
