"""Rate a usage file: `boss rate FILE`.

One road at a time. Without Kafka this process is the only writer, under a lock that workers respect; the file's digest and
row are its position, so the same file twice changes nothing and a broken run continues where it stopped. With Kafka the
events go to the topic and we wait until the ledger has passed them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from ledger.lock import writer_lock
from pipelines.rater import ProgressReport, Rater, RateResult
from pipelines.usage_file import read_usage_file
from pipelines.workspace import Workspace
from schemas.usage import RawBatch

CHUNK_EVENTS = 100_000
"""Events per commit: enough to be fast, small enough to stay in memory and to show progress."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def rate_file(workspace: Workspace, path: Path, report: ProgressReport) -> RateResult:
    """Rate every event of the file that the ledger does not have yet.

    Raises:
        BadFile: The file cannot be read as a whole. What was rated before the damage stays rated.
        LedgerBusy: A worker or another command writes this ledger.
        NothingPublished: There is no price book to rate with.
    """
    workspace.versions()
    chunks = read_usage_file(path, chunk_rows=CHUNK_EVENTS, received_at_ms=now_ms())
    return rate_chunks(workspace, chunks, report)


def rate_chunks(workspace: Workspace, chunks: Iterable[RawBatch], report: ProgressReport) -> RateResult:
    """Rate messages as the only writer of the ledger."""
    done = RateResult()
    with writer_lock(workspace.ledger_folder, exclusive=True):
        rater = Rater(workspace, workspace.ledger(), workspace.settings.limits)
        assigned: tuple[str, int] | None = None
        for chunk in chunks:
            source = chunk.stream, chunk.partition
            if source != assigned:
                rater.assign([source])
                assigned = source
            done = done.plus(rater.process([chunk]))
            report(done)
    return done
