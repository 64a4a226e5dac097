"""What the commands share: options, progress on stderr, and frames on stdout in the wanted format."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

import pipelines.dev
import pipelines.frame_text
from pipelines.workspace import Workspace

messages = Console(stderr=True, highlight=False, soft_wrap=True)


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


WorkspaceOption = Annotated[Path, typer.Option("--workspace", "-w", envvar="BOSS_WORKSPACE", help="The workspace folder.")]
PeriodOption = Annotated[str, typer.Option("--period", help="The billing month, YYYY-MM.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How data is printed; parquet writes bytes to stdout.")]

HERE = Path()

UPRIGHT_COLUMNS = 9
"""A single row with more columns than these is printed upright, a line each."""

INVOICE_COLUMNS = [
    *("invoice_no", "account_id", "currency", "due_date", "lines"),
    *("net_amount", "tax_amount", "total_amount", "paid_amount", "due_amount"),
]
"""What people see of an invoice in a table."""


def open_workspace(path: Path) -> Workspace:
    return pipelines.dev.workspace_of(path)


def show(frame: pl.DataFrame, format: Format) -> None:
    """Print a frame to stdout in the wanted format."""
    if format is not Format.TABLE:
        pipelines.frame_text.write_frame(frame, format.value, sys.stdout.buffer)
        return
    rows = pipelines.frame_text.table_rows(frame)
    table = Table(show_edge=False, pad_edge=False)
    if len(rows) == 1 and frame.width > UPRIGHT_COLUMNS:
        table.show_header = False
        for name, cell in zip(frame.columns, rows[0], strict=True):
            if cell:
                table.add_row(name.replace("_", " "), cell)
    else:
        for name, dtype in frame.schema.items():
            table.add_column(name.replace("_", " "), justify="right" if dtype.is_numeric() else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
    # A pipe has no width of its own: nothing is folded there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(table, crop=False)


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """A spinner on stderr with the latest word; plain silence when stderr is no terminal."""
    with messages.status(what) as status:
        yield status


def read_day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no day; write it as YYYY-MM-DD.", param_hint=option) from None
