"""How long a worker needs to remember a ledger: counters and event ids rebuilt from its rows, against a bare read of them.

    python bench/recovery.py                       5 million rows
    python bench/recovery.py --millions 50 --keep FOLDER    more, in a folder that is kept and used again (by bill_run.py too)
    python bench/recovery.py --loose               the month as commits left it, not compacted
    python bench/recovery.py --worker              also `boss worker`: from its start, and from its restart after SIGKILL

The bare read is of the same columns of the same files, one file after another, and does nothing with them. Both run in a
process of their own, so that the peak memory is theirs. The worker runs on a copy of the ledger, with the embedded broker and
events of a known subscription waiting; its session is 2 s, which a restart after SIGKILL may have to wait for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bill_run import fill
from machine import describe_machine, peak_bytes, print_table
from usage_world import write_messages

from ledger.state import Part, usage_rows
from ledger.table import source_id
from pipelines.dev import dev_broker, worker_process
from pipelines.producer import send_messages
from pipelines.remembered import Remembered
from pipelines.workspace import Workspace

WAITING = 1_000
"""Events that wait for a worker."""

PATIENCE_SECONDS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--loose", action="store_true")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=["rebuild", "read"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(";".join(map(str, rebuild(chosen.keep) if chosen.part == "rebuild" else read(chosen.keep))))
        return
    print(describe_machine("polars", "numba", "deltalake"), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = chosen.keep or Path(name) / "workspace"
        fill(folder, chosen.millions, compacted=not chosen.loose)
        print_rebuild(folder, chosen.rounds)
        if chosen.worker:
            print()
            heads = ("started", "to `reading`, s", "to the first new rows, s")
            print_table(heads, measure_worker(_copy(folder, Path(name) / "copy")))


def print_rebuild(folder: Path, rounds: int) -> None:
    files = Workspace.open(folder).ledger().postings.describe_files()
    rebuilt = [_in_child("rebuild", folder) for _ in range(rounds)]
    bare = [_in_child("read", folder) for _ in range(rounds)]
    took, floor = (sorted(part[0] for part in parts)[rounds // 2] for parts in (rebuilt, bare))
    busy, floor_busy = (sorted(part[1] for part in parts)[rounds // 2] for parts in (rebuilt, bare))
    heads = (
        *("million rows", "files", "rebuild, s", "bare read, s", "ratio", "of processor, s", "of the read, s"),
        *("counters", "ids", "remembered, MB", "peak memory, MB", "of the read, MB"),
    )
    _, _, peak, counters, ids, held = rebuilt[0]
    figures = (f"{took:.1f}", f"{floor:.1f}", f"{took / floor:.1f}", f"{busy:.1f}", f"{floor_busy:.1f}")
    sizes = (f"{int(counters):,}", f"{int(ids):,}", *(f"{size / 1e6:,.0f}" for size in (held, peak, bare[0][2])))
    print_table(heads, [(f"{files['rows'].sum() / 1e6:.0f}", files.height, *figures, *sizes)])


def _in_child(part: str, folder: Path) -> list[float]:
    command = [sys.executable, __file__, "--part", part, "--keep", str(folder)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()[-1]
    return [float(number) for number in answer.split(";")]


def rebuild(folder: Path) -> tuple[float, ...]:
    """Seconds, seconds of processor, peak memory, counters, ids, and bytes that they take."""
    workspace = Workspace.open(folder)
    known = Remembered(workspace.ledger().postings, workspace.settings.limits.remember_months)
    started, busy = time.perf_counter(), time.process_time()
    known.rebuild()
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    held = known.seen.nbytes + known.counters.nbytes
    return seconds, busy, peak_bytes(), len(known.counters), len(known.seen), held


def read(folder: Path) -> tuple[float, ...]:
    """Seconds, seconds of processor, and peak memory."""
    postings = Workspace.open(folder).ledger().postings
    started, busy = time.perf_counter(), time.process_time()
    rows = sum(frame.height for frame in usage_rows(postings, Part(since="2026-08")))
    assert rows == postings.describe_files()["rows"].sum()
    return time.perf_counter() - started, time.process_time() - busy, peak_bytes()


def measure_worker(folder: Path) -> list[tuple[object, ...]]:
    """The worker started, killed and started again; each time new events wait."""
    rows: list[tuple[object, ...]] = []
    with dev_broker(Workspace.open(folder)) as running:
        for place, what in enumerate(("first", "after SIGKILL")):
            kafka, topic = running.settings.kafka, running.settings.stream.topic
            keys, values = write_messages(10**9 + place * WAITING, WAITING)
            sent = asyncio.run(send_messages(kafka, topic, zip(keys, values, strict=True)))
            log = folder / f"worker-{place}.log"
            started = time.perf_counter()
            with worker_process(running, log) as process:
                reading, rated = _wait(running, log, sent.last_offsets, started)
                process.kill()
                process.wait()
            rows.append((what, f"{reading:.1f}", f"{rated:.1f}"))
    return rows


def _wait(running: Workspace, log: Path, last_offsets: dict[int, int], started: float) -> tuple[float, float]:
    """Seconds until the log says `reading`, and until the ledger has the events."""
    postings = running.ledger().postings
    wanted = {source_id(running.stream_name, number): offset for number, offset in last_offsets.items()}
    reading = None
    while time.perf_counter() - started < PATIENCE_SECONDS:
        if reading is None and "event='reading'" in log.read_text():
            reading = time.perf_counter() - started
        if postings.positions(wanted) == wanted:
            rated = time.perf_counter() - started
            return (rated if reading is None else reading), rated
        time.sleep(0.05)
    raise SystemExit(f"The worker did not get through in {PATIENCE_SECONDS} s; see its log:\n{log.read_text()}")


def _copy(folder: Path, to: Path) -> Path:
    """A ledger that may be written to. Its large files are the same ones, which nobody writes again."""

    def link(source: str, target: str) -> None:
        try:
            (os.link if source.endswith(".parquet") else shutil.copy2)(source, target)
        except OSError:  # another disk
            shutil.copy2(source, target)

    shutil.copytree(folder, to, copy_function=link)
    return to


if __name__ == "__main__":
    main()
