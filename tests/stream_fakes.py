"""A rater that only writes down what it is given, in a real ledger table, and a worker process around it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ledger.table import LedgerTable, source_id
from pipelines.rater import Rate, RateResult, Source
from pipelines.settings import Stream
from pipelines.topic_life import Topic, keep_life
from pipelines.worker import run_stream
from schemas.errors import BossError, LedgerUnwritable
from schemas.frames import FrameSchema
from schemas.usage import RawBatch
from tests.stream_watch import start_module

HEARD = FrameSchema("HEARD", {"partition": pl.Int32, "offset": pl.Int64, "value": pl.Binary, "worker": pl.Int32})


class RaterDouble:
    """Keeps one row per message, by compare-and-swap; on request it dies after a commit, cannot write, never gets done, or
    takes long to begin."""

    def __init__(
        self,
        folder: Path,
        *,
        die_after_commits: int = 0,
        unwritable: bool = False,
        held: bool = False,
        assign_seconds: float = 0,
    ) -> None:
        self.table = LedgerTable(folder, HEARD)
        self.commits_left = die_after_commits
        self.unwritable = unwritable
        self.held = held
        self.assign_seconds = assign_seconds
        self.positions: dict[Source, int | None] = {}

    def assign(self, sources: Sequence[Source], topic: Topic | None = None) -> Mapping[Source, int | None]:
        if topic is not None:
            keep_life(self.table, topic)
        time.sleep(self.assign_seconds)
        self.positions = {source: self.table.position(source_id(*source)) for source in sources}
        return dict(self.positions)

    def read(self, batches: Sequence[RawBatch]) -> Rate:
        return lambda: lambda: self._commit(batches)

    def _commit(self, batches: Sequence[RawBatch]) -> RateResult:
        while self.held:
            time.sleep(1)
        rows = [
            (batch.partition, offset, value, os.getpid())
            for batch in batches
            for offset, value in zip(batch.offsets, batch.values, strict=True)
            if offset > (-1 if (have := self.positions[batch.stream, batch.partition]) is None else have)
        ]
        if self.unwritable:
            raise LedgerUnwritable(self.table.path, "no space left on device")
        reached = {(batch.stream, batch.partition): batch.offsets[-1] for batch in batches}
        reached = {source: max(offset, self.positions[source] or 0) for source, offset in reached.items()}
        self.table.append(
            pl.DataFrame(rows, schema=dict(HEARD.columns), orient="row"),
            expected={source_id(*source): self.positions[source] for source in reached},
            reached={source_id(*source): offset for source, offset in reached.items()},
        )
        self.commits_left -= 1
        if self.commits_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.positions.update(reached)
        return RateResult(events=len(rows), postings=len(rows))


def heard(folder: Path) -> pl.DataFrame:
    """HEARD, in order: what workers have put into the table so far."""
    return LedgerTable(folder, HEARD).scan().collect().sort("partition", "offset")


def start_worker(folder: Path, kafka: str, log: Path, **options: object) -> subprocess.Popen[bytes]:
    """This file as a process that ends with ours. Options are those of `Stream` and of RaterDouble."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return start_module("tests.stream_fakes", [str(folder), kafka, *arguments], log)


def wait_for_messages(folder: Path, count: int, seconds: float = 40) -> pl.DataFrame:
    """HEARD, once it has `count` rows; otherwise as far as it came in time."""
    deadline = time.monotonic() + seconds
    while (found := heard(folder)).height < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kafka")
    parser.add_argument("--topic", default="usage")
    parser.add_argument("--epoch", default="1")
    parser.add_argument("--group", default="boss")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--flush-seconds", type=float, default=0.1)
    parser.add_argument("--flush-events", type=int, default=5_000)
    parser.add_argument("--flush-megabytes", type=int, default=28)
    parser.add_argument("--session-seconds", type=float, default=1.0)
    parser.add_argument("--die-after-commits", type=int, default=0)
    parser.add_argument("--unwritable", type=bool, default=False)
    parser.add_argument("--held", type=bool, default=False)
    parser.add_argument("--assign-seconds", type=float, default=0)
    given = vars(parser.parse_args())
    options = {name: given.pop(name) for name in ("die_after_commits", "unwritable", "held", "assign_seconds")}
    rater = RaterDouble(given.pop("folder"), **options)
    try:
        run_stream(rater, given.pop("kafka"), Stream(**given))
    except BossError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
