"""Tells others about balances: every notice in the ledger is sent to a topic, at least once.

A notice is a row of the ledger, written in the commit of what it tells of. It is sent after that; when the brokers have taken
it, that is noted in a table of its own. What is in the ledger and not noted is sent when a worker takes a partition over, so a
crash between the two loses nothing. The id of a notice is the position of its row: a receiver drops what comes twice. While no
broker takes notices, rating goes on, and they are tried again.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Iterator, Sequence

import polars as pl
import structlog

from ledger.book import Ledger
from ledger.table import source_id
from pipelines.login import OPEN, Login
from pipelines.producer import Message, send_messages
from schemas.errors import BossError, Fenced
from schemas.ledger import POSITION_KEY, SENT_NOTICES, Role

log = structlog.stdlib.get_logger("boss.notices")

SOURCE = "/boss"
TOLD = [*POSITION_KEY, "account_id", "price_id", "occurred_at", "dimensions"]
"""What a notice is made of: columns of POSTINGS."""

PATIENCE_SECONDS = 5.0
"""How long to wait before notices that no broker took are tried again."""

CLOSING_SECONDS = 3.0


class Teller:
    """Sends the notices of the partitions that this worker has, in a thread of its own."""

    def __init__(self, ledger: Ledger, stream: str, topic: str, kafka: str, login: Login = OPEN) -> None:
        """
        Args:
            ledger: Opened for this teller alone.
            stream: Name of the stream whose notices are sent.
        """
        self._ledger, self._stream, self._topic, self._kafka, self._login = ledger, stream, topic, kafka, login
        self._inbox: queue.SimpleQueue[pl.DataFrame | list[int] | None] = queue.SimpleQueue()
        self._sent: dict[int, int | None] = {}  # by partition, how far notices were sent
        self._waiting = pl.DataFrame()
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def assign(self, partitions: Sequence[int]) -> None:
        """Take over these partitions, and only these: what the ledger has of them and was not sent is sent."""
        self._inbox.put(list(partitions))

    def hear(self, notices: pl.DataFrame | None) -> None:
        """Send these rows of the ledger too."""
        if notices is not None and notices.height:
            self._inbox.put(notices.select(TOLD))

    def close(self) -> None:
        """Send what is waiting, but not for long. What is left is sent by the next worker."""
        self._inbox.put(None)
        self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        closing = False
        while not closing:
            try:
                heard = self._inbox.get(timeout=PATIENCE_SECONDS if self._waiting.height else None)
                closing = heard is None
                self._take(heard)
            except queue.Empty:
                pass
            except (BossError, OSError) as error:
                log.warning("notices wait", why=str(error))
                continue
            if self._inbox.empty() or closing:
                self._send()

    def _take(self, heard: pl.DataFrame | list[int] | None) -> None:
        if isinstance(heard, pl.DataFrame):
            mine = heard.filter(pl.col("stream_partition").is_in(list(self._sent)))
            self._waiting = pl.concat([self._waiting, mine]) if self._waiting.height else mine
        elif heard is not None:
            table = self._ledger.sent_notices
            self._sent = {partition: table.position(source_id(self._stream, partition)) for partition in heard}
            self._waiting = unsent_notices(self._ledger, self._stream, self._sent)

    def _send(self) -> None:
        if self._waiting.is_empty():
            return
        rows = self._waiting.unique(POSITION_KEY, maintain_order=True)
        try:
            send_notices(rows, self._topic, self._kafka, self._login)
            self._note(rows)
            self._waiting = rows.clear()
            log.info("told", notices=rows.height, topic=self._topic)
        except Fenced:
            log.warning("another worker sends these notices", partitions=sorted(self._sent))
            self._sent, self._waiting = {}, rows.clear()
        except (BossError, OSError) as error:
            log.warning("notices wait", waiting=rows.height, why=str(error))

    def _note(self, rows: pl.DataFrame) -> None:
        """Note that the brokers have these rows."""
        reached = dict(rows.group_by("stream_partition").agg(pl.col("stream_offset").max()).iter_rows())
        self._ledger.sent_notices.append(
            SENT_NOTICES.select(rows.rename({"price_id": "type"})),
            expected={source_id(self._stream, partition): self._sent[partition] for partition in reached},
            reached={source_id(self._stream, partition): offset for partition, offset in reached.items()},
        )
        self._sent.update(reached)


def unsent_notices(ledger: Ledger, stream: str, sent: dict[int, int | None]) -> pl.DataFrame:
    """TOLD of the notices of a stream beyond what was sent of each partition, in order of position."""
    rows = ledger.postings.scan().filter(
        (pl.col("role") == Role.NOTICE.value)
        & (pl.col("stream") == stream)
        & pl.any_horizontal(
            pl.lit(False),
            *(
                (pl.col("stream_partition") == partition) & (pl.col("stream_offset") > (-1 if at is None else at))
                for partition, at in sent.items()
            ),
        )
    )
    return rows.select(TOLD).collect().sort(POSITION_KEY)


def send_notices(rows: pl.DataFrame, topic: str, kafka: str, login: Login = OPEN) -> None:
    """Send notices (TOLD) to a topic; returns when the brokers have them.

    Raises:
        Refused: No broker answers, or Kafka did not take them.
    """
    asyncio.run(send_messages(kafka, topic, _messages(rows), partitions=1, login=login))


def _messages(rows: pl.DataFrame) -> Iterator[Message]:
    """CloudEvents keyed by account, so that the notices of one come in their order."""
    for row in rows.iter_rows(named=True):
        event = {
            "specversion": "1.0",
            "id": "/".join(str(row[name]) for name in POSITION_KEY),
            "source": SOURCE,
            "type": row["price_id"],
            "subject": row["account_id"],
            "time": row["occurred_at"].isoformat(),
            "datacontenttype": "application/json",
            "data": json.loads(row["dimensions"]),
        }
        yield row["account_id"].encode(), json.dumps(event, ensure_ascii=False).encode()
