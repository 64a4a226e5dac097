"""The draft of a bill run on disk: `runs/<period>/`, Parquet files and a `run.json` that says what they were computed from.

Equal input gives equal bytes. `run.json` is written last and holds the digests of the others, so a draft is whole or is none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from invoicing.seller import Seller
from pipelines.bill_stages import TOTALS
from schemas.billing import INVOICES, LINES, OUTCOMES, POSITIONS
from schemas.errors import LedgerUnwritable, Refused
from schemas.ledger import POSTINGS
from schemas.period import Period

FRAMES = {
    "postings": POSTINGS,
    "positions": POSITIONS,
    "lines": LINES,
    "invoices": INVOICES,
    "outcomes": OUTCOMES,
    "totals": TOTALS,
}
"""Field of BillRun -> its schema; also the names of the draft's files."""


@dataclass(frozen=True)
class BillRun:
    """One computed run. Invoices have no numbers until it is final."""

    period: Period
    after: Period | None  # the last finalised period when this was computed
    ledger_version: int
    book_version: int
    roster_version: int
    series: str
    seller: Seller
    postings: pl.DataFrame  # POSTINGS the run adds: recurring fees, zero usage, limits
    positions: pl.DataFrame  # POSITIONS it looked at, its own among them
    lines: pl.DataFrame
    invoices: pl.DataFrame
    outcomes: pl.DataFrame
    totals: pl.DataFrame
    changed: bool = True  # False when everything was there already
    message: str = ""  # one sentence for whoever asked


def write_draft(run: BillRun, runs_folder: Path) -> bool:
    """Write the draft; True when anything differs from what was there.

    Raises:
        LedgerUnwritable: The folder cannot be written.
    """
    contents = {f"{name}.parquet": _parquet(getattr(run, name)) for name in FRAMES}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents["run.json"] = _describe(run, digests)
    folder = runs_folder / str(run.period)
    if all(_read_bytes(folder / name) == content for name, content in contents.items()):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").unlink(missing_ok=True)
        for name, content in contents.items():
            incoming = folder / f".{name}.new"
            incoming.write_bytes(content)
            os.replace(incoming, folder / name)
    except OSError as error:
        raise LedgerUnwritable(folder, str(error)) from error
    return True


def read_draft(period: Period, runs_folder: Path) -> BillRun:
    """The draft exactly as it was computed.

    Raises:
        Refused: There is none, or its files are not those that its `run.json` names.
    """
    folder = runs_folder / str(period)
    text = _read_bytes(folder / "run.json")
    if text is None:
        raise Refused(f"There is no draft of period {period}. Run `boss bill run --period {period}` and look at it first.")
    told = json.loads(text)
    frames = {}
    for name, schema in FRAMES.items():
        content = _read_bytes(folder / f"{name}.parquet")
        if content is None or hashlib.sha256(content).hexdigest() != told["digests"][f"{name}.parquet"]:
            raise Refused(f"{folder}/{name}.parquet is not the file the draft was made of. Run `boss bill run` again.")
        frames[name] = schema.select(pl.read_parquet(io.BytesIO(content)))
    return BillRun(
        period=period,
        after=Period.parse(told["after"]) if told["after"] else None,
        ledger_version=told["ledger_version"],
        book_version=told["book_version"],
        roster_version=told["roster_version"],
        series=told["series"],
        seller=Seller(**told["seller"]),
        postings=frames["postings"],
        positions=frames["positions"],
        lines=frames["lines"],
        invoices=frames["invoices"],
        outcomes=frames["outcomes"],
        totals=frames["totals"],
        changed=False,
    )


def _describe(run: BillRun, digests: dict[str, str]) -> bytes:
    told = {
        "period": str(run.period),
        "after": str(run.after) if run.after else None,
        "ledger_version": run.ledger_version,
        "book_version": run.book_version,
        "roster_version": run.roster_version,
        "series": run.series,
        "seller": asdict(run.seller),
        "digests": digests,
    }
    return (json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode()


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _read_bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
