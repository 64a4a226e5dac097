"""One customer's rows on a topic of the customer's own Kafka: CloudEvents, in order, at least once.

The id of each event is the row's position in the ledger, so a receiver that keeps the last id drops what comes twice. Which
row was last taken by the brokers is noted in the workspace after they have acknowledged it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipelines.frame_text import plain_text
from pipelines.producer import Message, send_messages
from pipelines.sync import Reached, advance, require_account, rows_after
from pipelines.workspace import Workspace
from schemas.errors import LedgerUnwritable, Refused
from schemas.ledger import POSITION_KEY

EVENT_TYPE = "boss.posting"
CHUNK_ROWS = 50_000
"""So many rows are sent before the position is noted."""


def send_rows(workspace: Workspace, account: str, topic: str, kafka: str, report: Callable[[str], None]) -> int:
    """Send the account's rows that were not sent to this topic yet; returns how many.

    Args:
        kafka: Bootstrap servers of the cluster that has the topic.

    Raises:
        Refused: There is no such account, no broker answers, or a row is larger than a message may be. What was acknowledged
            before is not sent again by the next run.
    """
    require_account(workspace, account)
    state = _state_file(workspace, account, topic, kafka)
    reached = _read_state(state)
    rows = rows_after(workspace.ledger(), account, reached)
    for start in range(0, rows.height, CHUNK_ROWS):
        part = rows.slice(start, CHUNK_ROWS)
        delivery = asyncio.run(send_messages(kafka, topic, _messages(account, part), partitions=1))
        if delivery.refused:
            first = delivery.refused[0]
            raise Refused(f"Row {_position(part.row(first.index, named=True))} was not sent: {first.why}.")
        reached = advance(reached, part)
        _write_state(state, reached)
        report(f"{min(start + CHUNK_ROWS, rows.height):,} of {rows.height:,} rows sent")
    return rows.height


def _messages(account: str, rows: pl.DataFrame) -> Iterator[Message]:
    """CloudEvents of the rows, keyed by the account so that their order is kept."""
    for row in plain_text(rows).iter_rows(named=True):
        event = {
            "specversion": "1.0",
            "id": _position(row),
            "source": "boss",
            "type": EVENT_TYPE,
            "subject": row["subscription_id"],
            "time": row.pop("occurred_at"),
            "data": {name: value for name, value in row.items() if value is not None},
        }
        yield account.encode(), orjson.dumps({name: value for name, value in event.items() if value is not None})


def _position(row: dict[str, Any]) -> str:
    return "/".join(str(row[name]) for name in POSITION_KEY)


def _state_file(workspace: Workspace, account: str, topic: str, kafka: str) -> Path:
    """Where the position is noted; named by what it is about, so that another topic or cluster begins anew."""
    name = sha256("\n".join([account, topic, kafka]).encode()).hexdigest()[:16]
    return workspace.root / "sync" / f"{account}-{name}.json"


def _read_state(path: Path) -> Reached:
    if not path.is_file():
        return {}
    told = json.loads(path.read_text(encoding="utf-8"))
    return {source: (at[0], at[1]) for source, at in told.items()}


def _write_state(path: Path, reached: Reached) -> None:
    text = json.dumps({source: list(at) for source, at in sorted(reached.items())}, indent=2) + "\n"
    try:
        path.parent.mkdir(exist_ok=True)
        incoming = path.with_suffix(".new")
        incoming.write_text(text, encoding="utf-8")
        incoming.replace(path)
    except OSError as error:
        raise LedgerUnwritable(path.parent, str(error)) from error
