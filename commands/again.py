"""Rating again: replay, what-if, re-rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pipelines.rate_file
import pipelines.replay
import pipelines.replay_messages
import pipelines.rerate
import pipelines.whatif
from commands.terminal import (
    HERE,
    Format,
    FormatOption,
    PeriodOption,
    WorkspaceOption,
    messages,
    open_workspace,
    progress,
    read_day,
    show,
)
from schemas.period import Period

app = typer.Typer()


@app.command()
def replay(
    period: PeriodOption,
    files: Annotated[
        list[Path] | None, typer.Argument(help="The events as they were sent; without files the ledger's own rows tell them.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Rate the period again and compare every aggregate.")] = False,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Rate a period again and compare every aggregate with the ledger, to the last digit. Writes nothing.

    Exits with 1 when something differs. Example: `boss replay --check --period 2026-10 usage.ndjson`
    """
    if not check:
        raise typer.BadParameter("replay only compares; say so with --check.", param_hint="--check")
    opened, month = open_workspace(workspace), Period.parse(period)
    with progress(f"replaying {month}"):
        replayed = (
            pipelines.replay_messages.replay_files(opened, month, files, pipelines.rate_file.now_ms())
            if files
            else pipelines.replay.replay_posted(opened, month)
        )
    messages.print(replayed.message)
    if format is not Format.TABLE or not replayed.agrees:
        show(replayed.differences, format)
    if not replayed.agrees:
        raise typer.Exit(1)


@app.command()
def whatif(
    period: PeriodOption,
    book: Annotated[Path | None, typer.Option(help="Folder of the draft catalog; default: the published book.")] = None,
    roster: Annotated[Path | None, typer.Option(help="Folder of the draft roster; default: the published roster.")] = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what a period's real usage and fees would have cost under a draft, per customer. Writes nothing.

    Example: `boss whatif --book draft --period 2026-10`
    """
    if book is None and roster is None:
        raise typer.BadParameter("name a draft with --book, --roster or both.", param_hint="--book")
    opened = open_workspace(workspace)
    draft = pipelines.whatif.read_draft(opened, book, roster)
    with progress("rating with the draft"):
        compared = pipelines.whatif.compare_draft(opened, Period.parse(period), *draft)
    show(compared.customers, format)
    if format is Format.TABLE:
        for title, frame in (("Totals", compared.totals), ("No price in the draft", compared.unpriced)):
            if frame.height:
                typer.echo(f"\n{title}")
                show(frame, format)
    messages.print(compared.message)


@app.command()
def rerate(
    price: Annotated[str, typer.Option(help="The fee item, as in the price book.")],
    first_day: Annotated[str, typer.Option("--from", help="First day of the usage, YYYY-MM-DD, in each account's zone.")],
    end_day: Annotated[str, typer.Option("--to", help="Day after the last one.")],
    post: Annotated[bool, typer.Option("--post/--dry-run", help="Append the rows; without it nothing is written.")] = False,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Post the differences that a price published late makes for usage rated before. The second time there are none.

    Example: `boss rerate --price pro.month.minutes --from 2026-10-01 --to 2026-11-01 --post`
    """
    days = read_day(first_day, "--from"), read_day(end_day, "--to")
    with progress(f"rating {price} anew"):
        rerating = pipelines.rerate.rerate(open_workspace(workspace), price, *days, post=post)
    if rerating.rows or format is not Format.TABLE:
        show(rerating.changes, format)
    messages.print(rerating.message)
