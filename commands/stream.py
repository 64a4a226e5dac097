"""The processes that run on: the worker, and the stage that keys a topic by account."""

from __future__ import annotations

import typer

import pipelines.rekey
import pipelines.stream
from commands.terminal import HERE, WorkspaceOption, open_workspace

app = typer.Typer()


@app.command()
def worker(workspace: WorkspaceOption = HERE) -> None:
    """Rate the usage topic into the ledger until stopped. Run as many as the topic has partitions.

    Example: `BOSS_KAFKA=127.0.0.1:9092 boss worker`
    """
    raise typer.Exit(pipelines.stream.run_worker(open_workspace(workspace)))


@app.command()
def rekey(workspace: WorkspaceOption = HERE) -> None:
    """Send a topic that is not keyed by account (`rekey.topic`) on to the usage topic by the right keys, until stopped.

    Nothing is dropped: what belongs to nobody, or cannot be read, passes on as it is, and the worker rejects it with a reason.
    Run as many as the topic has partitions; each needs a port of its own.

    Example: `BOSS_KAFKA=127.0.0.1:9092 BOSS_REKEY__TOPIC=raw-usage boss rekey`

    Example: `BOSS_REKEY__PORT=6077 boss rekey --workspace acme`, a second one, with the topic in boss.toml
    """
    raise typer.Exit(pipelines.rekey.run_rekey(open_workspace(workspace)))
