"""Send usage to the topic (`boss send FILE`), keyed by the root of the payer's hierarchy, and wait until the ledger has it.

The key puts all usage that may be counted together on one partition, in order, with the worker that holds it. Events of
unknown subjects are keyed by the subject itself and end as rejects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.table import source_id
from pipelines.keys import Keys
from pipelines.producer import Refused as RefusedMessage
from pipelines.producer import send_messages
from pipelines.rate_file import CHUNK_EVENTS, now_ms
from pipelines.rejected import retryable_rejects
from pipelines.usage_file import read_usage_file
from pipelines.workspace import Workspace
from schemas.errors import Refused
from schemas.roster import Roster

PATIENCE_SECONDS = 60.0
"""How long the ledger may stand still before waiting for it ends."""


@dataclass(frozen=True)
class Sent:
    """What reached the topic."""

    events: int
    reached: Mapping[int, int]
    """Last offset per partition."""
    refused: list[str] = field(default_factory=list)
    """One sentence per message the broker did not take."""


def send_file(workspace: Workspace, path: Path, report: Callable[[str], None]) -> Sent:
    """Send every event of a usage file.

    Raises:
        BadFile: The file cannot be read as a whole.
        Refused: No Kafka is configured and no `boss dev` is running, or the broker cannot be reached.
    """
    if not workspace.settings.kafka:
        raise Refused("There is no Kafka to send to. Set BOSS_KAFKA or start `boss dev`; without Kafka use `boss rate FILE`.")
    _, roster = workspace.load()
    chunks = read_usage_file(path, chunk_rows=CHUNK_EVENTS, received_at_ms=now_ms())
    values = (value for chunk in chunks for value in chunk.values if value is not None)
    return send_events(workspace, roster, values, report)


def send_rejects(workspace: Workspace, reasons: Sequence[str], report: Callable[[str], None]) -> Sent:
    """Send the open rejects to the topic again: with Kafka configured that is the only road to the ledger."""
    again = retryable_rejects(workspace.ledger(), reasons)["message"].to_list()
    _, roster = workspace.load()
    return send_events(workspace, roster, again, report) if again else Sent(0, {})


def send_events(workspace: Workspace, roster: Roster, values: Iterable[bytes], report: Callable[[str], None]) -> Sent:
    """Send single events (JSON bytes) to the usage topic."""
    delivery = asyncio.run(
        send_messages(
            workspace.settings.kafka,
            workspace.settings.stream.topic,
            Keys(roster).keyed(values),
            partitions=workspace.settings.stream.partitions,
            login=workspace.login(),
            progress=lambda count: report(f"{count:,} events sent"),
        )
    )
    return Sent(delivery.delivered, delivery.last_offsets, [_sentence(refused) for refused in delivery.refused])


def _sentence(refused: RefusedMessage) -> str:
    return f"event {refused.index + 1} was not sent: {refused.why}"


def wait_for_ledger(
    workspace: Workspace,
    reached: Mapping[int, int],
    report: Callable[[str], None],
    worker_runs: Callable[[], bool] = lambda: True,
) -> None:
    """Return when the ledger's positions are at or past these offsets of the usage topic.

    Args:
        worker_runs: Asked now and then, when the caller knows the worker; once it says no, waiting ends.

    Raises:
        Refused: The ledger stood still for a minute, or the worker has ended.
    """
    postings = workspace.ledger().postings
    best, since = -1, time.monotonic()
    while True:
        have = {p: postings.position(source_id(workspace.stream_name, p)) for p in reached}
        behind = sum(reached[p] - (-1 if at is None else at) for p, at in have.items() if at is None or at < reached[p])
        if behind == 0:
            return
        report(f"the ledger is {behind:,} events behind")
        done = sum(at or 0 for at in have.values())
        if done > best:
            best, since = done, time.monotonic()
        if not worker_runs():
            raise Refused(f"The worker has ended, and the ledger is {behind:,} events behind. Its log says why.")
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise Refused(f"The ledger has not moved for a minute and is {behind:,} events behind. Is a `boss worker` running?")
        time.sleep(0.2)
