"""Usage on its way in: files, the topic, and the events that were rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import pipelines.rate_file
import pipelines.rejected
import pipelines.send
from commands.terminal import HERE, Format, FormatOption, WorkspaceOption, messages, open_workspace, progress, show
from pipelines.rater import RateResult

app = typer.Typer()
rejects_app = typer.Typer(no_args_is_help=True, help="Events that could not be charged: list them, send them again.")
app.add_typer(rejects_app, name="rejects")

FileArgument = Annotated[Path, typer.Argument(help="NDJSON, JSON array, CSV or Parquet with CloudEvents.")]


@app.command()
def rate(file: FileArgument, workspace: WorkspaceOption = HERE) -> None:
    """Rate a usage file into the ledger. The same file twice changes nothing.

    Example: `boss rate usage.ndjson`
    """
    opened = open_workspace(workspace)
    if opened.settings.kafka:
        return send(file, workspace, wait=True)
    with progress(f"rating {file.name}") as status:
        done = pipelines.rate_file.rate_file(opened, file, lambda so_far: status.update(sentence(so_far)))
    messages.print(sentence(done))
    return None


@app.command()
def send(
    file: FileArgument,
    workspace: WorkspaceOption = HERE,
    wait: Annotated[bool, typer.Option(help="Wait until the ledger has passed the events.")] = False,
) -> None:
    """Send a usage file to the usage topic, keyed by the root of the payer's hierarchy.

    Example: `boss send usage.ndjson --wait`
    """
    opened = open_workspace(workspace)
    with progress(f"sending {file.name}") as status:
        sent = pipelines.send.send_file(opened, file, status.update)
        messages.print(f"{sent.events:,} events sent to {opened.settings.stream.topic}.")
        for problem in sent.refused:
            messages.print(problem)
        if wait:
            pipelines.send.wait_for_ledger(opened, sent.reached, status.update)
            messages.print("The ledger has passed all of them.")
    if sent.refused:
        raise typer.Exit(1)


@rejects_app.command("list")
def list_rejects(
    workspace: WorkspaceOption = HERE,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the open rejects: events that nobody has been charged for.

    Example: `boss rejects list --reason unknown_subject`
    """
    rejects = pipelines.rejected.open_rejects(open_workspace(workspace).ledger(), reason or [])
    show(rejects.with_columns(message=pl.col("message").cast(pl.String, strict=False)), format)


@rejects_app.command("retry")
def retry_rejects(
    workspace: WorkspaceOption = HERE,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated.")] = None,
) -> None:
    """Rate the open rejects again, after the catalog, the roster or the sender was mended.

    Example: `boss rejects retry --reason no_price`
    """
    opened = open_workspace(workspace)
    with progress("retrying rejects") as status:
        if opened.settings.kafka:
            sent = pipelines.send.send_rejects(opened, reason or [], status.update)
            pipelines.send.wait_for_ledger(opened, sent.reached, status.update)
            messages.print(
                f"{sent.events:,} rejected events sent again and passed by the ledger. `boss rejects list` shows what is left."
            )
            return
        done = pipelines.rejected.retry_rejects(opened, reason or [], lambda so_far: status.update(sentence(so_far)))
    messages.print(sentence(done))


def sentence(done: RateResult) -> str:
    """What became of the events, in one sentence."""
    rejected = sum(done.rejects.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.rejects.items()))
    return (
        f"{done.events:,} events: {done.postings:,} postings, {done.duplicates:,} duplicates, {rejected:,} rejects"
        + (f" ({reasons})" if reasons else "")
        + "."
    )
