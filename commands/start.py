"""Beginning: a new workspace, the demo, the development broker."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

import pipelines.demo
import pipelines.dev
from commands.terminal import HERE, INVOICE_COLUMNS, Format, WorkspaceOption, messages, show
from pipelines.workspace import Workspace
from schemas.period import Period

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the workspace is made.")],
    template: Annotated[str, typer.Option(help="Industry template.")] = "video-conference",
    starts: Annotated[str, typer.Option(help="First period to bill recurring fees for; default: this month.")] = "",
) -> None:
    """Make a workspace from an industry template.

    Example: `boss init acme --template video-conference`
    """
    workspace = Workspace.create(folder, template, str(Period.parse(starts)) if starts else str(Period.of(date.today())))
    messages.print(f"Workspace made in {workspace.root}. Next: edit catalog/ and roster/, then `boss catalog publish`.")


@app.command()
def demo(folder: Annotated[Path, typer.Argument(help="Folder of the demo; an earlier demo there is replaced.")]) -> None:
    """Run one month of a video-conference company: events, broker, worker, bills, settlement, metrics.

    Example: `boss demo demo`
    """
    result = pipelines.demo.run_demo(folder, messages.print)
    show(result.invoices.select(INVOICE_COLUMNS), Format.TABLE)
    for line in result.closing_lines:
        typer.echo(line)


@app.command()
def dev(workspace: WorkspaceOption = HERE) -> None:
    """Run an embedded broker and a worker until Ctrl-C. For development: the broker keeps its topics in memory.

    Example: `boss dev`, and in another terminal `boss send usage.ndjson`
    """
    raise typer.Exit(pipelines.dev.run_dev(Workspace.open(workspace), messages.print))
