"""`boss worker`: the usage topic of a workspace, rated into its ledger."""

from __future__ import annotations

from ledger.lock import writer_lock
from pipelines.message_events import load_scanner
from pipelines.notices import Teller
from pipelines.rater import Rater
from pipelines.worker import run_stream
from pipelines.workspace import Workspace
from schemas.errors import Refused


def run_worker(workspace: Workspace) -> int:
    """`boss worker`: rate the workspace's topic into its ledger until told to stop by SIGTERM or SIGINT.

    Returns the exit code 0; for the main thread of a process.

    Raises:
        Refused: No Kafka is configured, or nothing is published yet.
        LedgerBusy: `boss rate` writes this ledger at the moment.
        Others: As run_stream.
    """
    settings = workspace.settings
    if not settings.kafka:
        raise Refused("There is no Kafka to read from. Set BOSS_KAFKA, or start `boss dev`, which brings a small one.")
    workspace.versions()
    load_scanner()
    with writer_lock(workspace.ledger_folder, exclusive=False):
        rater = Rater(workspace, workspace.ledger(), settings.limits)
        run_stream(rater, settings.kafka, settings.stream, workspace.login(), _teller(workspace))
    return 0


def _teller(workspace: Workspace) -> Teller | None:
    """Who sends notices, if they are to be sent."""
    topic, kafka = workspace.settings.stream.notices_topic, workspace.settings.kafka
    return Teller(workspace.ledger(), workspace.stream_name, topic, kafka, workspace.login()) if topic else None
