"""`boss dev`: broker, topic and worker in one command, for development only.

The embedded broker keeps its topics in memory, so every start is a new life of the topic: it gets a new epoch. While it
runs, `dev.json` in the workspace tells the other commands where it is, so that `boss send` and `boss rate` find it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pipelines.broker import die_with_parent, embedded_broker
from pipelines.settings import Settings
from pipelines.workspace import Workspace

MARK = "dev.json"


def with_running_broker(workspace: Workspace) -> Workspace:
    """The workspace, pointed at the broker of a `boss dev` that runs in it, if there is one and no Kafka is configured."""
    if workspace.settings.kafka:
        return workspace
    try:
        mark = json.loads((workspace.root / MARK).read_text())
        os.kill(mark["pid"], 0)
    except (OSError, ValueError, KeyError):
        return workspace
    return _pointed_at(workspace, mark["kafka"], mark["epoch"])


@contextmanager
def dev_broker(workspace: Workspace) -> Iterator[Workspace]:
    """Run the embedded broker; yields the workspace pointed at it, with a new epoch and a short session."""
    epoch = datetime.now(UTC).strftime("dev-%Y%m%dT%H%M%S.%f")
    mark = workspace.root / MARK
    with embedded_broker(log=workspace.root / "broker.log") as kafka:
        mark.write_text(json.dumps({"pid": os.getpid(), "kafka": kafka, "epoch": epoch}))
        try:
            yield _pointed_at(workspace, kafka, epoch)
        finally:
            mark.unlink(missing_ok=True)


def _pointed_at(workspace: Workspace, kafka: str, epoch: str) -> Workspace:
    stream = workspace.settings.stream.model_copy(update={"epoch": epoch, "session_seconds": 2.0})
    settings: Settings = workspace.settings.model_copy(update={"kafka": kafka, "stream": stream})
    return replace(workspace, settings=settings)


def environment(workspace: Workspace) -> dict[str, str]:
    """The variables that point another BOSS process at the same broker."""
    stream = workspace.settings.stream
    return {
        "BOSS_KAFKA": workspace.settings.kafka,
        "BOSS_STREAM__EPOCH": stream.epoch,
        "BOSS_STREAM__SESSION_SECONDS": str(stream.session_seconds),
        "BOSS_STREAM__PORT": str(stream.port),
    }


@contextmanager
def worker_process(workspace: Workspace, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A `boss worker` on this workspace for the length of a with block, asked to stop at its end.

    Args:
        log: Where its output goes; None: to ours.
    """
    output = log.open("ab") if log else None
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "worker", "--workspace", str(workspace.root)],
        env=os.environ | environment(workspace),
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,  # a Ctrl-C in the terminal reaches us alone, and we stop it in order
        preexec_fn=partial(die_with_parent, signal.SIGTERM) if sys.platform == "linux" else None,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if output:
            output.close()


def run_dev(workspace: Workspace, say: Callable[[str], None]) -> int:
    """Broker and worker until Ctrl-C or SIGTERM. Returns the worker's exit code, 0 when it was asked to stop."""
    workspace.versions()
    for signum in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(signum, signal.default_int_handler)
    with dev_broker(workspace) as running, worker_process(running) as worker:
        say(f"Broker at {running.settings.kafka}, topic {running.settings.stream.topic}. Send events with `boss send FILE`.")
        try:
            return worker.wait()
        except KeyboardInterrupt:
            return 0


def workspace_of(path: Path) -> Workspace:
    """Open a workspace the way every command does: its settings, the environment, and a running `boss dev`."""
    return with_running_broker(Workspace.open(path))
