"""Rejected events: what is still open, and sending it again (`boss rejects list | retry`).

A reject is open until an event of its source and id has been charged. Every rejected message is kept whole, so when the
catalog, the roster or the sender has been mended the same bytes are rated again. What fails again is rejected again, as a
new row: the table is append-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from ledger.book import Ledger
from pipelines.rate_file import now_ms, rate_chunks
from pipelines.rater import ProgressReport, RateResult
from pipelines.workspace import Workspace
from schemas.usage import RawBatch, RejectReason

NEVER_RETRIED = frozenset({RejectReason.DUPLICATE_DIFFERS})
"""The first event of that id was charged; sending the second again cannot change that."""


def open_rejects(ledger: Ledger, reasons: Sequence[str] = ()) -> pl.DataFrame:
    """REJECTS, the newest row per message that no posting has settled since, in order of origin."""
    rejects = ledger.rejects.scan().collect()
    if reasons:
        rejects = rejects.filter(pl.col("reason").is_in(list(reasons)))
    identity = ["event_source", "event_id"]
    wanted = rejects.select(identity).drop_nulls().unique()
    charged = (
        ledger.postings.scan().select(identity).join(wanted.lazy(), on=identity, how="semi").unique().collect()
        if wanted.height
        else wanted
    )
    settled = rejects.join(charged, on=identity, how="semi").filter(~pl.col("reason").is_in(list(NEVER_RETRIED)))
    origin = ["stream", "stream_partition", "stream_offset", "event_index"]
    return (
        rejects.join(settled, on=origin, how="anti")
        .with_columns(retried=pl.col("stream").str.starts_with("retry:"))
        .sort("retried", *origin)
        .unique("message", keep="last", maintain_order=True)
        .drop("retried")
        .sort(origin)
    )


def retryable_rejects(ledger: Ledger, reasons: Sequence[str] = ()) -> pl.DataFrame:
    """Those open rejects that another attempt may charge."""
    return open_rejects(ledger, reasons).filter(~pl.col("reason").is_in(list(NEVER_RETRIED)))


def retry_batch(rejects: pl.DataFrame) -> RawBatch:
    """The messages of these rejects as a stream of their own, received now."""
    count = rejects.height
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return RawBatch(f"retry:{stamp}", 0, range(count), rejects["message"].to_list(), [now_ms()] * count)


def retry_rejects(workspace: Workspace, reasons: Sequence[str], report: ProgressReport) -> RateResult:
    """Rate every open reject again, as the only writer of the ledger."""
    again = retryable_rejects(workspace.ledger(), reasons)
    if again.is_empty():
        return RateResult()
    return rate_chunks(workspace, [retry_batch(again)], report)
