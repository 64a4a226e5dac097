"""A video-conference company in a folder, with generated usage, to replay and correct. No tests in here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from examples.video_conference_events import generate_events
from ledger.book import Ledger
from pipelines.bill_run import BillRun, finalize, run
from pipelines.checks import run_checks
from pipelines.rate_file import rate_chunks
from pipelines.rater import RateResult
from pipelines.workspace import Workspace
from schemas.period import Period
from schemas.usage import RawBatch

RECEIVED_MS = 1_800_000_000_000
"""When all events arrive, in January 2027: later than they happened, whatever the clock says."""

OCTOBER, NOVEMBER = Period(2026, 10), Period(2026, 11)


def usage(events: int = 600, seed: int = 1, month: str = "2026-10") -> list[bytes]:
    """Events of the template's customers, in order of time, with ids that no other month has."""
    name = f'"id":"{month}-'.encode()
    return [value.replace(b'"id":"', name) for value in generate_events(events=events, seed=seed, month=month)]


def retraction(value: bytes, name: str, time: str = "2026-10-30T10:00:00Z") -> bytes:
    """An event called `name` that takes back the event `value`."""
    event = json.loads(value)
    event |= {"id": name, "retracts": event["id"], "time": time}
    return json.dumps(event).encode()


class Shop:
    """A workspace made from the template `video-conference`, published unless it is to be changed first."""

    def __init__(self, root: Path, *, publish: bool = True) -> None:
        self.workspace = Workspace.create(root, "video-conference", "2026-10")
        if publish:
            self.workspace.publish()
        self._files = 0

    @property
    def ledger(self) -> Ledger:
        return self.workspace.ledger()

    def rate(self, values: Sequence[bytes], stream: str | None = None, first_offset: int = 0) -> RateResult:
        """Rate the events as one batch, of a source of its own unless it is named."""
        self._files += 1
        count = len(values)
        offsets = range(first_offset, first_offset + count)
        name = stream or f"file:{self._files:04d}"
        return rate_chunks(self.workspace, [RawBatch(name, 0, offsets, list(values), [RECEIVED_MS] * count)], lambda _: None)

    def edit(self, file: str, old: str, new: str) -> None:
        """Change one place of a source file, `catalog/...` or `roster/...`, and publish."""
        path = self.workspace.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        self.workspace.publish()

    def append(self, file: str, text: str) -> None:
        """Add to the end of a source file and publish."""
        with (self.workspace.root / file).open("a", encoding="utf-8") as opened:
            opened.write(text)
        self.workspace.publish()

    def bill(self, period: Period) -> BillRun:
        run(self.workspace, period)
        return finalize(self.workspace, period)

    def postings(self) -> pl.DataFrame:
        return self.ledger.postings.scan().collect()

    def total(self, **where: object) -> Decimal:
        """Amounts of the rows of one price, role, ..., added up."""
        rows = self.postings().filter(**where)
        return sum(rows["amount"].to_list(), Decimal(0))

    def disagreeing(self) -> list[str]:
        """What `boss ledger check` finds wrong."""
        checked = run_checks(self.workspace)
        return checked.filter(~pl.col("agrees"))["check"].to_list()
